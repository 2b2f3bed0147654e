//! Pages of a thread's history: one algorithm for every store.
//!
//! A store describes which segments a history goes through and what they contain ([`LineSource`]). [`read_lines`]
//! builds pages from that, in two steps:
//!
//! 1. Find the position at which the page starts, in the history *as it is now* (`PageStart`). A position from an
//!    earlier page may have been undone by a rewind, or moved into a copy by a detach.
//! 2. Collect entries from there, forwards or backwards, segment by segment, until the page is full (`PageBuilder`).
//!
//! # The parts of a history
//!
//! A history goes through a chain of segments. Each one contributes a *prefix*: its bytes from the first one to the
//! point where the next segment continues. The newest segment contributes all its bytes. Below, a *part* is the number
//! of a segment in the chain.
//!
//! ```text
//! part 0   A ████████████████░░░░░░░         ░ = abandoned by a rewind, or written by the owner of the segment
//!                            │                   after this thread was forked
//! part 1                     B ██████████░░
//!                                        │
//! part 2                                 C ███████
//! ```

use std::ops::Range;

use selvedge_protocol::log::{RawContent, RawEntry};
use selvedge_protocol::{SegmentId, SortDirection, ThreadId, TurnId};

use super::position::{SegmentPosition, WINDOW, checksum};
use crate::{EntryKind, LineEntry, LinePage, LinePosition, LineQuery, LineSelect, LineStart, Result, StoreError};

/// The [`LineQuery::max_text`] of a search that needs no texts, only where lines are.
const NO_TEXTS: Option<usize> = Some(0);

/// An iterator over entries of a segment.
pub type RawEntryIter<'a> = Box<dyn Iterator<Item = Result<RawEntry>> + 'a>;

/// A segment in the chain of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainPart {
    /// The segment.
    pub segment_id: SegmentId,
    /// Whether it belongs to another thread.
    pub inherited: bool,
}

/// A gap: bytes of a history that the store does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingBytes {
    /// How many bytes are missing. `None` if that is unknown.
    pub bytes: Option<u64>,
    /// Why they are missing.
    pub reason: String,
}

/// The prefix of a segment that belongs to a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentPrefix {
    /// The byte after its last entry. While the thread has a writer, bytes after the last newline of the newest segment
    /// are not an entry yet.
    pub end: u64,
    /// The rest of the prefix, if the segment ends too early.
    pub missing: Option<MissingBytes>,
}

/// A thread's history as its store keeps it: what [`read_lines`] needs.
pub trait LineSource {
    /// Returns the thread.
    fn thread_id(&self) -> ThreadId;

    /// Returns the segments that the history goes through, oldest first. There is at least one.
    fn parts(&self) -> &[ChainPart];

    /// Returns the gap before the first segment. `None` if the history is complete.
    fn missing_base(&self) -> Option<MissingBytes>;

    /// Returns the prefix of a segment that belongs to the history.
    ///
    /// # Errors
    /// The errors of reading.
    fn prefix(&self, part: usize) -> Result<SegmentPrefix>;

    /// Returns all entries of a segment from a byte on, including those after its prefix. Texts of more than `max_text` bytes may be
    /// shortened ([`RawReader::shortening`](selvedge_protocol::log::RawReader::shortening)).
    ///
    /// # Errors
    /// The errors of reading.
    fn entries(&self, part: usize, from: u64, max_text: Option<usize>) -> Result<RawEntryIter<'_>>;

    /// Returns all entries of a segment before a byte, the last one first. Texts may be shortened as by [`Self::entries`].
    ///
    /// # Errors
    /// The errors of reading.
    fn entries_back(&self, part: usize, before: u64, max_text: Option<usize>) -> Result<RawEntryIter<'_>>;

    /// Returns bytes of a segment. Fewer if the segment ends before the range does.
    ///
    /// # Errors
    /// The errors of reading.
    fn bytes(&self, part: usize, range: Range<u64>) -> Result<Vec<u8>>;

