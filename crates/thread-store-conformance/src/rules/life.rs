//! Making threads live and cold: laziness, one writer, archive and delete.

use std::sync::Arc;

use selvedge_protocol::{
    ArchivedFilter, HistoryBase, HistoryMode, ItemQuery, SessionMeta, ThreadId, ThreadMetadataPatch, ThreadQuery,
    TurnQuery,
};
use selvedge_thread_store::{
    BatchId, ForkThread, Holder, MetadataOrigin, RevertThread, SegmentPart, StoreError, ThreadStore, TurnBoundary,
};

use crate::fixtures::{asked, go_on, head, id, is_conflict, is_invalid, is_missing, is_taken, record, turn};

const MODE: HistoryMode = HistoryMode::Paginated;

/// Nothing is stored of the thread: every method that reads or changes a stored thread says so, also while the thread
/// is live and lazy.
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

/// The thread is unknown, and not live either.
async fn assert_gone(store: &dyn ThreadStore, thread_id: ThreadId) {
    assert_unknown(store, thread_id).await;
    assert!(is_missing(store.resume_thread(thread_id).await, false));
    assert!(is_missing(store.shutdown_thread(thread_id).await, true));
}

async fn listed(store: &dyn ThreadStore) -> Vec<ThreadId> {
    let query = ThreadQuery { archived: ArchivedFilter::All, ..Default::default() };
    let page = store.list_threads(&query).await.unwrap();
    page.items.iter().map(|thread| thread.id).collect()
}

/// The holder is this process, as far as the system tells.
fn assert_own(holder: &Holder) {
    assert!(holder.process_id.is_none_or(|process_id| process_id == std::process::id()), "{holder:?}");
}

pub(super) async fn lazy_until_first_append(store: Arc<dyn ThreadStore>) {
    store.create_thread(head(1, MODE)).await.unwrap();
    assert_unknown(&*store, id(1)).await;
    store.flush_thread(id(1)).await.unwrap();
    assert_unknown(&*store, id(1)).await;
    let items = turn(MODE, "a");
    let appended = store.append_items(id(1), BatchId::generate(), &items).await.unwrap();
    assert_eq!(appended.lines, items.len() as u64 + 1);
    assert_eq!(listed(&*store).await, [id(1)]);
    assert_eq!(store.load_history(id(1)).await.unwrap().lines.len(), items.len() + 1);
    store.shutdown_thread(id(1)).await.unwrap();
    assert_eq!(asked(&*store, id(1)).await, ["a"]);
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
    // The id is free again.
    store.create_thread(head(1, MODE)).await.unwrap();
    store.append_items(id(1), BatchId::generate(), &turn(MODE, "a")).await.unwrap();
    store.discard_thread(id(1)).await.unwrap();
    assert_eq!(asked(&*store, id(1)).await, ["a"], "what was appended stays");
    store.resume_thread(id(1)).await.unwrap();
    store.shutdown_thread(id(1)).await.unwrap();
}

pub(super) async fn shutdown_of_a_lazy_thread(store: Arc<dyn ThreadStore>) {
    store.create_thread(head(1, MODE)).await.unwrap();
    store.shutdown_thread(id(1)).await.unwrap();
    assert_gone(&*store, id(1)).await;
}

pub(super) async fn create_refuses(store: Arc<dyn ThreadStore>) {
    let whole = head(1, MODE);
    assert!(is_invalid(store.create_thread(SessionMeta { id: None, ..whole.clone() }).await));
    assert!(is_invalid(store.create_thread(SessionMeta { timestamp: None, ..whole.clone() }).await));
    let history_base = Some(HistoryBase::default());
    assert!(is_invalid(store.create_thread(SessionMeta { history_base, ..whole }).await));
    assert_gone(&*store, id(1)).await;
}

pub(super) async fn create_taken_id(store: Arc<dyn ThreadStore>) {
    store.create_thread(head(1, MODE)).await.unwrap();
    assert!(is_taken(store.create_thread(head(1, MODE)).await), "lazy");
    store.append_items(id(1), BatchId::generate(), &turn(MODE, "a")).await.unwrap();
    assert!(is_taken(store.create_thread(head(1, MODE)).await), "live");
    store.shutdown_thread(id(1)).await.unwrap();
    assert!(is_taken(store.create_thread(head(1, MODE)).await), "cold");
    store.archive_thread(id(1)).await.unwrap();
    assert!(is_taken(store.create_thread(head(1, MODE)).await), "archived");
    assert_eq!(asked(&*store, id(1)).await, ["a"]);
}

pub(super) async fn resume_and_go_on(store: Arc<dyn ThreadStore>) {
    for (n, mode) in (1..).zip(crate::fixtures::MODES) {
        record(&*store, n, mode, &["a"]).await;
        let before = store.load_history(id(n)).await.unwrap();
        go_on(&*store, id(n), mode, &["b"]).await;
        let after = store.load_history(id(n)).await.unwrap();
        assert_eq!(crate::fixtures::texts(&after)[..before.lines.len()], crate::fixtures::texts(&before)[..]);
        assert_eq!(asked(&*store, id(n)).await, ["a", "b"]);
        assert_eq!(crate::fixtures::heard(&*store, id(n)).await, ["a", "b"]);
    }
}

