//! The prefix of a file that the index has read.

use std::hash::{DefaultHasher, Hasher};
use std::ops::Range;
use std::path::Path;

use selvedge_protocol::log::{Entry, LineRecord};
use selvedge_rollout::{FileStamp, RolloutReader};

/// How far a file was read. By the hash of the last line, a later scan verifies that the file still begins with what was
/// read: a file that was rewritten hardly has the same line at the same offset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct IndexedPrefix {
    /// The end, exclusive, of the last complete line. 0 if there is none.
    pub(crate) end: u64,
    /// The start of that line.
    pub(crate) last_line_start: u64,
    /// The hash of that line.
    pub(crate) last_line_hash: u64,
}

impl IndexedPrefix {
    /// Extends the prefix by a line. A line without a newline is left out: it may still grow, and is read again.
    pub(crate) fn extend(&mut self, record: &LineRecord) {
        let text = record.line.text().as_bytes();
        let has_newline = record.range.end - record.range.start > text.len() as u64;
        if has_newline {
            *self =
                Self { end: record.range.end, last_line_start: record.range.start, last_line_hash: line_hash(text) };
        }
    }

    /// Returns whether a file has only grown since it was read. `before` is its stamp when it was read, `now` its current stamp.
    pub(crate) fn has_grown_to(&self, path: &Path, before: &FileStamp, now: &FileStamp) -> bool {
        now.inode == before.inode && now.size > before.size && self.end > 0 && self.matches_file(path)
    }

    /// Returns whether the file still has the last line of the prefix at its offset.
    pub(crate) fn matches_file(&self, path: &Path) -> bool {
        let range: Range<u64> = self.last_line_start..self.end;
        // A file that cannot be read does not match: the scan finds out why.
        let Ok(mut reader) = RolloutReader::open_range(path, range.clone()) else { return false };
        matches!(
            reader.next(),
            Some(Ok(Entry::Line(record)))
                if record.range == range && line_hash(record.line.text().as_bytes()) == self.last_line_hash
        )
    }
}

/// Hashes a line. The hash may differ in another build; files are read again then.
pub(crate) fn line_hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}
