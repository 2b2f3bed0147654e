//! Work that must not stop half way.

use selvedge_thread_store::{Result, StoreError};
use tokio::runtime::Handle;

/// Does work to its end, also when nobody waits for it any more; its outcome is dropped then. Without a runtime the caller
/// does it.
pub(crate) async fn to_the_end<T: Send + 'static>(work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    let Ok(runtime) = Handle::try_current() else { return work.await };
    match runtime.spawn(work).await {
        Ok(outcome) => outcome,
        Err(error) => Err(StoreError::backend("a task of the thread manager did not finish", error)),
    }
}
