//! Reading a log forwards.
//!
//! A line is everything up to the next newline. This makes a reader resynchronize after any damage: whatever a crash or
//! another program left, the first newline behind it ends the damage, and the next byte begins a line. [`split_line`]
//! splits the bytes of one line into intact lines and damage: a torn line may be followed by an intact one without a
//! newline between them.
//!
//! ```text
//! {"timestamp":…}\n{"timest{"timestamp":…}\n\0\0\0{"timestamp":…}\n
//! |--- line 1 ----||damage||--- line 2 ----||dmg.||--- line 3 ----|
//! ```

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use selvedge_protocol::log::{DamageKind, DamagedRange, Entry, MAX_LINE_BYTES, ShortTexts, split_line};

use crate::error::{IoContext, Result, RolloutError};
use crate::files::decoder::open_decoder;
use crate::files::side_files::is_compressed;

/// How many bytes are read at a time.
const BLOCK: usize = 1 << 16;

/// How many bytes of a line are read before it is decided whether it is skipped, unless it is shorter.
const BEGINNING: usize = 1 << 12;

/// Reads a log forwards. Its memory is bounded by the longest line.
///
/// Yields every intact line in order, and every range between them that is neither a line nor white space. It fails only if the
/// system fails, and ends then.
pub struct RolloutReader {
    source: Box<dyn Read + Send>,
    compressed: bool,
    path: PathBuf,
    /// The buffer. Only its bytes from `start` to `filled` are read and not yet consumed.
    buffer: Vec<u8>,
    start: usize,
    filled: usize,
    /// How many of the unconsumed bytes are known to hold no newline.
    searched: usize,
    /// The position of `buffer[start]` in the file.
    offset: u64,
    /// The number of lines that were consumed.
    number: u64,
    at_end: bool,
    failed: bool,
    /// Entries that were split from a line and not yet yielded.
    ready: VecDeque<Entry>,
    /// The damage at which a compressed file ends. It is yielded after the last line.
    end: Option<Entry>,
    /// Decides by the bytes of a line, or by its beginning, whether it is skipped.
    skip: fn(&[u8]) -> bool,
    /// The position behind the last skipped line.
    skipped_to: u64,
}

impl fmt::Debug for RolloutReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RolloutReader").field("path", &self.path).field("offset", &self.offset).finish_non_exhaustive()
    }
}

