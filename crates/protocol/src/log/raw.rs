//! Reads every byte of a log: lines, damage and the blanks between them.
//!
//! A copy or an export uses this, because it must lose nothing. [`split_line`] drops white space; here it is an entry.

use std::collections::VecDeque;
use std::io::{self, BufRead, Read};
use std::ops::Range;

use super::entry::{DamageKind, Entry, MAX_LINE_BYTES};
use super::short_texts::TextShortener;
use super::split::split_line;
use crate::RolloutLine;

/// Length of the chunks in which a line that is longer than [`MAX_LINE_BYTES`] is returned, in bytes (1 MiB). The last
/// chunk can be shorter.
pub const LONG_LINE_CHUNK_BYTES: usize = 1 << 20;

/// A range of a log with its bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct RawEntry {
    /// The location of the bytes in the log.
    pub range: Range<u64>,
    /// The bytes, with the newline if there is one. If a reader has [shortened](RawReader::shortening) its texts, they are fewer than
    /// those of the range.
    pub bytes: Vec<u8>,
    /// What the bytes are.
    pub content: RawContent,
}

/// What a range of a log is.
#[derive(Clone, Debug, PartialEq)]
pub enum RawContent {
    /// An intact line.
    Line(RolloutLine),
    /// White space between entries: an empty line, or the blanks that a repair wrote over damage.
    Blank,
    /// A range of bytes that contains no intact line.
    Damage {
        /// What is wrong with the bytes.
        kind: DamageKind,
        /// Whether the damaged range ends with this entry. If not, the next entry continues it. Only a line that is too
        /// long ([`DamageKind::TooLong`]) is returned in several entries.
        is_complete: bool,
    },
}

impl RawEntry {
    /// Returns how many bytes of the range are not here, because texts were shortened. 0 if they are those of the range.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        (self.range.end - self.range.start).saturating_sub(self.bytes.len() as u64)
    }

    /// Returns whether the entry ends with a newline. The writer may still continue an entry that does not.
    #[must_use]
    pub fn is_terminated(&self) -> bool {
        self.bytes.ends_with(b"\n")
    }
}

/// Returns the entries of one line, with the blanks between them. Together they hold all of `bytes`.
///
/// The parameters are those of [`split_line`].
#[must_use]
pub fn split_raw(bytes: &[u8], offset: u64, number: u64) -> Vec<RawEntry> {
    let mut entries: Vec<Entry> = Vec::new();
    split_line(bytes, offset, number, &mut entries);
    let mut raw = Vec::with_capacity(entries.len());
    // Invariant: the entries in `raw` hold the bytes in `offset..done`, without gaps and without overlaps.
    let mut done = offset;
    let mut push = |range: Range<u64>, content: RawContent| {
        let index = |at: u64| usize::try_from(at - offset).unwrap_or(bytes.len()).min(bytes.len());
        raw.push(RawEntry { bytes: bytes[index(range.start)..index(range.end)].to_vec(), range, content });
    };
    for entry in entries {
        let range = entry.range().clone();
        // What `split_line` leaves out between two entries is white space.
        if range.start > done {
            push(done..range.start, RawContent::Blank);
        }
        done = range.end;
        push(
            range,
            match entry {
                Entry::Line(record) => RawContent::Line(record.line),
                Entry::Damage(damage) => RawContent::Damage { kind: damage.kind, is_complete: true },
            },
        );
    }
    let end = offset + bytes.len() as u64;
    if end > done {
        push(done..end, RawContent::Blank);
    }
    raw
}

/// Reads a log forwards and returns every byte of it. The memory is bounded by the longest line, and by
/// [`MAX_LINE_BYTES`].
///
/// A line that is longer than [`MAX_LINE_BYTES`] is a damaged range, which is returned in chunks of [`LONG_LINE_CHUNK_BYTES`].
#[derive(Debug)]
pub struct RawReader<R> {
    source: R,
    offset: u64,
    line: Vec<u8>,
    /// Whether the next byte continues an over-long line.
    is_in_long_line: bool,
    ready: VecDeque<RawEntry>,
    is_over: bool,
    shortener: Option<TextShortener>,
}

