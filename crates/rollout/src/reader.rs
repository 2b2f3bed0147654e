//! Reading a log forwards.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use selvedge_protocol::log::{DamageKind, DamagedRange, Entry, MAX_LINE_BYTES, split_line};

use crate::error::{IoContext, Result, RolloutError};
use crate::files::{decompress, is_compressed};

const BLOCK: usize = 1 << 16;

/// Reads a log forwards, in memory bounded by its longest line.
///
/// Gives every intact line in order and every stretch between them that is not white space. Fails only when the system
/// does, and then ends.
pub struct RolloutReader {
    source: Box<dyn Read + Send>,
    compressed: bool,
    path: PathBuf,
    /// Room for what was read; only the part from `start` to `filled` holds anything.
    buffer: Vec<u8>,
    /// Where the unread part of the buffer begins.
    start: usize,
    /// Where the unread part of the buffer ends.
    filled: usize,
    /// How much of the unread part's front holds no newline, for sure not.
    searched: usize,
    /// Place of the unread part's first byte in the file.
    offset: u64,
    number: u64,
    at_end: bool,
    failed: bool,
    ready: VecDeque<Entry>,
    /// What ends a damaged compressed file, to be given behind its last line.
    end: Option<Entry>,
    /// Which lines are passed over unread.
    skip: fn(&[u8]) -> bool,
    skipped_to: u64,
}

impl fmt::Debug for RolloutReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RolloutReader").field("path", &self.path).field("offset", &self.offset).finish_non_exhaustive()
    }
}

impl RolloutReader {
    /// A reader of a file, plain or (by its name) compressed.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_range(path, 0..u64::MAX)
    }

    /// A reader of a range of a file's (decompressed) bytes.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open_range(path: &Path, range: Range<u64>) -> Result<Self> {
        let (source, compressed) = open_bytes(path, range.clone())?;
        Ok(Self::new(source, compressed, path, range.start))
    }

    /// A reader of bytes that do not come from a file.
    pub fn from_bytes(bytes: impl Read + Send + 'static) -> Self {
        Self::new(Box::new(bytes), false, Path::new("-"), 0)
    }

    fn new(source: Box<dyn Read + Send>, compressed: bool, path: &Path, offset: u64) -> Self {
        Self {
            source,
            compressed,
            path: path.to_owned(),
            buffer: Vec::new(),
            start: 0,
            filled: 0,
            searched: 0,
            offset,
            number: 0,
            at_end: false,
            failed: false,
            ready: VecDeque::new(),
            end: None,
            skip: |_| false,
            skipped_to: 0,
        }
    }

    /// Passes over the lines that `skip` says yes to, without parsing them; it is given their bytes. For folds that need
    /// few of the lines.
    #[must_use]
    pub fn skipping(mut self, skip: fn(&[u8]) -> bool) -> Self {
        self.skip = skip;
        self
    }

    /// The byte just past the last line that was passed over; 0 if none was.
    pub(crate) fn skipped_to(&self) -> u64 {
        self.skipped_to
    }

    fn fill(&mut self) -> Result<()> {
        self.buffer.copy_within(self.start..self.filled, 0);
        self.filled -= self.start;
        self.start = 0;
        if self.buffer.is_empty() {
            self.buffer = vec![0; BLOCK];
        } else if self.buffer.len() - self.filled < BLOCK {
            // Growing with what is there keeps a long line linear, however little a read gives.
            self.buffer.resize(self.filled + BLOCK.max(self.filled), 0);
        }
        let read = loop {
            match self.source.read(&mut self.buffer[self.filled..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        match read {
            Ok(0) => self.at_end = true,
            Ok(len) => self.filled += len,
            Err(error) if self.compressed => self.end_of_compressed(&error),
            Err(error) => return Err(error).context("read", &self.path),
        }
        Ok(())
    }

    /// What was decompressed is kept; behind it the file cannot be read.
    fn end_of_compressed(&mut self, error: &io::Error) {
        self.at_end = true;
        let unread = &self.buffer[self.start..self.filled];
        let end = self.offset + unread.len() as u64;
        let number = self.number + 1 + memchr::memchr_iter(b'\n', unread).count() as u64;
        let kind = DamageKind::Compression { reason: error.to_string() };
        self.end = Some(Entry::Damage(DamagedRange { range: end..end, number, kind }));
    }

    /// The length of the next line with its newline, reading as much as it takes. Nothing at the end of the file.
    fn next_line_len(&mut self) -> Result<Option<usize>> {
        loop {
            let unread = &self.buffer[self.start..self.filled];
            if let Some(at) = memchr::memchr(b'\n', &unread[self.searched..]) {
                let len = self.searched + at + 1;
                self.searched = 0;
                return Ok(Some(len));
            }
            self.searched = unread.len();
            if self.at_end || self.searched > MAX_LINE_BYTES {
                let len = std::mem::take(&mut self.searched);
                return Ok((len > 0).then_some(len));
            }
            self.fill()?;
        }
    }

    fn read_line(&mut self) -> Result<bool> {
        let Some(len) = self.next_line_len()? else { return Ok(false) };
        if len > MAX_LINE_BYTES {
            self.skip_long_line(len)?;
        } else {
            self.take_line(len);
        }
        Ok(true)
    }

    fn take_line(&mut self, len: usize) {
        self.number += 1;
        let bytes = &self.buffer[self.start..self.start + len];
        if (self.skip)(bytes) {
            self.skipped_to = self.offset + len as u64;
        } else {
            split_line(bytes, self.offset, self.number, &mut self.ready);
        }
        self.start += len;
        self.offset += len as u64;
    }

    fn skip_long_line(&mut self, mut len: usize) -> Result<()> {
        self.number += 1;
        let start = self.offset;
        loop {
            let ended = self.buffer[self.start + len - 1] == b'\n';
            self.start += len;
            self.offset += len as u64;
            if ended || self.at_end {
                break;
            }
            self.fill()?;
            let unread = &self.buffer[self.start..self.filled];
            len = memchr::memchr(b'\n', unread).map_or(unread.len(), |at| at + 1);
            if len == 0 {
                break;
            }
        }
        let range = start..self.offset;
        self.ready.push_back(Entry::Damage(DamagedRange { range, number: self.number, kind: DamageKind::TooLong }));
        Ok(())
    }
}

impl Iterator for RolloutReader {
    type Item = Result<Entry, RolloutError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.failed {
            if let Some(entry) = self.ready.pop_front() {
                return Some(Ok(entry));
            }
            match self.read_line() {
                Ok(true) => {}
                Ok(false) => return self.end.take().map(Ok),
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

/// A range of a file's bytes, decompressed if its name says so, and whether it does.
///
/// # Errors
/// When the file cannot be opened.
pub fn open_bytes(path: &Path, range: Range<u64>) -> Result<(Box<dyn Read + Send>, bool)> {
    let mut file = File::open(path).context("open", path)?;
    let len = range.end.saturating_sub(range.start);
    if is_compressed(path) {
        let mut decoder = decompress(file, path)?;
        let skipped = io::copy(&mut (&mut decoder).take(range.start), &mut io::sink());
        // A frame that is damaged before the range begins has nothing in it.
        let len = if skipped.is_ok() { len } else { 0 };
        return Ok((Box::new(decoder.take(len)), true));
    }
    if range.start > 0 {
        // Behind the end of a file there is nothing, however far behind.
        let start = range.start.min(file.metadata().context("read", path)?.len());
        file.seek(SeekFrom::Start(start)).context("read", path)?;
    }
    Ok((Box::new(file.take(len)), false))
}
