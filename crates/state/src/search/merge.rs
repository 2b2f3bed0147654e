//! Merges small runs into larger ones.
//!
//! Each update adds a run, and a search has to read every run. Merging keeps their number small. Runs are merged with runs
//! of about the same size, as in a log-structured merge tree, so that each word is rewritten once per size class and not with
//! every merge.

use std::collections::{HashMap, HashSet, VecDeque};

use selvedge_protocol::ThreadId;
use sqlx::{Row, SqliteConnection};

use crate::database::WaitPolicy;
use crate::error::Result;
use crate::index::StateIndex;
use crate::search::block::{BlockWriter, WordsCursor};
use crate::search::directory::Directory;
use crate::search::docs::{ItemDoc, unpack_docs};
use crate::search::postings::{PostingsCursor, for_each_posting};
use crate::search::run::RunThread;
use crate::search::store::{OpenRun, block_id};
use crate::sql::{ids_json, signed, unsigned};

/// Runs that are smaller than `max_bytes`, and not smaller than those of the class before, are merged when there are `many`.
struct SizeClass {
    max_bytes: u64,
    many: usize,
}

/// The size classes. Larger runs are never merged. The last class allows more runs, because merging them takes long, and a search
/// in few large runs costs little more than in one.
const SIZE_CLASSES: [SizeClass; 4] = [
    SizeClass { max_bytes: 32 << 10, many: 8 },
    SizeClass { max_bytes: 256 << 10, many: 8 },
    SizeClass { max_bytes: 2 << 20, many: 8 },
    SizeClass { max_bytes: 16 << 20, many: 64 },
];

/// How many of the classes are merged while a caller waits: those that take only milliseconds.
const QUICK_CLASSES: usize = 2;

/// How many runs one merge takes at most. This bounds the time for which the write lock is held, and memory.
const MAX_MERGED: usize = 16;

/// How many blocks of a run are loaded at a time.
const BLOCKS: usize = 4;

/// Stands for a doc that is not in the merged run, because its item is superseded.
const NOT_KEPT: u32 = u32::MAX;

impl StateIndex {
    /// Merges runs until no size class has too many.
    pub(crate) async fn merge_runs(&self, wait: WaitPolicy) -> Result<()> {
        let classes = if wait == WaitPolicy::Long { SIZE_CLASSES.len() } else { QUICK_CLASSES };
        loop {
            let runs = sqlx::query("SELECT run, size FROM search_runs ORDER BY run").fetch_all(&self.database.readers);
            let mut counts: [usize; SIZE_CLASSES.len()] = [0; SIZE_CLASSES.len()];
            for row in runs.await? {
                let size = unsigned(row.try_get(1)?);
                if let Some(class) = SIZE_CLASSES.iter().position(|class| size < class.max_bytes) {
                    counts[class] += 1;
                }
            }
            let has_many = |class: &usize| counts[*class] >= SIZE_CLASSES[*class].many;
            let Some(class) = (0..classes).find(has_many) else { return Ok(()) };
            let mut transaction = self.database.begin(wait).await?;
            // The runs are selected again under the write lock, because another process may have merged them by now.
            let min_bytes = if class == 0 { 0 } else { SIZE_CLASSES[class - 1].max_bytes };
            let sql = "SELECT run FROM search_runs WHERE size >= ? AND size < ? ORDER BY run LIMIT ?";
            let runs: Vec<i64> = sqlx::query_scalar(sql)
                .bind(signed(min_bytes))
                .bind(signed(SIZE_CLASSES[class].max_bytes))
                .bind(i64::try_from(MAX_MERGED).unwrap_or(i64::MAX))
                .fetch_all(&mut *transaction)
                .await?;
            // If another process has left only one, it need not be rewritten.
            if runs.len() > 1 {
                merge(&mut transaction, &runs).await?;
            }
            transaction.commit().await?;
        }
    }
}

