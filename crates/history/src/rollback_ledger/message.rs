//! The messages that a `thread_rolled_back` event counts, and the points in the turns where a rollback can cut.

use std::sync::Arc;

/// A point in the turns where a rollback can cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RollbackPoint {
    /// Number of turns before the point.
    pub(crate) turn: usize,
    /// Number of items before the point, in the turn with index `turn`. 0 means that the whole turn is undone.
    pub(crate) item: usize,
}

/// Where a message is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ItemPlace {
    /// Number of turns before its turn, in the whole thread.
    pub(crate) turn: u64,
    /// Index of the item in its turn.
    pub(crate) item: usize,
}

/// A message that a rollback can count.
#[derive(Clone, Debug)]
pub(super) struct CountedMessage {
    /// Text of the message, shared by all copies.
    pub(super) text: Arc<str>,
    pub(super) author: MessageAuthor,
    /// Where a rollback cuts that undoes this message and no older one.
    pub(super) point: RollbackPoint,
    /// Position of the event that shows the message, else of the line that gives it to the model. `None` if the message
    /// exists only in the replacement history of a compaction.
    pub(super) position: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MessageAuthor {
    User,
    /// Another agent.
    Agent,
    /// The program: the summary of the history that a compaction replaced.
    Summary,
}

impl AsRef<str> for &CountedMessage {
    fn as_ref(&self) -> &str {
        &self.text
    }
}
