//! The errors of a store, and what a caller can do about each.

use std::error::Error;
use std::fmt;
use std::io;
use std::ops::Range;
use std::time::Duration;

use selvedge_history::{EmptySearch, HeadError, NoUserMessages, UnknownTurn};
use selvedge_protocol::{CursorError, ThreadId, Timestamp, TurnSelector, ZeroLimit};

use crate::BatchId;

/// An error of the system that a store is built on: files, a database, a network.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// The result of an operation of a store.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// The process that holds a thread's writer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holder {
    /// The process id. `None` if the system does not report it.
    pub process_id: Option<u32>,
    /// The host, in a store that several hosts share.
    pub host: Option<String>,
    /// How long the thread stays held if the process has died. `None` in a store that frees it at once.
    pub held_for: Option<Duration>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_name(f)?;
        match self.held_for {
            // Rounded up: after that time the thread is free.
            Some(time) => write!(f, " (if that has died, the thread is free in {} s)", time.as_secs() + 1),
            None => Ok(()),
        }
    }
}

impl Holder {
    fn write_name(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.process_id, &self.host) {
            (Some(process_id), Some(host)) => write!(f, "process {process_id} on {host}"),
            (Some(process_id), None) => write!(f, "process {process_id}"),
            (None, Some(host)) => write!(f, "a process on {host}"),
            (None, None) => f.write_str("another process"),
        }
    }
}

/// Why an operation of a store failed.
///
/// An operation that fails has changed nothing, unless its own documentation says otherwise.
/// [`recovery`](Self::recovery) returns what a caller can do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no such thread. For an operation on a live thread: the thread is not live in this store.
    #[error("thread {thread_id} not found{}", if *.live { " among the live threads of this store" } else { "" })]
    NotFound {
        /// The thread.
        thread_id: ThreadId,
        /// Whether the operation needs a live thread.
        live: bool,
    },
    /// The thread has no such turn, or the turn was undone.
    #[error("turn {turn} not found in thread {thread_id}")]
    TurnNotFound {
        /// The thread.
        thread_id: ThreadId,
        /// The turn.
        turn: TurnSelector,
    },
    /// The request itself is wrong. Repeating it does not help.
    #[error("invalid request: {reason}")]
    InvalidRequest {
        /// What is wrong with it.
        reason: String,
    },
    /// A thread with this id exists.
    #[error("thread {thread_id} already exists")]
    AlreadyExists {
        /// The thread.
        thread_id: ThreadId,
    },
    /// Another writer holds the thread.
    #[error("thread {thread_id} is being written by {holder}")]
    Conflict {
        /// The thread.
        thread_id: ThreadId,
        /// The process that holds it.
        holder: Holder,
        /// Since when it holds it. `None` if the store does not know.
        since: Option<Timestamp>,
    },
    /// The thread was taken from its writer in this store, by a program that did not claim it.
    #[error("thread {thread_id} was taken from its writer: {reason}; nothing was written")]
    Lost {
        /// The thread.
        thread_id: ThreadId,
        /// What happened to it.
        reason: String,
    },
    /// What was written could not be made durable, so it is unknown how much of it survives a power loss.
    ///
    /// The writer appends nothing any more. Resuming the thread reads what is there.
    #[error(
        "thread {thread_id} could not be synced and is not written any more; resume it to continue with what is there"
    )]
    Unsynced {
        /// The thread.
        thread_id: ThreadId,
        /// What failed.
        source: BoxError,
    },
    /// The answer of the store was lost: the call may or may not have taken effect. Repeating the same call finds out:
    /// it takes effect once.
    #[error("it is not known whether the change of thread {thread_id} took effect")]
    OutcomeUnknown {
        /// The thread.
        thread_id: ThreadId,
        /// The batch id, if the call has one.
        batch: Option<BatchId>,
        /// Why the answer was lost.
        source: BoxError,
    },
    /// A cursor cannot be continued any more, because what it belonged to is gone.
    #[error("the cursor has expired: {reason}; begin with the first page")]
    CursorExpired {
        /// What is gone.
        reason: String,
    },
    /// A position in a thread's history is no longer valid: a repair or a redaction changed or removed the line before
    /// it.
    #[error("the position in thread {thread_id} is gone; start again from the beginning of the thread")]
    PositionGone {
        /// The thread.
        thread_id: ThreadId,
    },
    /// The thread cannot be deleted, because histories of other threads go through it.
    #[error("thread {thread_id} cannot be deleted: {} built on it ({})", count(.dependents), list(.dependents))]
    HasDependents {
        /// The thread.
        thread_id: ThreadId,
        /// The threads whose histories go through it, directly or through further threads, in the order of their ids.
        dependents: Vec<ThreadId>,
    },
    /// Something that is stored cannot be read, and the operation needs it.
    #[error("thread {thread_id} is damaged in {location}, bytes {}..{}: {reason}", .range.start, .range.end)]
    Corrupt {
        /// The thread.
        thread_id: ThreadId,
        /// Where it is: a path, a table.
        location: String,
        /// The affected bytes.
        range: Range<u64>,
        /// What is wrong with them.
        reason: String,
    },
    /// This store does not support the operation.
    #[error("not supported by this store: {what}")]
    Unsupported {
        /// The operation.
        what: String,
    },
    /// The system that the store is built on failed.
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
    /// Call again immediately.
    Retry,
    /// Call again after a pause. The cause may go away.
    RetryLater,
    /// Make the same call again, with the same batch id if it has one. It takes effect once, whether or not the first
    /// call did.
    RepeatSame,
    /// Give up the writer, resume the thread and continue.
    Resume,
    /// Start the walk again, from its first page or from the beginning of the thread.
    StartOver,
    /// Do not repeat the call: it fails again.
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
    /// Creates the error for a thread that does not exist.
    #[must_use]
    pub const fn not_found(thread_id: ThreadId) -> Self {
        Self::NotFound { thread_id, live: false }
    }

    /// Creates the error for a thread that is not live in this store.
    #[must_use]
    pub const fn not_live(thread_id: ThreadId) -> Self {
        Self::NotFound { thread_id, live: true }
    }

    /// Returns what a caller can do about the error.
    #[must_use]
    pub fn recovery(&self) -> Recovery {
        match self {
            // The holder may give the thread up.
            Self::Conflict { .. } => Recovery::RetryLater,
            Self::Backend { source, .. } if is_transient(&**source) => Recovery::RetryLater,
            Self::OutcomeUnknown { .. } => Recovery::RepeatSame,
            // The log is intact; only this writer must not continue.
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

    /// Creates the error for a wrong request.
    #[must_use]
    pub fn invalid(reason: impl Into<String>) -> Self {
        Self::InvalidRequest { reason: reason.into() }
    }

    /// Creates the error for a failure of the system that the store is built on. `context` is what the store was doing.
    #[must_use]
    pub fn backend(context: impl Into<String>, source: impl Into<BoxError>) -> Self {
        Self::Backend { context: context.into(), source: source.into() }
    }
}

/// Returns whether the same call may succeed later: one of the causes is an I/O error that something is busy,
/// interrupted, full or slow.
fn is_transient(error: &(dyn Error + 'static)) -> bool {
    // The I/O error may be anywhere in the chain of causes: a store wraps it, and a database client wraps it before
    // that.
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
