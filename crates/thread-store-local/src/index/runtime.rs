//! The runtime of the index.
//!
//! The database driver needs timers, and the caller's runtime may have none: Tokio creates them only on request, and panics if
//! they are missing, without a way to ask first. So the index has a runtime of its own, one per process. The caller's runtime
//! still polls the query; the runtime of the index has the timers, the blocking work and the background tasks.

use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll};

use tokio::runtime::{Builder, Handle};
use tokio::task::JoinHandle;

/// Returns the runtime. `None` if the system refused a thread for it; then the caller's runtime is used.
fn runtime() -> Option<&'static Handle> {
    static RUNTIME: OnceLock<Option<Handle>> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| {
        start().inspect_err(|error| tracing::warn!(%error, "the index works in the runtimes of its callers")).ok()
    });
    runtime.as_ref()
}

fn start() -> std::io::Result<Handle> {
    let runtime = Builder::new_current_thread().enable_time().thread_name("selvedge-index-files").build()?;
    let handle = runtime.handle().clone();
    let thread = std::thread::Builder::new().name("selvedge-index".to_owned());
    thread.spawn(move || runtime.block_on(std::future::pending::<()>()))?;
    Ok(handle)
}

/// Runs work with the index in the calling task, with the timers of the index's runtime.
pub(crate) fn with_timers<F: Future>(work: F) -> WithTimers<F> {
    WithTimers { runtime: runtime(), work: Some(Box::pin(work)) }
}

/// Runs work with the index in the background.
pub(crate) fn spawn<F>(work: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    match runtime() {
        Some(runtime) => runtime.spawn(work),
        None => tokio::spawn(work),
    }
}

/// Work that enters the runtime of the index whenever it is polled.
#[derive(Debug)]
pub(crate) struct WithTimers<F> {
    runtime: Option<&'static Handle>,
    /// `None` only while it is being dropped.
    work: Option<Pin<Box<F>>>,
}

impl<F: Future> Future for WithTimers<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        // Entered for one poll only: the guard belongs to this OS thread, and the next poll may come from another.
        let _entered = self.runtime.map(Handle::enter);
        self.work.as_mut().map_or(Poll::Pending, |work| work.as_mut().poll(context))
    }
}

impl<F> Drop for WithTimers<F> {
    /// Drops the work inside the runtime: a connection that goes back to its pool spawns a task.
    fn drop(&mut self) {
        let _entered = self.runtime.map(Handle::enter);
        self.work = None;
    }
}