impl RolloutReader {
    /// Opens a file, which is plain or, by its name, compressed.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_range(path, 0..u64::MAX)
    }

    /// Opens a range of the (decompressed) bytes of a file.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn open_range(path: &Path, range: Range<u64>) -> Result<Self> {
        let (source, compressed) = open_bytes(path, range.clone())?;
        Ok(Self::new(source, compressed, path, range.start))
    }

    /// Creates a reader of bytes that do not come from a file.
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

    /// Makes the reader skip every line for whose bytes `skip` returns `true`. Such a line is not parsed. For folds that need only a
    /// few of the lines.
    ///
    /// Of a long line, `skip` gets the beginning first: at least 4 KiB, without a newline at the end. If it returns `true`, the rest is
    /// not kept in memory; else it is asked again with more of the line. A line that is skipped is never reported as too long.
    #[must_use]
    pub fn skipping(mut self, skip: fn(&[u8]) -> bool) -> Self {
        self.set_skip(skip);
        self
    }

    /// Shortens the texts of the lines of more than `max` bytes to their beginning and their end ([`ShortTexts`]), so that the memory does
    /// not depend on their length. The ranges of entries are then not those of the file.
    #[must_use]
    pub fn shortening(mut self, max: usize) -> Self {
        self.source = Box::new(ShortTexts::new(self.source, max));
        self
    }

    /// Skips, from the next line on, every line for whose bytes `skip` returns `true`.
    pub(crate) fn set_skip(&mut self, skip: fn(&[u8]) -> bool) {
        self.skip = skip;
    }

    /// Returns the position behind the last line that was skipped; 0 if none was.
    pub(crate) fn skipped_to(&self) -> u64 {
        self.skipped_to
    }

    /// Reads more bytes, after moving the unconsumed ones to the front of the buffer.
    fn fill(&mut self) -> Result<()> {
        self.buffer.copy_within(self.start..self.filled, 0);
        self.filled -= self.start;
        self.start = 0;
        if self.buffer.is_empty() {
            self.buffer = vec![0; BLOCK];
        } else if self.buffer.len() - self.filled < BLOCK {
            // The buffer doubles while a line does not end. So a long line costs linear time, even if each read returns little.
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
            // An error of the decoder is damage, because the content of a file never makes a reader fail.
            Err(error) if self.compressed => self.end_of_compressed(&error),
            Err(error) => return Err(error).context("read", &self.path),
        }
        Ok(())
    }

    /// Ends the file where decompression failed. The bytes before that position are read like those of any file, and the damage
    /// is reported behind them.
    fn end_of_compressed(&mut self, error: &io::Error) {
        self.at_end = true;
        let unread = &self.buffer[self.start..self.filled];
        let end = self.offset + unread.len() as u64;
        // The lines in the buffer come before the damage, so that its line number is known only by counting them.
        let number = self.number + 1 + memchr::memchr_iter(b'\n', unread).count() as u64;
        let kind = DamageKind::Compression { reason: error.to_string() };
        self.end = Some(Entry::Damage(DamagedRange { range: end..end, number, kind }));
    }

    /// Returns the length of the next line with its newline, and reads until it is complete. `None` at the end of the file.
    ///
    /// The last line may lack its newline. A line that is skipped by its beginning, or is longer than [`MAX_LINE_BYTES`], is not read to
    /// its end.
    fn next_line_len(&mut self) -> Result<Option<usize>> {
        loop {
            let unread = &self.buffer[self.start..self.filled];
            if let Some(at) = memchr::memchr(b'\n', &unread[self.searched..]) {
                let len = self.searched + at + 1;
                self.searched = 0;
                return Ok(Some(len));
            }
            // After the next read, the search continues here and does not start over.
            self.searched = unread.len();
            let is_passed_over = self.searched > MAX_LINE_BYTES || (self.searched >= BEGINNING && (self.skip)(unread));
            if self.at_end || is_passed_over {
                let len = std::mem::take(&mut self.searched);
                return Ok((len > 0).then_some(len));
            }
            self.fill()?;
        }
    }

    /// Reads the next line into `ready`. Returns `false` at the end of the file.
    fn read_line(&mut self) -> Result<bool> {
        let Some(len) = self.next_line_len()? else { return Ok(false) };
        let line = &self.buffer[self.start..self.start + len];
        if len <= MAX_LINE_BYTES && (self.at_end || line.ends_with(b"\n")) {
            self.take_line(len);
            return Ok(true);
        }
        let is_skipped = (self.skip)(line);
        let range = self.pass_over(len)?;
        if is_skipped {
            self.skipped_to = range.end;
        } else {
            let damage = DamagedRange { range, number: self.number, kind: DamageKind::TooLong };
            self.ready.push_back(Entry::Damage(damage));
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

    /// Consumes a line of which `len` bytes were read, and returns its range.
    fn pass_over(&mut self, mut len: usize) -> Result<Range<u64>> {
        // The rest of the line needs no memory: each block is consumed before the next is read.
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
        self.number += 1;
        Ok(start..self.offset)
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

/// Opens a range of the bytes of a file, which are decompressed if the file is compressed by its name. Returns the bytes, and
/// whether the file is compressed.
///
/// # Errors
/// If the file cannot be opened.
pub fn open_bytes(path: &Path, range: Range<u64>) -> Result<(Box<dyn Read + Send>, bool)> {
    let mut file = File::open(path).context("open", path)?;
    let len = range.end.saturating_sub(range.start);
    if is_compressed(path) {
        let mut decoder = open_decoder(file, path)?;
        // A frame has no index, so everything before the range is decompressed and dropped.
        let skipped = io::copy(&mut (&mut decoder).take(range.start), &mut io::sink());
        // A frame that is damaged before the range begins yields no bytes of the range.
        let len = if skipped.is_ok() { len } else { 0 };
        return Ok((Box::new(decoder.take(len)), true));
    }
    if range.start > 0 {
        // A range behind the end of the file is empty. A seek to a position beyond `i64::MAX` would be an error instead.
        let start = range.start.min(file.metadata().context("read", path)?.len());
        file.seek(SeekFrom::Start(start)).context("read", path)?;
    }
    Ok((Box::new(file.take(len)), false))
}
