//! Compares the rows of threads with their files.

use std::collections::HashMap;
use std::sync::Arc;

use selvedge_history::ThreadActivity;
use selvedge_protocol::{DirectoryPath, StoredThread, ThreadId};
use selvedge_rollout::{HomeFiles, ResolvedHistory, RolloutHome};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::blocking::blocking;
use crate::error::Result;
use crate::index::StateIndex;
use crate::paths::home_relative;
use crate::record::read_record;
use crate::scan::{ScannedThread, scan};
use crate::search::checksum::words_checksum;
use crate::search::collector::RunCollector;
use crate::sql::signed;

/// The part of a thread's row that does not come from its log.
#[derive(Clone, Debug)]
pub(super) struct IndexedRow {
    pub(super) name: Option<String>,
    archived: bool,
    pub(super) path: String,
}

impl StateIndex {
    pub(super) async fn load_rows(&self) -> Result<HashMap<ThreadId, IndexedRow>> {
        let rows =
            sqlx::query("SELECT id, name, archived, path FROM threads").fetch_all(&self.database.readers).await?;
        let indexed = |row: &SqliteRow| -> Result<_> {
            let indexed = IndexedRow { name: row.try_get(1)?, archived: row.try_get(2)?, path: row.try_get(3)? };
            Ok((ThreadId::from_uuid(row.try_get(0)?), indexed))
        };
        rows.iter().map(indexed).collect()
    }

    /// Returns which of these rows differ from the files, and how. Only a deep comparison reads the logs.
    pub(super) async fn find_wrong_rows(
        &self,
        files: &Arc<HomeFiles>,
        rows: Vec<(ThreadId, &IndexedRow)>,
        deep: bool,
    ) -> Result<Vec<(ThreadId, String)>> {
        let checksums = if deep && !rows.is_empty() { self.words_checksums().await? } else { HashMap::new() };
        let mut wrong_location = self.compare_locations(files, &rows).await?;
        let mut found = Vec::new();
        for (thread_id, _) in rows {
            let mut difference = wrong_location.remove(&thread_id);
            if difference.is_none() && deep {
                let checksum = checksums.get(&thread_id).copied().unwrap_or_default();
                difference = self.compare_log(files, thread_id, checksum).await?;
            }
            found.extend(difference.map(|difference| (thread_id, difference)));
        }
        Ok(found)
    }

    /// Returns which of these rows have the wrong location, and how it differs.
    async fn compare_locations(
        &self,
        files: &Arc<HomeFiles>,
        rows: &[(ThreadId, &IndexedRow)],
    ) -> Result<HashMap<ThreadId, String>> {
        let rows: Vec<(ThreadId, IndexedRow)> = rows.iter().map(|(id, row)| (*id, (*row).clone())).collect();
        let (files, home) = (Arc::clone(files), self.home.clone());
        blocking(move || {
            let compare = |(id, row): &(ThreadId, IndexedRow)| Some((*id, compare_location(&home, &files, *id, row)?));
            Ok(rows.iter().filter_map(compare).collect())
        })
        .await
    }

    /// Reads the log of a thread, and compares record, turns and words with it. Returns the first difference. A log that cannot be
    /// read differs in nothing.
    async fn compare_log(
        &self,
        files: &Arc<HomeFiles>,
        thread_id: ThreadId,
        indexed_checksum: u64,
    ) -> Result<Option<String>> {
        let files = Arc::clone(files);
        let scanned = blocking(move || {
            let Some(resolved) = ResolvedHistory::resolve(&files, thread_id)? else { return Ok(None) };
            // The whole log is scanned as an update would do it, so that both must have the same result.
            let mut collector = RunCollector::default();
            collector.begin_thread(thread_id);
            let scanned = scan(&files, &resolved, &mut collector)?;
            Ok(Some((scanned, words_checksum(collector.take_runs()))))
        });
        let Ok(Some((scanned, checksum))) = scanned.await else { return Ok(None) };
        let sql = "SELECT record, name, archived, path, created_at, updated_at, recency_at, source, model_provider, \
            model, cwd, cwd_key, git_branch FROM threads WHERE id = ?";
        let row = sqlx::query(sql).bind(thread_id.as_uuid()).fetch_optional(&self.database.readers).await?;
        let Some(row) = row else { return Ok(None) };
        if !is_row_of(&row, &scanned)? {
            return Ok(Some("the row differs from its log".to_owned()));
        }
        let sql = "SELECT turn_id, first_line, end_line, start_part, start_byte, end_part, end_byte, next_item, paginated, \
            is_self_contained, items FROM turns WHERE thread_id = ? ORDER BY place";
        let turns = sqlx::query(sql).bind(thread_id.as_uuid()).fetch_all(&self.database.readers).await?;
        if !are_turns_of(&turns, &scanned)? {
            let (indexed, logged) = (turns.len(), scanned.turns.turns.len());
            let difference = format!("the index has {indexed} turns, the log has {logged}, or has them elsewhere");
            return Ok(Some(difference));
        }
        let sql = "SELECT counts FROM activities WHERE thread_id = ?";
        let counts: Option<String> =
            sqlx::query_scalar(sql).bind(thread_id.as_uuid()).fetch_optional(&self.database.readers).await?;
        let counts = counts.and_then(|counts| serde_json::from_str::<ThreadActivity>(&counts).ok());
        if counts.as_ref() != Some(&scanned.activity) {
            return Ok(Some("the index counts other turns or tokens than the log".to_owned()));
        }
        let is_same = checksum == Some(indexed_checksum);
        Ok((!is_same).then(|| "the words in the index differ from those in its log".to_owned()))
    }
}

