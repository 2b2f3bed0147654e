//! A section of the surroundings whose content is known late: the model is told that the section is pending, and later
//! its outcome, once.
//!
//! Surroundings may contain something that is not known yet, such as an environment that is still starting. Such a
//! section is part of every snapshot, so a compaction before the outcome must not lose it. The outcome must be recorded
//! exactly once. A writer that wrongly assumes that it was recorded would never record it; a writer that does not know
//! that it was recorded would record it twice.
#![expect(clippy::unwrap_used, reason = "test code, which clippy does not recognize without the attribute `test`")]

use std::sync::Arc;

use selvedge_protocol::{HistoryMode, ResponseItem, ThreadId, TurnBoundary, WorldState};
use selvedge_thread_manager::LiveThread;
use serde_json::{Value, json};

use crate::support::{
    MODES, TestStores, complete, fork, id, message, start, started, turn, user_message, world_state_records,
};

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

/// The changes that the outcome brings, and nothing else.
fn outcome() -> Value {
    json!({"environments": {"remote": {"status": "ready", "cwd": "/remote"}}})
}

fn whole(world: &WorldState) -> (bool, Value) {
    (true, world.clone().into_value())
}

/// Records a turn that tells the model its surroundings.
async fn turn_with_context(thread: &Arc<LiveThread>, name: &str, world: &WorldState) {
    let mode = thread.mode();
    thread.append(&[started(name)]).await.unwrap();
    thread.append_context(&[message("<environment_context>…</environment_context>")], world).await.unwrap();
    thread.append(&[message(name), user_message(mode, name, name), complete(name)]).await.unwrap();
}

async fn compact(thread: &Arc<LiveThread>) {
    thread.compact("summary", vec![ResponseItem::user_text("summary")]).await.unwrap();
}

/// A thread that was compacted while the section was pending. The model was told so before and after the compaction.
async fn compacted_while_pending(stores: &TestStores, n: u32, mode: HistoryMode) -> Arc<LiveThread> {
    let thread = start(&stores.manager(), n, mode, &[]).await;
    turn_with_context(&thread, "a", &pending()).await;
    compact(&thread).await;
    turn_with_context(&thread, "b", &pending()).await;
    thread
}

async fn assert_records(stores: &TestStores, thread_id: ThreadId, records: &[(bool, Value)]) {
    assert_eq!(world_state_records(&*stores.store(), thread_id).await, records);
}

async fn a_pending_section_survives_a_compaction_and_is_updated_once(stores: TestStores) {
    for (n, mode) in (1..).zip(MODES) {
        let thread = compacted_while_pending(&stores, n, mode).await;
        let kept = [whole(&pending()), whole(&pending())];
        assert_records(&stores, id(n), &kept).await;
        assert_eq!(thread.world_state().await, Some(pending()));
        for name in ["c", "d", "e"] {
            turn_with_context(&thread, name, &settled()).await;
            assert_records(&stores, id(n), &[&kept[..], &[(false, outcome())]].concat()).await;
        }
        let context = stores.store().load_model_context(id(n)).await.unwrap();
        assert_eq!(context.world_state, Some(settled()));
    }
}

/// Neither a later writer of the thread nor a writer of a fork records the outcome again.
async fn a_later_writer_does_not_record_the_outcome_again(stores: TestStores) {
    for (n, mode) in (1..).zip(MODES) {
        let thread = compacted_while_pending(&stores, n, mode).await;
        turn_with_context(&thread, "c", &settled()).await;
        let all = [whole(&pending()), whole(&pending()), (false, outcome())];
        thread.append(&turn(mode, "undone")).await.unwrap();
        thread.shutdown().await.unwrap();
        let manager = stores.manager();
        manager.rewind(id(n), TurnBoundary::BeforeNewest(1)).await.unwrap();
        let resumed = manager.resume(id(n)).await.unwrap().live;
        turn_with_context(&resumed, "d", &settled()).await;
        assert_records(&stores, id(n), &all).await;
        fork(&manager, id(n), n + 10, TurnBoundary::Latest).await;
        let forked = manager.resume(id(n + 10)).await.unwrap().live;
        turn_with_context(&forked, "e", &settled()).await;
        assert_records(&stores, id(n + 10), &all).await;
    }
}

/// A writer that continues from before the outcome was recorded has to record it, once.
async fn a_writer_that_resumes_from_before_the_outcome_records_it_once(stores: TestStores) {
    for (n, mode) in (1..).zip(MODES) {
        let thread = compacted_while_pending(&stores, n, mode).await;
        let manager = stores.manager();
        fork(&manager, id(n), n + 10, TurnBoundary::Latest).await;
        turn_with_context(&thread, "c", &settled()).await;
        thread.shutdown().await.unwrap();
        manager.rewind(id(n), TurnBoundary::BeforeNewest(1)).await.unwrap();
        for thread_id in [id(n), id(n + 10)] {
            let before = world_state_records(&*stores.store(), thread_id).await;
            let thread = manager.resume(thread_id).await.unwrap().live;
            assert_eq!(thread.world_state().await, Some(pending()));
            turn_with_context(&thread, "d", &settled()).await;
            turn_with_context(&thread, "e", &settled()).await;
            assert_records(&stores, thread_id, &[&before[..], &[(false, outcome())]].concat()).await;
        }
    }
}

/// An outcome between the compaction and the next record is in that full record, and no update follows.
async fn an_outcome_during_the_compaction_is_in_the_snapshot(stores: TestStores) {
    for (n, mode) in (1..).zip(MODES) {
        let thread = start(&stores.manager(), n, mode, &[]).await;
        turn_with_context(&thread, "a", &pending()).await;
        compact(&thread).await;
        // The writer that compacted dies before it tells the model anything.
        thread.shutdown().await.unwrap();
        let thread = stores.manager().resume(id(n)).await.unwrap().live;
        assert_eq!(thread.world_state().await, None);
        turn_with_context(&thread, "b", &settled()).await;
        turn_with_context(&thread, "c", &settled()).await;
        assert_records(&stores, id(n), &[whole(&pending()), whole(&settled())]).await;
    }
}

/// A section that does not exist at first comes as one patch, and is part of the full record after a compaction.
async fn a_section_that_is_added_late_is_recorded_once(stores: TestStores) {
    for (n, mode) in (1..).zip(MODES) {
        let without = WorldState::new(json!({"tools": ["a"]})).unwrap();
        let with = WorldState::new(json!({"tools": ["a"], "late": {"servers": {"x": "ready"}}})).unwrap();
        let thread = start(&stores.manager(), n, mode, &[]).await;
        for (name, world) in [("a", &without), ("b", &with), ("c", &with)] {
            turn_with_context(&thread, name, world).await;
        }
        let late = (false, json!({"late": {"servers": {"x": "ready"}}}));
        assert_records(&stores, id(n), &[whole(&without), late.clone()]).await;
        compact(&thread).await;
        turn_with_context(&thread, "d", &with).await;
        turn_with_context(&thread, "e", &with).await;
        assert_records(&stores, id(n), &[whole(&without), late, whole(&with)]).await;
    }
}

crate::over_both_stores! {
    a_pending_section_survives_a_compaction_and_is_updated_once, a_later_writer_does_not_record_the_outcome_again,
    a_writer_that_resumes_from_before_the_outcome_records_it_once, an_outcome_during_the_compaction_is_in_the_snapshot,
    a_section_that_is_added_late_is_recorded_once,
}
