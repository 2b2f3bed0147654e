//! Ids of batches, by which a repeated call takes effect once.

use std::fmt;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::implement::UuidSequence;

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
        // Counting is also what makes a higher id a newer one, so a store can recognize most new batches without a search.
        static IDS: LazyLock<UuidSequence> = LazyLock::new(UuidSequence::new);
        Self(IDS.next())
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
