//! A segment in memory, and a history that goes through several.

use std::collections::{HashMap, HashSet};

use selvedge_history::{SegmentEnd, ShareFold, segment_head};
use selvedge_protocol::log::{Entry, LineRecord, RawContent, RawEntry, RawReader, split_line, split_raw};
use selvedge_protocol::{HistoryBase, HistoryMode, RolloutLine, SegmentId, SessionMeta, ThreadId, Timestamp};

use crate::implement::MissingBytes;

/// How many segments a history may go through.
const MAX_PARTS: usize = 10_000;

/// A stretch of a thread's log, as it is stored.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) id: SegmentId,
    pub(super) thread_id: ThreadId,
    /// When it was begun.
    pub(super) created: Timestamp,
    /// What its file is called in the store that it was copied from.
    pub(super) file_name: Option<String>,
    bytes: Vec<u8>,
    /// The lines and damaged stretches of the bytes.
    entries: Vec<Entry>,
    /// How many newlines the bytes have.
    newlines: u64,
}

impl Segment {
    pub(super) fn new(id: SegmentId, thread_id: ThreadId, created: Timestamp) -> Self {
        Self { id, thread_id, created, file_name: None, bytes: Vec::new(), entries: Vec::new(), newlines: 0 }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Appends bytes. A line that lacked its newline goes on.
    pub(super) fn extend(&mut self, bytes: &[u8]) {
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
    pub(super) fn push_line(&mut self, line: &RolloutLine) {
        if !self.bytes.is_empty() && !self.bytes.ends_with(b"\n") {
            self.extend(b"\n");
        }
        self.newlines += 1;
        let start = self.len();
        self.bytes.extend_from_slice(line.text().as_bytes());
        self.bytes.push(b'\n');
        let record = LineRecord { line: line.clone(), range: start..self.len(), number: self.newlines };
        self.entries.push(Entry::Line(record));
    }

    pub(super) fn head(&self) -> Option<SessionMeta> {
        let entries = self.entries.iter().cloned().map(Ok::<_, std::convert::Infallible>);
        segment_head(self.thread_id, entries).unwrap_or_default()
    }

    /// How the log is kept: as its head says, or else by whether lines have ordinals.
    pub(super) fn mode(&self) -> HistoryMode {
        match self.head() {
            Some(head) => head.mode(),
            None if self.lines().any(|record| record.line.ordinal().is_some()) => HistoryMode::Paginated,
            None => HistoryMode::Legacy,
        }
    }

    pub(super) fn base(&self) -> Option<HistoryBase> {
        self.head()?.history_base
    }

    pub(super) fn holds_a_line(&self) -> bool {
        self.entries.iter().any(|entry| matches!(entry, Entry::Line(_)))
    }

    pub(super) fn lines(&self) -> impl DoubleEndedIterator<Item = &LineRecord> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Line(record) => Some(record),
            Entry::Damage(_) => None,
        })
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

    /// Whether the end of a base is where its byte says: a line ends there that stands just before its ordinal.
    fn ends_at_its_byte(&self, end: SegmentEnd) -> bool {
        let (Some(byte), Some(ordinal)) = (end.byte, end.ordinal) else { return false };
        self.lines().rev().find(|record| record.range.end <= byte).is_some_and(|record| {
            record.range.end == byte && record.line.ordinal().and_then(|last| last.checked_add(1)) == Some(ordinal)
        })
    }
}

fn place(byte: u64) -> usize {
    usize::try_from(byte).unwrap_or(usize::MAX)
}

/// One segment's share of a history.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part<'a> {
    pub(super) segment: &'a Segment,
    end: Option<SegmentEnd>,
}

impl<'a> Part<'a> {
    /// The entries of the share.
    pub(super) fn entries(&self) -> impl Iterator<Item = &'a Entry> {
        let mut share = self.fold();
        self.segment.entries.iter().take_while(move |entry| share.take(entry, 0))
    }

    /// The byte just past the share, and whether the segment ends before it does.
    pub(super) fn end(&self) -> (u64, bool) {
        let mut share = self.fold();
        let is_whole = self.segment.entries.iter().all(|entry| share.take(entry, 0));
        if self.end.is_none() {
            return (self.segment.len(), false);
        }
        (share.end_byte(), is_whole && share.is_short(0))
    }

    /// What the segment lacks of the share.
    pub(super) fn missing(&self) -> Option<MissingBytes> {
        let (end, is_short) = self.end();
        let bytes = self.end.and_then(|share| share.byte).and_then(|byte| byte.checked_sub(end));
        let reason = "the segment ends before the part of it that this thread builds on".to_owned();
        is_short.then_some(MissingBytes { bytes, reason })
    }

    fn fold(&self) -> ShareFold {
        match self.end {
            None => ShareFold::whole(),
            Some(end) if self.segment.ends_at_its_byte(end) => ShareFold::until_byte(end),
            Some(end) => ShareFold::until(end),
        }
    }

    /// The bytes of the share, entry by entry, white space too.
    pub(super) fn raw_entries(&self) -> impl Iterator<Item = RawEntry> {
        let (end, _) = self.end();
        self.segment.raw_entries(0).take_while(move |entry| entry.range.start < end)
    }
}

/// The segments that a history goes through, oldest first.
#[derive(Debug)]
pub(super) struct Parts<'a> {
    pub(super) parts: Vec<Part<'a>>,
    /// The base where the history breaks off, if it does, and why.
    pub(super) missing: Option<(SegmentId, MissingBytes)>,
}

impl<'a> Parts<'a> {
    /// Follows the bases of a segment.
    pub(super) fn of(newest: &'a Segment, segments: &'a HashMap<SegmentId, Segment>) -> Self {
        let mut parts = vec![Part { segment: newest, end: None }];
        let mut seen = HashSet::from([newest.id]);
        let mut missing = None;
        while let Some(last) = parts.last()
            && let Some((reference, base_id)) = last.segment.base().and_then(|base| base.thread_id.map(|id| (base, id)))
        {
            let end = SegmentEnd::of(&reference, last.segment.id).within(last.end);
            let reason = match segments.get(&base_id) {
                Some(_) if !seen.insert(base_id) => "the segments refer to each other in a circle",
                Some(_) if parts.len() >= MAX_PARTS => {
                    "the history goes through more segments than the limit of 10,000"
                }
                Some(segment) => {
                    parts.push(Part { segment, end: Some(end) });
                    continue;
                }
                None => "there is no such segment in this store",
            };
            missing = Some((base_id, MissingBytes { bytes: end.byte, reason: reason.to_owned() }));
            break;
        }
        parts.reverse();
        Self { parts, missing }
    }

    /// The oldest part is a head that other lines were copied behind.
    pub(super) fn newest(&self) -> Part<'a> {
        self.parts[self.parts.len() - 1]
    }
}

/// A line that text is appended for.
pub(super) fn text_of(entry: &RawEntry) -> Option<&RolloutLine> {
    if let RawContent::Line(line) = &entry.content { Some(line) } else { None }
}
