//! Whole histories out of pages of lines: what [`ThreadReader`](crate::ThreadReader) provides on top of `read_lines`.
//!
//! Nothing here reads. A walk names the next page, its caller reads that page and hands it over. So this file needs no
//! reader, and the trait can use it in its default methods.

use std::io::Write;

use selvedge_protocol::{HistoryMode, SegmentId, ThreadId};

use crate::implement::MissingBytes;
use crate::{Damage, EntryKind, LineEntry, LinePage, LineQuery, LineStart, Result, StoreError, ThreadHistory};

/// Goes through all pages of a history, from its beginning to its end.
struct PageWalk {
    thread_id: ThreadId,
    /// Where the next page begins. `None` once the last page was accepted, and while the caller reads a page.
    next_start: Option<LineStart>,
}

impl PageWalk {
    const fn new(thread_id: ThreadId) -> Self {
        Self { thread_id, next_start: Some(LineStart::Beginning) }
    }

    /// Returns the query for the next page. `None` if the walk has reached the end.
    fn next_query(&mut self) -> Option<LineQuery> {
        self.next_start.take().map(|start| LineQuery::from(self.thread_id, start))
    }

    /// Accepts the page that answers the last query and returns its entries.
    fn accept(&mut self, page: LinePage) -> Result<Vec<LineEntry>> {
        if page.rewound_to.is_some() {
            // The pages before this one contain lines that are no longer part of the thread.
            return Err(StoreError::PositionGone { thread_id: self.thread_id });
        }
        if !page.is_end {
            self.next_start = Some(LineStart::At(page.next));
        }
        Ok(page.entries)
    }
}

/// Writes every page of a history to an output.
pub(crate) struct HistoryExporter<'a> {
    walk: PageWalk,
    out: &'a mut (dyn Write + Send),
    written: u64,
    /// The beginning of the history, if it is missing.
    missing: Option<MissingBytes>,
}

impl<'a> HistoryExporter<'a> {
    pub(crate) fn new(thread_id: ThreadId, out: &'a mut (dyn Write + Send)) -> Self {
        Self { walk: PageWalk::new(thread_id), out, written: 0, missing: None }
    }

    /// Returns the query for the next page. `None` if everything was exported.
    pub(crate) fn next_query(&mut self) -> Option<LineQuery> {
        self.walk.next_query()
    }

    /// Writes the page that answers the last query.
    pub(crate) fn accept(&mut self, page: LinePage) -> Result<()> {
        for entry in self.walk.accept(page)? {
            if let EntryKind::Missing { bytes, reason } = entry.kind
                && self.written == 0
            {
                self.missing = Some(MissingBytes { bytes, reason });
            }
            self.written += entry.bytes.len() as u64;
            let written = self.out.write_all(&entry.bytes);
            written.map_err(|error| StoreError::backend("cannot write what is exported", error))?;
        }
        Ok(())
    }

    /// Returns how many bytes were written.
    pub(crate) fn finish(self) -> Result<u64> {
        // A history without its beginning is an error, but only after the rest of it was written: a caller that rescues
        // what exists gets all of it.
        let Some(MissingBytes { bytes, reason }) = self.missing else { return Ok(self.written) };
        Err(StoreError::Corrupt {
            thread_id: self.walk.thread_id,
            location: "the beginning of the history".to_owned(),
            range: 0..bytes.unwrap_or(0),
            reason: format!("{reason}; what is there was exported"),
        })
    }
}

/// Collects every page of a history into one [`ThreadHistory`].
pub(crate) struct HistoryCollector {
    walk: PageWalk,
    progress: SegmentProgress,
    history: ThreadHistory,
}

impl HistoryCollector {
    pub(crate) fn new(thread_id: ThreadId, mode: HistoryMode) -> Self {
        let history = ThreadHistory { thread_id, mode, lines: Vec::new(), inherited: 0, damage: Vec::new() };
        Self { walk: PageWalk::new(thread_id), progress: SegmentProgress::default(), history }
    }

