//! A thread's history, line by line, out of its files; and waiting for more of it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use selvedge_history::InheritedPrefix;
use selvedge_protocol::log::{DamageKind, RawContent, RawEntry, RawReader};
use selvedge_protocol::{SegmentId, ThreadId, TurnId};
use selvedge_rollout::{
    FileStamp, HistoryPart, HomeFiles, ResolvedHistory, ReverseReader, RolloutFile, RolloutReader, WriterLock,
    open_bytes, read_head,
};
use selvedge_thread_store::implement::{
    LinePart, LineSource, MissingBytes, RawEntries, RecentBatches, Share, read_lines,
};
use selvedge_thread_store::{LinePage, LineQuery, LineStart, Result, StoreError, TurnBoundary, WriterState};

use crate::error::{look_at, store_error, while_gone};
use crate::live::Live;
use crate::store::{Inner, LocalThreadStore};
use crate::ticker::Wake;

/// How many ticks pass between two looks at the directories of a home: about a second.
pub(crate) const TICKS_PER_WALK: u32 = 13;

/// How many shares are remembered.
const REMEMBERED_SHARES: usize = 1024;

/// How many bytes of a compressed file are kept while it is read backwards.
const BACKWARD_BYTES: usize = 8 << 20;

impl Inner {
    pub(crate) fn read_lines(&self, query: &LineQuery) -> Result<LinePage> {
        let (files, resolved) = self.resolve(self.files()?, query.thread_id)?;
        read_lines(&Source::new(self, &files, &resolved), query)
    }

    /// What the writer of a thread has come to. `recent` is the thread's turn: nothing is appended meanwhile.
    pub(crate) fn writer_state(&self, thread_id: ThreadId, live: &Live, recent: &RecentBatches) -> Result<WriterState> {
        let query = LineQuery { max_lines: 1, ..LineQuery::from(thread_id, LineStart::End) };
        let end = if live.is_begun() { Some(self.read_lines(&query)?.next) } else { None };
        Ok(WriterState { end, last_batch: recent.last(), epoch: live.epoch })
    }

    /// Whether somebody is writing a thread just now, as far as that can be told without a lock.
    pub(crate) fn has_writer(&self, thread_id: ThreadId) -> bool {
        self.live.find(thread_id).is_some() || WriterLock::seems_held(&self.home, thread_id)
    }
}

/// Ends of shares that it took a reading to find, by what they are shares of.
#[derive(Debug, Default)]
pub(crate) struct KnownShares(Mutex<HashMap<(HistoryPart, FileStamp), Share>>);

impl KnownShares {
    fn get(&self, key: &(HistoryPart, FileStamp)) -> Option<Share> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    fn put(&self, key: (HistoryPart, FileStamp), share: Share) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED_SHARES {
            known.clear();
        }
        known.insert(key, share);
    }
}

struct Source<'a> {
    store: &'a Inner,
    files: &'a Arc<HomeFiles>,
    resolved: &'a ResolvedHistory,
    parts: Vec<LinePart>,
}

impl<'a> Source<'a> {
    fn new(store: &'a Inner, files: &'a Arc<HomeFiles>, resolved: &'a ResolvedHistory) -> Self {
        let parts = resolved.parts.iter().map(|part| LinePart {
            segment_id: part.file.name.segment_id(),
            inherited: part.file.name.thread_id != resolved.thread_id,
        });
        Self { store, files, resolved, parts: parts.collect() }
    }

    fn path(&self, part: usize) -> &Path {
        &self.resolved.parts[part].file.path
    }

    /// The byte just past what of the newest segment is sure to be there: while somebody may be writing, its last line is an
    /// entry only with its newline.
    fn newest_end(&self, file: &RolloutFile) -> Result<u64> {
        if file.name.compressed {
            return decompressed_len(file);
        }
        loop {
            let len = look_at(&file.path)?.len();
            if len == 0 || read_at(&file.path, len - 1..len)? == b"\n" {
                return Ok(len);
            }
            if self.store.has_writer(self.resolved.thread_id) {
                return last_newline(&file.path, len);
            }
            // A writer may have finished the line and gone before it was looked for.
            if look_at(&file.path)?.len() == len {
                return Ok(len);
            }
        }
    }
}

