//! Rules about changes: which threads of a store changed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use selvedge_protocol::{Cursor, HistoryMode, ThreadId, ThreadMetadataPatch, TurnBoundary};
use selvedge_thread_store::{
    BatchId, LinePosition, LineQuery, LineStart, MetadataOrigin, RevertThread, StoreError, ThreadChange, ThreadStore,
};

use crate::fixtures::{continue_thread, head, id, is_invalid, record, turn_id};

const MODE: HistoryMode = HistoryMode::Paginated;

/// Reads all changes after a cursor, on pages of `limit`. Returns them and the cursor after them.
async fn changes(store: &dyn ThreadStore, after: Option<Cursor>, limit: usize) -> (Vec<ThreadChange>, Cursor) {
    let mut after = after;
    let mut found = Vec::new();
    loop {
        let page = store.list_changes(after.as_ref(), limit).await.unwrap();
        assert!(page.changes.len() <= limit && (page.is_end || page.changes.len() == limit));
        found.extend(page.changes);
        if page.is_end {
            return (found, page.next);
        }
        after = Some(page.next);
    }
}

async fn end(store: &dyn ThreadStore, thread_id: ThreadId) -> LinePosition {
    store.read_lines(&LineQuery::from(thread_id, LineStart::End)).await.unwrap().next
}

fn threads(changes: &[ThreadChange]) -> Vec<ThreadId> {
    changes.iter().map(ThreadChange::thread_id).collect()
}

pub(super) async fn without_a_cursor(store: Arc<dyn ThreadStore>) {
    assert_eq!(changes(&*store, None, 10).await.0, []);
    for n in 1..=5 {
        record(&*store, n, MODE, &["a"]).await;
    }
    store.archive_thread(id(2)).await.unwrap();
    store.create_thread(head(9, MODE)).await.unwrap();
    for limit in [1, 2, 100] {
        let (found, cursor) = changes(&*store, None, limit).await;
        let mut ids = threads(&found);
        ids.sort_unstable();
        assert_eq!(ids, (1..=5).map(id).collect::<Vec<_>>(), "archived ones included, lazy ones not");
        for change in &found {
            let ThreadChange::Present { thread_id, end: at, .. } = change else { panic!("{change:?}") };
            assert_eq!(*at, end(&*store, *thread_id).await);
        }
        assert_eq!(changes(&*store, Some(cursor), limit).await.0, []);
    }
}

pub(super) async fn each_change_is_reported(store: Arc<dyn ThreadStore>, other: Arc<dyn ThreadStore>) {
    for n in 1..=3 {
        record(&*store, n, MODE, &["a", "b"]).await;
    }
    let (_, mut cursor) = changes(&*other, None, 100).await;
    let named = ThreadMetadataPatch { name: Some(Some("name".into())), ..Default::default() };
    for step in 0..6 {
        match step {
            0 => continue_thread(&*store, id(1), MODE, &["c"]).await,
            1 => _ = store.update_thread_metadata(id(1), &named, MetadataOrigin::Explicit).await.unwrap(),
            2 => _ = store.archive_thread(id(1)).await.unwrap(),
            3 => _ = store.unarchive_thread(id(1)).await.unwrap(),
            4 => {
                let to = TurnBoundary::Before(turn_id("b"));
                let request = RevertThread { thread_id: id(1), to, batch: BatchId::generate() };
                store.revert_thread(request).await.unwrap();
            }
            _ => store.delete_thread(id(1)).await.unwrap(),
        }
        // Each step of one host is exactly one changed thread for the other.
        let (found, next) = changes(&*other, Some(cursor), 100).await;
        assert_eq!(threads(&found), [id(1)], "step {step}");
        if step == 5 {
            assert_eq!(found, [ThreadChange::Gone { thread_id: id(1) }]);
        }
        cursor = next;
    }
    // A client that begins now gets only threads that exist.
    assert_eq!(threads(&changes(&*other, None, 100).await.0).len(), 2);
}

pub(super) async fn following(store: Arc<dyn ThreadStore>, other: Arc<dyn ThreadStore>) {
    // One host records, continues, deletes and re-creates threads. A client of the other host keeps a map from the changes alone,
    // until the last thread appears.
    record(&*store, 1, MODE, &["a"]).await;
    let follow = tokio::spawn(follow_changes(other));
    for n in 2..8 {
        record(&*store, n, MODE, &["a"]).await;
        continue_thread(&*store, id(n - 1), MODE, &["b"]).await;
        // A deleted thread whose id is used again must not stay deleted for the client.
        if n % 3 == 0 {
            store.delete_thread(id(n)).await.unwrap();
            record(&*store, n, MODE, &["again"]).await;
        }
        // Time for the client to read some of the changes one by one, and others together.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    store.delete_thread(id(2)).await.unwrap();
    record(&*store, 100, MODE, &["the end"]).await;
    let known = tokio::time::timeout(Duration::from_secs(60), follow).await.unwrap().unwrap();
    let mut wanted = BTreeMap::new();
    for n in [1, 3, 4, 5, 6, 7, 100] {
        wanted.insert(id(n), end(&*store, id(n)).await);
    }
    // The client stops when it sees the last thread, which may be before its last line. So its end is not compared.
    assert_eq!(known.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>());
    assert!(known.iter().filter(|(thread, _)| **thread != id(100)).all(|(thread, end)| wanted[thread] == *end));
}

/// Follows the changes until the thread 100 exists. Returns the known threads and their ends.
async fn follow_changes(store: Arc<dyn ThreadStore>) -> BTreeMap<ThreadId, LinePosition> {
    let mut known = BTreeMap::new();
    let mut after = None;
    loop {
        let page = store.list_changes(after.as_ref(), 2).await.unwrap();
        for change in page.changes {
            match change {
                ThreadChange::Present { thread_id, end, .. } => _ = known.insert(thread_id, end),
                ThreadChange::Gone { thread_id } => _ = known.remove(&thread_id),
            }
        }
        if known.contains_key(&id(100)) && page.is_end {
            return known;
        }
        // Pages that do not end are read without a wait.
        if page.is_end {
            store.wait_for_changes(&page.next).await.unwrap();
        }
        after = Some(page.next);
    }
}

pub(super) async fn refusals(store: Arc<dyn ThreadStore>) {
    assert!(is_invalid(store.list_changes(None, 0).await));
    for text in ["", "v1", "somewhere"] {
        assert!(is_invalid(store.list_changes(Some(&text.to_owned().into()), 1).await));
    }
    // The cursor is well formed, but no store issued it.
    let foreign: Cursor = format!("v1.{}.1", id(1).as_uuid().simple()).into();
    let outcome = store.list_changes(Some(&foreign), 1).await;
    assert!(matches!(outcome, Err(StoreError::CursorExpired { .. })), "{outcome:?}");
    assert!(matches!(store.wait_for_changes(&foreign).await, Err(StoreError::CursorExpired { .. })));
}
