//! Making one run of several.

use std::collections::{HashMap, HashSet, VecDeque};

use selvedge_protocol::ThreadId;
use sqlx::{Row, SqliteConnection};

use crate::StateIndex;
use crate::database::WaitPolicy;
use crate::error::Result;
use crate::search::run::{BlockWriter, Directory, ItemDoc, PostingsCursor, RunThread, for_each_posting, unpack_docs};
use crate::search::store::{OpenRun, block_id};
use crate::write::{signed, unsigned};

/// Runs below the first of these sizes, in bytes, are merged when there are many of them; then those below the next.
const SIZES: [u64; 4] = [32 << 10, 256 << 10, 2 << 20, 16 << 20];

/// How many runs of about one size are too many.
const MANY: [usize; 4] = [8, 8, 8, 64];

/// How many runs are merged at once.
const MOST: usize = 16;

/// How many blocks of a run are loaded together.
const BLOCKS: usize = 4;

/// What is not there any more.
const GONE: u32 = u32::MAX;

impl StateIndex {
    /// Merges runs where there are many, unless that takes long and nobody has the time.
    pub(crate) async fn merge_runs(&self, patience: WaitPolicy) -> Result<()> {
        let sizes = if patience == WaitPolicy::Long { SIZES.len() } else { 2 };
        loop {
            let runs = sqlx::query("SELECT run, size FROM search_runs ORDER BY run").fetch_all(&self.database.readers);
            let mut by_size: [usize; SIZES.len()] = [0; SIZES.len()];
            for row in runs.await? {
                let size = unsigned(row.try_get(1)?);
                if let Some(at) = SIZES.iter().position(|limit| size < *limit) {
                    by_size[at] += 1;
                }
            }
            let Some(at) = (0..sizes).find(|at| by_size[*at] >= MANY[*at]) else { return Ok(()) };
            let mut transaction = self.database.begin(patience).await?;
            // As of now: another process may have merged them.
            let smaller = if at == 0 { 0 } else { SIZES[at - 1] };
            let sql = "SELECT run FROM search_runs WHERE size >= ? AND size < ? ORDER BY run LIMIT ?";
            let runs: Vec<i64> = sqlx::query_scalar(sql)
                .bind(signed(smaller))
                .bind(signed(SIZES[at]))
                .bind(i64::try_from(MOST).unwrap_or(i64::MAX))
                .fetch_all(&mut *transaction)
                .await?;
            if runs.len() > 1 {
                merge(&mut transaction, &runs).await?;
            }
            transaction.commit().await?;
        }
    }
}

/// Makes one run of these, which are given from the oldest to the newest.
async fn merge(connection: &mut SqliteConnection, runs: &[i64]) -> Result<()> {
    let mut cursors = Vec::with_capacity(runs.len());
    // By thread, in the order in which they are met: each item, and by which run and number it was known.
    let mut order: Vec<ThreadId> = Vec::new();
    let mut docs: HashMap<ThreadId, Vec<(usize, u32, ItemDoc)>> = HashMap::new();
    for (at, run) in runs.iter().enumerate() {
        let directory = sqlx::query_scalar("SELECT directory FROM search_runs WHERE run = ?");
        let directory: Vec<u8> = directory.bind(run).fetch_one(&mut *connection).await?;
        let directory = Directory::unpack(&directory).ok_or_else(damaged)?;
        let mut standing: HashMap<ThreadId, (u64, Vec<u8>)> = HashMap::new();
        let sql = "SELECT thread_id, until, docs FROM search_threads WHERE run = ? AND until IS NOT 0";
        for row in sqlx::query(sql).bind(run).fetch_all(&mut *connection).await? {
            let until = row.try_get::<Option<i64>, _>(1)?.map_or(u64::MAX, unsigned);
            standing.insert(ThreadId::from_uuid(row.try_get(0)?), (until, row.try_get(2)?));
        }
        for (id, first_doc, _) in &directory.threads {
            let Some((until, packed)) = standing.get(id) else { continue };
            let kept = (*first_doc..).zip(unpack_docs(packed)).filter(|(_, doc)| doc.turn < *until);
            let kept: Vec<_> = kept.map(|(number, doc)| (at, number, doc)).collect();
            if !kept.is_empty() {
                docs.entry(*id).or_insert_with(|| {
                    order.push(*id);
                    Vec::new()
                });
                docs.entry(*id).or_default().extend(kept);
            }
        }
        cursors.push(RunCursor::new(*run, &directory));
    }
    let mut threads = Vec::with_capacity(order.len());
    let mut next = 0;
    for id in order {
        let of_thread = docs.remove(&id).unwrap_or_default();
        let first_doc = next;
        for (run, number, _) in &of_thread {
            if let Some(new) = cursors[*run].renumbered.get_mut(*number as usize) {
                *new = next;
            }
            next += 1;
        }
        threads.push(RunThread { id, first_doc, docs: of_thread.into_iter().map(|(.., doc)| doc).collect() });
    }
    if threads.is_empty() {
        return remove(connection, runs).await;
    }
    let mut open = OpenRun::begin(connection).await?;
    let mut blocks = BlockWriter::default();
    let mut postings: Vec<(u32, u32)> = Vec::new();
    loop {
        for cursor in &mut cursors {
            cursor.load(connection).await?;
        }
        let Some(word) = cursors.iter().filter_map(RunCursor::word).min().map(<[u8]>::to_vec) else { break };
        postings.clear();
        for cursor in cursors.iter_mut().filter(|cursor| cursor.word() == Some(&word)) {
            cursor.take(&mut postings)?;
        }
        postings.sort_unstable();
        blocks.word(&word, postings.iter().copied());
        let done = blocks.take_blocks();
        if !done.is_empty() {
            open.blocks(connection, done).await?;
        }
    }
    open.blocks(connection, blocks.finish()).await?;
    remove(connection, runs).await?;
    open.finish(connection, next, &threads, &HashSet::new()).await
}

