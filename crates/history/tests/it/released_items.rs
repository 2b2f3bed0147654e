//! Items that are handed on while their turn is open, so that memory does not grow with the turn: what is handed on in parts is the same as
//! what is handed on at the end, or it is reported that it is not.

use proptest::prelude::*;
use selvedge_history::turn_index::{KeptSizes, TurnIndexer, TurnResumePoint, TurnRow, TurnRows, TurnSink};
use selvedge_history::{KeptItems, ProjectedTurn, TurnProjection};
use selvedge_protocol::log::LineRecord;
use selvedge_protocol::{RolloutItem, RolloutLine, TurnItem};
use serde_json::json;

use crate::recordings;
use crate::story::{
    agent_event, assistant, complete, completed_item, event, item, lines, rolled_back, started, user_event,
};

/// Releases items after each line, except the newest `kept` ones. If no line changes what was released, together they equal the items of a
/// projection of all lines. Returns whether that is so.
pub(crate) fn release_after_each_line(lines: &[RolloutLine], kept: usize) -> Result<bool, TestCaseError> {
    let kept = KeptItems { items: kept, from: 0, waiting_items: kept + 2, waiting_from: 0 };
    let mut turns = TurnProjection::new();
    let mut released: Vec<(u64, TurnItem)> = Vec::new();
    let mut drained: Vec<ProjectedTurn> = Vec::new();
    for (position, line) in (0..).zip(lines) {
        turns.push(position, line);
        if turns.affects_earlier_turns() || turns.have_released_items_changed() {
            return Ok(false);
        }
        drained.extend(turns.drain_before_open());
        turns.release_items(&kept, |turn, first, items| {
            let known = released.iter().filter(|(known, _)| *known == turn).count();
            assert_eq!(known as u64, first, "items come in their order");
            released.extend(items.iter().map(|item| (turn, item.clone())));
        });
    }
    if drained.iter().any(|drained| turns.unresolved_turn_ids().contains(&drained.turn.id)) {
        return Ok(false);
    }
    drained.extend(turns.finish_projected());
    for (index, projected) in (0..).zip(&mut drained) {
        let own = released.iter().filter(|(turn, _)| *turn == index).map(|(_, item)| item.clone());
        projected.turn.items.splice(..projected.released_items, own);
        projected.released_items = 0;
    }
    let mut whole = TurnProjection::new();
    (0..).zip(lines).for_each(|(position, line)| whole.push(position, line));
    prop_assert_eq!(drained, whole.finish_projected());
    Ok(true)
}

/// The items that were handed on, with their places.
#[derive(Clone, Debug, Default, PartialEq)]
struct HandedItems(Vec<((u64, u64), TurnItem)>);

impl TurnSink for HandedItems {
    fn take_items(&mut self, turn_index: u64, first_item: u64, items: &[TurnItem]) {
        self.0.extend((first_item..).zip(items).map(|(item, content)| ((turn_index, item), content.clone())));
    }

    fn restart_thread(&mut self) {
        self.0.clear();
    }
}

/// A store of rows, as an index is one.
#[derive(Default)]
struct StoredRows {
    rows: Vec<TurnRow>,
    items: HandedItems,
    resume_point: Option<TurnResumePoint>,
}

impl StoredRows {
    /// Replaces everything from the first turn and item of `rows` on. Returns whether the lines of `rows` do not concern earlier turns.
    fn apply(&mut self, rows: TurnRows, items: HandedItems) -> bool {
        let TurnRows { first_turn, first_item, turns, resume_point, unresolved_turn_ids, .. } = rows;
        let (affects_earlier_turns, changes_handed_items) = (rows.affects_earlier_turns, rows.changes_handed_items);
        let mut earlier = self.rows.iter().take_while(|row| row.turn_index < first_turn);
        if affects_earlier_turns || changes_handed_items || earlier.any(|row| unresolved_turn_ids.contains(&row.id)) {
            return false;
        }
        self.rows.retain(|row| row.turn_index < first_turn);
        self.rows.extend(turns.into_iter().map(|row| TurnRow { is_last: false, ..row }));
        self.items.0.retain(|(place, _)| *place < (first_turn, first_item));
        self.items.0.extend(items.0);
        self.resume_point = resume_point;
        true
    }
}

fn push(indexer: &mut TurnIndexer, lines: &[RolloutLine], from: usize, to: usize, sink: &mut HandedItems) -> u64 {
    let len = |line: &RolloutLine| line.text().len() as u64 + 1;
    let mut start = lines[..from].iter().map(len).sum();
    // A reader counts lines from where it begins.
    for (number, line) in (1..).zip(&lines[from..to]) {
        let range = start..start + len(line);
        start = range.end;
        indexer.push_line(0, &LineRecord { line: line.clone(), range, number }, sink);
    }
    start
}

/// Keeps so many items, or two more if one waits.
pub(crate) fn items(items: usize) -> KeptSizes {
    KeptSizes { items, bytes: u64::MAX, waiting_items: items + 2, waiting_bytes: u64::MAX, handed_after: u64::MAX }
}

/// Keeps the items in so many bytes, or in twice as many if one waits, and hands on the others as soon as there are as many again.
pub(crate) fn bytes(bytes: u64) -> KeptSizes {
    let unlimited = usize::MAX;
    KeptSizes { items: unlimited, bytes, waiting_items: unlimited, waiting_bytes: bytes * 2, handed_after: bytes }
}

