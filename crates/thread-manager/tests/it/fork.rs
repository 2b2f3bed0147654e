//! Forks of live and cold threads.
#![expect(clippy::unwrap_used, reason = "a check is a test, though another function carries the attribute")]

use selvedge_protocol::ThreadId;
use selvedge_thread_store::{StoreError, TurnBoundary};

use crate::support::{MODES, Place, fork, heard, id, message, record, shown, start, surroundings, turn};

async fn assert_turns(place: &Place, thread_id: ThreadId, turns: &[&str]) {
    assert_eq!(shown(&*place.store(), thread_id).await, turns, "what shows");
    assert_eq!(heard(&*place.store(), thread_id).await, turns, "what the model sees");
}

/// The cuts, and what is left of the turns a, b, c.
fn cuts() -> [(TurnBoundary, &'static [&'static str]); 4] {
    [
        (TurnBoundary::Latest, &["a", "b", "c"]),
        (TurnBoundary::After("b".into()), &["a", "b"]),
        (TurnBoundary::Before("b".into()), &["a"]),
        (TurnBoundary::Before("a".into()), &[]),
    ]
}

async fn forks_a_cold_thread(place: Place) {
    for (n, mode) in (1..).zip(MODES) {
        let manager = place.manager();
        record(&manager, n, mode, &["a", "b", "c"]).await;
        for (fork_n, (cut, kept)) in (n * 10..).zip(cuts()) {
            assert_eq!(fork(&manager, id(n), fork_n, cut).await, id(fork_n));
            assert_eq!(manager.thread(id(fork_n)).await.unwrap().forked_from_id, Some(id(n)));
            assert_turns(&place, id(fork_n), kept).await;
            assert!(manager.live(id(fork_n)).is_none(), "a fork is cold");
        }
        assert_turns(&place, id(n), &["a", "b", "c"]).await;
    }
}

async fn forks_a_live_thread(place: Place) {
    for (n, mode) in (1..).zip(MODES) {
        let manager = place.manager();
        let thread = start(&manager, n, mode, &["a", "b", "c"]).await;
        for (fork_n, (cut, kept)) in (n * 10..).zip(cuts()) {
            fork(&manager, id(n), fork_n, cut).await;
            assert_turns(&place, id(fork_n), kept).await;
        }
        thread.append(&turn(mode, "d")).await.unwrap();
        assert_turns(&place, id(n), &["a", "b", "c", "d"]).await;
        assert_turns(&place, id(n * 10), &["a", "b", "c"]).await;
    }
}

async fn a_fork_goes_on_by_itself(place: Place) {
    for (n, mode) in (1..).zip(MODES) {
        let manager = place.manager();
        let thread = start(&manager, n, mode, &["a", "b"]).await;
        fork(&manager, id(n), n + 10, TurnBoundary::Before("b".into())).await;
        let resumed = manager.resume(id(n + 10)).await.unwrap().live;
        resumed.append(&turn(mode, "x")).await.unwrap();
        thread.append(&turn(mode, "c")).await.unwrap();
        assert_turns(&place, id(n + 10), &["a", "x"]).await;
        assert_turns(&place, id(n), &["a", "b", "c"]).await;
        assert_eq!(resumed.metadata().await.preview.as_deref(), Some("a"));
    }
}

async fn a_fork_knows_what_the_model_was_told(place: Place) {
    for (n, mode) in (1..).zip(MODES) {
        let manager = place.manager();
        let thread = start(&manager, n, mode, &["a"]).await;
        thread.append_context(&[message("/a")], &surroundings("/a")).await.unwrap();
        fork(&manager, id(n), n + 10, TurnBoundary::Latest).await;
        let resumed = manager.resume(id(n + 10)).await.unwrap().live;
        assert_eq!(resumed.world_state().await, Some(surroundings("/a")));
    }
}

async fn there_is_no_fork_at_a_turn_that_is_not_there(place: Place) {
    let manager = place.manager();
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
    forks_a_cold_thread, forks_a_live_thread, a_fork_goes_on_by_itself, a_fork_knows_what_the_model_was_told,
    there_is_no_fork_at_a_turn_that_is_not_there,
}