    /// Returns the chain of segments that ends with this segment, oldest first, each with the end of its prefix. `None`
    /// if the store does not have the segment. It is called for segments that a rewind has abandoned.
    ///
    /// # Errors
    /// The errors of reading.
    fn former_parts(&self, segment_id: SegmentId) -> Result<Option<Vec<(SegmentId, u64)>>>;

    /// Returns whether a detach has copied lines of other segments into the newest segment, with the same ordinals.
    ///
    /// # Errors
    /// The errors of reading.
    fn is_detached(&self) -> Result<bool>;

    /// Returns the part that contains the first line of a turn, and the byte at which that line begins.
    ///
    /// # Errors
    /// - `TurnNotFound` if the thread has no such turn.
    /// - The errors of reading.
    fn turn_start(&self, turn_id: &TurnId) -> Result<(usize, u64)>;
}

/// Returns where a page begins that starts with the line at a byte of a part: behind the line before it, since damage before a line belongs
/// to it. Without a line before it, the page begins the history.
///
/// # Errors
/// The errors of the source.
pub fn behind_line_before(source: &dyn LineSource, mut part: usize, mut byte: u64) -> Result<(usize, u64)> {
    loop {
        for entry in source.entries_back(part, byte, NO_TEXTS)? {
            let entry = entry?;
            if let RawContent::Line(_) = entry.content {
                return Ok((part, entry.range.end));
            }
        }
        let Some(earlier) = part.checked_sub(1) else { return Ok((0, 0)) };
        (part, byte) = (earlier, source.prefix(earlier)?.end);
    }
}

/// Returns the requested page of a history.
///
/// # Errors
/// - `InvalidRequest` if the page has no room, or if the position is malformed or belongs to another thread.
/// - `PositionGone` if the line before the position was changed or removed.
/// - `TurnNotFound` if the query begins at a turn that the thread does not have.
/// - The errors of the source.
pub fn read_lines(source: &dyn LineSource, query: &LineQuery) -> Result<LinePage> {
    if query.max_lines == 0 {
        return Err(StoreError::invalid("a page must have room for at least one entry"));
    }
    let PageStart { start, was_rewound } = PageStart::find(source, query)?;
    // Encoded before the page is filled, because filling the page changes the start.
    let rewound_to = was_rewound.then(|| start.encode(source));
    let mut page = PageBuilder { source, query, entries: Vec::new(), bytes: 0, next: start };
    let is_end = match query.direction {
        SortDirection::Ascending => page.fill_ascending(query.start == LineStart::Beginning)?,
        SortDirection::Descending => page.fill_descending()?,
    };
    let next = page.next.encode(source);
    Ok(LinePage { entries: page.entries, next, is_end, rewound_to })
}

/// A position in the history as it is now. A [`SegmentPosition`] is the same for callers, who keep it while the history
/// changes.
#[derive(Clone, Debug)]
struct ResolvedPosition {
    part: usize,
    byte: u64,
    /// The ordinal of the line that ends here. `None` if no line ends here or if it has no ordinal.
    ordinal: Option<u64>,
    /// The checksum of the bytes before the position, as [`checksum`] defines it.
    checksum: u64,
}

impl ResolvedPosition {
    /// Returns the position at the beginning of a segment.
    fn at_beginning(part: usize) -> Self {
        Self { part, byte: 0, ordinal: None, checksum: checksum(&[]) }
    }

    /// Returns the position at a byte of a segment.
    ///
    /// The end of one prefix and the beginning of the next segment are the same point of the history. That point must
    /// have one position, because callers compare positions: it is the end of the earlier prefix. If there is a gap
    /// between the two, they are different points, one on each side of it.
    fn at(source: &dyn LineSource, part: usize, byte: u64) -> Result<Self> {
        if byte == 0 {
            let Some(before) = part.checked_sub(1) else { return Ok(Self::at_beginning(part)) };
            let prefix = source.prefix(before)?;
            return if prefix.missing.is_some() {
                Ok(Self::at_beginning(part))
            } else {
                Self::at(source, before, prefix.end)
            };
        }
        let before = source.entries_back(part, byte, NO_TEXTS)?.next().transpose()?;
        Ok(Self { part, byte, ordinal: before.as_ref().and_then(ordinal), checksum: checksum_at(source, part, byte)? })
    }

