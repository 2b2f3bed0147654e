//! Every byte of a log, entry by entry.

use std::collections::VecDeque;
use std::io::{self, BufRead, Read};
use std::ops::Range;

use super::{DamageKind, Entry, MAX_LINE_BYTES, split_line};
use crate::RolloutLine;

/// How many bytes of a line that is too long to be read stand in one entry.
pub const PIECE_BYTES: usize = 1 << 20;

/// A stretch of a log with its bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct RawEntry {
    /// Where it stands in its log.
    pub range: Range<u64>,
    /// Its bytes, with the newline.
    pub bytes: Vec<u8>,
    /// What they are.
    pub content: RawContent,
}

/// What a stretch of a log is.
#[derive(Clone, Debug, PartialEq)]
pub enum RawContent {
    /// An intact line.
    Line(RolloutLine),
    /// White space between entries: an empty line, or what a repair left.
    Blank,
    /// No intact line.
    Damage {
        /// What is wrong with it.
        kind: DamageKind,
        /// Whether the damaged stretch ends here. It goes on in the next entry otherwise.
        is_complete: bool,
    },
}

impl RawEntry {
    /// Whether the entry ends where a line does. Behind one that does not, its writer may go on.
    #[must_use]
    pub fn is_terminated(&self) -> bool {
        self.bytes.ends_with(b"\n")
    }
}

/// Returns what the bytes of one stretch from newline to newline are. Together the entries have all of the bytes.
#[must_use]
pub fn split_raw(bytes: &[u8], offset: u64, number: u64) -> Vec<RawEntry> {
    let mut entries: Vec<Entry> = Vec::new();
    split_line(bytes, offset, number, &mut entries);
    let mut raw = Vec::with_capacity(entries.len());
    let mut done = offset;
    let mut push = |range: Range<u64>, content: RawContent| {
        let part = |at: u64| usize::try_from(at - offset).unwrap_or(bytes.len()).min(bytes.len());
        raw.push(RawEntry { bytes: bytes[part(range.start)..part(range.end)].to_vec(), range, content });
    };
    for entry in entries {
        let range = entry.range().clone();
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

/// Reads a log forwards and returns every byte of it, in memory bounded by its longest line.
///
/// A line that is longer than [`MAX_LINE_BYTES`] is a damaged stretch, returned in pieces of [`PIECE_BYTES`].
#[derive(Debug)]
pub struct RawReader<R> {
    source: R,
    offset: u64,
    line: Vec<u8>,
    /// Where the line begins that is being returned in pieces, if one is.
    long_from: Option<u64>,
    ready: VecDeque<RawEntry>,
    is_over: bool,
}

impl<R: BufRead> RawReader<R> {
    /// Creates a reader of bytes that begin at `offset` of their log, where a line begins or goes on.
    pub fn new(source: R, offset: u64) -> Self {
        Self { source, offset, line: Vec::new(), long_from: None, ready: VecDeque::new(), is_over: false }
    }

    /// Reads to the end of a line, or as much of it as is read at once, and returns whether there was anything.
    fn fill(&mut self) -> io::Result<bool> {
        self.line.clear();
        let most = if self.long_from.is_some() { PIECE_BYTES } else { MAX_LINE_BYTES + 1 };
        (&mut self.source).take(most as u64).read_until(b'\n', &mut self.line)?;
        let is_long = self.long_from.is_some() || self.line.len() > MAX_LINE_BYTES;
        if is_long {
            self.take_pieces();
        } else {
            self.ready.extend(split_raw(&self.line, self.offset, 0));
            self.offset += self.line.len() as u64;
        }
        Ok(!self.line.is_empty())
    }

    /// Takes what was read of a line that is too long.
    fn take_pieces(&mut self) {
        let is_end = self.line.ends_with(b"\n");
        let count = self.line.len().div_ceil(PIECE_BYTES);
        for (number, bytes) in self.line.chunks(PIECE_BYTES).enumerate() {
            let range = self.offset..self.offset + bytes.len() as u64;
            self.offset = range.end;
            let is_complete = is_end && number + 1 == count;
            let content = RawContent::Damage { kind: DamageKind::TooLong, is_complete };
            self.ready.push_back(RawEntry { range, bytes: bytes.to_vec(), content });
        }
        self.long_from = (!is_end).then_some(self.offset);
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
                Ok(true) => {}
                Ok(false) => self.is_over = true,
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
    fn the_bytes_of_all_entries_are_the_log() {
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
