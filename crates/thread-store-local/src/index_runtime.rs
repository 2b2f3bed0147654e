//! The runtime of the index.
//!
//! SQL takes timers, and the runtime of a caller need not have any: Tokio makes them only where they are asked for, panics where
//! they are missing, and does not say beforehand. So whatever is done with the index finds itself in a runtime of this process's
//! own, which goes on as long as the process does. The caller's runtime still polls the answer to its question; the own one has
//! the timers, the blocking work and the tasks in the background.

use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll};

use tokio::runtime::{Builder, Handle};
use tokio::task::JoinHandle;

/// The runtime; nothing where the system refused a thread for it, and that of the caller has to do.
fn runtime() -> Option<&'static Handle> {
    static RUNTIME: OnceLock<Option<Handle>> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| {
        start().inspect_err(|error| tracing::warn!(%error, "the index works in the runtimes of those who ask it")).ok()
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

/// Does something with the index.
pub(crate) fn with_timers<F: Future>(work: F) -> WithTimers<F> {
    WithTimers { runtime: runtime(), work: Some(Box::pin(work)) }
}

/// Does something with the index in the background.
pub(crate) fn spawn<F>(work: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    match runtime() {
        Some(runtime) => runtime.spawn(work),
        None => tokio::spawn(work),
    }
}

/// Work that finds itself in the runtime of the index, whoever polls it.
#[derive(Debug)]
pub(crate) struct WithTimers<F> {
    runtime: Option<&'static Handle>,
    work: Option<Pin<Box<F>>>,
}

impl<F: Future> Future for WithTimers<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let _entered = self.runtime.map(Handle::enter);
        self.work.as_mut().map_or(Poll::Pending, |work| work.as_mut().poll(context))
    }
}

impl<F> Drop for WithTimers<F> {
    /// A connection that is given back by that begins a task.
    fn drop(&mut self) {
        let _entered = self.runtime.map(Handle::enter);
        self.work = None;
    }
}
