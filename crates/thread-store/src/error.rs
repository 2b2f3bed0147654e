//! What can go wrong in a store.

use std::error::Error;
use std::fmt;
use std::io;
use std::ops::Range;

use selvedge_history::{EmptySearch, HeadError, NoUserMessages, UnknownTurn};
use selvedge_protocol::{CursorError, ThreadId, Timestamp, TurnSelector, ZeroLimit};

use crate::BatchId;

/// An error of whatever a store is built on.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// The outcome of a store's operation.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// Who holds a thread's writer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holder {
    /// The process, where the system tells it.
    pub process_id: Option<u32>,
    /// The host, for a store that several hosts share.
    pub host: Option<String>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.process_id, &self.host) {
            (Some(process_id), Some(host)) => write!(f, "process {process_id} on {host}"),
            (Some(process_id), None) => write!(f, "process {process_id}"),
            (None, Some(host)) => write!(f, "a process on {host}"),
            (None, None) => f.write_str("another process"),
        }
    }
}

/// Why a store did not do what it was asked.
///
/// An operation that fails has changed nothing, unless its own documentation says otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no such thread; or it is not live, for an operation on a live thread.
    #[error("thread {thread_id} not found{}", if *.live { " among the live threads of this store" } else { "" })]
    NotFound {
        /// The thread.
        thread_id: ThreadId,
        /// Whether it was looked for among the live threads.
        live: bool,
    },
    /// There is no such turn in the thread, or it was undone.
    #[error("turn {turn} not found in thread {thread_id}")]
    TurnNotFound {
        /// The thread.
        thread_id: ThreadId,
        /// The turn.
        turn: TurnSelector,
    },
    /// The request itself is wrong; repeating it will not help.
    #[error("invalid request: {reason}")]
    InvalidRequest {
        /// What is wrong with it.
        reason: String,
    },
    /// There is a thread of this id already.
    #[error("there is a thread {thread_id} already")]
    AlreadyExists {
        /// The thread.
        thread_id: ThreadId,
    },
    /// Somebody else is writing the thread.
    #[error("thread {thread_id} is being written by {holder}")]
    Conflict {
        /// The thread.
        thread_id: ThreadId,
        /// Who.
        holder: Holder,
        /// Since when, where the store knows it.
        since: Option<Timestamp>,
    },
    /// The thread was taken away from the writer that holds it here, by somebody who asked for no claim.
    #[error("thread {thread_id} was taken from its writer: {reason}; nothing was written")]
    Lost {
        /// The thread.
        thread_id: ThreadId,
        /// What became of it.
        reason: String,
    },
    /// What was written could not be made durable, so that it is not known how much of it survives a power loss. The writer
    /// appends nothing any more; resuming the thread reads what there is.
    #[error(
        "thread {thread_id} could not be synced and is not written any more; resume it to go on with what is there"
    )]
    Unsynced {
        /// The thread.
        thread_id: ThreadId,
        /// What failed.
        source: BoxError,
    },
    /// The answer of the store was lost: the call may have taken effect or not. Repeating the same call settles it.
    #[error("it is not known whether the change of thread {thread_id} took effect")]
    OutcomeUnknown {
        /// The thread.
        thread_id: ThreadId,
        /// The batch, for a call that has one.
        batch: Option<BatchId>,
        /// Why the answer was lost.
        source: BoxError,
    },
    /// A cursor cannot be continued any more: what it belonged to is gone.
    #[error("the cursor has expired: {reason}; begin with the first page")]
    CursorExpired {
        /// What is gone.
        reason: String,
    },
    /// The place in a thread's history was changed, by a repair or a redaction, or is gone.
    #[error("the position in thread {thread_id} is gone; begin again")]
    PositionGone {
        /// The thread.
        thread_id: ThreadId,
    },
    /// The thread cannot be deleted, because the histories of others begin in it.
    #[error("thread {thread_id} cannot be deleted: {} built on it ({})", count(.dependents), list(.dependents))]
    HasDependents {
        /// The thread.
        thread_id: ThreadId,
        /// The threads whose histories go through it, near and far, in the order of their ids.
        dependents: Vec<ThreadId>,
    },
    /// What is stored cannot be understood, and the operation cannot do without it.
    #[error("thread {thread_id} is damaged in {place}, bytes {}..{}: {reason}", .range.start, .range.end)]
    Corrupt {
        /// The thread.
        thread_id: ThreadId,
        /// Where: a path, a table.
        place: String,
        /// Which bytes of it.
        range: Range<u64>,
        /// What is wrong with them.
        reason: String,
    },
    /// This store cannot do that at all.
    #[error("not supported by this store: {what}")]
    Unsupported {
        /// What.
        what: String,
    },
    /// What the store is built on failed.
    #[error("{context}")]
    Backend {
        /// What the store was doing.
        context: String,
        /// What failed.
        source: BoxError,
    },
}

