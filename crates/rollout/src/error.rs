//! What can go wrong with files. What is *in* a file is never an error.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use selvedge_protocol::ThreadId;

use crate::LockHolder;

/// The outcome of an operation on files.
pub(crate) type Result<T, E = RolloutError> = std::result::Result<T, E>;

/// Why an operation on files failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RolloutError {
    /// The system refused.
    #[error("cannot {action} {}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody else is writing the thread.
    #[error("thread {thread_id} is being written by {holder}")]
    Locked {
        /// The thread.
        thread_id: ThreadId,
        /// Who.
        holder: LockHolder,
    },
    /// The thread that was to be begun is there already. Nothing was written.
    #[error("there is a thread {thread_id} already: {}", .path.display())]
    AlreadyExists {
        /// The thread.
        thread_id: ThreadId,
        /// A file of it.
        path: PathBuf,
    },
    /// Others have held a lock of the home for too long. Nothing was changed, and the call can be repeated later.
    #[error("{holder} has held {} for more than {} s; nothing was changed", .path.display(), .waited.as_secs())]
    LockTimeout {
        /// The file that is locked.
        path: PathBuf,
        /// Who holds the lock; of several holders one.
        holder: LockHolder,
        /// How long this call waited.
        waited: Duration,
    },
    /// A head without the id and the time that a file name is made of.
    #[error("a session_meta without {field} cannot begin a file")]
    IncompleteHead {
        /// Which field.
        field: &'static str,
    },
    /// The file was taken from its writer by another program. Nothing was written.
    #[error("the file of thread {thread_id} {what}: {}; nothing was written; resume the thread to go on where it is now", .path.display())]
    Lost {
        /// The thread.
        thread_id: ThreadId,
        /// Where the file was.
        path: PathBuf,
        /// What became of it.
        what: LostFile,
    },
    /// What was written could not be put on the medium, so that it is not known what is there. The recorder appends nothing
    /// any more; resuming the thread reads what there is.
    #[error("{} could not be synced, and is not written any more; resume the thread to go on with what is there", .path.display())]
    Unsynced {
        /// The thread.
        thread_id: ThreadId,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// The recorder was shut down.
    #[error("the recorder of {} was shut down", .path.display())]
    Closed {
        /// Its file.
        path: PathBuf,
    },
}

/// What became of a file that a writer had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LostFile {
    /// There is none of its name any more.
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
    /// What kind of error it is in the system's words, if the system has a word for it.
    #[must_use]
    pub fn io_kind(&self) -> Option<io::ErrorKind> {
        match self {
            Self::Io { source, .. } => Some(source.kind()),
            Self::Unsynced { source, .. } => Some(source.kind()),
            Self::AlreadyExists { .. } => Some(io::ErrorKind::AlreadyExists),
            _ => None,
        }
    }

    /// Whether a file was not where it had been found. Others move files, and it can be looked for again.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.io_kind() == Some(io::ErrorKind::NotFound)
    }
}

/// Says what was tried on which path when the system refuses.
pub(crate) trait IoContext<T> {
    fn context(self, action: &'static str, path: &Path) -> Result<T>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn context(self, action: &'static str, path: &Path) -> Result<T> {
        self.map_err(|source| RolloutError::Io { action, path: path.to_owned(), source })
    }
}
