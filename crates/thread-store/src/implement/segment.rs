//! A segment whose bytes are in memory, and its tail: what an append needs to know of it.

use selvedge_history::segment_head;
use selvedge_protocol::log::{Entry, LineRecord, RawEntry, RawReader, split_line, split_raw};
use selvedge_protocol::{
    HistoryBase, HistoryMode, RolloutItem, RolloutLine, SegmentId, SessionMeta, ThreadId, Timestamp,
};
use serde::{Deserialize, Serialize};

/// A segment of a thread's log: its bytes as they are stored, split into lines and damaged ranges.
#[derive(Clone, Debug)]
pub struct Segment {
    /// The id of the segment.
    pub id: SegmentId,
    /// The thread that the segment belongs to.
    pub thread_id: ThreadId,
    /// When the segment was created.
    pub created: Timestamp,
    /// The name of its file in the store from which it was copied.
    pub file_name: Option<String>,
    bytes: Vec<u8>,
    /// The lines and damaged ranges of the bytes, without white space. Always up to date with the bytes.
    entries: Vec<Entry>,
    /// How many newlines the bytes have.
    newlines: u64,
}

impl Segment {
    /// Creates a segment without bytes.
    #[must_use]
    pub fn new(id: SegmentId, thread_id: ThreadId, created: Timestamp) -> Self {
        Self { id, thread_id, created, file_name: None, bytes: Vec::new(), entries: Vec::new(), newlines: 0 }
    }

    /// Creates a segment that begins with these items, the first one a head. All lines get the time `at`.
    #[must_use]
    pub fn begin(id: SegmentId, thread_id: ThreadId, at: Timestamp, items: &[RolloutItem]) -> Self {
        let mut segment = Self::new(id, thread_id, at);
        // A tail of a segment that does not exist yet. The head determines the mode, and the base determines the first
        // ordinal.
        let mut tail = SegmentTail::default();
        if let Some(RolloutItem::SessionMeta(head)) = items.first() {
            tail.mode = head.mode();
            tail.next_ordinal = first_ordinal(head);
        }
        for item in items {
            segment.push_line(&tail.next_line(at, item));
        }
        segment
    }

    /// Returns the bytes of the segment.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns how many bytes the segment has.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Appends bytes as they are. They continue a last line that lacks its newline.
    pub fn extend(&mut self, bytes: &[u8]) {
        // The new bytes may complete the last line, so everything after the last newline is split again.
        let start = self.bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        self.entries.retain(|entry| entry.range().start < start as u64);
        self.bytes.extend_from_slice(bytes);
        let mut offset = start as u64;
        for line in self.bytes[start..].split_inclusive(|byte| *byte == b'\n') {
            split_line(line, offset, self.newlines + 1, &mut self.entries);
            offset += line.len() as u64;
            self.newlines += u64::from(line.ends_with(b"\n"));
        }
    }

    /// Appends a line. A torn line at the end is sealed first: it gets a newline, so that the new line stands alone.
    pub fn push_line(&mut self, line: &RolloutLine) {
        if self.is_torn() {
            self.extend(b"\n");
        }
        // The line is known, so it is not split from the bytes again: an append costs the line, not the segment.
        self.newlines += 1;
        let start = self.size();
        self.bytes.extend_from_slice(line.text().as_bytes());
        self.bytes.push(b'\n');
        let record = LineRecord { line: line.clone(), range: start..self.size(), number: self.newlines };
        self.entries.push(Entry::Line(record));
    }

    /// Returns the head of the segment. `None` if it has none or lost it to damage.
    #[must_use]
    pub fn head(&self) -> Option<SessionMeta> {
        let entries = self.entries.iter().cloned().map(Ok::<_, std::convert::Infallible>);
        segment_head(self.thread_id, entries).unwrap_or_default()
    }

    /// Returns how the log is kept: according to the head, or, if that was lost, by whether any line has an ordinal.
    #[must_use]
    pub fn mode(&self) -> HistoryMode {
        match self.head() {
            Some(head) => head.mode(),
            None if self.lines().any(|record| record.line.ordinal().is_some()) => HistoryMode::Paginated,
            None => HistoryMode::Legacy,
        }
    }

    /// Returns the position in another segment from which this one continues. `None` if it begins a history.
    #[must_use]
    pub fn base(&self) -> Option<HistoryBase> {
        self.head()?.history_base
    }

    /// Returns whether the segment contains an intact line. A segment without one was never begun: its writer was
    /// interrupted before the head was complete.
    #[must_use]
    pub fn holds_a_line(&self) -> bool {
        self.entries.iter().any(|entry| matches!(entry, Entry::Line(_)))
    }

    /// Returns the tail of the segment, which determines the next line.
    #[must_use]
    pub fn tail(&self) -> SegmentTail {
        // The last line may lack an ordinal, so this searches backwards for one that has it.
        let highest = self.lines().rev().filter_map(|record| record.line.ordinal()).next();
        let next_ordinal = match highest {
            Some(ordinal) => ordinal.saturating_add(1),
            None => self.head().as_ref().map_or(0, first_ordinal),
        };
        // All three are read from the end of the segment or from its head, so a store can keep them instead of reading
        // again.
        SegmentTail { mode: self.mode(), next_ordinal, is_torn: self.is_torn() }
    }

