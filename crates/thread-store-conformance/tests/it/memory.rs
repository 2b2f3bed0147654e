//! Properties of the store in memory that the contract does not require.

use selvedge_protocol::{HistoryMode, RolloutItem, TurnBoundary};
use selvedge_thread_store::{BatchId, InMemoryThreadStore, RevertThread, StoreError, ThreadReader, ThreadStore};

use selvedge_thread_store_conformance::fixtures::{head, id, record, turn};

const MODE: HistoryMode = HistoryMode::Paginated;

#[tokio::test]
async fn a_clone_is_the_same_store() {
    let store = InMemoryThreadStore::default();
    let clone = store.clone();
    store.create_thread(head(1, MODE)).await.unwrap();
    clone.append_items(id(1), BatchId::generate(), &turn(MODE, "a")).await.unwrap();
    let Err(StoreError::Conflict { holder, .. }) = clone.resume_thread(id(1)).await else { panic!("two writers") };
    assert_eq!(holder.process_id, Some(std::process::id()));
    clone.shutdown_thread(id(1)).await.unwrap();
    assert!(matches!(store.flush_thread(id(1)).await, Err(StoreError::NotFound { live: true, .. })));
    assert!(format!("{store:?}").contains("threads: 1"));
}

/// A writer must not rely on a store that derives facts from the log. The reference does not do so.
#[tokio::test]
async fn an_append_does_not_change_the_thread_record() {
    let store = InMemoryThreadStore::new();
    store.create_thread(head(1, MODE)).await.unwrap();
    store.persist_thread(id(1)).await.unwrap();
    let record = store.read_thread(id(1)).await.unwrap();
    assert_eq!(record.cwd.as_deref(), Some("/srv/project"), "a new record contains the facts of the head");
    store.append_items(id(1), BatchId::generate(), &turn(MODE, "a")).await.unwrap();
    assert_eq!(store.read_thread(id(1)).await.unwrap(), record);
}

#[tokio::test]
async fn a_segment_records_its_base_like_a_file_does() {
    let store = InMemoryThreadStore::new();
    record(&store, 1, MODE, &["a", "b"]).await;
    let whole = store.load_history(id(1)).await.unwrap();
    for to in ["b", "a"] {
        let to = TurnBoundary::Before(to.into());
        store.revert_thread(RevertThread { thread_id: id(1), to, batch: BatchId::generate() }).await.unwrap();
    }
    let history = store.load_history(id(1)).await.unwrap();
    let RolloutItem::SessionMeta(head) = history.lines[0].item() else { panic!("the first line is not a head") };
    assert_eq!((head.history_base, head.timestamp), (None, history.lines[0].timestamp()));

    record(&store, 2, MODE, &["a", "b"]).await;
    let to = TurnBoundary::After("a".into());
    store.revert_thread(RevertThread { thread_id: id(2), to, batch: BatchId::generate() }).await.unwrap();
    let history = store.load_history(id(2)).await.unwrap();
    let RolloutItem::SessionMeta(head) = history.lines.last().unwrap().item() else {
        panic!("the last line is not a head")
    };
    let base = head.history_base.unwrap();
    let kept = &whole.lines[..history.lines.len() - 1];
    let bytes: usize = kept.iter().map(|line| line.text().len() + 1).sum();
    assert_eq!(base.thread_id, Some(id(2).into()));
    assert_eq!(base.end_ordinal_exclusive, Some(kept.len() as u64));
    assert_eq!(base.end_byte_offset, Some(bytes as u64));
}
