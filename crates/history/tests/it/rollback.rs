//! What a rollback takes away, and what it brings back: for the model and for a client.

use proptest::prelude::*;
use selvedge_history::ModelContext;
use selvedge_protocol::RolloutItem;
use serde_json::json;

use crate::story::{
    agent_event, assistant, compacted, compaction_turn, complete, event, fragment, item, item_kinds, patch, projected,
    replayed, rolled_back, snapshot, started, state, texts, turn, turn_context, turn_ids, user, user_event,
};

fn model(context: &ModelContext) -> Option<&str> {
    context.turn_context.as_ref()?.model.as_deref()
}

/// Two turns with context before each and a changed world in the second.
fn two_turns() -> Vec<Vec<RolloutItem>> {
    let told = vec![started("t0"), fragment("first"), snapshot(json!({"cwd": "/a"}))];
    let changed = vec![fragment("second"), patch(json!({"cwd": "/b"}))];
    let second = [vec![started("t2")], changed, turn("t2", "q2", "a2").split_off(1)].concat();
    vec![[told, turn("t0", "q1", "a1").split_off(1)].concat(), second]
}

fn and(mut story: Vec<Vec<RolloutItem>>, more: Vec<RolloutItem>) -> Vec<Vec<RolloutItem>> {
    story.push(more);
    story
}

#[test]
fn the_newest_turn_goes_with_the_context_told_before_it() {
    let story = and(two_turns(), vec![rolled_back(1)]);
    let context = replayed(&story);
    let kept = texts(&context);
    assert_eq!(kept.len(), 3, "{kept:?}");
    assert!(kept[0].contains("first"));
    assert_eq!(kept[1..], ["q1", "a1"]);
    assert_eq!(context.world_state, Some(state(json!({"cwd": "/a"}))));
    assert_eq!(model(&context), Some("t0"));
    assert_eq!(turn_ids(&projected(&story)), ["t0"]);
}

#[test]
fn more_turns_than_there_are_leave_what_stood_before_the_first() {
    for turns in [2, 3, u64::MAX] {
        let story = and(two_turns(), vec![rolled_back(turns)]);
        let context = replayed(&story);
        let kept = texts(&context);
        assert_eq!(kept.len(), 1, "{kept:?}");
        assert!(kept[0].contains("first"));
        assert_eq!((&context.world_state, model(&context)), (&None, None));
        assert_eq!(context.previous_settings, None);
        assert!(projected(&story).is_empty());
    }
}

#[test]
fn without_a_user_message_nothing_is_cut() {
    let story = [vec![fragment("here"), assistant("hello"), snapshot(json!({"a": 1})), rolled_back(1)]];
    let context = replayed(&story);
    assert_eq!(context.history.len(), 2);
    assert_eq!(context.world_state, Some(state(json!({"a": 1}))));
}

#[test]
fn rollbacks_accumulate() {
    let one = |n: u32| turn(&format!("t{n}"), &format!("q{n}"), &format!("a{n}"));
    let story = [one(1), one(2), one(3), vec![rolled_back(1)], one(4), vec![rolled_back(2)], one(5)];
    let context = replayed(&story);
    assert_eq!(texts(&context), ["q1", "a1", "q5", "a5"]);
    assert_eq!(turn_ids(&projected(&story)), ["t1", "t5"]);
    let further = replayed(&[story.concat(), vec![rolled_back(1), rolled_back(1)]]);
    assert!(further.history.is_empty());
}

#[test]
fn a_rollback_across_a_compaction_brings_back_what_that_cleared() {
    let told = vec![started("t1"), snapshot(json!({"cwd": "/a"}))];
    let first = [told, turn("t1", "q1", "a1").split_off(1)].concat();
    let again = vec![started("t3"), snapshot(json!({"cwd": "/c"}))];
    let third = [again, turn("t3", "q3", "a3").split_off(1)].concat();
    let compaction = compaction_turn("c", &["q1", "q2", "summary"], 1);
    let story = [first, turn("t2", "q2", "a2"), compaction, third, vec![rolled_back(2)]];
    let context = replayed(&story);
    // The history that the compaction replaced is gone; it loses two messages of the user: q3 and the summary.
    assert_eq!(texts(&context), ["q1", "q2"]);
    assert_eq!(context.world_state, Some(state(json!({"cwd": "/a"}))));
    assert_eq!(model(&context), Some("t1"));
    assert_eq!(context.window.number, 0);
    assert_eq!(turn_ids(&projected(&story)), ["t1"]);
}

