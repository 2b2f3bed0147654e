//! Calls that are dropped halfway: the log has each batch as a whole or not at all, and the thread finds out which.

use std::collections::HashSet;
use std::sync::Arc;

use selvedge_protocol::{HistoryMode, ResponseItem, ThreadMetadataPatch, TurnBoundary};
use selvedge_thread_manager::LiveThread;
use selvedge_thread_store::ThreadReader;

use crate::support::{
    id, message, model, model_prompts, paginated, start, surroundings, tokens, tokens_used, turn, world_state_records,
};
use crate::watched_store::{Gate, Op, WatchedStore};

/// Polls a call until it waits at the gate, and drops it there.
async fn drop_at<T>(gate: Gate, call: impl Future<Output = T>) {
    tokio::select! {
        biased;
        _ = call => panic!("the call did not wait at the gate"),
        () = gate.reached() => {}
    }
}

async fn live(store: &WatchedStore) -> Arc<LiveThread> {
    start(&store.manager(), 1, HistoryMode::Paginated, &[]).await
}

#[tokio::test]
async fn an_append_that_took_effect_before_the_drop_is_found() {
    let store = WatchedStore::new();
    let thread = live(&store).await;
    let batch = turn(HistoryMode::Paginated, "a");
    drop_at(store.hang_after(Op::Append, None), thread.append(&batch)).await;
    assert_eq!(thread.metadata().await.preview.as_deref(), Some("a"));
    thread.append(&turn(HistoryMode::Paginated, "b")).await.unwrap();
    assert_eq!(model_prompts(&store, id(1)).await, ["a", "b"]);
    assert_eq!(thread.metadata().await.preview.as_deref(), Some("a"));
}

#[tokio::test]
async fn a_dropped_append_without_effect_can_be_repeated() {
    let store = WatchedStore::new();
    let thread = live(&store).await;
    let batch = turn(HistoryMode::Paginated, "a");
    drop_at(store.hang_before(Op::Append, None), thread.append(&batch)).await;
    assert_eq!(thread.metadata().await.preview, None);
    thread.append(&batch).await.unwrap();
    assert_eq!(model_prompts(&store, id(1)).await, ["a"]);
}

/// A caller that stopped waiting and repeats the append does not know whether the first one took effect. It need not.
#[tokio::test]
async fn a_dropped_append_with_effect_can_be_repeated() {
    let store = WatchedStore::new();
    let thread = live(&store).await;
    let batch = turn(HistoryMode::Paginated, "a");
    drop_at(store.hang_after(Op::Append, None), thread.append(&batch)).await;
    thread.append(&batch).await.unwrap();
    assert_eq!(model_prompts(&store, id(1)).await, ["a"]);
    thread.append(&batch).await.unwrap();
    assert_eq!(model_prompts(&store, id(1)).await, ["a", "a"], "a third one is another one");
}

#[tokio::test]
async fn a_lazy_thread_stays_lazy() {
    let store = WatchedStore::new();
    let manager = store.manager();
    let thread = manager.start(paginated(1)).await.unwrap();
    let window = thread.window().await;
    drop_at(store.hang_before(Op::Append, None), thread.append(&[message("a")])).await;
    assert_eq!(thread.window().await, window);
    assert!(store.read_thread(id(1)).await.is_err());
    thread.append_context(&[message("a")], &surroundings("/a")).await.unwrap();
    assert_eq!(world_state_records(&store, id(1)).await, [(true, surroundings("/a").into_value())]);
}

/// A patch that is based on anything but the last state in the log would make the log wrong.
#[tokio::test]
async fn a_world_state_patch_is_based_on_the_log() {
    let store = WatchedStore::new();
    let thread = live(&store).await;
    thread.append_context(&[], &surroundings("/a")).await.unwrap();
    drop_at(store.hang_after(Op::Append, None), thread.append_context(&[], &surroundings("/b"))).await;
    thread.append_context(&[], &surroundings("/a")).await.unwrap();
    let context = store.load_model_context(id(1)).await.unwrap();
    assert_eq!(context.world_state, Some(surroundings("/a")));
}

