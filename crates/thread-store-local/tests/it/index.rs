//! The index agrees with the logs, for every recorded home and in every state of the index.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use selvedge_protocol::{
    ArchivedFilter, Cursor, SearchQuery, SortDirection, ThreadId, ThreadMetadataPatch, ThreadQuery, ThreadSortKey,
};
use selvedge_rollout::RolloutHome;
use selvedge_state::StateIndex;
use selvedge_thread_store::{MetadataOrigin, StoreError, ThreadReader, ThreadStore};
use selvedge_thread_store_local::{IndexLocation, LocalThreadStore};

use crate::home::{TestHome, all_recordings};
use selvedge_thread_store_conformance::fixtures::{MODES, id, record};

#[tokio::test]
async fn the_index_lists_what_the_logs_list() {
    for folder in all_recordings() {
        let home = TestHome::recorded(&folder).without_index();
        let rollouts = RolloutHome::new(home.path());
        let index = StateIndex::open(&rollouts, &StateIndex::path_in(&rollouts)).await.unwrap();
        index.update(|_| {}).await.unwrap();
        for sort in [ThreadSortKey::CreatedAt, ThreadSortKey::UpdatedAt, ThreadSortKey::RecencyAt] {
            for direction in [SortDirection::Ascending, SortDirection::Descending] {
                let archived = ArchivedFilter::All;
                let query = ThreadQuery { sort, direction, archived, limit: 1000, ..ThreadQuery::default() };
                let from_logs = home.store.list_threads(&query).await.unwrap();
                assert!(!from_logs.items.is_empty(), "{folder}");
                assert_eq!(index.list_threads(&query).await.unwrap(), from_logs, "{folder}");
            }
        }
    }
}

/// Returns all pages of a listing.
async fn listed(store: &LocalThreadStore) -> Vec<ThreadId> {
    let query = ThreadQuery { archived: ArchivedFilter::All, limit: 1000, ..ThreadQuery::default() };
    store.list_threads(&query).await.unwrap().items.iter().map(|thread| thread.id).collect()
}

fn index_path(home: &TestHome) -> PathBuf {
    home.path().join("selvedge-index.sqlite")
}

/// Opens a connection of another process to the index.
async fn connection(home: &TestHome) -> sqlx::SqliteConnection {
    sqlx::Connection::connect(&format!("sqlite://{}", index_path(home).display())).await.unwrap()
}

#[tokio::test]
async fn the_first_query_creates_a_private_index_and_opening_does_not() {
    let home = TestHome::empty();
    assert_eq!(listed(&home.store).await, []);
    assert!(!index_path(&home).exists(), "there is nothing to index");
    record(&home.store, 1, MODES[0], &["a"]).await;
    assert_eq!(listed(&home.store).await, [id(1)]);
    for end in ["", "-wal", "-shm"] {
        let path = PathBuf::from(format!("{}{end}", index_path(&home).display()));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{end}");
    }
    let elsewhere = home.path().join("elsewhere.sqlite");
    let store = LocalThreadStore::open_with(home.path(), IndexLocation::At(elsewhere.clone()));
    assert_eq!(listed(&store).await, [id(1)]);
    assert!(elsewhere.exists());
}

#[tokio::test]
async fn the_index_answers_what_was_just_written() {
    let home = TestHome::empty();
    let other = home.other();
    for n in 1..=3 {
        record(&home.store, n, MODES[1], &["a"]).await;
        assert_eq!(listed(&home.store).await.len(), n as usize);
        assert_eq!(listed(&other).await.len(), n as usize);
    }
    home.store.archive_thread(id(1)).await.unwrap();
    assert!(other.read_thread(id(1)).await.unwrap().archived);
    home.store.delete_thread(id(2)).await.unwrap();
    assert_eq!(listed(&other).await.len(), 2);
    let patch = ThreadMetadataPatch { name: Some(Some("called".to_owned())), ..ThreadMetadataPatch::default() };
    home.store.update_thread_metadata(id(3), &patch, MetadataOrigin::Explicit).await.unwrap();
    let named = ThreadQuery { named: Some(true), ..ThreadQuery::default() };
    assert_eq!(other.list_threads(&named).await.unwrap().items[0].name.as_deref(), Some("called"));
}

