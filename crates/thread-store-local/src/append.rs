//! The life of a writer: create, resume, append, persist, flush, shutdown, discard.

use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use selvedge_history::{head_identity, new_head};
use selvedge_protocol::{Durability, OpenItem, ResponseItem, RolloutItem, SessionMeta, ThreadId};
use selvedge_rollout::{HomeFiles, RolloutError, RolloutRecorder, WriterLock, WrittenBatch};
use selvedge_thread_store::implement::{BatchOutcome, RecentBatches};
use selvedge_thread_store::{Appended, BatchId, Result, StoreError};

use crate::error::store_error;
use crate::live::Live;
use crate::store::Inner;

/// From how many bytes on a batch is handed to a blocking thread. Below that the hand-over costs more than the write.
const LARGE_BATCH: usize = 256 * 1024;

impl Inner {
    /// Whether a batch is too large to be written by the calling task. Only the kinds that get large are looked at.
    pub(crate) fn is_large(items: &[RolloutItem]) -> bool {
        let mut bytes = 0;
        items.iter().any(|item| {
            bytes += match item {
                RolloutItem::ResponseItem(item) => ResponseItem::json(item).get().len(),
                RolloutItem::Other(item) => OpenItem::json(item).get().len(),
                RolloutItem::Compacted(_) => LARGE_BATCH,
                _ => 256,
            };
            bytes >= LARGE_BATCH
        })
    }

    pub(crate) fn create(&self, meta: SessionMeta) -> Result<()> {
        let (thread_id, _) = head_identity(&meta)?;
        let meta = new_head(meta)?;
        let files = self.files()?;
        self.refuse_existing(&files, thread_id)?;
        let recorder = RolloutRecorder::create(&self.home, meta).map_err(store_error)?;
        self.live.add(thread_id, Live::new(recorder, self.next_epoch())).map_err(|_| already_there(thread_id))
    }

    /// Refuses an id that a thread of this home has.
    pub(crate) fn refuse_existing(&self, files: &HomeFiles, thread_id: ThreadId) -> Result<()> {
        let is_live = self.live.find(thread_id).is_some();
        if is_live || !files.segments(thread_id).is_empty() { Err(already_there(thread_id)) } else { Ok(()) }
    }

    pub(crate) fn resume(&self, thread_id: ThreadId) -> Result<()> {
        self.live.refuse(thread_id)?;
        let recorder = self.open_recorder(thread_id)?;
        self.live.add(thread_id, Live::new(recorder, self.next_epoch()))
    }

    /// A recorder of the newest segment of a cold thread.
    pub(crate) fn open_recorder(&self, thread_id: ThreadId) -> Result<RolloutRecorder> {
        let lock = self.lock_cold(thread_id)?;
        self.open_recorder_with(thread_id, lock)
    }

    /// The same for whoever holds the thread's lock already.
    pub(crate) fn open_recorder_with(&self, thread_id: ThreadId, lock: WriterLock) -> Result<RolloutRecorder> {
        // Only under the lock is it sure which segment is the newest.
        let files = self.files()?;
        self.remove_leftover_compressed(&files, thread_id)?;
        let (_, resolved) = self.remembered.resolve(files, thread_id).map_err(store_error)?;
        let resolved = resolved.ok_or(StoreError::not_found(thread_id))?;
        RolloutRecorder::resume_locked(&self.home, resolved.newest(), lock).map_err(store_error)
    }

    /// The writer lock of a thread that is there and that nobody is writing.
    pub(crate) fn lock_cold(&self, thread_id: ThreadId) -> Result<WriterLock> {
        if self.files()?.segments(thread_id).is_empty() {
            return Err(StoreError::not_found(thread_id));
        }
        self.lock_stored(thread_id)
    }

    /// The same for a thread that is known to be there.
    pub(crate) fn lock_stored(&self, thread_id: ThreadId) -> Result<WriterLock> {
        self.live.refuse(thread_id)?;
        WriterLock::acquire(&self.home, thread_id).map_err(store_error)
    }

    /// Appends a batch, and waits for the medium if the home's level asks for it. For work that may block.
    pub(crate) fn append(&self, thread_id: ThreadId, batch: BatchId, items: &[RolloutItem]) -> Result<Appended> {
        let live = self.live.get(thread_id)?;
        let written = write_once(&live, &mut live.turns.wait_blocking(), batch, items)?;
        self.settle(&live, written)
    }

    /// Waits until what was written of a live thread is as durable as the home's level.
    pub(crate) fn settle(&self, live: &Live, written: Written) -> Result<Appended> {
        let is_synced = self.home.durability() == Durability::Synced;
        match &written {
            Written::Now(batch) if is_synced => batch.sync().map_err(store_error)?,
            Written::Before(_) if is_synced => live.recorder.sync().map_err(store_error)?,
            Written::Now(_) | Written::Before(_) => {}
        }
        Ok(written.appended())
    }

    /// The number of a claim that was just made: the time in microseconds. Of two processes that claim a thread one after
    /// another, the later one has the higher number, though they know nothing of each other.
    fn next_epoch(&self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
        let next = |last: u64| now.max(last.saturating_add(1));
        let set = self.claims.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(next(last)));
        set.map_or(now, next)
    }

    pub(crate) fn persist(&self, thread_id: ThreadId) -> Result<()> {
        let live = self.live.get(thread_id)?;
        let is_lazy = live.recorder.is_lazy();
        live.recorder.persist().map_err(|error| write_error(error, is_lazy))?;
        live.has_begun();
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
        // The lock ends here and now, also while somebody still holds on to the live thread.
        self.live.remove(thread_id)?.recorder.shutdown();
        Ok(())
    }
}

/// What became of a batch.
#[derive(Debug)]
pub(crate) enum Written {
    /// It was written.
    Now(WrittenBatch),
    /// A call before this one wrote it.
    Before(Appended),
}

impl Written {
    pub(crate) fn appended(&self) -> Appended {
        match self {
            Self::Now(batch) => appended(batch),
            Self::Before(appended) => *appended,
        }
    }
}

/// Writes a batch of a live thread unless that was done, and waits for no medium. `recent` is the thread's turn.
#[inline]
pub(crate) fn write_once(
    live: &Live,
    recent: &mut RecentBatches,
    batch: BatchId,
    items: &[RolloutItem],
) -> Result<Written> {
    if let Some(BatchOutcome::Appended(before)) = recent.find(batch) {
        return Ok(Written::Before(before));
    }
    let written = live.recorder.write(items).map_err(|error| write_error(error, live.recorder.is_lazy()))?;
    if !items.is_empty() {
        live.has_begun();
        recent.push(batch, BatchOutcome::Appended(appended(&written)));
    }
    Ok(Written::Now(written))
}

/// The store error of a failed write. Whoever holds the lock of a thread that is not there yet makes a thread of the same id.
fn write_error(error: RolloutError, is_lazy: bool) -> StoreError {
    match error {
        RolloutError::Locked { thread_id, .. } if is_lazy => already_there(thread_id),
        error => store_error(error),
    }
}

/// What a batch came to.
fn appended(batch: &WrittenBatch) -> Appended {
    Appended { lines: batch.appended.lines, last_ordinal: batch.appended.last_ordinal }
}

fn already_there(thread_id: ThreadId) -> StoreError {
    StoreError::AlreadyExists { thread_id }
}
