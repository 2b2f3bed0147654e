//! The file that a recorder appends to: its end, its identity and its durable part.
//!
//! # Positions
//!
//! ```text
//! 0              durable.end           keep                  cursor.len         size of the file
//! |-- durable ---|-- perhaps durable --|-- since last sync --|-- failed write --|
//! ```
//!
//! - `durable.end ≤ keep ≤ cursor.len` at any time.
//! - Bytes before `keep` are never taken back: they were in the file when it was opened, or a sync acknowledged them.
//! - At level `synced`, bytes behind `keep` are not acknowledged yet. At level `written` they are, by the write.
//! - Bytes behind `cursor.len` belong to a write that failed, and are truncated.
//!
//! # After a failure
//!
//! A failed *write* leaves no trace: the file is truncated, at the latest before the next write. A failed *sync* is final, because
//! Linux drops the pages that it could not write, and a second fsync that succeeds proves nothing. The log refuses every
//! further write then, and the thread has to be resumed.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use selvedge_protocol::{RolloutItem, ThreadId};

use crate::error::{IoContext, LostFile, Result, RolloutError};
use crate::file_system::{FileWriter, OpenFile, OpenMode};
use crate::files::line_end::ends_with_newline;
use crate::files::placement::SyncPolicy;
use crate::home::RolloutHome;
use crate::identity::FileIdentity;
use crate::timing::{LONGEST_STREAK_GAP, PATH_CHECK_INTERVAL};

/// An open log. Only its recorder writes to it, one batch at a time. Any thread may sync it.
///
/// There are two locks, so that batches can be written while a sync runs. A function that needs both takes `durable` first.
#[derive(Debug)]
pub(crate) struct LogFile {
    home: RolloutHome,
    thread_id: ThreadId,
    path: PathBuf,
    file: Arc<dyn OpenFile>,
    /// The identity of the open file, to notice that the path leads to another one.
    identity: FileIdentity,
    cursor: Mutex<AppendCursor>,
    durable: Mutex<DurablePrefix>,
}

/// The end of the log, at which the next batch is written.
#[derive(Debug)]
struct AppendCursor {
    /// The size of the file without the bytes of a failed write.
    len: u64,
    /// Whether the last line, written by another writer, lacks its newline.
    torn: bool,
    /// How many bytes of a failed write may follow `len`. More than 0 if they could not be truncated.
    leftover: u64,
    /// The head that an empty file gets with its first lines. The process that created the file died before it wrote one.
    missing_head: Option<Box<RolloutItem>>,
    /// The current streak of writes.
    streak: Option<WriteStreak>,
    /// The error of the sync after which nothing is written any more.
    failed: Option<Arc<io::Error>>,
    /// Whether an event says that the file was lost.
    is_loss_reported: bool,
}

/// A series of writes, each of which begins so soon after the one before that the path need not be checked each time.
#[derive(Clone, Copy, Debug)]
struct WriteStreak {
    /// The time at which the path was known to lead to the file.
    path_checked_at: Instant,
    last_write_ended_at: Instant,
}

/// The part of the log that is durable.
#[derive(Debug)]
struct DurablePrefix {
    /// Bytes before this one are durable. Bytes that were in the file when it was opened count only after a sync.
    end: u64,
    /// Whether the names that lead to the file are durable.
    has_names: bool,
    /// Bytes before this one are never taken back.
    keep: u64,
}

/// What must precede a batch in the file.
pub(crate) struct BatchPrefix {
    /// Whether the batch begins with a newline, which ends a torn line.
    pub(crate) newline: bool,
    /// The head with which the batch begins.
    pub(crate) head: Option<Box<RolloutItem>>,
}

impl LogFile {
    /// Creates the file with its first bytes, atomically.
    pub(crate) fn create(
        home: &RolloutHome,
        thread_id: ThreadId,
        path: &Path,
        policy: SyncPolicy,
        bytes: &[u8],
    ) -> Result<Self> {
        let file = home.place_new_file(path, policy, |out| out.write_all(bytes))?;
        let len = bytes.len() as u64;
        // At level `written` the bytes may be durable, but their name is not.
        let durable_end = if home.is_synced() { len } else { 0 };
        let durable = DurablePrefix { end: durable_end, has_names: home.is_synced(), keep: len };
        Self::new(home, thread_id, path, file, AppendCursor::at(len), durable)
    }

