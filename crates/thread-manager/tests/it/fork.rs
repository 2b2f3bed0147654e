//! Forks of live and cold threads.
#![expect(clippy::unwrap_used, reason = "test code, which clippy does not recognize without the attribute `test`")]

use selvedge_protocol::{ThreadId, TurnBoundary};
use selvedge_thread_store::StoreError;

use crate::support::{
    MODES, TestStores, fork, id, message, model_prompts, record, shown_prompts, start, surroundings, turn,
};

async fn assert_turns(stores: &TestStores, thread_id: ThreadId, turns: &[&str]) {
    assert_eq!(shown_prompts(&*stores.store(), thread_id).await, turns, "as a client shows it");
    assert_eq!(model_prompts(&*stores.store(), thread_id).await, turns, "what the model sees");
}

/// Turn boundaries, and what a fork at each of them has of the turns a, b, c.
fn cuts() -> [(TurnBoundary, &'static [&'static str]); 4] {
    [
        (TurnBoundary::Latest, &["a", "b", "c"]),
        (TurnBoundary::After("b".into()), &["a", "b"]),
        (TurnBoundary::Before("b".into()), &["a"]),
        (TurnBoundary::Before("a".into()), &[]),
    ]
}

async fn forks_a_cold_thread(stores: TestStores) {
    for (n, mode) in (1..).zip(MODES) {
        let manager = stores.manager();
        record(&manager, n, mode, &["a", "b", "c"]).await;
        for (fork_n, (cut, kept)) in (n * 10..).zip(cuts()) {
            assert_eq!(fork(&manager, id(n), fork_n, cut).await, id(fork_n));
            assert_eq!(manager.thread(id(fork_n)).await.unwrap().forked_from_id, Some(id(n)));
            assert_turns(&stores, id(fork_n), kept).await;
            assert!(manager.live(id(fork_n)).is_none(), "a fork is cold");
        }
        assert_turns(&stores, id(n), &["a", "b", "c"]).await;
    }
}

async fn forks_a_live_thread(stores: TestStores) {
    for (n, mode) in (1..).zip(MODES) {
        let manager = stores.manager();
        let thread = start(&manager, n, mode, &["a", "b", "c"]).await;
        for (fork_n, (cut, kept)) in (n * 10..).zip(cuts()) {
            fork(&manager, id(n), fork_n, cut).await;
            assert_turns(&stores, id(fork_n), kept).await;
        }
        thread.append(&turn(mode, "d")).await.unwrap();
        assert_turns(&stores, id(n), &["a", "b", "c", "d"]).await;
        assert_turns(&stores, id(n * 10), &["a", "b", "c"]).await;
    }
}

async fn a_fork_is_independent_of_its_source(stores: TestStores) {
    for (n, mode) in (1..).zip(MODES) {
        let manager = stores.manager();
        let thread = start(&manager, n, mode, &["a", "b"]).await;
        fork(&manager, id(n), n + 10, TurnBoundary::Before("b".into())).await;
        let resumed = manager.resume(id(n + 10)).await.unwrap().live;
        resumed.append(&turn(mode, "x")).await.unwrap();
        thread.append(&turn(mode, "c")).await.unwrap();
        assert_turns(&stores, id(n + 10), &["a", "x"]).await;
        assert_turns(&stores, id(n), &["a", "b", "c"]).await;
        assert_eq!(resumed.metadata().await.preview.as_deref(), Some("a"));
    }
}

async fn a_fork_knows_what_the_model_was_told(stores: TestStores) {
    for (n, mode) in (1..).zip(MODES) {
        let manager = stores.manager();
        let thread = start(&manager, n, mode, &["a"]).await;
        thread.append_context(&[message("/a")], &surroundings("/a")).await.unwrap();
        fork(&manager, id(n), n + 10, TurnBoundary::Latest).await;
        let resumed = manager.resume(id(n + 10)).await.unwrap().live;
        assert_eq!(resumed.world_state().await, Some(surroundings("/a")));
    }
}

async fn a_fork_at_an_unknown_turn_fails(stores: TestStores) {
    let manager = stores.manager();
    start(&manager, 1, MODES[1], &["a"]).await;
    let mut created = manager.subscribe();
    let request = selvedge_thread_store::ForkThread {
        source: id(1),
        at: TurnBoundary::After("z".into()),
        meta: crate::support::paginated(2),
    };
    assert!(matches!(manager.fork(request).await, Err(StoreError::TurnNotFound { .. })));
    assert!(created.try_recv().is_err());
}

crate::over_both_stores! {
    forks_a_cold_thread, forks_a_live_thread, a_fork_is_independent_of_its_source, a_fork_knows_what_the_model_was_told,
    a_fork_at_an_unknown_turn_fails,
}
