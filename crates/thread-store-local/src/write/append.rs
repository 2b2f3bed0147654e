//! The life of a writer: create, resume, append, persist, flush, shut down, discard.
//!
//! ```text
//!   create ──▶ lazy ── first append, or persist ──▶ open ── shutdown, discard ──▶ gone
//!              no file                                ▲
//!                                                resume, with the newest segment
//! ```
//!
//! An append is one `write` of the whole batch. A crash during it leaves a beginning of the batch: its complete lines count, and
//! the next writer ends a torn line with a newline. A batch that is repeated under the same id takes effect once, as long as the
//! claim that remembers it lasts.

use selvedge_history::{head_identity, new_head};
use selvedge_protocol::{Durability, OpenItem, RolloutItem, SessionMeta, ThreadId};
use selvedge_rollout::{RolloutError, RolloutRecorder, WrittenBatch};
use selvedge_thread_store::implement::{BatchOutcome, RecentBatches};
use selvedge_thread_store::{Appended, BatchId, Result, StoreError};

use crate::error::store_error;
use crate::limits::LARGE_BATCH_BYTES;
use crate::store_core::StoreCore;
use crate::store_core::live::LiveClaim;

impl StoreCore {
    pub(crate) fn create(&self, meta: SessionMeta) -> Result<()> {
        let (thread_id, _) = head_identity(&meta)?;
        let meta = new_head(meta)?;
        let files = self.files()?;
        self.ensure_id_is_free(&files, thread_id)?;
        let recorder = RolloutRecorder::create(&self.home, meta).map_err(store_error)?;
        let live = LiveClaim::new(recorder, self.next_epoch());
        self.live.add(thread_id, live).map_err(|_| StoreError::AlreadyExists { thread_id })
    }

    pub(crate) fn resume(&self, thread_id: ThreadId) -> Result<()> {
        self.live.ensure_not_live(thread_id)?;
        let recorder = self.open_recorder(thread_id)?;
        // Two concurrent calls cannot both come here: the writer lock excludes this process, too.
        self.live.add(thread_id, LiveClaim::new(recorder, self.next_epoch()))
    }

    /// Appends a batch to a live thread, and waits for an fsync if the home's level demands one. Blocks the calling thread.
    pub(crate) fn append(&self, thread_id: ThreadId, batch: BatchId, items: &[RolloutItem]) -> Result<Appended> {
        let live = self.live.get(thread_id)?;
        let write = write_once(&live, &mut live.queue.acquire_blocking(), batch, items)?;
        self.sync_write(&live, write)
    }

    /// Waits until a batch of a live thread is as durable as the home's level demands.
    pub(crate) fn sync_write(&self, live: &LiveClaim, write: BatchWrite) -> Result<Appended> {
        let is_synced = self.home.durability() == Durability::Synced;
        match &write {
            BatchWrite::Written(batch) if is_synced => batch.sync().map_err(store_error)?,
            // The call that wrote it may have been dropped before its fsync. Where its batch ended is not known any more, so
            // everything is synced.
            BatchWrite::Repeated(_) if is_synced => live.recorder.sync().map_err(store_error)?,
            BatchWrite::Written(_) | BatchWrite::Repeated(_) => {}
        }
        Ok(write.appended())
    }

    pub(crate) fn persist(&self, thread_id: ThreadId) -> Result<()> {
        let live = self.live.get(thread_id)?;
        let is_lazy = live.recorder.is_lazy();
        live.recorder.persist().map_err(|error| write_error(error, is_lazy))?;
        live.mark_materialized();
        Ok(())
    }

    pub(crate) fn flush(&self, thread_id: ThreadId) -> Result<()> {
        self.live.get(thread_id)?.recorder.flush().map_err(store_error)
    }

    pub(crate) fn sync(&self, thread_id: ThreadId) -> Result<()> {
        self.live.get(thread_id)?.recorder.sync().map_err(store_error)
    }

    pub(crate) fn shutdown(&self, thread_id: ThreadId) -> Result<()> {
        self.flush(thread_id)?;
        self.discard(thread_id)
    }

    pub(crate) fn discard(&self, thread_id: ThreadId) -> Result<()> {
        // Shut down and not just dropped: other calls may still hold the claim, and the writer lock has to end now.
        self.live.remove(thread_id)?.recorder.shutdown();
        Ok(())
    }
}

/// Returns whether a batch is too large to be written by the calling task. Inspects only the kinds of items that can be large.
pub(crate) fn is_large(items: &[RolloutItem]) -> bool {
    let mut bytes = 0;
    items.iter().any(|item| {
        bytes += match item {
            RolloutItem::ResponseItem(item) => item.approximate_len(),
            RolloutItem::Other(item) => OpenItem::json(item).get().len(),
            // It contains a whole history.
            RolloutItem::Compacted(_) => LARGE_BATCH_BYTES,
            // A guess. This runs for every append, and encoding the item to measure it would cost as much as the write.
            _ => 256,
        };
        bytes >= LARGE_BATCH_BYTES
    })
}

/// What became of a batch.
#[derive(Debug)]
pub(crate) enum BatchWrite {
    /// This call wrote it.
    Written(WrittenBatch),
    /// An earlier call with the same batch id wrote it.
    Repeated(Appended),
}

impl BatchWrite {
    pub(crate) fn appended(&self) -> Appended {
        match self {
            Self::Written(batch) => appended(batch),
            Self::Repeated(appended) => *appended,
        }
    }
}

/// Writes a batch of a live thread unless an earlier call did. Does not wait for an fsync. `recent` comes from the thread's
/// permit.
#[inline]
pub(crate) fn write_once(
    live: &LiveClaim,
    recent: &mut RecentBatches,
    batch: BatchId,
    items: &[RolloutItem],
) -> Result<BatchWrite> {
    if let Some(BatchOutcome::Appended(before)) = recent.find(batch) {
        return Ok(BatchWrite::Repeated(before));
    }
    let written = live.recorder.write(items).map_err(|error| write_error(error, live.recorder.is_lazy()))?;
    if !items.is_empty() {
        live.mark_materialized();
        recent.push(batch, BatchOutcome::Appended(appended(&written)));
    }
    Ok(BatchWrite::Written(written))
}

/// Translates the error of a failed write. A lazy thread takes its writer lock with the first write. If another process holds
/// that lock, it is creating a thread of the same id.
fn write_error(error: RolloutError, is_lazy: bool) -> StoreError {
    match error {
        RolloutError::Locked { thread_id, .. } if is_lazy => StoreError::AlreadyExists { thread_id },
        error => store_error(error),
    }
}

fn appended(batch: &WrittenBatch) -> Appended {
    Appended { lines: batch.appended.lines, last_ordinal: batch.appended.last_ordinal }
}
