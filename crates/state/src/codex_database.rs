//! Reads what Codex has recorded about a thread in its own database, `state_*.sqlite`. The database is never written.
//!
//! Codex may be running. Its database has a write-ahead log, so that a reader and a writer do not wait for each other. But a reader of
//! such a database usually creates the files beside it. [`open`] avoids this:
//!
//! | the write-ahead log | what happens |
//! | --- | --- |
//! | is missing or empty | the database is read as immutable, without locks |
//! | has content, and the shared memory exists | the database is opened read-only, which creates nothing and writes to nothing but the shared memory |
//! | has content, and the shared memory is missing | nobody has the database open. It is copied with its log, and the copy is read |

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use selvedge_protocol::ThreadId;
use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{Connection, Row, SqliteConnection};
use tempfile::TempDir;

use crate::database::beside;

/// How long a statement waits for a process that holds the database. Codex holds it for moments only.
const CODEX_BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// What Codex has recorded about a thread. While it has such a record, it does not search the home for changes of some kinds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CodexRecord {
    /// The database that has the record.
    pub database: PathBuf,
    /// The file that Codex regards as the current segment of the thread.
    pub rollout_path: PathBuf,
    /// Whether Codex regards the thread as archived.
    pub archived: bool,
    /// The name in the database. If it is `None`, Codex takes the name of a legacy thread from the name index.
    ///
    /// A legacy thread has it in place of its title, which otherwise is its first message. The next turn restores the title.
    pub name: Option<String>,
    /// The sub-agents that the thread has started, and those that these have started. Codex archives, unarchives and deletes them
    /// together with the thread.
    pub sub_agents: Vec<ThreadId>,
}

/// A database of Codex cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}, the database of Codex", .path.display())]
pub struct CodexDatabaseError {
    /// The database, or the directory in which it is.
    pub path: PathBuf,
    /// Why it cannot be read.
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

impl CodexRecord {
    /// Returns what the databases in a directory record about a thread. If several have a record, the newest version of the
    /// database counts. `None` if Codex does not know the thread.
    ///
    /// # Errors
    /// If a database cannot be read. A file without a table of threads is skipped.
    pub async fn find(directory: &Path, thread_id: ThreadId) -> Result<Option<Self>, CodexDatabaseError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| CodexDatabaseError { path, source }
        };
        let folder = directory.to_owned();
        let databases = tokio::task::spawn_blocking(move || databases(&folder)).await;
        let databases = databases.map_err(Into::into).and_then(|found| found.map_err(Into::into));
        for database in databases.map_err(failed(directory))? {
            if let Some(record) = read(&database, thread_id).await.map_err(failed(&database))? {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }
}

/// Returns the paths of the databases in a directory, the newest version first. None if the directory does not exist.
fn databases(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let version = path.file_name().and_then(|name| name.to_str()).and_then(version_of);
        // An empty file is a database without tables.
        if let Some(version) = version
            && fs::metadata(&path).is_ok_and(|metadata| metadata.is_file() && metadata.len() > 0)
        {
            found.push((version, path));
        }
    }
    found.sort_by(|one, other| other.cmp(one));
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// Returns the version in the name of a database: 5 for `state_5.sqlite`.
fn version_of(name: &str) -> Option<u64> {
    name.strip_prefix("state_")?.strip_suffix(".sqlite")?.parse().ok()
}

type Source = Box<dyn std::error::Error + Send + Sync>;

async fn read(database: &Path, thread_id: ThreadId) -> Result<Option<CodexRecord>, Source> {
    let path = database.to_owned();
    let (options, _copy) = tokio::task::spawn_blocking(move || open(&path)).await??;
    let mut connection = SqliteConnection::connect_with(&options).await?;
    let record = read_record(&mut connection, database, thread_id).await;
    // The record is complete, or the error is more important than the one of closing.
    let _ = connection.close().await;
    Ok(record?)
}

/// Returns options that read a database without changing anything in its directory, and the directory of the copy if they read one.
fn open(database: &Path) -> io::Result<(SqliteConnectOptions, Option<TempDir>)> {
    let options = SqliteConnectOptions::new().read_only(true).busy_timeout(CODEX_BUSY_TIMEOUT);
    let log = beside(database, "-wal");
    if !fs::metadata(&log).is_ok_and(|metadata| metadata.len() > 0) {
        return Ok((options.filename(database).immutable(true), None));
    }
    if beside(database, "-shm").exists() {
        return Ok((options.filename(database), None));
    }
    let folder = tempfile::tempdir()?;
    let copy = folder.path().join("state.sqlite");
    fs::copy(database, &copy)?;
    fs::copy(&log, beside(&copy, "-wal"))?;
    Ok((options.filename(copy), Some(folder)))
}

async fn read_record(
    connection: &mut SqliteConnection,
    database: &Path,
    thread_id: ThreadId,
) -> sqlx::Result<Option<CodexRecord>> {
    if !has_table(connection, "threads").await? {
        return Ok(None);
    }
    // All columns, because older versions of the database do not have each of them.
    let row = sqlx::query("SELECT * FROM threads WHERE id = ?1").bind(thread_id.to_string());
    let Some(row) = row.fetch_optional(&mut *connection).await? else { return Ok(None) };
    Ok(Some(CodexRecord {
        database: database.to_owned(),
        rollout_path: text(&row, "rollout_path").unwrap_or_default().into(),
        archived: row.try_get::<i64, _>("archived").is_ok_and(|archived| archived != 0),
        name: name(&row),
        sub_agents: sub_agents(connection, thread_id).await?,
    }))
}

fn name(row: &SqliteRow) -> Option<String> {
    let name = text(row, "name").filter(|name| !name.is_empty());
    if name.is_some() || text(row, "history_mode").is_some_and(|mode| mode != "legacy") {
        return name;
    }
    let title = text(row, "title").filter(|title| !title.is_empty());
    title.filter(|title| {
        ["first_user_message", "preview"].iter().all(|column| text(row, column).as_ref() != Some(title))
    })
}

/// Returns the text in a column. `None` if it is null, or if the database has no such column.
fn text(row: &SqliteRow, column: &str) -> Option<String> {
    row.try_get::<Option<String>, _>(column).ok().flatten()
}

async fn sub_agents(connection: &mut SqliteConnection, thread_id: ThreadId) -> sqlx::Result<Vec<ThreadId>> {
    if !has_table(connection, "thread_spawn_edges").await? {
        return Ok(Vec::new());
    }
    // `UNION` and not `UNION ALL`, so that a circle ends.
    let ids: Vec<String> = sqlx::query_scalar(
        "WITH RECURSIVE started(id) AS (
            SELECT child_thread_id FROM thread_spawn_edges WHERE parent_thread_id = ?1
            UNION
            SELECT edge.child_thread_id FROM thread_spawn_edges edge JOIN started ON edge.parent_thread_id = started.id
         ) SELECT id FROM started ORDER BY id",
    )
    .bind(thread_id.to_string())
    .fetch_all(connection)
    .await?;
    Ok(ids.iter().filter_map(|id| id.parse().ok()).filter(|id| *id != thread_id).collect())
}

async fn has_table(connection: &mut SqliteConnection, name: &str) -> sqlx::Result<bool> {
    let found = sqlx::query("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?1").bind(name);
    Ok(found.fetch_optional(connection).await?.is_some())
}
