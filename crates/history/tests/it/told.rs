//! Surroundings through the bytes of a log: what was written gives what was told, and a crash never gives more.
//!
//! The writer does as a live thread does: what the model sees first, the record behind it. The oracle knows nothing of
//! records: it remembers snapshots, and for each turn which one had been told before it.

use proptest::prelude::*;
use selvedge_history::{ModelContext, WorldStateTracker, replay_lines};
use selvedge_protocol::{RolloutItem, RolloutLine, WorldState, WorldStateRecord};
use serde_json::{Map, Value, json};

use crate::story::{compacted, complete, fragment, patch, rolled_back, snapshot, started, state, time, user};

/// A change at a place within the newest snapshot.
#[derive(Clone, Debug)]
struct Edit {
    /// Which member to go into, level by level, as long as there are objects.
    path: Vec<prop::sample::Index>,
    /// What to put there, under this key; nothing to remove a member.
    value: Option<(String, Value)>,
}

#[derive(Clone, Debug)]
enum Step {
    /// A turn before which the model is told what changed; nothing changed without edits.
    Turn(Vec<Edit>),
    /// The same, and the history is replaced before the telling.
    CompactedTurn(Vec<Edit>),
    /// So many turns are undone.
    RollBack(usize),
}

/// Keys as other languages and careless programs write them.
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

    /// Puts the new member beside `old`, changes the type of `old` if it has the same key, or removes it.
    fn apply_to(&self, members: &mut Map<String, Value>, old: &str) {
        match &self.value {
            Some((key, value)) => drop(members.insert(key.clone(), value.clone())),
            None => drop(members.remove(old)),
        }
    }
}

/// A writer of one thread, and what is known of it without reading its log.
#[derive(Default)]
struct Writer {
    tracker: WorldStateTracker,
    /// The log, as it is on disk.
    log: String,
    /// The snapshots that were ever told, in order.
    told: Vec<WorldState>,
    /// Which of them the model was told last, if it has not forgotten it.
    now: Option<usize>,
    /// The same before each turn that stands.
    before: Vec<Option<usize>>,
    /// How many of the turns that stand began before the newest compaction.
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
        let mut next = self.told.last().cloned().unwrap_or_default().into_value();
        edits.iter().for_each(|edit| edit.apply(next.as_object_mut().unwrap()));
        let next = state(next);
        // Told by its number, so that the oracle can find it in what the model sees.
        self.push(&fragment(&self.told.len().to_string()));
        let record = self.tracker.record(&next);
        self.check_record(record.as_ref(), &next)?;
        if let Some(record) = record {
            self.push(&record.into());
        }
        self.now = Some(self.told.len());
        self.told.push(next);
        self.push(&user("go on"));
        self.push(&complete("none"));
        Ok(())
    }

    fn check_record(&self, record: Option<&WorldStateRecord>, next: &WorldState) -> Result<(), TestCaseError> {
        let known = self.now.map(|now| &self.told[now]);
        prop_assert_eq!(record.is_none(), known == Some(next), "nothing is written of what is known, and only of that");
        if let Some(record) = record {
            prop_assert_eq!(record.is_full(), known.is_none());
            let is_empty = record.state.as_ref().unwrap().as_object().unwrap().is_empty();
            prop_assert!(record.is_full() || !is_empty, "an empty patch");
        }
        Ok(())
    }

    /// Undoes turns, as far back as the newest compaction: behind that, the model sees less than it was told.
    fn roll_back(&mut self, turns: usize) {
        let standing = self.before.len().saturating_sub(turns).max(self.compacted);
        let undone = self.before.len() - standing;
        self.push(&rolled_back(undone as u64));
        if undone > 0 {
            self.now = self.before.drain(standing..).next().unwrap();
        }
        self.tracker = WorldStateTracker::restored(self.now.map(|now| self.told[now].clone()));
    }
}

fn read(log: &str) -> ModelContext {
    let lines: Vec<RolloutLine> = log.lines().map(|line| RolloutLine::parse(line).unwrap()).collect();
    replay_lines(&lines)
}

/// The newest telling that the model still sees.
fn seen(context: &ModelContext) -> Option<usize> {
    context.history.iter().rev().find_map(|item| {
        let text = item.texts().concat();
        text.strip_prefix("<environment_context>")?.strip_suffix("</environment_context>")?.parse().ok()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// After every step, what the log says is what the model was told last.
    #[test]
    fn what_was_written_gives_the_last_snapshot(steps in steps()) {
        let mut writer = Writer::default();
        for step in &steps {
            writer.step(step)?;
            let context = read(&writer.log);
            prop_assert_eq!(context.world_state.as_ref(), writer.now.map(|now| &writer.told[now]));
            prop_assert!(context.warnings.is_empty(), "{:?}", context.warnings);
        }
    }

    /// A log that breaks off behind any line says what the model saw then, or something older: an update that the model
    /// missed would never come again, one that is told twice does no harm.
    #[test]
    fn a_crash_behind_any_line_gives_nothing_newer_than_what_was_seen(steps in steps()) {
        let mut writer = Writer::default();
        for step in &steps {
            writer.step(step)?;
        }
        for (end, _) in writer.log.match_indices('\n') {
            let context = read(&writer.log[..end]);
            prop_assert!(context.warnings.is_empty(), "{:?}", context.warnings);
            let Some(baseline) = &context.world_state else { continue };
            let seen = seen(&context);
            let is_old = seen.is_some_and(|seen| writer.told[..=seen].contains(baseline));
            prop_assert!(is_old, "line {end}: {baseline:?} was not told by {seen:?}");
            // Who goes on from there says again all that the model may not have seen.
            let mut next = WorldStateTracker::restored(Some(baseline.clone()));
            let current = &writer.told[writer.told.len() - 1];
            prop_assert!(next.record(current).is_some() || baseline == current);
        }
    }
}

/// Each change that a merge patch could get wrong, by itself.
#[test]
fn every_kind_of_change_comes_through() {
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

/// Nulls are no values: a member that is null is one that is not there.
#[test]
fn a_null_is_an_absence() {
    let mut tracker = WorldStateTracker::new();
    let nothing = state(json!({"a": null, "b": {"c": null}}));
    tracker.record(&nothing);
    assert_eq!(tracker.record(&state(json!({"b": {}}))), None);
    let written = tracker.record(&state(json!({"b": {"c": {"d": null, "e": 1}}}))).unwrap();
    assert_eq!(written.state, Some(json!({"b": {"c": {"e": 1}}})));
}

/// A log that begins in the middle, or lost its snapshot, has patches that nothing is known to patch.
#[test]
fn a_lost_snapshot_gives_nothing_rather_than_half() {
    let mut writer = Writer::default();
    writer.push(&patch(json!({"a": 1})));
    assert_eq!(read(&writer.log).world_state, None);
    writer.push(&snapshot(json!({"b": 1})));
    writer.push(&compacted(&["summary"], 1));
    writer.push(&patch(json!({"a": 1})));
    assert_eq!(read(&writer.log).world_state, None);
}
