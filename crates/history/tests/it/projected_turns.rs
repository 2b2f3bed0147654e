//! Turns that are rebuilt from their own lines, and projections that resume where another one stopped.

use proptest::prelude::*;
use selvedge_history::{ProjectedTurn, TurnProjection, TurnRestart, is_never_shown};
use selvedge_protocol::{RolloutItem, RolloutLine, TurnItem};
use serde_json::{Value, json};

use crate::recordings;
use crate::released_items::{bytes, index_in_steps, items, release_after_each_line};
use crate::story::{
    aborted, agent_event, assistant, compacted, complete, completed_item, event, fragment, item, lines, rolled_back,
    started, time, turn, turn_context, user, user_event,
};

fn projected(lines: &[RolloutLine]) -> Vec<ProjectedTurn> {
    let mut turns = TurnProjection::new();
    (0..).zip(lines).for_each(|(position, line)| turns.push(position, line));
    turns.finish_projected()
}

fn slice(lines: &[RolloutLine], from: u64, to: u64) -> impl Iterator<Item = (u64, &RolloutLine)> {
    let (first, last) = (usize::try_from(from).unwrap(), usize::try_from(to).unwrap());
    (from..).zip(&lines[first..last])
}

/// The item as JSON, with a fixed id if its id is a number.
fn without_number(item: &TurnItem) -> Value {
    let mut value = serde_json::to_value(item).unwrap();
    if value["id"].as_str().is_some_and(|id| id.starts_with("item-")) {
        value["id"] = json!("item");
    }
    value
}

/// Rebuilds every self-contained turn from its lines, with and without lines that are never shown, and every item from its own
/// lines. Returns the number of these turns.
fn rebuild_each_turn(lines: &[RolloutLine]) -> Result<usize, TestCaseError> {
    let all = projected(lines);
    let whole = all.iter().map(|projected| projected.turn.clone()).collect::<Vec<_>>();
    prop_assert_eq!(&whole, &crate::story::project(lines));
    let mut rebuilt = 0;
    for (index, projected) in (0..).zip(&all).filter(|(_, projected)| projected.is_self_contained) {
        prop_assert_eq!((projected.restart.position, projected.restart.turns), (projected.turn.lines.start, index));
        let (mut turns, mut filtered) =
            (TurnProjection::resume(projected.restart), TurnProjection::resume(projected.restart));
        for (position, line) in slice(lines, projected.turn.lines.start, projected.turn.lines.end) {
            turns.push(position, line);
            if !is_never_shown(line.text().as_bytes()) {
                filtered.push(position, line);
            }
        }
        let again = turns.finish_projected();
        prop_assert_eq!(again.len(), 1, "turn {} of {:#?}", index, lines);
        prop_assert_eq!(&again[0], projected, "turn {} of {:#?}", index, lines);
        let mut filtered = filtered.finish();
        prop_assert_eq!(filtered.len(), 1);
        filtered[0].lines = projected.turn.lines.clone();
        filtered[0].item_positions.clone_from(&projected.turn.item_positions);
        prop_assert_eq!(&filtered[0], &projected.turn);
        prop_assert_eq!(projected.turn.items.len(), projected.item_lines.len());
        for (item, item_lines) in
            projected.turn.items.iter().zip(&projected.item_lines).filter(|(_, lines)| !lines.is_empty())
        {
            let restart = TurnRestart { position: item_lines.start, lead_in: None, ..projected.restart };
            // Lines within the turn may determine that the thread is paginated.
            let mode = slice(lines, 0, item_lines.start).filter(|(_, line)| line.ordinal().is_some()).count();
            let mode = if mode > 0 { selvedge_protocol::HistoryMode::Paginated } else { restart.mode };
            let mut turns = TurnProjection::at_item(projected.turn.id.clone(), TurnRestart { mode, ..restart });
            slice(lines, item_lines.start, item_lines.end).for_each(|(position, line)| turns.push(position, line));
            let again = turns.finish();
            prop_assert_eq!(without_number(&again[0].items[0]), without_number(item));
        }
        rebuilt += 1;
    }
    Ok(rebuilt)
}

/// Resumes a projection at many positions. The projection returns the same turns as one of all lines, or reports that its turns
/// depend on earlier ones. Returns the number of positions at which it reports that.
fn resume_everywhere(lines: &[RolloutLine]) -> Result<usize, TestCaseError> {
    let whole = projected(lines);
    let mut dependent = 0;
    for index in (0..=lines.len()).step_by(1 + lines.len() / 60) {
        let mut before = TurnProjection::new();
        (0..).zip(&lines[..index]).for_each(|(position, line)| before.push(position, line));
        let Some(restart) = before.restart() else {
            dependent += 1;
            continue;
        };
        let earlier = before.finish_projected();
        let kept = usize::try_from(restart.turns).unwrap();
        let mut after = TurnProjection::resume(restart);
        slice(lines, restart.position, lines.len() as u64).for_each(|(position, line)| after.push(position, line));
        let affects_earlier_turns = after.affects_earlier_turns()
            || earlier[..kept].iter().any(|projected| after.unresolved_turn_ids().contains(&projected.turn.id));
        if affects_earlier_turns {
            dependent += 1;
        } else {
            let together: Vec<ProjectedTurn> =
                earlier[..kept].iter().cloned().chain(after.finish_projected()).collect();
            prop_assert_eq!(&together, &whole, "from {} of {:#?}", index, lines);
        }
    }
    Ok(dependent)
}

