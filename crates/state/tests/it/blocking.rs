//! Files are read on the blocking thread pool, and while no transaction is open.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use selvedge_protocol::{ItemQuery, SearchOrder, SearchQuery, ThreadId, ThreadQuery, TurnQuery};
use selvedge_rollout::{NameIndex, now};
use selvedge_state::StateIndex;
use sqlx::{Connection, SqliteConnection};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::homes::{Home, append, story};

/// Runs a test in a runtime with one thread for async code, and one for blocking work.
fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build();
    runtime.unwrap().block_on(test);
}

/// Occupies the one thread for blocking work until it is released, as a slow file would.
struct Occupied {
    release: mpsc::Sender<()>,
}

impl Occupied {
    fn new() -> Self {
        let (release, released) = mpsc::channel();
        spawn_blocking(move || released.recv());
        Self { release }
    }

    fn release(self) {
        self.release.send(()).unwrap();
    }
}

/// Waits until a task waits for files, and checks that timers continue meanwhile.
async fn wait_for_files<T>(task: &JoinHandle<T>) {
    let ticks = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&ticks);
    let ticker = tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(5)).await;
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    // A busy machine needs longer.
    for _ in 0..100 {
        if ticks.load(Ordering::Relaxed) > 10 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    ticker.abort();
    assert!(!task.is_finished(), "it waits for files");
    assert!(ticks.load(Ordering::Relaxed) > 10, "a timer was delayed");
}

async fn connect(path: &Path) -> SqliteConnection {
    let mut connection = SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.unwrap();
    sqlx::query("PRAGMA busy_timeout = 0").execute(&mut connection).await.unwrap();
    connection
}

