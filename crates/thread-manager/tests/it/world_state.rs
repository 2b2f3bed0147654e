//! What the model was told about its surroundings.
#![expect(clippy::unwrap_used, reason = "test code, which clippy does not recognize without the attribute `test`")]

use selvedge_protocol::{EventMsg, HistoryMode, ResponseItem, ThreadRolledBackEvent, TurnBoundary, WorldStateRecord};
use serde_json::json;

use crate::support::{
    MODES, TestStores, complete, id, kinds, message, model_prompts, paginated, start, started, surroundings,
    user_message, world_state_records,
};

async fn records_are_full_first_then_patches_then_absent(stores: TestStores) {
    for (n, mode) in (1..).zip(MODES) {
        let manager = stores.manager();
        let thread = start(&manager, n, mode, &[]).await;
        for cwd in ["/a", "/b", "/b"] {
            thread.append_context(&[message(cwd)], &surroundings(cwd)).await.unwrap();
        }
        let patch = json!({"environment": {"cwd": "/b"}});
        let store = stores.store();
        assert_eq!(
            world_state_records(&*store, id(n)).await,
            [(true, surroundings("/a").into_value()), (false, patch)]
        );
        assert_eq!(
            model_prompts(&*store, id(n)).await,
            ["/a", "/b", "/b"],
            "the messages to the model are appended in any case"
        );
        assert_eq!(thread.world_state().await, Some(surroundings("/b")));
    }
}

async fn the_record_follows_the_context(stores: TestStores) {
    let manager = stores.manager();
    let thread = manager.start(paginated(1)).await.unwrap();
    let appended = thread.append_context(&[message("one"), message("two")], &surroundings("/a")).await.unwrap();
    assert_eq!((appended.lines, appended.last_ordinal), (4, Some(3)));
    let expected = ["session_meta", "response_item", "response_item", "world_state"];
    assert_eq!(kinds(&*stores.store(), id(1)).await, expected);
}

async fn a_compaction_makes_the_next_record_full(stores: TestStores) {
    let manager = stores.manager();
    let thread = start(&manager, 1, HistoryMode::Paginated, &[]).await;
    thread.append_context(&[message("one")], &surroundings("/a")).await.unwrap();
    thread.compact("summary", vec![ResponseItem::user_text("summary")]).await.unwrap();
    assert_eq!(thread.world_state().await, None);
    thread.append_context(&[message("one")], &surroundings("/a")).await.unwrap();
    let whole = (true, surroundings("/a").into_value());
    assert_eq!(world_state_records(&*stores.store(), id(1)).await, [whole.clone(), whole]);
    assert_eq!(model_prompts(&*stores.store(), id(1)).await, ["summary", "one"]);
}

async fn a_rewind_to_before_the_first_record_makes_the_next_record_full(stores: TestStores) {
    for (n, mode) in (1..).zip(MODES) {
        let manager = stores.manager();
        let thread = start(&manager, n, mode, &["a"]).await;
        thread.append(&[started("b")]).await.unwrap();
        thread.append_context(&[], &surroundings("/b")).await.unwrap();
        thread.append(&[message("b"), user_message(mode, "b", "b"), complete("b")]).await.unwrap();
        manager.rewind(id(n), TurnBoundary::BeforeNewest(1)).await.unwrap();
        assert_eq!(thread.world_state().await, None);
        thread.append_context(&[message("c")], &surroundings("/b")).await.unwrap();
        assert_eq!(
            world_state_records(&*stores.store(), id(n)).await.last(),
            Some(&(true, surroundings("/b").into_value()))
        );
    }
}

async fn a_rewind_goes_back_to_the_earlier_world_state(stores: TestStores) {
    for (n, mode) in (1..).zip(MODES) {
        let manager = stores.manager();
        let thread = start(&manager, n, mode, &[]).await;
        for turn in ["a", "b"] {
            thread.append(&[started(turn)]).await.unwrap();
            thread.append_context(&[], &surroundings(turn)).await.unwrap();
            thread.append(&[message(turn), user_message(mode, turn, turn), complete(turn)]).await.unwrap();
        }
        manager.rewind(id(n), TurnBoundary::BeforeNewest(1)).await.unwrap();
        assert_eq!(thread.world_state().await, Some(surroundings("a")));
        thread.append_context(&[message("c")], &surroundings("c")).await.unwrap();
        let context = stores.store().load_model_context(id(n)).await.unwrap();
        assert_eq!(context.world_state, Some(surroundings("c")));
        assert_eq!(
            world_state_records(&*stores.store(), id(n)).await.last(),
            Some(&(false, json!({"environment": {"cwd": "c"}})))
        );
    }
}

async fn a_rollback_event_counts(stores: TestStores) {
    let manager = stores.manager();
    let thread = start(&manager, 1, HistoryMode::Legacy, &["a"]).await;
    thread.append(&[started("b")]).await.unwrap();
    thread.append_context(&[], &surroundings("/b")).await.unwrap();
    thread.append(&[message("b"), user_message(HistoryMode::Legacy, "b", "b"), complete("b")]).await.unwrap();
    let event = ThreadRolledBackEvent { num_turns: Some(1), ..Default::default() };
    thread.append(&[EventMsg::from(event).into()]).await.unwrap();
    assert_eq!(thread.world_state().await, None);
    assert_eq!(model_prompts(&*stores.store(), id(1)).await, ["a"]);
}

async fn a_resumed_thread_knows_the_world_state(stores: TestStores) {
    for (n, mode) in (1..).zip(MODES) {
        let thread = start(&stores.manager(), n, mode, &[]).await;
        thread.append_context(&[message("one")], &surroundings("/a")).await.unwrap();
        thread.append_context(&[message("two")], &surroundings("/b")).await.unwrap();
        thread.shutdown().await.unwrap();
        let resumed = stores.manager().resume(id(n)).await.unwrap();
        assert_eq!(resumed.context.world_state, Some(surroundings("/b")));
        resumed.live.append_context(&[message("three")], &surroundings("/b")).await.unwrap();
        assert_eq!(world_state_records(&*stores.store(), id(n)).await.len(), 2);
    }
}

async fn records_that_the_caller_appends_count(stores: TestStores) {
    let manager = stores.manager();
    let thread = start(&manager, 1, HistoryMode::Paginated, &[]).await;
    let patch = WorldStateRecord { full: Some(false), state: Some(json!({"x": 1})), ..Default::default() };
    thread.append(&[patch.clone().into()]).await.unwrap();
    assert_eq!(thread.world_state().await, None, "there is nothing to patch");
    thread.append(&[WorldStateRecord::snapshot(&surroundings("/a")).into(), patch.into()]).await.unwrap();
    let live = thread.world_state().await;
    assert_eq!(live.as_ref().unwrap().section("x"), Some(&json!(1)));
    assert_eq!(live, stores.store().load_model_context(id(1)).await.unwrap().world_state);
    let broken = WorldStateRecord { full: Some(false), state: Some(json!("no patch")), ..Default::default() };
    thread.append(&[broken.into()]).await.unwrap();
    assert_eq!(thread.world_state().await, None);
    assert_eq!(stores.store().load_model_context(id(1)).await.unwrap().world_state, None);
}

crate::over_both_stores! {
    records_are_full_first_then_patches_then_absent, the_record_follows_the_context,
    a_compaction_makes_the_next_record_full, a_rewind_to_before_the_first_record_makes_the_next_record_full,
    a_rewind_goes_back_to_the_earlier_world_state, a_rollback_event_counts, a_resumed_thread_knows_the_world_state,
    records_that_the_caller_appends_count,
}
