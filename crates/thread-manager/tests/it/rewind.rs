//! Rewinding live and cold threads.
#![expect(clippy::unwrap_used, reason = "a check is a test, though another function carries the attribute")]

use selvedge_protocol::{EventMsg, HistoryMode, ThreadId, ThreadRolledBackEvent};
use selvedge_thread_manager::RewindTo;
use selvedge_thread_store::{StoreError, ThreadReader, TurnBoundary};

use crate::support::{
    MODES, Place, heard, id, is_backend, is_missing, paginated, record, shown, start, surroundings, timeless, tokens,
    turn, used,
};
use crate::watched::{Op, WatchedStore};

async fn assert_turns(place: &Place, thread_id: ThreadId, turns: &[&str]) {
    assert_eq!(shown(&*place.store(), thread_id).await, turns, "what shows");
    assert_eq!(heard(&*place.store(), thread_id).await, turns, "what the model sees");
}

/// Where to go back to, and what is left of the turns a, b, c.
fn places() -> [(RewindTo, &'static [&'static str]); 8] {
    [
        (RewindTo::Cut(TurnBoundary::Latest), &["a", "b", "c"]),
        (RewindTo::Cut(TurnBoundary::After("c".into())), &["a", "b", "c"]),
        (RewindTo::Cut(TurnBoundary::After("a".into())), &["a"]),
        (RewindTo::Cut(TurnBoundary::Before("c".into())), &["a", "b"]),
        (RewindTo::Turns(0), &["a", "b", "c"]),
        (RewindTo::Turns(2), &["a"]),
        (RewindTo::Turns(3), &[]),
        (RewindTo::Turns(u64::MAX), &[]),
    ]
}

async fn rewinds_a_cold_thread(place: Place) {
    for (base, mode) in (1..).map(|n| n * 100).zip(MODES) {
        let manager = place.manager();
        for (n, (to, kept)) in (base..).zip(places()) {
            record(&manager, n, mode, &["a", "b", "c"]).await;
            assert_eq!(manager.rewind(id(n), to).await.unwrap(), 3 - kept.len(), "how many turns were undone");
            assert_turns(&place, id(n), kept).await;
            assert!(manager.live(id(n)).is_none());
        }
    }
}

async fn rewinds_a_live_thread_that_goes_on(place: Place) {
    for (base, mode) in (1..).map(|n| n * 100).zip(MODES) {
        let manager = place.manager();
        for (n, (to, kept)) in (base..).zip(places()) {
            let thread = start(&manager, n, mode, &["a", "b", "c"]).await;
            assert_eq!(manager.rewind(id(n), to).await.unwrap(), 3 - kept.len(), "how many turns were undone");
            assert_turns(&place, id(n), kept).await;
            thread.append(&turn(mode, "d")).await.unwrap();
            assert_turns(&place, id(n), &[kept, &["d"]].concat()).await;
            thread.shutdown().await.unwrap();
            assert_turns(&place, id(n), &[kept, &["d"]].concat()).await;
        }
    }
}

async fn the_row_goes_back_with_the_turns(place: Place) {
    for (n, mode) in (1..).zip(MODES) {
        let manager = place.manager();
        let thread = start(&manager, n, mode, &["a"]).await;
        thread.append(&[tokens(1)]).await.unwrap();
        assert_eq!(used(&thread.metadata().await), Some(1));
        manager.rewind(id(n), RewindTo::Turns(1)).await.unwrap();
        let row = thread.metadata().await;
        if mode == HistoryMode::Paginated {
            assert_eq!((row.preview.as_deref(), used(&row)), (None, None));
        }
        assert_eq!(timeless(row), timeless(place.store().read_thread(id(n)).await.unwrap()));
        thread.append(&turn(mode, "b")).await.unwrap();
        let row = thread.metadata().await;
        assert_eq!(timeless(row), timeless(place.store().read_thread(id(n)).await.unwrap()));
    }
}

async fn rewinds_twice(place: Place) {
    for (n, mode) in (1..).zip(MODES) {
        let manager = place.manager();
        let thread = start(&manager, n, mode, &["a", "b", "c"]).await;
        manager.rewind(id(n), RewindTo::Turns(1)).await.unwrap();
        thread.append(&turn(mode, "d")).await.unwrap();
        manager.rewind(id(n), RewindTo::Turns(2)).await.unwrap();
        thread.append(&turn(mode, "e")).await.unwrap();
        assert_turns(&place, id(n), &["a", "e"]).await;
    }
}