/// Indexes more and more lines, with an indexer that goes on as long as it can. Returns how often it went on.
pub(crate) fn index_in_steps(lines: &[RolloutLine], step: usize, kept: KeptSizes) -> Result<usize, TestCaseError> {
    let mut stored = StoredRows::default();
    let mut paused: Option<(usize, TurnIndexer)> = None;
    let mut continued = 0;
    for to in (step..=lines.len()).step_by(step) {
        let mut attempts = Vec::from_iter(paused.take());
        let count = attempts.len();
        if let Some(point) = stored.resume_point {
            let from = usize::try_from(point.position).unwrap();
            attempts.extend([Some(kept), None].map(|kept| (from, TurnIndexer::resume(&point, 0, kept))));
        }
        attempts.extend([Some(kept), None].map(|kept| (0, TurnIndexer::whole(kept))));
        for (number, (from, mut indexer)) in (0..).zip(attempts) {
            let mut sink = HandedItems::default();
            let end = push(&mut indexer, lines, from, to, &mut sink);
            let rows = match indexer.pause(0, end, &mut sink) {
                Some(rows) => {
                    paused = Some((to, indexer));
                    rows
                }
                None => indexer.finish(0, end, &mut sink),
            };
            if stored.apply(rows, sink) {
                continued += usize::from(number < count);
                break;
            }
            paused = None;
        }
        let mut whole = TurnIndexer::whole(None);
        let mut sink = HandedItems::default();
        let end = push(&mut whole, lines, 0, to, &mut sink);
        let rows = whole.finish(0, end, &mut sink);
        let expected: Vec<TurnRow> = rows.turns.into_iter().map(|row| TurnRow { is_last: false, ..row }).collect();
        prop_assert_eq!(&stored.rows, &expected, "after {} of {:#?}", to, lines);
        prop_assert_eq!(&stored.items, &sink, "after {} of {:#?}", to, lines);
        if let (Some(point), Some(expected)) = (stored.resume_point, rows.resume_point) {
            prop_assert_eq!(point, expected);
        }
    }
    Ok(continued)
}

#[test]
fn items_of_recorded_turns_are_handed_on_while_the_turn_is_open() {
    let (mut threads, mut whole, mut continued) = (0, 0, 0);
    for thread in recordings::folders().iter().flat_map(|folder| recordings::threads_of(folder)) {
        threads += 1;
        whole += usize::from(release_after_each_line(&thread.lines, 4).unwrap());
        continued += index_in_steps(&thread.lines, 2, items(4)).unwrap();
    }
    assert!(whole * 10 > threads * 8, "{whole} of {threads}");
    assert!(continued > threads * 5, "{continued} times for {threads}");
}

fn call(id: &str) -> RolloutItem {
    item(json!({"type": "response_item", "payload": {
        "type": "function_call", "name": "f", "arguments": "{}", "call_id": id}}))
}

fn output(id: &str) -> RolloutItem {
    item(json!({"type": "response_item", "payload": {"type": "function_call_output", "call_id": id, "output": "done"}}))
}

#[test]
fn a_line_that_changes_a_released_item_is_reported() {
    let said = |from: u32| (from..from + 9).map(|number| agent_event(&format!("said {number}"))).collect::<Vec<_>>();
    let command = |state: &str| {
        let item = json!({"type": "CommandExecution", "id": "c", "command": [state]});
        event(json!({"type": state, "turn_id": "a", "item": item}))
    };
    let changes: [(RolloutItem, RolloutItem); 4] = [
        (call("c"), output("c")),
        (command("item_started"), command("item_completed")),
        (assistant("late"), agent_event("late")),
        // It undoes what was said since the turn was steered.
        (user_event("steered"), rolled_back(1)),
    ];
    for (early, late) in changes {
        let story = [vec![started("a"), user_event("q"), early], said(0), vec![late.clone()], said(10)];
        let lines = lines(story.concat());
        assert!(!release_after_each_line(&lines, 1).unwrap(), "{late:?}");
        index_in_steps(&lines, 1, items(1)).unwrap();
        // As long as enough is kept, nothing that is kept is wrong.
        let lines = &lines[..13];
        assert!(release_after_each_line(lines, 20).unwrap(), "{late:?}");
    }
}

#[test]
fn a_released_item_that_is_gone_with_its_turn_is_reported() {
    let items = (0..9).map(|number| agent_event(&format!("said {number}"))).collect::<Vec<_>>();
    let story = [vec![started("a"), user_event("q")], items.clone(), vec![complete("a"), rolled_back(1)]];
    assert!(!release_after_each_line(&lines(story.concat()), 1).unwrap());

    // A late line changes the closed turn, which is drained then.
    let early = completed_item("a", json!({"type": "CommandExecution", "id": "c", "command": ["run"]}));
    let opened = [vec![started("a"), user_event("q"), early.clone()], items].concat();
    let later = vec![complete("a"), started("b"), early, complete("b"), started("c"), complete("c")];
    let mut turns = TurnProjection::new();
    let mut push = |from: usize, items: Vec<RolloutItem>| {
        (from as u64..).zip(lines(items)).for_each(|(position, line)| turns.push(position, &line));
        turns.release_items(&KeptItems { items: 1, from: 0, waiting_items: 0, waiting_from: 0 }, |_, _, _| {});
        (turns.drain_closed().len(), turns.have_released_items_changed())
    };
    assert_eq!(push(0, opened.clone()), (0, false));
    assert_eq!(push(opened.len(), later), (2, true));
}

#[test]
fn an_item_that_waits_is_kept_with_those_after_it() {
    let story = vec![started("a"), user_event("q"), call("c"), agent_event("one"), agent_event("two"), output("c")];
    // Three items wait, one more than the smallest number of items; the second call waits for longer than that.
    assert!(release_after_each_line(&lines(story.clone()), 1).unwrap());
    let longer = [&story[..5], &[agent_event("three"), output("c")]].concat();
    assert!(!release_after_each_line(&lines(longer), 1).unwrap());
}
