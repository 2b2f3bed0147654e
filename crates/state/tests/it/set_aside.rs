//! Files at the path of the index that are not an index, or a damaged one.

use std::fs;

use selvedge_state::StateIndex;
use sqlx::Connection;

use crate::homes::{Home, append, dump, rebuilt, rows, says};

/// Opens the index of the home over a file that cannot be used. Expects the file to be set aside, and a new index.
async fn is_set_aside_and_rebuilt(home: &Home, content: &[u8]) {
    let path = home.index_path();
    let index = home.index().await;
    let kept = &index.set_aside().expect("the file is set aside").kept;
    assert_eq!(fs::read(kept).unwrap(), content, "kept as it was");
    assert!(kept.file_name().unwrap().to_str().unwrap().starts_with("selvedge-index.sqlite.set-aside-2"));
    index.update(|_| {}).await.unwrap();
    index.close().await;
    assert_eq!(dump(&path).await, rebuilt(home).await);
}

#[tokio::test]
async fn a_file_that_is_not_a_database_is_set_aside() {
    let home = Home::new();
    home.thread();
    fs::write(home.index_path(), "no database at all, and longer than a header of one would be".repeat(50)).unwrap();
    let content = fs::read(home.index_path()).unwrap();
    is_set_aside_and_rebuilt(&home, &content).await;
}

#[tokio::test]
async fn a_truncated_index_is_set_aside() {
    let home = Home::new();
    for _ in 0..50 {
        let (_, path) = home.thread();
        append(&path, &says(&"many words ".repeat(200)));
    }
    let index = home.index().await;
    index.update(|_| {}).await.unwrap();
    index.close().await;
    let whole = fs::read(home.index_path()).unwrap();
    // Without the schema on its first page, nothing of it can be used.
    let content = [&whole[..100], &vec![0xff; 4000][..], &whole[4100..whole.len() / 2]].concat();
    fs::write(home.index_path(), &content).unwrap();
    is_set_aside_and_rebuilt(&home, &content).await;
}

#[tokio::test]
async fn the_tables_of_another_program_are_set_aside() {
    let home = Home::new();
    home.thread();
    let url = format!("sqlite://{}?mode=rwc", home.index_path().display());
    let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
    sqlx::query("CREATE TABLE threads (id TEXT)").execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let index = home.index().await;
    assert!(index.set_aside().is_some());
    index.update(|_| {}).await.unwrap();
    assert_eq!(rows(&index).await.len(), 1);
}

#[tokio::test]
async fn an_index_of_another_version_is_set_aside() {
    for change in ["UPDATE _sqlx_migrations SET checksum = x'00'", "UPDATE _sqlx_migrations SET version = 7"] {
        let home = Home::new();
        home.thread();
        let index = home.index().await;
        index.update(|_| {}).await.unwrap();
        index.close().await;
        let url = format!("sqlite://{}", home.index_path().display());
        let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
        sqlx::query(change).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        let index = home.index().await;
        assert!(index.set_aside().is_some(), "{change}");
        index.update(|_| {}).await.unwrap();
        assert_eq!(rows(&index).await.len(), 1);
    }
}

#[tokio::test]
async fn an_intact_index_is_opened_unchanged() {
    let home = Home::new();
    home.thread();
    home.index().await.update(|_| {}).await.unwrap();
    let index = home.index().await;
    assert!(index.set_aside().is_none());
    assert_eq!(rows(&index).await.len(), 1);
    assert_eq!(index.update(|_| {}).await.unwrap().read_whole, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_processes_can_open_and_fill_one_index_at_the_same_time() {
    let home = Home::new();
    for _ in 0..30 {
        home.thread();
    }
    let open_and_sync = || async {
        let index = StateIndex::open(&home.home, &home.index_path()).await.unwrap();
        assert!(index.set_aside().is_none());
        index.update(|_| {}).await.unwrap();
        assert_eq!(rows(&index).await.len(), 30);
    };
    tokio::join!(open_and_sync(), open_and_sync(), open_and_sync(), open_and_sync());
    assert_eq!(dump(&home.index_path()).await, rebuilt(&home).await);
}

#[tokio::test]
async fn a_missing_home_cannot_have_an_index() {
    let home = Home::new();
    let nowhere = home.dir.path().join("nowhere/index.sqlite");
    assert!(StateIndex::open(&home.home, &nowhere).await.is_err());
}
