//! The directory of a run: what a search has to know before it loads a block.
//!
//! ```text
//! number of docs          varint
//! number of threads       varint
//! for each thread, by its docs:
//!   id                    16 bytes
//!   first doc             varint
//!   number of docs        varint
//! number of blocks        varint
//! for each block:
//!   first word            varint length, then the bytes
//!   trigrams              512 bytes: 64 little-endian words, bit 0 of the first is bit 0 of the filter
//! ```

use selvedge_protocol::ThreadId;

use crate::search::run::RunThread;
use crate::search::trigrams::{FILTER_BITS, TrigramFilter};
use selvedge_history::ranking::words::WordPattern;
use selvedge_history::varint::{self, take_bytes};

/// Packs the directory of a run. Of each block it takes the first word and the filter.
pub(crate) fn pack_directory<'a>(
    docs: u32,
    threads: &[RunThread],
    blocks: impl ExactSizeIterator<Item = (&'a [u8], &'a TrigramFilter)>,
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

/// The directory of a run.
#[derive(Debug)]
pub(crate) struct Directory {
    /// The number of docs.
    pub(crate) docs: u32,
    /// The threads, in the order of their docs.
    pub(crate) threads: Vec<DirectoryThread>,
    /// For each block its first word and its filter.
    blocks: Vec<(Vec<u8>, TrigramFilter)>,
}

/// A thread of a directory, and which docs are its items.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DirectoryThread {
    pub(crate) id: ThreadId,
    pub(crate) first_doc: u32,
    pub(crate) doc_count: u32,
}

impl Directory {
    /// Unpacks the directory of [`pack_directory`]. `None` for other bytes.
    pub(crate) fn unpack(mut bytes: &[u8]) -> Option<Self> {
        let bytes = &mut bytes;
        let docs = take_u32(bytes)?;
        let mut threads = Vec::new();
        for _ in 0..varint::take(bytes)? {
            let id = take_bytes(bytes, 16)?;
            let id = ThreadId::from_uuid(uuid::Uuid::from_slice(id).ok()?);
            threads.push(DirectoryThread { id, first_doc: take_u32(bytes)?, doc_count: take_u32(bytes)? });
        }
        let mut blocks = Vec::new();
        for _ in 0..varint::take(bytes)? {
            let len = usize::try_from(varint::take(bytes)?).ok()?;
            let first = take_bytes(bytes, len)?.to_vec();
            let filter = take_bytes(bytes, FILTER_BITS as usize / 8)?;
            let filter =
                filter.chunks_exact(8).map(|bits| bits.iter().rev().fold(0, |all, byte| all << 8 | u64::from(*byte)));
            blocks.push((first, TrigramFilter(filter.collect())));
        }
        Some(Self { docs, threads, blocks })
    }

    pub(crate) fn block_count(&self) -> usize {
        self.blocks.len()
    }

    /// Returns the blocks in which matching words can be.
    pub(crate) fn blocks_for(&self, pattern: &WordPattern) -> Vec<usize> {
        // Words are sorted, so that words with a known beginning are in consecutive blocks, which a binary search finds:
        //
        // first words:   ant   loom   loop   lore   mill        words that begin with "loo":
        // blocks:         0      1      2      3      4          blocks 0 to 2
        //
        // Block 0 is included because a block can begin before the text and end behind it. For other patterns each block's filter
        // decides.
        let text = pattern.text().as_bytes();
        let start = self.blocks.partition_point(|(first, _)| first.as_slice() <= text).saturating_sub(1);
        let blocks = || self.blocks.iter().enumerate();
        let can_match = |first: &[u8]| first <= text || first.starts_with(text);
        match pattern {
            WordPattern::Exactly(_) => blocks().skip(start).take(1).map(|(block, _)| block).collect(),
            WordPattern::Beginning(_) => {
                blocks().skip(start).take_while(|(_, (first, _))| can_match(first)).map(|(block, _)| block).collect()
            }
            WordPattern::Ending(_) | WordPattern::Containing(_) => {
                blocks().filter(|(_, (_, filter))| filter.may_contain(text)).map(|(block, _)| block).collect()
            }
        }
    }
}

fn take_u32(bytes: &mut &[u8]) -> Option<u32> {
    varint::take(bytes)?.try_into().ok()
}
