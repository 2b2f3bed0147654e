//! One number for all words of a thread, to compare what the index holds with what the log says.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};

use selvedge_protocol::ThreadId;
use sqlx::Row;

use crate::StateIndex;
use crate::error::Result;
use crate::search::merge::damaged;
use crate::search::run::{Directory, ItemDoc, PostingsCursor, Run, for_each_posting, unpack_docs};
use crate::search::store::block_id;
use crate::write::unsigned;

/// How many blocks are loaded at once.
const BLOCKS: usize = 64;

/// The items of a run by number, each with the place of its thread among others; nothing for those that count no more.
struct Docs(Vec<Option<(usize, ItemDoc)>>);

impl Docs {
    fn new(count: u32) -> Self {
        Self(vec![None; count as usize])
    }

    /// Puts the items of a thread, of which those of turns before `until` count.
    fn put(&mut self, thread: usize, first: u32, docs: impl Iterator<Item = ItemDoc>, until: u64, sums: &mut [u64]) {
        let places = self.0.iter_mut().skip(first as usize).zip(docs);
        for (place, doc) in places.filter(|(_, doc)| doc.turn < until) {
            *place = Some((thread, doc));
            add(sums, thread, mixed(0, doc, doc.words));
        }
    }

    /// Adds what stands in a block; nothing for bytes that are none.
    fn add_block(&self, words: &[u8], postings: Vec<u8>, sums: &mut [u64]) -> Option<()> {
        let mut postings = PostingsCursor::new(postings)?;
        for word in words.split(|byte| *byte == b'\n').filter(|word| !word.is_empty()) {
            let mut hasher = DefaultHasher::new();
            hasher.write(word);
            let word = hasher.finish();
            for_each_posting(postings.next()?, |doc, times| {
                if let Some(Some((thread, doc))) = self.0.get(doc as usize) {
                    add(sums, *thread, mixed(word, *doc, times.into()));
                }
            })?;
        }
        Some(())
    }
}

fn add(sums: &mut [u64], thread: usize, number: u64) {
    if let Some(sum) = sums.get_mut(thread) {
        *sum = sum.wrapping_add(number);
    }
}

/// A word in an item, as a number that looks like no other.
fn mixed(word: u64, doc: ItemDoc, times: u64) -> u64 {
    [doc.turn, doc.item, times].into_iter().fold(word, |mixed, number| {
        let mixed = (mixed ^ number.wrapping_add(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ mixed >> 29
    })
}

/// The number of one thread, from its runs; nothing for blocks that are none.
pub(crate) fn words_checksum(runs: Vec<Run>) -> Option<u64> {
    let mut sums = [0];
    for run in runs {
        let mut docs = Docs::new(run.docs);
        for thread in run.threads {
            docs.put(0, thread.first_doc, thread.docs.into_iter(), u64::MAX, &mut sums);
        }
        for block in run.blocks {
            docs.add_block(&block.words, block.postings, &mut sums)?;
        }
    }
    Some(sums[0])
}

impl StateIndex {
    /// The numbers of all threads of which the index has words, from one pass over these.
    pub(crate) async fn words_sums(&self) -> Result<HashMap<ThreadId, u64>> {
        let mut transaction = self.database.readers.begin().await?;
        let mut places: HashMap<ThreadId, usize> = HashMap::new();
        let mut sums: Vec<u64> = Vec::new();
        let runs: Vec<i64> =
            sqlx::query_scalar("SELECT run FROM search_runs ORDER BY run").fetch_all(&mut *transaction).await?;
        for run in runs {
            let sql = "SELECT directory FROM search_runs WHERE run = ?";
            let directory: Vec<u8> = sqlx::query_scalar(sql).bind(run).fetch_one(&mut *transaction).await?;
            let directory = Directory::unpack(&directory).ok_or_else(damaged)?;
            let first: HashMap<ThreadId, u32> = directory.threads.iter().map(|(id, first, _)| (*id, *first)).collect();
            let mut docs = Docs::new(directory.docs);
            let sql = "SELECT thread_id, until, docs FROM search_threads WHERE run = ? AND until IS NOT 0";
            for row in sqlx::query(sql).bind(run).fetch_all(&mut *transaction).await? {
                let id = ThreadId::from_uuid(row.try_get(0)?);
                let until = row.try_get::<Option<i64>, _>(1)?.map_or(u64::MAX, unsigned);
                let thread = *places.entry(id).or_insert_with(|| {
                    sums.push(0);
                    sums.len() - 1
                });
                let first = *first.get(&id).ok_or_else(damaged)?;
                docs.put(thread, first, unpack_docs(row.try_get(2)?), until, &mut sums);
            }
            for block in (0..directory.block_count()).step_by(BLOCKS) {
                let sql = "SELECT words, postings FROM search_blocks WHERE id >= ? AND id < ?";
                let range = sqlx::query(sql).bind(block_id(run, block)).bind(block_id(run, block + BLOCKS));
                for row in range.fetch_all(&mut *transaction).await? {
                    docs.add_block(row.try_get(0)?, row.try_get(1)?, &mut sums).ok_or_else(damaged)?;
                }
            }
        }
        Ok(places.into_iter().map(|(id, place)| (id, sums[place])).collect())
    }
}
