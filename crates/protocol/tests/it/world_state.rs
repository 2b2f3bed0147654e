//! World states: differences, and how patches are applied.

use proptest::prelude::*;
use selvedge_protocol::{RolloutItem, RolloutLine, Timestamp, WorldState, WorldStatePatch, WorldStateRecord};
use serde_json::{Map, Value, json};

use crate::support::{any_object, any_value};

fn state(value: Value) -> WorldState {
    WorldState::new(value).unwrap()
}

/// Applies a patch as RFC 7386 defines it. An implementation of its own, to compare the code under test with.
fn merge(target: Option<&Value>, patch: &Value) -> Value {
    let Value::Object(patch) = patch else { return patch.clone() };
    let mut result = target.and_then(Value::as_object).cloned().unwrap_or_default();
    for (key, value) in patch {
        if value.is_null() {
            result.remove(key);
        } else {
            let merged = merge(result.get(key), value);
            result.insert(key.clone(), merged);
        }
    }
    Value::Object(result)
}

/// Returns the number of changes in a patch, at any depth. Each removal and each value that is set counts once.
fn size(patch: &Map<String, Value>) -> usize {
    patch.values().map(|value| value.as_object().filter(|inner| !inner.is_empty()).map_or(1, size)).sum()
}

/// Returns every patch that has one change less, at any depth.
fn smaller(patch: &Map<String, Value>) -> Vec<Map<String, Value>> {
    let mut found = Vec::new();
    for (key, value) in patch {
        let mut without = patch.clone();
        without.remove(key);
        found.push(without);
        for inner in value.as_object().map(smaller).unwrap_or_default() {
            let mut with = patch.clone();
            with.insert(key.clone(), Value::Object(inner));
            found.push(with);
        }
    }
    found
}

/// Returns whether every `null` of a patch from `old` removes a member that exists.
fn nulls_remove(old: Option<&Value>, patch: &Value) -> bool {
    let Value::Object(patch) = patch else { return true };
    patch.iter().all(|(key, value)| {
        let old = old.and_then(Value::as_object).and_then(|old| old.get(key));
        if value.is_null() { old.is_some() } else { nulls_remove(old, value) }
    })
}

#[track_caller]
fn check(old: Value, new: Value, patch: Value) {
    let (old, new) = (state(old), state(new));
    let found = old.diff(&new).map(WorldStatePatch::into_value).unwrap_or_default();
    assert_eq!(found, patch);
}

#[test]
fn diffs_of_hand_written_states() {
    check(json!({"a": 1}), json!({"a": 1}), Value::Null);
    check(json!({}), json!({"a": 1}), json!({"a": 1}));
    check(json!({"a": 1}), json!({}), json!({"a": null}));
    check(json!({"a": {"b": 1, "c": 2}}), json!({"a": {"b": 1}}), json!({"a": {"c": null}}));
    check(json!({"a": {"b": 1}}), json!({"a": {}}), json!({"a": {"b": null}}));
    check(json!({}), json!({"a": {}}), json!({"a": {}}));
    check(json!({"a": 1}), json!({"a": {}}), json!({"a": {}}));
    check(
        json!({"a": {"b": {"c": {"d": 1, "e": 2}}, "x": 1}}),
        json!({"a": {"b": {"c": {"e": 3}}, "x": 1}}),
        json!({"a": {"b": {"c": {"d": null, "e": 3}}}}),
    );
    // An array is replaced as a whole, whatever is in it.
    check(json!({"a": [1, 2, 3]}), json!({"a": [1, 3]}), json!({"a": [1, 3]}));
    check(json!({"a": [{"b": 1}]}), json!({"a": [{"b": null}]}), json!({"a": [{"b": null}]}));
    // Changes of type.
    check(json!({"a": {"b": 1}}), json!({"a": [1]}), json!({"a": [1]}));
    check(json!({"a": "1"}), json!({"a": 1}), json!({"a": 1}));
    check(json!({"a": 1}), json!({"a": 1.0}), json!({"a": 1.0}));
    check(json!({"日本": {"é": 1}}), json!({"日本": {"\u{0}": 1}}), json!({"日本": {"é": null, "\u{0}": 1}}));
}

