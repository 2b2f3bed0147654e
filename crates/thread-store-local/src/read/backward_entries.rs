//! Entries of one file from an offset backwards, with all of their bytes.
//!
//! The entries are exactly those that a forward reading returns, in reverse order. So both readers below find out where a run of
//! entries begins, and then read that run forward.

use std::collections::VecDeque;
use std::ops::Range;
use std::path::Path;

use selvedge_protocol::log::RawEntry;
use selvedge_rollout::{ReverseReader, RolloutFile};
use selvedge_thread_store::Result;
use selvedge_thread_store::implement::RawEntryIter;

use super::raw_entries::entries_from;
use crate::error::{stat, store_error};
use crate::limits::BACKWARD_WINDOW_BYTES;

/// Reads the entries of a file before an offset, the last one first.
pub(crate) fn entries_before(file: &RolloutFile, before: u64) -> Result<RawEntryIter<'_>> {
    if file.name.compressed {
        return Ok(Box::new(CompressedBackward { path: &file.path, before, window: Vec::new() }));
    }
    let path: &Path = &file.path;
    let reader = ReverseReader::open_before(path, before).map_err(store_error)?;
    let end = before.min(stat(path)?.len());
    Ok(Box::new(PlainBackward { path, reader, end, ready: Vec::new(), is_done: false }))
}

/// Reads a plain file backwards.
struct PlainBackward<'a> {
    path: &'a Path,
    reader: ReverseReader,
    /// The offset just past everything that was not returned yet.
    end: u64,
    /// Entries to return, the last one first to be taken.
    ready: Vec<RawEntry>,
    is_done: bool,
}

impl PlainBackward<'_> {
    /// Reads the entry before `end`, and the white space after it.
    fn fill(&mut self) -> Result<()> {
        let Some(entry) = self.reader.next().transpose().map_err(store_error)? else {
            self.is_done = true;
            // Only bytes before the first entry remain.
            return self.push_entries_of(0..self.end);
        };
        let range = entry.range().clone();
        self.push_entries_of(range.start..self.end)
    }

    /// Reads a range forward. For the reverse reader it is one entry. A forward reading may see several in it: white space
    /// after a line is an entry of its own, and a line that is too long comes in pieces.
    fn push_entries_of(&mut self, range: Range<u64>) -> Result<()> {
        self.end = range.start;
        for entry in entries_from(self.path, range.start)? {
            let mut entry = entry?;
            if entry.range.start >= range.end {
                break;
            }
            // A writer may have appended to the last line since; what comes after `before` is ignored.
            let len = usize::try_from(range.end - entry.range.start).unwrap_or(usize::MAX);
            entry.bytes.truncate(len);
            entry.range.end = entry.range.end.min(range.end);
            self.ready.push(entry);
        }
        Ok(())
    }
}

impl Iterator for PlainBackward<'_> {
    type Item = Result<RawEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.ready.is_empty() && !self.is_done {
            if let Err(error) = self.fill() {
                self.is_done = true;
                return Some(Err(error));
            }
        }
        self.ready.pop().map(Ok)
    }
}

/// Reads a compressed file backwards. It can be decompressed forward only. So each pass keeps a window: as many of the last
/// entries before `before` as fit into [`BACKWARD_WINDOW_BYTES`]. When they are used up, the next pass ends where the window
/// began. A file of n windows is decompressed n times.
struct CompressedBackward<'a> {
    path: &'a Path,
    /// The offset where the window begins. Entries before it are still to be read.
    before: u64,
    window: Vec<RawEntry>,
}

impl CompressedBackward<'_> {
    fn fill(&mut self) -> Result<()> {
        let mut window = VecDeque::new();
        let mut bytes = 0;
        for entry in entries_from(self.path, 0)? {
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
