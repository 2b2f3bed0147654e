//! Resuming: everything is as it was left, and no other writer is allowed.
#![expect(clippy::unwrap_used, reason = "test code, which clippy does not recognize without the attribute `test`")]

use selvedge_protocol::{HistoryMode, ResponseItem};
use selvedge_thread_store::ThreadStore;

use crate::support::{
    MODES, TestStores, id, is_backend, is_conflict, is_not_found, is_not_live, message, model, model_prompts, record,
    shown_prompts, start, surroundings, turn, without_update_time,
};
use crate::watched_store::{Op, WatchedStore};

async fn the_context_is_what_was_recorded(stores: TestStores) {
    for (n, mode) in (1..).zip(MODES) {
        let manager = stores.manager();
        let thread = start(&manager, n, mode, &["a"]).await;
        thread.append(&[model("one")]).await.unwrap();
        thread.append_context(&[message("b")], &surroundings("/b")).await.unwrap();
        let (stored, window) = (thread.metadata().await, thread.window().await);
        thread.shutdown().await.unwrap();
        let resumed = manager.resume(id(n)).await.unwrap();
        let context = &resumed.context;
        assert_eq!(context.history, ["a", "b"].map(ResponseItem::user_text));
        assert_eq!((context.world_state.clone(), context.window), (Some(surroundings("/b")), window));
        assert_eq!(context.turn_context.as_ref().unwrap().model.as_deref(), Some("one"));
        assert_eq!(without_update_time(resumed.live.metadata().await), without_update_time(stored));
        assert_eq!(resumed.live.mode(), mode);
    }
}

async fn a_resumed_thread_continues(stores: TestStores) {
    for (n, mode) in (1..).zip(MODES) {
        record(&stores.manager(), n, mode, &["a"]).await;
        let manager = stores.manager();
        let resumed = manager.resume(id(n)).await.unwrap();
        resumed.live.append(&turn(mode, "b")).await.unwrap();
        assert_eq!(model_prompts(&*stores.store(), id(n)).await, ["a", "b"]);
        assert_eq!(shown_prompts(&*stores.store(), id(n)).await, ["a", "b"]);
        assert_eq!(resumed.live.metadata().await.preview.as_deref(), Some("a"));
        assert!(std::sync::Arc::ptr_eq(&manager.live(id(n)).unwrap(), &resumed.live));
    }
}

async fn a_second_manager_gets_a_conflict(stores: TestStores) {
    let (one, other) = (stores.manager(), stores.manager());
    let thread = start(&one, 1, HistoryMode::Paginated, &["a"]).await;
    assert!(is_conflict(&other.resume(id(1)).await));
    assert!(other.live(id(1)).is_none());
    assert!(is_conflict(&one.resume(id(1)).await), "nor twice in one manager");
    assert!(is_conflict(&other.archive(id(1)).await));
    thread.append(&[message("b")]).await.unwrap();
    thread.shutdown().await.unwrap();
    other.resume(id(1)).await.unwrap();
}

async fn a_thread_that_does_not_exist_cannot_be_resumed(stores: TestStores) {
    let manager = stores.manager();
    assert!(is_not_found(&manager.resume(id(1)).await));
    assert!(manager.live(id(1)).is_none());
}

crate::over_both_stores! {
    the_context_is_what_was_recorded, a_resumed_thread_continues, a_second_manager_gets_a_conflict,
    a_thread_that_does_not_exist_cannot_be_resumed,
}

/// The claim on a local thread ends with the store, so no shutdown is needed.
#[tokio::test]
async fn a_dropped_thread_can_be_resumed() {
    let stores = TestStores::local();
    for mode in MODES {
        let manager = stores.manager();
        let n = if mode == HistoryMode::Legacy { 1 } else { 2 };
        drop((start(&manager, n, mode, &["a"]).await, manager));
        let manager = stores.manager();
        let resumed = manager.resume(id(n)).await.unwrap();
        assert_eq!(resumed.context.history, [ResponseItem::user_text("a")]);
    }
}

#[tokio::test]
async fn a_failed_load_gives_up_the_claim() {
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
