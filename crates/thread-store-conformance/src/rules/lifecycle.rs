//! Rules about the life of a thread: lazy, live, cold, archived, deleted.
//!
//! ```text
//!             first append,                  shutdown,
//!  create     persist           live and     discard            archive
//! ───────> lazy ───────────────> stored ────────────> cold <───────────> archived
//!            │                      ^                  │ │
//!            │ shutdown, discard    └──────────────────┘ │ delete
//!            v                             resume        v
//!          nothing                                     nothing
//! ```

use std::sync::Arc;

use selvedge_protocol::{
    ArchivedFilter, HistoryBase, HistoryMode, ItemQuery, SessionMeta, ThreadId, ThreadMetadataPatch, ThreadQuery,
    TurnBoundary, TurnQuery,
};
use selvedge_thread_store::{
    BatchId, ForkThread, Holder, MetadataOrigin, RevertThread, SegmentPart, StoreError, ThreadStore,
};

use crate::fixtures::{
    continue_thread, head, id, is_conflict, is_invalid, is_missing, is_taken, record, shown_prompts, turn,
};

const MODE: HistoryMode = HistoryMode::Paginated;

/// Asserts that nothing is stored of the thread: every method that reads or changes a stored thread returns `NotFound`. A lazy
/// thread is unknown in this sense, although it is live.
async fn assert_unknown(store: &dyn ThreadStore, thread_id: ThreadId) {
    assert!(is_missing(store.load_history(thread_id).await, false));
    assert!(is_missing(store.load_model_context(thread_id).await, false));
    assert!(is_missing(store.read_thread(thread_id).await, false));
    assert!(is_missing(store.list_turns(&TurnQuery::all(thread_id)).await, false));
    assert!(is_missing(store.list_items(&ItemQuery::all(thread_id)).await, false));
    assert!(is_missing(store.archive_thread(thread_id).await, false));
    assert!(is_missing(store.unarchive_thread(thread_id).await, false));
    assert!(is_missing(store.delete_thread(thread_id).await, false));
    let fork = ForkThread { source: thread_id, at: TurnBoundary::Latest, meta: head(900, MODE) };
    assert!(is_missing(store.fork_thread(fork).await, false));
    let revert = RevertThread { thread_id, to: TurnBoundary::Latest, batch: BatchId::generate() };
    assert!(is_missing(store.revert_thread(revert).await, false));
    let patch = ThreadMetadataPatch { name: Some(Some("name".into())), ..Default::default() };
    assert!(is_missing(store.update_thread_metadata(thread_id, &patch, MetadataOrigin::Explicit).await, false));
    assert_eq!(listed(store).await, []);
}

/// Asserts that the thread is neither stored nor live.
async fn assert_gone(store: &dyn ThreadStore, thread_id: ThreadId) {
    assert_unknown(store, thread_id).await;
    assert!(is_missing(store.resume_thread(thread_id).await, false));
    assert!(is_missing(store.shutdown_thread(thread_id).await, true));
}

/// Returns the ids of all listed threads, archived ones included.
async fn listed(store: &dyn ThreadStore) -> Vec<ThreadId> {
    let query = ThreadQuery { archived: ArchivedFilter::All, ..Default::default() };
    let page = store.list_threads(&query).await.unwrap();
    page.items.iter().map(|thread| thread.id).collect()
}

/// Asserts that the holder is this process, if the store knows the process of a holder.
fn assert_own(holder: &Holder) {
    assert!(holder.process_id.is_none_or(|process_id| process_id == std::process::id()), "{holder:?}");
}

pub(super) async fn lazy_until_first_append(store: Arc<dyn ThreadStore>) {
    store.create_thread(head(1, MODE)).await.unwrap();
    assert_unknown(&*store, id(1)).await;
    // A flush has nothing to write, and must not make the thread visible.
    store.flush_thread(id(1)).await.unwrap();
    assert_unknown(&*store, id(1)).await;
    let items = turn(MODE, "a");
    let appended = store.append_items(id(1), BatchId::generate(), &items).await.unwrap();
    // The first append also writes the head.
    assert_eq!(appended.lines, items.len() as u64 + 1);
    assert_eq!(listed(&*store).await, [id(1)]);
    assert_eq!(store.load_history(id(1)).await.unwrap().lines.len(), items.len() + 1);
    store.shutdown_thread(id(1)).await.unwrap();
    assert_eq!(shown_prompts(&*store, id(1)).await, ["a"]);
}