    /// Returns the position in the form that callers get.
    fn encode(&self, source: &dyn LineSource) -> LinePosition {
        let segment_id = source.parts()[self.part].segment_id;
        let Self { byte, ordinal, checksum, .. } = *self;
        SegmentPosition { thread_id: source.thread_id(), segment_id, byte, ordinal, checksum }.encode()
    }
}

fn checksum_at(source: &dyn LineSource, part: usize, byte: u64) -> Result<u64> {
    Ok(checksum(&source.bytes(part, byte.saturating_sub(WINDOW)..byte)?))
}

/// Returns whether these are the bytes before the position. A position behind the end of a segment has none.
fn has_checksum(source: &dyn LineSource, part: usize, byte: u64, expected: u64) -> Result<bool> {
    let bytes = source.bytes(part, byte.saturating_sub(WINDOW)..byte)?;
    Ok((byte == 0 || !bytes.is_empty()) && checksum(&bytes) == expected)
}

fn ordinal(entry: &RawEntry) -> Option<u64> {
    if let RawContent::Line(line) = &entry.content { line.ordinal() } else { None }
}

/// Where a page starts in the history as it is now.
struct PageStart {
    start: ResolvedPosition,
    /// Whether the requested position was undone. `start` is the last position before it that was not.
    was_rewound: bool,
}

impl PageStart {
    fn find(source: &dyn LineSource, query: &LineQuery) -> Result<Self> {
        let last = source.parts().len() - 1;
        let start = match &query.start {
            LineStart::Beginning => ResolvedPosition::at_beginning(0),
            LineStart::End => ResolvedPosition::at(source, last, source.prefix(last)?.end)?,
            LineStart::Ordinal(ordinal) => first_line_from(source, *ordinal)?,
            LineStart::Turn(turn_id) => {
                let (part, byte) = source.turn_start(turn_id)?;
                ResolvedPosition::at(source, part, byte)?
            }
            LineStart::At(position) => return Self::resolve(source, position),
        };
        Ok(Self { start, was_rewound: false })
    }

    /// Resolves a position from an earlier page.
    ///
    /// The history may have changed since. The cases, in the order in which they are tried:
    ///
    /// | the segment of the position | its bytes | result |
    /// | --- | --- | --- |
    /// | is in the chain | before the end of the prefix, same checksum | the position is valid |
    /// | is in the chain, not the newest | after the end of the prefix | rewound to the end of the prefix |
    /// | any | are in a copy that a detach made | the position after the same line in the copy |
    /// | is in the chain | have another checksum | `PositionGone` |
    /// | is not in the chain, but in the store | | rewound to the last position that both chains have |
    /// | is not in the store | | `PositionGone` |
    fn resolve(source: &dyn LineSource, position: &LinePosition) -> Result<Self> {
        let held = SegmentPosition::decode(position).filter(|held| held.thread_id == source.thread_id());
        let held = held.ok_or_else(|| StoreError::invalid(format!("not a position in this thread: {position}")))?;
        let part = source.parts().iter().position(|part| part.segment_id == held.segment_id);
        if let Some(part) = part {
            let prefix = source.prefix(part)?;
            let is_last = part + 1 == source.parts().len();
            // In the newest segment a position may be after the last entry. For example, a reader was at the end of a
            // torn line of a cold thread, and now the thread has a writer again. There the checksum alone decides.
            if (held.byte <= prefix.end || is_last) && has_checksum(source, part, held.byte, held.checksum)? {
                let SegmentPosition { byte, ordinal, checksum, .. } = held;
                return Ok(Self { start: ResolvedPosition { part, byte, ordinal, checksum }, was_rewound: false });
            }
            if held.byte > prefix.end && !is_last {
                return Ok(Self { start: ResolvedPosition::at(source, part, prefix.end)?, was_rewound: true });
            }
        }
        if let Some(start) = find_in_copy(source, &held)? {
            return Ok(Self { start, was_rewound: false });
        }
        let gone = || StoreError::PositionGone { thread_id: source.thread_id() };
        if part.is_some() {
            return Err(gone());
        }
        // The segment was abandoned, or never existed here.
        let former = source.former_parts(held.segment_id)?.ok_or_else(gone)?;
        // A caller at the very beginning has read nothing, so the rewind has undone nothing that it knows.
        let is_beginning = held.byte == 0 && former.first().is_some_and(|(first, _)| *first == held.segment_id);
        Ok(Self { start: last_common_position(source, &former)?, was_rewound: !is_beginning })
    }
}

