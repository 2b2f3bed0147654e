//! The surroundings as the model knows them: snapshots and RFC 7386 merge patches.
//!
//! The log records the whole state once in a while, as a *snapshot*. In between it records changes, as *merge patches*
//! of [RFC 7386](https://www.rfc-editor.org/rfc/rfc7386). Such a patch looks like the object that it changes:
//!
//! ```text
//! state          {"env":{"cwd":"/a","shell":"sh"},"files":["x","y"]}
//! patch          {"env":{"cwd":"/b","shell":null},"files":["x"]}
//! patched state  {"env":{"cwd":"/b"},"files":["x"]}
//! ```
//!
//! A member with a value is set, a member with `null` is deleted, and a member that the patch does not mention is left
//! as it is. Objects are patched member by member. Arrays and other values are replaced as a whole.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::open_object::open_object;

/// The value is not a world state or not a patch of one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WorldStateError {
    /// The value is not an object. A snapshot is an object of sections, and so is a patch.
    #[error("a world state is a JSON object of sections, not {found}")]
    NotAnObject {
        /// The JSON type of the value, with its article: `"an array"`.
        found: &'static str,
    },
    /// The value is nested too deeply. A parser could not read it back from a log.
    #[error("a world state is nested {MAX_DEPTH} levels deep at most")]
    TooDeep,
}

/// The maximal number of levels of objects and arrays in a world state.
///
/// `serde_json` refuses to parse more than 128 levels, and a line adds levels of its own around the state. The limit
/// also bounds the recursion of merging and comparing, so that a hostile log cannot overflow the stack.
const MAX_DEPTH: usize = 100;

/// A snapshot of the surroundings: an object of sections, `{section id: value}`.
///
/// The objects in it contain no `null` members. In a merge patch `null` means *delete*, so no patch could set such a
/// member. Therefore a `null` member counts as absent, and [`WorldState::new`] removes it. An array is one value;
/// nothing inside of it is changed.
///
/// ```
/// use selvedge_protocol::WorldState;
/// use serde_json::json;
///
/// let old = WorldState::new(json!({"env": {"cwd": "/a", "shell": "sh"}, "files": ["x", "y"]}))?;
/// let new = WorldState::new(json!({"env": {"cwd": "/b"}, "files": ["x"], "git": null}))?;
/// assert_eq!(new.section("git"), None);
///
/// let patch = old.diff(&new).expect("they differ");
/// assert_eq!(patch.clone().into_value(), json!({"env": {"cwd": "/b", "shell": null}, "files": ["x"]}));
/// let mut patched = old.clone();
/// patched.apply(&patch);
/// assert_eq!(patched, new);
/// # Ok::<(), selvedge_protocol::WorldStateError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct WorldState(Map<String, Value>);

impl WorldState {
    /// Creates a snapshot from a JSON object, without its `null` members.
    ///
    /// # Errors
    /// - [`WorldStateError::NotAnObject`] if the value is not an object.
    /// - [`WorldStateError::TooDeep`] if it has too many levels.
    pub fn new(value: Value) -> Result<Self, WorldStateError> {
        match value {
            Value::Object(_) if is_too_deep(&value) => Err(WorldStateError::TooDeep),
            Value::Object(sections) => Ok(Self(without_nulls(sections))),
            other => Err(WorldStateError::NotAnObject { found: type_name(&other) }),
        }
    }

    /// Returns the sections.
    #[must_use]
    pub fn sections(&self) -> &Map<String, Value> {
        &self.0
    }

    /// Returns the value of a section. `None` if there is no such section.
    #[must_use]
    pub fn section(&self, id: &str) -> Option<&Value> {
        self.0.get(id)
    }

    /// Converts the snapshot to a JSON value.
    #[must_use]
    pub fn into_value(self) -> Value {
        Value::Object(self.0)
    }

    /// Returns the smallest patch that changes this snapshot to `next`. `None` if they are equal.
    ///
    /// A changed object is patched member by member. Any other changed value, also an array, is replaced as a whole.
    /// The patch contains `null` only for members that are removed.
    #[must_use]
    pub fn diff(&self, next: &Self) -> Option<WorldStatePatch> {
        // The patch is minimal: it mentions a member only if the member differs, and its parents only because of that.
        let patch = diff_objects(&self.0, &next.0);
        (!patch.is_empty()).then_some(WorldStatePatch(patch))
    }

