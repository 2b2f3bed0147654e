//! Readers while somebody writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use selvedge_protocol::{
    HistoryMode, ResponseItem, RolloutItem, SearchQuery, StatsQuery, ThreadMetadataPatch, ThreadQuery,
};
use selvedge_thread_store::{BatchId, MetadataOrigin, RevertThread, ThreadStore, TurnBoundary};

use crate::fixtures::{append_and_tell, asked, go_on, head, id, record, turn, turn_id};

const MODE: HistoryMode = HistoryMode::Paginated;

fn numbered(number: usize) -> RolloutItem {
    ResponseItem::user_text(&number.to_string()).into()
}

/// Whatever moment it is, a reader is told the first so many items, and never fewer than before.
pub(super) async fn see_a_prefix(store: Arc<dyn ThreadStore>, other: Arc<dyn ThreadStore>) {
    const BATCHES: usize = 60;
    const SIZE: usize = 20;
    store.create_thread(head(1, MODE)).await.unwrap();
    store.persist_thread(id(1)).await.unwrap();
    let is_done = Arc::new(AtomicBool::new(false));
    let writing = {
        let is_done = Arc::clone(&is_done);
        tokio::spawn(async move {
            for batch in 0..BATCHES {
                let items: Vec<_> = (0..SIZE).map(|item| numbered(batch * SIZE + item)).collect();
                store.append_items(id(1), BatchId::generate(), &items).await.unwrap();
                tokio::task::yield_now().await;
            }
            is_done.store(true, Ordering::Relaxed);
            store.shutdown_thread(id(1)).await.unwrap();
        })
    };
    let mut seen = 0;
    loop {
        let is_last = is_done.load(Ordering::Relaxed);
        let history = other.load_history(id(1)).await.unwrap();
        assert_eq!(history.damage, [], "what is being written is no damage");
        let items: Vec<_> = history.lines[1..].iter().map(|line| line.item()).collect();
        assert!(items.len() >= seen, "{} lines after {seen}", items.len());
        for (number, item) in items.iter().enumerate() {
            assert_eq!(*item, numbered(number), "out of order");
        }
        seen = items.len();
        if is_last {
            break;
        }
    }
    writing.await.unwrap();
    assert_eq!(seen, BATCHES * SIZE, "what was acknowledged is readable");
}

/// Whatever moment it is, a reader is told the thread as it was before a revert or as it is after it.
pub(super) async fn see_whole_reverts(store: Arc<dyn ThreadStore>, other: Arc<dyn ThreadStore>) {
    record(&*store, 1, MODE, &["a", "b"]).await;
    let is_done = Arc::new(AtomicBool::new(false));
    let writing = {
        let is_done = Arc::clone(&is_done);
        tokio::spawn(async move {
            for _ in 0..20 {
                let to = TurnBoundary::After(turn_id("a"));
                let request = RevertThread { thread_id: id(1), to, batch: BatchId::generate() };
                store.revert_thread(request).await.unwrap();
                store.resume_thread(id(1)).await.unwrap();
                store.append_items(id(1), BatchId::generate(), &turn(MODE, "b")).await.unwrap();
                store.shutdown_thread(id(1)).await.unwrap();
            }
            is_done.store(true, Ordering::Relaxed);
        })
    };
    while !is_done.load(Ordering::Relaxed) {
        let turns = asked(&*other, id(1)).await;
        assert!(turns == ["a"] || turns == ["a", "b"], "{turns:?}");
    }
    writing.await.unwrap();
    assert_eq!(asked(&*other, id(1)).await, ["a", "b"]);
}

/// After a shutdown, lists, searches and sums say elsewhere what is so. So they do after a flush.
pub(super) async fn lists_are_fresh(store: Arc<dyn ThreadStore>, other: Arc<dyn ThreadStore>) {
    let find = async |text: &str| other.search_threads(&SearchQuery::new(text)).await.unwrap().items.len();
    for round in 1..=3 {
        let name = format!("round{round}");
        let thread = record(&*store, round, MODE, &[&name]).await;
        let listed = other.list_threads(&ThreadQuery::default()).await.unwrap().items;
        assert_eq!(listed.len(), round as usize);
        let row = listed.iter().find(|row| row.id == thread).unwrap();
        assert_eq!(row.preview, Some(format!("ask {name}")));
        assert_eq!(find(&name).await, 2, "a shutdown");
        let total = other.thread_stats(&StatsQuery::default()).await.unwrap().total;
        assert_eq!((total.threads, total.turns), (u64::from(round), u64::from(round)));
    }
    store.resume_thread(id(1)).await.unwrap();
    append_and_tell(&*store, id(1), &turn(MODE, "flushed")).await;
    store.flush_thread(id(1)).await.unwrap();
    assert_eq!(find("flushed").await, 2, "a flush");
    store.shutdown_thread(id(1)).await.unwrap();
}

/// What is read of a thread elsewhere is exact at any time.
pub(super) async fn rows_are_exact(store: Arc<dyn ThreadStore>, other: Arc<dyn ThreadStore>) {
    record(&*store, 1, MODE, &["a"]).await;
    for round in 0..10 {
        let patch = ThreadMetadataPatch {
            name: Some(Some(format!("name {round}"))),
            model: Some(Some(format!("model {round}"))),
            ..Default::default()
        };
        let row = store.update_thread_metadata(id(1), &patch, MetadataOrigin::Explicit).await.unwrap();
        assert_eq!(other.read_thread(id(1)).await.unwrap(), row, "round {round}");
        go_on(&*store, id(1), MODE, &[&format!("turn {round}")]).await;
        assert_eq!(other.read_thread(id(1)).await.unwrap(), store.read_thread(id(1)).await.unwrap(), "round {round}");
    }
}