/// Finds a position in a segment into which a detach has copied the lines: after the line with the same ordinal.
///
/// The copy has other offsets, but the same ordinals. The checksum confirms that it is the same line.
fn find_in_copy(source: &dyn LineSource, held: &SegmentPosition) -> Result<Option<ResolvedPosition>> {
    if !source.is_detached()? {
        return Ok(None);
    }
    let Some(wanted) = held.ordinal else {
        return Ok((held.byte == 0).then(|| ResolvedPosition::at_beginning(0)));
    };
    for part in 0..source.parts().len() {
        for entry in source.entries(part, 0, None)? {
            let entry = entry?;
            let RawContent::Line(line) = &entry.content else { continue };
            // A detach rewrites heads, so their checksums differ. Their ordinals suffice.
            let is_same_line = line.kind() == "session_meta" || line_checksum(&entry) == held.checksum;
            if line.ordinal() == Some(wanted) && is_same_line {
                return ResolvedPosition::at(source, part, entry.range.end).map(Some);
            }
        }
    }
    Ok(None)
}

/// Returns the checksum of the position at the end of an entry that is a whole line.
fn line_checksum(entry: &RawEntry) -> u64 {
    let window = usize::try_from(WINDOW).unwrap_or(usize::MAX).min(entry.bytes.len());
    checksum(&entry.bytes[entry.bytes.len() - window..])
}

/// Returns the last position that the history has in common with a former history of the same thread.
///
/// Both chains are compared from the oldest segment on. While the segments and the ends of their prefixes are the same,
/// so is their content. Where one prefix ends earlier, or the segments differ, the histories part.
///
/// ```text
/// former:    A[0..900]  B[0..400]  C[0..700]    the caller's position is in C
/// present:   A[0..900]  B[0..250]  D[0..100]    a rewind to byte 250 of B has begun D
/// common:    A[0..900]  B[0..250]               the caller continues at byte 250 of B
/// ```
fn last_common_position(source: &dyn LineSource, former: &[(SegmentId, u64)]) -> Result<ResolvedPosition> {
    let mut common = ResolvedPosition::at_beginning(0);
    for (number, (part, (segment_id, former_end))) in source.parts().iter().zip(former).enumerate() {
        if part.segment_id != *segment_id {
            break;
        }
        let end = source.prefix(number)?.end;
        common = ResolvedPosition::at(source, number, end.min(*former_end))?;
        if end != *former_end {
            break;
        }
    }
    Ok(common)
}

/// Returns the position before the first line with this ordinal or a higher one. The end of the history if there is
/// none.
fn first_line_from(source: &dyn LineSource, wanted: u64) -> Result<ResolvedPosition> {
    // From the beginning, without a search by halves: offsets of lines are not known before they are read, and damage
    // may hide ordinals.
    let mut end_of_history = (0, 0);
    for part in 0..source.parts().len() {
        let end = source.prefix(part)?.end;
        for entry in source.entries(part, 0, NO_TEXTS)? {
            let entry = entry?;
            if entry.range.start >= end {
                break;
            }
            if ordinal(&entry).is_some_and(|ordinal| ordinal >= wanted) {
                return ResolvedPosition::at(source, part, entry.range.start);
            }
        }
        end_of_history = (part, end);
    }
    ResolvedPosition::at(source, end_of_history.0, end_of_history.1)
}

