//! What outlives the hosts of a place, and the place itself.

use std::sync::Arc;

use selvedge_protocol::{
    ArchivedFilter, HistoryMode, Page, SearchHit, SearchQuery, StoredThread, ThreadId, ThreadMetadataPatch,
    ThreadQuery, Turn,
};
use selvedge_thread_store::{
    BatchId, ForkThread, LineQuery, LineStart, MetadataOrigin, RevertThread, SegmentInfo, StoreError, ThreadHistory,
    ThreadStore, TurnBoundary,
};

use crate::fixtures::{all_turns, asked, go_on, head, id, record, turn, turn_id};
use crate::{NotApplicable, StorePlace};

const MODE: HistoryMode = HistoryMode::Paginated;
const THREADS: [u32; 4] = [1, 2, 3, 4];

/// All that is told of the threads.
#[derive(Debug, PartialEq)]
struct Told {
    rows: Vec<StoredThread>,
    listed: Page<StoredThread>,
    hits: Vec<SearchHit>,
    histories: Vec<ThreadHistory>,
    turns: Vec<Vec<Turn>>,
    segments: Vec<Vec<SegmentInfo>>,
    exports: Vec<Vec<u8>>,
}

async fn told(store: &dyn ThreadStore) -> Told {
    let all = ThreadQuery { archived: ArchivedFilter::All, ..ThreadQuery::default() };
    let mut told = Told {
        rows: Vec::new(),
        listed: store.list_threads(&all).await.unwrap(),
        hits: store.search_threads(&SearchQuery::new("ask")).await.unwrap().items,
        histories: Vec::new(),
        turns: Vec::new(),
        segments: Vec::new(),
        exports: Vec::new(),
    };
    for n in THREADS {
        told.rows.push(store.read_thread(id(n)).await.unwrap());
        told.histories.push(store.load_history(id(n)).await.unwrap());
        told.turns.push(all_turns(store, id(n)).await);
        told.segments.push(store.list_segments(id(n)).await.unwrap());
        let mut bytes = Vec::new();
        store.export(id(n), &mut bytes).await.unwrap();
        told.exports.push(bytes);
    }
    told
}

/// Threads of every kind: legacy, rewound and named, a fork that is archived, and one that its writer left behind.
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
    go_on(store, fork, MODE, &["d"]).await;
    store.archive_thread(fork).await.unwrap();
    record(store, 4, MODE, &["e"]).await;
}

pub(super) async fn the_same(place: Arc<dyn StorePlace>) -> Result<(), NotApplicable> {
    // As long as it is open, a place in memory is there.
    let first = place.open_host().await;
    fill(&*first).await;
    let before = told(&*first).await;
    drop(first);
    let next = place.open_host().await;
    assert_eq!(told(&*next).await, before);
    Ok(())
}

pub(super) async fn goes_on(place: Arc<dyn StorePlace>) -> Result<(), NotApplicable> {
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
        assert_eq!(asked(&*host, id(1)).await, turns);
    }
    Ok(())
}

/// What a client keeps as text is good elsewhere and later.
pub(super) async fn places_to_go_on(place: Arc<dyn StorePlace>) -> Result<(), NotApplicable> {
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
    let ids = |page: Page<StoredThread>| page.items.iter().map(|row| row.id).collect::<Vec<ThreadId>>();
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
    let before = told(&*first).await;
    drop(first);
    place.restart().await?;
    let next = place.open_host().await;
    assert_eq!(told(&*next).await, before);
    go_on(&*next, id(4), MODE, &["f"]).await;
    assert_eq!(asked(&*next, id(4)).await, ["e", "f"]);
    Ok(())
}
