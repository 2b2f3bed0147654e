//! Writing a log.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use selvedge_protocol::{HistoryMode, RolloutItem, RolloutLine, SessionMeta, Timestamp};

use crate::clock::now;
use crate::error::{IoContext, Result, RolloutError};
use crate::files::{create_dir, decompress_in_place, is_compressed, private};
use crate::history::read_head;
use crate::layout::{RolloutFile, RolloutFileName, RolloutHome};
use crate::lock::WriterLock;
use crate::names::ends_with_newline;
use crate::reader::Entry;
use crate::reverse::ReverseReader;

/// What an append came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppendedLines {
    /// How many lines were written, the head included where this append made the file.
    pub lines: u64,
    /// The ordinal of the last line (paginated mode).
    pub last_ordinal: Option<u64>,
}

/// Appends to one segment of a thread and is, by its lock, the only one that does.
///
/// There is no queue and no task behind it: [`append`](Self::append) returns when the batch is in the file, by one write
/// from the calling thread, so whatever becomes of the recorder, what it acknowledged is kept. Batches of several threads
/// go one after another. An append that fails leaves the file as it was and can be repeated.
#[derive(Debug)]
pub struct RolloutRecorder {
    home: RolloutHome,
    mode: HistoryMode,
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
    Lazy { head: Box<RolloutItem>, at: Timestamp, lock: Option<WriterLock> },
    /// The file is open.
    Open { file: File, tail: Tail, lock: WriterLock },
    /// The recorder was shut down.
    Closed,
}

/// How an open file ends.
#[derive(Debug)]
struct Tail {
    /// The size of the file, as far as it is ours.
    len: u64,
    /// Whether the last line, which another writer left, lacks its newline.
    torn: bool,
    /// How many bytes of a failed write may stand behind `len`, when they could not be taken back.
    left_over: u64,
    /// The head that an empty file gets with its first lines: whoever made it did not come to write one.
    head: Option<Box<RolloutItem>>,
}

impl Tail {
    fn of_file(len: u64, torn: bool) -> Self {
        Self { len, torn, left_over: 0, head: None }
    }
}

impl RolloutRecorder {
    /// A recorder of a new thread. Nothing is on disk before the first [`append`](Self::append) or
    /// [`persist`](Self::persist), not even a lock.
    ///
    /// # Errors
    /// [`RolloutError::IncompleteHead`] without an id or a time.
    pub fn create(home: &RolloutHome, head: SessionMeta) -> Result<Self> {
        let thread_id = head.id.ok_or(RolloutError::IncompleteHead { field: "id" })?;
        let at = head.timestamp.ok_or(RolloutError::IncompleteHead { field: "timestamp" })?;
        let mode = head.mode();
        let first_ordinal = head.history_base.as_ref().and_then(|base| base.end_ordinal_exclusive).unwrap_or(0);
        let path = home.active_path(&RolloutFileName::new(at, thread_id, None));
        let state = State::Lazy { head: Box::new(head.into()), at, lock: None };
        let next_ordinal = (mode == HistoryMode::Paginated).then_some(first_ordinal);
        let inner = Mutex::new(Inner { path, state, next_ordinal, scratch: Vec::new() });
        Ok(Self { home: home.clone(), mode, inner })
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
        let path = if is_compressed(&file.path) { decompress_in_place(&file.path)? } else { file.path.clone() };
        let file = RolloutFile { path: path.clone(), name: file.name.plain(), archived: file.archived };
        let head = read_head(&file)?;
        let mode = head.as_ref().map_or_else(|| guess_mode(&path), |head| Ok(head.mode()))?;
        let next_ordinal = match mode {
            HistoryMode::Legacy => None,
            HistoryMode::Paginated => Some(next_ordinal(&path, head.as_ref())?),
        };
        let mut open = private().read(true).append(true).open(&path).context("open", &path)?;
        let torn = !ends_with_newline(&mut open).context("read", &path)?;
        let len = open.metadata().context("read", &path)?.len();
        let mut tail = Tail::of_file(len, torn);
        if len == 0 {
            let head = SessionMeta::new(file.name.thread_id, now());
            tail.head = Some(Box::new(SessionMeta { history_mode: Some(mode), ..head }.into()));
        }
        let state = State::Open { file: open, tail, lock };
        let inner = Mutex::new(Inner { path, state, next_ordinal, scratch: Vec::new() });
        Ok(Self { home: home.clone(), mode, inner })
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

    /// Whether nothing is on disk yet.
    #[must_use]
    pub fn is_lazy(&self) -> bool {
        matches!(self.inner().state, State::Lazy { .. })
    }

    /// The ordinal of the next line (paginated mode), and the size of the file.
    #[must_use]
    pub fn end(&self) -> (Option<u64>, u64) {
        let inner = self.inner();
        let len = if let State::Open { tail, .. } = &inner.state { tail.len } else { 0 };
        (inner.next_ordinal, len)
    }

    /// Appends a batch of items by one write.
    ///
    /// # Errors
    /// [`RolloutError::Closed`] after a shutdown; [`RolloutError::Locked`] when another process made the same thread
    /// meanwhile; [`RolloutError::Io`] when the system refuses. Nothing was appended then.
    pub fn append(&self, items: &[RolloutItem]) -> Result<AppendedLines> {
        let mut inner = self.inner();
        if items.is_empty() && !matches!(inner.state, State::Closed) {
            return Ok(AppendedLines { lines: 0, last_ordinal: inner.last_ordinal() });
        }
        inner.write(&self.home, items)
    }

    /// Makes the file with its head, if it is not there yet.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn persist(&self) -> Result<()> {
        let mut inner = self.inner();
        if matches!(inner.state, State::Open { .. }) { Ok(()) } else { inner.write(&self.home, &[]).map(drop) }
    }

