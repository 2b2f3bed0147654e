//! What long threads cost: memory and time grow with what was said, and not with its product with something else.

use std::fs;
use std::time::{Duration, Instant};

use selvedge_history::{Replay, ReplayOptions, TurnProjection};
use selvedge_protocol::{Compacted, RolloutItem, RolloutLine};
use serde_json::json;

use crate::story::{
    compacted, completed_item, lines, ordinal_lines, patch, rolled_back, snapshot, started, user, user_event,
};

/// How many messages there are, and how many compactions: all pairs of them would take 400 MiB.
const MANY: usize = 10_000;

/// The most memory that the process has had since this was asked last, in MiB, where the system says.
fn peak() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
    let _ = fs::write("/proc/self/clear_refs", "5");
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? / 1024)
}

/// How many MiB more than before something needs at its peak; 0 where the system does not say.
fn memory_of<T>(work: impl FnOnce() -> T) -> u64 {
    peak();
    let before = peak();
    let result = work();
    let needed = peak().zip(before).map_or(0, |(peak, before)| peak.saturating_sub(before));
    drop(result);
    needed
}

/// How long this thread has been at work, where the system says: what else the machine does meanwhile does not count.
fn time_at_work() -> Option<Duration> {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(Duration::from_nanos(stat.split_whitespace().next()?.parse().ok()?))
}

fn time_of(work: &mut dyn FnMut()) -> Duration {
    let (start, at_work) = (Instant::now(), time_at_work());
    work();
    let took = time_at_work().zip(at_work).map(|(end, start)| end.saturating_sub(start));
    took.filter(|took| !took.is_zero()).unwrap_or_else(|| start.elapsed())
}

/// Does something with a story of a length and with one four times as long. What takes time by the square of the length
/// takes sixteen times as long then, each time; a moment in which the machine is slow passes.
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

/// `count` messages with a compaction behind each, which leaves a summary and the message.
fn compacted_time_and_again(count: usize) -> Vec<RolloutLine> {
    let turn = |n: usize| {
        let question = format!("question {n}");
        let left = [question.as_str(), "summary"];
        [started(&format!("t{n}")), user(&question), user_event(&question), compacted(&left, 1)]
    };
    lines((0..count).flat_map(turn))
}

/// A compaction that leaves it to its reader what is left.
fn old_compaction(summary: &str) -> RolloutItem {
    Compacted { message: Some(summary.to_owned()), ..Compacted::default() }.into()
}

#[test]
fn compactions_share_the_messages_that_stood_before_each() {
    let lines = compacted_time_and_again(MANY);
    let needed = memory_of(|| projection(&lines));
    assert!(needed < 128, "{needed} MiB");
}

#[test]
fn what_many_compactions_kept_comes_back_when_they_are_undone() {
    let mut lines = compacted_time_and_again(100);
    let undone = |turns: u64, lines: &mut Vec<RolloutLine>| {
        lines.push(RolloutLine::new(lines[0].timestamp().unwrap(), None, &rolled_back(turns)));
        projection(lines).finish().len()
    };
    assert_eq!(undone(1, &mut lines), 99);
    assert_eq!(undone(1, &mut lines), 98);
    assert_eq!(undone(97, &mut lines), 1);
}

#[test]
fn old_compactions_keep_no_copies() {
    let mut story: Vec<RolloutItem> = (0..3_000).map(|n| user_event(&format!("question {n}"))).collect();
    story.extend((0..300).map(|n| old_compaction(&format!("summary {n}"))));
    let lines = lines(story);
    // Each of the compactions keeps about 3,000 messages.
    let needed = memory_of(|| projection(&lines));
    assert!(needed < 48, "{needed} MiB");
}

#[test]
fn a_replay_keeps_no_state_of_the_world_for_each_turn() {
    // Each turn adds to the world: all of its states would take hundreds of megabytes.
    let told = |n: usize| patch(json!({format!("key {n}"): n}));
    let turn = |n: usize| [started(&format!("t{n}")), user(&format!("question {n}")), told(n)];
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
fn rollbacks_over_the_same_compactions_undo_them_once() {
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
fn items_of_one_turn_are_found_by_their_ids() {
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
fn turns_that_late_lines_speak_of_are_found_by_their_ids() {
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
fn messages_that_steer_a_long_turn_do_not_go_through_its_items() {
    assert_linear("messages in a long turn", 5_000, |count| {
        let items = (0..count).map(|n| plan("t1", n));
        let messages = (0..count).map(|_| user("faster"));
        let lines = ordinal_lines([started("t1")].into_iter().chain(items).chain(messages));
        Box::new(move || drop(projection(&lines)))
    });
}

#[test]
fn rollbacks_do_not_count_all_items_anew() {
    assert_linear("rollbacks behind many turns", 5_000, |count| {
        let turns = (0..2 * count).map(|n| started(&format!("t{n}")));
        let undone = (0..count).flat_map(|_| [user_event("question"), rolled_back(1)]);
        let lines = lines(turns.chain(undone));
        Box::new(move || drop(projection(&lines)))
    });
}
