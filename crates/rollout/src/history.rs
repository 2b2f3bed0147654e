//! A thread's history, followed through the segments that it is built on.

use std::collections::HashSet;

use selvedge_history::{InheritedPrefix, PrefixEnd, segment_head};
use selvedge_protocol::log::{DamagedRange, Entry, LineRecord};
use selvedge_protocol::{SegmentId, SessionMeta, ThreadId, Timestamp};

use crate::error::Result;
use crate::layout::{HomeFiles, RolloutFile};
use crate::reader::RolloutReader;
use crate::reverse::ReverseReader;

/// How many segments a history may go through. Real ones go through a handful; a hostile home could chain without end.
const MAX_PARTS: usize = 10_000;

/// One segment's share of a history.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HistoryPart {
    /// The segment.
    pub file: RolloutFile,
    /// Where its share ends; nothing when all of it belongs to the history.
    pub end: Option<PrefixEnd>,
}

impl HistoryPart {
    /// Says of the entries of the segment, in their order, which ones belong to the share.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn share(&self) -> Result<InheritedPrefix> {
        let Some(end) = self.end else { return Ok(InheritedPrefix::whole()) };
        if self.file.name.compressed {
            // Nobody goes on with a compressed file, so that nothing came later.
            return Ok(InheritedPrefix::until(PrefixEnd { latest_write: None, ..end }));
        }
        Ok(if self.ends_at_its_byte(end)? { InheritedPrefix::until_byte(end) } else { InheritedPrefix::until(end) })
    }

    /// Whether the file has a line that ends at the byte and stands just before the ordinal. Then the byte is right, and no
    /// line need be asked.
    fn ends_at_its_byte(&self, end: PrefixEnd) -> Result<bool> {
        let (Some(byte), Some(ordinal)) = (end.byte, end.ordinal) else { return Ok(false) };
        let last = ReverseReader::open_before(&self.file.path, byte)?.next();
        Ok(matches!(last, Some(Ok(Entry::Line(record)))
            if record.range.end == byte && record.line.ordinal().and_then(|last| last.checked_add(1)) == Some(ordinal)))
    }
}

/// A base that a history refers to and that cannot be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingBase {
    /// The segment that is referred to.
    pub segment_id: SegmentId,
    /// Where its share would end.
    pub end: PrefixEnd,
    /// Why it cannot be had.
    pub reason: &'static str,
    /// Whether its file was found and is not where it was any more.
    pub is_gone: bool,
}

/// Which segments a thread's history goes through, oldest first. The last one is the thread's newest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedHistory {
    /// The thread.
    pub thread_id: ThreadId,
    /// The segments' shares. Never empty.
    pub parts: Vec<HistoryPart>,
    /// The base where the history breaks off, if it does. What the parts hold is still the thread's.
    pub missing: Option<MissingBase>,
}

impl ResolvedHistory {
    /// Follows the history of a thread; nothing when there is no such thread. Reads the head of each segment and no more.
    ///
    /// # Errors
    /// When the thread's own newest segment cannot be read.
    pub fn resolve(files: &HomeFiles, thread_id: ThreadId) -> Result<Option<Self>> {
        newest_segment(files, thread_id).map(|newest| Self::ending_with(files, newest)).transpose()
    }

    /// Follows the history that ends with a segment of a thread, be it one that the thread has left.
    ///
    /// # Errors
    /// When the segment cannot be read.
    pub fn ending_with(files: &HomeFiles, newest: &RolloutFile) -> Result<Self> {
        let thread_id = newest.name.thread_id;
        let mut parts = vec![HistoryPart { file: newest.clone(), end: None }];
        let mut seen = HashSet::from([newest.name.segment_id()]);
        let mut base = read_head(newest)?.and_then(|head| head.history_base);
        let mut missing = None;
        while let Some((reference, segment_id)) = base.take().and_then(|base| base.thread_id.map(|id| (base, id))) {
            let builder = parts.last().map_or_else(|| newest.name.segment_id(), |part| part.file.name.segment_id());
            let end = PrefixEnd::of(&reference, builder).within(parts.last().and_then(|part| part.end));
            let found = match files.segment(segment_id) {
                None => Err(("there is no such segment in this home", false)),
                Some(_) if !seen.insert(segment_id) => Err(("the segments refer to each other in a circle", false)),
                Some(_) if parts.len() >= MAX_PARTS => {
                    Err(("the history goes through more segments than the limit of 10,000", false))
                }
                Some(file) => read_head(file)
                    .map(|head| (file, head))
                    .map_err(|error| ("the segment cannot be read", error.is_gone())),
            };
            match found {
                Ok((file, head)) => {
                    parts.push(HistoryPart { file: file.clone(), end: Some(end) });
                    base = head.and_then(|head| head.history_base);
                }
                Err((reason, is_gone)) => missing = Some(MissingBase { segment_id, end, reason, is_gone }),
            }
        }
        parts.reverse();
        Ok(Self { thread_id, parts, missing })
    }