    /// Opens an existing file.
    pub(crate) fn open(home: &RolloutHome, thread_id: ThreadId, path: &Path) -> Result<Self> {
        let file = home.open(path, OpenMode::Append).context("open", path)?;
        let torn = !ends_with_newline(file.file()).context("read", path)?;
        let len = file.file().metadata().context("read", path)?.len();
        let durable = DurablePrefix { end: 0, has_names: false, keep: len };
        Self::new(home, thread_id, path, file, AppendCursor { torn, ..AppendCursor::at(len) }, durable)
    }

    fn new(
        home: &RolloutHome,
        thread_id: ThreadId,
        path: &Path,
        file: Arc<dyn OpenFile>,
        cursor: AppendCursor,
        durable: DurablePrefix,
    ) -> Result<Self> {
        let identity = FileIdentity::of(&file.file().metadata().context("stat", path)?);
        let (home, path) = (home.clone(), path.to_owned());
        Ok(Self { home, thread_id, path, file, identity, cursor: Mutex::new(cursor), durable: Mutex::new(durable) })
    }

    /// Returns the size of the file without the bytes of a failed write.
    pub(crate) fn len(&self) -> u64 {
        locked(&self.cursor).len
    }

    /// Sets the head with which the next batch begins, if the file is empty.
    pub(crate) fn set_missing_head(&self, head: impl FnOnce() -> RolloutItem) {
        let mut cursor = locked(&self.cursor);
        if cursor.len == 0 {
            cursor.missing_head = Some(Box::new(head()));
        }
    }

    /// Returns what must precede the next batch.
    pub(crate) fn batch_prefix(&self) -> BatchPrefix {
        let cursor = locked(&self.cursor);
        BatchPrefix { newline: cursor.torn, head: cursor.missing_head.clone() }
    }

    /// Appends bytes to the file and returns the position behind them. What a failed write left is truncated, immediately or
    /// before the next write.
    pub(crate) fn append(&self, bytes: &[u8]) -> Result<u64> {
        let mut cursor = locked(&self.cursor);
        self.check_not_failed(&cursor)?;
        self.check_path(&mut cursor)?;
        if cursor.leftover > 0 {
            self.truncate_leftover(&mut cursor).context("take back a failed write to", &self.path)?;
        }
        // From here to the update of `len`, the file is longer than `len`. A crash in between leaves a torn batch, which the next
        // writer ends with a newline.
        match FileWriter(&*self.file).write_all(bytes) {
            Ok(()) => {
                cursor.len += bytes.len() as u64;
                cursor.torn = false;
                cursor.missing_head = None;
                if let Some(streak) = &mut cursor.streak {
                    streak.last_write_ended_at = Instant::now();
                }
                Ok(cursor.len)
            }
            Err(error) => {
                cursor.leftover = bytes.len() as u64;
                // If this fails, too, `leftover` makes the next write try again.
                let _ = self.truncate_leftover(&mut cursor);
                Err(error).context("write", &self.path)
            }
        }
    }

    /// Truncates what a failed write left.
    fn truncate_leftover(&self, cursor: &mut AppendCursor) -> io::Result<()> {
        let found = self.file.file().metadata()?.len();
        // A file that grew by more than the failed write has lines of a program that takes no lock. They must not be lost, so
        // the torn batch stays before them, as damage.
        if found > cursor.len && found - cursor.len <= cursor.leftover {
            self.file.set_len(cursor.len)?;
        }
        cursor.leftover = 0;
        Ok(())
    }

    /// Returns an error if a sync has failed.
    fn check_not_failed(&self, cursor: &AppendCursor) -> Result<()> {
        match &cursor.failed {
            Some(source) => Err(self.unsynced(Arc::clone(source))),
            None => Ok(()),
        }
    }

    fn unsynced(&self, source: Arc<io::Error>) -> RolloutError {
        RolloutError::Unsynced { thread_id: self.thread_id, path: self.path.clone(), source }
    }

