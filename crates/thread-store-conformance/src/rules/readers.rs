//! Rules about readers while another process writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use selvedge_protocol::{
    HistoryMode, ResponseItem, RolloutItem, SearchQuery, StatsQuery, ThreadMetadataPatch, ThreadQuery, TurnBoundary,
};
use selvedge_thread_store::{BatchId, MetadataOrigin, RevertThread, ThreadStore};

use crate::fixtures::{append_with_metadata, continue_thread, head, id, record, shown_prompts, turn, turn_id};

const MODE: HistoryMode = HistoryMode::Paginated;

fn numbered(number: usize) -> RolloutItem {
    ResponseItem::user_text(&number.to_string()).into()
}

pub(super) async fn see_a_prefix(store: Arc<dyn ThreadStore>, other: Arc<dyn ThreadStore>) {
    // Items are numbered. At any moment, a reader must get the items from 0 on without a gap, and never fewer than before.
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
        // The flag is read before the history. So the last read begins after the last append.
        let is_last = is_done.load(Ordering::Relaxed);
        let history = other.load_history(id(1)).await.unwrap();
        assert_eq!(history.damage, [], "an append in progress is not damage");
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
    assert_eq!(seen, BATCHES * SIZE, "every acknowledged item is readable");
}

pub(super) async fn see_whole_reverts(store: Arc<dyn ThreadStore>, other: Arc<dyn ThreadStore>) {
    // The writer undoes the turn `b` and appends it again, many times. A reader may see the thread with or without the turn, but
    // never a part of it.
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
        let turns = shown_prompts(&*other, id(1)).await;
        assert!(turns == ["a"] || turns == ["a", "b"], "{turns:?}");
    }
    writing.await.unwrap();
    assert_eq!(shown_prompts(&*other, id(1)).await, ["a", "b"]);
}

pub(super) async fn lists_are_fresh(store: Arc<dyn ThreadStore>, other: Arc<dyn ThreadStore>) {
    // A store may update its index later than its log. A flush and a shutdown are the moments at which the index must be exact.
    let find = async |text: &str| other.search_threads(&SearchQuery::new(text)).await.unwrap().items.len();
    for round in 1..=3 {
        let name = format!("round{round}");
        let thread = record(&*store, round, MODE, &[&name]).await;
        let listed = other.list_threads(&ThreadQuery::default()).await.unwrap().items;
        assert_eq!(listed.len(), round as usize);
        let record = listed.iter().find(|record| record.id == thread).unwrap();
        assert_eq!(record.preview, Some(format!("ask {name}")));
        assert_eq!(find(&name).await, 2, "a shutdown");
        let total = other.thread_stats(&StatsQuery::default()).await.unwrap().total;
        assert_eq!((total.threads, total.turns), (u64::from(round), u64::from(round)));
    }
    store.resume_thread(id(1)).await.unwrap();
    append_with_metadata(&*store, id(1), &turn(MODE, "flushed")).await;
    store.flush_thread(id(1)).await.unwrap();
    assert_eq!(find("flushed").await, 2, "a flush");
    store.shutdown_thread(id(1)).await.unwrap();
}

pub(super) async fn records_are_exact(store: Arc<dyn ThreadStore>, other: Arc<dyn ThreadStore>) {
    // `read_thread` must be exact at any time, without a flush or a shutdown.
    record(&*store, 1, MODE, &["a"]).await;
    for round in 0..10 {
        let patch = ThreadMetadataPatch {
            name: Some(Some(format!("name {round}"))),
            model: Some(Some(format!("model {round}"))),
            ..Default::default()
        };
        let record = store.update_thread_metadata(id(1), &patch, MetadataOrigin::Explicit).await.unwrap();
        assert_eq!(other.read_thread(id(1)).await.unwrap(), record, "round {round}");
        continue_thread(&*store, id(1), MODE, &[&format!("turn {round}")]).await;
        assert_eq!(other.read_thread(id(1)).await.unwrap(), store.read_thread(id(1)).await.unwrap(), "round {round}");
    }
}
