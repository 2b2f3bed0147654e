//! A replay of the tail of a history returns the context of the whole, or none.

use proptest::prelude::*;
use std::convert::Infallible;

use selvedge_history::{ContextTail, ModelContext, Replay, replay_lines};
use selvedge_protocol::{HistoryBase, RolloutItem, RolloutLine, SessionMeta, ThreadId};
use serde_json::json;

use crate::recordings::{self, Recorded};
use crate::story::{
    agent_event, assistant, compacted, compaction_turn, complete, event, fragment, item, lines, patch, rolled_back,
    snapshot, started, time, turn, turn_context, user, user_event,
};

/// The head of the thread, or of its fork with this number.
fn head(number: u32, base: bool) -> SessionMeta {
    let id: ThreadId = format!("01a1fd5d-0000-7000-8000-{number:012x}").parse().unwrap();
    let mut head = SessionMeta::new(id, time(0));
    head.context_window.get_or_insert_default().window_id =
        Some(format!("01a1fd5d-1111-7000-8000-{number:012x}").parse().unwrap());
    head.history_base = base.then(HistoryBase::default);
    head
}

/// Returns whether a line opens a turn, so a replay may begin there.
fn opens_turn(line: &RolloutLine) -> bool {
    line.kind() == "event_msg" && line.text().contains(r#""type":"task_started""#)
}

/// The head of the segment that contains this line: the newest head before the line that has a base, or else the first head.
fn head_of(lines: &[RolloutLine], position: usize) -> Option<SessionMeta> {
    let mut newest: Option<SessionMeta> = None;
    for line in &lines[..position] {
        if let RolloutItem::SessionMeta(meta) = line.item()
            && (newest.is_none() || meta.history_base.is_some())
        {
            newest = Some(*meta);
        }
    }
    newest
}

fn whole(lines: &[RolloutLine]) -> ModelContext {
    ModelContext { warnings: Vec::new(), ..replay_lines(lines) }
}

fn from_tail(lines: &[RolloutLine], position: usize) -> Option<ModelContext> {
    let context = Replay::from_tail(head_of(lines, position).as_ref(), |replay| {
        lines[position..].iter().for_each(|line| replay.push_line(line));
        Ok::<_, Infallible>(())
    });
    Some(ModelContext { warnings: Vec::new(), ..context.unwrap()? })
}

/// Compares the replays of all possible tails. Returns the number of tails that determine the context.
fn compare(lines: &[RolloutLine]) -> Result<usize, TestCaseError> {
    let wanted = whole(lines);
    let mut found = 0;
    for position in (0..lines.len()).filter(|position| opens_turn(&lines[*position])) {
        if let Some(context) = from_tail(lines, position) {
            prop_assert_eq!(&context, &wanted, "from line {}", position);
            found += 1;
        }
    }
    Ok(found)
}

#[test]
fn tails_of_recorded_threads_agree_with_the_whole() {
    let mut found = Vec::new();
    for Recorded { name, lines, .. } in recordings::folders().iter().flat_map(|folder| recordings::threads_of(folder)) {
        if compare(&lines).unwrap() > 0 {
            found.push(name);
        }
    }
    // The threads with a self-contained compaction and no rollback after it.
    let expected = [
        "story-0.142.2-budget/T",
        "story-0.144.6/T",
        "story-0.144.6-compactions/C",
        "story-0.144.6-compactions/M",
        "story-0.155.1-budget/T",
        "story-0.169.0/T",
        "story-0.169.0-budget/T",
        "story-0.169.0-compactions/C",
        "story-0.169.0-compactions/M",
        "story-0.171.0-budget/T",
        "story-0.171.0-compactions/C",
        "story-0.171.0-compactions/M",
        "story-0.171.0-kinds/D",
        "story-0.171.0-migrated/C",
        "story-0.171.0-migrated/G",
        "story-0.171.0-migrated/R",
        "story-0.171.0-migrated/Z",
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_tail_from_the_newest_compaction_determines_the_context() {
    let story = [
        vec![head(1, false).into()],
        turn("t1", "q1", "a1"),
        turn("t2", "q2", "a2"),
        compaction_turn("c", &["q1", "summary"], 1),
        turn("t3", "q3", "a3"),
    ];
    let lines = lines(story.concat());
    let opening: Vec<usize> = (0..lines.len()).filter(|position| opens_turn(&lines[*position])).collect();
    let found: Vec<bool> = opening.iter().map(|position| from_tail(&lines, *position).is_some()).collect();
    // The tails that contain the compaction determine the context; the tail after it does not.
    assert_eq!(found, [true, true, true, false]);
    assert_eq!(from_tail(&lines, opening[2]), Some(whole(&lines)));
}

#[test]
fn a_rollback_past_the_compaction_needs_earlier_lines() {
    let story = [
        vec![head(1, false).into()],
        turn("t1", "q1", "a1"),
        turn("t2", "q2", "a2"),
        compaction_turn("c", &["q1", "q2", "summary"], 1),
        turn("t3", "q3", "a3"),
        vec![rolled_back(2)],
    ];
    let lines = lines(story.concat());
    let opening: Vec<usize> = (0..lines.len()).filter(|position| opens_turn(&lines[*position])).collect();
    // The state before the second turn depends on the first one.
    assert_eq!(from_tail(&lines, opening[2]), None);
    assert_eq!(from_tail(&lines, opening[1]), None);
    assert_eq!(whole(&lines).window.number, 0);
}

#[test]
fn a_late_end_of_a_turn_before_the_tail_needs_earlier_lines() {
    let story = [
        vec![head(1, false).into()],
        turn("t1", "q1", "a1"),
        vec![started("left"), user("q2")],
        vec![started("t3"), compacted(&["summary"], 1), turn_context("t3", "t3"), user("q3")],
        // The end is that of the earlier turn. The open turn continues: the next message steers it, and the rollback undoes it
        // as a whole.
        vec![complete("left"), user("steering"), rolled_back(1)],
    ];
    let lines = lines(story.concat());
    let opening: Vec<usize> = (0..lines.len()).filter(|position| opens_turn(&lines[*position])).collect();
    assert_eq!(from_tail(&lines, opening[2]), None);
    compare(&lines).unwrap();
}

fn any_item() -> impl Strategy<Value = Vec<RolloutItem>> {
    let id = || (0_u32..6).prop_map(|n| format!("t{n}"));
    prop_oneof![
        4 => (0_u32..100).prop_map(|n| turn(&format!("turn {n}"), &format!("q{n}"), "a")),
        2 => (1_u64..9).prop_map(|n| compaction_turn(&format!("c{n}"), &["kept", "summary"], n)),
        2 => (1_u64..9).prop_map(|n| vec![compacted(&["kept", "other", "summary"], n)]),
        1 => Just(vec![event(json!({"type": "task_complete"}))]),
        1 => Just(vec![item(json!({"type": "compacted", "payload": {"message": "old summary"}}))]),
        2 => id().prop_map(|id| vec![started(&id)]),
        2 => id().prop_map(|id| vec![complete(&id)]),
        2 => (0_u32..100).prop_map(|n| vec![user(&format!("said {n}"))]),
        1 => Just(vec![user_event("shown")]),
        1 => Just(vec![agent_event("shown"), assistant("said")]),
        1 => Just(vec![fragment("context")]),
        2 => id().prop_map(|id| vec![turn_context(&id, &id)]),
        1 => (0_u32..9).prop_map(|n| vec![snapshot(json!({"cwd": n}))]),
        1 => (0_u32..9).prop_map(|n| vec![patch(json!({"model": n}))]),
        2 => (0_u64..5).prop_map(|n| vec![rolled_back(n)]),
        1 => (1_u32..4, any::<bool>()).prop_map(|(n, base)| vec![head(n, base).into()]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn tails_of_any_story_agree_with_the_whole(story in prop::collection::vec(any_item(), 0..24)) {
        let mut items: Vec<RolloutItem> = vec![head(1, false).into()];
        items.extend(story.concat());
        compare(&lines(items))?;
    }
}

#[test]
fn the_last_lines_determine_the_context() {
    let story = [
        turn("a", "one", "1"),
        turn("b", "two", "2"),
        compaction_turn("c", &["two", "a summary"], 1),
        turn("d", "three", "3"),
    ];
    let lines = lines(story.into_iter().flatten());
    let mut tail = ContextTail::default();
    let mut found = None;
    for (position, line) in lines.iter().enumerate().rev() {
        tail.push(line.clone());
        if tail.should_try_replay()
            && let Some(context) = tail.context(None)
        {
            found = Some((position, ModelContext { warnings: Vec::new(), ..context }));
            break;
        }
    }
    let (position, context) = found.unwrap();
    assert_eq!(context, whole(&lines));
    assert!((7..=14).contains(&position), "found at {position}");
    assert_eq!(tail.bytes(), lines[position..].iter().map(|line| line.text().len()).sum::<usize>());
}
