//! The calls that a fork and a rewind make to the store. None of them reads the whole thread.

use selvedge_protocol::{HistoryMode, TurnBoundary};
use selvedge_thread_store::ThreadReader;

use crate::support::{fork, id, model_prompts, start, turn};
use crate::watched_store::{Op, WatchedStore};

const MODE: HistoryMode = HistoryMode::Paginated;

#[tokio::test]
async fn a_fork_reads_no_thread_record_and_no_turns() {
    let store = WatchedStore::new();
    let manager = store.manager();
    start(&manager, 1, MODE, &["a", "b"]).await;
    store.fail(Op::Read, usize::MAX);
    store.fail(Op::LoadContext, usize::MAX);
    for (n, at) in (2..).zip([TurnBoundary::Latest, TurnBoundary::After("a".into()), TurnBoundary::BeforeNewest(1)]) {
        assert_eq!(fork(&manager, id(1), n, at).await, id(n));
    }
}

/// Several rewinds in a row do not read the state in between.
#[tokio::test]
async fn a_rewind_of_a_live_thread_reads_no_thread_record_and_no_context() {
    let store = WatchedStore::new();
    let manager = store.manager();
    let thread = start(&manager, 1, MODE, &["a", "b", "c", "d"]).await;
    store.fail(Op::Read, 1);
    store.fail(Op::LoadContext, 1);
    assert_eq!(manager.rewind(id(1), TurnBoundary::BeforeNewest(1)).await.unwrap(), 1);
    assert_eq!(manager.rewind(id(1), TurnBoundary::BeforeNewest(2)).await.unwrap(), 2);
    // Each of the two operations fails once, so the third append is the first one that can read the state.
    assert!(thread.append(&turn(MODE, "e")).await.is_err());
    assert!(thread.append(&turn(MODE, "e")).await.is_err());
    thread.append(&turn(MODE, "e")).await.unwrap();
    assert_eq!(model_prompts(&store, id(1)).await, ["a", "e"]);
    assert_eq!(thread.metadata().await.preview, store.read_thread(id(1)).await.unwrap().preview);
}

/// After a rewind that undoes nothing, the state in memory is still current, so the next append reads nothing.
#[tokio::test]
async fn a_rewind_to_the_latest_costs_the_next_call_nothing() {
    let store = WatchedStore::new();
    let manager = store.manager();
    let thread = start(&manager, 1, MODE, &["a"]).await;
    store.fail(Op::Read, 1);
    store.fail(Op::LoadContext, 1);
    for to in [TurnBoundary::BeforeNewest(0), TurnBoundary::After("a".into())] {
        assert_eq!(manager.rewind(id(1), to).await.unwrap(), 0);
    }
    thread.append(&turn(MODE, "b")).await.unwrap();
}
