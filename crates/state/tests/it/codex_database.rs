//! Reads the database of a Codex: which threads it knows, and that reading changes nothing.
//!
//! The database is one that Codex 0.171.0 made (`samples/databases-0.171.0`).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use selvedge_protocol::ThreadId;
use selvedge_state::CodexRecord;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use sqlx::{Connection, SqliteConnection};
use tempfile::TempDir;

/// A named paginated thread, an archived one, and one with a sub-agent.
const NAMED: &str = "01a222c1-1e9f-7e70-a6be-b5044bd0be43";
const ARCHIVED: &str = "01a222c1-1efb-7572-ae93-e7f325d94a83";
const PARENT: &str = "01a222c1-1f90-7853-819c-1311133584b2";
const SUB_AGENT: &str = "01a222c1-2014-7b90-b2ac-008a9667ceb2";
/// Legacy threads: one that Codex has named, and one that has its name from the name index.
const NAMED_LEGACY: &str = "01a1fd5d-c3f2-7313-862d-a0ba485d5b31";
const PLAIN_LEGACY: &str = "01a1fd5d-c6c8-7a71-ac95-699c8dab1ede";
const UNKNOWN: &str = "01a222c1-0000-7000-8000-000000000000";

fn id(text: &str) -> ThreadId {
    text.parse().unwrap()
}

/// Returns a directory with the database.
fn recorded() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/../../samples/databases-0.171.0/state_5.sqlite.zst");
    let bytes = zstd::decode_all(&fs::read(sample).unwrap()[..]).unwrap();
    fs::write(folder.path().join("state_5.sqlite"), bytes).unwrap();
    folder
}

fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// Opens the database as Codex does, and renames a thread without a checkpoint: the change is in the log beside the database.
async fn rename(folder: &Path, name: &str) -> SqliteConnection {
    let options =
        SqliteConnectOptions::new().filename(folder.join("state_5.sqlite")).journal_mode(SqliteJournalMode::Wal);
    let mut codex = SqliteConnection::connect_with(&options).await.unwrap();
    let update = sqlx::query("UPDATE threads SET name = ?1 WHERE id = ?2").bind(name).bind(NAMED);
    assert_eq!(update.execute(&mut codex).await.unwrap().rows_affected(), 1);
    codex
}

async fn name_in(folder: &Path) -> Option<String> {
    CodexRecord::find(folder, id(NAMED)).await.unwrap().unwrap().name
}

#[tokio::test]
async fn a_record_says_what_codex_knows() {
    let folder = recorded();
    let find = async |thread: &str| CodexRecord::find(folder.path(), id(thread)).await.unwrap();
    let named = find(NAMED).await.unwrap();
    assert_eq!(named.database, folder.path().join("state_5.sqlite"));
    assert_eq!((named.name.as_deref(), named.archived), (Some("A name of Codex"), false));
    let file = format!("/home/dev/.codex/sessions/2026/11/28/rollout-2026-11-28T15-23-31-{NAMED}.jsonl");
    assert_eq!(named.rollout_path, PathBuf::from(file));
    let archived = find(ARCHIVED).await.unwrap();
    assert_eq!((archived.name, archived.archived, archived.sub_agents), (None, true, vec![]));
    assert_eq!(find(PARENT).await.unwrap().sub_agents, [id(SUB_AGENT)]);
    assert_eq!(find(UNKNOWN).await, None);
    // In legacy threads, a name is where the title was.
    assert_eq!(find(NAMED_LEGACY).await.unwrap().name.as_deref(), Some("A name of Codex"));
    assert_eq!(find(PLAIN_LEGACY).await.unwrap().name, None);
}

#[tokio::test]
async fn reading_changes_no_file() {
    let folder = recorded();
    let before = files(folder.path());
    assert_eq!(name_in(folder.path()).await.as_deref(), Some("A name of Codex"));
    assert!(files(folder.path()) == before, "{:?}", files(folder.path()).keys());
}

#[tokio::test]
async fn what_a_running_codex_has_just_written_is_read() {
    let folder = recorded();
    let mut codex = rename(folder.path(), "renamed").await;
    let before: Vec<PathBuf> = files(folder.path()).into_keys().collect();
    assert_eq!(before.len(), 3, "{before:?}");
    assert_eq!(name_in(folder.path()).await.as_deref(), Some("renamed"));
    assert_eq!(files(folder.path()).into_keys().collect::<Vec<_>>(), before);
    // The reader has released everything: Codex writes on, and empties its log.
    sqlx::query("UPDATE threads SET name = 'again'").execute(&mut codex).await.unwrap();
    let (busy, _, _): (i64, i64, i64) =
        sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut codex).await.unwrap();
    assert_eq!(busy, 0);
    assert_eq!(name_in(folder.path()).await.as_deref(), Some("again"));
}

#[tokio::test]
async fn what_an_ended_codex_left_in_its_log_is_read() {
    let (folder, left) = (recorded(), tempfile::tempdir().unwrap());
    let codex = rename(folder.path(), "renamed").await;
    // A copy at this moment is what a Codex leaves that ends without closing its database.
    for name in ["state_5.sqlite", "state_5.sqlite-wal"] {
        fs::copy(folder.path().join(name), left.path().join(name)).unwrap();
    }
    let before = files(left.path());
    assert_eq!(name_in(left.path()).await.as_deref(), Some("renamed"));
    assert!(files(left.path()) == before, "{:?}", files(left.path()).keys());

    fs::copy(folder.path().join("state_5.sqlite-shm"), left.path().join("state_5.sqlite-shm")).unwrap();
    assert_eq!(name_in(left.path()).await.as_deref(), Some("renamed"));
    assert_eq!(files(left.path()).len(), 3);
    drop(codex);
}

#[tokio::test]
async fn the_newest_database_with_a_record_counts() {
    let folder = recorded();
    fs::write(folder.path().join("state_12.sqlite"), "").unwrap();
    assert!(CodexRecord::find(folder.path(), id(NAMED)).await.unwrap().is_some(), "an empty file has no tables");
    fs::copy(folder.path().join("state_5.sqlite"), folder.path().join("state_10.sqlite")).unwrap();
    let found = CodexRecord::find(folder.path(), id(NAMED)).await.unwrap().unwrap();
    assert_eq!(found.database, folder.path().join("state_10.sqlite"));
    fs::write(folder.path().join("state_10.sqlite"), "this is no database, and long enough to look like one").unwrap();
    let error = CodexRecord::find(folder.path(), id(NAMED)).await.unwrap_err();
    assert!(error.to_string().contains("state_10.sqlite"), "{error}");
}

#[tokio::test]
async fn older_databases_have_fewer_columns() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(CodexRecord::find(&folder.path().join("missing"), id(NAMED)).await.unwrap(), None);
    let options = SqliteConnectOptions::new().filename(folder.path().join("state_1.sqlite")).create_if_missing(true);
    let mut old = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::query("CREATE TABLE other (id TEXT)").execute(&mut old).await.unwrap();
    assert_eq!(CodexRecord::find(folder.path(), id(NAMED)).await.unwrap(), None);
    sqlx::query("CREATE TABLE threads (id TEXT PRIMARY KEY, rollout_path TEXT)").execute(&mut old).await.unwrap();
    sqlx::query("INSERT INTO threads VALUES (?1, '/a')").bind(NAMED).execute(&mut old).await.unwrap();
    old.close().await.unwrap();
    let found = CodexRecord::find(folder.path(), id(NAMED)).await.unwrap().unwrap();
    assert_eq!((found.rollout_path, found.archived, found.name), (PathBuf::from("/a"), false, None));
}
