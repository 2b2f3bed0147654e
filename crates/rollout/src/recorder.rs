//! Writing a log.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use selvedge_protocol::log::Entry;
use selvedge_protocol::{HistoryMode, RolloutItem, RolloutLine, SessionMeta, ThreadId, Timestamp};

use crate::clock::now;
use crate::error::{Result, RolloutError};
use crate::files::{Content, is_compressed};
use crate::history::read_head;
use crate::layout::{RolloutFile, RolloutFileName, RolloutHome};
use crate::lock::WriterLock;
use crate::log_file::{Before, LogFile};
use crate::reverse::ReverseReader;
use crate::walk::CachedHome;

/// What an append came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppendedLines {
    /// How many lines were written, the head included where this append made the file.
    pub lines: u64,
    /// The ordinal of the last line (paginated mode).
    pub last_ordinal: Option<u64>,
}

/// A batch that is in the file, and perhaps not on the medium yet.
#[derive(Debug)]
#[must_use = "a batch may have to be settled"]
pub struct WrittenBatch {
    /// What the append came to.
    pub appended: AppendedLines,
    /// The file, and where the batch ends in it; nothing for an empty batch.
    place: Option<(Arc<LogFile>, u64)>,
}

impl WrittenBatch {
    /// Waits until the batch is on the medium. Batches of one file that are settled at the same time share a sync. It does not
    /// matter whether the recorder is still there.
    ///
    /// # Errors
    /// As [`RolloutRecorder::sync`].
    pub fn settle(&self) -> Result<()> {
        self.place.as_ref().map_or(Ok(()), |(log, end)| log.sync_to(*end))
    }
}

/// Appends to one segment of a thread and is, by its lock, the only one that does.
///
/// There is no queue and no task behind it: [`append`](Self::append) returns when the batch is in the file, by one write
/// from the calling thread, and at level synced when it is on the medium; so whatever becomes of the recorder, what it
/// acknowledged is kept. Batches of several threads go one after another. An append that fails leaves the file as it was and
/// can be repeated.
///
/// One failure is final, that of a sync: what the system could not put on the medium it may forget, and say of a second try
/// that it went well. So nothing is tried again. At level synced the file is cut back to what was acknowledged, at level
/// written all of it was; the recorder appends nothing any more and says [`RolloutError::Unsynced`], until the thread is
/// resumed.
#[derive(Debug)]
pub struct RolloutRecorder {
    home: RolloutHome,
    mode: HistoryMode,
    thread_id: ThreadId,
    /// Whether nothing is on disk yet. It is written under the lock of `inner`, and read without: that lock is held while a
    /// thread is begun, which can take seconds.
    is_lazy: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    state: State,
    /// The ordinal of the next line (paginated mode).
    next_ordinal: Option<u64>,
    /// Room for the bytes of a batch.
    scratch: Vec<u8>,
}

#[derive(Debug)]
enum State {
    /// Nothing is on disk yet; the head waits for the first append.
    Lazy {
        head: Box<RolloutItem>,
        at: Timestamp,
        lock: Option<WriterLock>,
        /// Where to look for files that the thread has by then.
        remembered: Option<Arc<CachedHome>>,
    },
    /// The file is open.
    Open { log: Arc<LogFile>, _lock: WriterLock },
    /// The recorder was shut down.
    Closed,
}

impl RolloutRecorder {
    /// Creates a recorder of a new thread. Nothing is on disk before the first [`append`](Self::append) or
    /// [`persist`](Self::persist), not even a lock.
    ///
    /// # Errors
    /// [`RolloutError::IncompleteHead`] without an id or a time.
    pub fn create(home: &RolloutHome, head: SessionMeta) -> Result<Self> {
        Self::create_lazy(home, head, None)
    }

