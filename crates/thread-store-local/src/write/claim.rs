//! Claiming a thread: the writer lock, the recorder, and the number of the claim.

use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use selvedge_protocol::ThreadId;
use selvedge_rollout::{HomeFiles, RolloutRecorder, WriterLock};
use selvedge_thread_store::{Result, StoreError};

use crate::error::store_error;
use crate::store_core::StoreCore;

impl StoreCore {
    /// Checks that no thread of this home has the id.
    ///
    /// # Errors
    /// `AlreadyExists`.
    pub(crate) fn ensure_id_is_free(&self, files: &HomeFiles, thread_id: ThreadId) -> Result<()> {
        let is_live = self.live.find(thread_id).is_some();
        let exists = is_live || !files.segments(thread_id).is_empty();
        if exists { Err(StoreError::AlreadyExists { thread_id }) } else { Ok(()) }
    }

    /// Takes the writer lock of a thread that exists and has no writer.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` if it has a writer.
    pub(crate) fn lock_cold(&self, thread_id: ThreadId) -> Result<WriterLock> {
        if self.files()?.segments(thread_id).is_empty() {
            return Err(StoreError::not_found(thread_id));
        }
        self.lock_known(thread_id)
    }

    /// Takes the writer lock of a thread that is known to exist.
    ///
    /// # Errors
    /// `Conflict` if it has a writer.
    pub(crate) fn lock_known(&self, thread_id: ThreadId) -> Result<WriterLock> {
        // The file lock alone would refuse the claim, too. This check reports a conflict with this process, and touches no file.
        self.live.ensure_not_live(thread_id)?;
        WriterLock::acquire(&self.home, thread_id).map_err(store_error)
    }

    /// Opens a recorder of the newest segment of a cold thread.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` if it has a writer.
    pub(crate) fn open_recorder(&self, thread_id: ThreadId) -> Result<RolloutRecorder> {
        let lock = self.lock_cold(thread_id)?;
        self.open_recorder_locked(thread_id, lock)
    }

    /// Opens a recorder of the newest segment of a thread whose lock the caller holds.
    ///
    /// # Errors
    /// `NotFound`.
    pub(crate) fn open_recorder_locked(&self, thread_id: ThreadId, lock: WriterLock) -> Result<RolloutRecorder> {
        // The files are listed under the lock: before that, another writer could revert the thread and begin a newer segment.
        let files = self.files()?;
        self.remove_compressed_leftovers(&files, thread_id)?;
        let (_, resolved) = self.cached_home.resolve(files, thread_id).map_err(store_error)?;
        let resolved = resolved.ok_or(StoreError::not_found(thread_id))?;
        RolloutRecorder::resume_locked(&self.home, resolved.newest(), lock).map_err(store_error)
    }

    /// Removes what an interrupted compression or decompression left beside the files of a thread. The plain file is the valid
    /// one. After the next append, a compressed file beside it would have other content.
    fn remove_compressed_leftovers(&self, files: &HomeFiles, thread_id: ThreadId) -> Result<()> {
        let compressed = files.all_files(thread_id).filter(|file| file.name.compressed);
        let plain = compressed.map(|file| file.path.with_extension("")).filter(|plain| plain.is_file());
        plain.into_iter().try_for_each(|plain| self.home.remove_leftover_compressed(&plain)).map_err(store_error)
    }

    /// Returns the number of a claim that was just made, its epoch: the time in microseconds, or one more than the last number
    /// if the clock did not advance.
    ///
    /// Processes that claim a thread one after the other need no shared counter: the later one has the higher number, as long
    /// as the clock is not set back in between.
    pub(crate) fn next_epoch(&self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
        // Relaxed is enough: the number only has to be unique and rising, and no other data depends on it.
        let next = |last: u64| now.max(last.saturating_add(1));
        let set = self.newest_epoch.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(next(last)));
        set.map_or(now, next)
    }
}