impl LineSource for Source<'_> {
    fn thread_id(&self) -> ThreadId {
        self.resolved.thread_id
    }

    fn parts(&self) -> &[LinePart] {
        &self.parts
    }

    fn missing_base(&self) -> Option<MissingBytes> {
        let missing = self.resolved.missing.as_ref()?;
        let reason = format!("the history begins in segment {}, and {}", missing.segment_id, missing.reason);
        Some(MissingBytes { bytes: missing.end.byte, reason })
    }

    fn share(&self, part: usize) -> Result<Share> {
        let part = &self.resolved.parts[part];
        if part.end.is_none() {
            return Ok(Share { end: self.newest_end(&part.file)?, missing: None });
        }
        let stamp = FileStamp::read(&part.file.path).map_err(store_error)?;
        let key = (part.clone(), stamp);
        if let Some(known) = self.store.shares.get(&key) {
            return Ok(known);
        }
        let share = find_share(part)?;
        self.store.shares.put(key, share.clone());
        Ok(share)
    }

    fn entries(&self, part: usize, from: u64) -> Result<RawEntries<'_>> {
        entries(self.path(part), from)
    }

    fn entries_back(&self, part: usize, before: u64) -> Result<RawEntries<'_>> {
        let path = self.path(part);
        if self.resolved.parts[part].file.name.compressed {
            let mut held = Vec::new();
            let mut before = before;
            return Ok(Box::new(std::iter::from_fn(move || {
                next_back_in_compressed(path, &mut before, &mut held).transpose()
            })));
        }
        let reader = ReverseReader::open_before(path, before).map_err(store_error)?;
        Ok(Box::new(Backwards {
            path,
            reader,
            end: before.min(look_at(path)?.len()),
            ready: Vec::new(),
            is_over: false,
        }))
    }

    fn bytes(&self, part: usize, range: Range<u64>) -> Result<Vec<u8>> {
        read_at(self.path(part), range)
    }

    fn former_parts(&self, segment_id: SegmentId) -> Result<Option<Vec<(SegmentId, u64)>>> {
        let Some(file) = self.files.segment(segment_id) else { return Ok(None) };
        let former = ResolvedHistory::ending_with(self.files, file).map_err(store_error)?;
        let source = Source::new(self.store, self.files, &former);
        let ends = (0..former.parts.len()).map(|part| Ok((source.parts[part].segment_id, source.share(part)?.end)));
        ends.collect::<Result<_>>().map(Some)
    }

    fn is_detached(&self) -> Result<bool> {
        let head = read_head(self.resolved.newest()).map_err(store_error)?;
        Ok(head.is_some_and(|head| head.copied_base.is_some()))
    }

    fn turn_start(&self, turn_id: &TurnId) -> Result<(usize, u64)> {
        let head = read_head(self.resolved.newest()).map_err(store_error)?;
        let mode = head.map(|head| head.mode()).unwrap_or_default();
        let found = self.store.resolve_boundary(self.resolved, mode, &TurnBoundary::Before(turn_id.clone()))?;
        Ok(found.before.end_position().unwrap_or((0, 0)))
    }
}

/// Everything that a file holds from a byte on.
fn entries(path: &Path, from: u64) -> Result<RawEntries<'_>> {
    let (bytes, compressed) = open_bytes(path, from..u64::MAX).map_err(store_error)?;
    let mut reader = RawReader::new(BufReader::with_capacity(1 << 16, bytes), from);
    let mut end = from;
    Ok(Box::new(std::iter::from_fn(move || match reader.next()? {
        Ok(entry) => {
            end = entry.range.end;
            Some(Ok(entry))
        }
        // What was decompressed is there; behind it nothing can be read.
        Err(error) if compressed && error.raw_os_error().is_none() => {
            let kind = DamageKind::Compression { reason: error.to_string() };
            let content = RawContent::Damage { kind, is_complete: true };
            Some(Ok(RawEntry { range: end..end, bytes: Vec::new(), content }))
        }
        Err(error) => Some(Err(StoreError::backend(format!("cannot read {}", path.display()), error))),
    })))
}

/// Reads a plain file backwards with all of its bytes.
struct Backwards<'a> {
    path: &'a Path,
    reader: ReverseReader,
    /// The byte just past what was not returned yet.
    end: u64,
    ready: Vec<RawEntry>,
    is_over: bool,
}

impl Backwards<'_> {
    /// Reads the entry before `end`, and the white space behind it.
    fn fill(&mut self) -> Result<()> {
        let Some(entry) = self.reader.next().transpose().map_err(store_error)? else {
            self.is_over = true;
            return self.push_split(0..self.end);
        };
        let range = entry.range().clone();
        // White space belongs to no entry, and a line that is too long is returned in pieces.
        self.push_split(range.start..self.end)
    }

    fn push_split(&mut self, range: Range<u64>) -> Result<()> {
        self.end = range.start;
        for entry in entries(self.path, range.start)? {
            let mut entry = entry?;
            if entry.range.start >= range.end {
                break;
            }
            let len = usize::try_from(range.end - entry.range.start).unwrap_or(usize::MAX);
            entry.bytes.truncate(len);
            entry.range.end = entry.range.end.min(range.end);
            self.ready.push(entry);
        }
        Ok(())
    }
}

impl Iterator for Backwards<'_> {
    type Item = Result<RawEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.ready.is_empty() && !self.is_over {
            if let Err(error) = self.fill() {
                self.is_over = true;
                return Some(Err(error));
            }
        }
        self.ready.pop().map(Ok)
    }
}