impl<R: BufRead> RawReader<R> {
    /// Creates a reader. `source` begins at `offset` of the log, which is the beginning of a line or a position within
    /// one.
    pub fn new(source: R, offset: u64) -> Self {
        let (line, ready) = (Vec::new(), VecDeque::new());
        Self { source, offset, line, is_in_long_line: false, ready, is_over: false, shortener: None }
    }

    /// Shortens the texts of more than `max` bytes, as [`ShortTexts`](super::ShortTexts) does, if there is a `max`. The entries are the
    /// same, with shorter bytes, so that memory does not depend on the length of a text. A line that is too long is one entry then.
    #[must_use]
    pub fn shortening(mut self, max: Option<usize>) -> Self {
        self.shortener = max.map(TextShortener::new);
        self
    }

    /// Reads the rest of a line, or as much of it as is read in one step, and queues its entries. Returns `false` at
    /// the end.
    ///
    /// A line of exactly [`MAX_LINE_BYTES`], newline included, is still a line. So one more byte is requested, to
    /// recognize a longer one. The rest of a longer one is read chunk by chunk, up to its newline.
    fn fill(&mut self) -> io::Result<bool> {
        if self.shortener.is_some() {
            return self.fill_short();
        }
        self.line.clear();
        let limit = if self.is_in_long_line { LONG_LINE_CHUNK_BYTES } else { MAX_LINE_BYTES + 1 };
        (&mut self.source).take(limit as u64).read_until(b'\n', &mut self.line)?;
        let is_long = self.is_in_long_line || self.line.len() > MAX_LINE_BYTES;
        if is_long {
            self.queue_chunks();
        } else {
            self.ready.extend(split_raw(&self.line, self.offset, 0));
            self.offset += self.line.len() as u64;
        }
        Ok(!self.line.is_empty())
    }

    /// Reads a line in parts, shortens its texts, and queues its entries with their ranges in the log. Returns `false` at the end.
    fn fill_short(&mut self) -> io::Result<bool> {
        let Some(shortener) = &mut self.shortener else { return Ok(false) };
        let mut len = 0;
        let is_complete = loop {
            let bytes = match self.source.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                bytes => bytes?,
            };
            let end = memchr::memchr(b'\n', bytes).map(|at| at + 1);
            let read = end.unwrap_or(bytes.len());
            // Of a line that is too long, nothing more is needed.
            if len <= MAX_LINE_BYTES as u64 {
                shortener.push(&bytes[..read]);
            }
            self.source.consume(read);
            len += read as u64;
            if end.is_some() || read == 0 {
                break end.is_some();
            }
        };
        let mut line = shortener.take_line();
        let start = self.offset;
        self.offset += len;
        if len > MAX_LINE_BYTES as u64 {
            line.bytes.truncate(LONG_LINE_CHUNK_BYTES);
            let content = RawContent::Damage { kind: DamageKind::TooLong, is_complete };
            self.ready.push_back(RawEntry { range: start..self.offset, bytes: line.bytes, content });
            return Ok(true);
        }
        for mut entry in split_raw(&line.bytes, 0, 0) {
            entry.range = start + line.whole_position(entry.range.start)..start + line.whole_position(entry.range.end);
            self.ready.push_back(entry);
        }
        Ok(len > 0)
    }

    /// Queues what was read of an over-long line, in chunks. The first call for a line has many of them, each later
    /// call one.
    fn queue_chunks(&mut self) {
        let is_end = self.line.ends_with(b"\n");
        let count = self.line.len().div_ceil(LONG_LINE_CHUNK_BYTES);
        for (index, bytes) in self.line.chunks(LONG_LINE_CHUNK_BYTES).enumerate() {
            let range = self.offset..self.offset + bytes.len() as u64;
            self.offset = range.end;
            let is_complete = is_end && index + 1 == count;
            let content = RawContent::Damage { kind: DamageKind::TooLong, is_complete };
            self.ready.push_back(RawEntry { range, bytes: bytes.to_vec(), content });
        }
        self.is_in_long_line = !is_end;
    }
}