    /// Returns an error if the path does not lead to the file any more.
    ///
    /// A program that moves or removes the file takes no lock, so this finds only what happened before the check.
    ///
    /// The check costs more than a write: the `stat` alone costs as much. After a `stat` of the times of a file, Linux
    /// also gives the next write a time of finer granularity, which makes that write slower. So within a streak of
    /// writes the path is checked only from time to time.
    fn check_path(&self, cursor: &mut AppendCursor) -> Result<()> {
        if cursor.streak.is_some_and(|streak| streak.needs_no_check()) {
            return Ok(());
        }
        // The time is taken before the `stat`, so that the streak never counts as checked later than it was.
        let path_checked_at = Instant::now();
        let what = match std::fs::metadata(&self.path) {
            Ok(metadata) if FileIdentity::of(&metadata) == self.identity => {
                cursor.streak = Some(WriteStreak { path_checked_at, last_write_ended_at: path_checked_at });
                return Ok(());
            }
            Ok(_) => LostFile::Replaced,
            Err(error) if error.kind() == io::ErrorKind::NotFound => LostFile::Gone,
            Err(error) => return Err(error).context("stat", &self.path),
        };
        // Once: each later append fails, too.
        if !std::mem::replace(&mut cursor.is_loss_reported, true) {
            tracing::warn!(thread_id = %self.thread_id, path = %self.path.display(), "the file of a writer {what}");
        }
        Err(RolloutError::Lost { thread_id: self.thread_id, path: self.path.clone(), what })
    }

    /// Returns when all bytes before `end` and the names of the file are durable.
    ///
    /// This is a group commit: concurrent callers wait for each other at the lock, and one sync serves all whose bytes were
    /// written before it began.
    ///
    /// # Errors
    /// [`RolloutError::Unsynced`] if this sync failed or an earlier one, also one of another caller. It is not repeated: the
    /// system may have dropped what it could not write, and would report success the second time.
    pub(crate) fn sync_to(&self, end: u64) -> Result<()> {
        let mut durable = locked(&self.durable);
        // Another caller's sync may have covered these bytes while this one waited for the lock.
        if durable.has_names && end <= durable.end {
            return Ok(());
        }
        // The sync covers at least what was written before it begins. Bytes that are written during it count only with the next.
        let written = {
            let cursor = locked(&self.cursor);
            self.check_not_failed(&cursor)?;
            cursor.len
        };
        if let Err(error) = self.sync_file_and_names(durable.has_names) {
            let error = Arc::new(error);
            self.stop_writing(&durable, &error);
            return Err(self.unsynced(error));
        }
        durable.has_names = true;
        durable.end = written;
        durable.keep = durable.keep.max(written);
        Ok(())
    }

    fn sync_file_and_names(&self, has_names: bool) -> io::Result<()> {
        self.file.sync()?;
        // The names do not change while the log is open, so that they are synced once.
        if has_names {
            return Ok(());
        }
        self.home.sync_names(&self.path).map_err(|error| match error {
            RolloutError::Io { source, .. } => source,
            other => io::Error::other(other),
        })
    }

    /// Makes the log refuse every further write.
    ///
    /// At level `synced`, bytes behind `keep` were never acknowledged, and their callers get an error now. So they are truncated,
    /// as far as that is possible on a device that fails. At level `written` they were acknowledged and stay.
    fn stop_writing(&self, durable: &DurablePrefix, error: &Arc<io::Error>) {
        let mut cursor = locked(&self.cursor);
        cursor.failed = Some(Arc::clone(error));
        // Nothing is truncated behind the back of a program that appended without a lock.
        let is_ours = || self.file.file().metadata().is_ok_and(|metadata| metadata.len() == cursor.len);
        if self.home.is_synced() && durable.keep < cursor.len && is_ours() && self.file.set_len(durable.keep).is_ok() {
            cursor.len = durable.keep;
        }
    }
}

impl AppendCursor {
    /// Returns the cursor at the end of an intact file of this size.
    const fn at(len: u64) -> Self {
        Self { len, torn: false, leftover: 0, missing_head: None, streak: None, failed: None, is_loss_reported: false }
    }
}

impl WriteStreak {
    /// Returns whether a write that begins now belongs to the streak, and the last check of the path is recent enough.
    fn needs_no_check(self) -> bool {
        self.last_write_ended_at.elapsed() < LONGEST_STREAK_GAP
            && self.last_write_ended_at - self.path_checked_at < PATH_CHECK_INTERVAL
    }
}

/// Locks a mutex, also after a panic: that leaves at worst an unwritten batch, which was never acknowledged.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