    /// The thread's newest segment, the one that is appended to.
    #[must_use]
    pub fn newest(&self) -> &RolloutFile {
        &self.parts[self.parts.len() - 1].file
    }

    /// When the thread was created, for a log that does not say: by its id, else by the name of its first file.
    #[must_use]
    pub fn created_outside_log(&self) -> Timestamp {
        self.thread_id.made_at().unwrap_or_else(|| self.parts[0].file.name.created_utc())
    }

    /// Whether a part was inherited by reference from another thread.
    #[must_use]
    pub fn is_inherited(&self, part: usize) -> bool {
        self.parts[part].file.name.thread_id != self.thread_id
    }

    /// Reads the history, inherited lines first.
    #[must_use]
    pub fn reader(&self) -> HistoryReader<'_> {
        self.reader_skipping(|_| false)
    }

    /// Reads the history from its end, as far as it is asked to.
    #[must_use]
    pub fn backwards(&self) -> BackwardReader<'_> {
        BackwardReader { parts: &self.parts, current: None, is_over: false }
    }

    /// Reads the history without the lines that `skip` says yes to ([`RolloutReader::skipping`]).
    #[must_use]
    pub fn reader_skipping(&self, skip: fn(&[u8]) -> bool) -> HistoryReader<'_> {
        HistoryReader { parts: &self.parts, next_part: 0, current: None, skip }
    }
}

/// The newest segment that holds a line: a later one that is empty, or whose head is torn, was never begun.
fn newest_segment(files: &HomeFiles, thread_id: ThreadId) -> Option<&RolloutFile> {
    match files.segments(thread_id) {
        [] => None,
        [only] => Some(only),
        segments => segments.iter().rev().find(|file| holds_a_line(file)).or(segments.last()),
    }
}

fn holds_a_line(file: &RolloutFile) -> bool {
    // What cannot be read may hold anything.
    let Ok(mut entries) = RolloutReader::open(&file.path) else { return true };
    entries.any(|entry| !matches!(entry, Ok(Entry::Damage(_))))
}

/// The `session_meta` that a segment begins with; nothing when it is not there or damaged.
///
/// # Errors
/// When the file cannot be read.
pub fn read_head(file: &RolloutFile) -> Result<Option<SessionMeta>> {
    segment_head(file.name.thread_id, RolloutReader::open(&file.path)?)
}

/// An entry of a history.
#[derive(Clone, Debug, PartialEq)]
pub enum HistoryEntry {
    /// A line or a damaged stretch of a part.
    Entry {
        /// Which part.
        part: usize,
        /// What was read.
        entry: Entry,
    },
    /// A part ends before its share does.
    Short {
        /// Which part.
        part: usize,
        /// The size of what is there, in (decompressed) bytes.
        len: u64,
    },
}

/// Reads a history part by part.
#[derive(Debug)]
pub struct HistoryReader<'a> {
    parts: &'a [HistoryPart],
    next_part: usize,
    current: Option<PartReader>,
    skip: fn(&[u8]) -> bool,
}

#[derive(Debug)]
struct PartReader {
    reader: RolloutReader,
    share: InheritedPrefix,
}

impl PartReader {
    fn open(part: &HistoryPart, skip: fn(&[u8]) -> bool) -> Result<Self> {
        let reader = RolloutReader::open(&part.file.path)?.skipping(skip);
        Ok(Self { reader, share: part.share()? })
    }

    /// The next entry of the part's share; nothing at its end.
    fn next(&mut self) -> Result<Option<Entry>> {
        let Some(entry) = self.reader.next().transpose()? else { return Ok(None) };
        Ok(self.share.take(&entry, self.reader.skipped_to()).then_some(entry))
    }
}

