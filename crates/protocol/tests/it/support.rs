//! Recorded lines, and a comparison of JSON texts that is exact about numbers.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use selvedge_protocol::{StoredThread, ThreadId, Timestamp};
use serde_json::Value;
use serde_json::value::RawValue;

/// Returns every line of every recorded rollout, with the path of its file.
pub(crate) fn recorded_lines() -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    let mut dirs = vec![Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../samples")).to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|extension| extension == "jsonl") {
                files.push(path);
            }
        }
    }
    files.sort();
    let rollouts = files.into_iter().filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("rollout-"));
    let lines: Vec<_> = rollouts
        .flat_map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            text.lines().map(|line| (path.clone(), line.to_owned())).collect::<Vec<_>>()
        })
        .collect();
    assert!(lines.len() > 400, "the recordings are not where they should be");
    lines
}

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(crate) fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).unwrap()
}

pub(crate) fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// Returns the tokens of a JSON text, with the members of its objects sorted. The result is equal for two texts that
/// differ only in white space and in the order of members. Unlike for `Value`, `1.0` and `1.00` are different.
pub(crate) fn canonical(text: &str) -> String {
    if let Ok(members) = serde_json::from_str::<std::collections::BTreeMap<String, Box<RawValue>>>(text) {
        let members: Vec<_> =
            members.iter().map(|(key, value)| format!("{key:?}:{}", canonical(value.get()))).collect();
        return format!("{{{}}}", members.join(","));
    }
    if let Ok(items) = serde_json::from_str::<Vec<Box<RawValue>>>(text) {
        return format!("[{}]", items.iter().map(|item| canonical(item.get())).collect::<Vec<_>>().join(","));
    }
    match serde_json::from_str::<String>(text) {
        Ok(string) => format!("{string:?}"),
        Err(_) => text.trim().to_owned(),
    }
}

/// Generates JSON values with few keys, so that two values have many keys in common.
pub(crate) fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..4).prop_map(Value::from),
        Just(Value::from(1.0)),
        "[ab]{0,2}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            3 => any_object(inner),
        ]
    })
}

pub(crate) fn any_object(inner: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    let key = prop::sample::select(vec!["a", "b", "é", "日本", "", "a/b~c", "\u{0}\"\n"]);
    prop::collection::btree_map(key, inner, 0..4)
        .prop_map(|map| map.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

/// Returns the id of test thread `n`. The ids sort by `n`.
pub(crate) fn id(n: u8) -> ThreadId {
    format!("01a1fd5d-aacb-7641-837d-0000000000{n:02x}").parse().unwrap()
}

/// A thread record with three different times and no other facts.
pub(crate) fn thread() -> StoredThread {
    StoredThread {
        updated_at: at("2026-11-22T00:00:00Z"),
        recency_at: at("2026-11-21T12:00:00Z"),
        ..StoredThread::new(id(1), at("2026-11-21T00:00:00Z"))
    }
}