/// Returns how the location of a row differs from that of the thread's newest file. `None` if it does not.
fn compare_location(home: &RolloutHome, files: &HomeFiles, thread_id: ThreadId, row: &IndexedRow) -> Option<String> {
    let newest = files.segments(thread_id).last()?;
    let path = home_relative(home, &newest.path)?;
    let is_row_at = |path: &str, archived: bool| path == row.path && archived == row.archived;
    let is_right = is_row_at(&path, newest.archived) || {
        // The newest file may be no part of the history: a segment without a readable head is skipped. Resolving the history finds
        // that out, and is too expensive to do it for every thread.
        let resolved = ResolvedHistory::resolve(files, thread_id).ok().flatten();
        let newest = resolved.as_ref().map(ResolvedHistory::newest);
        newest.is_some_and(|file| home_relative(home, &file.path).is_some_and(|path| is_row_at(&path, file.archived)))
    };
    (!is_right).then(|| {
        let archived = if row.archived { "archived" } else { "not archived" };
        format!("the row has the path {} ({archived}), and the newest file is {path}", row.path)
    })
}

/// Returns whether a row, with its columns, is that of a scanned thread.
fn is_row_of(row: &SqliteRow, scanned: &ScannedThread) -> Result<bool> {
    let stored = read_record(row, None)?;
    let thread = &scanned.thread;
    let expected =
        StoredThread { name: stored.name.clone(), archived: stored.archived, location: None, ..thread.clone() };
    // Through JSON, as the stored one came: differences that JSON does not express do not count.
    let expected: StoredThread = serde_json::to_string(&expected)
        .and_then(|text| serde_json::from_str(&text))
        .map_err(|error| sqlx::Error::Decode(error.into()))?;
    let mut is_right = stored == expected;
    for (column, time) in [(4, thread.created_at), (5, thread.updated_at), (6, thread.recency_at)] {
        is_right &= row.try_get::<i64, _>(column)? == time.as_millis();
    }
    // The columns that are derived from the record for queries.
    let cwd = thread.cwd.as_deref().and_then(DirectoryPath::new);
    let (cwd, cwd_key) = (cwd.as_ref().map(DirectoryPath::to_string), cwd.as_ref().map(DirectoryPath::key));
    let branch = thread.git.as_ref().and_then(|git| git.branch.as_deref());
    let (provider, model) = (thread.model_provider.as_deref(), thread.model.as_deref());
    let texts = [thread.source_name(), provider, model, cwd.as_deref(), cwd_key.as_deref(), branch];
    for (column, text) in (7..).zip(texts) {
        is_right &= row.try_get::<Option<&str>, _>(column)? == text;
    }
    Ok(is_right)
}

/// Returns whether these rows are the turns of a scanned thread.
fn are_turns_of(rows: &[SqliteRow], scanned: &ScannedThread) -> Result<bool> {
    if rows.len() != scanned.turns.turns.len() {
        return Ok(false);
    }
    for (row, turn) in rows.iter().zip(&scanned.turns.turns) {
        let numbers = [
            turn.lines.start,
            turn.lines.end,
            turn.start.part as u64,
            turn.start.byte,
            turn.end.part as u64,
            turn.end.byte,
            turn.next_item,
            u64::from(turn.paginated),
            u64::from(turn.is_self_contained),
        ];
        let mut is_right = row.try_get::<&str, _>(0)? == turn.id.as_str();
        for (column, number) in (1..).zip(numbers) {
            is_right &= row.try_get::<i64, _>(column)? == signed(number);
        }
        if !is_right || row.try_get::<&[u8], _>(10)? != turn.pack_items() {
            return Ok(false);
        }
    }
    Ok(true)
}
