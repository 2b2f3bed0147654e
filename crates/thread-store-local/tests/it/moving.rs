//! Files that another process moves while they are found and read: into the archive and out of it, or into compressed files.
//! The thread exists all the time, and so does its base.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use selvedge_protocol::{
    ArchivedFilter, HistoryMode, ItemQuery, SearchQuery, StatsQuery, ThreadId, ThreadQuery, TurnBoundary, TurnQuery,
};
use selvedge_rollout::RolloutHome;
use selvedge_rollout::doctor::{Severity, diagnose};
use selvedge_thread_store::{BatchId, ForkThread, RevertThread, ThreadReader, ThreadStore};
use selvedge_thread_store_local::LocalThreadStore;
use tokio::task::spawn_blocking;

use crate::home::TestHome;
use selvedge_thread_store_conformance::fixtures::{MODES, head, id, model_prompts, record, turn_id};

/// The least time for which files are moved to and fro.
const SPAN: Duration = Duration::from_millis(1000);

/// The least number of times that they are moved.
const MOVES: usize = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thread_is_read_whole_while_it_is_archived_and_unarchived() {
    read_while(async |other| {
        other.archive_thread(id(1)).await.unwrap();
        other.unarchive_thread(id(1)).await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thread_is_read_whole_while_it_is_compressed_and_continued() {
    read_while(async |other| {
        other.admin().compress(id(1)).await.unwrap();
        other.resume_thread(id(1)).await.unwrap();
        other.shutdown_thread(id(1)).await.unwrap();
    })
    .await;
}

/// Reads a thread and a fork of it, with and without an index, while another store moves the thread's file.
async fn read_while(to_and_fro: impl AsyncFn(LocalThreadStore) + Copy) {
    for mode in MODES {
        for home in [TestHome::empty(), TestHome::empty().without_index()] {
            record(&home.store, 1, mode, &["a", "b", "c"]).await;
            let request = ForkThread { source: id(1), at: TurnBoundary::Latest, meta: head(2, mode) };
            home.store.fork_thread(request).await.unwrap();
            let (is_over, moves) = (AtomicBool::new(false), AtomicUsize::new(0));
            let mover = async {
                while !is_over.load(Ordering::Relaxed) {
                    to_and_fro(home.other()).await;
                    moves.fetch_add(1, Ordering::Relaxed);
                }
            };
            let reads = async {
                let (start, mut next) = (Instant::now(), 3);
                while start.elapsed() < SPAN || moves.load(Ordering::Relaxed) < MOVES {
                    for thread_id in [id(1), id(2)] {
                        read_whole(&home.store, thread_id, mode, next).await;
                        next += 1;
                    }
                }
                is_over.store(true, Ordering::Relaxed);
            };
            tokio::join!(mover, reads);
        }
    }
}

/// Checks that every way to read the thread returns all of it, and that a fork inherits all of it.
async fn read_whole(store: &LocalThreadStore, thread_id: ThreadId, mode: HistoryMode, fork: u32) {
    let history = store.load_history(thread_id).await.unwrap();
    assert_eq!(history.damage, []);
    assert_eq!(model_prompts(store, thread_id).await, ["a", "b", "c"]);
    assert_eq!(store.read_thread(thread_id).await.unwrap().preview.as_deref(), Some("ask a"));
    assert_eq!(store.list_turns(&TurnQuery::all(thread_id)).await.unwrap().items.len(), 3);
    let all = ThreadQuery { archived: ArchivedFilter::All, ..ThreadQuery::default() };
    let listed = store.list_threads(&all).await.unwrap().items;
    assert_eq!(listed.iter().filter(|thread| thread.preview.as_deref() == Some("ask a")).count(), 2, "{listed:?}");
    let items = store.list_items(&ItemQuery::all(thread_id)).await.unwrap().items;
    assert_eq!(items.len(), 6, "{items:?}");
    let query = SearchQuery { threads: all.clone(), ..SearchQuery::new("ask c") };
    let hits = store.search_threads(&query).await.unwrap().items;
    assert_eq!(hits.len(), 2, "{hits:?}");
    let sums = store.thread_stats(&StatsQuery { threads: all, ..StatsQuery::default() }).await.unwrap().total;
    assert_eq!((sums.threads, sums.turns), (2, 3), "what the fork inherited counts once");
    let mut exported = Vec::new();
    store.export(thread_id, &mut exported).await.unwrap();
    let exported = String::from_utf8(exported).unwrap();
    let head_now = store.read_session_meta(thread_id).await.unwrap().unwrap();
    assert_eq!(head_now.id, Some(thread_id));
    assert!(["ask a", "ask b", "ask c"].iter().all(|text| exported.contains(text)), "{exported}");
    let request = ForkThread { source: thread_id, at: TurnBoundary::After(turn_id("b")), meta: head(fork, mode) };
    store.fork_thread(request).await.unwrap();
    assert_eq!(model_prompts(store, id(fork)).await, ["a", "b"]);
    let request = RevertThread { thread_id: id(fork), to: TurnBoundary::BeforeNewest(1), batch: BatchId::generate() };
    assert_eq!(store.revert_thread(request).await.unwrap(), 1);
    store.detach_thread(id(fork)).await.unwrap();
    assert_eq!(model_prompts(store, id(fork)).await, ["a"]);
    store.delete_thread(id(fork)).await.unwrap();
    let home = RolloutHome::new(store.home());
    let found = spawn_blocking(move || diagnose(&home, None, &|_| {})).await.unwrap().unwrap().findings;
    assert!(found.iter().all(|finding| finding.severity != Severity::Fault), "{found:?}");
}
