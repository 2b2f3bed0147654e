//! Reading a history backwards, through all of its parts.
//!
//! A forward reader judges every line of an inherited prefix. So it finds the end of the prefix even if the byte in the
//! reference is wrong. A backward reader begins at that end and cannot do that. So it confirms that byte and ordinal of the
//! reference lead to the same line. If they do not, it ends with [`BackwardEntry::NeedsForwardRead`] instead of guessing.

use selvedge_history::PrefixEnd;
use selvedge_protocol::log::{DamagedRange, Entry, LineRecord};

use super::part::HistoryPart;
use crate::error::Result;
use crate::reverse::ReverseReader;

/// An entry of a history that is read backwards.
#[derive(Clone, Debug, PartialEq)]
pub enum BackwardEntry {
    /// An intact line of a part.
    Line {
        /// The index of the part.
        part: usize,
        /// The line.
        record: LineRecord,
    },
    /// A damaged range of a part. Its line number is not known.
    Damage {
        /// The index of the part.
        part: usize,
        /// The range.
        damage: DamagedRange,
    },
    /// The history has to be read forwards: the next part is compressed, or its end cannot be confirmed. This is the last entry.
    NeedsForwardRead,
}

/// Reads a history from its end. Yields the lines and damaged ranges of [`HistoryReader`](super::HistoryReader), the last one first.
#[derive(Debug)]
pub struct BackwardReader<'a> {
    /// The parts that were not read to their beginning yet.
    parts: &'a [HistoryPart],
    current: Option<BackwardPartReader>,
    is_over: bool,
}

#[derive(Debug)]
struct BackwardPartReader {
    reader: ReverseReader,
    /// The end of the part, until its last line confirmed it.
    end: Option<PrefixEnd>,
}

/// What a step back in a part returns.
enum BackwardStep {
    Entry(Entry),
    /// The beginning of the part is reached.
    Beginning,
    /// The end of the part is not where the reference names it, by byte and by ordinal.
    EndUnconfirmed,
}

impl BackwardPartReader {
    /// Opens a part. `None` if it cannot be read backwards.
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

    /// Reads the entry before.
    fn step(&mut self) -> Result<BackwardStep> {
        let Some(entry) = self.reader.next().transpose()? else {
            // An inherited prefix without any line confirms nothing.
            return Ok(self.end.take().map_or(BackwardStep::Beginning, |_| BackwardStep::EndUnconfirmed));
        };
        // Only the first entry, which is the last one of the part, has to confirm the end. It must be a line: damage there may
        // hide the line that decides.
        if let Some(end) = self.end.take() {
            let last = match &entry {
                Entry::Line(record) => record.line.ordinal(),
                Entry::Damage(_) => None,
            };
            if last.is_none() || end.ordinal != last.map(|last| last.saturating_add(1)) {
                return Ok(BackwardStep::EndUnconfirmed);
            }
        }
        Ok(BackwardStep::Entry(entry))
    }
}

impl<'a> BackwardReader<'a> {
    pub(super) fn new(parts: &'a [HistoryPart]) -> Self {
        Self { parts, current: None, is_over: false }
    }
}

impl BackwardReader<'_> {
    fn step(&mut self) -> Result<Option<BackwardEntry>> {
        while let Some((last, before)) = self.parts.split_last() {
            let current = match &mut self.current {
                Some(current) => current,
                None => match BackwardPartReader::open(last)? {
                    Some(opened) => self.current.insert(opened),
                    None => return Ok(Some(self.give_up())),
                },
            };
            match current.step()? {
                BackwardStep::Entry(Entry::Line(record)) => {
                    return Ok(Some(BackwardEntry::Line { part: before.len(), record }));
                }
                BackwardStep::Entry(Entry::Damage(damage)) => {
                    return Ok(Some(BackwardEntry::Damage { part: before.len(), damage }));
                }
                BackwardStep::EndUnconfirmed => return Ok(Some(self.give_up())),
                BackwardStep::Beginning => (self.parts, self.current) = (before, None),
            }
        }
        Ok(None)
    }

    fn give_up(&mut self) -> BackwardEntry {
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
