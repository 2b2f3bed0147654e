//! What a check of the index finds, and how a repair puts it right.

use std::collections::HashSet;
use std::fs;
use std::time::Duration;

use selvedge_protocol::ThreadId;
use selvedge_rollout::doctor::Severity;
use selvedge_rollout::{NameIndex, now};
use selvedge_state::{CheckScope, IndexCheck, StateIndex};
use sqlx::Connection;

use crate::homes::{Home, append, dump, rebuilt, recorded, says, story};

/// How long a directory must be unchanged before the index relies on its stamp, and a little more.
const SETTLED: Duration = Duration::from_millis(3050);

async fn check(home: &Home) -> IndexCheck {
    let scope = CheckScope { deep: true, ..CheckScope::default() };
    StateIndex::check(&home.home, &home.index_path(), &scope).await.unwrap()
}

fn kinds(check: &IndexCheck) -> Vec<&str> {
    check.findings.iter().map(|finding| finding.kind.as_str()).collect()
}

/// Returns a home with an index that is up to date.
async fn known(count: usize) -> (Home, Vec<ThreadId>) {
    let home = Home::new();
    let threads: Vec<_> = (0..count).map(|_| home.thread()).collect();
    for (_, path) in &threads {
        append(path, &(says("hello") + &story(0) + &story(10) + &story(16)));
    }
    let index = home.index().await;
    index.update(|_| {}).await.unwrap();
    index.close().await;
    (home, threads.into_iter().map(|(id, _)| id).collect())
}

