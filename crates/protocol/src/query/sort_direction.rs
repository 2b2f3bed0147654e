//! The direction in which an answer is sorted.

use serde::{Deserialize, Serialize};

/// The direction in which an answer is sorted: by time for threads, by position in the thread for turns and items.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SortDirection {
    /// Oldest first.
    Ascending,
    /// Newest first.
    Descending,
}

impl SortDirection {
    /// Converts an ascending ordering to the ordering of this direction.
    #[must_use]
    pub fn order(self, ascending: std::cmp::Ordering) -> std::cmp::Ordering {
        match self {
            Self::Ascending => ascending,
            Self::Descending => ascending.reverse(),
        }
    }
}
