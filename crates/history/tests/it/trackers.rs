//! Trackers of world state and context windows, and what a replay of their records returns.

use proptest::prelude::*;
use selvedge_history::{ContextWindowTracker, WorldStateTracker, replay};
use selvedge_protocol::{ContextWindow, RolloutItem, Timestamp, WindowId, WorldState, WorldStateRecord};
use serde_json::{Map, Value, json};

use crate::story::{compacted, rolled_back, started, state, user};

#[test]
fn the_first_record_is_a_snapshot_and_later_ones_are_patches() {
    let mut tracker = WorldStateTracker::new();
    let first = tracker.record(&state(json!({"cwd": "/a", "env": {"x": 1}}))).unwrap();
    assert!(first.is_full());
    let second = tracker.record(&state(json!({"cwd": "/a", "env": {"y": 2}}))).unwrap();
    assert!(!second.is_full());
    assert_eq!(second.state, Some(json!({"env": {"x": null, "y": 2}})));
    assert_eq!(tracker.record(&state(json!({"cwd": "/a", "env": {"y": 2}}))), None);
}

#[test]
fn after_a_clear_the_next_record_is_a_snapshot() {
    let mut tracker = WorldStateTracker::restored(Some(state(json!({"a": 1}))));
    assert_eq!(tracker.record(&state(json!({"a": 1}))), None);
    tracker.clear();
    assert_eq!(tracker.baseline(), None);
    assert!(tracker.record(&state(json!({"a": 1}))).unwrap().is_full());
    assert_eq!(tracker.baseline(), Some(&state(json!({"a": 1}))));
}

#[test]
fn an_empty_snapshot_is_recorded_like_any_other() {
    let mut tracker = WorldStateTracker::new();
    assert!(tracker.record(&WorldState::default()).unwrap().is_full());
    assert_eq!(tracker.record(&WorldState::default()), None);
}

#[test]
fn each_window_names_the_one_before() {
    let at = Timestamp::from_seconds(1_795_000_000);
    let first = WindowId::new(at);
    let mut tracker = ContextWindowTracker::new(ContextWindow::first(Some(first)));
    let second = tracker.compact(at);
    let third = tracker.compact(at);
    assert_eq!((second.number, second.first_window_id, second.previous_window_id), (1, Some(first), Some(first)));
    assert_eq!((third.number, third.first_window_id, third.previous_window_id), (2, Some(first), second.window_id));
    assert!(third.window_id.is_some() && third.window_id != second.window_id);
    assert_eq!(tracker.current(), third);
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-zé🧵\"]{0,4}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[abcé]{1,2}", inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn world() -> impl Strategy<Value = WorldState> {
    prop::collection::btree_map("[abcé]", value(), 0..4)
        .prop_map(|sections| state(Value::Object(sections.into_iter().collect::<Map<_, _>>())))
}

proptest! {
    #[test]
    fn a_replay_restores_the_last_recorded_snapshot(steps in prop::collection::vec((world(), any::<bool>()), 1..12)) {
        let mut tracker = WorldStateTracker::new();
        let mut log: Vec<RolloutItem> = Vec::new();
        for (world, compacts_before) in &steps {
            if *compacts_before {
                log.push(compacted(&["summary"], 1));
                tracker.clear();
            }
            log.extend(tracker.record(world).map(RolloutItem::from));
            // CheckedTotals after every step, so also for a crash after any line.
            let read = replay(&log);
            prop_assert_eq!(read.world_state.as_ref(), Some(world));
            prop_assert!(read.warnings.is_empty());
        }
    }

    /// Each turn records a world state, or compacts, which clears it. A rollback restores the state before.
    #[test]
    fn a_rollback_restores_the_world_state(steps in prop::collection::vec((0..4_u8, world()), 0..24)) {
        let (mut log, mut known, mut before) = (Vec::new(), None::<WorldState>, Vec::new());
        for (number, (kind, world)) in steps.into_iter().enumerate() {
            if kind == 0 {
                let turns = 1 + number % 3;
                log.push(rolled_back(turns as u64));
                known = before.drain(before.len().saturating_sub(turns)..).next().unwrap_or(known);
                continue;
            }
            before.push(known.clone());
            log.extend([started(&format!("t{number}")), user("question")]);
            match kind {
                1 => {
                    log.push(compacted(&["summary"], 1));
                    known = None;
                }
                2 => {
                    log.push(WorldStateRecord::snapshot(&world).into());
                    known = Some(world);
                }
                _ => {
                    let patch = known.as_ref().and_then(|known| known.diff(&world));
                    known = if let Some(patch) = patch {
                        log.push(WorldStateRecord::patch(patch).into());
                        Some(world)
                    } else {
                        known
                    };
                }
            }
        }
        prop_assert_eq!(replay(&log).world_state, known);
    }

    #[test]
    fn equal_states_are_never_written_twice(world in world()) {
        let mut tracker = WorldStateTracker::new();
        prop_assert!(tracker.record(&world).is_some());
        prop_assert!(tracker.record(&world).is_none());
    }
}