/// Makes one run of these, which are given from the oldest to the newest.
async fn merge(connection: &mut SqliteConnection, runs: &[i64]) -> Result<()> {
    // All their docs get new numbers, so that those of a thread are consecutive again, and what is superseded gets none. Then the
    // sorted words of all runs are merged, and their postings are renumbered on the way:
    //
    //   run 1:  A0 A1 B0              docs by thread:  A: A0 A1 A2   B: B0
    //   run 2:  A2 C0 (superseded)    new numbers:        0  1  2       3
    let mut cursors = Vec::with_capacity(runs.len());
    let mut kept = KeptDocs::default();
    for (index, run) in runs.iter().enumerate() {
        let directory = load_directory(connection, *run).await?;
        kept.load(connection, index, *run, &directory).await?;
        cursors.push(RunCursor::new(*run, &directory));
    }
    let (threads, doc_count) = kept.renumber(&mut cursors);
    if threads.is_empty() {
        return remove_runs(connection, runs).await;
    }
    let mut open = OpenRun::begin(connection).await?;
    merge_words(connection, &mut cursors, &mut open).await?;
    // All of this is one transaction, so that no reader finds an item twice, or not at all.
    remove_runs(connection, runs).await?;
    open.finish(connection, doc_count, &threads, &HashSet::new()).await
}

/// Rewrites every run that has items of these threads, without what is superseded.
pub(crate) async fn rewrite_runs_of(connection: &mut SqliteConnection, threads: &[ThreadId]) -> Result<()> {
    let sql = "SELECT DISTINCT run FROM search_threads WHERE thread_id IN (SELECT unhex(value) FROM json_each(?)) ORDER BY run";
    let runs: Vec<i64> = sqlx::query_scalar(sql).bind(ids_json(threads)).fetch_all(&mut *connection).await?;
    for run in runs {
        merge(connection, &[run]).await?;
    }
    Ok(())
}

async fn load_directory(connection: &mut SqliteConnection, run: i64) -> Result<Directory> {
    let directory = sqlx::query_scalar("SELECT directory FROM search_runs WHERE run = ?");
    let directory: Vec<u8> = directory.bind(run).fetch_one(connection).await?;
    Ok(Directory::unpack(&directory).ok_or_else(damaged)?)
}

/// A doc of one of the runs that are merged.
struct KeptDoc {
    /// The index of the run among those that are merged.
    run: usize,
    /// The doc in that run.
    doc: u32,
    item: ItemDoc,
}

/// The docs that are not superseded, by thread.
#[derive(Default)]
struct KeptDocs {
    /// The threads in the order in which they were first seen, which becomes the order of the merged run.
    order: Vec<ThreadId>,
    docs: HashMap<ThreadId, Vec<KeptDoc>>,
}

impl KeptDocs {
    /// Loads the docs of a run. Runs come from the oldest to the newest, so that the docs of a thread stay sorted by turn.
    async fn load(
        &mut self,
        connection: &mut SqliteConnection,
        index: usize,
        run: i64,
        directory: &Directory,
    ) -> Result<()> {
        let mut of_run: HashMap<ThreadId, (u64, Vec<u8>)> = HashMap::new();
        let sql = "SELECT thread_id, until, docs FROM search_threads WHERE run = ? AND until IS NOT 0";
        for row in sqlx::query(sql).bind(run).fetch_all(connection).await? {
            let until = row.try_get::<Option<i64>, _>(1)?.map_or(u64::MAX, unsigned);
            of_run.insert(ThreadId::from_uuid(row.try_get(0)?), (until, row.try_get(2)?));
        }
        for thread in &directory.threads {
            let Some((until, packed)) = of_run.get(&thread.id) else { continue };
            let items = (thread.first_doc..).zip(unpack_docs(packed)).filter(|(_, item)| item.position() < *until);
            let docs: Vec<KeptDoc> = items.map(|(doc, item)| KeptDoc { run: index, doc, item }).collect();
            if !docs.is_empty() {
                let known = self.docs.entry(thread.id).or_insert_with(|| {
                    self.order.push(thread.id);
                    Vec::new()
                });
                known.extend(docs);
            }
        }
        Ok(())
    }

    /// Renumbers the docs, and records the new number of each in the cursor of its run. Returns the threads of the merged run
    /// and the number of its docs.
    fn renumber(mut self, cursors: &mut [RunCursor]) -> (Vec<RunThread>, u32) {
        let mut threads = Vec::with_capacity(self.order.len());
        let mut next = 0;
        for id in self.order {
            let mut docs = self.docs.remove(&id).unwrap_or_default();
            // A run that was rewritten is older than its number says.
            docs.sort_by_key(|doc| (doc.item.turn, doc.item.item));
            let first_doc = next;
            for KeptDoc { run, doc, .. } in &docs {
                if let Some(new) = cursors[*run].renumbered.get_mut(*doc as usize) {
                    *new = next;
                }
                next += 1;
            }
            threads.push(RunThread { id, first_doc, docs: docs.into_iter().map(|doc| doc.item).collect() });
        }
        (threads, next)
    }
}