/// What a caller can do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// Call again at once.
    Retry,
    /// Call again after a pause: the cause may pass.
    RetryLater,
    /// Make the same call again, with the same batch, if it has one: it takes effect once, whatever became of the first.
    RepeatSame,
    /// Give the writer up, resume the thread and go on.
    Resume,
    /// Begin the walk again, from its first page or the beginning of the thread.
    StartOver,
    /// The same call fails again.
    GiveUp,
}

fn count(dependents: &[ThreadId]) -> String {
    match dependents.len() {
        1 => "1 thread is".to_owned(),
        n => format!("{n} threads are"),
    }
}

fn list(dependents: &[ThreadId]) -> String {
    dependents.iter().map(ThreadId::to_string).collect::<Vec<_>>().join(", ")
}

impl StoreError {
    /// There is no such thread.
    #[must_use]
    pub const fn not_found(thread_id: ThreadId) -> Self {
        Self::NotFound { thread_id, live: false }
    }

    /// The thread is not live in this store.
    #[must_use]
    pub const fn not_live(thread_id: ThreadId) -> Self {
        Self::NotFound { thread_id, live: true }
    }

    /// Returns what a caller can do about the error.
    #[must_use]
    pub fn recovery(&self) -> Recovery {
        match self {
            Self::Conflict { .. } => Recovery::RetryLater,
            Self::Backend { source, .. } if is_transient(&**source) => Recovery::RetryLater,
            Self::OutcomeUnknown { .. } => Recovery::RepeatSame,
            Self::Lost { .. } | Self::Unsynced { .. } => Recovery::Resume,
            Self::CursorExpired { .. } | Self::PositionGone { .. } => Recovery::StartOver,
            Self::NotFound { .. }
            | Self::TurnNotFound { .. }
            | Self::InvalidRequest { .. }
            | Self::AlreadyExists { .. }
            | Self::HasDependents { .. }
            | Self::Corrupt { .. }
            | Self::Unsupported { .. }
            | Self::Backend { .. } => Recovery::GiveUp,
        }
    }

    /// The request is wrong.
    #[must_use]
    pub fn invalid(reason: impl Into<String>) -> Self {
        Self::InvalidRequest { reason: reason.into() }
    }

    /// What the store is built on failed.
    #[must_use]
    pub fn backend(context: impl Into<String>, source: impl Into<BoxError>) -> Self {
        Self::Backend { context: context.into(), source: source.into() }
    }
}

/// Whether what failed may go well a moment later: the system says that something is busy, was interrupted or took too long.
fn is_transient(error: &(dyn Error + 'static)) -> bool {
    let mut causes = std::iter::successors(Some(error), |cause| Error::source(*cause));
    causes.any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| {
            use io::ErrorKind::{
                ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted, NetworkDown, NetworkUnreachable,
                ResourceBusy, StorageFull, TimedOut, WouldBlock,
            };
            matches!(
                error.kind(),
                Interrupted
                    | WouldBlock
                    | TimedOut
                    | ResourceBusy
                    | StorageFull
                    | ConnectionReset
                    | ConnectionAborted
                    | ConnectionRefused
                    | NetworkDown
                    | NetworkUnreachable
            )
        })
    })
}

impl From<ZeroLimit> for StoreError {
    fn from(error: ZeroLimit) -> Self {
        Self::InvalidRequest { reason: error.to_string() }
    }
}

impl From<CursorError> for StoreError {
    fn from(error: CursorError) -> Self {
        Self::InvalidRequest { reason: error.to_string() }
    }
}

impl From<UnknownTurn> for StoreError {
    fn from(UnknownTurn { thread_id, turn_id }: UnknownTurn) -> Self {
        Self::TurnNotFound { thread_id, turn: turn_id.into() }
    }
}

impl From<NoUserMessages> for StoreError {
    fn from(error: NoUserMessages) -> Self {
        Self::InvalidRequest { reason: error.to_string() }
    }
}

impl From<HeadError> for StoreError {
    fn from(error: HeadError) -> Self {
        Self::InvalidRequest { reason: error.to_string() }
    }
}

impl From<EmptySearch> for StoreError {
    fn from(error: EmptySearch) -> Self {
        Self::InvalidRequest { reason: error.to_string() }
    }
}
