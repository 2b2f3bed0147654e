//! A run: words with the items that they stand in, sorted, as it is kept in the database.
//!
//! Items are numbered within the run, those of a thread one after the other. Words stand in *blocks* in their order. The run's
//! *directory* says which numbers belong to which thread, and of every block with which word it begins and which triples of
//! bytes its words hold, so that for a piece of a word few blocks have to be looked through.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};
use selvedge_history::item_texts;
use selvedge_protocol::{ThreadId, TurnItem};

use crate::search::words::{WordPattern, for_each_word};
use crate::varint;

/// Bits of a [`Filter`].
const FILTER_BITS: u32 = 4096;

/// A block ends when so many bits of its filter are set: more, and it would hold back too little.
const FULL_FILTER: u32 = FILTER_BITS * 2 / 5;

/// A block ends when its words, or their postings, take so many bytes.
const BLOCK_WORDS: usize = 8 << 10;
const BLOCK_POSTINGS: usize = 64 << 10;

/// Which triples of bytes stand in the words of a block: one bit for many of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filter(Vec<u64>);

impl Default for Filter {
    fn default() -> Self {
        Self(vec![0; FILTER_BITS as usize / 64])
    }
}

impl Filter {
    fn add(&mut self, word: &[u8]) {
        for triple in word.windows(3) {
            let bit = bit_of(triple);
            self.0[bit / 64] |= 1 << (bit % 64);
        }
    }

    fn is_full(&self) -> bool {
        self.0.iter().map(|bits| bits.count_ones()).sum::<u32>() >= FULL_FILTER
    }

    /// Whether a word of the block may hold this text.
    fn may_hold(&self, text: &[u8]) -> bool {
        text.windows(3).map(bit_of).all(|bit| self.0[bit / 64] & 1 << (bit % 64) != 0)
    }
}

fn bit_of(triple: &[u8]) -> usize {
    let number = triple.iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
    (number.wrapping_mul(0x9e37_79b1) >> (32 - FILTER_BITS.ilog2())) as usize
}

/// Words in their order, and where each of them stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) first: Vec<u8>,
    pub(crate) filter: Filter,
    /// The words, each with a newline behind it.
    pub(crate) words: Vec<u8>,
    /// How many bytes the postings of each word take, and then those.
    pub(crate) postings: Vec<u8>,
}

/// Where an item stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ItemDoc {
    /// How many turns stand before its turn.
    pub(crate) turn: u64,
    /// How many items stand before it in the turn.
    pub(crate) item: u64,
    /// How many of its words were indexed.
    pub(crate) words: u64,
}

/// The items of a thread in a run, as they are kept with the thread.
pub(crate) fn pack_docs(docs: &[ItemDoc]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(docs.len() * 4);
    let mut turn = 0;
    for doc in docs {
        varint::put(&mut bytes, doc.turn.saturating_sub(turn));
        varint::put(&mut bytes, doc.item);
        varint::put(&mut bytes, doc.words);
        turn = doc.turn;
    }
    bytes
}

/// The items of [`pack_docs`], in their order.
pub(crate) fn unpack_docs(mut bytes: &[u8]) -> impl Iterator<Item = ItemDoc> {
    let mut turn = 0;
    std::iter::from_fn(move || {
        turn += varint::take(&mut bytes)?;
        Some(ItemDoc { turn, item: varint::take(&mut bytes)?, words: varint::take(&mut bytes)? })
    })
}

/// A thread of which items stand in a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RunThread {
    pub(crate) id: ThreadId,
    /// Number of its first item.
    pub(crate) first_doc: u32,
    pub(crate) docs: Vec<ItemDoc>,
}

/// A run that is to be written.
#[derive(Debug)]
pub(crate) struct Run {
    /// How many items are numbered.
    pub(crate) docs: u32,
    pub(crate) threads: Vec<RunThread>,
    pub(crate) blocks: Vec<Block>,
}

