//! The errors of an index.

use selvedge_protocol::{CursorError, ZeroLimit};
use selvedge_rollout::RolloutError;

/// The result of an operation on an index.
pub(crate) type Result<T, E = IndexError> = std::result::Result<T, E>;

/// The error of the database. Its type is not part of the API, because the database library has no stable version.
type DatabaseError = Box<dyn std::error::Error + Send + Sync>;

/// The reason why the index gave no answer. The logs have the answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// Other processes held the database for longer than the timeout.
    #[error("the index is busy")]
    Busy(#[source] DatabaseError),
    /// The file is not a database, or is damaged. When it is opened again, it is set aside and built again.
    #[error("the index is damaged")]
    Damaged(#[source] DatabaseError),
    /// The database cannot be used for another reason.
    #[error("the index cannot be used")]
    Database(#[source] DatabaseError),
    /// The tables could not be created, or another version created them.
    #[error("the index cannot be set up")]
    Setup(#[source] DatabaseError),
    /// A rollout file, or a directory, could not be accessed.
    #[error(transparent)]
    Files(#[from] RolloutError),
    /// The file of the index, or one beside it, could not be accessed.
    #[error("cannot {action} {}", .path.display())]
    Io {
        /// The operation that failed.
        action: &'static str,
        /// The file or directory.
        path: std::path::PathBuf,
        /// The error of the system.
        source: std::io::Error,
    },
    /// The runtime shut down before the work was done.
    #[error("the runtime is shutting down")]
    Cancelled,
    /// The cursor does not belong to this query.
    #[error(transparent)]
    Cursor(#[from] CursorError),
    /// The limit of the page is 0.
    #[error("{}", ZeroLimit)]
    ZeroLimit,
}

impl IndexError {
    /// Returns whether a rollout file was not at the path at which it had been found ([`RolloutError::is_gone`]).
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Files(error) if error.is_gone())
    }
}

/// The codes of SQLite for a database that another connection holds (`SQLITE_BUSY`, `SQLITE_LOCKED`).
const BUSY: [u32; 2] = [5, 6];

/// The codes of SQLite for a file that is damaged or not a database (`SQLITE_CORRUPT`, `SQLITE_NOTADB`).
const DAMAGED: [u32; 2] = [11, 26];

impl From<ZeroLimit> for IndexError {
    fn from(_: ZeroLimit) -> Self {
        Self::ZeroLimit
    }
}

// Public only because `?` needs it in this crate: callers have no `sqlx::Error` to convert.
impl From<sqlx::Error> for IndexError {
    fn from(error: sqlx::Error) -> Self {
        // Extended codes have the primary code in their low byte.
        let code =
            error.as_database_error().and_then(|error| error.code()?.parse::<u32>().ok()).map(|code| code & 0xff);
        match (code, &error) {
            (Some(code), _) if BUSY.contains(&code) => Self::Busy(error.into()),
            (Some(code), _) if DAMAGED.contains(&code) => Self::Damaged(error.into()),
            // This program never writes a column that it cannot decode: the content was damaged.
            (_, sqlx::Error::ColumnDecode { .. } | sqlx::Error::ColumnNotFound(_) | sqlx::Error::Decode(_)) => {
                Self::Damaged(error.into())
            }
            // A closed pool belongs to an index that its owner closed during the operation.
            (_, sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed) => Self::Busy(error.into()),
            _ => Self::Database(error.into()),
        }
    }
}