async fn a_turn_that_is_not_there_changes_nothing(place: Place) {
    for (n, mode) in (1..).zip(MODES) {
        let manager = place.manager();
        let thread = start(&manager, n, mode, &["a"]).await;
        let outcome = manager.rewind(id(n), RewindTo::Cut(TurnBoundary::Before("z".into()))).await;
        assert!(matches!(outcome, Err(StoreError::TurnNotFound { .. })));
        thread.append(&turn(mode, "b")).await.unwrap();
        assert_turns(&place, id(n), &["a", "b"]).await;
    }
}

async fn a_lazy_thread_has_nothing_to_undo(place: Place) {
    let manager = place.manager();
    let thread = manager.start(paginated(1)).await.unwrap();
    assert!(is_missing(&manager.rewind(id(1), RewindTo::Turns(1)).await));
    thread.append(&turn(HistoryMode::Paginated, "a")).await.unwrap();
    assert_turns(&place, id(1), &["a"]).await;
}

async fn a_rollback_appended_by_hand(place: Place) {
    let manager = place.manager();
    let thread = start(&manager, 1, HistoryMode::Legacy, &["a", "b"]).await;
    let event = ThreadRolledBackEvent { num_turns: Some(1), ..Default::default() };
    let mut batch = vec![EventMsg::from(event).into(), tokens(7)];
    batch.extend(turn(HistoryMode::Legacy, "c"));
    thread.append(&batch).await.unwrap();
    assert_turns(&place, id(1), &["a", "c"]).await;
    assert_eq!(used(&thread.metadata().await), Some(7));
}

crate::over_both_stores! {
    rewinds_a_cold_thread, rewinds_a_live_thread_that_goes_on, the_row_goes_back_with_the_turns, rewinds_twice,
    a_turn_that_is_not_there_changes_nothing, a_lazy_thread_has_nothing_to_undo, a_rollback_appended_by_hand,
}

/// The facts that stand beside a rollback in one batch are told like all others.
#[tokio::test]
async fn facts_beside_a_rollback_are_told() {
    let store = WatchedStore::new();
    let thread = start(&store.manager(), 1, HistoryMode::Legacy, &["a"]).await;
    let event = ThreadRolledBackEvent { num_turns: Some(1), ..Default::default() };
    store.forget();
    thread.append(&[tokens(7), EventMsg::from(event).into()]).await.unwrap();
    thread.flush().await.unwrap();
    assert!(store.observed()[0].token_usage.is_some());
}

/// The rewind is in the log; what it came to is read when it can be.
#[tokio::test]
async fn a_rewind_succeeds_though_its_outcome_cannot_be_read() {
    let store = WatchedStore::new();
    let manager = store.manager();
    let thread = start(&manager, 1, HistoryMode::Paginated, &["a"]).await;
    thread.append_context(&[], &surroundings("/a")).await.unwrap();
    store.fail(Op::LoadContext, 1);
    manager.rewind(id(1), RewindTo::Turns(1)).await.unwrap();
    assert!(is_backend(&thread.append(&turn(HistoryMode::Paginated, "b")).await));
    thread.append(&turn(HistoryMode::Paginated, "b")).await.unwrap();
    assert_eq!(heard(&store, id(1)).await, ["b"]);
    assert_eq!(thread.world_state().await, store.load_model_context(id(1)).await.unwrap().world_state);
}

#[tokio::test]
async fn a_failed_rewind_changes_nothing() {
    let store = WatchedStore::new();
    let manager = store.manager();
    let thread = start(&manager, 1, HistoryMode::Paginated, &["a"]).await;
    thread.append_context(&[], &surroundings("/a")).await.unwrap();
    store.fail(Op::Revert, 1);
    assert!(is_backend(&manager.rewind(id(1), RewindTo::Turns(1)).await));
    assert_eq!(thread.world_state().await, Some(surroundings("/a")));
    assert_eq!(heard(&store, id(1)).await, ["a"]);
}
