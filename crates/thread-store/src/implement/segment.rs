//! A segment whose bytes are in memory, and the place where the next line goes.

use selvedge_history::segment_head;
use selvedge_protocol::log::{Entry, LineRecord, RawEntry, RawReader, split_line, split_raw};
use selvedge_protocol::{
    HistoryBase, HistoryMode, RolloutItem, RolloutLine, SegmentId, SessionMeta, ThreadId, Timestamp,
};
use serde::{Deserialize, Serialize};

/// A stretch of a thread's log, as it is stored, with its bytes split into lines.
#[derive(Clone, Debug)]
pub struct Segment {
    /// Its id.
    pub id: SegmentId,
    /// The thread that it belongs to.
    pub thread_id: ThreadId,
    /// When it was begun.
    pub created: Timestamp,
    /// What its file is called in the store that it was copied from.
    pub file_name: Option<String>,
    bytes: Vec<u8>,
    /// The lines and damaged stretches of the bytes.
    entries: Vec<Entry>,
    /// How many newlines the bytes have.
    newlines: u64,
}

impl Segment {
    /// A segment without bytes.
    #[must_use]
    pub fn new(id: SegmentId, thread_id: ThreadId, created: Timestamp) -> Self {
        Self { id, thread_id, created, file_name: None, bytes: Vec::new(), entries: Vec::new(), newlines: 0 }
    }

    /// A segment that begins at the time `at` with these items, a head first.
    #[must_use]
    pub fn begin(id: SegmentId, thread_id: ThreadId, at: Timestamp, items: &[RolloutItem]) -> Self {
        let mut segment = Self::new(id, thread_id, at);
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

    /// Returns its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns how many bytes it has.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Appends bytes as they are. A line that lacked its newline goes on.
    pub fn extend(&mut self, bytes: &[u8]) {
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

    /// Appends a line. One that is torn is sealed first.
    pub fn push_line(&mut self, line: &RolloutLine) {
        if self.is_torn() {
            self.extend(b"\n");
        }
        self.newlines += 1;
        let start = self.size();
        self.bytes.extend_from_slice(line.text().as_bytes());
        self.bytes.push(b'\n');
        let record = LineRecord { line: line.clone(), range: start..self.size(), number: self.newlines };
        self.entries.push(Entry::Line(record));
    }

    /// Returns the head that it begins with. `None` if it has none or lost it to damage.
    #[must_use]
    pub fn head(&self) -> Option<SessionMeta> {
        let entries = self.entries.iter().cloned().map(Ok::<_, std::convert::Infallible>);
        segment_head(self.thread_id, entries).unwrap_or_default()
    }

    /// Returns how the log is kept: as its head says, or else by whether lines have ordinals.
    #[must_use]
    pub fn mode(&self) -> HistoryMode {
        match self.head() {
            Some(head) => head.mode(),
            None if self.lines().any(|record| record.line.ordinal().is_some()) => HistoryMode::Paginated,
            None => HistoryMode::Legacy,
        }
    }

    /// Returns the place in another segment that it goes on from.
    #[must_use]
    pub fn base(&self) -> Option<HistoryBase> {
        self.head()?.history_base
    }

    /// Whether there is a line in it. A segment without one was never begun.
    #[must_use]
    pub fn holds_a_line(&self) -> bool {
        self.entries.iter().any(|entry| matches!(entry, Entry::Line(_)))
    }

    /// Returns how it ends, and so what the next line looks like.
    #[must_use]
    pub fn tail(&self) -> SegmentTail {
        let highest = self.lines().rev().filter_map(|record| record.line.ordinal()).next();
        let next_ordinal = match highest {
            Some(ordinal) => ordinal.saturating_add(1),
            None => self.head().as_ref().map_or(0, first_ordinal),
        };
        SegmentTail { mode: self.mode(), next_ordinal, is_torn: self.is_torn() }
    }

    /// Its lines, oldest first.
    pub fn lines(&self) -> impl DoubleEndedIterator<Item = &LineRecord> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Line(record) => Some(record),
            Entry::Damage(_) => None,
        })
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Everything from a byte on, entry by entry.
    pub(super) fn raw_entries(&self, from: u64) -> impl Iterator<Item = RawEntry> {
        let start = place(from).min(self.bytes.len());
        RawReader::new(&self.bytes[start..], from).map_while(Result::ok)
    }

    /// The same from a byte backwards, line by line.
    pub(super) fn raw_entries_back(&self, before: u64) -> impl Iterator<Item = RawEntry> {
        let mut end = place(before).min(self.bytes.len());
        let mut ready: Vec<RawEntry> = Vec::new();
        std::iter::from_fn(move || {
            while ready.is_empty() && end > 0 {
                let start = self.bytes[..end - 1].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
                ready = split_raw(&self.bytes[start..end], start as u64, 0);
                end = start;
            }
            ready.pop()
        })
    }

    fn is_torn(&self) -> bool {
        !self.bytes.is_empty() && !self.bytes.ends_with(b"\n")
    }
}

/// The ordinal that a segment with this head begins with.
fn first_ordinal(head: &SessionMeta) -> u64 {
    head.history_base.as_ref().and_then(|base| base.end_ordinal_exclusive).unwrap_or(0)
}

fn place(byte: u64) -> usize {
    usize::try_from(byte).unwrap_or(usize::MAX)
}

/// The end of a segment: all that an append needs to know of what was written before.
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
    /// Makes the line that comes next, of an item that is written at the time `at`.
    pub fn next_line(&mut self, at: Timestamp, item: &RolloutItem) -> RolloutLine {
        if self.mode == HistoryMode::Legacy {
            return RolloutLine::new(at, None, item);
        }
        let ordinal = self.next_ordinal;
        self.next_ordinal = ordinal.saturating_add(1);
        RolloutLine::new(at, Some(ordinal), item)
    }

    /// Returns the bytes that append these items, all at the time `at`. A torn line is sealed first.
    pub fn encode(&mut self, at: Timestamp, items: &[RolloutItem]) -> Vec<u8> {
        let mut bytes = Vec::new();
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

    /// A store that appends by the tail alone writes what one with the whole segment writes.
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