pub(super) async fn resume_refuses(store: Arc<dyn ThreadStore>) {
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
    for n in [1, 2] {
        assert!(is_missing(store.append_items(id(n), BatchId::generate(), &turn(MODE, "b")).await, true));
        assert!(is_missing(store.append_items(id(n), BatchId::generate(), &[]).await, true));
        assert!(is_missing(store.persist_thread(id(n)).await, true));
        assert!(is_missing(store.flush_thread(id(n)).await, true));
        assert!(is_missing(store.shutdown_thread(id(n)).await, true));
        assert!(is_missing(store.discard_thread(id(n)).await, true));
    }
    assert_eq!(asked(&*store, id(1)).await, ["a"]);
}

pub(super) async fn delete(store: Arc<dyn ThreadStore>) {
    for (n, mode) in (1..).zip(crate::fixtures::MODES) {
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
            let nothing = SegmentPart { info, at: 0, bytes: &[], is_last: false };
            assert_eq!(store.import_segment(nothing).await.unwrap(), 0, "no bytes of the deleted thread are left");
        }
        record(&*store, n, mode, &["c"]).await;
        assert_eq!(asked(&*store, id(n)).await, ["c"], "nothing of the deleted thread is left");
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
    for _ in 0..2 {
        let archived = store.archive_thread(id(1)).await.unwrap();
        assert!(archived.archived);
        assert_eq!((archived.name.as_deref(), &archived.preview), (Some("name"), &before.preview));
    }
    assert_eq!(store.list_threads(&ThreadQuery::default()).await.unwrap().items, []);
    let query = ThreadQuery { archived: ArchivedFilter::Archived, ..Default::default() };
    assert_eq!(store.list_threads(&query).await.unwrap().items.len(), 1);
    assert_eq!(asked(&*store, id(1)).await, ["a"]);
    go_on(&*store, id(1), MODE, &["c"]).await;
    assert!(store.read_thread(id(1)).await.unwrap().archived, "it was resumed where it is");
    store.resume_thread(id(1)).await.unwrap();
    assert!(is_conflict(store.unarchive_thread(id(1)).await));
    store.shutdown_thread(id(1)).await.unwrap();
    for _ in 0..2 {
        assert!(!store.unarchive_thread(id(1)).await.unwrap().archived);
    }
    store.resume_thread(id(1)).await.unwrap();
    assert!(is_conflict(store.archive_thread(id(1)).await));
    store.shutdown_thread(id(1)).await.unwrap();
    assert_eq!(asked(&*store, id(1)).await, ["a", "c"]);
}

pub(super) async fn one_writer(store: Arc<dyn ThreadStore>, other: Arc<dyn ThreadStore>) {
    store.create_thread(head(1, MODE)).await.unwrap();
    store.append_items(id(1), BatchId::generate(), &turn(MODE, "a")).await.unwrap();
    match other.resume_thread(id(1)).await {
        Err(StoreError::Conflict { holder, .. }) => assert_own(&holder),
        outcome => panic!("{outcome:?}"),
    }
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
    assert_eq!(asked(&*store, id(1)).await, ["a", "c"]);
    crate::fixtures::assert_counted(&store.load_history(id(1)).await.unwrap());
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

/// Two processes that make a thread of the same id do not both get it, whether the second is refused at once or when it
/// wants to write.
pub(super) async fn lazy_twice(store: Arc<dyn ThreadStore>, other: Arc<dyn ThreadStore>) {
    store.create_thread(head(1, MODE)).await.unwrap();
    let second = other.create_thread(head(1, MODE)).await;
    store.append_items(id(1), BatchId::generate(), &turn(MODE, "a")).await.unwrap();
    if second.is_ok() {
        assert!(is_taken(other.append_items(id(1), BatchId::generate(), &turn(MODE, "b")).await));
        assert!(is_taken(other.persist_thread(id(1)).await));
        other.discard_thread(id(1)).await.unwrap();
    }
    assert_eq!(asked(&*other, id(1)).await, ["a"]);
    store.append_items(id(1), BatchId::generate(), &turn(MODE, "c")).await.unwrap();
    store.shutdown_thread(id(1)).await.unwrap();
    assert_eq!(asked(&*other, id(1)).await, ["a", "c"]);
}

pub(super) async fn others_read(store: Arc<dyn ThreadStore>, other: Arc<dyn ThreadStore>) {
    store.create_thread(head(1, MODE)).await.unwrap();
    for name in ["a", "b", "c"] {
        store.append_items(id(1), BatchId::generate(), &turn(MODE, name)).await.unwrap();
        let (here, there) = (store.load_history(id(1)).await.unwrap(), other.load_history(id(1)).await.unwrap());
        assert_eq!(here, there);
        assert_eq!(asked(&*other, id(1)).await.last().unwrap(), name);
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