#[test]
fn a_null_member_counts_as_absent() {
    let with = state(json!({"a": null, "b": {"c": null, "d": {"e": null}}, "f": [null, {"g": null}]}));
    assert_eq!(with.clone().into_value(), json!({"b": {"d": {}}, "f": [null, {"g": null}]}));
    assert_eq!(with.diff(&state(json!({"b": {"d": {}}, "f": [null, {"g": null}]}))), None);
    assert_eq!(with.section("a"), None);
    assert_eq!(with.section("b"), Some(&json!({"d": {}})));
    assert_eq!(with.sections().len(), 2);
}

#[test]
fn only_an_object_is_a_snapshot_or_a_patch() {
    for (value, name) in [
        (json!(null), "null"),
        (json!([]), "an array"),
        (json!("x"), "a string"),
        (json!(7), "a number"),
        (json!(true), "a boolean"),
    ] {
        let error = WorldState::new(value.clone()).unwrap_err();
        assert_eq!(error.to_string(), format!("a world state is a JSON object of sections, not {name}"));
        WorldStatePatch::new(value).unwrap_err();
    }
}

#[test]
fn a_record_states_whether_it_is_full() {
    let full = WorldStateRecord::snapshot(&state(json!({"a": 1})));
    assert!(full.is_full());
    assert_eq!(serde_json::to_value(&full).unwrap(), json!({"full": true, "state": {"a": 1}}));
    let patch = WorldStateRecord::patch(WorldStatePatch::new(json!({"a": null})).unwrap());
    assert!(!patch.is_full());
    assert_eq!(serde_json::to_value(&patch).unwrap(), json!({"full": false, "state": {"a": null}}));
    assert!(!WorldStateRecord::default().is_full());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn a_diff_changes_one_state_to_the_other_and_is_minimal(old in any_object(any_value()), new in any_object(any_value())) {
        let (old, new) = (state(old), state(new));
        let diff = old.diff(&new);
        prop_assert_eq!(diff.is_none(), old == new);
        let Some(diff) = diff else { return Ok(()) };

        let mut applied = old.clone();
        applied.apply(&diff);
        prop_assert_eq!(&applied, &new);

        let patch = diff.into_value();
        let old = old.into_value();
        prop_assert!(nulls_remove(Some(&old), &patch), "{patch} from {old}");
        let patch = patch.as_object().unwrap();
        prop_assert!(size(patch) > 0);
        // Every smaller patch results in another state. An empty object counts as a change of its own.
        for less in smaller(patch) {
            let other = state(merge(Some(&old), &Value::Object(less.clone())));
            prop_assert!(other != new, "{less:?} would do as well as {patch:?}");
        }
    }

    #[test]
    fn a_patch_is_applied_as_the_rfc_defines(old in any_object(any_value()), patch in any_object(any_value())) {
        let mut applied = state(old);
        let wanted = merge(Some(&applied.clone().into_value()), &patch);
        applied.apply(&WorldStatePatch::new(patch).unwrap());
        prop_assert_eq!(applied.into_value(), wanted);
    }
}

#[test]
fn a_state_that_is_nested_too_deeply_is_refused() {
    let nested = |levels: usize| {
        let inner = (1..levels).fold(serde_json::json!([]), |value, _| serde_json::json!({"a": value}));
        serde_json::json!({"a": inner})
    };
    assert!(WorldState::new(nested(100)).is_ok() && WorldStatePatch::new(nested(100)).is_ok());
    for levels in [102, 2_000] {
        let error = WorldState::new(nested(levels)).unwrap_err();
        assert_eq!(error.to_string(), "a world state is nested 100 levels deep at most");
        assert!(WorldStatePatch::new(nested(levels)).is_err());
    }
    let deepest = WorldState::new(nested(100)).unwrap();
    let patch = WorldState::default().diff(&deepest).unwrap();
    let mut state = WorldState::default();
    state.apply(&patch);
    assert_eq!(state, deepest);
    let line = RolloutLine::new(Timestamp::default(), None, &WorldStateRecord::snapshot(&deepest).into());
    assert!(matches!(line.item(), RolloutItem::WorldState(record) if record.state.is_some()), "it is read back");
}