    /// Applies a patch to the snapshot, by the rules of RFC 7386.
    pub fn apply(&mut self, patch: &WorldStatePatch) {
        // The rules of the RFC, applied to each member of the patch:
        //
        //     null            delete the member
        //     an object       patch the member, after replacing any other value with {}
        //     anything else   replace the member
        let mut document = Value::Object(std::mem::take(&mut self.0));
        json_patch::merge(&mut document, &Value::Object(patch.0.clone()));
        // A patch that is an object yields an object, and `WorldStatePatch` is always one.
        if let Value::Object(sections) = document {
            self.0 = sections;
        }
    }
}

/// An RFC 7386 merge patch, which changes one snapshot to another. See [`WorldState`] for an example.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WorldStatePatch(Map<String, Value>);

impl WorldStatePatch {
    /// Creates a patch from a JSON object.
    ///
    /// # Errors
    /// - [`WorldStateError::NotAnObject`] if the value is not an object. By the RFC such a patch would replace the
    ///   whole snapshot with a value that is not a snapshot.
    /// - [`WorldStateError::TooDeep`] if it has too many levels.
    pub fn new(value: Value) -> Result<Self, WorldStateError> {
        match value {
            Value::Object(_) if is_too_deep(&value) => Err(WorldStateError::TooDeep),
            Value::Object(members) => Ok(Self(members)),
            other => Err(WorldStateError::NotAnObject { found: type_name(&other) }),
        }
    }

    /// Converts the patch to a JSON value.
    #[must_use]
    pub fn into_value(self) -> Value {
        Value::Object(self.0)
    }
}

open_object! {
    /// Payload of a `world_state` line: a snapshot, or a merge patch that changes the state that the lines before it
    /// describe.
    pub struct WorldStateRecord {
        /// Whether `state` is a snapshot (`true`) or a patch. A missing field counts as `false`, see [`Self::is_full`].
        full: bool,
        /// The snapshot or the patch.
        state: Value,
    }
}

impl WorldStateRecord {
    /// Creates the record of a snapshot.
    #[must_use]
    pub fn snapshot(state: &WorldState) -> Self {
        Self { full: Some(true), state: Some(state.clone().into_value()), ..Self::default() }
    }

    /// Creates the record of a patch.
    #[must_use]
    pub fn patch(patch: WorldStatePatch) -> Self {
        Self { full: Some(false), state: Some(patch.into_value()), ..Self::default() }
    }

    /// Returns whether the record contains a snapshot and not a patch.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.full.unwrap_or(false)
    }
}

/// Returns whether a value has more than [`MAX_DEPTH`] levels.
///
/// It goes through the value level by level and not recursively, because the value can be deeper than the stack allows.
/// It stops at the limit.
fn is_too_deep(value: &Value) -> bool {
    // One more step than levels are allowed: if containers are left after it, they are too deep.
    let mut level = vec![value];
    for _ in 0..=MAX_DEPTH {
        // Containers only: a scalar has no levels below it, and a level can have very many scalars.
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

/// Removes the `null` members of an object and of the objects in it. Arrays are left as they are.
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

/// Returns the patch from `old` to `new`. Empty if they are equal.
fn diff_objects(old: &Map<String, Value>, new: &Map<String, Value>) -> Map<String, Value> {
    // A member that is only in `old` is deleted, and `null` means that. A member that is only in `new` is handled like
    // a changed one.
    let removed = old.keys().filter(|key| !new.contains_key(*key)).map(|key| (key.clone(), Value::Null));
    let changed = new.iter().filter_map(|(key, value)| Some((key.clone(), diff_values(old.get(key), value)?)));
    removed.chain(changed).collect()
}

/// Returns the change of one member, as the value that a patch has for it. `None` if the member does not change.
fn diff_values(old: Option<&Value>, new: &Value) -> Option<Value> {
    match (old, new) {
        (Some(old), new) if old == new => None,
        // Both are objects: only the members that differ. The nested patch is not empty here, because equal values were
        // handled above and objects that differ have a member that differs.
        (Some(Value::Object(old)), Value::Object(new)) => {
            let patch = diff_objects(old, new);
            (!patch.is_empty()).then_some(Value::Object(patch))
        }
        // A new member, or a change between an object and another value: the new value replaces the old one. The new
        // value needs no patch of its own, because it contains no nulls that the merge would take for deletions.
        _ => Some(new.clone()),
    }
}

/// Returns the JSON type of a value with its article, for an error message.
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
