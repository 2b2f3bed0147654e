//! A checksum of all words of a thread, to compare the index with the log.
//!
//! The checksum is a sum of hashes, one per posting and one per doc. A sum does not depend on the order, so that it is the same
//! however the items of a thread are distributed over runs: one pass over all blocks computes the checksums of all threads.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};

use selvedge_protocol::ThreadId;
use sqlx::Row;

use crate::error::Result;
use crate::index::StateIndex;
use crate::search::block::WordsCursor;
use crate::search::directory::Directory;
use crate::search::docs::{ItemDoc, unpack_docs};
use crate::search::merge::damaged;
use crate::search::postings::{PostingsCursor, for_each_posting};
use crate::search::run::Run;
use crate::search::store::block_id;
use crate::sql::unsigned;

/// How many blocks are loaded at a time.
const BLOCKS: usize = 64;

/// For each doc of a run its item, with the index of its thread in the sums. `None` for docs that are superseded.
struct DocTable(Vec<Option<(usize, ItemDoc)>>);

impl DocTable {
    fn new(count: u32) -> Self {
        Self(vec![None; count as usize])
    }

    /// Adds the docs of a thread. Those from the packed position `until` on are superseded.
    fn add_docs(
        &mut self,
        thread: usize,
        first: u32,
        docs: impl Iterator<Item = ItemDoc>,
        until: u64,
        sums: &mut [u64],
    ) {
        let entries = self.0.iter_mut().skip(first as usize).zip(docs);
        for (entry, doc) in entries.filter(|(_, doc)| doc.position() < until) {
            *entry = Some((thread, doc));
            add(sums, thread, hash_posting(0, doc, doc.words));
        }
    }

    /// Adds the postings of a block. `None` for bytes that are no block.
    fn add_block(&self, words: &[u8], postings: Vec<u8>, sums: &mut [u64]) -> Option<()> {
        let mut postings = PostingsCursor::new(postings)?;
        let mut cursor = WordsCursor::default();
        while let Some(word) = cursor.word(words) {
            let mut hasher = DefaultHasher::new();
            hasher.write(word);
            let word = hasher.finish();
            for_each_posting(postings.next()?, |doc, times| {
                if let Some(Some((thread, doc))) = self.0.get(doc as usize) {
                    add(sums, *thread, hash_posting(word, *doc, times.into()));
                }
            })?;
            cursor.advance(words);
        }
        Some(())
    }
}

fn add(sums: &mut [u64], thread: usize, number: u64) {
    if let Some(sum) = sums.get_mut(thread) {
        *sum = sum.wrapping_add(number);
    }
}

/// Hashes a word in an item. The constants are those of the generator SplitMix64. Without mixing, the sums of similar items would
/// cancel each other out.
fn hash_posting(word: u64, doc: ItemDoc, times: u64) -> u64 {
    [doc.turn, doc.item, times].into_iter().fold(word, |mixed, number| {
        let mixed = (mixed ^ number.wrapping_add(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ mixed >> 29
    })
}

/// Returns the checksum of one thread, from runs that have no other. `None` if a block does not unpack.
pub(crate) fn words_checksum(runs: Vec<Run>) -> Option<u64> {
    let mut sums = [0];
    for run in runs {
        let mut docs = DocTable::new(run.docs);
        for thread in run.threads {
            docs.add_docs(0, thread.first_doc, thread.docs.into_iter(), u64::MAX, &mut sums);
        }
        for block in run.blocks {
            docs.add_block(&block.words, block.postings, &mut sums)?;
        }
    }
    Some(sums[0])
}

impl StateIndex {
    /// Returns the checksums of all threads that have words in the index.
    pub(crate) async fn words_checksums(&self) -> Result<HashMap<ThreadId, u64>> {
        let mut transaction = self.database.readers.begin().await?;
        let mut indexes: HashMap<ThreadId, usize> = HashMap::new();
        let mut sums: Vec<u64> = Vec::new();
        // One transaction: a merge in between would move items from one run to another.
        let runs: Vec<i64> =
            sqlx::query_scalar("SELECT run FROM search_runs ORDER BY run").fetch_all(&mut *transaction).await?;
        for run in runs {
            let sql = "SELECT directory FROM search_runs WHERE run = ?";
            let directory: Vec<u8> = sqlx::query_scalar(sql).bind(run).fetch_one(&mut *transaction).await?;
            let directory = Directory::unpack(&directory).ok_or_else(damaged)?;
            let first: HashMap<ThreadId, u32> =
                directory.threads.iter().map(|thread| (thread.id, thread.first_doc)).collect();
            // First the docs of all threads of the run, then the postings, which refer to docs by number.
            let mut docs = DocTable::new(directory.docs);
            let sql = "SELECT thread_id, until, docs FROM search_threads WHERE run = ? AND until IS NOT 0";
            for row in sqlx::query(sql).bind(run).fetch_all(&mut *transaction).await? {
                let id = ThreadId::from_uuid(row.try_get(0)?);
                let until = row.try_get::<Option<i64>, _>(1)?.map_or(u64::MAX, unsigned);
                let thread = *indexes.entry(id).or_insert_with(|| {
                    sums.push(0);
                    sums.len() - 1
                });
                let first = *first.get(&id).ok_or_else(damaged)?;
                docs.add_docs(thread, first, unpack_docs(row.try_get(2)?), until, &mut sums);
            }
            for block in (0..directory.block_count()).step_by(BLOCKS) {
                let sql = "SELECT words, postings FROM search_blocks WHERE id >= ? AND id < ?";
                let range = sqlx::query(sql).bind(block_id(run, block)).bind(block_id(run, block + BLOCKS));
                for row in range.fetch_all(&mut *transaction).await? {
                    docs.add_block(row.try_get(0)?, row.try_get(1)?, &mut sums).ok_or_else(damaged)?;
                }
            }
        }
        Ok(indexes.into_iter().map(|(id, index)| (id, sums[index])).collect())
    }
}