    /// The same, and looks once more when the file is made: if the thread has one by then, whatever its date, the append fails
    /// with [`RolloutError::AlreadyExists`]. A recorder of [`create`](Self::create) notices only a file of the same name.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn create_in(remembered: &Arc<CachedHome>, head: SessionMeta) -> Result<Self> {
        Self::create_lazy(remembered.home(), head, Some(Arc::clone(remembered)))
    }

    fn create_lazy(home: &RolloutHome, head: SessionMeta, remembered: Option<Arc<CachedHome>>) -> Result<Self> {
        let thread_id = head.id.ok_or(RolloutError::IncompleteHead { field: "id" })?;
        let at = head.timestamp.ok_or(RolloutError::IncompleteHead { field: "timestamp" })?;
        let mode = head.mode();
        let first_ordinal = head.history_base.as_ref().and_then(|base| base.end_ordinal_exclusive).unwrap_or(0);
        let path = home.active_path(&RolloutFileName::new(at, thread_id, None));
        let state = State::Lazy { head: Box::new(head.into()), at, lock: None, remembered };
        let next_ordinal = (mode == HistoryMode::Paginated).then_some(first_ordinal);
        let inner = Mutex::new(Inner { path, state, next_ordinal, scratch: Vec::new() });
        Ok(Self { home: home.clone(), mode, thread_id, is_lazy: AtomicBool::new(true), inner })
    }

    /// A recorder that goes on with a segment. A compressed one is decompressed first; a torn last line is sealed by a
    /// newline at the first append, so that the next line stands alone.
    ///
    /// # Errors
    /// [`RolloutError::Locked`] when somebody else is writing the thread; [`RolloutError::Io`] when the system refuses.
    pub fn resume(home: &RolloutHome, file: &RolloutFile) -> Result<Self> {
        let lock = WriterLock::acquire(home, file.name.thread_id)?;
        Self::resume_locked(home, file, lock)
    }

    /// As [`resume`](Self::resume), for who holds the thread's lock already.
    ///
    /// # Errors
    /// [`RolloutError::Io`] when the system refuses.
    pub fn resume_locked(home: &RolloutHome, file: &RolloutFile, lock: WriterLock) -> Result<Self> {
        let thread_id = file.name.thread_id;
        let path = if is_compressed(&file.path) {
            home.decompress_in_place(&file.path)?
        } else {
            home.remove_left_compressed(&file.path)?;
            file.path.clone()
        };
        if let Some(dir) = path.parent() {
            home.sweep(dir);
        }
        let file = RolloutFile { path: path.clone(), name: file.name.plain(), archived: file.archived };
        let head = read_head(&file)?;
        let mode = head.as_ref().map_or_else(|| guess_mode(&path), |head| Ok(head.mode()))?;
        let next_ordinal = match mode {
            HistoryMode::Legacy => None,
            HistoryMode::Paginated => Some(next_ordinal(&path, head.as_ref())?),
        };
        let log = LogFile::open(home, thread_id, &path)?;
        log.begin_with(|| SessionMeta { history_mode: Some(mode), ..SessionMeta::new(thread_id, now()) }.into());
        let state = State::Open { log: Arc::new(log), _lock: lock };
        let inner = Mutex::new(Inner { path, state, next_ordinal, scratch: Vec::new() });
        Ok(Self { home: home.clone(), mode, thread_id, is_lazy: AtomicBool::new(false), inner })
    }

    /// How the log is kept.
    #[must_use]
    pub fn mode(&self) -> HistoryMode {
        self.mode
    }

    /// The file, which is not there yet while the recorder is lazy.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.inner().path.clone()
    }

    /// Whether nothing is on disk yet. The next append takes the thread's [`WriterLock`] then, and may block for as long as
    /// that takes; this method does not, also while such an append is going on.
    #[must_use]
    pub fn is_lazy(&self) -> bool {
        self.is_lazy.load(Ordering::Acquire)
    }

    /// The ordinal of the next line (paginated mode), and the size of the file.
    #[must_use]
    pub fn end(&self) -> (Option<u64>, u64) {
        let inner = self.inner();
        let len = if let State::Open { log, .. } = &inner.state { log.len() } else { 0 };
        (inner.next_ordinal, len)
    }

    /// Appends a batch of items by one write, and returns when it is as durable as the home's level.
    ///
    /// # Errors
    /// [`RolloutError::Closed`] after a shutdown; [`RolloutError::Locked`] when another process is writing the same new thread;
    /// [`RolloutError::AlreadyExists`] when one has; [`RolloutError::LockTimeout`] when the lock of a new thread cannot be
    /// taken; [`RolloutError::Lost`] when another program took the file away; [`RolloutError::Unsynced`] when a sync
    /// failed, this time or before; [`RolloutError::Io`] when the system refuses. Nothing was appended then.
    pub fn append(&self, items: &[RolloutItem]) -> Result<AppendedLines> {
        let batch = self.write(items)?;
        if self.home.is_synced() {
            batch.settle()?;
        }
        Ok(batch.appended)
    }

    /// The first half of an [`append`](Self::append), for who waits for the medium elsewhere: writes the batch. At level synced
    /// it is not acknowledged before it was [settled](WrittenBatch::settle).
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn write(&self, items: &[RolloutItem]) -> Result<WrittenBatch> {
        let mut inner = self.inner();
        if items.is_empty() && !matches!(inner.state, State::Closed) {
            let appended = AppendedLines { lines: 0, last_ordinal: inner.last_ordinal() };
            return Ok(WrittenBatch { appended, place: None });
        }
        self.write_locked(&mut inner, items)
    }

    /// Makes the file with its head, if it is not there yet, as durable as the home's level.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn persist(&self) -> Result<()> {
        let mut inner = self.inner();
        if matches!(inner.state, State::Open { .. }) {
            return Ok(());
        }
        // What makes the file settles it, too.
        self.write_locked(&mut inner, &[]).map(drop)
    }

    fn write_locked(&self, inner: &mut Inner, items: &[RolloutItem]) -> Result<WrittenBatch> {
        let outcome = inner.write(&self.home, self.thread_id, items);
        if matches!(inner.state, State::Open { .. }) {
            self.is_lazy.store(false, Ordering::Release);
        }
        outcome
    }

    /// Waits until every append that began before has failed, or is as durable as the home's level.
    ///
    /// # Errors
    /// [`RolloutError::Closed`] after a shutdown; at level synced as [`sync`](Self::sync).
    pub fn flush(&self) -> Result<()> {
        if self.home.is_synced() {
            return self.sync();
        }
        self.log().map(drop)
    }

    /// Waits until everything that was appended before is on the medium, whatever the home's level. Nothing is there to wait
    /// for while the recorder is lazy.
    ///
    /// # Errors
    /// [`RolloutError::Closed`] after a shutdown; [`RolloutError::Unsynced`] when the system could not put it there, this time
    /// or before: the recorder appends nothing any more then.
    pub fn sync(&self) -> Result<()> {
        // Without the recorder's own lock, so that others may append meanwhile.
        self.log()?.map_or(Ok(()), |log| log.sync_to(log.len()))
    }

    /// The open file; none while the recorder is lazy.
    fn log(&self) -> Result<Option<Arc<LogFile>>> {
        let inner = self.inner();
        match &inner.state {
            State::Lazy { .. } => Ok(None),
            State::Open { log, .. } => Ok(Some(Arc::clone(log))),
            State::Closed => Err(RolloutError::Closed { path: inner.path.clone() }),
        }
    }

    /// Ends the recorder: waits for appends that began before and gives up the lock. Nothing can be appended afterwards.
    pub fn shutdown(&self) {
        let mut inner = self.inner();
        inner.state = State::Closed;
        self.is_lazy.store(false, Ordering::Release);
    }

    /// Begins a later segment of the same thread (paginated mode) with these lines, and appends to that one from now on.
    /// `next_ordinal` is that of the line behind them. The lines are on the medium before the file has its name, at any level:
    /// they hide what the segments before hold.
    ///
    /// # Errors
    /// [`RolloutError::Closed`] unless the recorder has a file; [`RolloutError::Io`] when the system refuses. There is no new
    /// segment then, and the recorder goes on in the one that it had.
    pub fn switch_segment(&self, segment: &RolloutFile, lines: &[u8], next_ordinal: u64) -> Result<()> {
        let mut inner = self.inner();
        let State::Open { log, .. } = &mut inner.state else {
            return Err(RolloutError::Closed { path: inner.path.clone() });
        };
        *log = Arc::new(LogFile::create(&self.home, self.thread_id, &segment.path, Content::Whole, lines)?);
        inner.path = segment.path.clone();
        inner.next_ordinal = Some(next_ordinal);
        Ok(())
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // A panic while the lock is held leaves at worst an unwritten batch, which was never acknowledged.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn last_ordinal(&self) -> Option<u64> {
        self.next_ordinal.and_then(|next| next.checked_sub(1))
    }

    fn write(&mut self, home: &RolloutHome, thread_id: ThreadId, items: &[RolloutItem]) -> Result<WrittenBatch> {
        let mut bytes = std::mem::take(&mut self.scratch);
        bytes.clear();
        let lines = self.encode(items, &mut bytes);
        let written = match &self.state {
            State::Lazy { .. } => self.begin(home, thread_id, &bytes),
            State::Open { log, .. } => log.extend(&bytes).map(|end| (Arc::clone(log), end)),
            State::Closed => Err(RolloutError::Closed { path: self.path.clone() }),
        };
        self.scratch = bytes;
        self.scratch.shrink_to(1 << 20);
        let place = written?;
        self.next_ordinal = self.next_ordinal.map(|next| next.saturating_add(lines));
        let appended = AppendedLines { lines, last_ordinal: self.last_ordinal() };
        Ok(WrittenBatch { appended, place: Some(place) })
    }

    /// Writes the lines of a batch to `bytes`, behind the head or the newline that is due, and says how many they are.
    fn encode(&self, items: &[RolloutItem], bytes: &mut Vec<u8>) -> u64 {
        let now = now();
        let (newline, head) = match &self.state {
            State::Lazy { head, at, .. } => (false, Some((*at, head.clone()))),
            State::Open { log, .. } => {
                let Before { newline, head } = log.before();
                (newline, head.map(|head| (now, head)))
            }
            State::Closed => (false, None),
        };
        if newline {
            bytes.push(b'\n');
        }
        let mut ordinal = self.next_ordinal;
        let mut lines = 0;
        let mut put = |at: Timestamp, item: &RolloutItem| {
            RolloutLine::encode(bytes, at, ordinal, item);
            ordinal = ordinal.map(|ordinal| ordinal.saturating_add(1));
            lines += 1;
        };
        if let Some((at, head)) = head {
            put(at, &head);
        }
        items.iter().for_each(|item| put(now, item));
        lines
    }

    /// Makes the file with its first bytes.
    fn begin(&mut self, home: &RolloutHome, thread_id: ThreadId, bytes: &[u8]) -> Result<(Arc<LogFile>, u64)> {
        let State::Lazy { lock, .. } = &mut self.state else {
            return Err(RolloutError::Closed { path: self.path.clone() });
        };
        let lock = match lock.take() {
            Some(lock) => lock,
            None => WriterLock::acquire(home, thread_id)?,
        };
        match self.make_file(home, thread_id, bytes) {
            Ok(log) => {
                let log = Arc::new(log);
                self.state = State::Open { log: Arc::clone(&log), _lock: lock };
                Ok((log, bytes.len() as u64))
            }
            // The thread is somebody else's, who may want its lock.
            Err(error @ RolloutError::AlreadyExists { .. }) => Err(error),
            Err(error) => {
                if let State::Lazy { lock: slot, .. } = &mut self.state {
                    *slot = Some(lock);
                }
                Err(error)
            }
        }
    }

    /// Makes the file. For who holds the thread's lock: nobody else begins the thread meanwhile.
    fn make_file(&self, home: &RolloutHome, thread_id: ThreadId, bytes: &[u8]) -> Result<LogFile> {
        if let State::Lazy { remembered: Some(remembered), .. } = &self.state
            && let Some(file) = remembered.files()?.all_files(thread_id).next()
        {
            return Err(RolloutError::AlreadyExists { thread_id, path: file.path.clone() });
        }
        LogFile::create(home, thread_id, &self.path, Content::Log, bytes).map_err(|error| match error {
            RolloutError::Io { path, source, .. }
                if path == self.path && source.kind() == io::ErrorKind::AlreadyExists =>
            {
                RolloutError::AlreadyExists { thread_id, path }
            }
            error => error,
        })
    }
}