/// The directory of a run as bytes. Of the blocks it needs the first words and the filters.
pub(crate) fn pack_directory<'a>(
    docs: u32,
    threads: &[RunThread],
    blocks: impl ExactSizeIterator<Item = (&'a [u8], &'a Filter)>,
) -> Vec<u8> {
    let mut bytes = Vec::new();
    varint::put(&mut bytes, u64::from(docs));
    varint::put(&mut bytes, threads.len() as u64);
    for thread in threads {
        bytes.extend(thread.id.as_uuid().as_bytes());
        varint::put(&mut bytes, u64::from(thread.first_doc));
        varint::put(&mut bytes, thread.docs.len() as u64);
    }
    varint::put(&mut bytes, blocks.len() as u64);
    for (first, filter) in blocks {
        varint::put(&mut bytes, first.len() as u64);
        bytes.extend(first);
        bytes.extend(filter.0.iter().flat_map(|bits| bits.to_le_bytes()));
    }
    bytes
}

/// What is known of a run without its blocks.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) docs: u32,
    /// The threads, with number and count of their items, by number.
    pub(crate) threads: Vec<(ThreadId, u32, u32)>,
    /// For each block its first word and its filter.
    blocks: Vec<(Vec<u8>, Filter)>,
}

impl Directory {
    /// The directory of [`pack_directory`]; nothing for other bytes.
    pub(crate) fn unpack(mut bytes: &[u8]) -> Option<Self> {
        let bytes = &mut bytes;
        let docs = number(bytes)?;
        let mut threads = Vec::new();
        for _ in 0..varint::take(bytes)? {
            let id = take_bytes(bytes, 16)?;
            let id = ThreadId::from_uuid(uuid::Uuid::from_slice(id).ok()?);
            threads.push((id, number(bytes)?, number(bytes)?));
        }
        let mut blocks = Vec::new();
        for _ in 0..varint::take(bytes)? {
            let len = usize::try_from(varint::take(bytes)?).ok()?;
            let first = take_bytes(bytes, len)?.to_vec();
            let filter = take_bytes(bytes, FILTER_BITS as usize / 8)?;
            let filter =
                filter.chunks_exact(8).map(|bits| bits.iter().rev().fold(0, |all, byte| all << 8 | u64::from(*byte)));
            blocks.push((first, Filter(filter.collect())));
        }
        Some(Self { docs, threads, blocks })
    }

    pub(crate) fn block_count(&self) -> usize {
        self.blocks.len()
    }

    /// The blocks in which words that match may stand.
    pub(crate) fn blocks_for(&self, pattern: &WordPattern) -> Vec<usize> {
        let text = pattern.text().as_bytes();
        // The last block that begins before the text or with it, and those behind it that begin with something that does.
        let from = self.blocks.partition_point(|(first, _)| first.as_slice() <= text).saturating_sub(1);
        let candidates = || self.blocks.iter().enumerate();
        let begins = |first: &[u8]| first <= text || first.starts_with(text);
        match pattern {
            WordPattern::Exactly(_) => candidates().skip(from).take(1).map(|(at, _)| at).collect(),
            WordPattern::Beginning(_) => {
                candidates().skip(from).take_while(|(_, (first, _))| begins(first)).map(|(at, _)| at).collect()
            }
            WordPattern::Ending(_) | WordPattern::Holding(_) => {
                candidates().filter(|(_, (_, filter))| filter.may_hold(text)).map(|(at, _)| at).collect()
            }
        }
    }
}

fn number(bytes: &mut &[u8]) -> Option<u32> {
    varint::take(bytes)?.try_into().ok()
}

fn take_bytes<'a>(bytes: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some(taken)
}

