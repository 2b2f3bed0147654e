//! Work that must not stop halfway.

use selvedge_thread_store::{Result, StoreError};
use tokio::runtime::Handle;
use tracing::Instrument;

/// Runs work to its end, even if the caller drops this future. In that case the outcome is dropped.
///
/// The work runs in a task of its own. Without a Tokio runtime the caller runs it, and a dropped future then stops it.
///
/// # Errors
/// - The errors of the work.
/// - `Backend` if the task panicked or the runtime was shut down.
pub(crate) async fn run_to_completion<T: Send + 'static>(
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    let Ok(runtime) = Handle::try_current() else { return work.await };
    // The task belongs to the span of the call.
    match runtime.spawn(work.in_current_span()).await {
        Ok(outcome) => outcome,
        Err(error) => Err(StoreError::backend("a task of the thread manager did not finish", error)),
    }
}
