//! Blocking file work on behalf of async code.

use crate::error::{IndexError, Result};

/// Runs file work on the blocking thread pool. The caller must not hold a transaction: files can take any time, and SQLite
/// cannot truncate its log while a transaction reads an old state of it.
///
/// # Errors
/// The errors of the work, and [`IndexError::Cancelled`] if the runtime shuts down first.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        // A panic of the work is a panic of the caller, as if it had called the work itself.
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(IndexError::Cancelled),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_is_cancelled_by_a_shutdown_is_an_error() {
        let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
        let gone = runtime();
        let handle = gone.handle().clone();
        gone.shutdown_background();
        let mut work = std::pin::pin!(blocking(|| Ok(())));
        let work = std::future::poll_fn(|context| {
            let _inside = handle.enter();
            work.as_mut().poll(context)
        });
        assert!(matches!(runtime().block_on(work), Err(IndexError::Cancelled)));
    }
}