/// Collects the entries of a page.
///
/// Invariant: `next` is the position after everything that was collected *or skipped* so far. So a page that selects
/// damage only makes progress even if it returns no entry, and the next page never repeats one.
struct PageBuilder<'a> {
    source: &'a dyn LineSource,
    query: &'a LineQuery,
    entries: Vec<LineEntry>,
    bytes: usize,
    next: ResolvedPosition,
}

impl PageBuilder<'_> {
    /// Returns whether an entry with this many bytes fits. The first entry always does: otherwise a long line would
    /// stop every reader.
    fn has_room(&self, bytes: usize) -> bool {
        let Self { entries, query, .. } = self;
        entries.is_empty() || entries.len() < query.max_lines && self.bytes.saturating_add(bytes) <= query.max_bytes
    }

    fn is_selected(&self, content: &RawContent) -> bool {
        self.query.select == LineSelect::All || matches!(content, RawContent::Damage { .. })
    }

    fn push(&mut self, part: usize, at: &ResolvedPosition, entry: RawEntry) {
        let left_out = entry.left_out();
        self.push_entry(part, at, entry.bytes, left_out, kind(entry.content));
    }

    fn push_entry(&mut self, part: usize, at: &ResolvedPosition, bytes: Vec<u8>, left_out: u64, kind: EntryKind) {
        let ChainPart { segment_id: segment, inherited } = self.source.parts()[part];
        self.bytes += bytes.len();
        self.entries.push(LineEntry { at: at.encode(self.source), segment, inherited, bytes, left_out, kind });
    }

    fn push_missing(&mut self, at: &ResolvedPosition, missing: MissingBytes) {
        let MissingBytes { bytes, reason } = missing;
        self.push_entry(at.part, at, Vec::new(), 0, EntryKind::Missing { bytes, reason });
    }

    /// Collects the entries after `next`. Returns whether the page reaches the end of the history.
    ///
    /// `includes_base` is set if the page starts before a gap at the beginning of the history. The position there is
    /// the same as after the gap, so only the query shows whether the gap was read.
    fn fill_ascending(&mut self, includes_base: bool) -> Result<bool> {
        if includes_base && let Some(missing) = self.source.missing_base() {
            self.push_missing(&self.next.clone(), missing);
        }
        // A gap is reported between the prefixes, as an entry without bytes:
        //
        //     part 0    line line line          A ends too early: the prefix should be longer
        //               gap                     at the end of A
        //     part 1    line line               from the beginning of B
        //
        // The page may end on either side of the gap. The two positions differ, so the next page knows whether it was
        // reported.
        let first = self.next.part;
        let last = self.source.parts().len() - 1;
        for part in first..=last {
            let prefix = self.source.prefix(part)?;
            let from = if part == first { self.next.byte } else { 0 };
            if !self.fill_part(part, from, &prefix)? {
                return Ok(false);
            }
            if let Some(missing) = prefix.missing {
                if !self.has_room(0) {
                    return Ok(false);
                }
                self.push_missing(&self.next.clone(), missing);
                // To the other side of the gap, so that the next page does not report it again.
                if part < last {
                    self.next = ResolvedPosition::at_beginning(part + 1);
                }
            }
        }
        Ok(true)
    }

    /// Collects the entries of a prefix from a byte on. Returns whether all of them fit.
    fn fill_part(&mut self, part: usize, from: u64, prefix: &SegmentPrefix) -> Result<bool> {
        if from >= prefix.end {
            return Ok(true);
        }
        // The last bytes before `next`. Each entry is added to them, so the checksum of each position costs no further
        // read.
        let mut window = self.source.bytes(part, from.saturating_sub(WINDOW)..from)?;
        for entry in self.source.entries(part, from, self.query.max_text)? {
            let mut entry = entry?;
            if entry.left_out() > 0 && entry.range.end > prefix.end {
                // It is cut at a byte of the segment.
                entry.bytes = self.source.bytes(part, entry.range.clone())?;
            }
            let Some(entry) = clip(entry, prefix.end) else { break };
            let is_selected = self.is_selected(&entry.content);
            if is_selected && !self.has_room(entry.bytes.len()) {
                return Ok(false);
            }
            if entry.left_out() == 0 {
                slide_window(&mut window, &entry.bytes);
            } else {
                let end = entry.range.end;
                window = self.source.bytes(part, end.saturating_sub(WINDOW)..end)?;
            }
            let after =
                ResolvedPosition { part, byte: entry.range.end, ordinal: ordinal(&entry), checksum: checksum(&window) };
            let at = std::mem::replace(&mut self.next, after);
            if is_selected {
                self.push(part, &at, entry);
            }
        }
        Ok(true)
    }

    /// Collects the entries before `next`, the newest first. Returns whether the page reaches the beginning of the
    /// history.
    fn fill_descending(&mut self) -> Result<bool> {
        let first = self.next.part;
        for part in (0..=first).rev() {
            let before = if part == first { self.next.byte } else { self.source.prefix(part)?.end };
            if !self.fill_part_backwards(part, before)? {
                return Ok(false);
            }
            // This segment is done. Next comes the gap before it: at the end of the earlier prefix, or before the whole
            // history.
            let missing = match part.checked_sub(1) {
                Some(earlier) => self.source.prefix(earlier)?.missing,
                None => self.source.missing_base(),
            };
            if let Some(missing) = missing {
                if !self.has_room(0) {
                    return Ok(false);
                }
                // To the other side of the gap first: an entry has the position at which it begins.
                if let Some(earlier) = part.checked_sub(1) {
                    self.next = ResolvedPosition::at(self.source, earlier, self.source.prefix(earlier)?.end)?;
                }
                self.push_missing(&self.next.clone(), missing);
            }
        }
        Ok(true)
    }

    /// Collects the entries of a segment before a byte, the newest first. Returns whether all of them fit.
    fn fill_part_backwards(&mut self, part: usize, before: u64) -> Result<bool> {
        if before == 0 {
            return Ok(true);
        }
        let mut entries = self.source.entries_back(part, before, self.query.max_text)?.peekable();
        while let Some(entry) = entries.next().transpose()? {
            let is_selected = self.is_selected(&entry.content);
            if is_selected && !self.has_room(entry.bytes.len()) {
                return Ok(false);
            }
            let start = entry.range.start;
            // The position before an entry has the ordinal of the entry that ends there, which is the next one in this
            // direction.
            self.next = match entries.peek().and_then(|entry| entry.as_ref().ok()) {
                Some(before) => {
                    let checksum = checksum_at(self.source, part, start)?;
                    ResolvedPosition { part, byte: start, ordinal: ordinal(before), checksum }
                }
                None => ResolvedPosition::at(self.source, part, start)?,
            };
            if is_selected {
                self.push(part, &self.next.clone(), entry);
            }
        }
        Ok(true)
    }
}

