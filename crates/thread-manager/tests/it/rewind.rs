//! Rewinding live and cold threads.
#![expect(clippy::unwrap_used, reason = "test code, which clippy does not recognize without the attribute `test`")]

use selvedge_protocol::{EventMsg, HistoryMode, ThreadId, ThreadRolledBackEvent, TurnBoundary};
use selvedge_thread_store::{StoreError, ThreadReader};

use crate::support::{
    MODES, TestStores, id, is_backend, is_not_found, model_prompts, paginated, record, shown_prompts, start,
    surroundings, tokens, tokens_used, turn, without_update_time,
};
use crate::watched_store::{Op, WatchedStore};

async fn assert_turns(stores: &TestStores, thread_id: ThreadId, turns: &[&str]) {
    assert_eq!(shown_prompts(&*stores.store(), thread_id).await, turns, "as a client shows it");
    assert_eq!(model_prompts(&*stores.store(), thread_id).await, turns, "what the model sees");
}

/// Where to rewind to, and what is left of the turns a, b, c.
fn places() -> [(TurnBoundary, &'static [&'static str]); 8] {
    [
        (TurnBoundary::Latest, &["a", "b", "c"]),
        (TurnBoundary::After("c".into()), &["a", "b", "c"]),
        (TurnBoundary::After("a".into()), &["a"]),
        (TurnBoundary::Before("c".into()), &["a", "b"]),
        (TurnBoundary::BeforeNewest(0), &["a", "b", "c"]),
        (TurnBoundary::BeforeNewest(2), &["a"]),
        (TurnBoundary::BeforeNewest(3), &[]),
        (TurnBoundary::BeforeNewest(u64::MAX), &[]),
    ]
}

async fn rewinds_a_cold_thread(stores: TestStores) {
    for (base, mode) in (1..).map(|n| n * 100).zip(MODES) {
        let manager = stores.manager();
        for (n, (to, kept)) in (base..).zip(places()) {
            record(&manager, n, mode, &["a", "b", "c"]).await;
            assert_eq!(manager.rewind(id(n), to).await.unwrap(), 3 - kept.len(), "how many turns were undone");
            assert_turns(&stores, id(n), kept).await;
            assert!(manager.live(id(n)).is_none());
        }
    }
}

async fn rewinds_a_live_thread_that_continues(stores: TestStores) {
    for (base, mode) in (1..).map(|n| n * 100).zip(MODES) {
        let manager = stores.manager();
        for (n, (to, kept)) in (base..).zip(places()) {
            let thread = start(&manager, n, mode, &["a", "b", "c"]).await;
            assert_eq!(manager.rewind(id(n), to).await.unwrap(), 3 - kept.len(), "how many turns were undone");
            assert_turns(&stores, id(n), kept).await;
            thread.append(&turn(mode, "d")).await.unwrap();
            assert_turns(&stores, id(n), &[kept, &["d"]].concat()).await;
            thread.shutdown().await.unwrap();
            assert_turns(&stores, id(n), &[kept, &["d"]].concat()).await;
        }
    }
}

async fn the_record_goes_back_with_the_turns(stores: TestStores) {
    for (n, mode) in (1..).zip(MODES) {
        let manager = stores.manager();
        let thread = start(&manager, n, mode, &["a"]).await;
        thread.append(&[tokens(1)]).await.unwrap();
        assert_eq!(tokens_used(&thread.metadata().await), Some(1));
        manager.rewind(id(n), TurnBoundary::BeforeNewest(1)).await.unwrap();
        let stored = thread.metadata().await;
        if mode == HistoryMode::Paginated {
            assert_eq!((stored.preview.as_deref(), tokens_used(&stored)), (None, None));
        }
        assert_eq!(without_update_time(stored), without_update_time(stores.store().read_thread(id(n)).await.unwrap()));
        thread.append(&turn(mode, "b")).await.unwrap();
        let stored = thread.metadata().await;
        assert_eq!(without_update_time(stored), without_update_time(stores.store().read_thread(id(n)).await.unwrap()));
    }
}

async fn rewinds_twice(stores: TestStores) {
    for (n, mode) in (1..).zip(MODES) {
        let manager = stores.manager();
        let thread = start(&manager, n, mode, &["a", "b", "c"]).await;
        manager.rewind(id(n), TurnBoundary::BeforeNewest(1)).await.unwrap();
        thread.append(&turn(mode, "d")).await.unwrap();
        manager.rewind(id(n), TurnBoundary::BeforeNewest(2)).await.unwrap();
        thread.append(&turn(mode, "e")).await.unwrap();
        assert_turns(&stores, id(n), &["a", "e"]).await;
    }
}