pub(super) async fn lazy_until_persist(store: Arc<dyn ThreadStore>) {
    store.create_thread(head(1, MODE)).await.unwrap();
    store.persist_thread(id(1)).await.unwrap();
    store.persist_thread(id(1)).await.unwrap();
    let history = store.load_history(id(1)).await.unwrap();
    assert_eq!(history.lines.len(), 1);
    assert_eq!(history.lines[0].kind(), "session_meta");
    assert_eq!((history.thread_id, history.mode, history.inherited), (id(1), MODE, 0));
    assert_eq!(listed(&*store).await, [id(1)]);
    let appended = store.append_items(id(1), BatchId::generate(), &turn(MODE, "a")).await.unwrap();
    assert_eq!(appended.lines, turn(MODE, "a").len() as u64);
    store.shutdown_thread(id(1)).await.unwrap();
}

pub(super) async fn discard_leaves_no_trace(store: Arc<dyn ThreadStore>) {
    store.create_thread(head(1, MODE)).await.unwrap();
    store.discard_thread(id(1)).await.unwrap();
    assert_gone(&*store, id(1)).await;
    // The id is free again, and a thread with content is not discarded with it.
    store.create_thread(head(1, MODE)).await.unwrap();
    store.append_items(id(1), BatchId::generate(), &turn(MODE, "a")).await.unwrap();
    store.discard_thread(id(1)).await.unwrap();
    assert_eq!(shown_prompts(&*store, id(1)).await, ["a"], "appended items are kept");
    store.resume_thread(id(1)).await.unwrap();
    store.shutdown_thread(id(1)).await.unwrap();
}

pub(super) async fn shutdown_of_a_lazy_thread(store: Arc<dyn ThreadStore>) {
    store.create_thread(head(1, MODE)).await.unwrap();
    store.shutdown_thread(id(1)).await.unwrap();
    assert_gone(&*store, id(1)).await;
}

pub(super) async fn create_refuses_an_invalid_head(store: Arc<dyn ThreadStore>) {
    let whole = head(1, MODE);
    assert!(is_invalid(store.create_thread(SessionMeta { id: None, ..whole.clone() }).await));
    assert!(is_invalid(store.create_thread(SessionMeta { timestamp: None, ..whole.clone() }).await));
    let history_base = Some(HistoryBase::default());
    assert!(is_invalid(store.create_thread(SessionMeta { history_base, ..whole }).await));
    // A refused call does not take the id.
    assert_gone(&*store, id(1)).await;
}

pub(super) async fn create_refuses_a_taken_id(store: Arc<dyn ThreadStore>) {
    store.create_thread(head(1, MODE)).await.unwrap();
    assert!(is_taken(store.create_thread(head(1, MODE)).await), "lazy");
    store.append_items(id(1), BatchId::generate(), &turn(MODE, "a")).await.unwrap();
    assert!(is_taken(store.create_thread(head(1, MODE)).await), "live");
    store.shutdown_thread(id(1)).await.unwrap();
    assert!(is_taken(store.create_thread(head(1, MODE)).await), "cold");
    store.archive_thread(id(1)).await.unwrap();
    assert!(is_taken(store.create_thread(head(1, MODE)).await), "archived");
    assert_eq!(shown_prompts(&*store, id(1)).await, ["a"]);
}

pub(super) async fn resume_keeps_the_history(store: Arc<dyn ThreadStore>) {
    for (n, mode) in (1..).zip(crate::fixtures::MODES) {
        record(&*store, n, mode, &["a"]).await;
        let before = store.load_history(id(n)).await.unwrap();
        continue_thread(&*store, id(n), mode, &["b"]).await;
        let after = store.load_history(id(n)).await.unwrap();
        assert_eq!(crate::fixtures::line_texts(&after)[..before.lines.len()], crate::fixtures::line_texts(&before)[..]);
        assert_eq!(shown_prompts(&*store, id(n)).await, ["a", "b"]);
        assert_eq!(crate::fixtures::model_prompts(&*store, id(n)).await, ["a", "b"]);
    }
}

pub(super) async fn resume_refuses_missing_and_live_threads(store: Arc<dyn ThreadStore>) {
    assert!(is_missing(store.resume_thread(id(1)).await, false));
    store.create_thread(head(1, MODE)).await.unwrap();
    assert!(is_conflict(store.resume_thread(id(1)).await), "a lazy thread is live");
    store.persist_thread(id(1)).await.unwrap();
    match store.resume_thread(id(1)).await {
        Err(StoreError::Conflict { thread_id, holder, .. }) => {
            assert_eq!(thread_id, id(1));
            assert_own(&holder);
        }
        other => panic!("{other:?}"),
    }
    store.append_items(id(1), BatchId::generate(), &turn(MODE, "a")).await.unwrap();
    store.shutdown_thread(id(1)).await.unwrap();
    store.resume_thread(id(1)).await.unwrap();
    store.discard_thread(id(1)).await.unwrap();
}

