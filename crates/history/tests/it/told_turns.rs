//! A turn told again from its own lines, and a projection that goes on where another one was.

use proptest::prelude::*;
use selvedge_history::{ProjectedTurn, TurnProjection, TurnRestart, is_never_shown};
use selvedge_protocol::{RolloutItem, RolloutLine, TurnItem};
use serde_json::{Value, json};

use crate::recordings;
use crate::story::{
    aborted, agent_event, assistant, compacted, complete, completed_item, event, fragment, lines, rolled_back, started,
    time, turn, turn_context, user, user_event,
};

fn told(lines: &[RolloutLine]) -> Vec<ProjectedTurn> {
    let mut turns = TurnProjection::new();
    (0..).zip(lines).for_each(|(position, line)| turns.push(position, line));
    turns.finish_projected()
}

fn slice(lines: &[RolloutLine], from: u64, to: u64) -> impl Iterator<Item = (u64, &RolloutLine)> {
    let (first, last) = (usize::try_from(from).unwrap(), usize::try_from(to).unwrap());
    (from..).zip(&lines[first..last])
}

/// An item with another id, where the id is a number.
fn without_number(item: &TurnItem) -> Value {
    let mut value = serde_json::to_value(item).unwrap();
    if value["id"].as_str().is_some_and(|id| id.starts_with("item-")) {
        value["id"] = json!("item");
    }
    value
}

/// Every self-contained turn told again from its lines, with and without those that say nothing; every item from its own.
fn tells_each_again(lines: &[RolloutLine]) -> Result<usize, TestCaseError> {
    let all = told(lines);
    let whole = all.iter().map(|told| told.turn.clone()).collect::<Vec<_>>();
    prop_assert_eq!(&whole, &crate::story::project(lines));
    let mut told_again = 0;
    for (place, told) in (0..).zip(&all).filter(|(_, told)| told.is_self_contained) {
        prop_assert_eq!((told.restart.position, told.restart.turns), (told.turn.lines.start, place));
        let (mut turns, mut quick) = (TurnProjection::resume(told.restart), TurnProjection::resume(told.restart));
        for (position, line) in slice(lines, told.turn.lines.start, told.turn.lines.end) {
            turns.push(position, line);
            if !is_never_shown(line.text().as_bytes()) {
                quick.push(position, line);
            }
        }
        let again = turns.finish_projected();
        prop_assert_eq!(again.len(), 1, "turn {} of {:#?}", place, lines);
        prop_assert_eq!(&again[0], told, "turn {} of {:#?}", place, lines);
        let mut quick = quick.finish();
        prop_assert_eq!(quick.len(), 1);
        quick[0].lines = told.turn.lines.clone();
        quick[0].item_positions.clone_from(&told.turn.item_positions);
        prop_assert_eq!(&quick[0], &told.turn);
        prop_assert_eq!(told.turn.items.len(), told.item_lines.len());
        for (item, item_lines) in told.turn.items.iter().zip(&told.item_lines).filter(|(_, lines)| !lines.is_empty()) {
            let restart = TurnRestart { position: item_lines.start, lead_in: None, ..told.restart };
            // Whether a thread is paginated may be said within the turn.
            let mode = slice(lines, 0, item_lines.start).filter(|(_, line)| line.ordinal().is_some()).count();
            let mode = if mode > 0 { selvedge_protocol::HistoryMode::Paginated } else { restart.mode };
            let mut turns = TurnProjection::at_item(told.turn.id.clone(), TurnRestart { mode, ..restart });
            slice(lines, item_lines.start, item_lines.end).for_each(|(position, line)| turns.push(position, line));
            let again = turns.finish();
            prop_assert_eq!(without_number(&again[0].items[0]), without_number(item));
        }
        told_again += 1;
    }
    Ok(told_again)
}

/// From any place the rest is told as the whole tells it, or it is told that it depends on what stands before. Gives in how
/// many places it was not.
fn goes_on_from_anywhere(lines: &[RolloutLine]) -> Result<usize, TestCaseError> {
    let whole = told(lines);
    let mut reached_back = 0;
    for place in (0..=lines.len()).step_by(1 + lines.len() / 60) {
        let mut before = TurnProjection::new();
        (0..).zip(&lines[..place]).for_each(|(position, line)| before.push(position, line));
        let Some(restart) = before.restart() else {
            reached_back += 1;
            continue;
        };
        let earlier = before.finish_projected();
        let kept = usize::try_from(restart.turns).unwrap();
        let mut after = TurnProjection::resume(restart);
        slice(lines, restart.position, lines.len() as u64).for_each(|(position, line)| after.push(position, line));
        let affects_earlier_turns = after.affects_earlier_turns()
            || earlier[..kept].iter().any(|told| after.unresolved_turn_ids().contains(&told.turn.id));
        if affects_earlier_turns {
            reached_back += 1;
        } else {
            let together: Vec<ProjectedTurn> =
                earlier[..kept].iter().cloned().chain(after.finish_projected()).collect();
            prop_assert_eq!(&together, &whole, "from {} of {:#?}", place, lines);
        }
    }
    Ok(reached_back)
}

