//! The words of the items that a run takes, while they are collected.
//!
//! This is the inner loop of an update: it runs once for each word of each log. Therefore a word costs one hash, one access to a
//! table of 8-byte entries and one comparison of 16 bytes, and nothing is allocated per word:
//!
//! ```text
//!  table (hash ▸ entry)          words                       letters
//!  ┌─────────────────┐      ┌──────────────────────┐     ┌───────────────────────┐
//!  │ hash │ word  ●──┼─────▶│ head: 16 letters     │     │ …what is behind the   │
//!  │ 32   │ 32 bits  │      │ rest ●───────────────┼────▶│ 16th letter of each   │
//!  └─────────────────┘      │ len                  │     │ longer word…          │
//!                           │ newest posting ●─────┼──┐  └───────────────────────┘
//!                           │ doc of that posting  │  │   postings
//!                           └──────────────────────┘  └─▶ word, doc, times
//! ```

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::search::block::{Block, BlockWriter};

/// Words in the order in which they were first seen, and their postings in the order of the docs.
#[derive(Default)]
pub(crate) struct Vocabulary {
    hasher: DefaultHashBuilder,
    table: HashTable<VocabularyEntry>,
    words: Vec<VocabularyWord>,
    /// The letters for which the words have no room.
    letters: Vec<u8>,
    postings: Vec<Posting>,
}

/// A word in the table.
#[derive(Clone, Copy)]
struct VocabularyEntry {
    /// The index in `words`.
    word: u32,
    /// The upper half of the hash. Half of it is enough, and twice as many entries fit in the processor's cache.
    hash: u32,
}

/// Spreads half a hash over 64 bits, because the table uses the upper bits.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// A word, in 32 bytes. Most words fit in the head, so that comparing them needs no other memory.
struct VocabularyWord {
    /// The first letters, padded with zeros.
    head: [u8; HEAD],
    /// Where the other letters begin in [`Vocabulary::letters`].
    rest: u32,
    len: u32,
    /// The newest of its postings.
    posting: u32,
    /// The doc of that posting.
    doc: u32,
}

/// How many letters of a word are kept with it.
const HEAD: usize = 16;

impl VocabularyWord {
    fn new(word: &[u8], letters: &mut Vec<u8>, posting: u32, doc: u32) -> Self {
        let (first, rest) = word.split_at(word.len().min(HEAD));
        let mut head = [0; HEAD];
        head[..first.len()].copy_from_slice(first);
        let start = as_u32(letters.len());
        letters.extend(rest);
        Self { head, rest: start, len: as_u32(word.len()), posting, doc }
    }

    fn first(&self) -> &[u8] {
        &self.head[..HEAD.min(self.len as usize)]
    }

    fn rest<'a>(&self, letters: &'a [u8]) -> &'a [u8] {
        &letters[self.rest as usize..][..(self.len as usize).saturating_sub(HEAD)]
    }

    fn is(&self, word: &[u8], letters: &[u8]) -> bool {
        let (first, rest) = word.split_at(word.len().min(HEAD));
        word.len() == self.len as usize && first == self.first() && rest == self.rest(letters)
    }
}

struct Posting {
    word: u32,
    doc: u32,
    times: u32,
}

impl Vocabulary {
    /// Counts a word of a doc. Docs come in ascending order.
    pub(crate) fn count(&mut self, doc: u32, word: &[u8]) {
        let hash = (self.hasher.hash_one(word) >> 32) as u32;
        let (words, letters) = (&self.words, &self.letters);
        let known = self.table.find(spread(hash), |entry| words[entry.word as usize].is(word, letters)).copied();
        let posting = as_u32(self.postings.len());
        let index = known.map_or(as_u32(self.words.len()), |known| known.word);
        match known {
            Some(known) => {
                let known = &mut self.words[known.word as usize];
                // The doc of the newest posting is kept with the word, so that a repetition finds it at once.
                if known.doc == doc {
                    self.postings[known.posting as usize].times += 1;
                    return;
                }
                (known.posting, known.doc) = (posting, doc);
            }
            None => {
                // The letters are copied only now, when the word is seen for the first time.
                self.words.push(VocabularyWord::new(word, &mut self.letters, posting, doc));
                let entry = VocabularyEntry { word: index, hash };
                self.table.insert_unique(spread(hash), entry, |entry| spread(entry.hash));
            }
        }
        self.postings.push(Posting { word: index, doc, times: 1 });
    }

    /// Sorts the words, and groups them into blocks.
    pub(crate) fn into_blocks(self) -> Vec<Block> {
        // The head as a big-endian number sorts like the letters, and distinguishes most words in one comparison.
        let key = |word: &VocabularyWord| u128::from_be_bytes(word.head);
        let mut order: Vec<(u128, u32)> = (0..).zip(&self.words).map(|(index, word)| (key(word), index)).collect();
        let rest = |index: u32| self.words[index as usize].rest(&self.letters);
        order.sort_unstable_by(|one, other| one.0.cmp(&other.0).then_with(|| rest(one.1).cmp(rest(other.1))));
        // Sorting indexes is cheaper than moving words: `order` has 32 bytes per word, and no pointers to follow.
        let (starts, sorted) = self.postings_by_word();
        let mut blocks = BlockWriter::default();
        let mut letters = Vec::new();
        for (_, index) in order {
            let word = &self.words[index as usize];
            letters.clear();
            letters.extend(word.first());
            letters.extend(word.rest(&self.letters));
            let range = starts[index as usize]..starts[index as usize + 1];
            blocks.push(&letters, sorted[range].iter().copied());
        }
        blocks.finish()
    }

    /// Groups the postings by word: returns where those of each word begin, and all of them. A counting sort, which keeps the docs
    /// of each word in ascending order.
    fn postings_by_word(&self) -> (Vec<usize>, Vec<(u32, u32)>) {
        let mut starts = vec![0_usize; self.words.len() + 1];
        for posting in &self.postings {
            starts[posting.word as usize + 1] += 1;
        }
        for at in 1..starts.len() {
            starts[at] += starts[at - 1];
        }
        let mut sorted = vec![(0, 0); self.postings.len()];
        let mut next = starts.clone();
        for Posting { word, doc, times } in &self.postings {
            let at = &mut next[*word as usize];
            sorted[*at] = (*doc, *times);
            *at += 1;
        }
        (starts, sorted)
    }
}

/// Converts an index. A builder holds far fewer than 2³² of anything, because a run ends after a few megabytes of text.
fn as_u32(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