/// The entry before a byte of a compressed file, which can be read forwards only: the last ones before it are held, and the
/// file is read again for those before them.
fn next_back_in_compressed(path: &Path, before: &mut u64, held: &mut Vec<RawEntry>) -> Result<Option<RawEntry>> {
    if held.is_empty() && *before > 0 {
        let mut window = std::collections::VecDeque::new();
        let mut bytes = 0;
        for entry in entries(path, 0)? {
            let entry = entry?;
            if entry.range.start >= *before {
                break;
            }
            bytes += entry.bytes.len();
            window.push_back(entry);
            while bytes > BACKWARD_BYTES && window.len() > 1 {
                bytes -= window.pop_front().map_or(0, |entry: RawEntry| entry.bytes.len());
            }
        }
        *held = window.into();
        *before = held.first().map_or(0, |first| first.range.start);
    }
    Ok(held.pop())
}

/// The end of a share, by its byte where that is right and by a reading otherwise.
fn find_share(part: &HistoryPart) -> Result<Share> {
    let mut fold: InheritedPrefix = part.inherited_prefix().map_err(store_error)?;
    if let Some(byte) = part.end.and_then(|end| end.byte).filter(|_| fold.ends_at_byte()) {
        return Ok(Share { end: byte, missing: None });
    }
    let mut is_whole = true;
    for entry in RolloutReader::open(&part.file.path).map_err(store_error)? {
        if !fold.take(&entry.map_err(store_error)?, 0) {
            is_whole = false;
            break;
        }
    }
    let is_short = is_whole && fold.is_short(0);
    let lacking = part.end.and_then(|end| end.byte).and_then(|byte| byte.checked_sub(fold.end_byte()));
    let missing = is_short.then(|| MissingBytes {
        bytes: lacking,
        reason: format!("{} ends before the part of it that this thread builds on", part.file.path.display()),
    });
    Ok(Share { end: fold.end_byte(), missing })
}

/// Bytes of a file, decompressed if its name says so.
fn read_at(path: &Path, range: Range<u64>) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let (mut source, compressed) = open_bytes(path, range).map_err(store_error)?;
    match source.read_to_end(&mut bytes) {
        Err(error) if !compressed => Err(StoreError::backend(format!("cannot read {}", path.display()), error)),
        _ => Ok(bytes),
    }
}

pub(crate) fn decompressed_len(file: &RolloutFile) -> Result<u64> {
    let (mut bytes, _) = open_bytes(&file.path, 0..u64::MAX).map_err(store_error)?;
    let mut block = vec![0; 1 << 16];
    let mut len = 0;
    // A frame that is damaged ends where it cannot be read any more.
    while let Ok(read) = bytes.read(&mut block)
        && read > 0
    {
        len += read as u64;
    }
    Ok(len)
}

/// The byte just past the last newline of a plain file before `end`.
fn last_newline(path: &Path, end: u64) -> Result<u64> {
    let failed = |error: io::Error| StoreError::backend(format!("cannot read {}", path.display()), error);
    let mut file = File::open(path).map_err(failed)?;
    let mut block = vec![0; 1 << 16];
    let mut end = end;
    while end > 0 {
        let start = end.saturating_sub(block.len() as u64);
        let len = usize::try_from(end - start).unwrap_or(block.len());
        file.seek(SeekFrom::Start(start)).map_err(failed)?;
        file.read_exact(&mut block[..len]).map_err(failed)?;
        if let Some(at) = memchr::memrchr(b'\n', &block[..len]) {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// How the files of a thread look from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Outside {
    files: Vec<RolloutFile>,
    newest: Option<FileStamp>,
}

impl Inner {
    fn outside(&self, thread_id: ThreadId) -> Result<Outside> {
        while_gone(|| {
            let files = self.files()?.segments(thread_id).to_vec();
            let newest = files.last().map(|newest| FileStamp::read(&newest.path)).transpose().map_err(store_error)?;
            Ok(Outside { files, newest })
        })
    }
}

impl Outside {
    /// Whether the newest file still looks as it did. Costs one look at it.
    fn is_same(&self) -> bool {
        let newest = self.files.last().map(|newest| FileStamp::read(&newest.path));
        newest.is_some_and(|newest| newest.is_ok_and(|newest| Some(newest) == self.newest))
    }
}

impl LocalThreadStore {
    /// Waits until there is something behind a place: woken by writes of this store, and else by looking at the newest file at
    /// every tick, and at the directories now and then.
    pub(crate) async fn wait_for_lines(&self, query: LineQuery) -> Result<()> {
        let mut ticks = self.inner.ticker.subscribe();
        loop {
            // Before the reading: what changes afterwards looks different.
            let thread_id = query.thread_id;
            let outside = Arc::new(self.blocking(move |store| store.outside(thread_id)).await?);
            let wanted = query.clone();
            let page = self.reading(move |store| store.read_lines(&wanted)).await?;
            if !page.entries.is_empty() || page.rewound_to.is_some() {
                return Ok(());
            }
            for tick in 1_u32.. {
                let known = Arc::clone(&outside);
                let looks_at_directories = ticks.next().await == Wake::Written || tick % TICKS_PER_WALK == 0;
                let is_same = self.blocking(move |store| {
                    Ok(known.is_same() && (!looks_at_directories || store.outside(thread_id)? == *known))
                });
                if !is_same.await? {
                    break;
                }
            }
        }
    }
}