/// Returns whether no reader holds an old state of the database, so that its log can be truncated. On a busy machine, a task may be
/// about to end its transaction.
async fn has_no_reader(path: &Path) -> bool {
    for _ in 0..50 {
        if can_be_truncated(path).await {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    false
}

async fn can_be_truncated(path: &Path) -> bool {
    let mut connection = connect(path).await;
    let sql = "PRAGMA wal_checkpoint(TRUNCATE)";
    let (busy, ..): (i64, i64, i64) = sqlx::query_as(sql).fetch_one(&mut connection).await.unwrap();
    busy == 0
}

/// Writes to the database, so that every later reader reads from its log.
async fn write_anything(path: &Path) {
    try_write(path).await.unwrap();
}

async fn try_write(path: &Path) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE clearings SET count = count").execute(&mut connect(path).await).await.map(drop)
}

/// Returns a home whose index knows a thread that has grown since, with the id and the path of the thread.
async fn grown() -> (Home, ThreadId, PathBuf, StateIndex) {
    let home = Home::new();
    let (id, path) = home.legacy_thread();
    append(&path, &(story(0) + &story(1)));
    let index = home.index().await;
    index.update(|_| {}).await.unwrap();
    append(&path, &story(2));
    write_anything(&home.index_path()).await;
    (home, id, path, index)
}

#[test]
fn no_transaction_is_open_while_turns_and_items_are_read() {
    run(async {
        let (home, id, _, index) = grown().await;
        let occupied = Occupied::new();
        let (turns, items) = (index.clone(), index.clone());
        let turns = tokio::spawn(async move { turns.list_turns(&TurnQuery::all(id), false).await });
        let items = tokio::spawn(async move { items.list_items(&ItemQuery::all(id), false).await });
        wait_for_files(&turns).await;
        wait_for_files(&items).await;
        assert!(has_no_reader(&home.index_path()).await);
        occupied.release();
        assert_eq!(turns.await.unwrap().unwrap().unwrap().items.len(), 3);
        assert_eq!(items.await.unwrap().unwrap().unwrap().items.len(), 6);
    });
}

#[test]
fn a_log_that_is_indexed_during_a_query_is_read_again() {
    run(async {
        let (home, id, path, index) = grown().await;
        let occupied = Occupied::new();
        let reading = index.clone();
        let turns = tokio::spawn(async move { reading.list_turns(&TurnQuery::all(id), false).await });
        wait_for_files(&turns).await;
        // The query reads what was appended, which by then is also in the index.
        append(&path, &story(3));
        occupied.release();
        home.index().await.update(|_| {}).await.unwrap();
        let turns = turns.await.unwrap().unwrap().unwrap().items;
        assert!((3..=4).contains(&turns.len()), "{turns:?}");
        assert_eq!(index.list_turns(&TurnQuery::all(id), false).await.unwrap().unwrap().items.len(), 4);
    });
}

#[test]
fn files_are_statted_on_the_blocking_thread_pool() {
    run(async {
        let (_home, id, path, index) = grown().await;
        let occupied = Occupied::new();
        let reading = index.clone();
        let turns = tokio::spawn(async move { reading.list_turns(&TurnQuery::all(id), false).await });
        wait_for_files(&turns).await;
        std::fs::remove_file(path).unwrap();
        occupied.release();
        assert_eq!(turns.await.unwrap().unwrap(), None, "the file is gone before it is statted");
    });
}

#[test]
fn no_transaction_is_open_while_hits_are_read() {
    for order in [SearchOrder::Sorted, SearchOrder::Best] {
        run(async move {
            let (home, id, _, index) = grown().await;
            let occupied = Occupied::new();
            let query = SearchQuery { order, ..SearchQuery::new("question") };
            let searching = index.clone();
            let hits = tokio::spawn(async move { searching.search_threads(&query).await });
            wait_for_files(&hits).await;
            assert!(has_no_reader(&home.index_path()).await);
            occupied.release();
            let hits = hits.await.unwrap().unwrap().unwrap().items;
            assert!(!hits.is_empty() && hits.iter().all(|hit| hit.thread.id == id), "{hits:?}");
        });
    }
}

#[cfg(unix)]
#[test]
fn other_processes_can_write_while_names_are_read() {
    run(async {
        let (home, id, ..) = grown().await;
        let index = home.index().await;
        // A slow name index: it opens only when another process opens it to write.
        let names = home.home.name_index_path();
        let _ = std::fs::remove_file(&names);
        let made = std::process::Command::new("mkfifo").arg(&names).status();
        assert!(made.unwrap().success());
        let refreshing = index.clone();
        let refresh = tokio::spawn(async move { refreshing.refresh(u64::MAX).await });
        wait_for_files(&refresh).await;
        let written = try_write(&home.index_path()).await;
        let has_no_reader = has_no_reader(&home.index_path()).await;
        drop(std::fs::File::options().write(true).open(&names).unwrap());
        written.unwrap();
        assert!(has_no_reader);
        // A pipe cannot be read from an offset.
        assert!(refresh.await.unwrap().is_err());
        std::fs::remove_file(&names).unwrap();
        NameIndex::set(&home.home, id, Some("new"), now()).unwrap();
        index.refresh(u64::MAX).await.unwrap();
        assert_eq!(index.read_thread(id).await.unwrap().unwrap().name.as_deref(), Some("new"));
    });
}

#[test]
fn a_ranking_continues_after_the_index_was_busy_for_a_moment() {
    run(async {
        let home = Home::new();
        for number in 0..3 {
            let (_, path) = home.legacy_thread();
            append(&path, &story(number));
        }
        let index = home.index().await;
        index.update(|_| {}).await.unwrap();
        let threads = ThreadQuery { limit: 1, ..ThreadQuery::default() };
        let first = SearchQuery { threads, ..SearchQuery::new("question") };
        let cursor = index.search_threads(&first).await.unwrap().unwrap().next_cursor;
        let threads = ThreadQuery { cursor, ..first.threads.clone() };
        let second = SearchQuery { threads, ..first.clone() };
        assert!(StateIndex::is_ranked_here(&second));

        // As many searches as there are connections, all of which wait for files.
        let occupied = Occupied::new();
        let search = |query: &SearchQuery| {
            let (index, query) = (index.clone(), query.clone());
            tokio::spawn(async move { index.search_threads(&query).await })
        };
        let others: Vec<_> = (0..3).map(|_| search(&first)).collect();
        wait_for_files(&others[0]).await;
        let (continuing, query) = (index.clone(), second.clone());
        let page = tokio::spawn(async move { continuing.continue_ranking(&query).await });
        // Longer than a query waits for a connection.
        tokio::time::sleep(Duration::from_millis(1300)).await;
        assert!(!page.is_finished());
        occupied.release();
        let page = page.await.unwrap().unwrap().unwrap();
        assert_eq!(page, index.search_threads(&second).await.unwrap().unwrap());
        assert_eq!(page.items.len(), 1);

        index.clear().await.unwrap();
        assert_eq!(index.continue_ranking(&second).await.unwrap(), None, "the ranking is gone");
        index.close().await;
        assert!(index.continue_ranking(&second).await.is_err(), "a query of a closed index does not wait");
    });
}
