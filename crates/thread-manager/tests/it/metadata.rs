//! Metadata follows the history: new facts immediately, progress once per interval, and nothing before its items.
#![expect(clippy::unwrap_used, reason = "test code, which clippy does not recognize without the attribute `test`")]

use std::sync::Arc;
use std::time::Duration;

use selvedge_protocol::{HistoryMode, ResponseItem, SessionMeta, ThreadMetadataPatch};
use selvedge_thread_manager::{LiveThread, METADATA_SYNC_INTERVAL, wake_timers};
use selvedge_thread_store::{BatchId, MetadataOrigin, ThreadReader, ThreadStore};

use crate::support::{
    MODES, TestStores, id, is_backend, message, model, model_prompts, paginated, run_background_tasks, started, tokens,
    tokens_used, turn, user_message,
};
use crate::watched_store::{Call, Op, WatchedStore};

const SECOND: Duration = Duration::from_secs(1);

/// A live thread whose metadata was just stored.
async fn thread(store: &WatchedStore) -> Arc<LiveThread> {
    let thread = store.manager().start(paginated(1)).await.unwrap();
    thread.append(&[tokens(1)]).await.unwrap();
    assert_eq!(store.derived_patches().len(), 1);
    store.forget();
    thread
}

/// Returns the token counts that the store got, in order.
fn stored_tokens(store: &WatchedStore) -> Vec<u64> {
    let usages = store.derived_patches().into_iter().filter_map(|patch| patch.token_usage.flatten()?.total_tokens);
    usages.collect()
}

/// Advances the clock and lets the timer run.
async fn pass(time: Duration) {
    run_background_tasks().await;
    tokio::time::advance(time).await;
    wake_timers();
    run_background_tasks().await;
}