/// Drains turns after each line. If no turn depends on a drained one, together they equal the turns of one projection of all
/// lines. Returns whether that is so.
fn drain_after_each_line(lines: &[RolloutLine]) -> Result<bool, TestCaseError> {
    let mut turns = TurnProjection::new();
    let mut drained: Vec<ProjectedTurn> = Vec::new();
    for (position, line) in (0..).zip(lines) {
        turns.push(position, line);
        drained.extend(turns.drain_closed());
    }
    let affects_earlier_turns = turns.affects_earlier_turns()
        || drained.iter().any(|projected| turns.unresolved_turn_ids().contains(&projected.turn.id));
    drained.extend(turns.finish_projected());
    if !affects_earlier_turns {
        prop_assert_eq!(drained, projected(lines));
    }
    Ok(!affects_earlier_turns)
}

fn check(lines: &[RolloutLine]) -> Result<(usize, usize, bool), TestCaseError> {
    for kept in [1, 3] {
        release_after_each_line(lines, kept)?;
        index_in_steps(lines, kept, items(kept))?;
    }
    index_in_steps(lines, 4, bytes(400))?;
    Ok((rebuild_each_turn(lines)?, resume_everywhere(lines)?, drain_after_each_line(lines)?))
}

#[test]
fn every_recorded_turn_can_be_rebuilt() {
    for thread in recordings::folders().iter().flat_map(|folder| recordings::threads_of(folder)) {
        let (rebuilt, dependent, _) = check(&thread.lines).unwrap();
        let turns = projected(&thread.lines);
        let has_rollback = thread.lines.iter().any(|line| line.text().contains("thread_rolled_back"));
        // In S, a sub-agent ended after the turn that started it; in V, words were spoken after the end of a turn. Between the end of the
        // turn and that item, the turn is not yet known.
        let late_items = usize::from(["story-0.171.0-kinds/S", "story-0.171.0-kinds/V"].contains(&&*thread.name));
        // Only the head tells which lines a sub-agent copied, so no projection can begin among them.
        let RolloutItem::SessionMeta(head) = thread.lines[0].item() else { panic!("{} has no head", thread.name) };
        let copied = head.subagent_history_start_ordinal.map_or(0, |start| usize::try_from(start).unwrap() - 1);
        if !has_rollback {
            assert_eq!((rebuilt, dependent), (turns.len(), late_items + copied), "{}", thread.name);
        }
    }
    for version in ["0.36.0", "0.58.0"] {
        let lines = recordings::basic(version);
        assert_eq!(check(&lines).unwrap(), (2, 0, true), "{version}");
    }
}

#[test]
fn a_late_item_makes_two_turns_depend_on_each_other() {
    let story = [
        vec![started("a"), user_event("one"), complete("a")],
        vec![started("b"), user_event("two")],
        vec![event(json!({"type": "patch_apply_end", "turn_id": "a", "call_id": "late"}))],
        vec![complete("b"), started("c"), complete("c")],
    ];
    let lines = lines(story.concat());
    let projected = projected(&lines);
    assert_eq!(projected.iter().map(|projected| projected.is_self_contained).collect::<Vec<_>>(), [false, false, true]);
    assert_eq!(projected[0].item_lines, [1..2, 5..6]);
    check(&lines).unwrap();
}

#[test]
fn a_late_item_of_the_last_turn_extends_it() {
    let late = event(json!({"type": "patch_apply_end", "turn_id": "a", "call_id": "late"}));
    let lines = lines(vec![started("a"), user_event("one"), complete("a"), fragment("context"), late]);
    let projected = projected(&lines);
    assert!(projected[0].is_self_contained);
    assert_eq!(projected[0].turn.lines, 0..5);
    check(&lines).unwrap();
}

#[test]
fn turns_before_a_rollback_are_self_contained() {
    let story = [
        turn("a", "q1", "a1"),
        turn("b", "q2", "a2"),
        turn("c", "q3", "a3"),
        vec![rolled_back(1)],
        turn("d", "q4", "a4"),
    ];
    let lines = lines(story.concat());
    assert!(projected(&lines).iter().all(|projected| projected.is_self_contained));
    let (rebuilt, _, in_pieces) = check(&lines).unwrap();
    assert_eq!((rebuilt, in_pieces), (3, false));
}

