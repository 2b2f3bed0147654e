//! World state through the bytes of a log: a replay restores the last written snapshot, and never a newer one after a crash.
//!
//! The writer works as a live thread does: first the item that the model sees, then the record. The oracle does not use records:
//! it keeps snapshots, and for each turn the snapshot that the model knew before it.

use proptest::prelude::*;
use selvedge_history::{ModelContext, WorldStateTracker, replay_lines};
use selvedge_protocol::{RolloutItem, RolloutLine, WorldState, WorldStateRecord};
use serde_json::{Map, Value, json};

use crate::story::{compacted, complete, fragment, patch, rolled_back, snapshot, started, state, time, user};

/// A change of one member within the newest snapshot.
#[derive(Clone, Debug)]
struct Edit {
    /// Which member to enter at each level, as long as it is an object.
    path: Vec<prop::sample::Index>,
    /// Key and value to insert there; `None` to remove a member.
    value: Option<(String, Value)>,
}

#[derive(Clone, Debug)]
enum Step {
    /// A turn before which the model is given these changes.
    Turn(Vec<Edit>),
    /// The same, with a compaction before the changes.
    CompactedTurn(Vec<Edit>),
    /// A rollback of this many turns.
    RollBack(usize),
}

/// Keys of many scripts, and unusual ones.
fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[ab]",
        1 => "[é日🧵\u{301}]{1,2}",
        1 => prop::sample::select(vec!["", "null", "a/b", "a~0b", "\"", "\\u0000", "\n", "full", "state", " a"])
            .prop_map(str::to_owned),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        prop::num::f64::NORMAL.prop_map(Value::from),
        "\\PC{0,3}".prop_map(Value::from),
        Just(json!({})),
        Just(json!([])),
        Just(json!([null, {"in an array": null}])),
    ];
    leaf.prop_recursive(3, 16, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map(key(), inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn edit() -> impl Strategy<Value = Edit> {
    let path = prop::collection::vec(any::<prop::sample::Index>(), 0..4);
    (path, prop::option::weighted(0.7, (key(), value()))).prop_map(|(path, value)| Edit { path, value })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let edits = || prop::collection::vec(edit(), 0..4);
    let step = prop_oneof![
        6 => edits().prop_map(Step::Turn),
        1 => edits().prop_map(Step::CompactedTurn),
        2 => (0_usize..4).prop_map(Step::RollBack),
    ];
    prop::collection::vec(step, 1..14)
}

impl Edit {
    fn apply(&self, mut members: &mut Map<String, Value>) {
        let mut path = self.path.iter();
        loop {
            if members.is_empty() {
                break;
            }
            let Some(index) = path.next() else { break };
            let key = members.keys().nth(index.index(members.len())).unwrap().clone();
            if !members[&key].is_object() || path.len() == 0 {
                return self.apply_to(members, &key);
            }
            members = members.get_mut(&key).unwrap().as_object_mut().unwrap();
        }
        self.apply_to(members, "");
    }

    /// Inserts the new member beside `old`, replaces `old` if it has the same key, or removes it.
    fn apply_to(&self, members: &mut Map<String, Value>, old: &str) {
        match &self.value {
            Some((key, value)) => drop(members.insert(key.clone(), value.clone())),
            None => drop(members.remove(old)),
        }
    }
}

/// A writer of one thread, with the oracle.
#[derive(Default)]
struct Writer {
    tracker: WorldStateTracker,
    /// The text of the log.
    log: String,
    /// All snapshots that the model was given, in order.
    snapshots: Vec<WorldState>,
    /// Index of the one that the model knows. `None` if it knows none.
    now: Option<usize>,
    /// The same before each turn that is not undone.
    before: Vec<Option<usize>>,
    /// How many of these turns began before the newest compaction.
    compacted: usize,
}

impl Writer {
    fn push(&mut self, item: &RolloutItem) {
        let line = RolloutLine::new(time(0), None, item);
        self.log.push_str(line.text());
        self.log.push('\n');
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Turn(edits) => self.turn(edits, false),
            Step::CompactedTurn(edits) => self.turn(edits, true),
            Step::RollBack(turns) => {
                self.roll_back(*turns);
                Ok(())
            }
        }
    }

    fn turn(&mut self, edits: &[Edit], compacts: bool) -> Result<(), TestCaseError> {
        self.before.push(self.now);
        self.push(&started(&format!("t{}", self.log.len())));
        if compacts {
            self.push(&compacted(&["summary"], 1));
            self.tracker.clear();
            self.now = None;
            self.compacted = self.before.len();
        }
        let mut next = self.snapshots.last().cloned().unwrap_or_default().into_value();
        edits.iter().for_each(|edit| edit.apply(next.as_object_mut().unwrap()));
        let next = state(next);
        // The text is the index of the snapshot, so that the oracle finds it in the model's history.
        self.push(&fragment(&self.snapshots.len().to_string()));
        let record = self.tracker.record(&next);
        self.check_record(record.as_ref(), &next)?;
        if let Some(record) = record {
            self.push(&record.into());
        }
        self.now = Some(self.snapshots.len());
        self.snapshots.push(next);
        self.push(&user("go on"));
        self.push(&complete("none"));
        Ok(())
    }

    fn check_record(&self, record: Option<&WorldStateRecord>, next: &WorldState) -> Result<(), TestCaseError> {
        let known = self.now.map(|now| &self.snapshots[now]);
        prop_assert_eq!(record.is_none(), known == Some(next), "nothing is written of what is known, and only of that");
        if let Some(record) = record {
            prop_assert_eq!(record.is_full(), known.is_none());
            let is_empty = record.state.as_ref().unwrap().as_object().unwrap().is_empty();
            prop_assert!(record.is_full() || !is_empty, "an empty patch");
        }
        Ok(())
    }

    /// Undoes turns, back to the newest compaction at most: before it, the history has no texts that name snapshots.
    fn roll_back(&mut self, turns: usize) {
        let remaining = self.before.len().saturating_sub(turns).max(self.compacted);
        let undone = self.before.len() - remaining;
        self.push(&rolled_back(undone as u64));
        if undone > 0 {
            self.now = self.before.drain(remaining..).next().unwrap();
        }
        self.tracker = WorldStateTracker::restored(self.now.map(|now| self.snapshots[now].clone()));
    }
}

fn read(log: &str) -> ModelContext {
    let lines: Vec<RolloutLine> = log.lines().map(|line| RolloutLine::parse(line).unwrap()).collect();
    replay_lines(&lines)
}

/// The index of the newest snapshot that the model sees in its history.
fn seen(context: &ModelContext) -> Option<usize> {
    context.history.iter().rev().find_map(|item| {
        let text = item.texts().concat();
        text.strip_prefix("<environment_context>")?.strip_suffix("</environment_context>")?.parse().ok()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// After every step a replay returns the snapshot that the model was given last.
    #[test]
    fn a_replay_restores_the_last_snapshot(steps in steps()) {
        let mut writer = Writer::default();
        for step in &steps {
            writer.step(step)?;
            let context = read(&writer.log);
            prop_assert_eq!(context.world_state.as_ref(), writer.now.map(|now| &writer.snapshots[now]));
            prop_assert!(context.warnings.is_empty(), "{:?}", context.warnings);
        }
    }

    /// A log that ends after any line restores the snapshot that the model saw then, or an older one. A newer one would be wrong:
    /// the model would never get that update. Getting an update twice does no harm.
    #[test]
    fn a_crash_after_any_line_restores_no_newer_snapshot_than_the_model_saw(steps in steps()) {
        let mut writer = Writer::default();
        for step in &steps {
            writer.step(step)?;
        }
        for (end, _) in writer.log.match_indices('\n') {
            let context = read(&writer.log[..end]);
            prop_assert!(context.warnings.is_empty(), "{:?}", context.warnings);
            let Some(baseline) = &context.world_state else { continue };
            let seen = seen(&context);
            let is_old = seen.is_some_and(|seen| writer.snapshots[..=seen].contains(baseline));
            prop_assert!(is_old, "line {end}: {baseline:?} is newer than {seen:?}");
            // A writer that continues from there repeats everything that the model may not have seen.
            let mut next = WorldStateTracker::restored(Some(baseline.clone()));
            let current = &writer.snapshots[writer.snapshots.len() - 1];
            prop_assert!(next.record(current).is_some() || baseline == current);
        }
    }
}

/// Changes that a merge patch could get wrong, one at a time.
#[test]
fn every_kind_of_change_is_restored() {
    let snapshots = [
        json!({}),
        json!({"a": {"b": {"c": 1, "d": 2}}}),
        json!({"a": {"b": {"c": 1}}}),
        json!({"a": {"b": {}}}),
        json!({"a": {}}),
        json!({"a": [1, null, {"x": null}]}),
        json!({"a": [1, {"x": null}]}),
        json!({"a": []}),
        json!({"a": "text"}),
        json!({"a": {"b": [[]]}}),
        json!({"": {"🧵": "é"}, "e\u{301}": 1, "é": 2}),
        json!({"a": false, "b": 0, "c": 0.1, "d": ""}),
        json!({"a": 0, "b": false, "c": "0.1", "d": {}}),
        json!({}),
    ];
    for one in &snapshots {
        for other in &snapshots {
            let mut tracker = WorldStateTracker::new();
            let mut writer = Writer::default();
            for snapshot in [one, other, one] {
                if let Some(record) = tracker.record(&state(snapshot.clone())) {
                    writer.push(&record.into());
                }
                assert_eq!(read(&writer.log).world_state, Some(state(snapshot.clone())), "{one} {other}");
            }
        }
    }
}

/// A member that is null is equal to a missing one.
#[test]
fn a_null_member_is_a_missing_member() {
    let mut tracker = WorldStateTracker::new();
    let nothing = state(json!({"a": null, "b": {"c": null}}));
    tracker.record(&nothing);
    assert_eq!(tracker.record(&state(json!({"b": {}}))), None);
    let written = tracker.record(&state(json!({"b": {"c": {"d": null, "e": 1}}}))).unwrap();
    assert_eq!(written.state, Some(json!({"b": {"c": {"e": 1}}})));
}

/// A log whose snapshot is missing contains patches without a baseline.
#[test]
fn patches_without_a_snapshot_give_no_world_state() {
    let mut writer = Writer::default();
    writer.push(&patch(json!({"a": 1})));
    assert_eq!(read(&writer.log).world_state, None);
    writer.push(&snapshot(json!({"b": 1})));
    writer.push(&compacted(&["summary"], 1));
    writer.push(&patch(json!({"a": 1})));
    assert_eq!(read(&writer.log).world_state, None);
}
