//! Pages of a thread's history: one way through the segments for every store.
//!
//! A store says which segments a history goes through and what stands in them ([`LineSource`]), and [`read_lines`] makes
//! pages of that: it finds where to begin, follows the shares of the segments one after another, and finds out whether the
//! place that a reader stood at was undone meanwhile.

use std::ops::Range;

use selvedge_protocol::log::{RawContent, RawEntry};
use selvedge_protocol::{SegmentId, SortDirection, ThreadId, TurnId};

use super::position::{SegmentPosition, WINDOW, checksum};
use crate::{EntryKind, LineEntry, LinePage, LinePosition, LineQuery, LineSelect, LineStart, Result, StoreError};

/// Entries of a segment, one after another.
pub type RawEntries<'a> = Box<dyn Iterator<Item = Result<RawEntry>> + 'a>;

/// A segment that a history goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinePart {
    /// The segment.
    pub segment_id: SegmentId,
    /// Whether it is one of another thread.
    pub inherited: bool,
}

/// Part of a history that cannot be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingBytes {
    /// How many bytes it had, if that is known.
    pub bytes: Option<u64>,
    /// Why it cannot be had.
    pub reason: String,
}

/// How much of a segment belongs to a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// The byte just past its last entry. Of the newest segment, the unterminated end is no entry yet while somebody may
    /// be writing it.
    pub end: u64,
    /// What the segment lacks of the share.
    pub missing: Option<MissingBytes>,
}

/// A thread's history as its store keeps it.
pub trait LineSource {
    /// The thread.
    fn thread_id(&self) -> ThreadId;

    /// The segments that the history goes through, oldest first; never empty.
    fn parts(&self) -> &[LinePart];

    /// What stands before the first of them and cannot be had.
    fn missing_base(&self) -> Option<MissingBytes>;

    /// How much of a part belongs to the history.
    ///
    /// # Errors
    /// Those of reading.
    fn share(&self, part: usize) -> Result<Share>;

    /// Everything that the segment of a part holds from a byte on, its share or not.
    ///
    /// # Errors
    /// Those of reading.
    fn entries(&self, part: usize, from: u64) -> Result<RawEntries<'_>>;

    /// The same from a byte backwards, the last entry first.
    ///
    /// # Errors
    /// Those of reading.
    fn entries_back(&self, part: usize, before: u64) -> Result<RawEntries<'_>>;

    /// Bytes of the segment of a part; fewer if it has no more.
    ///
    /// # Errors
    /// Those of reading.
    fn bytes(&self, part: usize, range: Range<u64>) -> Result<Vec<u8>>;

    /// The segments that a history goes through which ends with this one, and the ends of their shares. `None` if the store
    /// has no such segment.
    ///
    /// # Errors
    /// Those of reading.
    fn former_parts(&self, segment_id: SegmentId) -> Result<Option<Vec<(SegmentId, u64)>>>;

    /// Whether the newest segment is a copy of what stood in others, under the same ordinals.
    ///
    /// # Errors
    /// Those of reading.
    fn is_detached(&self) -> Result<bool>;

    /// The part that the first line of a turn is in, and where the line begins.
    ///
    /// # Errors
    /// `TurnNotFound`.
    fn turn_start(&self, turn_id: &TurnId) -> Result<(usize, u64)>;
}

/// Returns the page of a history that is asked for.
///
/// # Errors
/// `InvalidRequest` for a page without room or a position that is malformed or of another thread; `PositionGone`;
/// `TurnNotFound`; those of reading.
pub fn read_lines(source: &dyn LineSource, query: &LineQuery) -> Result<LinePage> {
    if query.max_lines == 0 {
        return Err(StoreError::invalid("a page must have room for at least one entry"));
    }
    let History { start, rewound } = History::begin(source, query)?;
    let rewound_to = rewound.then(|| start.position(source));
    let mut page = Page { source, query, entries: Vec::new(), bytes: 0, next: start };
    let is_end = match query.direction {
        SortDirection::Ascending => page.fill_ascending(query.start == LineStart::Beginning)?,
        SortDirection::Descending => page.fill_descending()?,
    };
    let next = page.next.position(source);
    Ok(LinePage { entries: page.entries, next, is_end, rewound_to })
}