/// A store that writes and never queries updates the index, too.
#[tokio::test]
async fn writes_of_a_store_are_soon_in_the_index() {
    let home = TestHome::empty();
    record(&home.store, 1, MODES[0], &["a"]).await;
    listed(&home.store).await;
    record(&home.store, 2, MODES[0], &["a"]).await;
    let mut connection = connection(&home).await;
    for _ in 0..600 {
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM threads").fetch_one(&mut connection).await.unwrap();
        if count == 2 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the index was not updated");
}

#[tokio::test]
async fn a_ranking_continues_where_it_began() {
    let home = TestHome::empty();
    for n in 1..=3 {
        record(&home.store, n, MODES[0], &["needle"]).await;
    }
    let logs = LocalThreadStore::open_with(home.path(), IndexLocation::Disabled);
    let threads = ThreadQuery { limit: 1, ..ThreadQuery::default() };
    let first = SearchQuery { threads, hits_per_thread: 1, ..SearchQuery::new("needle") };
    let next = |cursor| SearchQuery { threads: ThreadQuery { cursor, ..first.threads.clone() }, ..first.clone() };
    let pages = [&home.store, &logs].map(async |store| store.search_threads(&first).await.unwrap());
    let [from_index, from_logs] = pages;
    let (from_index, from_logs) = (from_index.await, from_logs.await);
    assert_ne!(from_index.next_cursor, from_logs.next_cursor, "the index and the logs rank differently");
    assert_eq!(home.store.search_threads(&next(from_index.next_cursor.clone())).await.unwrap().items.len(), 1);
    assert_eq!(home.store.search_threads(&next(from_logs.next_cursor)).await.unwrap().items.len(), 1);
    let refused = logs.search_threads(&next(from_index.next_cursor)).await.unwrap_err();
    assert!(refused.to_string().contains("begin with the first page"), "{refused}");
    let malformed = home.store.search_threads(&next(Some(Cursor::from("x1/nonsense".to_owned())))).await.unwrap_err();
    assert!(malformed.to_string().contains("x1/nonsense"), "{malformed}");
}

/// Returns a search for the best threads, one per page.
fn one_by_one(cursor: Option<Cursor>) -> SearchQuery {
    let threads = ThreadQuery { limit: 1, cursor, ..ThreadQuery::default() };
    SearchQuery { threads, hits_per_thread: 1, ..SearchQuery::new("needle") }
}

/// Returns a home with threads that a search finds, and the cursor of the second page.
async fn ranked(count: u32) -> (TestHome, Cursor) {
    let home = TestHome::empty();
    for n in 1..=count {
        record(&home.store, n, MODES[0], &["needle"]).await;
    }
    let first = home.store.search_threads(&one_by_one(None)).await.unwrap();
    assert_eq!(first.items.len(), 1);
    (home, first.next_cursor.unwrap())
}

#[tokio::test]
async fn a_ranking_continues_while_others_write() {
    let (home, cursor) = ranked(3).await;
    let second = home.store.search_threads(&one_by_one(Some(cursor.clone()))).await.unwrap();
    let mut connection = connection(&home).await;
    sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await.unwrap();
    // A change that a refresh would have to read first.
    record(&home.other(), 4, MODES[0], &["another"]).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut shortest = Duration::MAX;
    for _ in 0..10 {
        let started = Instant::now();
        assert_eq!(home.store.search_threads(&one_by_one(Some(cursor.clone()))).await.unwrap(), second);
        shortest = shortest.min(started.elapsed());
    }
    assert!(shortest < Duration::from_millis(200), "{shortest:?}");
}

#[tokio::test]
async fn the_cursor_of_a_ranking_that_is_gone_expires_immediately() {
    let mut shortest = [Duration::MAX; 2];
    for _ in 0..5 {
        let (home, cursor) = ranked(2).await;
        let rollouts = RolloutHome::new(home.path());
        let index = StateIndex::open(&rollouts, &index_path(&home)).await.unwrap();
        index.clear().await.unwrap();
        let other = home.other();
        for (n, store) in [&home.store, &other].into_iter().enumerate() {
            if n == 1 {
                // Another process deletes the file, and this one has not opened it yet.
                index.close().await;
                home.store.close().await;
                std::fs::remove_file(index_path(&home)).unwrap();
            }
            let started = Instant::now();
            let error = store.search_threads(&one_by_one(Some(cursor.clone()))).await.unwrap_err();
            shortest[n] = shortest[n].min(started.elapsed());
            assert!(matches!(error, StoreError::CursorExpired { .. }), "{error:?}");
        }
        assert_eq!(other.search_threads(&one_by_one(None)).await.unwrap().items.len(), 1, "a new ranking begins");
    }
    assert!(shortest.iter().max() < Some(&Duration::from_millis(250)), "{shortest:?}");
}

/// Appends update the index, between pages and during one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ranking_shows_each_thread_once_while_others_append() {
    let (home, _) = ranked(25).await;
    let other = home.other();
    let writing = tokio::spawn(async move {
        for n in 100.. {
            record(&other, n, MODES[0], &["needle"]).await;
            listed(&other).await;
        }
    });
    let mut shown: Vec<ThreadId> = Vec::new();
    let mut cursor = None;
    loop {
        let page = home.store.search_threads(&one_by_one(cursor)).await.unwrap();
        shown.extend(page.items.iter().map(|hit| hit.thread.id));
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(!writing.is_finished());
    writing.abort();
    for n in 1..=25 {
        assert_eq!(shown.iter().filter(|shown| **shown == id(n)).count(), 1, "{n}");
    }
}

#[tokio::test]
async fn the_logs_answer_while_others_hold_the_index() {
    let home = TestHome::empty();
    record(&home.store, 1, MODES[0], &["a"]).await;
    assert_eq!(listed(&home.store).await, [id(1)]);
    let mut connection = connection(&home).await;
    sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await.unwrap();
    record(&home.other(), 2, MODES[0], &["a"]).await;
    let started = Instant::now();
    assert_eq!(listed(&home.store).await.len(), 2);
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
    sqlx::query("ROLLBACK").execute(&mut connection).await.unwrap();
    assert_eq!(listed(&home.store).await.len(), 2);
}

#[tokio::test]
async fn a_damaged_index_is_set_aside_and_created_again() {
    for damage in [&b"no database"[..], &[0; 8192], b""] {
        let home = TestHome::empty();
        record(&home.store, 1, MODES[0], &["a"]).await;
        assert_eq!(listed(&home.store).await, [id(1)]);
        home.store.close().await;
        for end in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{end}", index_path(&home).display()));
        }
        std::fs::write(index_path(&home), damage).unwrap();
        let store = home.other();
        assert_eq!(listed(&store).await, [id(1)]);
        let mut connection = connection(&home).await;
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM threads").fetch_one(&mut connection).await.unwrap();
        assert_eq!(count, 1);
        let kept = std::fs::read_dir(home.path()).unwrap().flatten();
        let kept: Vec<String> = kept.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        // The files that SQLite keeps beside a database are set aside with it.
        let is_kept =
            |name: &&String| name.contains(".set-aside-") && !name.ends_with("-wal") && !name.ends_with("-shm");
        // An empty file is not kept.
        if !damage.is_empty() {
            assert_eq!(kept.iter().filter(is_kept).count(), 1, "{damage:?} {kept:?}");
        }
    }
}

