//! The state of the index that a plan compares with the files of the home.

use std::collections::{HashMap, HashSet};

use selvedge_protocol::{SegmentId, ThreadId};
use selvedge_rollout::{FileStamp, HomeFiles};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use crate::error::Result;
use crate::file_columns::{read_prefix, read_stamp};
use crate::index::StateIndex;
use crate::indexed_prefix::IndexedPrefix;
use crate::paths::segment_id_of;
use crate::sql::{ids_json, uuids_json};

/// A file as the index knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IndexedSegment {
    pub(crate) stamp: FileStamp,
    pub(crate) prefix: IndexedPrefix,
}

/// What the index knows of a thread besides its record. The default is that of a thread that it does not know.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ThreadFlags {
    /// Whether appended lines can be folded onto the record.
    pub(crate) is_resumable: bool,
    /// Whether a base is missing, or shorter than the thread refers to.
    pub(crate) is_incomplete: bool,
}

/// What the index knows of threads besides their records.
#[derive(Debug, Default)]
pub(crate) struct IndexedState {
    /// The files of each thread, by path.
    pub(crate) segments: HashMap<ThreadId, HashMap<String, IndexedSegment>>,
    pub(crate) threads: HashMap<ThreadId, ThreadFlags>,
    /// For each segment the threads that inherit lines from it, also those that do so through other segments.
    pub(crate) dependents: HashMap<SegmentId, Vec<ThreadId>>,
}

impl StateIndex {
    /// Loads what the index knows of these threads and of those that build on them. `None`: of all threads.
    pub(crate) async fn load_indexed_state(
        &self,
        files: &HomeFiles,
        threads: Option<&HashSet<ThreadId>>,
    ) -> Result<IndexedState> {
        let mut known = IndexedState::default();
        let mut connection = self.database.readers.acquire().await?;
        // One transaction, so that segments and threads are those of one moment.
        let mut transaction = sqlx::Connection::begin(&mut *connection).await?;
        let Some(threads) = threads else {
            known.load_segments(&mut transaction, None).await?;
            known.load_threads(&mut transaction, None).await?;
            known.load_dependents(&mut transaction, None).await?;
            return Ok(known);
        };
        // Files that exist, and files that the index knows although they are gone: either can be the base of another thread.
        known.load_segments(&mut transaction, Some(ids_json(threads))).await?;
        let existing =
            threads.iter().flat_map(|thread_id| files.segments(*thread_id)).map(|file| file.name.segment_id());
        let indexed = known.segments.values().flat_map(HashMap::keys).filter_map(|path| segment_id_of(path));
        let segments: HashSet<SegmentId> = existing.chain(indexed).collect();
        known.load_dependents(&mut transaction, Some(uuids_json(segments.iter().map(|id| id.as_uuid())))).await?;
        let dependents: Vec<ThreadId> = known.dependents.values().flatten().copied().collect();
        known.load_threads(&mut transaction, Some(ids_json(threads.iter().chain(&dependents)))).await?;
        known.load_segments(&mut transaction, Some(ids_json(&dependents))).await?;
        Ok(known)
    }
}

impl IndexedState {
    /// Returns the files of a thread, sorted by path.
    pub(crate) fn segments_of(&self, thread_id: ThreadId) -> Vec<(String, IndexedSegment)> {
        let segments = self.segments.get(&thread_id).into_iter().flatten();
        let mut sorted: Vec<_> = segments.map(|(path, segment)| (path.clone(), *segment)).collect();
        sorted.sort_by(|one, other| one.0.cmp(&other.0));
        sorted
    }

    /// Loads the files of these threads, or of all. `threads` is a list of [`ids_json`].
    pub(crate) async fn load_segments(
        &mut self,
        connection: &mut SqliteConnection,
        threads: Option<String>,
    ) -> Result<()> {
        let sql = "SELECT thread_id, path, size, modified_ns, inode, indexed_bytes, last_line_start, last_line_hash \
            FROM segments";
        for row in rows(connection, sql, "thread_id", threads).await? {
            let segment = IndexedSegment { stamp: read_stamp(&row, 2)?, prefix: read_prefix(&row, 5)? };
            let thread_id = ThreadId::from_uuid(row.try_get(0)?);
            self.segments.entry(thread_id).or_default().insert(row.try_get(1)?, segment);
        }
        Ok(())
    }

    async fn load_threads(&mut self, connection: &mut SqliteConnection, threads: Option<String>) -> Result<()> {
        for row in rows(connection, "SELECT id, is_resumable, is_incomplete FROM threads", "id", threads).await? {
            let known = ThreadFlags { is_resumable: row.try_get(1)?, is_incomplete: row.try_get(2)? };
            self.threads.insert(ThreadId::from_uuid(row.try_get(0)?), known);
        }
        Ok(())
    }

    async fn load_dependents(&mut self, connection: &mut SqliteConnection, segments: Option<String>) -> Result<()> {
        for row in rows(connection, "SELECT segment_id, thread_id FROM bases", "segment_id", segments).await? {
            let dependents = self.dependents.entry(SegmentId::from_uuid(row.try_get(0)?)).or_default();
            dependents.push(ThreadId::from_uuid(row.try_get(1)?));
        }
        Ok(())
    }
}

/// Returns the rows of a statement: all, or those of which `column` is one of the `wanted` ids ([`ids_json`]).
async fn rows(
    connection: &mut SqliteConnection,
    sql: &str,
    column: &str,
    wanted: Option<String>,
) -> Result<Vec<SqliteRow>> {
    Ok(match wanted {
        None => sqlx::query(sql).fetch_all(connection).await?,
        Some(wanted) => {
            let sql = format!("{sql} WHERE {column} IN (SELECT unhex(value) FROM json_each(?))");
            sqlx::query(&sql).bind(wanted).fetch_all(connection).await?
        }
    })
}
