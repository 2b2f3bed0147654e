//! A block: consecutive words of a run, and their postings.
//!
//! The words are stored one after the other, each with a newline or a tab behind it; a word contains neither. Behind a tab, the next
//! word has the first letter of the one before, which is left out. Only grams are shortened in this way: they share their first
//! letter with many others, and no search looks within them. The postings are in the same order ([`postings`](super::postings)).
//!
//! ```text
//! words cargo, carry, 会话, 会议, 评审:   cargo ⏎ carry ⏎ 会话 ⇥ 议 ⏎ 评审 ⏎
//! ```

use crate::search::postings::put_postings;
use crate::search::trigrams::TrigramFilter;
use selvedge_history::ranking::words::{WordPattern, is_gram};
use selvedge_history::varint;

/// A block ends when its words reach this size in bytes. Larger blocks would make a search read more that does not match; smaller ones
/// would make the directory longer.
const BLOCK_WORDS: usize = 8 << 10;

/// A block ends when its postings reach this size in bytes: a few words that are in every item should not load much else.
const BLOCK_POSTINGS: usize = 64 << 10;

/// The separator behind a word, if the next one is stored whole, and if it shares the first letter.
const WHOLE: u8 = b'\n';
const SHARED: u8 = b'\t';

/// Goes through the words of a block.
#[derive(Debug, Default)]
pub(crate) struct WordsCursor {
    /// Where the next word begins in the words of the block.
    start: usize,
    /// The first letter of the next word, if it is left out there, and else nothing.
    shared: Vec<u8>,
    /// Memory for the next word, if it is not stored whole.
    word: Vec<u8>,
}

impl WordsCursor {
    /// Returns the next word. `None` after the last one.
    pub(crate) fn word<'a>(&'a self, words: &'a [u8]) -> Option<&'a [u8]> {
        if self.start >= words.len() {
            return None;
        }
        Some(if self.shared.is_empty() { stored(&words[self.start..]) } else { &self.word })
    }

    /// Moves on to the word behind the next one.
    pub(crate) fn advance(&mut self, words: &[u8]) {
        let Some(rest) = words.get(self.start..) else { return };
        let len = stored(rest).len();
        let is_shared = rest.get(len) == Some(&SHARED);
        if !is_shared {
            self.shared.clear();
        } else if self.shared.is_empty() {
            self.shared.extend(&rest[..first_letter_len(rest).min(len)]);
        }
        self.start += len + 1;
        if is_shared {
            self.word.clear();
            self.word.extend(&self.shared);
            self.word.extend(stored(words.get(self.start..).unwrap_or_default()));
        }
    }
}

/// Returns the bytes up to the next separator.
fn stored(words: &[u8]) -> &[u8] {
    let end = memchr::memchr2(WHOLE, SHARED, words).unwrap_or(words.len());
    &words[..end]
}

/// Returns how many bytes the first letter of a word takes in UTF-8.
fn first_letter_len(word: &[u8]) -> usize {
    let continues = |byte: &&u8| (0x80..0xc0).contains(*byte);
    word.len().min(1 + word.iter().skip(1).take_while(continues).count())
}

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
    /// The first letter of the word before, if it is a gram.
    first_letter: Vec<u8>,
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
        self.push_word(word);
        // Counting the bits costs more than adding a word, so that only every 16th word counts them.
        let is_full = self.count.is_multiple_of(16) && self.filter.is_full();
        if is_full || self.words.len() >= BLOCK_WORDS || self.postings.len() >= BLOCK_POSTINGS {
            self.end_block();
        }
    }

    fn push_word(&mut self, word: &[u8]) {
        if is_gram(word) {
            // Every pattern of a gram says how it begins, which needs no filter. Without grams, the filter does not fill up so soon.
            let (letter, rest) = word.split_at(first_letter_len(word));
            let is_shared = self.first_letter == letter;
            if let Some(separator) = self.words.last_mut().filter(|_| is_shared) {
                *separator = SHARED;
            } else {
                self.words.extend(letter);
            }
            self.words.extend(rest);
            self.first_letter.clear();
            self.first_letter.extend(letter);
        } else {
            self.filter.add(word);
            self.words.extend(word);
            self.first_letter.clear();
        }
        self.words.push(WHOLE);
    }

    fn end_block(&mut self) {
        if self.count == 0 {
            return;
        }
        let words = std::mem::take(&mut self.words);
        self.first_letter.clear();
        let first = WordsCursor::default().word(&words).unwrap_or_default().to_vec();
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
    let mut found: Vec<usize> = Vec::new();
    let WordPattern::Containing(text) = pattern else {
        let mut cursor = WordsCursor::default();
        for index in 0.. {
            let Some(word) = cursor.word(words) else { break };
            if pattern.matches(word) {
                found.push(index);
            }
            cursor.advance(words);
        }
        return found;
    };
    // One search through all words at once, which is much faster than one per word. A match never spans two words, because the
    // text contains no separator, and is never in a gram. The index of a word is the number of separators before it.
    let (mut counted_to, mut index) = (0, 0);
    for at in memchr::memmem::find_iter(words, text.as_bytes()) {
        index += memchr::memchr2_iter(WHOLE, SHARED, &words[counted_to..at]).count();
        counted_to = at;
        if found.last() != Some(&index) {
            found.push(index);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_block_are_read_as_they_were_written() {
        let words = [
            "ant",
            "cargo",
            "carry",
            "é",
            "มี",
            "ม่ม",
            "ไม่",
            "서버",
            "서울",
            "会",
            "会会",
            "会议",
            "会\u{302}议",
            "议",
            "𠀀a",
            "𠀀会",
        ];
        let mut writer = BlockWriter::default();
        for word in words {
            writer.push(word.as_bytes(), [(3, 1)].into_iter());
        }
        let block = writer.finish().remove(0);
        let mut cursor = WordsCursor::default();
        let mut read = Vec::new();
        while let Some(word) = cursor.word(&block.words) {
            read.push(String::from_utf8(word.to_vec()).unwrap());
            cursor.advance(&block.words);
        }
        assert_eq!(read, words);
        assert!(block.words.len() < words.iter().map(|word| word.len() + 1).sum::<usize>());
        for (index, word) in words.into_iter().enumerate() {
            assert_eq!(matching_words(&block.words, &WordPattern::Exactly(word.to_owned())), [index]);
        }
        assert_eq!(matching_words(&block.words, &WordPattern::Beginning("会".to_owned())), [9, 10, 11, 12]);
        assert_eq!(matching_words(&block.words, &WordPattern::Containing("울".to_owned())), [8]);
        assert_eq!(matching_words(&block.words, &WordPattern::Containing("arr".to_owned())), [2]);
    }
}
