//! Facts follow the history: news at once, touches now and then, and nothing before its items.
#![expect(clippy::unwrap_used, reason = "a check is a test, though another function carries the attribute")]

use std::sync::Arc;
use std::time::Duration;

use selvedge_protocol::{HistoryMode, ThreadMetadataPatch};
use selvedge_thread_manager::{LiveThread, METADATA_SYNC_INTERVAL, wake_timers};
use selvedge_thread_store::{BatchId, MetadataOrigin, ThreadReader, ThreadStore};

use crate::support::{
    MODES, heard, id, is_backend, message, model, paginated, settle, started, tokens, turn, used, user_said,
};
use crate::watched::{Call, Op, WatchedStore};

const SECOND: Duration = Duration::from_secs(1);

/// A thread that has told all it knows, just now.
async fn thread(store: &WatchedStore) -> Arc<LiveThread> {
    let thread = store.manager().start(paginated(1)).await.unwrap();
    thread.append(&[tokens(1)]).await.unwrap();
    assert_eq!(store.observed().len(), 1);
    store.forget();
    thread
}

/// The tokens that the store was told, in order.
fn told_tokens(store: &WatchedStore) -> Vec<u64> {
    let usages = store.observed().into_iter().filter_map(|patch| patch.token_usage.flatten()?.total_tokens);
    usages.collect()
}

/// Lets time pass, and the timer do its work.
async fn pass(time: Duration) {
    settle().await;
    tokio::time::advance(time).await;
    wake_timers();
    settle().await;
}

