//! What the model has been told about its surroundings: snapshots and RFC 7386 merge patches.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::open::open_object;

/// A value that is no world state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WorldStateError {
    /// A snapshot is an object of sections.
    #[error("a world state is a JSON object of sections, not {found}")]
    NotAnObject {
        /// What it is instead.
        found: &'static str,
    },
    /// What is nested deeper cannot be read back from a log.
    #[error("a world state is nested {MAX_DEPTH} levels deep at most")]
    TooDeep,
}

/// How many levels of objects and arrays a world state may have. JSON parsers stop at about as many, and what is merged and
/// compared level by level must not reach the end of the stack.
const MAX_DEPTH: usize = 100;

/// A snapshot: an object of sections, `{section id: value}`.
///
/// Objects in it hold no nulls, because a merge patch means *delete* by null; a null member counts as absent and is left
/// out when the snapshot is made. Arrays are values as a whole, and whatever is inside one stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct WorldState(Map<String, Value>);

impl WorldState {
    /// The snapshot that `value` describes.
    ///
    /// # Errors
    /// [`WorldStateError::NotAnObject`] for anything but an object, [`WorldStateError::TooDeep`] for one of too many levels.
    pub fn new(value: Value) -> Result<Self, WorldStateError> {
        match value {
            Value::Object(_) if is_too_deep(&value) => Err(WorldStateError::TooDeep),
            Value::Object(sections) => Ok(Self(without_nulls(sections))),
            other => Err(WorldStateError::NotAnObject { found: type_name(&other) }),
        }
    }

    /// The sections.
    #[must_use]
    pub fn sections(&self) -> &Map<String, Value> {
        &self.0
    }

    /// The value of a section.
    #[must_use]
    pub fn section(&self, id: &str) -> Option<&Value> {
        self.0.get(id)
    }

    /// The snapshot as a JSON value.
    #[must_use]
    pub fn into_value(self) -> Value {
        Value::Object(self.0)
    }

    /// The smallest patch that makes `next` of this snapshot; nothing when they are equal.
    ///
    /// Changed objects are patched member by member, everything else (arrays too) is replaced whole. Nulls stand for
    /// removals only.
    #[must_use]
    pub fn diff(&self, next: &Self) -> Option<WorldStatePatch> {
        let patch = diff_objects(&self.0, &next.0);
        (!patch.is_empty()).then_some(WorldStatePatch(patch))
    }

    /// Merges a patch into the snapshot by RFC 7386.
    pub fn apply(&mut self, patch: &WorldStatePatch) {
        let mut document = Value::Object(std::mem::take(&mut self.0));
        json_patch::merge(&mut document, &Value::Object(patch.0.clone()));
        if let Value::Object(sections) = document {
            self.0 = sections;
        }
    }
}

/// An RFC 7386 merge patch between two snapshots.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WorldStatePatch(Map<String, Value>);

impl WorldStatePatch {
    /// The patch that `value` describes.
    ///
    /// # Errors
    /// [`WorldStateError::NotAnObject`] for anything but an object: it would replace the whole snapshot by something
    /// that is none. [`WorldStateError::TooDeep`] for one of too many levels.
    pub fn new(value: Value) -> Result<Self, WorldStateError> {
        match value {
            Value::Object(_) if is_too_deep(&value) => Err(WorldStateError::TooDeep),
            Value::Object(members) => Ok(Self(members)),
            other => Err(WorldStateError::NotAnObject { found: type_name(&other) }),
        }
    }

    /// The patch as a JSON value.
    #[must_use]
    pub fn into_value(self) -> Value {
        Value::Object(self.0)
    }
}

open_object! {
    /// Payload of a `world_state` line: a full snapshot, or a merge patch against the last one.
    pub struct WorldStateRecord {
        /// Whether `state` is a whole snapshot; a patch otherwise.
        full: bool,
        /// The snapshot or the patch.
        state: Value,
    }
}

impl WorldStateRecord {
    /// The record of a whole snapshot.
    #[must_use]
    pub fn snapshot(state: &WorldState) -> Self {
        Self { full: Some(true), state: Some(state.clone().into_value()), ..Self::default() }
    }

    /// The record of a patch.
    #[must_use]
    pub fn patch(patch: WorldStatePatch) -> Self {
        Self { full: Some(false), state: Some(patch.into_value()), ..Self::default() }
    }

    /// Whether the record holds a whole snapshot.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.full.unwrap_or(false)
    }
}

/// Whether a value has more levels than a world state may. Goes no deeper than that itself.
fn is_too_deep(value: &Value) -> bool {
    let mut level = vec![value];
    for _ in 0..=MAX_DEPTH {
        let next = level.into_iter().flat_map(|value| match value {
            Value::Object(members) => members.values().collect::<Vec<_>>(),
            Value::Array(values) => values.iter().collect(),
            _ => Vec::new(),
        });
        level = next.filter(|value| value.is_object() || value.is_array()).collect();
        if level.is_empty() {
            return false;
        }
    }
    true
}

fn without_nulls(object: Map<String, Value>) -> Map<String, Value> {
    object
        .into_iter()
        .filter_map(|(key, value)| match value {
            Value::Null => None,
            Value::Object(inner) => Some((key, Value::Object(without_nulls(inner)))),
            other => Some((key, other)),
        })
        .collect()
}

fn diff_objects(old: &Map<String, Value>, new: &Map<String, Value>) -> Map<String, Value> {
    let removed = old.keys().filter(|key| !new.contains_key(*key)).map(|key| (key.clone(), Value::Null));
    let changed = new.iter().filter_map(|(key, value)| Some((key.clone(), diff_values(old.get(key), value)?)));
    removed.chain(changed).collect()
}

fn diff_values(old: Option<&Value>, new: &Value) -> Option<Value> {
    match (old, new) {
        (Some(old), new) if old == new => None,
        (Some(Value::Object(old)), Value::Object(new)) => {
            let patch = diff_objects(old, new);
            (!patch.is_empty()).then_some(Value::Object(patch))
        }
        _ => Some(new.clone()),
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