pub(super) async fn live_methods_need_a_live_thread(store: Arc<dyn ThreadStore>) {
    record(&*store, 1, MODE, &["a"]).await;
    // The first thread is cold, and the second does not exist.
    for n in [1, 2] {
        assert!(is_missing(store.append_items(id(n), BatchId::generate(), &turn(MODE, "b")).await, true));
        assert!(is_missing(store.append_items(id(n), BatchId::generate(), &[]).await, true));
        assert!(is_missing(store.persist_thread(id(n)).await, true));
        assert!(is_missing(store.flush_thread(id(n)).await, true));
        assert!(is_missing(store.shutdown_thread(id(n)).await, true));
        assert!(is_missing(store.discard_thread(id(n)).await, true));
    }
    assert_eq!(shown_prompts(&*store, id(1)).await, ["a"]);
}

pub(super) async fn delete(store: Arc<dyn ThreadStore>) {
    for (n, mode) in (1..).zip(crate::fixtures::MODES) {
        // The revert gives the paginated thread a second segment.
        record(&*store, n, mode, &["a", "b"]).await;
        let revert = RevertThread { thread_id: id(n), to: TurnBoundary::After("a".into()), batch: BatchId::generate() };
        store.revert_thread(revert).await.unwrap();
        store.resume_thread(id(n)).await.unwrap();
        assert!(is_conflict(store.delete_thread(id(n)).await));
        store.shutdown_thread(id(n)).await.unwrap();
        let segments = store.list_segments(id(n)).await.unwrap();
        store.delete_thread(id(n)).await.unwrap();
        assert_gone(&*store, id(n)).await;
        for info in &segments {
            // An empty part asks how many bytes of the segment the store has.
            let nothing = SegmentPart { info, at: 0, bytes: &[], is_last: false };
            assert_eq!(store.import_segment(nothing).await.unwrap(), 0, "no byte of the deleted thread is left");
        }
        record(&*store, n, mode, &["c"]).await;
        assert_eq!(shown_prompts(&*store, id(n)).await, ["c"], "nothing of the deleted thread is left");
        store.delete_thread(id(n)).await.unwrap();
    }
}

pub(super) async fn archive(store: Arc<dyn ThreadStore>) {
    record(&*store, 1, MODE, &["a", "b"]).await;
    let patch = ThreadMetadataPatch { name: Some(Some("name".into())), ..Default::default() };
    store.update_thread_metadata(id(1), &patch, MetadataOrigin::Explicit).await.unwrap();
    let revert = RevertThread { thread_id: id(1), to: TurnBoundary::After("a".into()), batch: BatchId::generate() };
    assert_eq!(store.revert_thread(revert).await.unwrap(), 1);
    let before = store.read_thread(id(1)).await.unwrap();
    // The second archive changes nothing.
    for _ in 0..2 {
        let archived = store.archive_thread(id(1)).await.unwrap();
        assert!(archived.archived);
        assert_eq!((archived.name.as_deref(), &archived.preview), (Some("name"), &before.preview));
    }
    assert_eq!(store.list_threads(&ThreadQuery::default()).await.unwrap().items, []);
    let query = ThreadQuery { archived: ArchivedFilter::Archived, ..Default::default() };
    assert_eq!(store.list_threads(&query).await.unwrap().items.len(), 1);
    assert_eq!(shown_prompts(&*store, id(1)).await, ["a"]);
    continue_thread(&*store, id(1), MODE, &["c"]).await;
    assert!(store.read_thread(id(1)).await.unwrap().archived, "an archived thread stays archived when it is resumed");
    store.resume_thread(id(1)).await.unwrap();
    assert!(is_conflict(store.unarchive_thread(id(1)).await));
    store.shutdown_thread(id(1)).await.unwrap();
    for _ in 0..2 {
        assert!(!store.unarchive_thread(id(1)).await.unwrap().archived);
    }
    store.resume_thread(id(1)).await.unwrap();
    assert!(is_conflict(store.archive_thread(id(1)).await));
    store.shutdown_thread(id(1)).await.unwrap();
    assert_eq!(shown_prompts(&*store, id(1)).await, ["a", "c"]);
}

