//! Resuming: everything is as it was left, and nobody else may write.
#![expect(clippy::unwrap_used, reason = "a check is a test, though another function carries the attribute")]

use selvedge_protocol::{HistoryMode, ResponseItem};
use selvedge_thread_store::ThreadStore;

use crate::support::{
    MODES, Place, heard, id, is_backend, is_conflict, is_missing, is_not_live, message, model, record, shown, start,
    surroundings, timeless, turn,
};
use crate::watched::{Op, WatchedStore};

async fn the_context_is_what_was_recorded(place: Place) {
    for (n, mode) in (1..).zip(MODES) {
        let manager = place.manager();
        let thread = start(&manager, n, mode, &["a"]).await;
        thread.append(&[model("one")]).await.unwrap();
        thread.append_context(&[message("b")], &surroundings("/b")).await.unwrap();
        let (row, window) = (thread.metadata().await, thread.window().await);
        thread.shutdown().await.unwrap();
        let resumed = manager.resume(id(n)).await.unwrap();
        let context = &resumed.context;
        assert_eq!(context.history, ["a", "b"].map(ResponseItem::user_text));
        assert_eq!((context.world_state.clone(), context.window), (Some(surroundings("/b")), window));
        assert_eq!(context.turn_context.as_ref().unwrap().model.as_deref(), Some("one"));
        assert_eq!(timeless(resumed.live.metadata().await), timeless(row));
        assert_eq!(resumed.live.mode(), mode);
    }
}

async fn a_resumed_thread_goes_on(place: Place) {
    for (n, mode) in (1..).zip(MODES) {
        record(&place.manager(), n, mode, &["a"]).await;
        let manager = place.manager();
        let resumed = manager.resume(id(n)).await.unwrap();
        resumed.live.append(&turn(mode, "b")).await.unwrap();
        assert_eq!(heard(&*place.store(), id(n)).await, ["a", "b"]);
        assert_eq!(shown(&*place.store(), id(n)).await, ["a", "b"]);
        assert_eq!(resumed.live.metadata().await.preview.as_deref(), Some("a"));
        assert!(std::sync::Arc::ptr_eq(&manager.live(id(n)).unwrap(), &resumed.live));
    }
}

async fn a_second_manager_gets_a_conflict(place: Place) {
    let (one, other) = (place.manager(), place.manager());
    let thread = start(&one, 1, HistoryMode::Paginated, &["a"]).await;
    assert!(is_conflict(&other.resume(id(1)).await));
    assert!(other.live(id(1)).is_none());
    assert!(is_conflict(&one.resume(id(1)).await), "nor twice in one manager");
    assert!(is_conflict(&other.archive(id(1)).await));
    thread.append(&[message("b")]).await.unwrap();
    thread.shutdown().await.unwrap();
    other.resume(id(1)).await.unwrap();
}

async fn what_is_not_there_is_not_resumed(place: Place) {
    let manager = place.manager();
    assert!(is_missing(&manager.resume(id(1)).await));
    assert!(manager.live(id(1)).is_none());
}

crate::over_both_stores! {
    the_context_is_what_was_recorded, a_resumed_thread_goes_on, a_second_manager_gets_a_conflict,
    what_is_not_there_is_not_resumed,
}

/// The claim on a local thread ends with the store, so that nobody has to say farewell.
#[tokio::test]
async fn a_dropped_thread_can_be_resumed() {
    let place = Place::local();
    for mode in MODES {
        let manager = place.manager();
        let n = if mode == HistoryMode::Legacy { 1 } else { 2 };
        drop((start(&manager, n, mode, &["a"]).await, manager));
        let manager = place.manager();
        let resumed = manager.resume(id(n)).await.unwrap();
        assert_eq!(resumed.context.history, [ResponseItem::user_text("a")]);
    }
}

#[tokio::test]
async fn a_failed_load_gives_the_claim_back() {
    let store = WatchedStore::new();
    let manager = store.manager();
    record(&manager, 1, HistoryMode::Paginated, &["a"]).await;
    for op in [Op::LoadContext, Op::Read] {
        store.fail(op, 1);
        assert!(is_backend(&manager.resume(id(1)).await));
        assert!(manager.live(id(1)).is_none());
        assert!(is_not_live(&store.flush_thread(id(1)).await));
    }
    manager.resume(id(1)).await.unwrap();
}
