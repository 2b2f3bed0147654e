//! Batches that take effect once.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The bits of a UUIDv7 that count the ids of a process: random ones, but for the highest, so that there is room to count.
const NUMBER_BITS: u64 = (1 << 61) - 1;

/// Names a change, so that repeating the call takes effect once. Made by the caller, who repeats a call with the id of the
/// first one when the answer was lost.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BatchId(Uuid);

impl BatchId {
    /// Makes a new id, which no other has: the ids of a process count up from a random UUIDv7.
    #[must_use]
    pub fn generate() -> Self {
        // To ask for randomness each time would cost as much as a small append.
        static FIRST: OnceLock<Uuid> = OnceLock::new();
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let first = FIRST.get_or_init(Uuid::now_v7).as_u128();
        let number = (first as u64 & NUMBER_BITS).wrapping_add(COUNT.fetch_add(1, Ordering::Relaxed)) & NUMBER_BITS;
        Self(Uuid::from_u128(first & !u128::from(NUMBER_BITS) | u128::from(number)))
    }

    /// Returns the id that is this UUID.
    #[must_use]
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// Returns the UUID that the id is.
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