impl Iterator for HistoryReader<'_> {
    type Item = Result<HistoryEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Some(current) = &mut self.current else {
                let part = self.parts.get(self.next_part)?;
                self.next_part += 1;
                match PartReader::open(part, self.skip) {
                    Ok(reader) => self.current = Some(reader),
                    Err(error) => return Some(Err(error)),
                }
                continue;
            };
            let part = self.next_part - 1;
            match current.next() {
                Ok(Some(entry)) => return Some(Ok(HistoryEntry::Entry { part, entry })),
                Ok(None) => {
                    let is_short = current.share.is_short(current.reader.skipped_to());
                    let short = is_short.then_some(HistoryEntry::Short { part, len: current.share.end_byte() });
                    self.current = None;
                    if let Some(short) = short {
                        return Some(Ok(short));
                    }
                }
                Err(error) => {
                    self.current = None;
                    return Some(Err(error));
                }
            }
        }
    }
}

/// What a [`BackwardReader`] gives.
#[derive(Clone, Debug, PartialEq)]
pub enum BackwardEntry {
    /// An intact line of a part.
    Line {
        /// Which part.
        part: usize,
        /// The line.
        record: LineRecord,
    },
    /// A damaged stretch of a part. Its line number is not known.
    Damage {
        /// Which part.
        part: usize,
        /// The stretch.
        damage: DamagedRange,
    },
    /// What comes before cannot be told from the end: a part is compressed, or where its share ends is not sure. The
    /// history has to be read forwards.
    NeedsForwardRead,
}

/// Reads a history from its end: the lines and damaged stretches that [`HistoryReader`] gives, the last one first.
#[derive(Debug)]
pub struct BackwardReader<'a> {
    /// The parts that were not read to their beginning.
    parts: &'a [HistoryPart],
    current: Option<BackwardPart>,
    is_over: bool,
}

#[derive(Debug)]
struct BackwardPart {
    reader: ReverseReader,
    /// Where the share ends, until its last line was seen.
    end: Option<PrefixEnd>,
}

impl BackwardPart {
    fn open(part: &HistoryPart) -> Result<Option<Self>> {
        let end = match part.end {
            None => u64::MAX,
            Some(PrefixEnd { byte: Some(byte), .. }) => byte,
            Some(PrefixEnd { byte: None, .. }) => return Ok(None),
        };
        if part.file.name.compressed {
            return Ok(None);
        }
        let reader = ReverseReader::open_before(&part.file.path, end)?;
        let is_short = part.end.is_some() && reader.unread() < end;
        Ok((!is_short).then_some(Self { reader, end: part.end }))
    }

    /// The entry before; nothing at the beginning of the part, and `Err` inside when the end of the share is not where its
    /// reference says, by byte and by ordinal: on a line, and on no damage.
    fn next(&mut self) -> Result<Option<Result<Entry, ()>>> {
        let Some(entry) = self.reader.next().transpose()? else {
            // A share without a line ends nowhere for sure.
            return Ok(self.end.take().map(|_| Err(())));
        };
        if let Some(end) = self.end.take() {
            let last = match &entry {
                Entry::Line(record) => record.line.ordinal(),
                Entry::Damage(_) => None,
            };
            if last.is_none() || end.ordinal != last.map(|last| last.saturating_add(1)) {
                return Ok(Some(Err(())));
            }
        }
        Ok(Some(Ok(entry)))
    }
}

impl BackwardReader<'_> {
    fn step(&mut self) -> Result<Option<BackwardEntry>> {
        while let Some((last, before)) = self.parts.split_last() {
            let current = match &mut self.current {
                Some(current) => current,
                None => match BackwardPart::open(last)? {
                    Some(opened) => self.current.insert(opened),
                    None => return Ok(Some(self.unsure())),
                },
            };
            match current.next()? {
                Some(Ok(Entry::Line(record))) => return Ok(Some(BackwardEntry::Line { part: before.len(), record })),
                Some(Ok(Entry::Damage(damage))) => {
                    return Ok(Some(BackwardEntry::Damage { part: before.len(), damage }));
                }
                Some(Err(())) => return Ok(Some(self.unsure())),
                None => (self.parts, self.current) = (before, None),
            }
        }
        Ok(None)
    }

    fn unsure(&mut self) -> BackwardEntry {
        self.is_over = true;
        BackwardEntry::NeedsForwardRead
    }
}

impl Iterator for BackwardReader<'_> {
    type Item = Result<BackwardEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let step = self.step();
        self.is_over |= step.is_err();
        step.transpose()
    }
}
