//! File errors in the words of the contract.

use std::error::Error;
use std::fs::{self, Metadata};
use std::io;
use std::path::Path;

use selvedge_protocol::ThreadId;
use selvedge_rollout::{RolloutError, retry_if_moved};
use selvedge_thread_store::{Damage, Holder, Result, StoreError};

/// The store error that a file error is.
pub(crate) fn store_error(error: RolloutError) -> StoreError {
    match error {
        RolloutError::Locked { thread_id, holder } => StoreError::Conflict {
            thread_id,
            holder: Holder { process_id: holder.process_id, host: None },
            since: None,
        },
        RolloutError::Lost { thread_id, path, what } => {
            StoreError::Lost { thread_id, reason: format!("its file {} {what}", path.display()) }
        }
        RolloutError::Unsynced { thread_id, source, .. } => StoreError::Unsynced { thread_id, source: source.into() },
        RolloutError::AlreadyExists { thread_id, .. } => StoreError::AlreadyExists { thread_id },
        // Whoever holds the lock may be done a moment later.
        error @ RolloutError::LockTimeout { .. } => {
            StoreError::backend(error.to_string(), io::Error::from(io::ErrorKind::TimedOut))
        }
        RolloutError::IncompleteHead { field } => StoreError::invalid(format!("a session_meta needs its {field}")),
        other => StoreError::backend(other.to_string(), source_of(other)),
    }
}

/// The system's own error, so that a chain of causes does not say the same twice.
fn source_of(error: RolloutError) -> selvedge_thread_store::BoxError {
    match error {
        RolloutError::Io { source, .. } => source.into(),
        other => other.into(),
    }
}

/// Does work that looks for files and reads them, and does it again when one was not where it had been found: another process
/// may have moved it meanwhile, into the archive for one.
pub(crate) fn while_gone<T>(work: impl FnMut() -> Result<T>) -> Result<T> {
    retry_if_moved(|error| matches!(error, StoreError::Backend { source, .. } if is_not_found(&**source)), work)
}

/// How a file looks from outside.
pub(crate) fn look_at(path: &Path) -> Result<Metadata> {
    fs::metadata(path).map_err(|error| StoreError::backend("cannot look at a file", error))
}

/// Whether the system said so, at the bottom of it.
fn is_not_found(error: &(dyn Error + 'static)) -> bool {
    let mut causes = std::iter::successors(Some(error), |cause| Error::source(*cause));
    let is_not_found = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    causes.any(|cause| cause.downcast_ref::<io::Error>().is_some_and(is_not_found))
}

/// The error for who cannot do without a stretch that is damaged.
pub(crate) fn corrupt(thread_id: ThreadId, damage: Damage) -> StoreError {
    StoreError::Corrupt { thread_id, place: damage.place, range: damage.range, reason: damage.reason }
}

/// The conflict with a writer in this very process.
pub(crate) fn held_here(thread_id: ThreadId) -> StoreError {
    StoreError::Conflict { thread_id, holder: Holder { process_id: Some(std::process::id()), host: None }, since: None }
}
