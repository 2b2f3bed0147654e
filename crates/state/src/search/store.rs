//! Runs in the database.

use std::collections::HashSet;

use selvedge_protocol::ThreadId;
use sqlx::SqliteConnection;

use crate::error::Result;
use crate::plan::ids;
use crate::search::run::{Block, Filter, Run, RunThread, pack_directory, pack_docs};
use crate::write::{insert, signed};

/// How many blocks a run can have: the number of a block begins with that of its run.
const MOST_BLOCKS: i64 = 1 << 24;

/// The number of a block in the database.
pub(crate) fn block_id(run: i64, block: usize) -> i64 {
    run.saturating_mul(MOST_BLOCKS).saturating_add(i64::try_from(block).unwrap_or(MOST_BLOCKS - 1))
}

/// The run of a block, and its place in it.
pub(crate) fn run_and_block(id: i64) -> (i64, usize) {
    (id.div_euclid(MOST_BLOCKS), usize::try_from(id.rem_euclid(MOST_BLOCKS)).unwrap_or_default())
}

/// A run that is being written: its blocks are, and its directory follows.
#[derive(Debug)]
pub(crate) struct OpenRun {
    pub(crate) id: i64,
    heads: Vec<(Vec<u8>, Filter)>,
    size: u64,
}

impl OpenRun {
    pub(crate) async fn begin(connection: &mut SqliteConnection) -> Result<Self> {
        let sql = "INSERT INTO search_runs (size, directory) VALUES (0, x'')";
        let id = sqlx::query(sql).execute(connection).await?.last_insert_rowid();
        Ok(Self { id, heads: Vec::new(), size: 0 })
    }

    pub(crate) async fn blocks(&mut self, connection: &mut SqliteConnection, blocks: Vec<Block>) -> Result<()> {
        let first = self.heads.len();
        let id = self.id;
        let rows: Vec<(usize, &Block)> = (first..).zip(&blocks).collect();
        insert(connection, "INSERT INTO search_blocks (id, words, postings) ", "", &rows, |mut row, (at, block)| {
            row.push_bind(block_id(id, *at));
            row.push_bind(block.words.as_slice()).push_bind(block.postings.as_slice());
        })
        .await?;
        self.size += blocks.iter().map(|block| (block.words.len() + block.postings.len()) as u64).sum::<u64>();
        self.heads.extend(blocks.into_iter().map(|block| (block.first, block.filter)));
        Ok(())
    }

    /// Writes what is left. The items of `dead` threads count no more.
    pub(crate) async fn finish(
        self,
        connection: &mut SqliteConnection,
        docs: u32,
        threads: &[RunThread],
        dead: &HashSet<ThreadId>,
    ) -> Result<()> {
        let heads = self.heads.iter().map(|(first, filter)| (first.as_slice(), filter));
        sqlx::query("UPDATE search_runs SET size = ?, directory = ? WHERE run = ?")
            .bind(signed(self.size))
            .bind(pack_directory(docs, threads, heads))
            .bind(self.id)
            .execute(&mut *connection)
            .await?;
        let rows: Vec<(&RunThread, Vec<u8>)> = threads.iter().map(|thread| (thread, pack_docs(&thread.docs))).collect();
        let columns = "INSERT INTO search_threads (thread_id, run, until, docs) ";
        insert(connection, columns, "", &rows, |mut row, (thread, docs)| {
            row.push_bind(thread.id.as_uuid()).push_bind(self.id);
            row.push_bind(dead.contains(&thread.id).then_some(0_i64)).push_bind(docs.as_slice());
        })
        .await
    }
}

pub(crate) async fn store_run(connection: &mut SqliteConnection, run: Run, dead: &HashSet<ThreadId>) -> Result<()> {
    if run.threads.is_empty() {
        return Ok(());
    }
    let mut open = OpenRun::begin(connection).await?;
    open.blocks(connection, run.blocks).await?;
    open.finish(connection, run.docs, &run.threads, dead).await
}

/// The items of these threads count no more.
pub(crate) async fn supersede(
    connection: &mut SqliteConnection,
    threads: impl IntoIterator<Item = &ThreadId>,
) -> Result<()> {
    let sql = "UPDATE search_threads SET until = 0 WHERE thread_id IN (SELECT unhex(value) FROM json_each(?))";
    sqlx::query(sql).bind(ids(threads)).execute(connection).await?;
    Ok(())
}

/// The items of a thread's turns from that place on count no more.
pub(crate) async fn supersede_from(connection: &mut SqliteConnection, thread_id: ThreadId, turn: u64) -> Result<()> {
    let sql = "UPDATE search_threads SET until = min(coalesce(until, ?1), ?1) WHERE thread_id = ?2";
    sqlx::query(sql).bind(signed(turn)).bind(thread_id.as_uuid()).execute(connection).await?;
    Ok(())
}
