//! Errors of the database: which are worth another attempt, and what callers get.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::time::Duration;

use selvedge_protocol::ThreadId;
use selvedge_thread_store::{BatchId, StoreError};
use sqlx::ConnectOptions;

use crate::PostgresOptions;

/// The SQLSTATE for a role without a right.
const NO_RIGHTS: &str = "42501";
/// How long the cause of a missing connection is looked for.
const CAUSE_LIMIT: Duration = Duration::from_secs(2);

/// Why an attempt of an operation failed.
#[derive(Debug)]
pub(crate) enum AttemptError {
    /// The operation is refused. Another attempt would be refused, too.
    Refused(StoreError),
    /// Another change came between two statements. The operation has to begin again.
    Overtaken,
    /// The database failed before anything could take effect.
    Database(sqlx::Error),
    /// The answer of a statement that commits was lost: it may have taken effect.
    Unanswered(sqlx::Error),
}

impl AttemptError {
    /// Converts the error of a statement that commits.
    ///
    /// An error that the server reports is an answer: nothing took effect. Exceptions are a shutdown (see [`is_shutdown`]), 40003
    /// (it is not known whether the statement was completed), and 08xxx: a server that passes statements on, as a pooler or a
    /// foreign table does, has lost the one that keeps the rows.
    pub(crate) fn of_commit(error: sqlx::Error) -> Self {
        match code_of(&error).as_deref() {
            Some(code) if !is_shutdown(code) && code != "40003" && !code.starts_with("08") => Self::Database(error),
            _ => Self::Unanswered(error),
        }
    }

    /// Returns whether another attempt may succeed.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Refused(_) => false,
            Self::Overtaken => true,
            Self::Database(error) | Self::Unanswered(error) => is_transient(error),
        }
    }

    /// Returns the failure with its [cause](with_cause), if it is a connection that did not come.
    pub(crate) async fn with_cause(self, options: &PostgresOptions) -> Self {
        match self {
            Self::Database(error) => Self::Database(with_cause(error, options).await),
            Self::Unanswered(error) => Self::Unanswered(with_cause(error, options).await),
            other => other,
        }
    }

    /// Converts the last failure of an operation into the error that the caller gets.
    ///
    /// `may_have_happened` reports whether the answer of an earlier attempt was lost.
    pub(crate) fn into_error(
        self,
        thread_id: Option<ThreadId>,
        batch: Option<BatchId>,
        may_have_happened: bool,
    ) -> StoreError {
        match (self, thread_id) {
            (Self::Refused(error), _) => error,
            (Self::Overtaken, _) => {
                let busy =
                    io::Error::new(io::ErrorKind::ResourceBusy, "other changes of the thread came between each time");
                StoreError::backend("the change could not be made", busy)
            }
            (Self::Unanswered(error), Some(thread_id)) => unknown(thread_id, batch, error),
            (Self::Database(error), Some(thread_id)) if may_have_happened => unknown(thread_id, batch, error),
            (Self::Unanswered(error) | Self::Database(error), _) => backend(error),
        }
    }
}

impl fmt::Display for AttemptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(error) => error.fmt(f),
            Self::Overtaken => f.write_str("another change came between"),
            Self::Database(error) | Self::Unanswered(error) => error.fmt(f),
        }
    }
}

impl From<sqlx::Error> for AttemptError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl From<StoreError> for AttemptError {
    fn from(error: StoreError) -> Self {
        Self::Refused(error)
    }
}

fn unknown(thread_id: ThreadId, batch: Option<BatchId>, error: sqlx::Error) -> StoreError {
    StoreError::OutcomeUnknown { thread_id, batch, source: error.into() }
}

/// Converts an error of the database. A transient one gets an I/O error as its source, by which
/// [`StoreError::recovery`] recognizes it.
pub(crate) fn backend(error: sqlx::Error) -> StoreError {
    if is_transient(&error) {
        let context = match code_of(&error).as_deref() {
            Some("25006") => "the server can be read only: it is a replica, or no longer the primary",
            _ => "the database does not answer",
        };
        return StoreError::backend(context, io::Error::new(io::ErrorKind::ConnectionAborted, error));
    }
    let context = match code_of(&error).as_deref() {
        Some(NO_RIGHTS) => {
            "the role of the database connection may not do this (`selvedge store roles` prints the SQL that gives rights)"
        }
        _ => "the database failed",
    };
    StoreError::backend(context, error)
}

/// Returns why the server gave no connection in time, if `error` says only that it did not.
///
/// A pool tries again in silence while the server refuses connections. One attempt beside it finds the cause.
pub(crate) async fn with_cause(error: sqlx::Error, options: &PostgresOptions) -> sqlx::Error {
    if !matches!(error, sqlx::Error::PoolTimedOut) {
        return error;
    }
    match tokio::time::timeout(CAUSE_LIMIT, options.connect.connect()).await {
        Ok(Err(cause)) => cause,
        // The connections of this process are in use, or the server accepts a connection and says nothing.
        Ok(Ok(_)) | Err(_) => error,
    }
}

/// Returns whether a call failed because the role of the connection has not the rights for it.
pub(crate) fn lacks_rights(error: &StoreError) -> bool {
    let StoreError::Backend { source, .. } = error else { return false };
    source.downcast_ref::<sqlx::Error>().is_some_and(|error| code_of(error).as_deref() == Some(NO_RIGHTS))
}

/// Returns the SQLSTATE of an error that the server reports.
fn code_of(error: &sqlx::Error) -> Option<Cow<'_, str>> {
    error.as_database_error()?.code()
}

/// Returns whether the same statement may succeed later.
///
/// | SQLSTATE | meaning |
/// | --- | --- |
/// | 40001, 40003, 40P01 | serialization failure, unknown completion, deadlock |
/// | 55P03 | `lock_timeout`, by which an engine of several servers can end a deadlock that none of them sees |
/// | 57P01, 57P02, 57P03 | the server is shutting down, crashed, or starting |
/// | 08xxx | the connection failed |
/// | 25006 | read-only: the connection is to a server that is no longer the primary |
/// | 53300 | too many connections |
fn is_transient(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            matches!(&*code, "40001" | "40003" | "40P01" | "55P03" | "25006" | "53300")
                || code.starts_with("08")
                || is_shutdown(&code)
        }),
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::WorkerCrashed => true,
        // An answer that is cut off in the middle of a message.
        sqlx::Error::Protocol(_) | sqlx::Error::Tls(_) => true,
        _ => false,
    }
}

/// Returns whether the error ends the connection: the server reports it and does not say what became of the statement.
fn is_shutdown(code: &str) -> bool {
    matches!(code, "57P01" | "57P02" | "57P03")
}

/// Returns the pause before the next attempt of an operation, counted from 0. It has a random part, so that many clients do not
/// come back at the same moment.
pub(crate) fn pause(attempt: u32) -> Duration {
    let longest = Duration::from_millis(20 << attempt.min(6));
    longest.mul_f64(0.5 + jitter() / 2.0)
}

/// Returns a random number from 0 to 1.
pub(crate) fn jitter() -> f64 {
    // The low bits of a fresh UUIDv7 are random, and need no other source of randomness.
    f64::from(uuid::Uuid::now_v7().as_u128() as u16) / f64::from(u16::MAX)
}
