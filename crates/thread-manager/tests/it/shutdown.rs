//! Shutting down: one thread, all threads, and calls at the same time.
#![expect(clippy::unwrap_used, reason = "test code, which clippy does not recognize without the attribute `test`")]

use std::time::Duration;

use selvedge_protocol::{HistoryMode, ThreadMetadataPatch, TurnBoundary};
use selvedge_thread_manager::wake_timers;
use selvedge_thread_store::ThreadStore;

use crate::support::{
    MODES, TestStores, id, is_backend, is_not_found, is_not_live, message, model_prompts, paginated,
    run_background_tasks, start,
};
use crate::watched_store::{Op, WatchedStore};

const TIMEOUT: Duration = Duration::from_secs(10);

async fn shuts_down_all_threads(stores: TestStores) {
    let manager = stores.manager();
    for (n, mode) in (1..).zip(MODES) {
        start(&manager, n, mode, &["a"]).await;
    }
    let lazy = manager.start(paginated(3)).await.unwrap();
    let report = manager.shutdown_all(TIMEOUT).await;
    assert!(report.is_clean());
    assert_eq!(report.closed, [id(1), id(2), id(3)]);
    assert!(is_not_live(&lazy.append(&[message("late")]).await));
    assert!(is_not_found(&stores.store().read_thread(id(3)).await));
    let report = manager.shutdown_all(TIMEOUT).await;
    assert!(report.is_clean() && report.closed.is_empty());
    stores.manager().resume(id(1)).await.unwrap();
}

async fn a_second_shutdown_does_nothing(stores: TestStores) {
    let manager = stores.manager();
    let thread = start(&manager, 1, HistoryMode::Paginated, &["a"]).await;
    thread.shutdown().await.unwrap();
    thread.shutdown().await.unwrap();
    thread.discard().await.unwrap();
    assert!(is_not_live(&thread.append(&[message("late")]).await));
    assert_eq!(thread.metadata().await.preview.as_deref(), Some("a"));
}

async fn a_discard_keeps_what_was_appended(stores: TestStores) {
    let manager = stores.manager();
    let thread = start(&manager, 1, HistoryMode::Paginated, &["a"]).await;
    thread.discard().await.unwrap();
    assert!(manager.live(id(1)).is_none());
    assert_eq!(model_prompts(&*stores.store(), id(1)).await, ["a"]);
    let lazy = manager.start(paginated(2)).await.unwrap();
    lazy.discard().await.unwrap();
    assert!(is_not_found(&manager.thread(id(2)).await));
}

async fn a_thread_outlives_its_manager(stores: TestStores) {
    let thread = start(&stores.manager(), 1, HistoryMode::Paginated, &["a"]).await;
    thread.append(&[message("b")]).await.unwrap();
    thread.shutdown().await.unwrap();
    assert_eq!(model_prompts(&*stores.store(), id(1)).await, ["a", "b"]);
}

crate::over_both_stores! {
    shuts_down_all_threads, a_second_shutdown_does_nothing, a_discard_keeps_what_was_appended,
    a_thread_outlives_its_manager,
}

