//! The changes of a store: which threads exist, and where their histories end.

use selvedge_protocol::{Cursor, ThreadId};
use serde::Serialize;

use crate::LinePosition;

/// The present state of a thread that changed.
///
/// It does not report which operation changed the thread. Several changes of one thread may be reported as one, and one
/// change may be reported again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ThreadChange {
    /// The thread exists.
    Present {
        /// The thread.
        thread_id: ThreadId,
        /// Where its history ends.
        end: LinePosition,
        /// The version of the thread. It differs from an earlier version if anything of the thread changed in between:
        /// its history, its name, or whether it is archived.
        version: String,
    },
    /// The thread no longer exists.
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
    /// Whether there is nothing after the page now.
    pub is_end: bool,
}