/// Which words of a block match, by their places in it.
pub(crate) fn matching_words(words: &[u8], pattern: &WordPattern) -> Vec<usize> {
    let all = || words.split(|byte| *byte == b'\n').enumerate();
    let matching = |(at, word): (usize, &[u8])| (!word.is_empty() && pattern.matches(word)).then_some(at);
    let WordPattern::Holding(text) = pattern else { return all().filter_map(matching).collect() };
    // One search through all of them: nothing that stands in a word goes over its end.
    let mut found: Vec<usize> = Vec::new();
    let (mut counted_to, mut line) = (0, 0);
    for at in memchr::memmem::find_iter(words, text.as_bytes()) {
        line += memchr::memchr_iter(b'\n', &words[counted_to..at]).count();
        counted_to = at;
        if found.last() != Some(&line) {
            found.push(line);
        }
    }
    found
}

/// For each word of a block the bytes of its postings; nothing for other bytes.
pub(crate) fn postings_of(block: &[u8]) -> Option<Vec<&[u8]>> {
    let mut bytes = block;
    let lens = (0..varint::take(&mut bytes)?).map(|_| usize::try_from(varint::take(&mut bytes)?).ok());
    let lens: Vec<usize> = lens.collect::<Option<_>>()?;
    lens.into_iter().map(|len| take_bytes(&mut bytes, len)).collect()
}

/// The postings of a block, word by word.
#[derive(Debug)]
pub(crate) struct PostingsCursor {
    block: Vec<u8>,
    /// Where the length of the next ones stands.
    len_at: usize,
    /// Where those do.
    at: usize,
}

impl PostingsCursor {
    /// At the first word of a block.
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

    /// The postings of the next word.
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

/// Calls `take` with the number of each item in which a word stands, and how often it does. Nothing for bytes that are no
/// postings.
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

/// Puts words, which come in their order, into blocks.
#[derive(Debug, Default)]
pub(crate) struct BlockWriter {
    blocks: Vec<Block>,
    words: Vec<u8>,
    filter: Filter,
    lens: Vec<u8>,
    count: u64,
    postings: Vec<u8>,
}

impl BlockWriter {
    /// Adds a word with the items it stands in, by number, and how often it does.
    pub(crate) fn word(&mut self, word: &[u8], postings: impl Iterator<Item = (u32, u32)>) {
        let before = self.postings.len();
        let mut last = 0;
        for (doc, times) in postings {
            varint::put(&mut self.postings, u64::from(doc - last) << 1 | u64::from(times == 1));
            if times != 1 {
                varint::put(&mut self.postings, u64::from(times));
            }
            last = doc;
        }
        if self.postings.len() == before {
            return;
        }
        varint::put(&mut self.lens, (self.postings.len() - before) as u64);
        self.count += 1;
        self.words.extend(word);
        self.words.push(b'\n');
        self.filter.add(word);
        // Counting the bits costs more than a word.
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

    /// The blocks that are done.
    pub(crate) fn take_blocks(&mut self) -> Vec<Block> {
        std::mem::take(&mut self.blocks)
    }

    pub(crate) fn finish(mut self) -> Vec<Block> {
        self.end_block();
        self.blocks
    }
}

/// Gathers the words of items.
#[derive(Default)]
pub(crate) struct RunBuilder {
    vocabulary: Vocabulary,
    docs: u32,
    threads: Vec<RunThread>,
    /// How many bytes of text were taken.
    text: usize,
    room: Vec<u8>,
}

impl RunBuilder {
    /// How many bytes of text were taken.
    pub(crate) fn text(&self) -> usize {
        self.text
    }

    /// What follows is of this thread.
    pub(crate) fn begin_thread(&mut self, id: ThreadId) {
        self.threads.push(RunThread { id, first_doc: self.docs, docs: Vec::new() });
    }

    /// What was taken of the thread does not count.
    pub(crate) fn drop_thread(&mut self) {
        // The words of its items stay, and belong to no thread.
        if let Some(thread) = self.threads.last_mut() {
            thread.first_doc = self.docs;
            thread.docs.clear();
        }
    }

