//! The columns of a thread record, by which lists are sorted and filtered in the database.
//!
//! A text is stored as bytes (UTF-8), which the database compares exactly as this program does.

use selvedge_protocol::{DirectoryPath, StoredThread, repository_name};
use selvedge_thread_store::{Result, StoreError};
use sqlx::postgres::{PgArguments, PgConnection};
use sqlx::query::Query;
use sqlx::{Executor, Postgres};
use uuid::Uuid;

use crate::error::backend;

/// The version of the fold of thread records and of these columns. A record of another version is folded again from the lines,
/// except for [`WITHOUT_COLUMNS`]. The index `threads_in_progress` has it in its condition.
pub(crate) const RECORD_VERSION: i32 = 2;

/// The version of a record that is as good as one of [`RECORD_VERSION`], without the columns.
pub(crate) const WITHOUT_COLUMNS: i32 = 1;

/// How many bytes at the beginning of a directory or of a name are in an index. An entry is limited to a third of a page.
const MAX_INDEXED: usize = 256;

/// How many rows get their columns in one transaction.
const FILLED_AT_ONCE: i64 = 500;

/// The columns, in the order of [`bind`].
pub(crate) const COLUMNS: [&str; 11] = [
    "record_created_at",
    "record_updated_at",
    "record_recency_at",
    "source",
    "model_provider",
    "model",
    "directory",
    "git_branch",
    "git_repository",
    "forked_from_id",
    "parent_id",
];

/// Returns the assignments of columns in an `UPDATE`, the first parameter with the number `first`.
pub(crate) fn assignments(columns: &[&str], first: usize) -> String {
    let assignments: Vec<_> = columns.iter().zip(first..).map(|(name, number)| format!("{name} = ${number}")).collect();
    assignments.join(", ")
}

/// Adds the columns of a record to the arguments of a statement.
pub(crate) fn bind<'q>(
    query: Query<'q, Postgres, PgArguments>,
    record: &StoredThread,
) -> Query<'q, Postgres, PgArguments> {
    let bytes = |text: Option<&str>| text.map(|text| text.as_bytes().to_vec());
    let directory = record.cwd.as_deref().and_then(DirectoryPath::new).map(|path| path.key());
    let git = record.git.as_ref();
    query
        .bind(record.created_at.as_millis())
        .bind(record.updated_at.as_millis())
        .bind(record.recency_at.as_millis())
        .bind(bytes(record.source_name()))
        .bind(bytes(record.model_provider.as_deref()))
        .bind(bytes(record.model.as_deref()))
        .bind(directory.map(|key| indexed(&key)))
        .bind(bytes(git.and_then(|git| git.branch.as_deref())))
        .bind(git.and_then(|git| repository_name(git.repository_url.as_ref()?.as_str())).map(String::into_bytes))
        .bind(record.forked_from_id.map(|id| id.as_uuid()))
        .bind(record.parent_thread_id.map(|id| id.as_uuid()))
}

/// Returns the beginning of a text that is in an index.
pub(crate) fn indexed(text: &str) -> Vec<u8> {
    text.as_bytes()[..text.len().min(MAX_INDEXED)].to_vec()
}

/// Fills the columns of rows that were stored without them, in all namespaces. A row that somebody changes meanwhile is left
/// alone: the change fills them.
pub(crate) async fn fill(connection: &mut PgConnection, schema: &str) -> Result<()> {
    let select = format!(
        "SELECT namespace, thread_id, revision, record FROM {schema}.threads
        WHERE (is_unsettled OR record_version <> {RECORD_VERSION}) AND record_version = {WITHOUT_COLUMNS}
            AND (namespace, thread_id) > ($1, $2)
        ORDER BY namespace, thread_id LIMIT {FILLED_AT_ONCE}"
    );
    let update = format!(
        "UPDATE {schema}.threads SET record_version = {RECORD_VERSION}, {} WHERE namespace = $1 AND thread_id = $2 AND revision = $3",
        assignments(&COLUMNS, 4)
    );
    // As for every connection of a store: one plan for all partitions. Only the speed depends on it.
    let _ = connection.execute("SET plan_cache_mode = force_generic_plan").await;
    let mut after = (String::new(), Uuid::nil());
    loop {
        let rows = sqlx::query_as(&select).bind(&after.0).bind(after.1).fetch_all(&mut *connection).await;
        let rows: Vec<(String, Uuid, i64, Vec<u8>)> = rows.map_err(backend)?;
        let Some((namespace, thread_id, ..)) = rows.last() else { return Ok(()) };
        after = (namespace.clone(), *thread_id);
        let mut tx = sqlx::Connection::begin(&mut *connection).await.map_err(backend)?;
        for (namespace, thread_id, revision, record) in &rows {
            let record = serde_json::from_slice(record).map_err(|error| {
                StoreError::backend(format!("the record of thread {thread_id} is not valid"), error)
            })?;
            let query = sqlx::query(&update).bind(namespace).bind(thread_id).bind(revision);
            bind(query, &record).execute(&mut *tx).await.map_err(backend)?;
        }
        tx.commit().await.map_err(backend)?;
    }
}
