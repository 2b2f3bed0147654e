//! Errors of operations on files. The content of a file is never an error: a reader reports damage as data.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use selvedge_protocol::ThreadId;

use crate::locks::LockHolder;

/// The result of an operation on files.
pub(crate) type Result<T, E = RolloutError> = std::result::Result<T, E>;

/// Why an operation on files failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RolloutError {
    /// A call of the system failed.
    #[error("cannot {action} {}", .path.display())]
    Io {
        /// What the call was to do, as a verb.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// Another writer holds the lock of the thread.
    #[error("thread {thread_id} is being written by {holder}")]
    Locked {
        /// The thread.
        thread_id: ThreadId,
        /// The process of that writer.
        holder: LockHolder,
    },
    /// The thread that was to be created exists. Nothing was written.
    #[error("thread {thread_id} already exists: {}", .path.display())]
    AlreadyExists {
        /// The thread.
        thread_id: ThreadId,
        /// A file of the thread.
        path: PathBuf,
    },
    /// Other processes held a lock of the home for too long. Nothing was changed, and the call can be repeated later.
    #[error("{holder} has held {} for more than {} s; nothing was changed", .path.display(), .waited.as_secs())]
    LockTimeout {
        /// The file that is locked.
        path: PathBuf,
        /// The process that holds the lock, or one of them.
        holder: LockHolder,
        /// How long this call waited.
        waited: Duration,
    },
    /// A head lacks the id or the time, from which the name of a file is made.
    #[error("a session_meta without {field} cannot begin a file")]
    IncompleteHead {
        /// The field that is missing.
        field: &'static str,
    },
    /// Another program moved, deleted or replaced the file of a writer. Nothing was written.
    #[error("the file of thread {thread_id} {what}: {}; nothing was written; resume the thread to continue in its present file", .path.display())]
    Lost {
        /// The thread.
        thread_id: ThreadId,
        /// The path at which the file was.
        path: PathBuf,
        /// What happened to the file.
        what: LostFile,
    },
    /// An fsync failed, so that it is unknown what is durable. The recorder refuses every further append. To resume the thread
    /// reads what the file holds.
    #[error("{} could not be synced and is no longer written; resume the thread to continue with what the file holds", .path.display())]
    Unsynced {
        /// The thread.
        thread_id: ThreadId,
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: Arc<io::Error>,
    },
    /// The recorder was shut down.
    #[error("the recorder of {} was shut down", .path.display())]
    Closed {
        /// The file of the recorder.
        path: PathBuf,
    },
}

/// What happened to the file of a writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LostFile {
    /// No file has its name.
    Gone,
    /// Another file has its name.
    Replaced,
}

impl fmt::Display for LostFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gone => "was moved or deleted by another program",
            Self::Replaced => "was replaced by another program",
        })
    }
}

impl RolloutError {
    /// Returns the kind of the system's error. `None` if the error is not one of the system.
    #[must_use]
    pub fn io_kind(&self) -> Option<io::ErrorKind> {
        match self {
            Self::Io { source, .. } => Some(source.kind()),
            Self::Unsynced { source, .. } => Some(source.kind()),
            Self::AlreadyExists { .. } => Some(io::ErrorKind::AlreadyExists),
            _ => None,
        }
    }

    /// Returns whether a file was not at the path where it had been found. Other processes move files, so that the caller can
    /// scan again.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.io_kind() == Some(io::ErrorKind::NotFound)
    }
}

/// Adds the action and the path to an error of the system.
pub(crate) trait IoContext<T> {
    /// Returns the same result, whose error reads "cannot {action} {path}".
    fn context(self, action: &'static str, path: &Path) -> Result<T>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn context(self, action: &'static str, path: &Path) -> Result<T> {
        self.map_err(|source| RolloutError::Io { action, path: path.to_owned(), source })
    }
}