    /// Returns the query for the next page. `None` if everything was collected.
    pub(crate) fn next_query(&mut self) -> Option<LineQuery> {
        self.walk.next_query()
    }

    /// Adds the page that answers the last query.
    pub(crate) fn accept(&mut self, page: LinePage) -> Result<()> {
        for entry in self.walk.accept(page)? {
            self.progress.add(entry, &mut self.history);
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> ThreadHistory {
        self.history
    }
}

/// How far a segment was read: offsets and line numbers for the list of damage.
#[derive(Default)]
struct SegmentProgress {
    segment: Option<SegmentId>,
    byte: u64,
    line: u64,
    /// Whether the last entry was a damaged range that continues in the next entry.
    is_torn: bool,
}

impl SegmentProgress {
    /// Starts a new segment if the entry belongs to one. A history contains each segment from its first byte.
    fn enter(&mut self, segment: SegmentId) {
        if self.segment != Some(segment) {
            *self = Self { segment: Some(segment), byte: 0, line: 1, is_torn: false };
        }
    }

    /// Adds the next entry to the history.
    fn add(&mut self, entry: LineEntry, history: &mut ThreadHistory) {
        self.enter(entry.segment);
        // Entries have opaque positions. So offsets and line numbers are counted here, from the bytes of all entries.
        let (start, end) = (self.byte, self.byte + entry.bytes.len() as u64);
        // A line that is too long for one entry arrives in several. They are reported as one damaged range.
        let continues = std::mem::take(&mut self.is_torn);
        let line = self.line;
        let damage = |range, reason| Damage { location: format!("segment {}", entry.segment), range, line, reason };
        match &entry.kind {
            EntryKind::Line => {
                if let Some(line) = entry.line() {
                    // Inherited lines come first, so their number identifies them.
                    history.inherited += usize::from(entry.inherited);
                    history.lines.push(line);
                }
            }
            EntryKind::Blank => {}
            EntryKind::Damage { reason, is_complete } => {
                self.is_torn = !is_complete;
                match history.damage.last_mut().filter(|_| continues) {
                    Some(damage) => damage.range.end = end,
                    None => history.damage.push(damage(start..end, reason.clone())),
                }
            }
            EntryKind::Missing { bytes, reason } => {
                // A gap has no bytes in the store. Its range is the one that the missing bytes would have.
                history.damage.push(damage(start..start + bytes.unwrap_or(0), reason.clone()));
            }
        }
        self.byte = end;
        self.line += entry.bytes.iter().filter(|byte| **byte == b'\n').map(|_| 1).sum::<u64>();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(thread_id: ThreadId, bytes: &str, kind: EntryKind) -> LineEntry {
        let at = String::new().into();
        LineEntry { at, segment: thread_id.into(), inherited: false, bytes: bytes.into(), left_out: 0, kind }
    }

    #[test]
    fn the_pieces_of_one_line_are_one_damaged_range() {
        let [one, other] = [1, 2].map(|n| format!("01a1fd5d-0000-7000-8000-{n:012}").parse::<ThreadId>().unwrap());
        let mut history = ThreadHistory {
            thread_id: one,
            mode: HistoryMode::Legacy,
            lines: Vec::new(),
            inherited: 0,
            damage: Vec::new(),
        };
        let mut progress = SegmentProgress::default();
        let piece = |is_complete| EntryKind::Damage { reason: "too long".to_owned(), is_complete };
        for entry in [
            entry(one, "\n", EntryKind::Blank),
            entry(one, "aaa", piece(false)),
            entry(one, "aa", piece(false)),
            entry(one, "a\n", piece(true)),
            entry(one, "b\n", piece(true)),
            entry(one, "torn", piece(false)),
            entry(other, "c\n", piece(true)),
        ] {
            progress.add(entry, &mut history);
        }
        let found: Vec<_> = history.damage.iter().map(|damage| (damage.line, damage.range.clone())).collect();
        assert_eq!(found, [(2, 1..8), (3, 8..10), (4, 10..14), (1, 0..2)]);
    }
}