#[tokio::test(start_paused = true)]
async fn first_words_are_told_at_once() {
    let store = WatchedStore::new();
    let thread = thread(&store).await;
    thread.append(&[user_said(HistoryMode::Paginated, "t", "hello")]).await.unwrap();
    let patches = store.observed();
    assert_eq!(patches[0].first_user_message, Some(Some("hello".to_owned())));
    assert_eq!(patches[0].preview, Some(Some("hello".to_owned())));
    assert_eq!(patches.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn another_model_is_told_at_once() {
    let store = WatchedStore::new();
    let thread = thread(&store).await;
    thread.append(&[model("one")]).await.unwrap();
    thread.append(&[model("one")]).await.unwrap();
    thread.append(&[model("two")]).await.unwrap();
    let models: Vec<_> = store.observed().into_iter().map(|patch| patch.model.flatten()).collect();
    assert_eq!(models, [Some("one".to_owned()), Some("two".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn news_take_along_what_was_pending() {
    let store = WatchedStore::new();
    let thread = thread(&store).await;
    thread.append(&[tokens(2)]).await.unwrap();
    thread.append(&[model("one")]).await.unwrap();
    assert_eq!(told_tokens(&store), [2]);
}

#[tokio::test(start_paused = true)]
async fn items_come_before_what_they_say() {
    let store = WatchedStore::new();
    let thread = thread(&store).await;
    thread.append(&[model("one")]).await.unwrap();
    let calls = store.calls();
    assert_eq!(calls[0], Call::Append(vec!["turn_context".to_owned()]));
    assert!(matches!(calls[1], Call::Update(_, MetadataOrigin::Derived)));
    assert_eq!(calls.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn touches_are_told_once_in_an_interval() {
    let store = WatchedStore::new();
    let thread = thread(&store).await;
    // Never at the second at which the timer rings, for which comes first then is anybody's guess.
    tokio::time::advance(SECOND / 2).await;
    for second in 0..20 {
        thread.append(&[tokens(100 + second)]).await.unwrap();
        pass(SECOND).await;
    }
    assert_eq!(told_tokens(&store), [104, 109, 114, 119]);
}

#[tokio::test(start_paused = true)]
async fn the_timer_tells_the_last_touch() {
    let store = WatchedStore::new();
    let thread = thread(&store).await;
    thread.append(&[tokens(2)]).await.unwrap();
    thread.append(&[tokens(3)]).await.unwrap();
    pass(METADATA_SYNC_INTERVAL - SECOND).await;
    assert!(told_tokens(&store).is_empty());
    pass(SECOND).await;
    assert_eq!(told_tokens(&store), [3]);
    pass(10 * METADATA_SYNC_INTERVAL).await;
    assert_eq!(store.observed().len(), 1, "there was nothing more to tell");
}

#[tokio::test(start_paused = true)]
async fn news_put_the_timer_off() {
    let store = WatchedStore::new();
    let thread = thread(&store).await;
    pass(3 * SECOND).await;
    thread.append(&[tokens(2)]).await.unwrap();
    pass(SECOND).await;
    thread.append(&[model("one")]).await.unwrap();
    thread.append(&[tokens(3)]).await.unwrap();
    pass(2 * SECOND).await;
    assert_eq!(told_tokens(&store), [2], "the interval counts from when something was told last");
    pass(3 * SECOND).await;
    assert_eq!(told_tokens(&store), [2, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_begins_is_a_touch() {
    let store = WatchedStore::new();
    let thread = thread(&store).await;
    thread.append(&[started("t")]).await.unwrap();
    assert_eq!(store.observed(), []);
    thread.flush().await.unwrap();
    assert!(store.observed()[0].recency_at.is_some());
}

#[tokio::test(start_paused = true)]
async fn every_append_is_a_touch() {
    let store = WatchedStore::new();
    let thread = thread(&store).await;
    // Lines are told apart by the millisecond, and by the clock on the wall.
    std::thread::sleep(Duration::from_millis(2));
    thread.append(&[message("hello")]).await.unwrap();
    assert_eq!(store.observed(), []);
    thread.flush().await.unwrap();
    assert!(store.observed()[0].updated_at.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_flush_tells_what_is_pending() {
    let store = WatchedStore::new();
    let thread = thread(&store).await;
    thread.append(&[tokens(2)]).await.unwrap();
    thread.flush().await.unwrap();
    assert_eq!(told_tokens(&store), [2]);
    thread.flush().await.unwrap();
    assert_eq!(store.observed().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_tells_what_is_pending() {
    let store = WatchedStore::new();
    let thread = thread(&store).await;
    thread.append(&[tokens(2)]).await.unwrap();
    thread.shutdown().await.unwrap();
    let calls = store.calls();
    assert_eq!(told_tokens(&store), [2]);
    assert_eq!(calls.last(), Some(&Call::Other(Op::Shutdown)));
    pass(10 * METADATA_SYNC_INTERVAL).await;
    assert_eq!(store.calls(), calls, "no timer outlives the thread");
}

#[tokio::test(start_paused = true)]
async fn a_timer_keeps_no_thread_alive() {
    let store = WatchedStore::new();
    let thread = thread(&store).await;
    thread.append(&[tokens(2)]).await.unwrap();
    let weak = Arc::downgrade(&thread);
    drop(thread);
    assert!(weak.upgrade().is_none());
    pass(METADATA_SYNC_INTERVAL).await;
    assert_eq!(store.observed(), []);
}

#[tokio::test(start_paused = true)]
async fn an_append_does_not_fail_for_its_facts() {
    let store = WatchedStore::new();
    let thread = thread(&store).await;
    store.fail(Op::Update, 1);
    thread.append(&[model("one"), message("hello")]).await.unwrap();
    assert_eq!((heard(&store, id(1)).await, store.observed()), (vec!["hello".to_owned()], vec![]));
    assert_eq!(thread.metadata().await.model.as_deref(), Some("one"));
}

#[tokio::test(start_paused = true)]
async fn a_flush_reports_untold_facts_and_tells_them_later() {
    let store = WatchedStore::new();
    let thread = thread(&store).await;
    store.fail(Op::Update, 2);
    thread.append(&[model("one"), tokens(2)]).await.unwrap();
    assert!(is_backend(&thread.flush().await));
    thread.flush().await.unwrap();
    let patches = store.observed();
    assert_eq!((patches.len(), patches[0].model.clone()), (1, Some(Some("one".to_owned()))));
    assert_eq!(told_tokens(&store), [2]);
}

#[tokio::test(start_paused = true)]
async fn the_timer_tells_what_could_not_be_told() {
    let store = WatchedStore::new();
    let thread = thread(&store).await;
    store.fail(Op::Update, 3);
    thread.append(&[model("one")]).await.unwrap();
    for _ in 0..3 {
        assert_eq!(store.observed(), []);
        pass(METADATA_SYNC_INTERVAL).await;
    }
    assert_eq!(store.observed()[0].model, Some(Some("one".to_owned())));
    assert_eq!(thread.metadata().await.model.as_deref(), Some("one"));
}

#[tokio::test(start_paused = true)]
async fn later_facts_win_over_untold_ones() {
    let store = WatchedStore::new();
    let thread = thread(&store).await;
    store.fail(Op::Update, 1);
    thread.append(&[model("one"), tokens(2)]).await.unwrap();
    thread.append(&[model("two")]).await.unwrap();
    let patches = store.observed();
    assert_eq!((patches.len(), patches[0].model.clone()), (1, Some(Some("two".to_owned()))));
    assert_eq!(told_tokens(&store), [2]);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_that_cannot_tell_leaves_the_thread_live() {
    let store = WatchedStore::new();
    let thread = thread(&store).await;
    thread.append(&[tokens(2)]).await.unwrap();
    store.fail(Op::Update, 1);
    assert!(is_backend(&thread.shutdown().await));
    thread.append(&[tokens(3)]).await.unwrap();
    thread.shutdown().await.unwrap();
    assert_eq!(told_tokens(&store), [3]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_append_leaves_nothing_and_can_be_repeated() {
    let store = WatchedStore::new();
    let thread = thread(&store).await;
    let row = thread.metadata().await;
    store.fail(Op::Append, 1);
    let batch = [message("hello"), model("one")];
    assert!(is_backend(&thread.append(&batch).await));
    assert_eq!((store.calls(), thread.metadata().await), (vec![], row));
    thread.flush().await.unwrap();
    assert_eq!(store.observed(), []);
    thread.append(&batch).await.unwrap();
    assert_eq!(heard(&store, id(1)).await, ["hello"]);
    assert_eq!(store.observed()[0].model, Some(Some("one".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn a_failed_first_append_leaves_the_thread_lazy() {
    let store = WatchedStore::new();
    let thread = store.manager().start(paginated(1)).await.unwrap();
    store.fail(Op::Append, 1);
    assert!(is_backend(&thread.append(&turn(HistoryMode::Paginated, "a")).await));
    assert!(store.read_thread(id(1)).await.is_err());
    thread.append(&turn(HistoryMode::Paginated, "a")).await.unwrap();
    assert_eq!(heard(&store, id(1)).await, ["a"]);
}

#[tokio::test(start_paused = true)]
async fn an_explicit_patch_comes_behind_what_was_observed() {
    let store = WatchedStore::new();
    let manager = store.manager();
    let thread = manager.start(paginated(1)).await.unwrap();
    thread.append(&[tokens(1)]).await.unwrap();
    thread.append(&[tokens(2)]).await.unwrap();
    let patch = ThreadMetadataPatch { name: Some(Some("name".to_owned())), ..Default::default() };
    manager.update_metadata(id(1), &patch).await.unwrap();
    assert_eq!(told_tokens(&store), [1, 2]);
    assert_eq!(store.calls().last(), Some(&Call::Update(Box::new(patch), MetadataOrigin::Explicit)));
}

#[tokio::test(start_paused = true)]
async fn the_row_of_a_live_thread_is_ahead_of_the_store() {
    let store = WatchedStore::new();
    let thread = thread(&store).await;
    thread.append(&[tokens(2)]).await.unwrap();
    assert_eq!(store.observed(), []);
    assert_eq!(used(&thread.metadata().await), Some(2));
}

/// A writer tells history first. If it dies before it comes to the facts, the next one tells them, and only those.
#[tokio::test]
async fn facts_that_a_dead_writer_did_not_tell_are_told_by_the_next() {
    for mode in MODES {
        let store = WatchedStore::new();
        let thread = store.manager().start(crate::support::head(1, mode)).await.unwrap();
        thread.append(&turn(mode, "first")).await.unwrap();
        // Lines are told apart by the millisecond.
        std::thread::sleep(Duration::from_millis(2));
        store.append_items(id(1), BatchId::generate(), &[model("one"), tokens(7)]).await.unwrap();
        store.discard_thread(id(1)).await.unwrap();
        drop(thread);
        assert_eq!(store.read_thread(id(1)).await.unwrap().model, None, "the store infers nothing");
        store.forget();

        let resumed = store.manager().resume(id(1)).await.unwrap();
        let row = resumed.live.metadata().await;
        assert_eq!((row.model.as_deref(), used(&row)), (Some("one"), Some(7)));
        assert_eq!(row.preview.as_deref(), Some("first"));
        resumed.live.flush().await.unwrap();
        assert_eq!(store.read_thread(id(1)).await.unwrap(), row);
        let patches = store.observed();
        assert_eq!((patches.len(), &patches[0].preview), (1, &None), "what was told is not told again");
    }
}

#[tokio::test(start_paused = true)]
async fn both_modes_tell_the_first_words() {
    for mode in MODES {
        let store = WatchedStore::new();
        let thread = store.manager().start(crate::support::head(1, mode)).await.unwrap();
        thread.append(&turn(mode, "first")).await.unwrap();
        thread.append(&turn(mode, "second")).await.unwrap();
        assert_eq!(thread.metadata().await.first_user_message.as_deref(), Some("first"));
    }
}
