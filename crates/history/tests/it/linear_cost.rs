//! The cost of long threads: memory and time grow linearly with the number of lines.

use std::fs;
use std::time::{Duration, Instant};

use selvedge_history::{Replay, ReplayOptions, TurnProjection};
use selvedge_protocol::{Compacted, RolloutItem, RolloutLine};
use serde_json::json;

use crate::story::{
    compacted, completed_item, lines, ordinal_lines, patch, rolled_back, snapshot, started, user, user_event,
};

/// Number of messages, and of compactions. Memory that grows with the product of the two would be 400 MiB.
const MANY: usize = 10_000;

/// Peak memory of the process since the last call, in MiB. `None` if the system does not report it.
fn peak() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
    let _ = fs::write("/proc/self/clear_refs", "5");
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? / 1024)
}

/// Peak memory that `work` adds, in MiB. 0 if the system does not report it.
fn memory_of<T>(work: impl FnOnce() -> T) -> u64 {
    peak();
    let before = peak();
    let result = work();
    let needed = peak().zip(before).map_or(0, |(peak, before)| peak.saturating_sub(before));
    drop(result);
    needed
}

/// CPU time of this thread, so other load does not count. `None` if the system does not report it.
fn cpu_time() -> Option<Duration> {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(Duration::from_nanos(stat.split_whitespace().next()?.parse().ok()?))
}

fn time_of(work: &mut dyn FnMut()) -> Duration {
    let (start, at_work) = (Instant::now(), cpu_time());
    work();
    let took = cpu_time().zip(at_work).map(|(end, start)| end.saturating_sub(start));
    took.filter(|took| !took.is_zero()).unwrap_or_else(|| start.elapsed())
}

/// Runs work for a story and for one four times as long. Quadratic work takes sixteen times as long in every try, while a
/// short load of the machine affects only one try.
fn assert_linear(what: &str, len: usize, work: impl Fn(usize) -> Box<dyn FnMut()>) {
    let (mut short_work, mut long_work) = (work(len), work(4 * len));
    let (mut short, mut long) = (Duration::MAX, Duration::MAX);
    for _ in 0..6 {
        short = short.min(time_of(&mut *short_work));
        long = long.min(time_of(&mut *long_work));
        if long < short * 8 {
            return;
        }
    }
    assert!(long < short * 10, "{what}: {len} took {short:?}, four times as many {long:?}");
}

fn projection(lines: &[RolloutLine]) -> TurnProjection {
    let mut turns = TurnProjection::new();
    for (position, line) in (0..).zip(lines) {
        turns.push(position, line);
    }
    turns
}

/// `count` messages with a compaction after each, which keeps a summary and the message.
fn compaction_per_message(count: usize) -> Vec<RolloutLine> {
    let turn = |n: usize| {
        let question = format!("question {n}");
        let left = [question.as_str(), "summary"];
        [started(&format!("t{n}")), user(&question), user_event(&question), compacted(&left, 1)]
    };
    lines((0..count).flat_map(turn))
}

/// A compaction without a replacement history.
fn legacy_compaction(summary: &str) -> RolloutItem {
    Compacted { message: Some(summary.to_owned()), ..Compacted::default() }.into()
}

#[test]
fn compactions_share_the_messages_before_them() {
    let lines = compaction_per_message(MANY);
    let needed = memory_of(|| projection(&lines));
    assert!(needed < 128, "{needed} MiB");
}

#[test]
fn undoing_many_compactions_takes_linear_time() {
    let mut lines = compaction_per_message(100);
    let undone = |turns: u64, lines: &mut Vec<RolloutLine>| {
        lines.push(RolloutLine::new(lines[0].timestamp().unwrap(), None, &rolled_back(turns)));
        projection(lines).finish().len()
    };
    assert_eq!(undone(1, &mut lines), 99);
    assert_eq!(undone(1, &mut lines), 98);
    assert_eq!(undone(97, &mut lines), 1);
}