/// Where a reader stands in a history.
#[derive(Clone, Debug)]
struct Place {
    part: usize,
    byte: u64,
    /// The ordinal of the line that ends here.
    ordinal: Option<u64>,
    checksum: u64,
}

impl Place {
    /// Where a part begins.
    fn at_beginning(part: usize) -> Self {
        Self { part, byte: 0, ordinal: None, checksum: checksum(&[]) }
    }

    /// A place of which only the byte is known.
    ///
    /// Where a part ends and the next one begins is one place, the end of the first, so that it has one position; unless
    /// something is missing in between.
    fn at(source: &dyn LineSource, part: usize, byte: u64) -> Result<Self> {
        if byte == 0 {
            let Some(before) = part.checked_sub(1) else { return Ok(Self::at_beginning(part)) };
            let share = source.share(before)?;
            return if share.missing.is_some() {
                Ok(Self::at_beginning(part))
            } else {
                Self::at(source, before, share.end)
            };
        }
        let before = source.entries_back(part, byte)?.next().transpose()?;
        Ok(Self { part, byte, ordinal: before.as_ref().and_then(ordinal), checksum: checksum_at(source, part, byte)? })
    }

    fn position(&self, source: &dyn LineSource) -> LinePosition {
        let segment_id = source.parts()[self.part].segment_id;
        let Self { byte, ordinal, checksum, .. } = *self;
        SegmentPosition { thread_id: source.thread_id(), segment_id, byte, ordinal, checksum }.encode()
    }
}

fn checksum_at(source: &dyn LineSource, part: usize, byte: u64) -> Result<u64> {
    Ok(checksum(&source.bytes(part, byte.saturating_sub(WINDOW)..byte)?))
}

fn ordinal(entry: &RawEntry) -> Option<u64> {
    if let RawContent::Line(line) = &entry.content { line.ordinal() } else { None }
}

/// Where a query begins in the history as it is now.
struct History {
    start: Place,
    /// Whether the place that was asked for was undone, and `start` is the last one before it that was not.
    rewound: bool,
}

impl History {
    fn begin(source: &dyn LineSource, query: &LineQuery) -> Result<Self> {
        let last = source.parts().len() - 1;
        let start = match &query.start {
            LineStart::Beginning => Place::at_beginning(0),
            LineStart::End => Place::at(source, last, source.share(last)?.end)?,
            LineStart::Ordinal(ordinal) => first_from(source, *ordinal)?,
            LineStart::Turn(turn_id) => {
                let (part, byte) = source.turn_start(turn_id)?;
                Place::at(source, part, byte)?
            }
            LineStart::At(position) => return Self::find(source, position),
        };
        Ok(Self { start, rewound: false })
    }

    /// Finds a place that a reader stood at.
    fn find(source: &dyn LineSource, position: &LinePosition) -> Result<Self> {
        let held = SegmentPosition::decode(position).filter(|held| held.thread_id == source.thread_id());
        let held = held.ok_or_else(|| StoreError::invalid(format!("not a position in this thread: {position}")))?;
        let part = source.parts().iter().position(|part| part.segment_id == held.segment_id);
        if let Some(part) = part {
            let share = source.share(part)?;
            let is_last = part + 1 == source.parts().len();
            // Behind the end of the newest segment there may be one that is no entry yet.
            if (held.byte <= share.end || is_last) && checksum_at(source, part, held.byte)? == held.checksum {
                let SegmentPosition { byte, ordinal, checksum, .. } = held;
                return Ok(Self { start: Place { part, byte, ordinal, checksum }, rewound: false });
            }
            if held.byte > share.end && !is_last {
                return Ok(Self { start: Place::at(source, part, share.end)?, rewound: true });
            }
        }
        if let Some(start) = find_copied(source, &held)? {
            return Ok(Self { start, rewound: false });
        }
        let gone = || StoreError::PositionGone { thread_id: source.thread_id() };
        if part.is_some() {
            return Err(gone());
        }
        let former = source.former_parts(held.segment_id)?.ok_or_else(gone)?;
        // Whoever stood before everything has read nothing that could be undone.
        let is_beginning = held.byte == 0 && former.first().is_some_and(|(first, _)| *first == held.segment_id);
        Ok(Self { start: last_common(source, &former)?, rewound: !is_beginning })
    }
}

