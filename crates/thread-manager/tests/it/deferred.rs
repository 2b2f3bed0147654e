//! A section of the surroundings that is settled late: the model is told that it is pending, and of its outcome once.
//!
//! Surroundings may hold what is not known yet (an environment that is still starting). Such a section is part of every
//! snapshot, so a compaction that comes before the outcome must not lose it; and the outcome, when it comes, must be told
//! once: not never, because it was taken for told, and not twice, because it was forgotten that it was.
#![expect(clippy::unwrap_used, reason = "a check is a test, though another function carries the attribute")]

use std::sync::Arc;

use selvedge_protocol::{HistoryMode, ResponseItem, ThreadId, WorldState};
use selvedge_thread_manager::{LiveThread, RewindTo};
use selvedge_thread_store::TurnBoundary;
use serde_json::{Value, json};

use crate::support::{MODES, Place, complete, fork, id, message, start, started, told, turn, user_said};

fn world(remote: Value) -> WorldState {
    let environments = json!({"local": {"cwd": "/srv", "status": "ready"}, "remote": remote});
    WorldState::new(json!({"environments": environments, "tools": ["a"]})).unwrap()
}

fn pending() -> WorldState {
    world(json!({"status": "starting"}))
}

fn settled() -> WorldState {
    world(json!({"status": "ready", "cwd": "/remote"}))
}

/// What the outcome changes, and nothing else.
fn outcome() -> Value {
    json!({"environments": {"remote": {"status": "ready", "cwd": "/remote"}}})
}

fn whole(world: &WorldState) -> (bool, Value) {
    (true, world.clone().into_value())
}

/// A turn that tells the model of its surroundings.
async fn projected_turn(thread: &Arc<LiveThread>, name: &str, world: &WorldState) {
    let mode = thread.mode();
    thread.append(&[started(name)]).await.unwrap();
    thread.append_context(&[message("<environment_context>…")], world).await.unwrap();
    thread.append(&[message(name), user_said(mode, name, name), complete(name)]).await.unwrap();
}

async fn compact(thread: &Arc<LiveThread>) {
    thread.compact("summary", vec![ResponseItem::user_text("summary")]).await.unwrap();
}

/// A thread that was compacted while the section was pending, and in which the model was told so before and after.
async fn compacted_while_pending(place: &Place, n: u32, mode: HistoryMode) -> Arc<LiveThread> {
    let thread = start(&place.manager(), n, mode, &[]).await;
    projected_turn(&thread, "a", &pending()).await;
    compact(&thread).await;
    projected_turn(&thread, "b", &pending()).await;
    thread
}

async fn assert_told(place: &Place, thread_id: ThreadId, records: &[(bool, Value)]) {
    assert_eq!(told(&*place.store(), thread_id).await, records);
}

async fn it_is_kept_over_a_compaction_and_updated_once(place: Place) {
    for (n, mode) in (1..).zip(MODES) {
        let thread = compacted_while_pending(&place, n, mode).await;
        let kept = [whole(&pending()), whole(&pending())];
        assert_told(&place, id(n), &kept).await;
        assert_eq!(thread.world_state().await, Some(pending()));
        for name in ["c", "d", "e"] {
            projected_turn(&thread, name, &settled()).await;
            assert_told(&place, id(n), &[&kept[..], &[(false, outcome())]].concat()).await;
        }
        let context = place.store().load_model_context(id(n)).await.unwrap();
        assert_eq!(context.world_state, Some(settled()));
    }
}

/// Neither who goes on with the thread later nor who goes on elsewhere tells the outcome again.
async fn who_goes_on_does_not_tell_it_again(place: Place) {
    for (n, mode) in (1..).zip(MODES) {
        let thread = compacted_while_pending(&place, n, mode).await;
        projected_turn(&thread, "c", &settled()).await;
        let all = [whole(&pending()), whole(&pending()), (false, outcome())];
        thread.append(&turn(mode, "undone")).await.unwrap();
        thread.shutdown().await.unwrap();
        let manager = place.manager();
        manager.rewind(id(n), RewindTo::Turns(1)).await.unwrap();
        let resumed = manager.resume(id(n)).await.unwrap().live;
        projected_turn(&resumed, "d", &settled()).await;
        assert_told(&place, id(n), &all).await;
        fork(&manager, id(n), n + 10, TurnBoundary::Latest).await;
        let forked = manager.resume(id(n + 10)).await.unwrap().live;
        projected_turn(&forked, "e", &settled()).await;
        assert_told(&place, id(n + 10), &all).await;
    }
}

/// Who goes on from before the outcome was told has to tell it, once.
async fn who_goes_on_from_before_tells_it_once(place: Place) {
    for (n, mode) in (1..).zip(MODES) {
        let thread = compacted_while_pending(&place, n, mode).await;
        let manager = place.manager();
        fork(&manager, id(n), n + 10, TurnBoundary::Latest).await;
        projected_turn(&thread, "c", &settled()).await;
        thread.shutdown().await.unwrap();
        manager.rewind(id(n), RewindTo::Turns(1)).await.unwrap();
        for thread_id in [id(n), id(n + 10)] {
            let before = told(&*place.store(), thread_id).await;
            let thread = manager.resume(thread_id).await.unwrap().live;
            assert_eq!(thread.world_state().await, Some(pending()));
            projected_turn(&thread, "d", &settled()).await;
            projected_turn(&thread, "e", &settled()).await;
            assert_told(&place, thread_id, &[&before[..], &[(false, outcome())]].concat()).await;
        }
    }
}

/// An outcome that comes between the compaction and the next telling is in the snapshot, and no update follows.
async fn an_outcome_during_the_compaction_is_in_the_snapshot(place: Place) {
    for (n, mode) in (1..).zip(MODES) {
        let thread = start(&place.manager(), n, mode, &[]).await;
        projected_turn(&thread, "a", &pending()).await;
        compact(&thread).await;
        // The one who compacted dies before anything was told.
        thread.shutdown().await.unwrap();
        let thread = place.manager().resume(id(n)).await.unwrap().live;
        assert_eq!(thread.world_state().await, None);
        projected_turn(&thread, "b", &settled()).await;
        projected_turn(&thread, "c", &settled()).await;
        assert_told(&place, id(n), &[whole(&pending()), whole(&settled())]).await;
    }
}

/// A section that is not there at first comes as one patch, and is whole behind a compaction.
async fn a_section_that_comes_late_comes_once(place: Place) {
    for (n, mode) in (1..).zip(MODES) {
        let without = WorldState::new(json!({"tools": ["a"]})).unwrap();
        let with = WorldState::new(json!({"tools": ["a"], "late": {"servers": {"x": "ready"}}})).unwrap();
        let thread = start(&place.manager(), n, mode, &[]).await;
        for (name, world) in [("a", &without), ("b", &with), ("c", &with)] {
            projected_turn(&thread, name, world).await;
        }
        let late = (false, json!({"late": {"servers": {"x": "ready"}}}));
        assert_told(&place, id(n), &[whole(&without), late.clone()]).await;
        compact(&thread).await;
        projected_turn(&thread, "d", &with).await;
        projected_turn(&thread, "e", &with).await;
        assert_told(&place, id(n), &[whole(&without), late, whole(&with)]).await;
    }
}

crate::over_both_stores! {
    it_is_kept_over_a_compaction_and_updated_once, who_goes_on_does_not_tell_it_again,
    who_goes_on_from_before_tells_it_once, an_outcome_during_the_compaction_is_in_the_snapshot,
    a_section_that_comes_late_comes_once,
}
