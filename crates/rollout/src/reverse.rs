//! Reading a log backwards.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::error::{IoContext, Result, RolloutError};
use crate::reader::{Entry, split_line};

const BLOCK: u64 = 1 << 14;
const MAX_BLOCK: u64 = 1 << 22;

/// Reads a plain log backwards from a place: the entries that [`RolloutReader`](crate::RolloutReader) gives, last one first,
/// without their line numbers. What stands before the lines that are asked for is not read.
#[derive(Debug)]
pub struct ReverseReader {
    file: File,
    path: PathBuf,
    /// The bytes from `offset` to the end of what was not given yet.
    buffer: Vec<u8>,
    offset: u64,
    /// How much of the buffer's front holds no newline before its last line, for sure not.
    unsearched: usize,
    block: u64,
    ready: Vec<Entry>,
}

impl ReverseReader {
    /// A reader of a plain file, from its end.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_before(path, u64::MAX)
    }

    /// A reader of a plain file, from byte `end` backwards, or from its end if that comes first.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open_before(path: &Path, end: u64) -> Result<Self> {
        let mut file = File::open(path).context("open", path)?;
        let len = file.seek(SeekFrom::End(0)).context("read", path)?;
        let path = path.to_owned();
        let offset = len.min(end);
        Ok(Self { file, path, buffer: Vec::new(), offset, unsearched: 0, block: BLOCK, ready: Vec::new() })
    }

    /// How many bytes from the start of the file were not read yet.
    #[must_use]
    pub fn unread(&self) -> u64 {
        self.offset
    }

    fn fill(&mut self) -> Result<()> {
        let len = self.block.min(self.offset);
        self.block = (self.block * 2).min(MAX_BLOCK);
        self.offset -= len;
        // `len` is at most MAX_BLOCK.
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        self.file.seek(SeekFrom::Start(self.offset)).context("read", &self.path)?;
        self.file.read_exact(&mut bytes).context("read", &self.path)?;
        self.unsearched = bytes.len();
        bytes.append(&mut self.buffer);
        self.buffer = bytes;
        Ok(())
    }

    /// Where the buffer's last line begins, reading as much as it takes. Nothing at the start of the file.
    fn last_line_start(&mut self) -> Result<Option<usize>> {
        loop {
            // The newline that ends the last line does not begin it.
            let until = self.unsearched.min(self.buffer.len().saturating_sub(1));
            if let Some(at) = memchr::memrchr(b'\n', &self.buffer[..until]) {
                return Ok(Some(at + 1));
            }
            if self.offset == 0 {
                return Ok((!self.buffer.is_empty()).then_some(0));
            }
            self.fill()?;
        }
    }

    fn read_line(&mut self) -> Result<bool> {
        let Some(start) = self.last_line_start()? else { return Ok(false) };
        split_line(&self.buffer[start..], self.offset + start as u64, 0, &mut self.ready);
        self.buffer.truncate(start);
        self.unsearched = start;
        Ok(true)
    }
}

impl Iterator for ReverseReader {
    type Item = Result<Entry, RolloutError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.ready.pop() {
                return Some(Ok(entry));
            }
            match self.read_line() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}
