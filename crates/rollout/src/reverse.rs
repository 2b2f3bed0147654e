//! Reading a log backwards.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::error::{IoContext, Result, RolloutError};
use selvedge_protocol::log::{DamageKind, DamagedRange, Entry, MAX_LINE_BYTES, split_line};

const BLOCK: usize = 1 << 14;
const MAX_BLOCK: usize = 1 << 22;

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
    block: usize,
    failed: bool,
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

    /// How many bytes from the start of the file were not read yet.
    #[must_use]
    pub fn unread(&self) -> u64 {
        self.offset
    }

    fn fill(&mut self) -> Result<()> {
        // Growing with what is there keeps a long line linear. No more is needed than tells that a line is too long.
        let needed = (MAX_LINE_BYTES + 1).saturating_sub(self.buffer.len()).max(BLOCK);
        let block = self.block.max(self.buffer.len()).min(needed);
        let len = usize::try_from(self.offset).map_or(block, |offset| block.min(offset));
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

    /// Where the buffer's last line begins, reading as much as it takes. Nothing at the start of the file.
    fn last_line_start(&mut self) -> Result<Option<usize>> {
        loop {
            // The newline that ends the last line does not begin it.
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

    fn read_line(&mut self) -> Result<bool> {
        let Some(start) = self.last_line_start()? else { return Ok(false) };
        if self.buffer.len() - start > MAX_LINE_BYTES {
            return self.skip_long_line(start).map(|()| true);
        }
        split_line(&self.buffer[start..], self.offset + start as u64, 0, &mut self.ready);
        self.buffer.truncate(start);
        self.unsearched = start;
        Ok(true)
    }

    /// Gives a line that is too long as damage; `start` is where it begins as far as it was read.
    fn skip_long_line(&mut self, mut start: usize) -> Result<()> {
        let end = self.offset + self.buffer.len() as u64;
        self.buffer.truncate(start);
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