#[tokio::test(start_paused = true)]
async fn failing_and_hanging_threads_are_reported_and_the_rest_is_closed() {
    let store = WatchedStore::new();
    let manager = store.manager();
    for n in 1..=5 {
        start(&manager, n, HistoryMode::Paginated, &["a"]).await;
    }
    store.fail_for(Op::Flush, id(2));
    let gate = store.hang_before(Op::Shutdown, Some(id(4)));
    let all = manager.clone();
    let closing = tokio::spawn(async move { all.shutdown_all(TIMEOUT).await });
    for (time, is_over) in [(TIMEOUT - Duration::from_millis(1), false), (Duration::from_millis(1), true)] {
        run_background_tasks().await;
        tokio::time::advance(time).await;
        wake_timers();
        run_background_tasks().await;
        assert_eq!(closing.is_finished(), is_over);
    }
    let report = closing.await.unwrap();
    assert_eq!((report.closed, report.timed_out), (vec![id(1), id(3), id(5)], vec![id(4)]));
    assert!(matches!(&report.failed[..], [(failed, _)] if *failed == id(2)));
    assert!(manager.live(id(2)).is_some() && manager.live(id(4)).is_some());
    store.forget();
    gate.open();
    let report = manager.shutdown_all(TIMEOUT).await;
    assert!(report.is_clean());
    assert_eq!(report.closed, [id(2), id(4)]);
    assert!(manager.live(id(2)).is_none() && manager.live(id(4)).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_continues_when_its_future_is_dropped() {
    let store = WatchedStore::new();
    let manager = store.manager();
    let thread = start(&manager, 1, HistoryMode::Paginated, &["a"]).await;
    let gate = store.hang_after(Op::Shutdown, None);
    assert!(tokio::time::timeout(TIMEOUT, thread.shutdown()).await.is_err());
    gate.open();
    run_background_tasks().await;
    assert!(manager.live(id(1)).is_none());
    assert!(is_not_live(&thread.append(&[message("late")]).await));
    manager.resume(id(1)).await.unwrap();
}

/// The store has given up the thread, and the manager has not removed it yet.
#[tokio::test]
async fn a_thread_that_is_resumed_during_a_shutdown_stays_registered() {
    let store = WatchedStore::new();
    let manager = store.manager();
    let thread = start(&manager, 1, HistoryMode::Paginated, &["a"]).await;
    let gate = store.hang_after(Op::Shutdown, None);
    let closing = tokio::spawn(async move { thread.shutdown().await });
    gate.reached().await;
    let resumed = manager.resume(id(1)).await.unwrap().live;
    gate.open();
    closing.await.unwrap().unwrap();
    assert!(std::sync::Arc::ptr_eq(&manager.live(id(1)).unwrap(), &resumed));
    resumed.append(&[message("b")]).await.unwrap();
}

#[tokio::test]
async fn a_failed_shutdown_leaves_the_thread_live() {
    let store = WatchedStore::new();
    let manager = store.manager();
    let thread = start(&manager, 1, HistoryMode::Paginated, &["a"]).await;
    for op in [Op::Flush, Op::Shutdown] {
        store.fail(op, 1);
        assert!(is_backend(&thread.shutdown().await));
        thread.append(&[message("b")]).await.unwrap();
    }
    store.fail(Op::Discard, 1);
    assert!(is_backend(&thread.discard().await));
    assert!(manager.live(id(1)).is_some());
    thread.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_thread_that_the_store_has_given_up_can_be_closed() {
    let store = WatchedStore::new();
    let manager = store.manager();
    let thread = start(&manager, 1, HistoryMode::Paginated, &["a"]).await;
    store.shutdown_thread(id(1)).await.unwrap();
    assert!(is_not_live(&thread.append(&[message("late")]).await));
    manager.archive(id(1)).await.unwrap();
    assert!(manager.live(id(1)).is_none());
}

#[tokio::test]
async fn an_append_that_began_before_a_shutdown_counts() {
    let store = WatchedStore::new();
    let manager = store.manager();
    let thread = start(&manager, 1, HistoryMode::Paginated, &[]).await;
    let gate = store.hang_before(Op::Append, None);
    let appending = tokio::spawn({
        let thread = std::sync::Arc::clone(&thread);
        async move { thread.append(&[message("in time")]).await }
    });
    gate.reached().await;
    let closing = tokio::spawn({
        let thread = std::sync::Arc::clone(&thread);
        async move { thread.shutdown().await }
    });
    run_background_tasks().await;
    let late = tokio::spawn(async move { thread.append(&[message("late")]).await });
    run_background_tasks().await;
    gate.open();
    appending.await.unwrap().unwrap();
    closing.await.unwrap().unwrap();
    assert!(is_not_live(&late.await.unwrap()));
    assert_eq!(model_prompts(&store, id(1)).await, ["in time"]);
}

/// A call during a shutdown is answered when the thread is cold.
#[tokio::test]
async fn metadata_can_be_changed_while_a_thread_is_being_closed() {
    let store = WatchedStore::new();
    let manager = store.manager();
    let thread = start(&manager, 1, HistoryMode::Paginated, &["a", "b"]).await;
    let gate = store.hang_after(Op::Shutdown, None);
    let closing = tokio::spawn(async move { thread.shutdown().await });
    gate.reached().await;
    let rename = tokio::spawn({
        let manager = manager.clone();
        let patch = ThreadMetadataPatch { name: Some(Some("name".to_owned())), ..Default::default() };
        async move { manager.update_metadata(id(1), &patch).await }
    });
    let rewind = tokio::spawn({
        let manager = manager.clone();
        async move { manager.rewind(id(1), TurnBoundary::BeforeNewest(1)).await }
    });
    run_background_tasks().await;
    gate.open();
    closing.await.unwrap().unwrap();
    rewind.await.unwrap().unwrap();
    assert_eq!(rename.await.unwrap().unwrap().name.as_deref(), Some("name"));
    assert_eq!(model_prompts(&store, id(1)).await, ["a"]);
}