    /// Returns the intact lines, oldest first.
    pub fn lines(&self) -> impl DoubleEndedIterator<Item = &LineRecord> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Line(record) => Some(record),
            Entry::Damage(_) => None,
        })
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Returns all bytes from an offset on, entry by entry, including white space.
    pub(super) fn raw_entries(&self, from: u64) -> impl Iterator<Item = RawEntry> {
        let start = to_index(from).min(self.bytes.len());
        RawReader::new(&self.bytes[start..], from).map_while(Result::ok)
    }

    /// Returns all bytes before an offset, entry by entry, the last one first.
    pub(super) fn raw_entries_back(&self, before: u64) -> impl Iterator<Item = RawEntry> {
        let mut end = to_index(before).min(self.bytes.len());
        // The entries between two newlines that were split and not returned yet. One line can have several: a damaged
        // range, and the intact line after it.
        let mut ready: Vec<RawEntry> = Vec::new();
        std::iter::from_fn(move || {
            while ready.is_empty() && end > 0 {
                // `end` is after a newline or at the end of the bytes, so the byte before it does not begin the line.
                let start = self.bytes[..end - 1].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
                ready = split_raw(&self.bytes[start..end], start as u64, 0);
                end = start;
            }
            ready.pop()
        })
    }

    /// Returns whether the last line lacks its newline.
    fn is_torn(&self) -> bool {
        !self.bytes.is_empty() && !self.bytes.ends_with(b"\n")
    }
}

/// Returns the ordinal of the first line of a segment with this head: ordinals continue from the base.
fn first_ordinal(head: &SessionMeta) -> u64 {
    head.history_base.as_ref().and_then(|base| base.end_ordinal_exclusive).unwrap_or(0)
}

/// Converts an offset to an index. An offset that memory cannot hold becomes an index after all bytes.
fn to_index(byte: u64) -> usize {
    usize::try_from(byte).unwrap_or(usize::MAX)
}

/// The tail of a segment: everything that an append needs to know of the lines before it.
///
/// A store that keeps the tail can append without reading the segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentTail {
    /// How the log is kept: whether lines have ordinals.
    pub mode: HistoryMode,
    /// The ordinal of the next line (paginated mode).
    pub next_ordinal: u64,
    /// Whether the last line lacks its newline.
    pub is_torn: bool,
}

impl SegmentTail {
    /// Creates the next line from an item that is written at the time `at`.
    pub fn next_line(&mut self, at: Timestamp, item: &RolloutItem) -> RolloutLine {
        if self.mode == HistoryMode::Legacy {
            return RolloutLine::new(at, None, item);
        }
        let ordinal = self.next_ordinal;
        self.next_ordinal = ordinal.saturating_add(1);
        RolloutLine::new(at, Some(ordinal), item)
    }

    /// Returns the bytes that append these items, all at the time `at`. If the last line is torn, they begin with a
    /// newline that seals it.
    pub fn encode(&mut self, at: Timestamp, items: &[RolloutItem]) -> Vec<u8> {
        let mut bytes = Vec::new();
        // An append of nothing writes nothing, not even the newline that seals a torn line.
        if !items.is_empty() && std::mem::take(&mut self.is_torn) {
            bytes.push(b'\n');
        }
        for item in items {
            bytes.extend_from_slice(self.next_line(at, item).text().as_bytes());
            bytes.push(b'\n');
        }
        bytes
    }

    /// Returns the ordinal of the last line (paginated mode).
    #[must_use]
    pub fn last_ordinal(&self) -> Option<u64> {
        (self.mode == HistoryMode::Paginated).then(|| self.next_ordinal.checked_sub(1)).flatten()
    }
}

#[cfg(test)]
mod tests {
    use selvedge_protocol::ResponseItem;

    use super::*;

    /// A store that appends by the tail alone writes the same bytes as one that has the whole segment.
    #[test]
    fn the_tail_is_all_that_an_append_needs() {
        let thread_id: ThreadId = "01a1fd5d-aacb-7641-837d-630af077ebd5".parse().unwrap();
        let at = Timestamp::from_millis(1_795_252_000_000);
        let items: Vec<RolloutItem> = ["a", "b"].map(|text| ResponseItem::user_text(text).into()).into();
        for mode in [HistoryMode::Legacy, HistoryMode::Paginated] {
            let head = SessionMeta { history_mode: Some(mode), ..SessionMeta::new(thread_id, at) };
            let mut segment = Segment::begin(thread_id.into(), thread_id, at, &[head.into()]);
            segment.extend(b"{\"torn");
            let mut tail = segment.tail();
            let counted = mode == HistoryMode::Paginated;
            assert_eq!((tail.is_torn, tail.last_ordinal()), (true, counted.then_some(0)));
            assert_eq!(tail.encode(at, &[]), b"");
            let before = segment.bytes().len();
            let written = [tail.encode(at, &items[..1]), tail.encode(at, &items[1..])].concat();
            let mut other = SegmentTail { is_torn: false, ..segment.tail() };
            items.iter().for_each(|item| segment.push_line(&other.next_line(at, item)));
            assert_eq!(segment.bytes()[before..], written);
            assert_eq!((segment.tail(), tail.last_ordinal()), (tail, counted.then_some(2)));
        }
    }
}