/// The mode of a file without a readable head: ordinals are written in paginated mode only.
fn guess_mode(path: &Path) -> Result<HistoryMode> {
    for entry in ReverseReader::open(path)?.take(64) {
        if let Entry::Line(record) = entry?
            && record.line.ordinal().is_some()
        {
            return Ok(HistoryMode::Paginated);
        }
    }
    Ok(HistoryMode::Legacy)
}

/// In how many of the last lines the highest ordinal is looked for, and in how many bytes at most beyond the last line.
const COUNTED_LINES: usize = 256;
const COUNTED_BYTES: u64 = 1 << 20;

/// The ordinal after the highest one near the end of the file; after the base's, if the file has none. The last line need
/// not have the highest: damage may have left an older stretch there once more.
fn next_ordinal(path: &Path, head: Option<&SessionMeta>) -> Result<u64> {
    let mut highest = None;
    let mut counted = 0;
    let mut end = None;
    for entry in ReverseReader::open(path)? {
        let Entry::Line(record) = entry? else { continue };
        let end = *end.get_or_insert(record.range.start);
        let is_far = counted >= COUNTED_LINES || end.saturating_sub(record.range.start) > COUNTED_BYTES;
        if highest.is_some() && is_far {
            break;
        }
        counted += 1;
        highest = highest.max(record.line.ordinal());
    }
    let base = head.and_then(|head| head.history_base.as_ref()?.end_ordinal_exclusive);
    Ok(highest.map_or(base.unwrap_or(0), |highest| highest.saturating_add(1)))
}
