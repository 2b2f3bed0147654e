//! Ids of batches, by which a repeated call takes effect once.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The bits of a UUIDv7 that count the ids of a process: the low 61 of the 62 random bits at its end.
///
/// ```text
/// bits 127..80   the time at which the process created its first id, in milliseconds
/// bits  79..76   the version of the UUID
/// bits  75..64   random
/// bits  63..62   the variant of the UUID
/// bit       61   random
/// bits  60..0    a random start plus the number of the id, modulo 2^61
/// ```
const NUMBER_BITS: u64 = (1 << 61) - 1;

/// Identifies a change, so that repeating the call takes effect once.
///
/// The caller creates the id. If the answer of the call was lost, the caller repeats the call with the same id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BatchId(Uuid);

impl BatchId {
    /// Creates a new unique id. The ids of a process count up from a random UUIDv7.
    #[must_use]
    pub fn generate() -> Self {
        // Getting random bytes for each id would cost as much as a small append. Counting is also what makes a higher
        // id a newer one, so a store can recognize most new batches without a search.
        static FIRST: OnceLock<Uuid> = OnceLock::new();
        static COUNT: AtomicU64 = AtomicU64::new(0);
        // Relaxed is enough: each number must be unique, and no other memory depends on it.
        let first = FIRST.get_or_init(Uuid::now_v7).as_u128();
        let number = (first as u64 & NUMBER_BITS).wrapping_add(COUNT.fetch_add(1, Ordering::Relaxed)) & NUMBER_BITS;
        Self(Uuid::from_u128(first & !u128::from(NUMBER_BITS) | u128::from(number)))
    }

    /// Returns the id with this UUID.
    #[must_use]
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// Returns the UUID of the id.
    #[must_use]
    pub const fn as_uuid(&self) -> Uuid {
        self.0
    }
}

impl fmt::Display for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BatchId({})", self.0)
    }
}