/// Finds a place in a segment that the lines were copied into: behind the line of the same ordinal.
fn find_copied(source: &dyn LineSource, held: &SegmentPosition) -> Result<Option<Place>> {
    if !source.is_detached()? {
        return Ok(None);
    }
    let Some(wanted) = held.ordinal else {
        return Ok((held.byte == 0).then(|| Place::at_beginning(0)));
    };
    for part in 0..source.parts().len() {
        for entry in source.entries(part, 0)? {
            let entry = entry?;
            let RawContent::Line(line) = &entry.content else { continue };
            // A head is spelt otherwise where it is copied.
            let is_it = line.kind() == "session_meta" || checksum_of(&entry) == held.checksum;
            if line.ordinal() == Some(wanted) && is_it {
                return Place::at(source, part, entry.range.end).map(Some);
            }
        }
    }
    Ok(None)
}

/// The checksum at the end of an entry that is a whole line.
fn checksum_of(entry: &RawEntry) -> u64 {
    let window = usize::try_from(WINDOW).unwrap_or(usize::MAX).min(entry.bytes.len());
    checksum(&entry.bytes[entry.bytes.len() - window..])
}

/// Returns the last place that the history has in common with a former one.
///
/// Both go through segments from the oldest on. As long as these are the same and are left at the same place, so is what
/// stands in them; where one history left a segment earlier, they part there.
fn last_common(source: &dyn LineSource, former: &[(SegmentId, u64)]) -> Result<Place> {
    let mut common = Place::at_beginning(0);
    for (number, (part, (segment_id, former_end))) in source.parts().iter().zip(former).enumerate() {
        if part.segment_id != *segment_id {
            break;
        }
        let end = source.share(number)?.end;
        common = Place::at(source, number, end.min(*former_end))?;
        if end != *former_end {
            break;
        }
    }
    Ok(common)
}

/// The place before the first line with such an ordinal or a higher one.
fn first_from(source: &dyn LineSource, wanted: u64) -> Result<Place> {
    let mut before = (0, 0);
    for part in 0..source.parts().len() {
        let end = source.share(part)?.end;
        for entry in source.entries(part, 0)? {
            let entry = entry?;
            if entry.range.start >= end {
                break;
            }
            if ordinal(&entry).is_some_and(|ordinal| ordinal >= wanted) {
                return Place::at(source, part, entry.range.start);
            }
        }
        before = (part, end);
    }
    Place::at(source, before.0, before.1)
}

/// A page in the making.
struct Page<'a> {
    source: &'a dyn LineSource,
    query: &'a LineQuery,
    entries: Vec<LineEntry>,
    bytes: usize,
    /// Where the page ends so far.
    next: Place,
}

