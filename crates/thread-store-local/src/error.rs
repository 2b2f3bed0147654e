//! Translates errors of files into errors of the contract.

use std::error::Error;
use std::fs::{self, Metadata};
use std::io;
use std::path::Path;

use selvedge_protocol::ThreadId;
use selvedge_rollout::RolloutError;
use selvedge_thread_store::{Damage, Holder, Result, StoreError};

/// Translates an error of a rollout file.
pub(crate) fn store_error(error: RolloutError) -> StoreError {
    match error {
        RolloutError::Locked { thread_id, holder } => StoreError::Conflict {
            thread_id,
            holder: Holder { process_id: holder.process_id, ..Holder::default() },
            since: None,
        },
        RolloutError::Lost { thread_id, path, what } => {
            StoreError::Lost { thread_id, reason: format!("its file {} {what}", path.display()) }
        }
        RolloutError::Unsynced { thread_id, source, .. } => StoreError::Unsynced { thread_id, source: source.into() },
        RolloutError::AlreadyExists { thread_id, .. } => StoreError::AlreadyExists { thread_id },
        // `TimedOut` means that a retry may succeed: the holder of the lock may release it a moment later.
        error @ RolloutError::LockTimeout { .. } => {
            StoreError::backend(error.to_string(), io::Error::from(io::ErrorKind::TimedOut))
        }
        RolloutError::IncompleteHead { field } => StoreError::invalid(format!("a session_meta needs its {field}")),
        other => StoreError::backend(other.to_string(), source_of(other)),
    }
}

/// Returns the error of the system itself, so that a chain of causes does not repeat the message.
fn source_of(error: RolloutError) -> selvedge_thread_store::BoxError {
    match error {
        RolloutError::Io { source, .. } => source.into(),
        other => other.into(),
    }
}

/// Runs work that finds files and reads them, and repeats it while a file is missing where it was found. Another process may
/// have moved the file in between, for example into the archive.
///
/// Each attempt must find the files again. Nothing below this function retries, so retries do not multiply.
pub(crate) fn retry_if_moved<T>(work: impl FnMut() -> Result<T>) -> Result<T> {
    let is_moved = |error: &StoreError| matches!(error, StoreError::Backend { source, .. } if is_not_found(&**source));
    selvedge_rollout::retry_if_moved(is_moved, work)
}

/// Returns the metadata of a file.
pub(crate) fn stat(path: &Path) -> Result<Metadata> {
    fs::metadata(path).map_err(|error| StoreError::backend("cannot stat a file", error))
}

/// Returns whether the root cause is that the system did not find a file.
fn is_not_found(error: &(dyn Error + 'static)) -> bool {
    let mut causes = std::iter::successors(Some(error), |cause| Error::source(*cause));
    let is_not_found = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    causes.any(|cause| cause.downcast_ref::<io::Error>().is_some_and(is_not_found))
}

/// Returns the error of an operation that needs the bytes of a damaged range.
pub(crate) fn corrupt(thread_id: ThreadId, damage: Damage) -> StoreError {
    StoreError::Corrupt { thread_id, location: damage.location, range: damage.range, reason: damage.reason }
}

/// Returns the conflict with a writer in this process.
pub(crate) fn held_here(thread_id: ThreadId) -> StoreError {
    StoreError::Conflict {
        thread_id,
        holder: Holder { process_id: Some(std::process::id()), ..Holder::default() },
        since: None,
    }
}