/// Turns that are taken away meanwhile are those that the whole gives.
fn can_be_taken_piece_by_piece(lines: &[RolloutLine]) -> Result<bool, TestCaseError> {
    let mut turns = TurnProjection::new();
    let mut taken: Vec<ProjectedTurn> = Vec::new();
    for (position, line) in (0..).zip(lines) {
        turns.push(position, line);
        taken.extend(turns.drain_closed());
    }
    let affects_earlier_turns =
        turns.affects_earlier_turns() || taken.iter().any(|told| turns.unresolved_turn_ids().contains(&told.turn.id));
    taken.extend(turns.finish_projected());
    if !affects_earlier_turns {
        prop_assert_eq!(taken, told(lines));
    }
    Ok(!affects_earlier_turns)
}

fn check(lines: &[RolloutLine]) -> Result<(usize, usize, bool), TestCaseError> {
    Ok((tells_each_again(lines)?, goes_on_from_anywhere(lines)?, can_be_taken_piece_by_piece(lines)?))
}

#[test]
fn every_turn_of_the_recorded_stories_is_told_again() {
    for thread in recordings::folders().iter().flat_map(|folder| recordings::threads_of(folder)) {
        let (told_again, reached_back, _) = check(&thread.lines).unwrap();
        let turns = told(&thread.lines);
        let has_rollback = thread.lines.iter().any(|line| line.text().contains("thread_rolled_back"));
        if !has_rollback {
            assert_eq!((told_again, reached_back), (turns.len(), 0), "{}", thread.name);
        }
    }
    for version in ["0.36.0", "0.58.0"] {
        let lines = recordings::basic(version);
        assert_eq!(check(&lines).unwrap(), (2, 0, true), "{version}");
    }
}

#[test]
fn a_late_item_entangles_two_turns() {
    let story = [
        vec![started("a"), user_event("one"), complete("a")],
        vec![started("b"), user_event("two")],
        vec![event(json!({"type": "patch_apply_end", "turn_id": "a", "call_id": "late"}))],
        vec![complete("b"), started("c"), complete("c")],
    ];
    let lines = lines(story.concat());
    let told = told(&lines);
    assert_eq!(told.iter().map(|told| told.is_self_contained).collect::<Vec<_>>(), [false, false, true]);
    assert_eq!(told[0].item_lines, [1..2, 5..6]);
    check(&lines).unwrap();
}

#[test]
fn a_late_item_of_the_last_turn_is_one_of_its_lines() {
    let late = event(json!({"type": "patch_apply_end", "turn_id": "a", "call_id": "late"}));
    let lines = lines(vec![started("a"), user_event("one"), complete("a"), fragment("told"), late]);
    let told = told(&lines);
    assert!(told[0].is_self_contained);
    assert_eq!(told[0].turn.lines, 0..5);
    check(&lines).unwrap();
}

#[test]
fn a_rollback_leaves_the_turns_before_it_whole() {
    let story = [
        turn("a", "q1", "a1"),
        turn("b", "q2", "a2"),
        turn("c", "q3", "a3"),
        vec![rolled_back(1)],
        turn("d", "q4", "a4"),
    ];
    let lines = lines(story.concat());
    assert!(told(&lines).iter().all(|told| told.is_self_contained));
    let (told_again, _, in_pieces) = check(&lines).unwrap();
    assert_eq!((told_again, in_pieces), (3, false));
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
        1 => Just(vec![event(json!({"type": "context_compacted"}))]),
        1 => Just(vec![event(json!({"type": "error", "message": "broken"}))]),
        1 => Just(vec![fragment("told")]),
        1 => turn_id().prop_map(|id| vec![turn_context(&id, &id)]),
        1 => (1_u64..9).prop_map(|n| vec![compacted(&["q1", "summary"], n)]),
        1 => (0_u64..4).prop_map(|n| vec![rolled_back(n)]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn any_story_is_told_again(
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
