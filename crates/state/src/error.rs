//! What can go wrong with an index.

use selvedge_protocol::{CursorError, ZeroLimit};
use selvedge_rollout::RolloutError;

/// The outcome of an operation on an index.
pub(crate) type Result<T, E = IndexError> = std::result::Result<T, E>;

/// Why the index gave no answer. The log has it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// Others held the database for the whole busy time.
    #[error("the index is busy")]
    Busy(#[source] sqlx::Error),
    /// The database cannot be read as one. Opened again, it is set aside and built anew.
    #[error("the index is damaged")]
    Damaged(#[source] sqlx::Error),
    /// The database cannot be used for another reason.
    #[error("the index cannot be used")]
    Database(#[source] sqlx::Error),
    /// Its schema could not be made.
    #[error("the index cannot be set up")]
    Setup(#[source] sqlx::migrate::MigrateError),
    /// A rollout file or the directory of the index refused.
    #[error(transparent)]
    Files(#[from] RolloutError),
    /// Its file could not be set aside.
    #[error("cannot {action} {}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or directory.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The runtime shut down before the work was done.
    #[error("the runtime is shutting down")]
    Cancelled,
    /// A cursor that is none of this query.
    #[error(transparent)]
    Cursor(#[from] CursorError),
    /// A page that could hold nothing.
    #[error("{}", ZeroLimit)]
    ZeroLimit,
}

impl IndexError {
    /// Whether a rollout file was not where it had been found ([`RolloutError::is_gone`]).
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Files(error) if error.is_gone())
    }
}

/// SQLite's codes for a database that others hold (`SQLITE_BUSY`, `SQLITE_LOCKED`).
const BUSY: [u32; 2] = [5, 6];

/// SQLite's codes for a file that is no database or a broken one (`SQLITE_CORRUPT`, `SQLITE_NOTADB`).
const DAMAGED: [u32; 2] = [11, 26];

impl From<ZeroLimit> for IndexError {
    fn from(_: ZeroLimit) -> Self {
        Self::ZeroLimit
    }
}

impl From<sqlx::Error> for IndexError {
    fn from(error: sqlx::Error) -> Self {
        // Extended codes keep the plain one in their low byte.
        let code =
            error.as_database_error().and_then(|error| error.code()?.parse::<u32>().ok()).map(|code| code & 0xff);
        match (code, &error) {
            (Some(code), _) if BUSY.contains(&code) => Self::Busy(error),
            (Some(code), _) if DAMAGED.contains(&code) => Self::Damaged(error),
            // A column that does not hold what this schema puts there was not written by it.
            (_, sqlx::Error::ColumnDecode { .. } | sqlx::Error::ColumnNotFound(_) | sqlx::Error::Decode(_)) => {
                Self::Damaged(error)
            }
            // Closed by its owner: whoever was still at it is not waited for.
            (_, sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed) => Self::Busy(error),
            _ => Self::Database(error),
        }
    }
}