#[tokio::test]
async fn a_dropped_compaction_that_took_effect_is_found() {
    let store = WatchedStore::new();
    let thread = live(&store).await;
    thread.append_context(&[], &surroundings("/a")).await.unwrap();
    let history = vec![ResponseItem::user_text("summary")];
    drop_at(store.hang_after(Op::Append, None), thread.compact("summary", history.clone())).await;
    assert_eq!(thread.world_state().await, None);
    assert_eq!(thread.window().await.number, 1);
    assert_eq!(thread.compact("summary", history).await.unwrap().number, 2);
    let context = store.load_model_context(id(1)).await.unwrap();
    assert_eq!(context.window, thread.window().await);
}

#[tokio::test]
async fn a_dropped_rewind_that_took_effect_is_found() {
    let store = WatchedStore::new();
    let manager = store.manager();
    let thread = start(&manager, 1, HistoryMode::Paginated, &["a"]).await;
    drop_at(store.hang_after(Op::Revert, None), manager.rewind(id(1), TurnBoundary::BeforeNewest(1))).await;
    assert_eq!(thread.metadata().await.preview, store.read_thread(id(1)).await.unwrap().preview);
    thread.append(&turn(HistoryMode::Paginated, "b")).await.unwrap();
    assert_eq!(model_prompts(&store, id(1)).await, ["b"]);
}

#[tokio::test]
async fn a_dropped_rename_that_took_effect_is_found() {
    let store = WatchedStore::new();
    let manager = store.manager();
    let thread = start(&manager, 1, HistoryMode::Paginated, &["a"]).await;
    let patch = ThreadMetadataPatch { name: Some(Some("name".to_owned())), ..Default::default() };
    drop_at(store.hang_after(Op::Update, None), manager.update_metadata(id(1), &patch)).await;
    thread.flush().await.unwrap();
    assert_eq!(thread.metadata().await.name.as_deref(), Some("name"));
}

/// The items are in the log. Only the metadata update was dropped.
#[tokio::test]
async fn metadata_of_a_dropped_update_is_stored_again() {
    let store = WatchedStore::new();
    let thread = live(&store).await;
    drop_at(store.hang_before(Op::Update, None), thread.append(&[model("one"), tokens(1)])).await;
    assert_eq!(store.derived_patches(), []);
    thread.flush().await.unwrap();
    let patches = store.derived_patches();
    assert_eq!((patches.len(), patches[0].model.clone()), (1, Some(Some("one".to_owned()))));
    assert_eq!(tokens_used(&thread.metadata().await), Some(1));
}

#[tokio::test]
async fn the_state_is_read_again_until_the_store_answers() {
    let store = WatchedStore::new();
    let thread = live(&store).await;
    thread.append_context(&[], &surroundings("/a")).await.unwrap();
    drop_at(store.hang_after(Op::Append, None), thread.append_context(&[], &surroundings("/b"))).await;
    store.fail(Op::LoadContext, 2);
    assert_eq!(thread.world_state().await, None, "while the state is unknown, the model has to be told everything");
    assert!(thread.append(&[message("a")]).await.is_err());
    thread.append(&[message("a")]).await.unwrap();
    assert_eq!(thread.world_state().await, Some(surroundings("/b")));
    assert_eq!(model_prompts(&store, id(1)).await, ["a"]);
}

/// Appends are dropped at arbitrary moments. Each batch is in the log as a whole or not at all, and once if it was
/// acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_are_whole_whenever_appends_are_dropped() {
    let stores = crate::support::TestStores::local();
    let manager = stores.manager();
    let thread = start(&manager, 1, HistoryMode::Paginated, &[]).await;
    // Large enough that the store writes it on another thread, so the call really waits.
    let filler = "x".repeat(300 * 1024);
    let mut acknowledged = Vec::new();
    for n in 0..40 {
        let batch = [message(&format!("{n} a")), message(&filler), message(&format!("{n} b"))];
        let wait = std::time::Duration::from_micros(n * 20);
        if let Ok(outcome) = tokio::time::timeout(wait, thread.append(&batch)).await {
            outcome.unwrap();
            acknowledged.push(n);
        }
    }
    thread.shutdown().await.unwrap();
    let texts = model_prompts(&*stores.store(), id(1)).await;
    let mut seen = HashSet::new();
    for batch in texts.chunks(3) {
        let n: u64 = batch[0].trim_end_matches(" a").parse().unwrap();
        assert_eq!(batch, [format!("{n} a"), filler.clone(), format!("{n} b")]);
        assert!(seen.insert(n), "{n} is there twice");
    }
    assert!(acknowledged.iter().all(|n| seen.contains(n)), "{acknowledged:?} {seen:?}");
}