#[test]
fn legacy_compactions_keep_no_copies() {
    let mut story: Vec<RolloutItem> = (0..3_000).map(|n| user_event(&format!("question {n}"))).collect();
    story.extend((0..300).map(|n| legacy_compaction(&format!("summary {n}"))));
    let lines = lines(story);
    // Each compaction retains about 3,000 messages.
    let needed = memory_of(|| projection(&lines));
    assert!(needed < 48, "{needed} MiB");
}

#[test]
fn a_replay_keeps_no_world_state_per_turn() {
    // Each turn adds a key: one world state per turn would take hundreds of megabytes.
    let record = |n: usize| patch(json!({format!("key {n}"): n}));
    let turn = |n: usize| [started(&format!("t{n}")), user(&format!("question {n}")), record(n)];
    let mut story = vec![snapshot(json!({}))];
    story.extend((0..3_000).flat_map(turn));
    let replayed = |story: &[RolloutItem]| {
        Replay::whole(ReplayOptions::default(), |replay| {
            story.iter().for_each(|item| replay.push(item));
            Ok::<_, ()>(())
        })
        .unwrap()
    };
    let needed = memory_of(|| replayed(&story));
    assert!(needed < 64, "{needed} MiB");
    story.push(rolled_back(1_000));
    assert_eq!(replayed(&story).world_state.unwrap().sections().len(), 2_000);
}

#[test]
fn repeated_rollbacks_past_the_same_compactions_take_linear_time() {
    assert_linear("rollbacks over compactions", 300, |count| {
        let turns = (0..count).flat_map(|n| [started(&format!("t{n}")), user("question")]);
        let compactions = (0..4 * count).map(|_| compacted(&["summary"], 1));
        let story: Vec<_> = turns.chain(compactions).chain((0..count).map(|_| rolled_back(1))).collect();
        Box::new(move || {
            let replayed = Replay::whole(ReplayOptions::default(), |replay| {
                story.iter().for_each(|item| replay.push(item));
                Ok::<_, ()>(())
            });
            drop(replayed);
        })
    });
}

fn plan(turn: &str, id: usize) -> RolloutItem {
    completed_item(turn, json!({"type": "Plan", "id": format!("item-of-the-plan-{id:08}"), "text": ""}))
}

#[test]
fn lookup_of_items_in_a_long_turn_takes_linear_time() {
    assert_linear("items of one turn", 5_000, |count| {
        let items = (0..count).map(|n| plan("t1", n));
        let lines = ordinal_lines([started("t1")].into_iter().chain(items));
        Box::new(move || {
            let turns = projection(&lines).finish();
            assert_eq!(turns[0].items.len(), lines.len() - 1);
        })
    });
}

#[test]
fn lookup_of_turns_for_late_lines_takes_linear_time() {
    assert_linear("turns with late items", 5_000, |count| {
        let turn = |n: usize| format!("turn-of-this-thread-{n:08}");
        let begun = (0..count).map(|n| started(&turn(n)));
        let late = (0..count).map(|n| plan(&turn(n), n));
        let lines = ordinal_lines(begun.chain(late));
        Box::new(move || {
            let turns = projection(&lines).finish();
            assert!(turns.iter().all(|turn| turn.items.len() == 1));
        })
    });
}

#[test]
fn steering_messages_in_a_long_turn_take_linear_time() {
    assert_linear("messages in a long turn", 5_000, |count| {
        let items = (0..count).map(|n| plan("t1", n));
        let messages = (0..count).map(|_| user("faster"));
        let lines = ordinal_lines([started("t1")].into_iter().chain(items).chain(messages));
        Box::new(move || drop(projection(&lines)))
    });
}

#[test]
fn rollbacks_after_many_turns_take_linear_time() {
    assert_linear("rollbacks after many turns", 5_000, |count| {
        let turns = (0..2 * count).map(|n| started(&format!("t{n}")));
        let undone = (0..count).flat_map(|_| [user_event("question"), rolled_back(1)]);
        let lines = lines(turns.chain(undone));
        Box::new(move || drop(projection(&lines)))
    });
}
