//! Writing what was read.

use selvedge_protocol::{SegmentId, StoredThread, ThreadId, repository_name};
use selvedge_rollout::FileStamp;
use sqlx::query_builder::Separated;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use crate::error::Result;
use crate::names::give_names;
use crate::plan::{ids, path_hash};
use crate::row::{Mark, ScannedThread};
use crate::search::store::{supersede, supersede_from};
use crate::told::TurnRow;

/// How many rows one statement writes. Each statement has its cost, and so has each length of one.
const ROWS: usize = 50;

/// A thread that was read.
#[derive(Debug)]
pub(crate) struct Scanned {
    pub(crate) scanned: ScannedThread,
    pub(crate) is_whole: bool,
    pub(crate) path: String,
    pub(crate) archived: bool,
    /// All segments of the thread, as they looked before the thread was read.
    pub(crate) segments: Vec<(String, SegmentId, FileStamp)>,
    /// A base of which there was no file when it was looked for.
    pub(crate) absent: Option<SegmentId>,
}

impl Scanned {
    pub(crate) fn id(&self) -> ThreadId {
        self.scanned.thread.id
    }
}

/// Takes threads out of the index.
pub(crate) async fn remove(connection: &mut SqliteConnection, gone: &[ThreadId]) -> Result<()> {
    for table in ["threads", "segments", "bases", "turns"] {
        delete(connection, table, gone.iter().copied()).await?;
    }
    supersede(connection, gone).await
}

/// Writes threads that were read.
pub(crate) async fn store(connection: &mut SqliteConnection, batch: &[&Scanned]) -> Result<()> {
    let whole: Vec<&Scanned> = batch.iter().copied().filter(|scanned| scanned.is_whole).collect();
    store_threads(connection, batch).await?;
    give_names(connection, Some(ids(batch.iter().map(|scanned| &scanned.scanned.thread.id)))).await?;
    delete(connection, "segments", batch.iter().map(|scanned| scanned.id())).await?;
    store_segments(connection, batch).await?;
    for table in ["bases", "turns"] {
        delete(connection, table, whole.iter().map(|scanned| scanned.id())).await?;
    }
    store_bases(connection, &whole).await?;
    // What the index knows of such a base is not so, or not any more. Its thread is looked at again by the next refresh, as one
    // that lost a file, or, when there is a file by then, as one whose file is another: then those that build on it are read
    // again, too. To forget the file here would hide from that thread that it is gone.
    for absent in whole.iter().filter_map(|scanned| scanned.absent) {
        let sql = "UPDATE segments SET modified_ns = ?, inode = 0, indexed_bytes = 0 WHERE segment_id = ?";
        sqlx::query(sql).bind(i64::MAX).bind(absent.as_uuid()).execute(&mut *connection).await?;
    }
    supersede(connection, &whole.iter().map(|scanned| scanned.id()).collect::<Vec<_>>()).await?;
    for scanned in batch.iter().filter(|scanned| !scanned.is_whole) {
        remove_turns_from(connection, scanned).await?;
        supersede_from(connection, scanned.id(), scanned.scanned.told.first_turn).await?;
    }
    store_turns(connection, batch).await
}

