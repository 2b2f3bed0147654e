//! Starting threads: the guard, and who hears of it.
#![expect(clippy::unwrap_used, reason = "a check is a test, though another function carries the attribute")]

use selvedge_protocol::HistoryMode;
use selvedge_thread_store::{ThreadStore, TurnBoundary};
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use crate::support::{Place, eventually, fork, heard, id, is_missing, is_not_live, message, paginated, record, settle};
use crate::watched::{Call, Op, WatchedStore};

async fn a_start_that_is_given_up_leaves_no_trace(place: Place) {
    let manager = place.manager();
    let mut created = manager.subscribe();
    let starting = manager.begin(paginated(1)).await.unwrap();
    assert!(manager.live(id(1)).is_none());
    drop(starting);
    eventually(async || manager.begin(paginated(1)).await.ok()).await;
    assert_eq!(created.try_recv().unwrap_err(), TryRecvError::Empty);
    assert!(is_missing(&place.store().read_thread(id(1)).await));
    assert_eq!(place.files(), 0);
}

async fn what_was_appended_to_a_start_that_is_given_up_stays(place: Place) {
    let manager = place.manager();
    let mut created = manager.subscribe();
    let starting = manager.begin(paginated(1)).await.unwrap();
    starting.append(&[message("hello")]).await.unwrap();
    drop(starting);
    eventually(async || manager.resume(id(1)).await.ok()).await;
    assert_eq!(heard(&*place.store(), id(1)).await, ["hello"]);
    assert_eq!(created.try_recv().unwrap_err(), TryRecvError::Empty);
}

async fn commit_announces(place: Place) {
    let manager = place.manager();
    let mut created = manager.subscribe();
    let starting = manager.begin(paginated(1)).await.unwrap();
    starting.append(&[message("hello")]).await.unwrap();
    let thread = starting.commit().await;
    assert_eq!(created.recv().await.unwrap(), id(1));
    assert!(std::sync::Arc::ptr_eq(&manager.live(id(1)).unwrap(), &thread));
    thread.append(&[message("more")]).await.unwrap();
}

async fn a_start_that_was_shut_down_is_not_announced(place: Place) {
    let manager = place.manager();
    let mut created = manager.subscribe();
    let starting = manager.begin(paginated(1)).await.unwrap();
    starting.shutdown().await.unwrap();
    let thread = starting.commit().await;
    assert!(is_not_live(&thread.append(&[message("late")]).await));
    assert!(manager.live(id(1)).is_none());
    assert_eq!(created.try_recv().unwrap_err(), TryRecvError::Empty);
}

async fn forks_are_announced_and_resumed_threads_are_not(place: Place) {
    let manager = place.manager();
    record(&manager, 1, HistoryMode::Paginated, &["a"]).await;
    let mut created = manager.subscribe();
    manager.resume(id(1)).await.unwrap();
    let forked = fork(&manager, id(1), 2, TurnBoundary::Latest).await;
    assert_eq!(created.recv().await.unwrap(), forked);
    assert_eq!(created.try_recv().unwrap_err(), TryRecvError::Empty);
}

async fn a_slow_listener_is_told_what_it_missed(place: Place) {
    let manager = place.manager();
    let mut created = manager.subscribe();
    for n in 0..300 {
        manager.start(paginated(n)).await.unwrap();
    }
    assert_eq!(created.recv().await.unwrap_err(), RecvError::Lagged(300 - 256));
    assert_eq!(created.recv().await.unwrap(), id(300 - 256));
}

crate::over_both_stores! {
    a_start_that_is_given_up_leaves_no_trace, what_was_appended_to_a_start_that_is_given_up_stays, commit_announces,
    a_start_that_was_shut_down_is_not_announced, forks_are_announced_and_resumed_threads_are_not,
    a_slow_listener_is_told_what_it_missed,
}

/// Polls a call until it waits at a gate, and drops it there.
macro_rules! drop_at {
    ($gate:expr, $call:expr) => {
        tokio::select! {
            biased;
            _ = $call => panic!("it was to wait"),
            () = $gate.reached() => {}
        }
    };
}

#[tokio::test]
async fn a_begin_that_is_dropped_half_way_leaves_no_trace() {
    let store = WatchedStore::new();
    let manager = store.manager();
    for hang in [WatchedStore::hang_before, WatchedStore::hang_after] {
        let gate = hang(&store, Op::Create, None);
        drop_at!(gate, manager.begin(paginated(1)));
        gate.open();
        settle().await;
        assert_eq!(store.calls(), [Call::Other(Op::Create), Call::Other(Op::Discard)]);
        store.forget();
    }
    manager.start(paginated(1)).await.unwrap();
}

#[tokio::test]
async fn a_begin_that_is_dropped_does_not_touch_a_thread_of_the_same_id() {
    let store = WatchedStore::new();
    let manager = store.manager();
    let thread = manager.start(paginated(1)).await.unwrap();
    let gate = store.hang_before(Op::Create, None);
    drop_at!(gate, manager.begin(paginated(1)));
    gate.open();
    settle().await;
    thread.append(&[message("hello")]).await.unwrap();
    assert_eq!(heard(&store, id(1)).await, ["hello"]);
}

#[tokio::test]
async fn a_failed_begin_leaves_no_trace() {
    let store = WatchedStore::new();
    let manager = store.manager();
    store.fail(Op::Create, 1);
    assert!(manager.begin(paginated(1)).await.is_err());
    assert!(manager.live(id(1)).is_none());
    manager.start(paginated(1)).await.unwrap();
}

#[tokio::test]
async fn a_resume_that_is_dropped_half_way_gives_the_claim_back() {
    let store = WatchedStore::new();
    let manager = store.manager();
    record(&manager, 1, HistoryMode::Paginated, &["a"]).await;
    for op in [Op::Resume, Op::LoadContext, Op::Read] {
        let gate = store.hang_after(op, None);
        drop_at!(gate, manager.resume(id(1)));
        gate.open();
        settle().await;
        assert!(manager.live(id(1)).is_none());
        assert!(is_not_live(&store.flush_thread(id(1)).await));
    }
    manager.resume(id(1)).await.unwrap();
}
