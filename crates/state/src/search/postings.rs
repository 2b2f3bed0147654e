//! Postings: in which docs each word of a block is, and how often.
//!
//! ```text
//! number of words                    varint
//! length of the postings per word    varint each
//! postings of the first word, of the second, …
//!
//! postings of a word, for each doc, ascending:
//!   step      varint    bit 0      1: the word is in the doc once, `times` is absent
//!                       bits 1…    the doc, as the difference to the doc before
//!   times     varint    how often the word is in the doc, only if bit 0 of the step is 0
//! ```
//!
//! For example the docs 3 (once), 5 (twice) and 6 (once) are the numbers `7, 4 2, 3`: 3 << 1 | 1, then 2 << 1 with 2, then
//! 1 << 1 | 1. Most words are in an item once, so that most postings take one byte.
//!
//! The lengths come first, so that a search can skip the postings of words that do not match.

use selvedge_history::varint::{self, take_bytes};

/// Appends the postings of a word: docs in ascending order, with how often the word is in each.
pub(crate) fn put_postings(bytes: &mut Vec<u8>, postings: impl Iterator<Item = (u32, u32)>) {
    let mut last = 0;
    for (doc, times) in postings {
        varint::put(bytes, u64::from(doc - last) << 1 | u64::from(times == 1));
        if times != 1 {
            varint::put(bytes, u64::from(times));
        }
        last = doc;
    }
}

/// Calls `take` with each doc of a word's postings, and with how often the word is in it. `None` for bytes that are no postings.
pub(crate) fn for_each_posting(mut bytes: &[u8], mut take: impl FnMut(u32, u32)) -> Option<()> {
    let mut doc: u64 = 0;
    while !bytes.is_empty() {
        let step = varint::take(&mut bytes)?;
        doc = doc.checked_add(step >> 1)?;
        let times = if step & 1 == 1 { 1 } else { varint::take(&mut bytes)? };
        take(u32::try_from(doc).ok()?, u32::try_from(times).ok()?);
    }
    Some(())
}

/// Returns the bytes of the postings of each word of a block. `None` for other bytes.
pub(crate) fn postings_of(block: &[u8]) -> Option<Vec<&[u8]>> {
    let mut bytes = block;
    let lens = (0..varint::take(&mut bytes)?).map(|_| usize::try_from(varint::take(&mut bytes)?).ok());
    let lens: Vec<usize> = lens.collect::<Option<_>>()?;
    lens.into_iter().map(|len| take_bytes(&mut bytes, len)).collect()
}

/// Goes through the postings of a block, word by word. It owns the block, and keeps two offsets into it: a length, and the
/// postings to which that length belongs.
#[derive(Debug)]
pub(crate) struct PostingsCursor {
    block: Vec<u8>,
    /// Offset of the length of the next postings.
    len_at: usize,
    /// Offset of the next postings.
    at: usize,
}

impl PostingsCursor {
    /// Creates a cursor at the first word of a block. `None` for other bytes.
    pub(crate) fn new(block: Vec<u8>) -> Option<Self> {
        let mut bytes = block.as_slice();
        let count = varint::take(&mut bytes)?;
        let len_at = block.len() - bytes.len();
        for _ in 0..count {
            varint::take(&mut bytes)?;
        }
        let at = block.len() - bytes.len();
        Some(Self { block, len_at, at })
    }

    /// Returns the postings of the next word.
    pub(crate) fn next(&mut self) -> Option<&[u8]> {
        let mut lens = self.block.get(self.len_at..)?;
        let before = lens.len();
        let len = usize::try_from(varint::take(&mut lens)?).ok()?;
        self.len_at += before - lens.len();
        let start = self.at;
        self.at = start.checked_add(len)?;
        self.block.get(start..self.at)
    }
}