fn kind(content: RawContent) -> EntryKind {
    match content {
        RawContent::Line(_) => EntryKind::Line,
        RawContent::Blank => EntryKind::Blank,
        RawContent::Damage { kind, is_complete } => EntryKind::Damage { reason: kind.to_string(), is_complete },
    }
}

/// Returns the part of an entry that is before the end of a prefix. `None` if there is none.
///
/// A prefix normally ends with a line. It ends inside an entry if the offset in the head of the next segment does not
/// match the bytes.
fn clip(mut entry: RawEntry, end: u64) -> Option<RawEntry> {
    if entry.range.start > end || (entry.range.start == end && !entry.range.is_empty()) {
        return None;
    }
    if entry.range.end > end {
        let len = usize::try_from(end - entry.range.start).unwrap_or(usize::MAX);
        entry.bytes.truncate(len);
        entry.range.end = end;
    }
    Some(entry)
}

/// Appends bytes to a window and drops all but its last [`WINDOW`] bytes.
fn slide_window(window: &mut Vec<u8>, bytes: &[u8]) {
    let most = usize::try_from(WINDOW).unwrap_or(usize::MAX);
    window.extend_from_slice(&bytes[bytes.len().saturating_sub(most)..]);
    window.drain(..window.len().saturating_sub(most));
}
