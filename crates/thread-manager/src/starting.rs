//! A thread whose start has not ended yet.
//!
//! The manager does not list such a thread: a start that fails must not leave a thread that other tasks have found
//! meanwhile.

use std::ops::Deref;
use std::sync::Arc;

use crate::live::LiveThread;
use crate::registry::Registry;

/// A thread whose start has several steps, of which any may fail.
///
/// [`commit`](Self::commit) ends the start. If the value is dropped before, the thread is discarded: the claim ends,
/// and a thread to which nothing was appended leaves no trace. What was appended stays, as a cold thread.
#[derive(Debug)]
pub struct StartingThread {
    live: Arc<LiveThread>,
    /// The registry of the manager that gets the thread.
    registry: Arc<Registry<LiveThread>>,
    is_committed: bool,
}

impl StartingThread {
    pub(crate) fn new(live: Arc<LiveThread>, registry: Arc<Registry<LiveThread>>) -> Self {
        Self { live, registry, is_committed: false }
    }

    /// Ends the start: the thread is one of the manager's live threads from now on, and subscribers are notified.
    pub async fn commit(self) -> Arc<LiveThread> {
        let is_open = self.live.is_open().await;
        let registry = Arc::clone(&self.registry);
        let live = self.hand_over();
        if is_open {
            registry.announce(live.id());
        } else {
            // The thread was shut down or discarded before the commit, so it is neither live nor new to anyone.
            // `hand_over` has added it.
            registry.remove(live.id(), &live);
        }
        live
    }

    /// Adds the thread to the manager's live threads, without a notification.
    pub(crate) fn hand_over(mut self) -> Arc<LiveThread> {
        self.is_committed = true;
        self.registry.add(self.live.id(), &self.live);
        self.live.watch_idle();
        Arc::clone(&self.live)
    }
}

impl Deref for StartingThread {
    type Target = LiveThread;

    fn deref(&self) -> &LiveThread {
        &self.live
    }
}

impl Drop for StartingThread {
    fn drop(&mut self) {
        if self.is_committed {
            return;
        }
        // Discarding needs a task. Without a runtime the claim ends with the process.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let live = Arc::clone(&self.live);
        runtime.spawn(async move {
            if let Err(error) = live.discard().await {
                tracing::warn!(thread_id = %live.id(), %error, "cannot discard a thread whose start failed");
            }
        });
    }
}
