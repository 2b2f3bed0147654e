//! Answers of the store that are lost: every call takes effect once, whether or not the lost one did.
#![expect(clippy::unwrap_used, reason = "test code, which clippy does not recognize without the attribute `test`")]

use selvedge_protocol::{HistoryMode, ThreadMetadataPatch, TurnBoundary};
use selvedge_thread_store::{ForkThread, Recovery, StoreError, ThreadReader};

use crate::support::{id, model_prompts, paginated, turn};
use crate::watched_store::{Op, WatchedStore};

const OPS: [Op; 14] = [
    Op::Create,
    Op::Resume,
    Op::Append,
    Op::Persist,
    Op::Flush,
    Op::Sync,
    Op::Shutdown,
    Op::Update,
    Op::Revert,
    Op::Fork,
    Op::Archive,
    Op::Unarchive,
    Op::Delete,
    Op::Detach,
];

/// Does everything that a manager can do. The answers of one operation are lost, once or several times in a row.
async fn story(op: Op, took_effect: bool, times: usize) {
    let what = format!("{op:?}, took effect: {took_effect}, {times} times");
    let store = WatchedStore::new();
    let manager = store.manager();
    // Each step of the scenario loses its answers again.
    let lose = || {
        store.forget();
        store.lose_answers(op, took_effect, times);
    };
    lose();
    let thread = manager.start(paginated(1)).await.unwrap();
    lose();
    thread.persist().await.unwrap();
    for name in ["a", "b", "c", "d"] {
        lose();
        thread.append(&turn(HistoryMode::Paginated, name)).await.unwrap();
    }
    lose();
    thread.flush().await.unwrap();
    lose();
    thread.sync().await.unwrap();
    lose();
    assert_eq!(manager.rewind(id(1), TurnBoundary::BeforeNewest(1)).await.unwrap(), 1, "{what}");
    lose();
    let patch = ThreadMetadataPatch { name: Some(Some("name".to_owned())), ..Default::default() };
    assert_eq!(manager.update_metadata(id(1), &patch).await.unwrap().name.as_deref(), Some("name"), "{what}");
    lose();
    thread.shutdown().await.unwrap();
    lose();
    assert_eq!(manager.rewind(id(1), TurnBoundary::BeforeNewest(1)).await.unwrap(), 1, "{what}: cold");
    lose();
    let resumed = manager.resume(id(1)).await.unwrap();
    resumed.live.append(&turn(HistoryMode::Paginated, "e")).await.unwrap();
    lose();
    resumed.live.shutdown().await.unwrap();
    let meta = paginated(2);
    lose();
    let fork = manager.fork(ForkThread { source: id(1), at: TurnBoundary::Latest, meta }).await.unwrap();
    lose();
    manager.detach(fork).await.unwrap();
    lose();
    assert!(manager.archive(id(1)).await.expect(&what).archived, "{what}");
    lose();
    assert!(!manager.unarchive(id(1)).await.unwrap().archived, "{what}");
    lose();
    manager.delete(id(1)).await.unwrap();
    store.forget();
    assert!(store.read_thread(id(1)).await.is_err(), "{what}");
    assert_eq!(model_prompts(&store, fork).await, ["a", "b", "e"], "{what}");
}

#[tokio::test]
async fn every_call_takes_effect_once() {
    for op in OPS {
        for took_effect in [false, true] {
            for times in [1, 3] {
                story(op, took_effect, times).await;
            }
        }
    }
}

/// A store that never answers makes the append fail. The same append again finds out what happened to the first one.
#[tokio::test]
async fn an_append_whose_outcome_stays_unknown_can_be_repeated() {
    for took_effect in [false, true] {
        let store = WatchedStore::new();
        let thread = store.manager().start(paginated(1)).await.unwrap();
        let batch = turn(HistoryMode::Paginated, "a");
        store.lose_answers(Op::Append, took_effect, usize::MAX);
        let error = thread.append(&batch).await.unwrap_err();
        assert!(matches!(error, StoreError::OutcomeUnknown { .. }) && error.recovery() == Recovery::RepeatSame);
        store.forget();
        thread.append(&batch).await.unwrap();
        thread.append(&turn(HistoryMode::Paginated, "b")).await.unwrap();
        assert_eq!(model_prompts(&store, id(1)).await, ["a", "b"], "took effect: {took_effect}");
        assert_eq!(thread.metadata().await.preview.as_deref(), Some("a"));
    }
}
