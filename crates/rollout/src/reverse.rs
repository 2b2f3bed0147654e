//! Reading a log backwards.
//!
//! Blocks are read from the end towards the beginning and put before what is left of the block behind. A newline belongs to
//! the line before it. So the last line in the buffer begins behind the last newline, not counting the final byte.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::error::{IoContext, Result, RolloutError};
use selvedge_protocol::log::{DamageKind, DamagedRange, Entry, MAX_LINE_BYTES, split_line};

/// How many bytes are read first. Small, because most callers need only the last lines.
const BLOCK: usize = 1 << 14;

/// How many bytes are read at a time at most. A block is twice as large as the one before.
const MAX_BLOCK: usize = 1 << 22;

/// Reads a plain log backwards from a position. It yields the entries of [`RolloutReader`](crate::RolloutReader) in reverse order,
/// without line numbers. It reads no more of the file than the requested lines need.
#[derive(Debug)]
pub struct ReverseReader {
    file: File,
    path: PathBuf,
    /// The bytes of the file from `offset` on that were not yielded yet.
    buffer: Vec<u8>,
    offset: u64,
    /// Only bytes before this index of the buffer can hold the newline that precedes the last line.
    unsearched: usize,
    /// How many bytes the next read takes.
    block: usize,
    failed: bool,
    /// Entries that were split from a line and not yet yielded. The last one is yielded first.
    ready: Vec<Entry>,
}

impl ReverseReader {
    /// Opens a plain file to read it from its end.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_before(path, u64::MAX)
    }

    /// Opens a plain file to read it backwards from byte `end`, or from the end of the file if it is shorter.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn open_before(path: &Path, end: u64) -> Result<Self> {
        let mut file = File::open(path).context("open", path)?;
        let len = file.seek(SeekFrom::End(0)).context("read", path)?;
        let path = path.to_owned();
        let offset = len.min(end);
        Ok(Self {
            file,
            path,
            buffer: Vec::new(),
            offset,
            unsearched: 0,
            block: BLOCK,
            failed: false,
            ready: Vec::new(),
        })
    }

    /// Returns how many bytes at the beginning of the file were not read yet.
    #[must_use]
    pub fn unread(&self) -> u64 {
        self.offset
    }

    /// Reads the block before the buffer.
    fn fill(&mut self) -> Result<()> {
        // Each read is at least as long as what is in the buffer. So a long line, which is copied with each read, costs linear time.
        // No more is read than is needed to find that a line is too long.
        let needed = (MAX_LINE_BYTES + 1).saturating_sub(self.buffer.len()).max(BLOCK);
        let block = self.block.max(self.buffer.len()).min(needed);
        let len = usize::try_from(self.offset).map_or(block, |offset| block.min(offset));
        // Later blocks are larger, so that reading a whole file takes few calls.
        self.block = (self.block * 2).min(MAX_BLOCK);
        let offset = self.offset - len as u64;
        let mut bytes = Vec::with_capacity(len + self.buffer.len());
        bytes.resize(len, 0);
        self.file.seek(SeekFrom::Start(offset)).context("read", &self.path)?;
        self.file.read_exact(&mut bytes).context("read", &self.path)?;
        self.offset = offset;
        self.unsearched = len;
        bytes.append(&mut self.buffer);
        self.buffer = bytes;
        Ok(())
    }

    /// Returns the index at which the last line in the buffer begins, and reads until that is known. `None` at the start of the file.
    fn last_line_start(&mut self) -> Result<Option<usize>> {
        loop {
            // The final newline of the buffer ends the last line and does not precede it.
            let until = self.unsearched.min(self.buffer.len().saturating_sub(1));
            if let Some(at) = memchr::memrchr(b'\n', &self.buffer[..until]) {
                return Ok(Some(at + 1));
            }
            if self.offset == 0 || self.buffer.len() > MAX_LINE_BYTES {
                return Ok((!self.buffer.is_empty()).then_some(0));
            }
            self.fill()?;
        }
    }

    /// Reads the line before into `ready`. Returns `false` at the start of the file.
    fn read_line(&mut self) -> Result<bool> {
        let Some(start) = self.last_line_start()? else { return Ok(false) };
        if self.buffer.len() - start > MAX_LINE_BYTES {
            return self.skip_long_line(start).map(|()| true);
        }
        // The number 0 means "not known": to know it, all newlines before would have to be counted.
        split_line(&self.buffer[start..], self.offset + start as u64, 0, &mut self.ready);
        self.buffer.truncate(start);
        self.unsearched = start;
        Ok(true)
    }

    /// Consumes a line that is too long, and reports it as damage. `start` is the index at which it begins, as far as it was read.
    fn skip_long_line(&mut self, mut start: usize) -> Result<()> {
        let end = self.offset + self.buffer.len() as u64;
        self.buffer.truncate(start);
        // Each block of the line is dropped before the one before it is read, up to the newline that precedes the line.
        while start == 0 && self.offset > 0 {
            self.buffer.clear();
            self.fill()?;
            start = memchr::memrchr(b'\n', &self.buffer).map_or(0, |at| at + 1);
            self.buffer.truncate(start);
        }
        self.unsearched = start;
        let range = self.offset + start as u64..end;
        self.ready.push(Entry::Damage(DamagedRange { range, number: 0, kind: DamageKind::TooLong }));
        Ok(())
    }
}

impl Iterator for ReverseReader {
    type Item = Result<Entry, RolloutError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.failed {
            if let Some(entry) = self.ready.pop() {
                return Some(Ok(entry));
            }
            match self.read_line() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
            }
        }
        None
    }
}