async fn delete(connection: &mut SqliteConnection, table: &str, threads: impl Iterator<Item = ThreadId>) -> Result<()> {
    let threads: Vec<ThreadId> = threads.collect();
    for chunk in threads.chunks(ROWS) {
        let column = if table == "threads" { "id" } else { "thread_id" };
        let mut sql: QueryBuilder<'_, Sqlite> = QueryBuilder::new(format!("DELETE FROM {table} WHERE {column} IN ("));
        let mut list = sql.separated(", ");
        for thread_id in chunk {
            list.push_bind(thread_id.as_uuid());
        }
        sql.push(")");
        sql.build().persistent(chunk.len() == ROWS || chunk.len() == 1).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Writes rows, so many with each statement. `insert` stands before their values and `conflict` behind.
pub(crate) async fn insert<'a, T>(
    connection: &mut SqliteConnection,
    insert: &str,
    conflict: &str,
    rows: &'a [T],
    mut bind: impl FnMut(Separated<'_, 'a, Sqlite, &'static str>, &'a T),
) -> Result<()> {
    for chunk in rows.chunks(ROWS) {
        let mut sql = QueryBuilder::new(insert);
        sql.push_values(chunk, &mut bind);
        sql.push(conflict);
        // Statements of the usual lengths are kept.
        sql.build().persistent(chunk.len() == ROWS || chunk.len() == 1).execute(&mut *connection).await?;
    }
    Ok(())
}

async fn store_threads(connection: &mut SqliteConnection, batch: &[&Scanned]) -> Result<()> {
    let mut rows = Vec::with_capacity(batch.len());
    for scanned in batch {
        let thread = &scanned.scanned.thread;
        let record = StoredThread { name: None, archived: false, location: None, ..thread.clone() };
        rows.push((*scanned, to_json(&record)?, scanned.scanned.told.tail.as_ref().map(to_json).transpose()?));
    }
    // Names come from elsewhere.
    let columns = "INSERT INTO threads (id, created_at, updated_at, recency_at, archived, preview_folded, source, \
        model_provider, model, cwd, git_branch, git_repository, forked_from_id, parent_id, path, record, is_resumable, \
        is_incomplete, tail) ";
    let conflict = " ON CONFLICT (id) DO UPDATE SET created_at = excluded.created_at, updated_at = excluded.updated_at, \
        recency_at = excluded.recency_at, archived = excluded.archived, preview_folded = excluded.preview_folded, \
        source = excluded.source, model_provider = excluded.model_provider, model = excluded.model, cwd = excluded.cwd, \
        git_branch = excluded.git_branch, git_repository = excluded.git_repository, \
        forked_from_id = excluded.forked_from_id, parent_id = excluded.parent_id, path = excluded.path, record = excluded.record, is_resumable = excluded.is_resumable, \
        is_incomplete = excluded.is_incomplete, tail = excluded.tail";
    insert(connection, columns, conflict, &rows, |mut row, (scanned, record, tail)| {
        let ScannedThread { thread, is_resumable, is_incomplete, .. } = &scanned.scanned;
        let git = thread.git.as_ref();
        row.push_bind(thread.id.as_uuid())
            .push_bind(thread.created_at.as_millis())
            .push_bind(thread.updated_at.as_millis())
            .push_bind(thread.recency_at.as_millis())
            .push_bind(scanned.archived)
            .push_bind(thread.preview.as_ref().map(|preview| preview.to_lowercase()))
            .push_bind(thread.source_name())
            .push_bind(&thread.model_provider)
            .push_bind(&thread.model)
            .push_bind(thread.cwd.as_ref().map(|cwd| cwd.trim_end_matches('/')))
            .push_bind(git.and_then(|git| git.branch.as_ref()))
            .push_bind(git.and_then(|git| repository_name(git.repository_url.as_deref()?)))
            .push_bind(thread.forked_from_id.map(|id| id.as_uuid()))
            .push_bind(thread.parent_thread_id.map(|id| id.as_uuid()))
            .push_bind(&scanned.path)
            .push_bind(record)
            .push_bind(is_resumable)
            .push_bind(is_incomplete)
            .push_bind(tail);
    })
    .await
}

async fn store_segments(connection: &mut SqliteConnection, batch: &[&Scanned]) -> Result<()> {
    let rows: Vec<_> =
        batch.iter().flat_map(|scanned| scanned.segments.iter().map(move |segment| (*scanned, segment))).collect();
    let columns = "INSERT OR REPLACE INTO segments \
        (path, thread_id, segment_id, path_hash, size, modified_ns, inode, indexed_bytes, last_line_start, last_line_hash) ";
    insert(connection, columns, "", &rows, |mut row, (scanned, (path, segment_id, stamp))| {
        let (stamp, mark) = if *path == scanned.path {
            (scanned.scanned.stamp, scanned.scanned.mark)
        } else {
            (*stamp, Mark::default())
        };
        row.push_bind(path)
            .push_bind(scanned.id().as_uuid())
            .push_bind(segment_id.as_uuid())
            .push_bind(path_hash(path));
        row.push_bind(signed(stamp.size)).push_bind(stamp.changed_ns).push_bind(signed(stamp.inode));
        row.push_bind(signed(mark.end)).push_bind(signed(mark.last_line_start)).push_bind(signed(mark.last_line_hash));
    })
    .await
}

async fn store_bases(connection: &mut SqliteConnection, whole: &[&Scanned]) -> Result<()> {
    let mut rows = Vec::new();
    for scanned in whole {
        let ScannedThread { bases, share_ends, .. } = &scanned.scanned;
        for (part, segment_id) in bases.iter().enumerate() {
            rows.push((scanned.id(), segment_id, share_ends.get(part).map(|end| (part as i64, *end))));
        }
    }
    let columns = "INSERT OR IGNORE INTO bases (thread_id, segment_id, part, end_byte) ";
    insert(connection, columns, "", &rows, |mut row, (thread_id, segment_id, share)| {
        row.push_bind(thread_id.as_uuid()).push_bind(segment_id.as_uuid());
        row.push_bind(share.map(|(part, _)| part)).push_bind(share.map_or(0, |(_, end)| signed(end)));
    })
    .await
}

/// Takes away the turns that a tail tells again.
async fn remove_turns_from(connection: &mut SqliteConnection, scanned: &Scanned) -> Result<()> {
    let first = scanned.scanned.told.first_turn;
    let sql = "DELETE FROM turns WHERE thread_id = ? AND place >= ?";
    sqlx::query(sql).bind(scanned.id().as_uuid()).bind(signed(first)).execute(connection).await?;
    Ok(())
}

async fn store_turns(connection: &mut SqliteConnection, batch: &[&Scanned]) -> Result<()> {
    let rows: Vec<(ThreadId, &TurnRow, Vec<u8>)> = batch
        .iter()
        .flat_map(|scanned| scanned.scanned.told.turns.iter().map(|turn| (scanned.id(), turn, turn.pack_items())))
        .collect();
    let columns = "INSERT INTO turns (thread_id, place, turn_id, first_line, end_line, start_part, start_byte, end_part, \
        end_byte, next_item, paginated, is_self_contained, items) ";
    insert(connection, columns, "", &rows, |mut row, (thread_id, turn, items)| {
        row.push_bind(thread_id.as_uuid()).push_bind(signed(turn.place)).push_bind(turn.id.as_str());
        row.push_bind(signed(turn.lines.start)).push_bind(signed(turn.lines.end));
        row.push_bind(turn.start.part as i64).push_bind(signed(turn.start.byte));
        row.push_bind(turn.end.part as i64).push_bind(signed(turn.end.byte));
        row.push_bind(signed(turn.next_item)).push_bind(turn.paginated).push_bind(turn.is_self_contained);
        row.push_bind(items.as_slice());
    })
    .await
}

fn to_json(value: &impl serde::Serialize) -> Result<String> {
    Ok(serde_json::to_string(value).map_err(|error| sqlx::Error::Encode(error.into()))?)
}

/// SQLite's integers are signed; these keep their bits.
pub(crate) const fn signed(value: u64) -> i64 {
    value.cast_signed()
}

pub(crate) const fn unsigned(value: i64) -> u64 {
    value.cast_unsigned()
}