async fn tamper(home: &Home, sql: &str) {
    let url = format!("sqlite://{}", home.index_path().display());
    let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// Repairs the index, and expects it to have the same rows as a new one.
async fn is_repaired(home: &Home, found: &IndexCheck) {
    StateIndex::repair(&home.home, found).await.unwrap();
    let left = check(home).await;
    assert_eq!(kinds(&left), Vec::<&str>::new(), "{left:?}");
    assert_eq!(dump(&home.index_path()).await, rebuilt(home).await);
}

#[tokio::test]
async fn an_index_of_every_recorded_home_is_in_order() {
    for (name, home) in recorded() {
        let index = home.index().await;
        index.update(|_| {}).await.unwrap();
        index.close().await;
        let bytes = fs::read(home.index_path()).unwrap();
        let found = check(&home).await;
        assert_eq!(found.findings, [], "{name}");
        assert_eq!(found.threads, home.home.files().unwrap().threads().count() as u64, "{name}");
        assert_eq!(fs::read(home.index_path()).unwrap(), bytes, "{name}: a check changes nothing");
    }
}

#[tokio::test]
async fn an_index_that_was_updated_incrementally_is_in_order() {
    let (home, _) = known(3).await;
    for number in 0..40 {
        for (_, files) in home.home.files().unwrap().threads() {
            append(&files[0].path, &story(number * 7 % 200));
        }
        let index = home.index().await;
        index.update(|_| {}).await.unwrap();
        index.close().await;
    }
    assert_eq!(check(&home).await.findings, []);
}

#[tokio::test]
async fn a_stale_index_is_not_a_fault() {
    let (home, threads) = known(3).await;
    home.thread();
    let files = home.home.files().unwrap();
    append(&files.segments(threads[0])[0].path, &says("more"));
    NameIndex::set(&home.home, threads[1], Some("called"), now()).unwrap();
    let found = check(&home).await;
    assert_eq!(kinds(&found), ["not_taken_in", "changed", "stale_names"]);
    assert!(found.findings.iter().all(|finding| finding.thread_id.is_none()));
    let scope = CheckScope { threads: Some(HashSet::from([threads[2]])), deep: true };
    let of_one = StateIndex::check(&home.home, &home.index_path(), &scope).await.unwrap();
    assert_eq!(of_one.findings, [], "other threads are not checked");
    is_repaired(&home, &found).await;
}

#[tokio::test]
async fn an_index_that_was_never_filled_is_not_a_fault() {
    let home = Home::new();
    home.thread();
    assert!(!check(&home).await.exists);
    assert!(!home.index_path().exists(), "a check creates no file");
    home.index().await.close().await;
    let found = check(&home).await;
    assert_eq!(kinds(&found), ["unfilled", "not_taken_in"]);
    is_repaired(&home, &found).await;
}

#[tokio::test]
async fn a_row_of_a_deleted_thread_is_stale() {
    let (home, threads) = known(2).await;
    fs::remove_file(&home.home.files().unwrap().segments(threads[1])[0].path).unwrap();
    let found = check(&home).await;
    assert_eq!((kinds(&found), found.findings[0].severity), (vec!["deleted"], Severity::Notice));
    is_repaired(&home, &found).await;
}

#[tokio::test]
async fn a_row_without_a_file_in_a_complete_index_is_found() {
    let (home, _) = known(2).await;
    // A directory that changed just now could change again with the same stamp, so that the index does not rely on it yet.
    tokio::time::sleep(SETTLED).await;
    let index = home.index().await;
    index.update(|_| {}).await.unwrap();
    index.close().await;
    let sql = "INSERT INTO segments SELECT 'sessions/none', x'01a1fd5d000070008000000000000000', \
        x'01a1fd5d000070008000000000000000', 1, size, modified_ns, inode, indexed_bytes, last_line_start, last_line_hash \
        FROM segments LIMIT 1; \
        CREATE TEMP TABLE copied AS SELECT * FROM threads LIMIT 1; \
        UPDATE copied SET id = x'01a1fd5d000070008000000000000000'; INSERT INTO threads SELECT * FROM copied";
    tamper(&home, sql).await;
    let found = check(&home).await;
    assert_eq!((kinds(&found), found.findings[0].severity), (vec!["row_without_file"], Severity::Fault));
    is_repaired(&home, &found).await;
}

#[tokio::test]
async fn wrong_rows_are_found_and_repaired() {
    for (sql, kind) in [
        ("UPDATE threads SET path = 'sessions/elsewhere.jsonl'", "wrong_row"),
        ("UPDATE threads SET archived = 1", "wrong_row"),
        ("UPDATE threads SET record = json_set(record, '$.preview', 'something else')", "wrong_row"),
        ("UPDATE threads SET model = 'another'", "wrong_row"),
        ("UPDATE threads SET created_at = created_at + 1", "wrong_row"),
        ("DELETE FROM turns WHERE place = 1", "wrong_row"),
        ("UPDATE turns SET start_byte = start_byte + 1 WHERE place = 1", "wrong_row"),
        ("DELETE FROM search_threads", "wrong_row"),
        ("UPDATE search_threads SET until = 0", "wrong_row"),
        ("UPDATE threads SET name = 'made up'", "wrong_name"),
    ] {
        let (home, threads) = known(2).await;
        let one = threads[0].as_uuid().simple().to_string();
        let column = if sql.starts_with("UPDATE threads") { "id" } else { "thread_id" };
        let word = if sql.contains("WHERE") { "AND" } else { "WHERE" };
        tamper(&home, &format!("{sql} {word} {column} = x'{one}'")).await;
        let found = check(&home).await;
        assert_eq!((kinds(&found), found.findings[0].thread_id), (vec![kind], Some(threads[0])), "{sql}");
        is_repaired(&home, &found).await;
    }
}

#[tokio::test]
async fn words_that_are_not_in_the_log_are_found_and_repaired() {
    let (home, _) = known(2).await;
    let sql = "UPDATE search_blocks SET words = CAST(replace(CAST(words AS TEXT), 'said', 'laid') AS BLOB)";
    tamper(&home, sql).await;
    let found = check(&home).await;
    assert_eq!(kinds(&found), ["wrong_row", "wrong_row"]);
    is_repaired(&home, &found).await;
}

#[tokio::test]
async fn a_row_that_is_missing_from_a_complete_index_is_found() {
    let (home, threads) = known(2).await;
    // A directory that changed just now could change again with the same stamp, so that the index does not rely on it yet.
    tokio::time::sleep(SETTLED).await;
    for tables in [&["threads"][..], &["threads", "segments", "turns"]] {
        let index = home.index().await;
        index.update(|_| {}).await.unwrap();
        index.close().await;
        let one = threads[0].as_uuid().simple().to_string();
        for table in tables {
            let column = if *table == "threads" { "id" } else { "thread_id" };
            tamper(&home, &format!("DELETE FROM {table} WHERE {column} = x'{one}'")).await;
        }
        let found = check(&home).await;
        assert_eq!((kinds(&found), found.findings[0].thread_id), (vec!["missing_row"], Some(threads[0])));
        is_repaired(&home, &found).await;
    }
}

#[tokio::test]
async fn a_file_that_is_not_an_index_stays_until_a_repair_sets_it_aside() {
    for content in ["my notes".repeat(1000).into_bytes(), b"short".to_vec()] {
        let home = Home::new();
        home.thread();
        fs::write(home.index_path(), &content).unwrap();
        let found = check(&home).await;
        assert_eq!(kinds(&found), ["unusable_index"]);
        assert_eq!(fs::read(home.index_path()).unwrap(), content);
        let repair = StateIndex::repair(&home.home, &found).await.unwrap();
        assert_eq!(fs::read(repair.set_aside.unwrap().kept).unwrap(), content);
        assert_eq!(repair.report.read_whole, 1);
        assert_eq!(check(&home).await.findings, []);
    }
}

#[tokio::test]
async fn foreign_truncated_and_outdated_databases_are_found_and_repaired() {
    let home = Home::new();
    home.thread();
    let url = format!("sqlite://{}?mode=rwc", home.index_path().display());
    let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
    sqlx::query("CREATE TABLE recipes (id TEXT)").execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let bytes = fs::read(home.index_path()).unwrap();
    let found = check(&home).await;
    assert_eq!(kinds(&found), ["unusable_index"]);
    assert_eq!(fs::read(home.index_path()).unwrap(), bytes);
    is_repaired(&home, &found).await;

    let (home, _) = known(2).await;
    tamper(&home, "UPDATE _sqlx_migrations SET checksum = x'00'").await;
    let found = check(&home).await;
    assert_eq!(kinds(&found), ["other_version"]);
    is_repaired(&home, &found).await;

    let (home, _) = known(40).await;
    let whole = fs::read(home.index_path()).unwrap();
    fs::write(home.index_path(), &whole[..whole.len() / 4096 / 2 * 4096]).unwrap();
    let found = check(&home).await;
    assert_eq!(kinds(&found), ["unusable_index"], "{found:?}");
    is_repaired(&home, &found).await;
}
