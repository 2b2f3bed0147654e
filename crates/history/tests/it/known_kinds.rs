//! Kinds that programs write are known, and misspelt ones are not.

use selvedge_history::unknown_kind;
use serde_json::json;

use crate::recordings;
use crate::story::item;

#[test]
fn every_recorded_kind_is_known() {
    for (name, lines) in recordings::all_threads() {
        // Files from before the envelope contain lines without a type.
        for line in lines.into_iter().filter(|line| !line.kind().is_empty()) {
            assert_eq!(unknown_kind(&line.item()), None, "{name}: {}", line.text());
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
            json!({"type": "event_msg", "payload": {"type": "item_completed", "item": {"type": "UserMesage"}}}),
            "a completed item of type `UserMesage`",
        ),
    ] {
        assert_eq!(unknown_kind(&item(line)).as_deref(), Some(named));
    }
    for known in ["agent_message_delta", "exec_command_end", "item_started", "turn_started"] {
        assert_eq!(unknown_kind(&item(json!({"type": "event_msg", "payload": {"type": known}}))), None);
    }
}
