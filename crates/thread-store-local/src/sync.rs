//! Waiting for the medium: those who wait for one thread share a sync, and the threads are synced side by side.
//!
//! A batch is written by the task that appends it, and put here if it has to be synced. Threads that have batches waiting stand in
//! a row, and blocking tasks take one thread after another from it. Under load they do not rest, because to put one to rest and
//! wake it again costs a good part of what a sync costs. While a thread is being synced the next batches gather, and one more
//! sync is for all of them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use selvedge_rollout::WrittenBatch;
use selvedge_thread_store::{Result, StoreError};
use tokio::sync::oneshot;

use crate::error::store_error;
use crate::live::Live;
use crate::store::Inner;

/// How many threads are synced at the same time at most. The medium takes syncs together that wait at the same time, so
/// that more of them cost little; more than this gain nothing.
const SIDE_BY_SIDE: usize = 48;

/// How often a blocking task that finds the row empty lets others run and looks again, before it ends. Under load those who
/// are about to append run then; without load it costs some microseconds.
const LOOKS: usize = 8;

/// The threads that have batches waiting.
#[derive(Debug, Default)]
pub(crate) struct GroupCommitQueue(Mutex<Row>);

#[derive(Debug, Default)]
struct Row {
    threads: VecDeque<Arc<Live>>,
    /// How many blocking tasks are at work.
    workers: usize,
    /// How many of them are about to look again.
    idle: usize,
}

/// The batches of a thread that wait.
#[derive(Debug, Default)]
pub(crate) struct WaitingBatches(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    batches: Vec<(WrittenBatch, oneshot::Sender<Result<()>>)>,
    /// Whether the thread stands in the row or is being synced.
    is_in_row: bool,
}

impl WaitingBatches {
    /// Adds a batch, and says whether the thread has to be put into the row for it.
    fn add(&self, batch: WrittenBatch, done: oneshot::Sender<Result<()>>) -> bool {
        let mut waiting = locked(&self.0);
        waiting.batches.push((batch, done));
        !std::mem::replace(&mut waiting.is_in_row, true)
    }

    /// Syncs what is waiting now, and says whether there is more by then.
    fn settle(&self) -> bool {
        let batches = std::mem::take(&mut locked(&self.0).batches);
        // The sync that is for the last one is for those before it, too.
        for (batch, done) in batches.into_iter().rev() {
            // Who does not wait any more need not know.
            let _ = done.send(batch.sync().map_err(store_error));
        }
        let mut waiting = locked(&self.0);
        waiting.is_in_row = !waiting.batches.is_empty();
        waiting.is_in_row
    }
}

impl GroupCommitQueue {
    /// Puts a thread into the row, and says whether there is work for one more worker.
    fn push(&self, live: Arc<Live>) -> bool {
        let mut row = locked(&self.0);
        row.threads.push_back(live);
        let is_short_of_workers = row.threads.len() > row.idle && row.workers < SIDE_BY_SIDE;
        row.workers += usize::from(is_short_of_workers);
        is_short_of_workers
    }
}

/// A worker, counted for as long as it takes threads from the row, or might have.
struct Worker {
    store: Arc<Inner>,
    is_counted: bool,
}

impl Worker {
    /// Goes through the row until it is empty.
    fn work(mut self) {
        while let Some(live) = self.next() {
            if live.waiting.settle() {
                locked(&self.store.syncs.0).threads.push_back(live);
            }
        }
    }

    /// The next thread. A worker that gives up counts no more, at once: else the next batch would wait for it.
    fn next(&mut self) -> Option<Arc<Live>> {
        let mut row = locked(&self.store.syncs.0);
        for _ in 0..LOOKS {
            if !row.threads.is_empty() {
                break;
            }
            row.idle += 1;
            drop(row);
            std::thread::yield_now();
            row = locked(&self.store.syncs.0);
            row.idle -= 1;
        }
        let next = row.threads.pop_front();
        if next.is_none() {
            row.workers -= 1;
            self.is_counted = false;
        }
        next
    }
}

impl Drop for Worker {
    /// A worker that never came to work, because its runtime ended, does not count either.
    fn drop(&mut self) {
        if self.is_counted {
            locked(&self.store.syncs.0).workers -= 1;
        }
    }
}

/// Waits until a batch of a thread is on the medium.
pub(crate) async fn settle(store: &Arc<Inner>, live: Arc<Live>, batch: WrittenBatch) -> Result<()> {
    let (done, is_done) = oneshot::channel();
    if live.waiting.add(batch, done) && store.syncs.push(live) {
        let worker = Worker { store: Arc::clone(store), is_counted: true };
        tokio::task::spawn_blocking(move || worker.work());
    }
    is_done.await.unwrap_or_else(|error| Err(StoreError::backend("a sync did not finish", error)))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