/// Merges the sorted words of runs: takes the smallest next word of all cursors, with its postings from every run that has it.
/// Only a few blocks of each run are in memory.
async fn merge_words(connection: &mut SqliteConnection, cursors: &mut [RunCursor], open: &mut OpenRun) -> Result<()> {
    let mut blocks = BlockWriter::default();
    let mut postings: Vec<(u32, u32)> = Vec::new();
    loop {
        // A cursor without blocks in memory would look as if its run had ended.
        for cursor in &mut *cursors {
            cursor.load(connection).await?;
        }
        let Some(word) = cursors.iter().filter_map(RunCursor::word).min().map(<[u8]>::to_vec) else { break };
        postings.clear();
        for cursor in cursors.iter_mut().filter(|cursor| cursor.word() == Some(&word)) {
            cursor.take(&mut postings)?;
        }
        // Renumbering keeps the order within a thread, but not between threads.
        postings.sort_unstable();
        // A word that is only in superseded items has no postings left, and is not written.
        blocks.push(&word, postings.iter().copied());
        let complete = blocks.take_blocks();
        if !complete.is_empty() {
            open.write_blocks(connection, complete).await?;
        }
    }
    open.write_blocks(connection, blocks.finish()).await
}

async fn remove_runs(connection: &mut SqliteConnection, runs: &[i64]) -> Result<()> {
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

/// Returns the error for a run that does not unpack.
pub(super) fn damaged() -> sqlx::Error {
    sqlx::Error::Decode("a search run".into())
}

/// Goes through the words of a run in their order.
struct RunCursor {
    run: i64,
    /// The index of the next block to load.
    next_block: usize,
    block_count: usize,
    /// The loaded blocks. The next word is in the first one.
    blocks: VecDeque<LoadedBlock>,
    /// For each doc its new number, or [`NOT_KEPT`].
    renumbered: Vec<u32>,
}

/// A block, and the position of the next word in it.
struct LoadedBlock {
    words: Vec<u8>,
    /// At the next word.
    cursor: WordsCursor,
    /// At the postings of the next word.
    postings: PostingsCursor,
}

impl RunCursor {
    fn new(run: i64, directory: &Directory) -> Self {
        Self {
            run,
            next_block: 0,
            block_count: directory.block_count(),
            blocks: VecDeque::new(),
            renumbered: vec![NOT_KEPT; directory.docs as usize],
        }
    }

    /// Loads further blocks, if the loaded ones are used up.
    async fn load(&mut self, connection: &mut SqliteConnection) -> Result<()> {
        if !self.blocks.is_empty() || self.next_block >= self.block_count {
            return Ok(());
        }
        let sql = "SELECT words, postings FROM search_blocks WHERE id >= ? AND id < ? ORDER BY id";
        let end = self.next_block + BLOCKS;
        let query = sqlx::query(sql).bind(block_id(self.run, self.next_block)).bind(block_id(self.run, end));
        for row in query.fetch_all(connection).await? {
            let postings = PostingsCursor::new(row.try_get(1)?).ok_or_else(damaged)?;
            self.blocks.push_back(LoadedBlock { words: row.try_get(0)?, cursor: WordsCursor::default(), postings });
        }
        self.next_block = end;
        Ok(())
    }

    /// Returns the next word.
    fn word(&self) -> Option<&[u8]> {
        let block = self.blocks.front()?;
        block.cursor.word(&block.words)
    }

    /// Takes the postings of the next word, renumbered, and moves on to the word behind it.
    fn take(&mut self, postings: &mut Vec<(u32, u32)>) -> Result<()> {
        let Some(block) = self.blocks.front_mut() else { return Ok(()) };
        let renumbered = &self.renumbered;
        let take = |doc: u32, times| {
            let doc = renumbered.get(doc as usize).copied().unwrap_or(NOT_KEPT);
            if doc != NOT_KEPT {
                postings.push((doc, times));
            }
        };
        let of_word = block.postings.next().ok_or_else(damaged)?;
        for_each_posting(of_word, take).ok_or_else(damaged)?;
        block.cursor.advance(&block.words);
        if block.cursor.word(&block.words).is_none() {
            self.blocks.pop_front();
        }
        Ok(())
    }
}
