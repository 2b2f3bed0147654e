//! Entries of one file from an offset backwards, with all of their bytes. They are exactly those that a forward reading returns.

use std::collections::VecDeque;
use std::path::Path;

use selvedge_protocol::log::RawEntry;
use selvedge_rollout::RolloutFile;
use selvedge_thread_store::Result;
use selvedge_thread_store::implement::{RawEntryIter, entries_before};

use super::raw_entries::{entries_from, read_at};
use crate::error::stat;
use crate::limits::BACKWARD_WINDOW_BYTES;

/// Reads the entries of a file before an offset, the last one first. Texts of more than `max_text` bytes are shortened.
pub(crate) fn entries_back(file: &RolloutFile, before: u64, max_text: Option<usize>) -> Result<RawEntryIter<'_>> {
    let path: &Path = &file.path;
    if file.name.compressed {
        return Ok(Box::new(CompressedBackward { path, before, max_text, window: Vec::new() }));
    }
    let end = before.min(stat(path)?.len());
    Ok(entries_before(move |range| read_at(path, range), end, max_text))
}

/// Reads a compressed file backwards. It can be decompressed forward only. So each pass keeps a window: as many of the last
/// entries before `before` as fit into [`BACKWARD_WINDOW_BYTES`]. When they are used up, the next pass ends where the window
/// began. A file of n windows is decompressed n times.
struct CompressedBackward<'a> {
    path: &'a Path,
    /// The offset where the window begins. Entries before it are still to be read.
    before: u64,
    max_text: Option<usize>,
    window: Vec<RawEntry>,
}

impl CompressedBackward<'_> {
    fn fill(&mut self) -> Result<()> {
        let mut window = VecDeque::new();
        let mut bytes = 0;
        for entry in entries_from(self.path, 0, self.max_text)? {
            let entry = entry?;
            if entry.range.start >= self.before {
                break;
            }
            bytes += entry.bytes.len();
            window.push_back(entry);
            // One entry stays, however large, so that every pass makes progress.
            while bytes > BACKWARD_WINDOW_BYTES && window.len() > 1 {
                bytes -= window.pop_front().map_or(0, |entry: RawEntry| entry.bytes.len());
            }
        }
        self.window = window.into();
        self.before = self.window.first().map_or(0, |first| first.range.start);
        Ok(())
    }
}

impl Iterator for CompressedBackward<'_> {
    type Item = Result<RawEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.window.is_empty()
            && self.before > 0
            && let Err(error) = self.fill()
        {
            return Some(Err(error));
        }
        self.window.pop().map(Ok)
    }
}