#[tokio::test(start_paused = true)]
async fn a_first_message_is_stored_immediately() {
    let store = WatchedStore::new();
    let thread = thread(&store).await;
    thread.append(&[user_message(HistoryMode::Paginated, "t", "hello")]).await.unwrap();
    let patches = store.derived_patches();
    assert_eq!(patches[0].first_user_message, Some(Some("hello".to_owned())));
    assert_eq!(patches[0].preview, Some(Some("hello".to_owned())));
    assert_eq!(patches.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn another_model_is_stored_immediately() {
    let store = WatchedStore::new();
    let thread = thread(&store).await;
    thread.append(&[model("one")]).await.unwrap();
    thread.append(&[model("one")]).await.unwrap();
    thread.append(&[model("two")]).await.unwrap();
    let models: Vec<_> = store.derived_patches().into_iter().map(|patch| patch.model.flatten()).collect();
    assert_eq!(models, [Some("one".to_owned()), Some("two".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn new_facts_are_stored_together_with_pending_progress() {
    let store = WatchedStore::new();
    let thread = thread(&store).await;
    thread.append(&[tokens(2)]).await.unwrap();
    thread.append(&[model("one")]).await.unwrap();
    assert_eq!(stored_tokens(&store), [2]);
}

#[tokio::test(start_paused = true)]
async fn items_are_stored_before_their_metadata() {
    let store = WatchedStore::new();
    let thread = thread(&store).await;
    thread.append(&[model("one")]).await.unwrap();
    let calls = store.calls();
    assert_eq!(calls[0], Call::Append(vec!["turn_context".to_owned()]));
    assert!(matches!(calls[1], Call::Update(_, MetadataOrigin::Derived)));
    assert_eq!(calls.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn progress_is_stored_once_per_interval() {
    let store = WatchedStore::new();
    let thread = thread(&store).await;
    // Never at the second at which the timer fires: the order of events would be undefined then.
    tokio::time::advance(SECOND / 2).await;
    for second in 0..20 {
        thread.append(&[tokens(100 + second)]).await.unwrap();
        pass(SECOND).await;
    }
    assert_eq!(stored_tokens(&store), [104, 109, 114, 119]);
}

#[tokio::test(start_paused = true)]
async fn the_timer_stores_the_last_progress() {
    let store = WatchedStore::new();
    let thread = thread(&store).await;
    thread.append(&[tokens(2)]).await.unwrap();
    thread.append(&[tokens(3)]).await.unwrap();
    pass(METADATA_SYNC_INTERVAL - SECOND).await;
    assert!(stored_tokens(&store).is_empty());
    pass(SECOND).await;
    assert_eq!(stored_tokens(&store), [3]);
    pass(10 * METADATA_SYNC_INTERVAL).await;
    assert_eq!(store.derived_patches().len(), 1, "nothing more was pending");
}

#[tokio::test(start_paused = true)]
async fn new_facts_postpone_the_timer() {
    let store = WatchedStore::new();
    let thread = thread(&store).await;
    pass(3 * SECOND).await;
    thread.append(&[tokens(2)]).await.unwrap();
    pass(SECOND).await;
    thread.append(&[model("one")]).await.unwrap();
    thread.append(&[tokens(3)]).await.unwrap();
    pass(2 * SECOND).await;
    assert_eq!(stored_tokens(&store), [2], "the interval begins with the last update");
    pass(3 * SECOND).await;
    assert_eq!(stored_tokens(&store), [2, 3]);
}

#[tokio::test(start_paused = true)]
async fn the_start_of_a_turn_is_progress() {
    let store = WatchedStore::new();
    let thread = thread(&store).await;
    thread.append(&[started("t")]).await.unwrap();
    assert_eq!(store.derived_patches(), []);
    thread.flush().await.unwrap();
    assert!(store.derived_patches()[0].recency_at.is_some());
}

#[tokio::test(start_paused = true)]
async fn every_append_is_progress() {
    let store = WatchedStore::new();
    let thread = thread(&store).await;
    // Lines are distinguished by their times in milliseconds, and these come from the system's clock.
    std::thread::sleep(Duration::from_millis(2));
    thread.append(&[ResponseItem::assistant_text("hello").into()]).await.unwrap();
    assert_eq!(store.derived_patches(), []);
    thread.flush().await.unwrap();
    assert!(store.derived_patches()[0].updated_at.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_flush_stores_pending_metadata() {
    let store = WatchedStore::new();
    let thread = thread(&store).await;
    thread.append(&[tokens(2)]).await.unwrap();
    thread.flush().await.unwrap();
    assert_eq!(stored_tokens(&store), [2]);
    thread.flush().await.unwrap();
    assert_eq!(store.derived_patches().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_stores_pending_metadata() {
    let store = WatchedStore::new();
    let thread = thread(&store).await;
    thread.append(&[tokens(2)]).await.unwrap();
    thread.shutdown().await.unwrap();
    let calls = store.calls();
    assert_eq!(stored_tokens(&store), [2]);
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
    assert_eq!(store.derived_patches(), []);
}

#[tokio::test(start_paused = true)]
async fn an_append_succeeds_although_its_metadata_cannot_be_stored() {
    let store = WatchedStore::new();
    let thread = thread(&store).await;
    store.fail(Op::Update, 1);
    thread.append(&[model("one"), message("hello")]).await.unwrap();
    assert_eq!((model_prompts(&store, id(1)).await, store.derived_patches()), (vec!["hello".to_owned()], vec![]));
    assert_eq!(thread.metadata().await.model.as_deref(), Some("one"));
}

#[tokio::test(start_paused = true)]
async fn a_flush_reports_metadata_that_it_cannot_store_and_stores_it_later() {
    let store = WatchedStore::new();
    let thread = thread(&store).await;
    store.fail(Op::Update, 2);
    thread.append(&[model("one"), tokens(2)]).await.unwrap();
    assert!(is_backend(&thread.flush().await));
    thread.flush().await.unwrap();
    let patches = store.derived_patches();
    assert_eq!((patches.len(), patches[0].model.clone()), (1, Some(Some("one".to_owned()))));
    assert_eq!(stored_tokens(&store), [2]);
}

#[tokio::test(start_paused = true)]
async fn the_timer_stores_metadata_that_could_not_be_stored_before() {
    let store = WatchedStore::new();
    let thread = thread(&store).await;
    store.fail(Op::Update, 3);
    thread.append(&[model("one")]).await.unwrap();
    for _ in 0..3 {
        assert_eq!(store.derived_patches(), []);
        pass(METADATA_SYNC_INTERVAL).await;
    }
    assert_eq!(store.derived_patches()[0].model, Some(Some("one".to_owned())));
    assert_eq!(thread.metadata().await.model.as_deref(), Some("one"));
}

#[tokio::test(start_paused = true)]
async fn later_facts_replace_pending_ones() {
    let store = WatchedStore::new();
    let thread = thread(&store).await;
    store.fail(Op::Update, 1);
    thread.append(&[model("one"), tokens(2)]).await.unwrap();
    thread.append(&[model("two")]).await.unwrap();
    let patches = store.derived_patches();
    assert_eq!((patches.len(), patches[0].model.clone()), (1, Some(Some("two".to_owned()))));
    assert_eq!(stored_tokens(&store), [2]);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_that_cannot_store_metadata_leaves_the_thread_live() {
    let store = WatchedStore::new();
    let thread = thread(&store).await;
    thread.append(&[tokens(2)]).await.unwrap();
    store.fail(Op::Update, 1);
    assert!(is_backend(&thread.shutdown().await));
    thread.append(&[tokens(3)]).await.unwrap();
    thread.shutdown().await.unwrap();
    assert_eq!(stored_tokens(&store), [3]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_append_leaves_nothing_and_can_be_repeated() {
    let store = WatchedStore::new();
    let thread = thread(&store).await;
    let stored = thread.metadata().await;
    store.fail(Op::Append, 1);
    let batch = [message("hello"), model("one")];
    assert!(is_backend(&thread.append(&batch).await));
    assert_eq!((store.calls(), thread.metadata().await), (vec![], stored));
    thread.flush().await.unwrap();
    assert_eq!(store.derived_patches(), []);
    thread.append(&batch).await.unwrap();
    assert_eq!(model_prompts(&store, id(1)).await, ["hello"]);
    assert_eq!(store.derived_patches()[0].model, Some(Some("one".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn a_failed_first_append_leaves_the_thread_lazy() {
    let store = WatchedStore::new();
    let thread = store.manager().start(paginated(1)).await.unwrap();
    store.fail(Op::Append, 1);
    assert!(is_backend(&thread.append(&turn(HistoryMode::Paginated, "a")).await));
    assert!(store.read_thread(id(1)).await.is_err());
    thread.append(&turn(HistoryMode::Paginated, "a")).await.unwrap();
    assert_eq!(model_prompts(&store, id(1)).await, ["a"]);
}

#[tokio::test(start_paused = true)]
async fn an_explicit_patch_is_stored_after_derived_metadata() {
    let store = WatchedStore::new();
    let manager = store.manager();
    let thread = manager.start(paginated(1)).await.unwrap();
    thread.append(&[tokens(1)]).await.unwrap();
    thread.append(&[tokens(2)]).await.unwrap();
    let patch = ThreadMetadataPatch { name: Some(Some("name".to_owned())), ..Default::default() };
    manager.update_metadata(id(1), &patch).await.unwrap();
    assert_eq!(stored_tokens(&store), [1, 2]);
    assert_eq!(store.calls().last(), Some(&Call::Update(Box::new(patch), MetadataOrigin::Explicit)));
}

#[tokio::test(start_paused = true)]
async fn the_record_of_a_live_thread_is_ahead_of_the_store() {
    let store = WatchedStore::new();
    let thread = thread(&store).await;
    thread.append(&[tokens(2)]).await.unwrap();
    assert_eq!(store.derived_patches(), []);
    assert_eq!(tokens_used(&thread.metadata().await), Some(2));
}

/// A writer stores history first. If it dies before it stores the metadata, the next writer stores it, and nothing
/// else.
#[tokio::test]
async fn metadata_that_a_dead_writer_did_not_store_is_stored_by_the_next_one() {
    for mode in MODES {
        let store = WatchedStore::new();
        let thread = store.manager().start(crate::support::head(1, mode)).await.unwrap();
        thread.append(&turn(mode, "first")).await.unwrap();
        // Lines are distinguished by their times in milliseconds.
        std::thread::sleep(Duration::from_millis(2));
        store.append_items(id(1), BatchId::generate(), &[model("one"), tokens(7)]).await.unwrap();
        store.discard_thread(id(1)).await.unwrap();
        drop(thread);
        assert_eq!(store.read_thread(id(1)).await.unwrap().model, None, "the store infers nothing");
        store.forget();

        let resumed = store.manager().resume(id(1)).await.unwrap();
        let stored = resumed.live.metadata().await;
        assert_eq!((stored.model.as_deref(), tokens_used(&stored)), (Some("one"), Some(7)));
        assert_eq!(stored.preview.as_deref(), Some("first"));
        resumed.live.flush().await.unwrap();
        assert_eq!(store.read_thread(id(1)).await.unwrap(), stored);
        let patches = store.derived_patches();
        assert_eq!((patches.len(), &patches[0].preview), (1, &None), "facts that the store has are not sent again");
    }
}

#[tokio::test(start_paused = true)]
async fn both_modes_store_the_first_message() {
    for mode in MODES {
        let store = WatchedStore::new();
        let thread = store.manager().start(crate::support::head(1, mode)).await.unwrap();
        thread.append(&turn(mode, "first")).await.unwrap();
        thread.append(&turn(mode, "second")).await.unwrap();
        assert_eq!(thread.metadata().await.first_user_message.as_deref(), Some("first"));
    }
}

/// Appends the last copied line of a sub-agent and its first own ones, and checks what its record says, live and cold.
async fn owns_only_what_follows(thread: &LiveThread, stores: &TestStores) {
    let asked = user_message(HistoryMode::Paginated, "c", "asked the child");
    thread.append(&[tokens(5000), model("own"), asked, tokens(7)]).await.unwrap();
    let live = thread.metadata().await;
    assert_eq!((live.preview.as_deref(), live.model.as_deref()), (Some("asked the child"), Some("own")));
    assert_eq!(live.token_usage.as_ref().unwrap().total_tokens, Some(7));
    thread.shutdown().await.unwrap();
    let stored = stores.store().read_thread(id(1)).await.unwrap();
    assert_eq!((stored.preview, stored.model, stored.token_usage), (live.preview, live.model, live.token_usage));
}

#[tokio::test]
async fn what_a_sub_agent_copied_from_its_parent_is_not_its_own() {
    for stores in [TestStores::memory(), TestStores::local()] {
        let manager = stores.manager();
        // The head has ordinal 0, and the next three lines are copies.
        let head = SessionMeta { subagent_history_start_ordinal: Some(4), ..paginated(1) };
        let thread = manager.start(head).await.unwrap();
        let asked = user_message(HistoryMode::Paginated, "p", "asked the parent");
        thread.append(&[model("of the parent"), asked]).await.unwrap();
        owns_only_what_follows(&thread, &stores).await;
    }
}

#[tokio::test]
async fn a_sub_agent_that_is_resumed_within_its_copied_lines_still_owns_none_of_them() {
    for stores in [TestStores::memory(), TestStores::local()] {
        // The head has ordinal 0, and the next three lines are copies.
        let head = SessionMeta { subagent_history_start_ordinal: Some(4), ..paginated(1) };
        let thread = stores.manager().start(head).await.unwrap();
        thread.append(&[model("of the parent")]).await.unwrap();
        thread.shutdown().await.unwrap();
        let manager = stores.manager();
        let thread = manager.resume(id(1)).await.unwrap().live;
        thread.append(&[user_message(HistoryMode::Paginated, "p", "asked the parent")]).await.unwrap();
        // The record that the store returns replaces the one of the fold, which still knows whose lines follow.
        let patch = ThreadMetadataPatch { name: Some(Some("child".to_owned())), ..Default::default() };
        manager.update_metadata(id(1), &patch).await.unwrap();
        owns_only_what_follows(&thread, &stores).await;
    }
}
