//! A thread's row, folded from its log: whole, or onto what an index knows.

use std::hash::{DefaultHasher, Hasher};
use std::ops::Range;
use std::path::Path;

use selvedge_history::MetadataFold;
use selvedge_protocol::{RolloutLine, SegmentId, StoredThread};
use selvedge_rollout::{Entry, FileStamp, HistoryEntry, LineRecord, ResolvedHistory, RolloutFile, RolloutReader};

use crate::error::Result;
use crate::told::{Tail, Told, TurnIndexer, TurnSink};

/// What was read of a file, so that the next reading can begin there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Just past the last whole line.
    pub(crate) end: u64,
    /// Where that line begins.
    pub(crate) last_line_start: u64,
    /// What that line was.
    pub(crate) last_line_hash: u64,
}

impl Mark {
    /// Takes in a line; one without its newline may yet grow and is read again.
    fn pass(&mut self, record: &LineRecord) {
        let text = record.line.text().as_bytes();
        if record.range.end - record.range.start > text.len() as u64 {
            *self = Self { end: record.range.end, last_line_start: record.range.start, last_line_hash: hash(text) };
        }
    }

    /// Whether a file that looked like `known` when it was read has only grown since.
    pub(crate) fn is_grown(&self, path: &Path, known: &FileStamp, now: &FileStamp) -> bool {
        now.inode == known.inode && now.size > known.size && self.end > 0 && self.still_holds(path)
    }

    /// Whether the file still holds the line that was its last one when it was read.
    pub(crate) fn still_holds(&self, path: &Path) -> bool {
        let range: Range<u64> = self.last_line_start..self.end;
        let Ok(mut reader) = RolloutReader::open_range(path, range.clone()) else { return false };
        matches!(
            reader.next(),
            Some(Ok(Entry::Line(record)))
                if record.range == range && hash(record.line.text().as_bytes()) == self.last_line_hash
        )
    }
}

/// A hash that need not be the same in another build: then files are read again.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

/// A thread as its files say it.
#[derive(Clone, Debug)]
pub(crate) struct ScannedThread {
    /// The row; name, place in the archive and path are not in its log.
    pub(crate) thread: StoredThread,
    /// How the newest segment looked before it was read, and how far it was.
    pub(crate) stamp: FileStamp,
    pub(crate) mark: Mark,
    /// Whether a tail can be folded onto the row: its own head was read.
    pub(crate) is_resumable: bool,
    /// The other segments that the history goes through.
    pub(crate) bases: Vec<SegmentId>,
    /// Whether a base is missing or shorter than its reference says.
    pub(crate) is_incomplete: bool,
    /// Its turns, or those of its tail.
    pub(crate) told: Told,
    /// Where the shares of the parts before the last one end.
    pub(crate) share_ends: Vec<u64>,
    /// How many bytes were read for it.
    pub(crate) bytes_read: u64,
}

/// Reads the whole history of a thread.
pub(crate) fn scan(resolved: &ResolvedHistory, sink: &mut impl TurnSink) -> Result<ScannedThread> {
    let scanned = scan_whole(resolved, true, sink)?;
    if !scanned.told.affects_earlier_turns {
        return Ok(scanned);
    }
    sink.restart_thread();
    let again = scan_whole(resolved, false, sink)?;
    Ok(ScannedThread { bytes_read: scanned.bytes_read + again.bytes_read, ..again })
}

fn scan_whole(resolved: &ResolvedHistory, in_pieces: bool, sink: &mut impl TurnSink) -> Result<ScannedThread> {
    let newest = resolved.newest();
    let stamp = FileStamp::read(&newest.path)?;
    let last_part = resolved.parts.len() - 1;
    let mut fold = MetadataFold::new(resolved.thread_id, resolved.fallback_created_at());
    let mut teller = TurnIndexer::whole(in_pieces);
    let (mut mark, mut is_resumable, mut is_incomplete) = (Mark::default(), false, resolved.missing.is_some());
    let mut share_ends = vec![0; last_part];
    let mut bytes_read = 0;
    for entry in resolved.reader() {
        let (part, record) = match entry? {
            HistoryEntry::Entry { part, entry: Entry::Line(record) } => (part, record),
            HistoryEntry::Entry { part, entry: Entry::Damage(damage) } => {
                teller.damage(part, &damage);
                continue;
            }
            HistoryEntry::Short { .. } => {
                is_incomplete = true;
                continue;
            }
        };
        bytes_read += record.range.end - record.range.start;
        if resolved.is_inherited(part) {
            fold.observe_inherited(&record.line);
        } else {
            fold.observe_line(&record.line);
        }
        teller.line(part, &record, sink);
        if part == last_part {
            is_resumable |= is_head(&record.line);
            mark.pass(&record);
        } else {
            share_ends[part] = record.range.end;
        }
    }
    let told = teller.finish(last_part, mark.end, sink);
    // Of a compressed file no tail can be read.
    is_resumable &= !newest.name.compressed && told.tail.is_some();
    let bases = resolved.parts[..last_part].iter().map(|part| part.file.name.segment_id());
    let missing = resolved.missing.iter().map(|missing| missing.segment_id);
    Ok(ScannedThread {
        thread: fold.into_thread(),
        stamp,
        mark,
        is_resumable,
        bases: bases.chain(missing).collect(),
        share_ends,
        is_incomplete,
        told,
        bytes_read,
    })
}

/// What is known of a thread whose log grew.
#[derive(Clone, Debug)]
pub(crate) struct KnownThread {
    pub(crate) thread: StoredThread,
    /// In how many files its history stands.
    pub(crate) parts: usize,
    pub(crate) mark: Mark,
    pub(crate) tail: Tail,
}

/// Reads what was appended to a file since its mark, and the turn that may go on, and folds it onto what is known. Nothing
/// when a line is there that changes what the ones before it meant.
pub(crate) fn scan_tail(
    file: &RolloutFile,
    known: KnownThread,
    sink: &mut impl TurnSink,
) -> Result<Option<ScannedThread>> {
    let stamp = FileStamp::read(&file.path)?;
    let KnownThread { thread, parts, mut mark, tail } = known;
    let appended_at = mark.end;
    let last_part = parts.saturating_sub(1);
    let mut fold = MetadataFold::resume(thread);
    let mut teller = TurnIndexer::tail(&tail, last_part);
    let mut bytes_read = 0;
    for entry in RolloutReader::open_range(&file.path, tail.byte.min(appended_at)..u64::MAX)? {
        let record = match entry? {
            Entry::Line(record) => record,
            Entry::Damage(damage) => {
                teller.damage(last_part, &damage);
                continue;
            }
        };
        let is_new = record.range.start >= appended_at;
        if is_new && is_head(&record.line) {
            return Ok(None);
        }
        bytes_read += record.range.end - record.range.start;
        if is_new {
            fold.observe_line(&record.line);
            mark.pass(&record);
        }
        teller.line(last_part, &record, sink);
    }
    let told = teller.finish(last_part, mark.end, sink);
    if told.affects_earlier_turns || told.tail.is_none() {
        return Ok(None);
    }
    Ok(Some(ScannedThread {
        thread: fold.into_thread(),
        stamp,
        mark,
        is_resumable: true,
        bases: Vec::new(),
        share_ends: Vec::new(),
        is_incomplete: false,
        told,
        bytes_read,
    }))
}

fn is_head(line: &RolloutLine) -> bool {
    line.kind() == "session_meta"
}
