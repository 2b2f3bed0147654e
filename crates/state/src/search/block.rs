//! A block: consecutive words of a run, and their postings.
//!
//! The words are stored one after the other, each with a newline behind it; a word contains no newline. The postings are in the
//! same order ([`postings`](super::postings)).

use crate::search::postings::put_postings;
use crate::search::trigrams::TrigramFilter;
use crate::search::words::{WordPattern, is_gram};
use crate::varint;

/// A block ends when its words reach this size in bytes. Larger blocks would make a search read more that does not match; smaller ones
/// would make the directory longer.
const BLOCK_WORDS: usize = 8 << 10;

/// A block ends when its postings reach this size in bytes: a few words that are in every item should not load much else.
const BLOCK_POSTINGS: usize = 64 << 10;

/// A block that is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// The first word.
    pub(crate) first: Vec<u8>,
    pub(crate) filter: TrigramFilter,
    pub(crate) words: Vec<u8>,
    pub(crate) postings: Vec<u8>,
}

/// Groups words, which come in their order, into blocks.
#[derive(Debug, Default)]
pub(crate) struct BlockWriter {
    /// The blocks that are complete.
    blocks: Vec<Block>,
    words: Vec<u8>,
    filter: TrigramFilter,
    /// The lengths of the postings, packed.
    lens: Vec<u8>,
    /// The number of words.
    count: u64,
    postings: Vec<u8>,
}

impl BlockWriter {
    /// Adds a word with its docs, and with how often it is in each. A word without docs is left out.
    pub(crate) fn push(&mut self, word: &[u8], postings: impl Iterator<Item = (u32, u32)>) {
        let before = self.postings.len();
        put_postings(&mut self.postings, postings);
        if self.postings.len() == before {
            return;
        }
        varint::put(&mut self.lens, (self.postings.len() - before) as u64);
        self.count += 1;
        self.words.extend(word);
        self.words.push(b'\n');
        // Every pattern of a gram says how it begins, which needs no filter. Without grams, the filter does not fill up so soon.
        if !is_gram(word) {
            self.filter.add(word);
        }
        // Counting the bits costs more than adding a word, so that only every 16th word counts them.
        let is_full = self.count.is_multiple_of(16) && self.filter.is_full();
        if is_full || self.words.len() >= BLOCK_WORDS || self.postings.len() >= BLOCK_POSTINGS {
            self.end_block();
        }
    }

    fn end_block(&mut self) {
        if self.count == 0 {
            return;
        }
        let words = std::mem::take(&mut self.words);
        let first = words.split(|byte| *byte == b'\n').next().unwrap_or_default().to_vec();
        let mut postings = Vec::with_capacity(self.lens.len() + self.postings.len() + 4);
        varint::put(&mut postings, std::mem::take(&mut self.count));
        postings.append(&mut self.lens);
        postings.append(&mut self.postings);
        let filter = std::mem::take(&mut self.filter);
        self.blocks.push(Block { first, filter, words, postings });
    }

    /// Takes the blocks that are complete.
    pub(crate) fn take_blocks(&mut self) -> Vec<Block> {
        std::mem::take(&mut self.blocks)
    }

    /// Returns the blocks that were not taken.
    pub(crate) fn finish(mut self) -> Vec<Block> {
        self.end_block();
        self.blocks
    }
}

/// Returns the indexes of the words of a block that match.
pub(crate) fn matching_words(words: &[u8], pattern: &WordPattern) -> Vec<usize> {
    let all = || words.split(|byte| *byte == b'\n').enumerate();
    let matching = |(index, word): (usize, &[u8])| (!word.is_empty() && pattern.matches(word)).then_some(index);
    let WordPattern::Containing(text) = pattern else { return all().filter_map(matching).collect() };
    // One search through all words at once, which is much faster than one per word. A match never spans two words, because the
    // text contains no newline. The index of a word is the number of newlines before it.
    let mut found: Vec<usize> = Vec::new();
    let (mut counted_to, mut index) = (0, 0);
    for at in memchr::memmem::find_iter(words, text.as_bytes()) {
        index += memchr::memchr_iter(b'\n', &words[counted_to..at]).count();
        counted_to = at;
        if found.last() != Some(&index) {
            found.push(index);
        }
    }
    found
}
