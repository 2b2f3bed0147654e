//! Starting threads: abandoned starts, and notifications.
#![expect(clippy::unwrap_used, reason = "test code, which clippy does not recognize without the attribute `test`")]

use selvedge_protocol::{HistoryMode, SessionMeta, TurnBoundary};
use selvedge_thread_store::ThreadStore;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use crate::support::{
    TestStores, eventually, fork, id, is_not_found, is_not_live, message, model_prompts, paginated, record,
    run_background_tasks,
};
use crate::watched_store::{Call, Op, WatchedStore};

async fn an_abandoned_start_leaves_no_trace(stores: TestStores) {
    let manager = stores.manager();
    let mut created = manager.subscribe();
    let starting = manager.begin(paginated(1)).await.unwrap();
    assert!(manager.live(id(1)).is_none());
    drop(starting);
    eventually(async || manager.begin(paginated(1)).await.ok()).await;
    assert_eq!(created.try_recv().unwrap_err(), TryRecvError::Empty);
    assert!(is_not_found(&stores.store().read_thread(id(1)).await));
    assert_eq!(stores.files(), 0);
}

async fn items_that_were_appended_during_an_abandoned_start_stay(stores: TestStores) {
    let manager = stores.manager();
    let mut created = manager.subscribe();
    let starting = manager.begin(paginated(1)).await.unwrap();
    starting.append(&[message("hello")]).await.unwrap();
    drop(starting);
    eventually(async || manager.resume(id(1)).await.ok()).await;
    assert_eq!(model_prompts(&*stores.store(), id(1)).await, ["hello"]);
    assert_eq!(created.try_recv().unwrap_err(), TryRecvError::Empty);
}

async fn commit_announces(stores: TestStores) {
    let manager = stores.manager();
    let mut created = manager.subscribe();
    let starting = manager.begin(paginated(1)).await.unwrap();
    starting.append(&[message("hello")]).await.unwrap();
    let thread = starting.commit().await;
    assert_eq!(created.recv().await.unwrap(), id(1));
    assert!(std::sync::Arc::ptr_eq(&manager.live(id(1)).unwrap(), &thread));
    thread.append(&[message("more")]).await.unwrap();
}

async fn a_start_that_was_shut_down_is_not_announced(stores: TestStores) {
    let manager = stores.manager();
    let mut created = manager.subscribe();
    let starting = manager.begin(paginated(1)).await.unwrap();
    starting.shutdown().await.unwrap();
    let thread = starting.commit().await;
    assert!(is_not_live(&thread.append(&[message("late")]).await));
    assert!(manager.live(id(1)).is_none());
    assert_eq!(created.try_recv().unwrap_err(), TryRecvError::Empty);
}

async fn forks_are_announced_and_resumed_threads_are_not(stores: TestStores) {
    let manager = stores.manager();
    record(&manager, 1, HistoryMode::Paginated, &["a"]).await;
    let mut created = manager.subscribe();
    manager.resume(id(1)).await.unwrap();
    let forked = fork(&manager, id(1), 2, TurnBoundary::Latest).await;
    assert_eq!(created.recv().await.unwrap(), forked);
    assert_eq!(created.try_recv().unwrap_err(), TryRecvError::Empty);
}

async fn a_slow_subscriber_gets_lagged(stores: TestStores) {
    let manager = stores.manager();
    let mut created = manager.subscribe();
    for n in 0..300 {
        manager.start(paginated(n)).await.unwrap();
    }
    assert_eq!(created.recv().await.unwrap_err(), RecvError::Lagged(300 - 256));
    assert_eq!(created.recv().await.unwrap(), id(300 - 256));
}

async fn a_started_thread_has_an_absolute_directory_in_its_shortest_form(stores: TestStores) {
    let manager = stores.manager();
    let current = std::env::current_dir().unwrap().to_str().unwrap().to_owned();
    let below = |path: &str| format!("{current}/{path}");
    for (n, (given, written)) in (1..).zip([
        (None, current.clone()),
        (Some(""), current.clone()),
        (Some("x/../y/"), below("y")),
        (Some("/srv//a/."), "/srv/a".to_owned()),
        (Some(r"\\?\c:\p\"), r"C:\p".to_owned()),
    ]) {
        let meta = SessionMeta { cwd: given.map(str::to_owned), ..paginated(n) };
        manager.start(meta).await.unwrap().append(&[message("hello")]).await.unwrap();
        let head = stores.store().read_session_meta(id(n)).await.unwrap().unwrap();
        assert_eq!(head.cwd, Some(written), "{given:?}");
    }
}

crate::over_both_stores! {
    an_abandoned_start_leaves_no_trace, items_that_were_appended_during_an_abandoned_start_stay, commit_announces,
    a_start_that_was_shut_down_is_not_announced, forks_are_announced_and_resumed_threads_are_not,
    a_slow_subscriber_gets_lagged, a_started_thread_has_an_absolute_directory_in_its_shortest_form,
}

/// Polls a call until it waits at a gate, and drops it there.
macro_rules! drop_at {
    ($gate:expr, $call:expr) => {
        tokio::select! {
            biased;
            _ = $call => panic!("the call did not wait at the gate"),
            () = $gate.reached() => {}
        }
    };
}

#[tokio::test]
async fn a_begin_that_is_dropped_halfway_leaves_no_trace() {
    let store = WatchedStore::new();
    let manager = store.manager();
    for hang in [WatchedStore::hang_before, WatchedStore::hang_after] {
        let gate = hang(&store, Op::Create, None);
        drop_at!(gate, manager.begin(paginated(1)));
        gate.open();
        run_background_tasks().await;
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
    run_background_tasks().await;
    thread.append(&[message("hello")]).await.unwrap();
    assert_eq!(model_prompts(&store, id(1)).await, ["hello"]);
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
async fn a_resume_that_is_dropped_halfway_gives_up_the_claim() {
    let store = WatchedStore::new();
    let manager = store.manager();
    record(&manager, 1, HistoryMode::Paginated, &["a"]).await;
    for op in [Op::Resume, Op::LoadContext, Op::Read] {
        let gate = store.hang_after(op, None);
        drop_at!(gate, manager.resume(id(1)));
        gate.open();
        run_background_tasks().await;
        assert!(manager.live(id(1)).is_none());
        assert!(is_not_live(&store.flush_thread(id(1)).await));
    }
    manager.resume(id(1)).await.unwrap();
}
