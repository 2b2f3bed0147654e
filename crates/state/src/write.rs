//! Writes scanned threads to the database.
//!
//! A whole scan replaces all rows of a thread. A scan of appended lines replaces the thread record and the rows from its resume
//! point on; bases cannot have changed.

use selvedge_protocol::{DirectoryPath, ItemPosition, SegmentId, StoredThread, ThreadId, repository_name};
use selvedge_rollout::FileStamp;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use crate::error::Result;
use crate::indexed_prefix::IndexedPrefix;
use crate::limits::ROWS_PER_STATEMENT;
use crate::names::apply_names;
use crate::paths::path_hash;
use crate::scan::ScannedThread;
use crate::search::store::{supersede, supersede_from};
use crate::sql::{ids_json, insert_rows, is_usual_length, signed};
use selvedge_history::turn_index::{TurnRow, TurnRows};

/// A scanned thread with what the database stores besides.
#[derive(Debug)]
pub(crate) struct ThreadUpdate {
    pub(crate) scanned: ScannedThread,
    /// Whether the whole history was read, and not only what was appended.
    pub(crate) is_whole: bool,
    /// The path of the newest segment, relative to the home.
    pub(crate) path: String,
    pub(crate) archived: bool,
    /// All segments of the thread.
    pub(crate) segments: Vec<SegmentRow>,
    /// A base that has no file in the home.
    pub(crate) absent: Option<SegmentId>,
}

/// A segment, with the stamp that it had before the thread was read.
#[derive(Debug)]
pub(crate) struct SegmentRow {
    /// The path, relative to the home.
    pub(crate) path: String,
    pub(crate) segment_id: SegmentId,
    pub(crate) stamp: FileStamp,
}

impl ThreadUpdate {
    pub(crate) fn id(&self) -> ThreadId {
        self.scanned.thread.id
    }
}

/// Removes threads from the index.
pub(crate) async fn delete_threads(connection: &mut SqliteConnection, threads: &[ThreadId]) -> Result<()> {
    for table in ["threads", "segments", "bases", "turns", "activities"] {
        delete(connection, table, threads.iter().copied()).await?;
    }
    supersede(connection, threads).await
}

/// Writes scanned threads, except the words of their items.
pub(crate) async fn store_updates(connection: &mut SqliteConnection, batch: &[&ThreadUpdate]) -> Result<()> {
    let whole: Vec<&ThreadUpdate> = batch.iter().copied().filter(|update| update.is_whole).collect();
    // Writing a record leaves its name alone. The name follows, because a new record has none, and the name index can know the
    // thread already.
    store_thread_rows(connection, batch).await?;
    apply_names(connection, Some(ids_json(batch.iter().map(|update| &update.scanned.thread.id)))).await?;
    // All segments are written again, because a thread may have lost or gained a file.
    delete(connection, "segments", batch.iter().map(|update| update.id())).await?;
    store_segments(connection, batch).await?;
    for table in ["bases", "turns"] {
        delete(connection, table, whole.iter().map(|update| update.id())).await?;
    }
    store_bases(connection, &whole).await?;
    // If the index knows such a base, its row is out of date. It gets a stamp that no file has, so that the next plan compares
    // the thread of that base: as a thread that lost a file or, if there is a file by then, as one whose file was rewritten.
    // Both make every thread that builds on it be read again. `i64::MAX` also puts it among the hot files of a refresh.
    // Deleting the row instead would hide from the base's own thread that its file is gone.
    for absent in whole.iter().filter_map(|update| update.absent) {
        let sql = "UPDATE segments SET modified_ns = ?, inode = 0, indexed_bytes = 0 WHERE segment_id = ?";
        sqlx::query(sql).bind(i64::MAX).bind(absent.as_uuid()).execute(&mut *connection).await?;
    }
    // The words of all items follow as a new run, so that those of older runs count no more. Of a thread that was read from its
    // resume point on, only the items from there on are indexed again.
    supersede(connection, &whole.iter().map(|update| update.id()).collect::<Vec<_>>()).await?;
    for update in batch.iter().filter(|update| !update.is_whole) {
        remove_turns_from(connection, update).await?;
        let TurnRows { first_turn: turn, first_item: item, .. } = update.scanned.turns;
        supersede_from(connection, update.id(), ItemPosition { turn, item }).await?;
    }
    store_turns(connection, batch).await?;
    store_activities(connection, batch).await
}