    /// Waits until every append that began before is in the file or has failed.
    ///
    /// # Errors
    /// [`RolloutError::Closed`] after a shutdown.
    pub fn flush(&self) -> Result<()> {
        let inner = self.inner();
        if matches!(inner.state, State::Closed) {
            return Err(RolloutError::Closed { path: inner.path.clone() });
        }
        Ok(())
    }

    /// Ends the recorder: waits for appends that began before and gives up the lock. Nothing can be appended afterwards.
    pub fn shutdown(&self) {
        self.inner().state = State::Closed;
    }

    /// Ends the recorder and hands over its lock; nothing when it had none, or none any more.
    #[must_use]
    pub fn into_lock(self) -> Option<WriterLock> {
        match self.inner.into_inner().unwrap_or_else(PoisonError::into_inner).state {
            State::Lazy { lock, .. } => lock,
            State::Open { lock, .. } => Some(lock),
            State::Closed => None,
        }
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

    fn write(&mut self, home: &RolloutHome, items: &[RolloutItem]) -> Result<AppendedLines> {
        let mut bytes = std::mem::take(&mut self.scratch);
        bytes.clear();
        let lines = self.encode(items, &mut bytes);
        let written = match &self.state {
            State::Lazy { .. } => self.begin(home, &bytes),
            State::Open { .. } => self.extend(&bytes),
            State::Closed => Err(RolloutError::Closed { path: self.path.clone() }),
        };
        self.scratch = bytes;
        self.scratch.shrink_to(1 << 20);
        written?;
        self.next_ordinal = self.next_ordinal.map(|next| next.saturating_add(lines));
        Ok(AppendedLines { lines, last_ordinal: self.last_ordinal() })
    }

    /// Writes the lines of a batch to `bytes`, behind the head or the newline that is due, and says how many they are.
    fn encode(&self, items: &[RolloutItem], bytes: &mut Vec<u8>) -> u64 {
        if let State::Open { tail: Tail { torn: true, .. }, .. } = &self.state {
            bytes.push(b'\n');
        }
        let mut ordinal = self.next_ordinal;
        let mut lines = 0;
        let mut put = |at: Timestamp, item: &RolloutItem| {
            RolloutLine::encode(bytes, at, ordinal, item);
            ordinal = ordinal.map(|ordinal| ordinal.saturating_add(1));
            lines += 1;
        };
        let at = now();
        match &self.state {
            State::Lazy { head, at, .. } => put(*at, head),
            State::Open { tail: Tail { head: Some(head), .. }, .. } => put(at, head),
            _ => {}
        }
        items.iter().for_each(|item| put(at, item));
        lines
    }

    /// Makes the file with its first bytes.
    fn begin(&mut self, home: &RolloutHome, bytes: &[u8]) -> Result<()> {
        let State::Lazy { head, lock, .. } = &mut self.state else { return Ok(()) };
        let lock = match lock.take() {
            Some(lock) => lock,
            None => {
                let RolloutItem::SessionMeta(meta) = &**head else { return Ok(()) };
                let thread_id = meta.id.ok_or(RolloutError::IncompleteHead { field: "id" })?;
                WriterLock::acquire(home, thread_id)?
            }
        };
        match begin_file(&self.path, bytes) {
            Ok(file) => {
                let tail = Tail::of_file(bytes.len() as u64, false);
                self.state = State::Open { file, tail, lock };
                Ok(())
            }
            Err(error) => {
                if let State::Lazy { lock: slot, .. } = &mut self.state {
                    *slot = Some(lock);
                }
                Err(error)
            }
        }
    }

    /// Writes bytes at the end of the file; what a failed write left is taken back, at once or before the next one.
    fn extend(&mut self, bytes: &[u8]) -> Result<()> {
        let State::Open { file, tail, .. } = &mut self.state else { return Ok(()) };
        if tail.left_over > 0 {
            take_back(file, tail).context("take back a failed write to", &self.path)?;
        }
        match file.write_all(bytes) {
            Ok(()) => {
                tail.len += bytes.len() as u64;
                tail.torn = false;
                tail.head = None;
                Ok(())
            }
            Err(error) => {
                tail.left_over = bytes.len() as u64;
                // Should this fail too, the next write tries again.
                let _ = take_back(file, tail);
                Err(error).context("write", &self.path)
            }
        }
    }
}

/// Makes a file of these bytes, or none.
fn begin_file(path: &Path, bytes: &[u8]) -> Result<File> {
    if let Some(dir) = path.parent() {
        create_dir(dir)?;
    }
    let mut file = private().read(true).append(true).create_new(true).open(path).context("create", path)?;
    if let Err(error) = file.write_all(bytes) {
        let _ = fs::remove_file(path);
        return Err(error).context("write", path);
    }
    Ok(file)
}

/// Cuts off what a failed write left. A file that grew by more was written by somebody else, whose lines are not ours to
/// take.
fn take_back(file: &File, tail: &mut Tail) -> io::Result<()> {
    let found = file.metadata()?.len();
    if found > tail.len && found - tail.len <= tail.left_over {
        file.set_len(tail.len)?;
    }
    tail.left_over = 0;
    Ok(())
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
