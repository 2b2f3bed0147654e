//! Entries of a segment whose bytes are read block by block, in both directions.

use std::io::{self, BufRead, Read};
use std::ops::Range;

use selvedge_protocol::log::{RawEntry, RawReader};

use super::line_pages::RawEntryIter;
use crate::{Result, StoreError};

/// How many bytes are read at first, and at most: each block is twice as large as the one before. A caller often needs few entries.
const BLOCK: Range<u64> = 16 << 10..1 << 20;

/// Returns the entries from a byte on. `read` returns the bytes of a range; fewer if the segment ends before, and none behind its end. Texts
/// are shortened as by [`RawReader::shortening`].
pub fn entries_from<'a>(
    read: impl Fn(Range<u64>) -> Result<Vec<u8>> + 'a,
    from: u64,
    max_text: Option<usize>,
) -> RawEntryIter<'a> {
    let reader = RawReader::new(BlockReader::new(read, from..u64::MAX), from).shortening(max_text);
    Box::new(reader.map(|entry| entry.map_err(store_error)))
}

/// Returns the entries before a byte, the last one first. The parameters are those of [`entries_from`].
///
/// ```text
///          ┌────────── block ──────────┐
/// ...line line line line line line line│ end
///             └── split, and returned backwards
///          the first line of a block may begin before it, so it belongs to the next block
/// ```
pub fn entries_before<'a>(
    read: impl Fn(Range<u64>) -> Result<Vec<u8>> + 'a,
    before: u64,
    max_text: Option<usize>,
) -> RawEntryIter<'a> {
    let mut entries = BackwardEntries { read, end: before, size: BLOCK.start, max_text, ready: Vec::new() };
    Box::new(std::iter::from_fn(move || {
        if let Err(error) = entries.fill() {
            entries.end = 0;
            return Some(Err(error));
        }
        entries.ready.pop().map(Ok)
    }))
}

/// Returns the index in a block of its first line. `start` is where the block begins in its segment. `None` if no line begins there.
#[must_use]
pub fn first_line(start: u64, block: &[u8]) -> Option<usize> {
    if start == 0 {
        return (!block.is_empty()).then_some(0);
    }
    // A line that begins behind the last newline has no byte here.
    memchr::memchr(b'\n', block).map(|at| at + 1).filter(|at| *at < block.len())
}

struct BackwardEntries<F> {
    read: F,
    /// The byte behind the entries that were not read yet.
    end: u64,
    size: u64,
    max_text: Option<usize>,
    /// Entries that were split and not returned yet, the last one at the end.
    ready: Vec<RawEntry>,
}

impl<F: Fn(Range<u64>) -> Result<Vec<u8>>> BackwardEntries<F> {
    fn fill(&mut self) -> Result<()> {
        while self.ready.is_empty() && self.end > 0 {
            let start = self.end.saturating_sub(self.size);
            let block = (self.read)(start..self.end)?;
            self.size = (self.size * 2).min(BLOCK.end);
            // The segment ends before the requested byte.
            self.end = self.end.min(start + block.len() as u64);
            let (first, entries) = match first_line(start, &block) {
                Some(at) => {
                    let first = start + at as u64;
                    (first, RawReader::new(&block[at..], first).shortening(self.max_text).collect::<io::Result<_>>())
                }
                None if self.end == start => continue,
                None => {
                    let first = self.line_before(start)?;
                    let line = BlockReader::new(&self.read, first..self.end);
                    (first, RawReader::new(line, first).shortening(self.max_text).collect())
                }
            };
            self.ready = entries.map_err(store_error)?;
            self.end = first;
        }
        Ok(())
    }

    /// Returns where the line begins that contains this byte, or ends with the byte before.
    fn line_before(&self, byte: u64) -> Result<u64> {
        let mut end = byte;
        while end > 0 {
            let start = end.saturating_sub(BLOCK.end);
            let block = (self.read)(start..end)?;
            if let Some(at) = memchr::memrchr(b'\n', &block) {
                return Ok(start + at as u64 + 1);
            }
            end = start;
        }
        Ok(0)
    }
}

/// The bytes of a range, block by block.
struct BlockReader<F> {
    read: F,
    rest: Range<u64>,
    size: u64,
    block: Vec<u8>,
    used: usize,
}

impl<F: Fn(Range<u64>) -> Result<Vec<u8>>> BlockReader<F> {
    fn new(read: F, range: Range<u64>) -> Self {
        Self { read, rest: range, size: BLOCK.start, block: Vec::new(), used: 0 }
    }
}

impl<F: Fn(Range<u64>) -> Result<Vec<u8>>> BufRead for BlockReader<F> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.used == self.block.len() {
            let end = self.rest.start.saturating_add(self.size).min(self.rest.end);
            self.block = (self.read)(self.rest.start..end).map_err(io::Error::other)?;
            self.rest.start += self.block.len() as u64;
            self.size = (self.size * 2).min(BLOCK.end);
            self.used = 0;
        }
        Ok(&self.block[self.used..])
    }

    fn consume(&mut self, count: usize) {
        self.used += count;
    }
}

impl<F: Fn(Range<u64>) -> Result<Vec<u8>>> Read for BlockReader<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut block = self.fill_buf()?;
        let count = block.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

/// Returns the error of a read. One of the store comes back as it was.
fn store_error(error: io::Error) -> StoreError {
    error.downcast().unwrap_or_else(|error| StoreError::backend("cannot read a segment", error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment() -> Vec<u8> {
        let line = |text: &str| {
            format!(
                "{{\"timestamp\":\"2026-11-21T09:08:56.680Z\",\"type\":\"event_msg\",\"payload\":{{\"a\":\"{text}\"}}}}\n"
            )
        };
        let (short, long) = (line("b"), line(&"long ".repeat(500_000)));
        [&*short, "\n \n", &long, "{\"torn", &short, "junk\n", &long, &short, "\0\0"].concat().into_bytes()
    }

    #[test]
    fn entries_are_the_same_in_both_directions() {
        let bytes = segment();
        let index = |at: u64| usize::try_from(at).unwrap().min(bytes.len());
        let read = |range: Range<u64>| Ok(bytes[index(range.start)..index(range.end)].to_vec());
        let whole: Vec<RawEntry> = entries_from(read, 0, None).collect::<Result<_>>().unwrap();
        assert_eq!(whole.iter().flat_map(|entry| entry.bytes.clone()).collect::<Vec<u8>>(), bytes);
        for max_text in [None, Some(0), Some(10_000)] {
            let forwards: Vec<RawEntry> = entries_from(read, 0, max_text).collect::<Result<_>>().unwrap();
            let ranges = |entries: &[RawEntry]| entries.iter().map(|entry| entry.range.clone()).collect::<Vec<_>>();
            assert_eq!(ranges(&forwards), ranges(&whole));
            // Also from behind the end of the segment.
            for before in [bytes.len() as u64, bytes.len() as u64 + (5 << 20)] {
                let mut back: Vec<RawEntry> = entries_before(read, before, max_text).collect::<Result<_>>().unwrap();
                back.reverse();
                assert_eq!(back, forwards);
            }
        }
    }

    #[test]
    fn a_block_without_the_beginning_of_a_line_has_none() {
        for (start, block, expected) in
            [(0, "", None), (0, "a", Some(0)), (9, "a", None), (9, "a\n", None), (9, "a\nb", Some(2))]
        {
            assert_eq!(first_line(start, block.as_bytes()), expected);
        }
    }
}