impl Page<'_> {
    /// Whether an entry of so many bytes fits.
    fn has_room(&self, bytes: usize) -> bool {
        let Self { entries, query, .. } = self;
        entries.is_empty() || entries.len() < query.max_lines && self.bytes.saturating_add(bytes) <= query.max_bytes
    }

    fn is_selected(&self, content: &RawContent) -> bool {
        self.query.select == LineSelect::All || matches!(content, RawContent::Damage { .. })
    }

    /// Adds an entry of a part.
    fn push(&mut self, part: usize, at: &Place, bytes: Vec<u8>, kind: EntryKind) {
        let LinePart { segment_id, inherited } = self.source.parts()[part];
        self.bytes += bytes.len();
        self.entries.push(LineEntry { at: at.position(self.source), segment: segment_id, inherited, bytes, kind });
    }

    fn push_missing(&mut self, at: &Place, missing: MissingBytes) {
        let MissingBytes { bytes, reason } = missing;
        self.push(at.part, at, Vec::new(), EntryKind::Missing { bytes, reason });
    }

    /// Adds what stands behind `next` and returns whether that is all.
    fn fill_ascending(&mut self, with_base: bool) -> Result<bool> {
        if with_base && let Some(missing) = self.source.missing_base() {
            self.push_missing(&self.next.clone(), missing);
        }
        let first = self.next.part;
        let last = self.source.parts().len() - 1;
        for part in first..=last {
            let share = self.source.share(part)?;
            let from = if part == first { self.next.byte } else { 0 };
            if !self.fill_from_part(part, from, &share)? {
                return Ok(false);
            }
            if let Some(missing) = share.missing {
                if !self.has_room(0) {
                    return Ok(false);
                }
                self.push_missing(&self.next.clone(), missing);
                if part < last {
                    self.next = Place::at_beginning(part + 1);
                }
            }
        }
        Ok(true)
    }

    /// Adds the share of a part from a byte on and returns whether all of it fitted.
    fn fill_from_part(&mut self, part: usize, from: u64, share: &Share) -> Result<bool> {
        if from >= share.end {
            return Ok(true);
        }
        // The last bytes before the next entry, of which its checksum may need some.
        let mut window = self.source.bytes(part, from.saturating_sub(WINDOW)..from)?;
        for entry in self.source.entries(part, from)? {
            let entry = cut_off(entry?, share.end);
            let Some(entry) = entry else { break };
            let is_selected = self.is_selected(&entry.content);
            if is_selected && !self.has_room(entry.bytes.len()) {
                return Ok(false);
            }
            slide(&mut window, &entry.bytes);
            let behind = Place { part, byte: entry.range.end, ordinal: ordinal(&entry), checksum: checksum(&window) };
            let at = std::mem::replace(&mut self.next, behind);
            if is_selected {
                self.push(part, &at, entry.bytes, kind(entry.content));
            }
        }
        Ok(true)
    }

    /// Adds what stands before `next`, the newest first, and returns whether that is all.
    fn fill_descending(&mut self) -> Result<bool> {
        let first = self.next.part;
        for part in (0..=first).rev() {
            let before = if part == first { self.next.byte } else { self.source.share(part)?.end };
            if !self.fill_back_in_part(part, before)? {
                return Ok(false);
            }
            let missing = match part.checked_sub(1) {
                Some(earlier) => self.source.share(earlier)?.missing,
                None => self.source.missing_base(),
            };
            if let Some(missing) = missing {
                if !self.has_room(0) {
                    return Ok(false);
                }
                if let Some(earlier) = part.checked_sub(1) {
                    self.next = Place::at(self.source, earlier, self.source.share(earlier)?.end)?;
                }
                self.push_missing(&self.next.clone(), missing);
            }
        }
        Ok(true)
    }

    /// Adds what stands before a byte in a part and returns whether all of it fitted.
    fn fill_back_in_part(&mut self, part: usize, before: u64) -> Result<bool> {
        if before == 0 {
            return Ok(true);
        }
        let mut entries = self.source.entries_back(part, before)?.peekable();
        while let Some(entry) = entries.next().transpose()? {
            let is_selected = self.is_selected(&entry.content);
            if is_selected && !self.has_room(entry.bytes.len()) {
                return Ok(false);
            }
            let start = entry.range.start;
            self.next = match entries.peek().and_then(|entry| entry.as_ref().ok()) {
                Some(before) => {
                    let checksum = checksum_at(self.source, part, start)?;
                    Place { part, byte: start, ordinal: ordinal(before), checksum }
                }
                None => Place::at(self.source, part, start)?,
            };
            if is_selected {
                self.push(part, &self.next.clone(), entry.bytes, kind(entry.content));
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

/// The part of an entry that stands before the end of a share. `None` if there is none.
fn cut_off(mut entry: RawEntry, end: u64) -> Option<RawEntry> {
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

/// Keeps the last bytes of what was read.
fn slide(window: &mut Vec<u8>, bytes: &[u8]) {
    let most = usize::try_from(WINDOW).unwrap_or(usize::MAX);
    window.extend_from_slice(&bytes[bytes.len().saturating_sub(most)..]);
    window.drain(..window.len().saturating_sub(most));
}
