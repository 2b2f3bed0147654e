//! Stores runs in the database, and marks items as superseded.

use std::collections::HashSet;

use selvedge_protocol::{ItemPosition, ThreadId};
use sqlx::SqliteConnection;

use crate::error::Result;
use crate::search::block::Block;
use crate::search::directory::pack_directory;
use crate::search::docs::pack_docs;
use crate::search::run::{Run, RunThread};
use crate::search::trigrams::TrigramFilter;
use crate::sql::{ids_json, insert_rows, signed};

/// How many ids of blocks belong to a run.
///
/// ```text
/// block id:   bits 24…62: run    bits 0…23: index of the block in the run
/// ```
///
/// The blocks of a run are therefore consecutive rows of the table, and one range of ids loads or deletes them.
const BLOCKS_PER_RUN: i64 = 1 << 24;

/// Returns the id of a block in the database.
pub(crate) fn block_id(run: i64, block: usize) -> i64 {
    run.saturating_mul(BLOCKS_PER_RUN).saturating_add(i64::try_from(block).unwrap_or(BLOCKS_PER_RUN - 1))
}

/// Returns the run of a block, and the index of the block in it.
pub(crate) fn run_and_block(id: i64) -> (i64, usize) {
    (id.div_euclid(BLOCKS_PER_RUN), usize::try_from(id.rem_euclid(BLOCKS_PER_RUN)).unwrap_or_default())
}

/// A run that is being written. Its blocks can be written one by one, and the directory comes last, because it describes all of
/// them. All of it belongs to one transaction, so that no reader sees a run without a directory.
#[derive(Debug)]
pub(crate) struct OpenRun {
    id: i64,
    /// The first word and the filter of each block that was written.
    heads: Vec<(Vec<u8>, TrigramFilter)>,
    /// The size of the blocks in bytes.
    size: u64,
}

impl OpenRun {
    pub(crate) async fn begin(connection: &mut SqliteConnection) -> Result<Self> {
        let sql = "INSERT INTO search_runs (size, directory) VALUES (0, x'')";
        let id = sqlx::query(sql).execute(connection).await?.last_insert_rowid();
        Ok(Self { id, heads: Vec::new(), size: 0 })
    }

    /// Writes the next blocks.
    pub(crate) async fn write_blocks(&mut self, connection: &mut SqliteConnection, blocks: Vec<Block>) -> Result<()> {
        let first = self.heads.len();
        let id = self.id;
        let rows: Vec<(usize, &Block)> = (first..).zip(&blocks).collect();
        let columns = "INSERT INTO search_blocks (id, words, postings) ";
        insert_rows(connection, columns, "", &rows, |mut row, (index, block)| {
            row.push_bind(block_id(id, *index));
            row.push_bind(block.words.as_slice()).push_bind(block.postings.as_slice());
        })
        .await?;
        self.size += blocks.iter().map(|block| (block.words.len() + block.postings.len()) as u64).sum::<u64>();
        self.heads.extend(blocks.into_iter().map(|block| (block.first, block.filter)));
        Ok(())
    }

    /// Writes the directory and the threads. The items of threads in `superseded` do not count.
    pub(crate) async fn finish(
        self,
        connection: &mut SqliteConnection,
        docs: u32,
        threads: &[RunThread],
        superseded: &HashSet<ThreadId>,
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
        insert_rows(connection, columns, "", &rows, |mut row, (thread, docs)| {
            row.push_bind(thread.id.as_uuid()).push_bind(self.id);
            row.push_bind(superseded.contains(&thread.id).then_some(0_i64)).push_bind(docs.as_slice());
        })
        .await
    }
}

/// Stores a run. The items of threads in `superseded` do not count.
pub(crate) async fn store_run(
    connection: &mut SqliteConnection,
    run: Run,
    superseded: &HashSet<ThreadId>,
) -> Result<()> {
    // All threads of the run were dropped again: none of its words can be found.
    if run.threads.is_empty() {
        return Ok(());
    }
    let mut open = OpenRun::begin(connection).await?;
    open.write_blocks(connection, run.blocks).await?;
    open.finish(connection, run.docs, &run.threads, superseded).await
}

/// Marks all items of these threads as superseded.
pub(crate) async fn supersede(
    connection: &mut SqliteConnection,
    threads: impl IntoIterator<Item = &ThreadId>,
) -> Result<()> {
    let sql = "UPDATE search_threads SET until = 0 WHERE thread_id IN (SELECT unhex(value) FROM json_each(?))";
    sqlx::query(sql).bind(ids_json(threads)).execute(connection).await?;
    Ok(())
}

/// Marks the items of a thread as superseded from this one on. An earlier mark stays if it is lower.
pub(crate) async fn supersede_from(
    connection: &mut SqliteConnection,
    thread_id: ThreadId,
    first: ItemPosition,
) -> Result<()> {
    let sql = "UPDATE search_threads SET until = min(coalesce(until, ?1), ?1) WHERE thread_id = ?2";
    sqlx::query(sql).bind(signed(first.position())).bind(thread_id.as_uuid()).execute(connection).await?;
    Ok(())
}