/// Deletes the rows of threads in a table.
async fn delete(connection: &mut SqliteConnection, table: &str, threads: impl Iterator<Item = ThreadId>) -> Result<()> {
    let threads: Vec<ThreadId> = threads.collect();
    for chunk in threads.chunks(ROWS_PER_STATEMENT) {
        let column = if table == "threads" { "id" } else { "thread_id" };
        let mut sql: QueryBuilder<'_, Sqlite> = QueryBuilder::new(format!("DELETE FROM {table} WHERE {column} IN ("));
        let mut list = sql.separated(", ");
        for thread_id in chunk {
            list.push_bind(thread_id.as_uuid());
        }
        sql.push(")");
        sql.build().persistent(is_usual_length(chunk.len())).execute(&mut *connection).await?;
    }
    Ok(())
}

async fn store_thread_rows(connection: &mut SqliteConnection, batch: &[&ThreadUpdate]) -> Result<()> {
    let mut rows = Vec::with_capacity(batch.len());
    for update in batch {
        let thread = &update.scanned.thread;
        let record = StoredThread { name: None, archived: false, location: None, ..thread.clone() };
        rows.push((*update, to_json(&record)?, update.scanned.turns.resume_point.as_ref().map(to_json).transpose()?));
    }
    // Without the names: these are copied from the table `names`.
    let columns = "INSERT INTO threads (id, created_at, updated_at, recency_at, archived, preview_folded, source, \
        model_provider, model, cwd, cwd_key, git_branch, git_repository, forked_from_id, parent_id, path, record, \
        is_resumable, is_incomplete, tail, scan_id) ";
    let conflict = " ON CONFLICT (id) DO UPDATE SET created_at = excluded.created_at, updated_at = excluded.updated_at, \
        recency_at = excluded.recency_at, archived = excluded.archived, preview_folded = excluded.preview_folded, \
        source = excluded.source, model_provider = excluded.model_provider, model = excluded.model, cwd = excluded.cwd, \
        cwd_key = excluded.cwd_key, \
        git_branch = excluded.git_branch, git_repository = excluded.git_repository, \
        forked_from_id = excluded.forked_from_id, parent_id = excluded.parent_id, path = excluded.path, record = excluded.record, \
        is_resumable = excluded.is_resumable, \
        is_incomplete = excluded.is_incomplete, tail = excluded.tail, scan_id = excluded.scan_id";
    insert_rows(connection, columns, conflict, &rows, |mut row, (update, record, tail)| {
        let ScannedThread { thread, is_resumable, is_incomplete, .. } = &update.scanned;
        let git = thread.git.as_ref();
        let cwd = thread.cwd.as_deref().and_then(DirectoryPath::new);
        row.push_bind(thread.id.as_uuid())
            .push_bind(thread.created_at.as_millis())
            .push_bind(thread.updated_at.as_millis())
            .push_bind(thread.recency_at.as_millis())
            .push_bind(update.archived)
            .push_bind(thread.preview.as_ref().map(|preview| preview.to_lowercase()))
            .push_bind(thread.source_name())
            .push_bind(&thread.model_provider)
            .push_bind(&thread.model)
            .push_bind(cwd.as_ref().map(DirectoryPath::to_string))
            .push_bind(cwd.as_ref().map(DirectoryPath::key))
            .push_bind(git.and_then(|git| git.branch.as_ref()))
            .push_bind(git.and_then(|git| repository_name(git.repository_url.as_ref()?.as_str())))
            .push_bind(thread.forked_from_id.map(|id| id.as_uuid()))
            .push_bind(thread.parent_thread_id.map(|id| id.as_uuid()))
            .push_bind(&update.path)
            .push_bind(record)
            .push_bind(is_resumable)
            .push_bind(is_incomplete)
            .push_bind(tail)
            .push_bind(update.scanned.scan_id);
    })
    .await
}