#[test]
fn a_compaction_that_stands_before_the_undone_turn_stays() {
    let story =
        [turn("t1", "q1", "a1"), compaction_turn("c", &["q1", "s"], 1), turn("t2", "q2", "a2"), vec![rolled_back(1)]];
    let context = replayed(&story);
    assert_eq!(texts(&context), ["q1", "s"]);
    assert_eq!((model(&context), context.window.number), (None, 1));
    let turns = projected(&story);
    assert_eq!(turn_ids(&turns), ["t1", "c"]);
    assert_eq!(turns[1].items.len(), 1);
}

#[test]
fn a_compaction_behind_the_undone_turn_goes_with_it() {
    let story =
        [turn("t1", "q1", "a1"), turn("t2", "q2", "a2"), compaction_turn("c", &["q1", "s"], 1), vec![rolled_back(1)]];
    assert_eq!(turn_ids(&projected(&story)), ["t1"]);
    let context = replayed(&story);
    assert_eq!((model(&context), context.window.number), (Some("t1"), 0));
}

#[test]
fn a_compaction_in_the_middle_of_the_undone_turn_goes_with_it() {
    let middle = vec![
        started("t2"),
        user("q2"),
        user_event("q2"),
        compacted(&["q1", "q2", "s"], 1),
        assistant("a2"),
        complete("t2"),
    ];
    let context = replayed(&[turn("t1", "q1", "a1"), middle, vec![rolled_back(1)]]);
    assert_eq!(context.window.number, 0);
    assert_eq!(model(&context), Some("t1"));
}

#[test]
fn steering_messages_are_one_turn_but_several_messages() {
    let steered = vec![
        started("t2"),
        turn_context("t2", "t2"),
        user("q2"),
        user_event("q2"),
        user("faster"),
        user_event("faster"),
        assistant("a2"),
        complete("t2"),
    ];
    let story = [turn("t1", "q1", "a1"), steered, vec![rolled_back(1)]];
    let context = replayed(&story);
    assert_eq!(texts(&context), ["q1", "a1", "q2"]);
    assert_eq!(model(&context), Some("t1"));
    // What shows is what replay keeps: the question, without the steering and what came of it.
    let turns = projected(&story);
    assert_eq!(turn_ids(&turns), ["t1", "t2"]);
    assert_eq!(item_kinds(&turns[1]), ["user_message"]);
}

#[test]
fn messages_of_other_agents_count_as_the_users() {
    let message = item(json!({"type": "inter_agent_communication", "payload": {"content": "look"}}));
    let story = [turn("t1", "q1", "a1"), vec![started("t2"), message, assistant("a2"), complete("t2"), rolled_back(1)]];
    assert_eq!(texts(&replayed(&story)), ["q1", "a1"]);
    assert_eq!(turn_ids(&projected(&story)), ["t1"]);
}

#[test]
fn a_message_of_another_agent_between_turns_is_undone_alone() {
    let message = item(json!({"type": "inter_agent_communication", "payload": {"content": "look"}}));
    let answer = vec![started("t2"), agent_event("a2"), assistant("a2"), complete("t2")];
    let story = [turn("t1", "q1", "a1"), vec![message], answer, vec![rolled_back(1)]];
    assert_eq!(texts(&replayed(&story)), ["q1", "a1"]);
    assert_eq!(turn_ids(&projected(&story)), ["t1"]);
    let story = [story.concat(), vec![rolled_back(1)]];
    assert!(replayed(&story).history.is_empty());
    assert!(projected(&story).is_empty());
}

