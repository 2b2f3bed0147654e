//! Reading a history forwards, through all of its parts.

use selvedge_history::InheritedPrefix;
use selvedge_protocol::log::Entry;

use super::part::HistoryPart;
use crate::error::Result;
use crate::reader::RolloutReader;

/// An entry of a history.
#[derive(Clone, Debug, PartialEq)]
pub enum HistoryEntry {
    /// A line or a damaged range of a part.
    Entry {
        /// The index of the part.
        part: usize,
        /// The entry.
        entry: Entry,
    },
    /// The file of a part ends before the part should end: lines of the history are lost.
    Short {
        /// The index of the part.
        part: usize,
        /// The size of what exists, in (decompressed) bytes.
        len: u64,
    },
}

/// Reads a history forwards, part by part.
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
    prefix: InheritedPrefix,
}

impl PartReader {
    fn open(part: &HistoryPart, skip: fn(&[u8]) -> bool) -> Result<Self> {
        let reader = RolloutReader::open(&part.file.path)?.skipping(skip);
        Ok(Self { reader, prefix: part.inherited_prefix()? })
    }

    /// Returns the next entry of the part. `None` at its end.
    fn next(&mut self) -> Result<Option<Entry>> {
        let Some(entry) = self.reader.next().transpose()? else { return Ok(None) };
        Ok(self.prefix.take(&entry, self.reader.skipped_to()).then_some(entry))
    }
}

impl<'a> HistoryReader<'a> {
    pub(super) fn new(parts: &'a [HistoryPart], skip: fn(&[u8]) -> bool) -> Self {
        Self { parts, next_part: 0, current: None, skip }
    }

    /// From here on, skips every line for whose bytes `skip` returns `true`, instead of those so far.
    pub fn skip_from_here(&mut self, skip: fn(&[u8]) -> bool) {
        self.skip = skip;
        if let Some(current) = &mut self.current {
            current.reader.set_skip(skip);
        }
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
            // A part ends with its file, or with the first entry that is not inherited. In the second case the rest of the file is
            // not read.
            let part = self.next_part - 1;
            match current.next() {
                Ok(Some(entry)) => return Some(Ok(HistoryEntry::Entry { part, entry })),
                Ok(None) => {
                    let is_short = current.prefix.is_short(current.reader.skipped_to());
                    let short = is_short.then_some(HistoryEntry::Short { part, len: current.prefix.end_byte() });
                    self.current = None;
                    if let Some(short) = short {
                        return Some(Ok(short));
                    }
                }
                // A part that cannot be read costs only its own lines: the next call continues with the part behind it.
                Err(error) => {
                    self.current = None;
                    return Some(Err(error));
                }
            }
        }
    }
}