/// What can be told as a whole and in parts: a message with a plan, and reasoning.
fn said_in_parts() -> impl Strategy<Value = Vec<RolloutItem>> {
    let texts =
        |kind: &str, texts: &[&str]| Value::from_iter(texts.iter().map(|text| json!({"type": kind, "text": text})));
    let block = "<proposed_plan>steps</proposed_plan>";
    let told = vec![
        item(json!({"type": "response_item", "payload": {
            "type": "message", "role": "assistant", "content": texts("output_text", &["one ", "two"])}})),
        item(json!({"type": "response_item", "payload": {
            "type": "reasoning", "summary": texts("summary_text", &["why", "how"])}})),
        item(json!({"type": "response_item", "payload": {
            "type": "message", "role": "user", "content": texts("input_text", &["<of_tomorrow>x</of_tomorrow>", "q1"])}})),
        agent_event("one "),
        agent_event("two"),
        agent_event("one two"),
        event(json!({"type": "agent_reasoning", "text": "why"})),
        event(json!({"type": "agent_reasoning", "text": "how"})),
        user_event("q1"),
        assistant(&format!("one {block}")),
        assistant(block),
        completed_item("t1", json!({"type": "Plan", "id": "p", "text": "steps"})),
        agent_event("one"),
    ];
    proptest::collection::vec(proptest::sample::select(told), 1..4)
}

fn any_item() -> impl Strategy<Value = Vec<RolloutItem>> {
    let turn_id = || (0_u32..4).prop_map(|n| format!("t{n}"));
    let item_id = || prop_oneof![(0_u32..3).prop_map(|n| format!("i{n}")), Just(String::new())];
    let kind = || {
        prop::sample::select(vec!["UserMessage", "AgentMessage", "CommandExecution", "Plan", "FileChange", "Reasoning"])
    };
    prop_oneof![
        3 => (turn_id(), 0_u32..9).prop_map(|(id, n)| turn(&id, &format!("q{n}"), "a")),
        3 => turn_id().prop_map(|id| vec![started(&id)]),
        3 => turn_id().prop_map(|id| vec![complete(&id)]),
        1 => Just(vec![event(json!({"type": "task_complete"}))]),
        1 => Just(vec![event(json!({"type": "task_started"}))]),
        2 => turn_id().prop_map(|id| vec![aborted(&id)]),
        4 => (turn_id(), item_id(), kind()).prop_map(|(turn, id, kind)| {
            let content = json!([{"type": "text", "text": "said"}]);
            vec![completed_item(&turn, json!({"type": kind, "id": id, "content": content, "command": ["run"]}))]
        }),
        2 => (turn_id(), item_id()).prop_map(|(turn, id)| {
            let item = json!({"type": "CommandExecution", "id": id, "command": ["begun"]});
            vec![event(json!({"type": "item_started", "turn_id": turn, "item": item}))]
        }),
        1 => (turn_id(), item_id()).prop_map(|(turn, id)| {
            vec![event(json!({"type": "patch_apply_end", "turn_id": turn, "call_id": id}))]
        }),
        3 => (0_u32..9).prop_map(|n| vec![user(&format!("q{n}")), user_event(&format!("q{n}"))]),
        2 => (0_u32..9).prop_map(|n| vec![user(&format!("q{n}"))]),
        2 => Just(vec![user_event("shown")]),
        2 => Just(vec![agent_event("shown"), assistant("said")]),
        2 => Just(vec![event(json!({"type": "agent_reasoning", "text": "thought"}))]),
        2 => said_in_parts(),
        3 => (0_u32..3, any::<bool>()).prop_map(|(n, is_call)| {
            let payload = if is_call {
                json!({"type": "function_call", "name": "f", "arguments": "{}", "call_id": format!("i{n}")})
            } else {
                json!({"type": "function_call_output", "call_id": format!("i{n}"), "output": "done"})
            };
            vec![item(json!({"type": "response_item", "payload": payload}))]
        }),
        1 => Just(vec![event(json!({"type": "context_compacted"}))]),
        1 => Just(vec![event(json!({"type": "error", "message": "broken"}))]),
        1 => Just(vec![fragment("context")]),
        1 => turn_id().prop_map(|id| vec![turn_context(&id, &id)]),
        1 => (1_u64..9).prop_map(|n| vec![compacted(&["q1", "summary"], n)]),
        1 => (0_u64..4).prop_map(|n| vec![rolled_back(n)]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn turns_of_any_story_can_be_rebuilt(
        story in prop::collection::vec(any_item(), 0..20),
        paginated_from in prop_oneof![Just(usize::MAX), Just(0), 0..40_usize],
        bare in any::<bool>(),
    ) {
        let items = story.concat();
        let lines = (0_u64..).zip(&items).map(|(position, item)| {
            let ordinal = (usize::try_from(position).unwrap() >= paginated_from).then_some(position);
            match item {
                RolloutItem::ResponseItem(item) if bare && paginated_from == usize::MAX => {
                    RolloutLine::parse(&serde_json::to_string(item).unwrap()).unwrap()
                }
                item => RolloutLine::new(time(position), ordinal, item),
            }
        });
        check(&lines.collect::<Vec<_>>())?;
    }
}
