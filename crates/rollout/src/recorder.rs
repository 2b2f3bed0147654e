//! The recorder: appends to the log of a thread.

mod batch;
mod resume_point;
mod state;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use selvedge_protocol::{HistoryMode, RolloutItem, SessionMeta, ThreadId};

pub use self::batch::{AppendedLines, WrittenBatch};
use self::resume_point::{find_next_ordinal, guess_mode};
use self::state::{RecorderInner, RecorderState};
use crate::clock::now;
use crate::error::{Result, RolloutError};
use crate::files::placement::SyncPolicy;
use crate::files::side_files::is_compressed;
use crate::history::read_head;
use crate::home::{CachedHome, RolloutFile, RolloutFileName, RolloutHome};
use crate::locks::WriterLock;
use crate::log_file::LogFile;

/// Appends to one segment of a thread. It holds the writer lock of the thread, so no other writer does.
///
/// There is no queue and no background task. [`append`](Self::append) writes the batch by one write from the calling thread, and
/// at level `synced` waits until it is durable. So what was acknowledged is kept, whatever happens to the recorder. Batches
/// from several threads are written one after another.
///
/// An append that fails leaves the file as it was and can be repeated. Only a failed sync is final: the system may drop what it
/// could not write, and report success at a second attempt. So the sync is not repeated, and every further append fails with
/// [`RolloutError::Unsynced`] until the thread is resumed. At level `synced` the file is truncated to what was acknowledged. At
/// level `written` everything in it was acknowledged and stays.
#[derive(Debug)]
pub struct RolloutRecorder {
    home: RolloutHome,
    mode: HistoryMode,
    thread_id: ThreadId,
    /// Whether there is no file yet. It is set under the lock of `inner` and read without it: that lock is held while a
    /// thread is created, which can take seconds.
    is_lazy: AtomicBool,
    inner: Mutex<RecorderInner>,
}

impl RolloutRecorder {
    /// Creates a recorder of a new thread. Before the first [`append`](Self::append) or [`persist`](Self::persist) there is no file
    /// and no lock.
    ///
    /// # Errors
    /// [`RolloutError::IncompleteHead`] if the head has no id or no time.
    pub fn create(home: &RolloutHome, head: SessionMeta) -> Result<Self> {
        Self::create_lazy(home, head, None)
    }