impl<R: BufRead> Iterator for RawReader<R> {
    type Item = io::Result<RawEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.ready.pop_front() {
                return Some(Ok(entry));
            }
            if self.is_over {
                return None;
            }
            match self.fill() {
                // Bytes were read, so at least one entry is queued: blank bytes are an entry, too.
                Ok(true) => {}
                Ok(false) => self.is_over = true,
                // A reader that failed is over. Reading on would begin at an unknown position within a line.
                Err(error) => {
                    self.is_over = true;
                    return Some(Err(error));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Vec<RawEntry> {
        RawReader::new(bytes, 7).collect::<io::Result<_>>().unwrap()
    }

    #[test]
    fn entries_with_short_texts_are_the_same_entries() {
        let line = |text: &str| {
            let payload = serde_json::json!({"a": text, "b": "short", "c": text}).to_string();
            format!(r#"{{"timestamp":"2026-11-21T09:08:56.680Z","type":"event_msg","payload":{payload}}}"#)
        };
        let long = "é\n\"".repeat(5_000);
        let torn = &line(&long)[..9_000];
        let numbers = format!("{{\"n\":[{}0],\"a\"", "1234, ".repeat(1_000));
        let log = [
            format!("{}\n  \r\n{}\r\n{torn}{}\n", line(&long), line("x"), line(&long)),
            format!("{torn}\n{}{}junk {}\n\0\0", line(&long), line(&long), "y".repeat(9_000)),
            // Behind a torn text, what is between two texts looks like a text.
            format!("{{\"a\":\"torn{}\n{}\n{}", line("x").replace("{\"a\"", &numbers), line(&long), line(&long)),
        ];
        for (log, size) in log.iter().flat_map(|log| [1, 7, 1 << 16].map(|size| (log, size))) {
            let whole = read(log.as_bytes());
            let source = io::BufReader::with_capacity(size, log.as_bytes());
            let short: Vec<RawEntry> =
                RawReader::new(source, 7).shortening(Some(300)).collect::<io::Result<_>>().unwrap();
            assert_eq!(short.len(), whole.len());
            for (short, whole) in short.iter().zip(&whole) {
                assert_eq!(short.range, whole.range);
                assert_eq!(std::mem::discriminant(&short.content), std::mem::discriminant(&whole.content));
                assert_eq!(short.bytes.len() as u64 + short.left_out(), whole.bytes.len() as u64);
                assert!(short.left_out() == 0 || short.bytes.len() < 2_000);
            }
            assert!(short.iter().any(|entry| entry.left_out() > 15_000));
        }
    }

    #[test]
    fn the_entries_together_hold_all_bytes_of_the_log() {
        let line = r#"{"timestamp":"2026-11-21T09:08:56.680Z","type":"event_msg","payload":{}}"#;
        let logs = [
            format!("{line}\n\n  \r\n{line}\r\nbroken\n{line}"),
            format!("{{\"timestamp\":\"2026-1{line}\n{line}{line}\n"),
            format!("\0\0\0{line}\n\0\0"),
            String::new(),
            "\n".to_owned(),
        ];
        for log in logs {
            let entries = read(log.as_bytes());
            let bytes: Vec<u8> = entries.iter().flat_map(|entry| entry.bytes.clone()).collect();
            assert_eq!(String::from_utf8(bytes).unwrap(), log);
            let mut at = 7;
            for entry in &entries {
                assert_eq!((entry.range.start, entry.range.end - entry.range.start), (at, entry.bytes.len() as u64));
                at = entry.range.end;
            }
        }
    }
}
