//! Group commit at level `synced`: callers that wait for the same thread share an fsync, and several threads are synced in
//! parallel.
//!
//! The task that appends a batch writes it, and adds it here. A thread with pending batches is in a queue, from which
//! blocking tasks (workers) take one thread after another. While a worker syncs a thread, the next batches of that thread
//! collect, and one more fsync serves them all.
//!
//! ```text
//!              add: first pending batch          worker takes it
//!   ┌──────┐ ─────────────────────────▶ ┌────────┐ ───────────▶ ┌─────────┐
//!   │ idle │                            │ queued │              │ syncing │ (add: the batch collects)
//!   └──────┘ ◀────────────┐             └────────┘ ◀─────────── └─────────┘
//!                         │                          batches         │
//!                         └────────────── none collected ────────────┘
//! ```
//!
//! A thread is in the queue at most once, so two workers never sync the same file.
//!
//! A worker that finds the queue empty polls it a few times before it ends. It does not sleep until there is work:
//! putting a thread to sleep and waking it again costs a good part of what an fsync costs.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use selvedge_rollout::WrittenBatch;
use selvedge_thread_store::{Result, StoreError};
use tokio::sync::oneshot;

use super::live::LiveClaim;
use crate::limits::{IDLE_POLLS, MAX_SYNC_WORKERS};

/// The queue of the threads that have batches to sync. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct GroupCommitQueue(Arc<Mutex<CommitQueueState>>);

#[derive(Debug, Default)]
struct CommitQueueState {
    /// Claims and not just their batches: a claim holds the writer lock, and until the fsync is done no other process may write the
    /// file. After a failed fsync it may have to be truncated.
    threads: VecDeque<Arc<LiveClaim>>,
    /// How many workers there are.
    workers: usize,
    /// How many of them found the queue empty and are about to poll again.
    idle: usize,
}

impl GroupCommitQueue {
    /// Waits until a batch of a live thread is durable.
    ///
    /// # Errors
    /// Those of the fsync; `Backend` if the runtime ended before it.
    pub(crate) async fn sync(&self, live: Arc<LiveClaim>, batch: WrittenBatch) -> Result<()> {
        let (done, is_done) = oneshot::channel();
        if live.unsynced.add(batch, done) && self.push(live) {
            let worker = SyncWorker { queue: self.clone(), is_counted: true };
            tokio::task::spawn_blocking(move || worker.run());
        }
        is_done.await.unwrap_or_else(|error| Err(StoreError::backend("a sync did not finish", error)))
    }

    /// Puts a thread into the queue. Returns whether the caller has to start another worker, which is counted already.
    fn push(&self, live: Arc<LiveClaim>) -> bool {
        let mut state = self.state();
        state.threads.push_back(live);
        // Idle workers are about to poll: each of them takes one of the waiting threads.
        let is_short_of_workers = state.threads.len() > state.idle && state.workers < MAX_SYNC_WORKERS;
        state.workers += usize::from(is_short_of_workers);
        is_short_of_workers
    }

    fn state(&self) -> MutexGuard<'_, CommitQueueState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A worker, counted as long as it takes threads from the queue.
struct SyncWorker {
    queue: GroupCommitQueue,
    is_counted: bool,
}

impl SyncWorker {
    /// Syncs thread after thread until the queue stays empty.
    fn run(mut self) {
        while let Some(live) = self.next() {
            if live.unsynced.sync() {
                // To the end of the queue, so that one busy thread does not starve the others.
                self.queue.state().threads.push_back(live);
            }
        }
    }

    /// Returns the next thread. `None` if the worker has to end.
    fn next(&mut self) -> Option<Arc<LiveClaim>> {
        let mut state = self.queue.state();
        for _ in 0..IDLE_POLLS {
            if !state.threads.is_empty() {
                break;
            }
            state.idle += 1;
            drop(state);
            std::thread::yield_now();
            state = self.queue.state();
            state.idle -= 1;
        }
        let next = state.threads.pop_front();
        if next.is_none() {
            // Under the lock of this last poll. If it counted any longer, `push` might rely on a worker that is about to end,
            // and the next batch would wait for ever.
            state.workers -= 1;
            self.is_counted = false;
        }
        next
    }
}

impl Drop for SyncWorker {
    /// Uncounts a worker that never ran because its runtime ended.
    fn drop(&mut self) {
        if self.is_counted {
            self.queue.state().workers -= 1;
        }
    }
}