#[tokio::test]
async fn the_logs_answer_where_no_index_can_be_created() {
    let home = TestHome::empty();
    record(&home.store, 1, MODES[0], &["a"]).await;
    let location = IndexLocation::At(home.path().join("missing/index.sqlite"));
    let store = LocalThreadStore::open_with(home.path(), location);
    assert_eq!(listed(&store).await, [id(1)]);
}

#[tokio::test]
async fn the_logs_of_a_large_home_answer_while_the_index_is_filled() {
    let home = TestHome::empty();
    for n in 1..=300_u32 {
        let thread_id =
            ThreadId::from_uuid(uuid::Uuid::from_u128(0x01a1_fd5d_0000_7000_8000_0000_0000_0000 + u128::from(n)));
        home.put(thread_id, format!("{{\"timestamp\":\"2026-11-21T09:09:03.000Z\",\"type\":\"session_meta\",\"payload\":{{\"id\":\"{thread_id}\"}}}}\n"));
    }
    let first = listed(&home.store).await;
    assert_eq!(first.len(), 300);
    for _ in 0..1500 {
        if home.store.admin().index_progress().is_none()
            && sqlx::query("SELECT 1 FROM checks").fetch_optional(&mut connection(&home).await).await.unwrap().is_some()
        {
            assert_eq!(listed(&home.store).await, first);
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the index was not filled");
}
