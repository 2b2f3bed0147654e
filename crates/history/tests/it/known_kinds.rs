//! Kinds and fields that programs write are known, and misspelt ones are not.

use selvedge_history::known_kinds::misspelling;
use serde_json::json;

use crate::recordings;
use crate::story::item;

#[test]
fn every_recorded_kind_is_known() {
    for (name, lines) in recordings::all_threads() {
        // Files from before the envelope contain lines without a type.
        for line in lines.into_iter().filter(|line| !line.kind().is_empty()) {
            assert_eq!(misspelling(&line.item()), None, "{name}: {}", line.text());
        }
    }
}

#[test]
fn misspelt_kinds_are_named() {
    for (line, named) in [
        (json!({"type": "respnse_item", "payload": {}}), "a line of type `respnse_item`"),
        (json!({"type": "response_item", "payload": {"type": "mesage"}}), "a response item of type `mesage`"),
        (json!({"type": "response_item", "payload": {"role": "user"}}), "a response item without a type"),
        (json!({"type": "event_msg", "payload": {"type": "user_mesage"}}), "an event of type `user_mesage`"),
        (
            json!({"type": "event_msg", "payload": {"type": "user_message", "mesage": "hello"}}),
            "an event of type `user_message` without its field `message`",
        ),
        (
            json!({"type": "response_item", "payload": {"type": "message", "role": "user", "contents": []}}),
            "a response item of type `message` without its field `content`",
        ),
        (
            json!({"type": "response_item", "payload": {"type": "custom_tool_call_output", "id": "c", "output": ""}}),
            "a response item of type `custom_tool_call_output` without its field `call_id`",
        ),
        (
            json!({"type": "event_msg", "payload": {"type": "item_completed", "itme": {"type": "UserMessage"}}}),
            "an event of type `item_completed` without its field `item`",
        ),
        (
            json!({"type": "event_msg", "payload": {"type": "item_completed", "item": {"type": "UserMessage", "text": "x"}}}),
            "a completed item of type `UserMessage` without its field `content`",
        ),
        (json!({"type": "compacted", "payload": {"summary": "x"}}), "a `compacted` line without its field `message`"),
        (json!({"type": "world_state", "payload": {"sate": {}}}), "a `world_state` line without its field `state`"),
        (
            json!({"type": "event_msg", "payload": {"type": "item_completed", "item": {"type": "UserMesage"}}}),
            "a completed item of type `UserMesage`",
        ),
    ] {
        assert_eq!(misspelling(&item(line)).as_deref(), Some(named));
    }
    for known in ["agent_message_delta", "exec_command_end", "item_started", "turn_started"] {
        assert_eq!(misspelling(&item(json!({"type": "event_msg", "payload": {"type": known}}))), None);
    }
}

/// The tables of the documentation are those of the code: every kind that the code knows is in them.
#[test]
fn the_tables_name_every_completed_item() {
    let source = include_str!("../../src/known_kinds.rs");
    let (tables, code) = source.split_once("use std::fmt;").unwrap();
    let rows = code.split("const COMPLETED_ITEMS").nth(1).unwrap().split("];\n").next().unwrap();
    let kinds: Vec<&str> = rows.split("(\"").skip(1).map(|row| row.split('"').next().unwrap()).collect();
    assert_eq!(kinds.len(), 18);
    for kind in kinds {
        assert!(tables.contains(&format!("`{kind}`")), "{kind}");
    }
}
