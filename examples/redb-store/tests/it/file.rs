//! Properties of this store alone: its file, and when a claim ends.

use example_redb_store::RedbThreadStore;
use selvedge_protocol::HistoryMode;
use selvedge_thread_store::{BatchId, StoreError, ThreadReader, ThreadStore};

use selvedge_thread_store_conformance::fixtures::{head, id, turn};

const MODE: HistoryMode = HistoryMode::Paginated;

#[tokio::test]
async fn a_claim_ends_with_the_last_clone() {
    let folder = tempfile::tempdir().unwrap();
    let store = RedbThreadStore::open(folder.path().join("threads.redb")).unwrap();
    let other = store.peer();
    let clone = store.clone();
    store.create_thread(head(1, MODE)).await.unwrap();
    store.persist_thread(id(1)).await.unwrap();
    drop(store);
    assert!(matches!(other.resume_thread(id(1)).await, Err(StoreError::Conflict { .. })));
    drop(clone);
    other.resume_thread(id(1)).await.unwrap();
    assert_eq!(other.writer_state(id(1)).await.unwrap().epoch, 2);
}

#[tokio::test]
async fn a_file_that_is_opened_again_has_its_threads_and_no_writers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("threads.redb");
    let store = RedbThreadStore::open(&path).unwrap();
    store.create_thread(head(1, MODE)).await.unwrap();
    let batch = BatchId::generate();
    let appended = store.append_items(id(1), batch, &turn(MODE, "a")).await.unwrap();
    let lines = store.load_history(id(1)).await.unwrap().lines;
    assert!(RedbThreadStore::open(&path).is_err(), "a process opens the file once");
    drop(store);

    let store = RedbThreadStore::open(&path).unwrap();
    assert_eq!(store.load_history(id(1)).await.unwrap().lines, lines);
    store.resume_thread(id(1)).await.unwrap();
    let again = store.append_items(id(1), batch, &turn(MODE, "a")).await.unwrap();
    assert_eq!((again, store.load_history(id(1)).await.unwrap().lines), (appended, lines));
}