pub(super) async fn one_writer(store: Arc<dyn ThreadStore>, other: Arc<dyn ThreadStore>) {
    store.create_thread(head(1, MODE)).await.unwrap();
    store.append_items(id(1), BatchId::generate(), &turn(MODE, "a")).await.unwrap();
    match other.resume_thread(id(1)).await {
        Err(StoreError::Conflict { holder, .. }) => assert_own(&holder),
        outcome => panic!("{outcome:?}"),
    }
    // The thread is not live in the other host, so that its methods for live threads fail. Methods for cold threads find the writer.
    assert!(is_missing(other.append_items(id(1), BatchId::generate(), &turn(MODE, "b")).await, true));
    assert!(is_missing(other.shutdown_thread(id(1)).await, true));
    assert!(is_conflict(other.archive_thread(id(1)).await));
    assert!(is_conflict(other.delete_thread(id(1)).await));
    store.shutdown_thread(id(1)).await.unwrap();
    other.resume_thread(id(1)).await.unwrap();
    assert!(is_conflict(store.resume_thread(id(1)).await));
    assert!(is_missing(store.append_items(id(1), BatchId::generate(), &turn(MODE, "b")).await, true));
    other.append_items(id(1), BatchId::generate(), &turn(MODE, "c")).await.unwrap();
    other.shutdown_thread(id(1)).await.unwrap();
    assert_eq!(shown_prompts(&*store, id(1)).await, ["a", "c"]);
    crate::fixtures::assert_consecutive_ordinals(&store.load_history(id(1)).await.unwrap());
}

pub(super) async fn lazy_is_private(store: Arc<dyn ThreadStore>, other: Arc<dyn ThreadStore>) {
    store.create_thread(head(1, MODE)).await.unwrap();
    assert!(is_missing(other.read_thread(id(1)).await, false));
    assert_eq!(listed(&*other).await, []);
    assert!(is_missing(other.append_items(id(1), BatchId::generate(), &turn(MODE, "a")).await, true));
    store.append_items(id(1), BatchId::generate(), &turn(MODE, "a")).await.unwrap();
    assert_eq!(listed(&*other).await, [id(1)]);
    store.shutdown_thread(id(1)).await.unwrap();
}

pub(super) async fn two_creators(store: Arc<dyn ThreadStore>, other: Arc<dyn ThreadStore>) {
    // A store may refuse the second creator immediately, or when it first writes. Both are correct, because no other process sees a
    // lazy thread.
    store.create_thread(head(1, MODE)).await.unwrap();
    let second = other.create_thread(head(1, MODE)).await;
    store.append_items(id(1), BatchId::generate(), &turn(MODE, "a")).await.unwrap();
    if second.is_ok() {
        assert!(is_taken(other.append_items(id(1), BatchId::generate(), &turn(MODE, "b")).await));
        assert!(is_taken(other.persist_thread(id(1)).await));
        other.discard_thread(id(1)).await.unwrap();
    }
    assert_eq!(shown_prompts(&*other, id(1)).await, ["a"]);
    store.append_items(id(1), BatchId::generate(), &turn(MODE, "c")).await.unwrap();
    store.shutdown_thread(id(1)).await.unwrap();
    assert_eq!(shown_prompts(&*other, id(1)).await, ["a", "c"]);
}

pub(super) async fn others_read_appended_items(store: Arc<dyn ThreadStore>, other: Arc<dyn ThreadStore>) {
    store.create_thread(head(1, MODE)).await.unwrap();
    for name in ["a", "b", "c"] {
        store.append_items(id(1), BatchId::generate(), &turn(MODE, name)).await.unwrap();
        let (here, there) = (store.load_history(id(1)).await.unwrap(), other.load_history(id(1)).await.unwrap());
        assert_eq!(here, there);
        assert_eq!(shown_prompts(&*other, id(1)).await.last().unwrap(), name);
    }
    store.shutdown_thread(id(1)).await.unwrap();
    assert_eq!(store.read_thread(id(1)).await.unwrap(), other.read_thread(id(1)).await.unwrap());
}

pub(super) async fn new_threads_are_paginated(store: Arc<dyn ThreadStore>) {
    store.create_thread(SessionMeta { history_mode: None, ..head(1, HistoryMode::Legacy) }).await.unwrap();
    store.persist_thread(id(1)).await.unwrap();
    assert_eq!(store.load_history(id(1)).await.unwrap().mode, HistoryMode::Paginated);
    assert_eq!(store.read_thread(id(1)).await.unwrap().history_mode, HistoryMode::Paginated);
}