async fn remove(connection: &mut SqliteConnection, runs: &[i64]) -> Result<()> {
    for run in runs {
        sqlx::query("DELETE FROM search_blocks WHERE id >= ? AND id < ?")
            .bind(block_id(*run, 0))
            .bind(block_id(run + 1, 0))
            .execute(&mut *connection)
            .await?;
        for sql in ["DELETE FROM search_threads WHERE run = ?", "DELETE FROM search_runs WHERE run = ?"] {
            sqlx::query(sql).bind(run).execute(&mut *connection).await?;
        }
    }
    Ok(())
}

pub(super) fn damaged() -> sqlx::Error {
    sqlx::Error::Decode("a run of words".into())
}

/// Goes through the words of a run.
struct RunCursor {
    run: i64,
    next_block: usize,
    block_count: usize,
    blocks: VecDeque<LoadedBlock>,
    /// By number, the new numbers of items.
    renumbered: Vec<u32>,
}

/// A block that is gone through from its first word to its last.
struct LoadedBlock {
    words: Vec<u8>,
    /// Where the word begins that is next.
    start: usize,
    /// At that one.
    postings: PostingsCursor,
}

impl RunCursor {
    fn new(run: i64, directory: &Directory) -> Self {
        Self {
            run,
            next_block: 0,
            block_count: directory.block_count(),
            blocks: VecDeque::new(),
            renumbered: vec![GONE; directory.docs as usize],
        }
    }

    /// Sees to it that there is a block to go through, unless all were.
    async fn load(&mut self, connection: &mut SqliteConnection) -> Result<()> {
        if !self.blocks.is_empty() || self.next_block >= self.block_count {
            return Ok(());
        }
        let sql = "SELECT words, postings FROM search_blocks WHERE id >= ? AND id < ? ORDER BY id";
        let end = self.next_block + BLOCKS;
        let query = sqlx::query(sql).bind(block_id(self.run, self.next_block)).bind(block_id(self.run, end));
        for row in query.fetch_all(connection).await? {
            let postings = PostingsCursor::new(row.try_get(1)?).ok_or_else(damaged)?;
            self.blocks.push_back(LoadedBlock { words: row.try_get(0)?, start: 0, postings });
        }
        self.next_block = end;
        Ok(())
    }

    /// The word that is next.
    fn word(&self) -> Option<&[u8]> {
        let block = self.blocks.front()?;
        block.words[block.start..].split(|byte| *byte == b'\n').next()
    }

    /// Takes the postings of the word that is next, under their new numbers, and goes on to the one behind it.
    fn take(&mut self, postings: &mut Vec<(u32, u32)>) -> Result<()> {
        let len = self.word().map_or(0, <[u8]>::len);
        let Some(block) = self.blocks.front_mut() else { return Ok(()) };
        let renumbered = &self.renumbered;
        let take = |doc: u32, times| {
            let doc = renumbered.get(doc as usize).copied().unwrap_or(GONE);
            if doc != GONE {
                postings.push((doc, times));
            }
        };
        let of_word = block.postings.next().ok_or_else(damaged)?;
        for_each_posting(of_word, take).ok_or_else(damaged)?;
        block.start += len + 1;
        if block.start >= block.words.len() {
            self.blocks.pop_front();
        }
        Ok(())
    }
}
