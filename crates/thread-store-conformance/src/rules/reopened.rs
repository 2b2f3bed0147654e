//! Rules about a place that is opened again: what outlives its hosts, and a restart of the place.

use std::sync::Arc;

use selvedge_protocol::{
    ArchivedFilter, HistoryMode, Page, SearchHit, SearchQuery, StoredThread, ThreadId, ThreadMetadataPatch,
    ThreadQuery, Turn, TurnBoundary,
};
use selvedge_thread_store::{
    BatchId, ForkThread, LineQuery, LineStart, MetadataOrigin, RevertThread, SegmentInfo, StoreError, ThreadHistory,
    ThreadStore,
};

use crate::fixtures::{all_turns, continue_thread, head, id, record, shown_prompts, turn, turn_id};
use crate::{NotApplicable, StorePlace};

const MODE: HistoryMode = HistoryMode::Paginated;
const THREADS: [u32; 4] = [1, 2, 3, 4];

/// Everything that a reader gets of all threads of a place.
#[derive(Debug, PartialEq)]
struct PlaceSnapshot {
    records: Vec<StoredThread>,
    listed: Page<StoredThread>,
    hits: Vec<SearchHit>,
    histories: Vec<ThreadHistory>,
    turns: Vec<Vec<Turn>>,
    segments: Vec<Vec<SegmentInfo>>,
    exports: Vec<Vec<u8>>,
}

/// Reads all threads in every way.
async fn snapshot(store: &dyn ThreadStore) -> PlaceSnapshot {
    let all = ThreadQuery { archived: ArchivedFilter::All, ..ThreadQuery::default() };
    let mut snapshot = PlaceSnapshot {
        records: Vec::new(),
        listed: store.list_threads(&all).await.unwrap(),
        hits: store.search_threads(&SearchQuery::new("ask")).await.unwrap().items,
        histories: Vec::new(),
        turns: Vec::new(),
        segments: Vec::new(),
        exports: Vec::new(),
    };
    for n in THREADS {
        snapshot.records.push(store.read_thread(id(n)).await.unwrap());
        snapshot.histories.push(store.load_history(id(n)).await.unwrap());
        snapshot.turns.push(all_turns(store, id(n)).await);
        snapshot.segments.push(store.list_segments(id(n)).await.unwrap());
        let mut bytes = Vec::new();
        store.export(id(n), &mut bytes).await.unwrap();
        snapshot.exports.push(bytes);
    }
    snapshot
}

/// Records threads of every kind: a legacy one, a reverted one with a name, an archived fork, and a plain one.
async fn fill(store: &dyn ThreadStore) {
    record(store, 1, HistoryMode::Legacy, &["a", "b"]).await;
    let thread_id = record(store, 2, MODE, &["a", "b", "c"]).await;
    let to = TurnBoundary::After(turn_id("b"));
    store.revert_thread(RevertThread { thread_id, to, batch: BatchId::generate() }).await.unwrap();
    let name = ThreadMetadataPatch {
        name: Some(Some("a name".into())),
        model: Some(Some("set".into())),
        ..Default::default()
    };
    store.update_thread_metadata(thread_id, &name, MetadataOrigin::Explicit).await.unwrap();
    let request = ForkThread { source: thread_id, at: TurnBoundary::After(turn_id("a")), meta: head(3, MODE) };
    let fork = store.fork_thread(request).await.unwrap();
    continue_thread(store, fork, MODE, &["d"]).await;
    store.archive_thread(fork).await.unwrap();
    record(store, 4, MODE, &["e"]).await;
}

pub(super) async fn gives_the_same_answers(place: Arc<dyn StorePlace>) -> Result<(), NotApplicable> {
    // The next host is opened after the death of the first one. The place itself keeps the threads.
    let first = place.open_host().await;
    fill(&*first).await;
    let before = snapshot(&*first).await;
    drop(first);
    let next = place.open_host().await;
    assert_eq!(snapshot(&*next).await, before);
    Ok(())
}

pub(super) async fn hosts_take_turns(place: Arc<dyn StorePlace>) -> Result<(), NotApplicable> {
    let mut turns: Vec<String> = Vec::new();
    let first = place.open_host().await;
    record(&*first, 1, MODE, &[]).await;
    drop(first);
    for round in 0..5 {
        let host = place.open_host().await;
        host.resume_thread(id(1)).await.unwrap();
        let name = round.to_string();
        host.append_items(id(1), BatchId::generate(), &turn(MODE, &name)).await.unwrap();
        host.shutdown_thread(id(1)).await.unwrap();
        turns.push(name);
        assert_eq!(shown_prompts(&*host, id(1)).await, turns);
    }
    Ok(())
}

pub(super) async fn keeps_positions_and_cursors(place: Arc<dyn StorePlace>) -> Result<(), NotApplicable> {
    // Clients may keep positions and cursors as text and use them later. Only a cursor of changes may expire.
    let first = place.open_host().await;
    fill(&*first).await;
    let lines = LineQuery { max_lines: 3, ..LineQuery::from(id(2), LineStart::Beginning) };
    let position = first.read_lines(&lines).await.unwrap().next;
    let threads = ThreadQuery { limit: 1, ..ThreadQuery::default() };
    let cursor = first.list_threads(&threads).await.unwrap().next_cursor;
    let changes = first.list_changes(None, 2).await.unwrap().next;
    drop(first);

    let next = place.open_host().await;
    let rest = next.read_lines(&LineQuery::from(id(2), LineStart::At(position))).await.unwrap();
    let history = next.load_history(id(2)).await.unwrap();
    let read: Vec<_> = rest.entries.iter().filter_map(|entry| entry.line()).collect();
    assert_eq!(read, history.lines[3..], "a position");
    let ids = |page: Page<StoredThread>| page.items.iter().map(|record| record.id).collect::<Vec<ThreadId>>();
    let all = ids(next.list_threads(&ThreadQuery::default()).await.unwrap());
    let rest = ids(next.list_threads(&ThreadQuery { cursor, ..ThreadQuery::default() }).await.unwrap());
    assert_eq!(rest, all[1..], "a cursor of a list");
    match next.list_changes(Some(&changes), 100).await {
        Ok(page) => assert!(page.changes.len() >= 2, "a cursor of changes"),
        Err(error) => assert!(matches!(error, StoreError::CursorExpired { .. }), "a cursor of changes: {error:?}"),
    }
    Ok(())
}

pub(super) async fn after_a_restart(place: Arc<dyn StorePlace>) -> Result<(), NotApplicable> {
    let first = place.open_host().await;
    fill(&*first).await;
    let before = snapshot(&*first).await;
    drop(first);
    place.restart().await?;
    let next = place.open_host().await;
    assert_eq!(snapshot(&*next).await, before);
    continue_thread(&*next, id(4), MODE, &["f"]).await;
    assert_eq!(shown_prompts(&*next, id(4)).await, ["e", "f"]);
    Ok(())
}