async fn store_segments(connection: &mut SqliteConnection, batch: &[&ThreadUpdate]) -> Result<()> {
    let rows: Vec<_> =
        batch.iter().flat_map(|update| update.segments.iter().map(move |segment| (*update, segment))).collect();
    let columns = "INSERT OR REPLACE INTO segments \
        (path, thread_id, segment_id, path_hash, size, modified_ns, inode, indexed_bytes, last_line_start, last_line_hash) ";
    insert_rows(connection, columns, "", &rows, |mut row, (update, SegmentRow { path, segment_id, stamp })| {
        // Only the newest segment grows, so that only its prefix is needed.
        let (stamp, prefix) = if *path == update.path {
            (update.scanned.stamp, update.scanned.prefix)
        } else {
            (*stamp, IndexedPrefix::default())
        };
        row.push_bind(path).push_bind(update.id().as_uuid()).push_bind(segment_id.as_uuid()).push_bind(path_hash(path));
        row.push_bind(signed(stamp.size)).push_bind(stamp.changed_ns).push_bind(signed(stamp.inode));
        row.push_bind(signed(prefix.end))
            .push_bind(signed(prefix.last_line_start))
            .push_bind(signed(prefix.last_line_hash));
    })
    .await
}

async fn store_bases(connection: &mut SqliteConnection, whole: &[&ThreadUpdate]) -> Result<()> {
    let mut rows = Vec::new();
    for update in whole {
        let ScannedThread { bases, inherited_ends, .. } = &update.scanned;
        for (part, segment_id) in bases.iter().enumerate() {
            // A missing base has neither part nor end: it comes after the parts that exist.
            rows.push((update.id(), segment_id, inherited_ends.get(part).map(|end| (part as i64, *end))));
        }
    }
    let columns = "INSERT OR IGNORE INTO bases (thread_id, segment_id, part, end_byte) ";
    insert_rows(connection, columns, "", &rows, |mut row, (thread_id, segment_id, inherited)| {
        row.push_bind(thread_id.as_uuid()).push_bind(segment_id.as_uuid());
        row.push_bind(inherited.map(|(part, _)| part)).push_bind(inherited.map_or(0, |(_, end)| signed(end)));
    })
    .await
}

/// Removes the turns that the scan of appended lines projected again.
async fn remove_turns_from(connection: &mut SqliteConnection, update: &ThreadUpdate) -> Result<()> {
    let first = update.scanned.turns.first_turn;
    let sql = "DELETE FROM turns WHERE thread_id = ? AND place >= ?";
    sqlx::query(sql).bind(update.id().as_uuid()).bind(signed(first)).execute(connection).await?;
    Ok(())
}

async fn store_turns(connection: &mut SqliteConnection, batch: &[&ThreadUpdate]) -> Result<()> {
    let rows: Vec<(ThreadId, &TurnRow, Vec<u8>)> = batch
        .iter()
        .flat_map(|update| update.scanned.turns.turns.iter().map(|turn| (update.id(), turn, turn.pack_items())))
        .collect();
    let columns = "INSERT INTO turns (thread_id, place, turn_id, first_line, end_line, start_part, start_byte, end_part, \
        end_byte, next_item, paginated, is_self_contained, items) ";
    insert_rows(connection, columns, "", &rows, |mut row, (thread_id, turn, items)| {
        row.push_bind(thread_id.as_uuid()).push_bind(signed(turn.turn_index)).push_bind(turn.id.as_str());
        row.push_bind(signed(turn.lines.start)).push_bind(signed(turn.lines.end));
        row.push_bind(turn.start.part as i64).push_bind(signed(turn.start.byte));
        row.push_bind(turn.end.part as i64).push_bind(signed(turn.end.byte));
        row.push_bind(signed(turn.next_item)).push_bind(turn.paginated).push_bind(turn.is_self_contained);
        row.push_bind(items.as_slice());
    })
    .await
}

async fn store_activities(connection: &mut SqliteConnection, batch: &[&ThreadUpdate]) -> Result<()> {
    let mut rows = Vec::with_capacity(batch.len());
    for update in batch {
        let ScannedThread { activity, activity_state, .. } = &update.scanned;
        rows.push((update.id(), to_json(activity)?, to_json(activity_state)?));
    }
    let columns = "INSERT OR REPLACE INTO activities (thread_id, counts, fold) ";
    insert_rows(connection, columns, "", &rows, |mut row, (thread_id, counts, fold)| {
        row.push_bind(thread_id.as_uuid()).push_bind(counts).push_bind(fold);
    })
    .await
}

fn to_json(value: &impl serde::Serialize) -> Result<String> {
    Ok(serde_json::to_string(value).map_err(|error| sqlx::Error::Encode(error.into()))?)
}