#[test]
fn a_turn_that_is_undone_while_it_runs_is_gone() {
    let running = vec![started("t2"), turn_context("t2", "t2"), user("q2"), user_event("q2"), assistant("half")];
    let story = [turn("t1", "q1", "a1"), running, vec![rolled_back(1)], turn("t3", "q3", "a3")];
    assert_eq!(texts(&replayed(&story)), ["q1", "a1", "q3", "a3"]);
    assert_eq!(turn_ids(&projected(&story)), ["t1", "t3"]);
}

#[test]
fn a_late_end_of_an_earlier_turn_does_not_end_the_open_one() {
    let open = vec![started("t2"), user("q2"), user_event("q2"), complete("t1"), user("faster"), user_event("faster")];
    let story = [turn("t1", "q1", "a1"), open, vec![complete("t2"), rolled_back(1)]];
    assert_eq!(model(&replayed(&story)), Some("t1"));
    let turns = projected(&story);
    assert_eq!(item_kinds(&turns[1]), ["user_message"], "the steering was in the second turn");
}

#[test]
fn turns_that_were_never_opened_explicitly_are_undone_too() {
    let old = |n: u32| {
        vec![user(&format!("q{n}")), user_event(&format!("q{n}")), turn_context("", &format!("m{n}")), assistant("a")]
    };
    let story = [vec![fragment("here")], old(1), old(2), vec![rolled_back(1)], old(3)];
    let context = replayed(&story);
    assert_eq!(texts(&context)[1..], ["q1", "a", "q3", "a"]);
    assert_eq!(model(&context), Some("m3"));
    assert_eq!(turn_ids(&projected(&story)), ["turn-1", "turn-2"]);
    assert_eq!(model(&replayed(&story[..4])), Some("m1"));
}

#[test]
fn an_event_without_a_count_undoes_nothing() {
    let story = [turn("t1", "q1", "a1"), vec![event(json!({"type": "thread_rolled_back"}))]];
    assert_eq!(texts(&replayed(&story)), ["q1", "a1"]);
    assert_eq!(turn_ids(&projected(&story)), ["t1"]);
}

proptest! {
    /// Without compactions an undone story reads as if it had not been told.
    #[test]
    fn undone_turns_leave_no_trace(steps in prop::collection::vec(prop_oneof![Just(0_u64), 1..4_u64], 0..20)) {
        let mut told = Vec::new();
        let mut standing: Vec<Vec<RolloutItem>> = Vec::new();
        for (number, undone) in steps.into_iter().enumerate() {
            if undone > 0 {
                told.push(vec![rolled_back(undone)]);
                standing.truncate(standing.len().saturating_sub(usize::try_from(undone).unwrap()));
            } else {
                let turn = turn(&format!("t{number}"), &format!("q{number}"), "a");
                told.push(turn.clone());
                standing.push(turn);
            }
        }
        prop_assert_eq!(replayed(&told), replayed(&standing));
        let items = |story| projected(story).into_iter().map(|turn| (turn.id, turn.items)).collect::<Vec<_>>();
        prop_assert_eq!(items(&told), items(&standing));
    }
}

#[test]
fn what_shows_of_a_steered_turn_is_what_replay_keeps() {
    let steered = || {
        vec![
            started("t2"),
            user("one"),
            user_event("one"),
            user("two"),
            user_event("two"),
            agent_event("done"),
            complete("t2"),
        ]
    };
    for (undone, shown) in [(1, vec![1, 1]), (2, vec![1]), (3, vec![])] {
        let story = [turn("t1", "q1", "a1"), steered(), vec![rolled_back(undone)]];
        let turns = projected(&story);
        let users = turns.iter().map(|turn| turn.items.iter().filter(|item| item.kind() == "user_message").count());
        assert_eq!(users.collect::<Vec<_>>(), shown, "{undone}");
        let heard = texts(&replayed(&story)).into_iter().filter(|text| text != "a1").count();
        assert_eq!(heard, shown.iter().sum::<usize>(), "{undone}");
    }
}