    /// Creates a recorder of a new thread that scans the home before it creates the file. If the thread has any file by then, the
    /// append fails with [`RolloutError::AlreadyExists`]. A recorder of [`create`](Self::create) notices only a file of the same
    /// name, so not one of another date.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn create_in(cached_home: &Arc<CachedHome>, head: SessionMeta) -> Result<Self> {
        Self::create_lazy(cached_home.home(), head, Some(Arc::clone(cached_home)))
    }

    fn create_lazy(home: &RolloutHome, head: SessionMeta, cached_home: Option<Arc<CachedHome>>) -> Result<Self> {
        let thread_id = head.id.ok_or(RolloutError::IncompleteHead { field: "id" })?;
        let at = head.timestamp.ok_or(RolloutError::IncompleteHead { field: "timestamp" })?;
        let mode = head.mode();
        // Ordinals count along the history, so those of a fork begin where its base ends.
        let first_ordinal = head.history_base.as_ref().and_then(|base| base.end_ordinal_exclusive).unwrap_or(0);
        let path = home.active_path(&RolloutFileName::new(at, thread_id, None));
        let state = RecorderState::Lazy { head: Box::new(head.into()), at, lock: None, cached_home };
        let next_ordinal = (mode == HistoryMode::Paginated).then_some(first_ordinal);
        let inner = Mutex::new(RecorderInner { path, state, next_ordinal, scratch: Vec::new() });
        Ok(Self { home: home.clone(), mode, thread_id, is_lazy: AtomicBool::new(true), inner })
    }

    /// Creates a recorder that continues a segment. A compressed file is decompressed first. The first append ends a torn last line
    /// with a newline, so that the next line is a line of its own.
    ///
    /// # Errors
    /// - [`RolloutError::Locked`] if another writer holds the lock of the thread.
    /// - [`RolloutError::Io`] if the system fails to do it.
    pub fn resume(home: &RolloutHome, file: &RolloutFile) -> Result<Self> {
        let lock = WriterLock::acquire(home, file.name.thread_id)?;
        Self::resume_locked(home, file, lock)
    }

    /// Resumes like [`resume`](Self::resume), for a caller that holds the lock of the thread.
    ///
    /// # Errors
    /// [`RolloutError::Io`] if the system fails to do it.
    pub fn resume_locked(home: &RolloutHome, file: &RolloutFile, lock: WriterLock) -> Result<Self> {
        let thread_id = file.name.thread_id;
        // An interrupted compression may have left a compressed file beside the plain one. It would be out of date after the first
        // append, so it is removed here.
        let path = if is_compressed(&file.path) {
            home.decompress_in_place(&file.path)?
        } else {
            home.remove_leftover_compressed(&file.path)?;
            file.path.clone()
        };
        if let Some(dir) = path.parent() {
            home.sweep(dir);
        }
        // All of this happens under the writer lock, so that the last lines read here are still the last ones at the first append.
        // Nothing is written yet: a thread that is resumed and never appended to keeps its bytes.
        let file = RolloutFile { path: path.clone(), name: file.name.plain(), archived: file.archived };
        let head = read_head(&file)?;
        let mode = head.as_ref().map_or_else(|| guess_mode(&path), |head| Ok(head.mode()))?;
        let next_ordinal = match mode {
            HistoryMode::Legacy => None,
            HistoryMode::Paginated => Some(find_next_ordinal(&path, head.as_ref())?),
        };
        let log = LogFile::open(home, thread_id, &path)?;
        log.set_missing_head(|| SessionMeta { history_mode: Some(mode), ..SessionMeta::new(thread_id, now()) }.into());
        let state = RecorderState::Open { log: Arc::new(log), _lock: lock };
        let inner = Mutex::new(RecorderInner { path, state, next_ordinal, scratch: Vec::new() });
        Ok(Self { home: home.clone(), mode, thread_id, is_lazy: AtomicBool::new(false), inner })
    }

    /// Returns the history mode of the thread.
    #[must_use]
    pub fn mode(&self) -> HistoryMode {
        self.mode
    }

    /// Returns the path of the file. While the recorder is lazy, the file does not exist yet.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.inner().path.clone()
    }

    /// Returns whether there is no file yet. The next append then takes the [`WriterLock`] of the thread, and may block for as long
    /// as that takes. This method does not block, not even during such an append.
    #[must_use]
    pub fn is_lazy(&self) -> bool {
        self.is_lazy.load(Ordering::Acquire)
    }

    /// Returns the ordinal of the next line (paginated mode) and the size of the file.
    #[must_use]
    pub fn end(&self) -> (Option<u64>, u64) {
        let inner = self.inner();
        let len = if let RecorderState::Open { log, .. } = &inner.state { log.len() } else { 0 };
        (inner.next_ordinal, len)
    }

    /// Appends a batch of items by one write, and returns when it is as durable as the home's level requires.
    ///
    /// # Errors
    /// Nothing was appended then.
    ///
    /// - [`RolloutError::Closed`] after a shutdown.
    /// - [`RolloutError::Locked`] if another process is writing the same new thread.
    /// - [`RolloutError::AlreadyExists`] if another process has created it.
    /// - [`RolloutError::LockTimeout`] if the lock of a new thread cannot be taken in time.
    /// - [`RolloutError::Lost`] if another program moved, deleted or replaced the file.
    /// - [`RolloutError::Unsynced`] if this sync or an earlier one failed.
    /// - [`RolloutError::Io`] if the system fails to do it.
    pub fn append(&self, items: &[RolloutItem]) -> Result<AppendedLines> {
        let batch = self.write(items)?;
        if self.home.is_synced() {
            batch.sync()?;
        }
        Ok(batch.appended)
    }

    /// Writes a batch without waiting until it is durable: the first half of an [`append`](Self::append). At level `synced` the
    /// batch is acknowledged only after [`WrittenBatch::sync`].
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn write(&self, items: &[RolloutItem]) -> Result<WrittenBatch> {
        let mut inner = self.inner();
        if items.is_empty() && !matches!(inner.state, RecorderState::Closed) {
            let appended = AppendedLines { lines: 0, last_ordinal: inner.last_ordinal() };
            return Ok(WrittenBatch { appended, end: None });
        }
        self.write_locked(&mut inner, items)
    }

    /// Creates the file with its head if it does not exist yet, as durable as the home's level requires.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn persist(&self) -> Result<()> {
        let mut inner = self.inner();
        if matches!(inner.state, RecorderState::Open { .. }) {
            return Ok(());
        }
        // The creation of a file also syncs it by level, so that there is no batch to sync.
        self.write_locked(&mut inner, &[]).map(drop)
    }

    fn write_locked(&self, inner: &mut RecorderInner, items: &[RolloutItem]) -> Result<WrittenBatch> {
        let outcome = inner.write(&self.home, self.thread_id, items);
        if matches!(inner.state, RecorderState::Open { .. }) {
            self.is_lazy.store(false, Ordering::Release);
        }
        outcome
    }

    /// Waits until every append that began before has failed, or is as durable as the home's level requires.
    ///
    /// # Errors
    /// [`RolloutError::Closed`] after a shutdown. At level `synced` as [`sync`](Self::sync).
    pub fn flush(&self) -> Result<()> {
        if self.home.is_synced() {
            return self.sync();
        }
        // At level `written` it is enough to get the lock, which an append holds until its bytes are written.
        self.log().map(drop)
    }

    /// Waits until everything that was appended before is durable, at any level. Returns immediately while the recorder is lazy.
    ///
    /// # Errors
    /// - [`RolloutError::Closed`] after a shutdown.
    /// - [`RolloutError::Unsynced`] if this sync or an earlier one failed. The recorder appends nothing any more then.
    pub fn sync(&self) -> Result<()> {
        // The sync runs without the lock of the recorder, so that other threads can append during it.
        self.log()?.map_or(Ok(()), |log| log.sync_to(log.len()))
    }

    /// Returns the open file. `None` while the recorder is lazy.
    fn log(&self) -> Result<Option<Arc<LogFile>>> {
        let inner = self.inner();
        match &inner.state {
            RecorderState::Lazy { .. } => Ok(None),
            RecorderState::Open { log, .. } => Ok(Some(Arc::clone(log))),
            RecorderState::Closed => Err(RolloutError::Closed { path: inner.path.clone() }),
        }
    }

    /// Ends the recorder: waits for appends that began before, and releases the lock. Nothing can be appended afterwards.
    pub fn shutdown(&self) {
        let mut inner = self.inner();
        inner.state = RecorderState::Closed;
        self.is_lazy.store(false, Ordering::Release);
    }

    /// Creates a later segment of the same thread (paginated mode) with these lines, and appends to it from now on. The segment
    /// before is abandoned: it stays as it is. `next_ordinal` is the ordinal after these lines.
    ///
    /// This is how a revert takes effect. A crash before the new file has its name leaves the thread as it was. The lines are
    /// durable before that, at any level, because the newest segment determines the history: a new segment that lost its
    /// lines would hide the lines of the segments before.
    ///
    /// # Errors
    /// - [`RolloutError::Closed`] if the recorder has no file.
    /// - [`RolloutError::Io`] if the system fails to do it.
    ///
    /// There is no new segment then, and the recorder continues in the present one.
    pub fn switch_segment(&self, segment: &RolloutFile, lines: &[u8], next_ordinal: u64) -> Result<()> {
        let mut inner = self.inner();
        let RecorderState::Open { log, .. } = &mut inner.state else {
            return Err(RolloutError::Closed { path: inner.path.clone() });
        };
        // Both logs belong to the same thread, so the writer lock stays. The ordinals change only after the file exists.
        *log = Arc::new(LogFile::create(&self.home, self.thread_id, &segment.path, SyncPolicy::Always, lines)?);
        inner.path = segment.path.clone();
        inner.next_ordinal = Some(next_ordinal);
        Ok(())
    }

    fn inner(&self) -> MutexGuard<'_, RecorderInner> {
        // A panic while the lock is held leaves at worst an unwritten batch, which was never acknowledged.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
