//! What changed in a store: which threads there are, and where they end.

use selvedge_protocol::{Cursor, ThreadId};
use serde::Serialize;

use crate::LinePosition;

/// The state of a thread that changed. Changes are told by what is there now, not by what was done: several changes of one
/// thread may be told as one, and one may be told again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ThreadChange {
    /// The thread is there.
    Present {
        /// The thread.
        thread_id: ThreadId,
        /// Where its history ends.
        end: LinePosition,
        /// Differs from an earlier one if anything of the thread changed since: its history, its name, whether it is archived.
        version: String,
    },
    /// The thread is gone.
    Gone {
        /// The thread.
        thread_id: ThreadId,
    },
}

impl ThreadChange {
    /// Returns the thread that changed.
    #[must_use]
    pub const fn thread_id(&self) -> ThreadId {
        match self {
            Self::Present { thread_id, .. } | Self::Gone { thread_id } => *thread_id,
        }
    }
}

/// A page of changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangePage {
    /// The changes, the oldest first.
    pub changes: Vec<ThreadChange>,
    /// Where the next page begins.
    pub next: Cursor,
    /// Whether there is nothing beyond the page now.
    pub is_end: bool,
}