async fn an_unknown_turn_changes_nothing(stores: TestStores) {
    for (n, mode) in (1..).zip(MODES) {
        let manager = stores.manager();
        let thread = start(&manager, n, mode, &["a"]).await;
        let outcome = manager.rewind(id(n), TurnBoundary::Before("z".into())).await;
        assert!(matches!(outcome, Err(StoreError::TurnNotFound { .. })));
        thread.append(&turn(mode, "b")).await.unwrap();
        assert_turns(&stores, id(n), &["a", "b"]).await;
    }
}

async fn a_lazy_thread_has_nothing_to_undo(stores: TestStores) {
    let manager = stores.manager();
    let thread = manager.start(paginated(1)).await.unwrap();
    assert!(is_not_found(&manager.rewind(id(1), TurnBoundary::BeforeNewest(1)).await));
    thread.append(&turn(HistoryMode::Paginated, "a")).await.unwrap();
    assert_turns(&stores, id(1), &["a"]).await;
}

async fn a_rollback_event_that_the_caller_appends_counts(stores: TestStores) {
    let manager = stores.manager();
    let thread = start(&manager, 1, HistoryMode::Legacy, &["a", "b"]).await;
    let event = ThreadRolledBackEvent { num_turns: Some(1), ..Default::default() };
    let mut batch = vec![EventMsg::from(event).into(), tokens(7)];
    batch.extend(turn(HistoryMode::Legacy, "c"));
    thread.append(&batch).await.unwrap();
    assert_turns(&stores, id(1), &["a", "c"]).await;
    assert_eq!(tokens_used(&thread.metadata().await), Some(7));
}

crate::over_both_stores! {
    rewinds_a_cold_thread, rewinds_a_live_thread_that_continues, the_record_goes_back_with_the_turns, rewinds_twice,
    an_unknown_turn_changes_nothing, a_lazy_thread_has_nothing_to_undo, a_rollback_event_that_the_caller_appends_counts,
}

/// New facts in the same batch as a rollback are stored like all others.
#[tokio::test]
async fn facts_in_the_batch_of_a_rollback_are_stored() {
    let store = WatchedStore::new();
    let thread = start(&store.manager(), 1, HistoryMode::Legacy, &["a"]).await;
    let event = ThreadRolledBackEvent { num_turns: Some(1), ..Default::default() };
    store.forget();
    thread.append(&[tokens(7), EventMsg::from(event).into()]).await.unwrap();
    thread.flush().await.unwrap();
    assert!(store.derived_patches()[0].token_usage.is_some());
}

/// The rewind is in the log. The state is read later, when the store can be read.
#[tokio::test]
async fn a_rewind_succeeds_although_the_state_cannot_be_read() {
    let store = WatchedStore::new();
    let manager = store.manager();
    let thread = start(&manager, 1, HistoryMode::Paginated, &["a"]).await;
    thread.append_context(&[], &surroundings("/a")).await.unwrap();
    store.fail(Op::LoadContext, 1);
    manager.rewind(id(1), TurnBoundary::BeforeNewest(1)).await.unwrap();
    assert!(is_backend(&thread.append(&turn(HistoryMode::Paginated, "b")).await));
    thread.append(&turn(HistoryMode::Paginated, "b")).await.unwrap();
    assert_eq!(model_prompts(&store, id(1)).await, ["b"]);
    assert_eq!(thread.world_state().await, store.load_model_context(id(1)).await.unwrap().world_state);
}

#[tokio::test]
async fn a_failed_rewind_changes_nothing() {
    let store = WatchedStore::new();
    let manager = store.manager();
    let thread = start(&manager, 1, HistoryMode::Paginated, &["a"]).await;
    thread.append_context(&[], &surroundings("/a")).await.unwrap();
    store.fail(Op::Revert, 1);
    assert!(is_backend(&manager.rewind(id(1), TurnBoundary::BeforeNewest(1)).await));
    assert_eq!(thread.world_state().await, Some(surroundings("/a")));
    assert_eq!(model_prompts(&store, id(1)).await, ["a"]);
}