    pub(crate) fn item(&mut self, turn: u64, item: u64, of: &TurnItem) {
        let Some(thread) = self.threads.last_mut() else { return };
        let mut words = 0;
        for text in item_texts(of) {
            self.text += text.len();
            for_each_word(text, &mut self.room, |word| {
                words += 1;
                self.vocabulary.count(self.docs, word);
            });
        }
        if words > 0 {
            thread.docs.push(ItemDoc { turn, item, words });
            self.docs += 1;
        }
    }

    pub(crate) fn finish(mut self) -> Run {
        self.threads.retain(|thread| !thread.docs.is_empty());
        Run { docs: self.docs, blocks: self.vocabulary.into_blocks(), threads: self.threads }
    }
}

/// Words, in the order in which they were met, with where they stand.
#[derive(Default)]
struct Vocabulary {
    hasher: DefaultHashBuilder,
    table: HashTable<Known>,
    words: Vec<Word>,
    /// What the words have no room for.
    letters: Vec<u8>,
    postings: Vec<Posting>,
}

/// A word in the table.
#[derive(Clone, Copy)]
struct Known {
    /// Its place in `words`.
    place: u32,
    hash: u32,
}

/// A hash of which the upper bits count, as the table wants it.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// A word, laid out so that most are told apart by this alone: what is looked at often should lie close together.
struct Word {
    /// Its first letters.
    head: [u8; HEAD],
    /// Where the letters begin that the head has no room for.
    rest: u32,
    len: u32,
    /// The newest of its postings, and the item of that.
    posting: u32,
    doc: u32,
}

/// How many letters of a word are kept with it.
const HEAD: usize = 16;

impl Word {
    fn new(word: &[u8], letters: &mut Vec<u8>, posting: u32, doc: u32) -> Self {
        let (first, rest) = word.split_at(word.len().min(HEAD));
        let mut head = [0; HEAD];
        head[..first.len()].copy_from_slice(first);
        let start = index(letters.len());
        letters.extend(rest);
        Self { head, rest: start, len: index(word.len()), posting, doc }
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
    /// A word stands in an item, whose number is not less than those before.
    fn count(&mut self, doc: u32, word: &[u8]) {
        // Half of it is enough, and twice as many fit in the processor's cache.
        let hash = (self.hasher.hash_one(word) >> 32) as u32;
        let (words, letters) = (&self.words, &self.letters);
        let known = self.table.find(spread(hash), |known| words[known.place as usize].is(word, letters)).copied();
        let posting = index(self.postings.len());
        let place = known.map_or(index(self.words.len()), |known| known.place);
        match known {
            Some(known) => {
                let known = &mut self.words[known.place as usize];
                if known.doc == doc {
                    self.postings[known.posting as usize].times += 1;
                    return;
                }
                (known.posting, known.doc) = (posting, doc);
            }
            None => {
                self.words.push(Word::new(word, &mut self.letters, posting, doc));
                self.table.insert_unique(spread(hash), Known { place, hash }, |known| spread(known.hash));
            }
        }
        self.postings.push(Posting { word: place, doc, times: 1 });
    }

    fn into_blocks(self) -> Vec<Block> {
        // By the first letters as a number, which tells most of them apart.
        let key = |word: &Word| u128::from_be_bytes(word.head);
        let mut order: Vec<(u128, u32)> = (0..).zip(&self.words).map(|(place, word)| (key(word), place)).collect();
        let rest = |place: u32| self.words[place as usize].rest(&self.letters);
        order.sort_unstable_by(|one, other| one.0.cmp(&other.0).then_with(|| rest(one.1).cmp(rest(other.1))));
        // Postings by word: how many each has, then where those of each begin, then each put there.
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
        let mut blocks = BlockWriter::default();
        let mut letters = Vec::new();
        for (_, place) in order {
            let word = &self.words[place as usize];
            letters.clear();
            letters.extend(word.first());
            letters.extend(word.rest(&self.letters));
            let range = starts[place as usize]..starts[place as usize + 1];
            blocks.word(&letters, sorted[range].iter().copied());
        }
        blocks.finish()
    }
}

/// A place in what a builder holds, which is far less than could not be counted so.
fn index(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}
