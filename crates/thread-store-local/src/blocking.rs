//! The blocking pool of the caller's runtime.

use selvedge_thread_store::{Result, StoreError};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// Returns the runtime of the caller.
///
/// # Errors
/// `Backend` if there is none. Tokio would panic.
pub(crate) fn runtime() -> Result<Handle> {
    Handle::try_current().map_err(|error| {
        let context = "the local store needs a Tokio runtime: call it from a task of one, or within `Runtime::enter`";
        StoreError::backend(context, error)
    })
}

/// Runs work that may block, on the blocking pool of the caller's runtime. It continues if the handle is dropped.
///
/// # Errors
/// As [`runtime`].
pub(crate) fn spawn_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<JoinHandle<T>> {
    Ok(runtime()?.spawn_blocking(work))
}
