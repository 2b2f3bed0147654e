//! Events under their names and aliases.

use selvedge_protocol::{CompletedItem, EventMsg, ItemCompletedEvent, UserMessageEvent};
use serde_json::json;

use crate::support::{canonical, raw};

fn event(text: &str) -> EventMsg {
    EventMsg::from_json(raw(text))
}

#[test]
fn every_known_kind_is_typed_and_round_trips() {
    let kinds = [
        "task_started",
        "task_complete",
        "turn_aborted",
        "user_message",
        "agent_message",
        "agent_reasoning",
        "agent_reasoning_raw_content",
        "token_count",
        "thread_rolled_back",
        "context_compacted",
        "thread_settings_applied",
        "thread_goal_updated",
        "item_completed",
        "entered_review_mode",
        "exited_review_mode",
        "mcp_tool_call_end",
        "patch_apply_end",
        "web_search_end",
        "image_generation_end",
        "error",
    ];
    for kind in kinds {
        let text = format!(r#"{{"type":"{kind}","from_the_future":1.0}}"#);
        let event = event(&text);
        assert_eq!(event.kind(), kind);
        assert!(!matches!(event, EventMsg::Other(_)), "{kind}");
        assert_eq!(serde_json::to_string(&event).unwrap(), text);
    }
}

#[test]
fn an_alias_of_an_event_is_the_same_event() {
    let started = event(r#"{"type":"turn_started","turn_id":"t"}"#);
    assert!(matches!(&started, EventMsg::TaskStarted(event) if event.turn_id.as_ref().unwrap().as_str() == "t"));
    assert_eq!(started, event(r#"{"type":"task_started","turn_id":"t"}"#));
    let complete = event(r#"{"turn_id":"t","type":"turn_complete","duration_ms":7}"#);
    assert!(matches!(&complete, EventMsg::TaskComplete(event) if event.duration_ms == Some(7)));
    assert_eq!((started.kind(), complete.kind()), ("task_started", "task_complete"));
}

#[test]
fn unknown_kinds_and_unexpected_shapes_are_kept_whole() {
    for text in
        [r#"{"x":[1.50], "type":"exec_command_begin"}"#, "{}", r#"{"type":7}"#, "[]", "null", r#""task_started""#]
    {
        let event = event(text);
        assert!(matches!(&event, EventMsg::Other(_)), "{text}");
        assert_eq!(serde_json::to_string(&event).unwrap(), text);
    }
    assert_eq!(event(r#"{"type":"exec_command_begin"}"#).kind(), "exec_command_begin");
}

#[test]
fn the_info_of_a_token_count_can_be_null() {
    let text = r#"{"type":"token_count","info":null,"rate_limits":{"x":1}}"#;
    let EventMsg::TokenCount(count) = event(text) else { panic!() };
    assert_eq!(count.info, None);
    assert_eq!(canonical(&serde_json::to_string(&EventMsg::from(count)).unwrap()), canonical(text));
    let EventMsg::TokenCount(count) =
        event(r#"{"type":"token_count","info":{"total_token_usage":{"total_tokens":9}}}"#)
    else {
        panic!()
    };
    assert_eq!(count.info.unwrap().total_token_usage.unwrap().total_tokens, Some(9));
}

#[test]
fn a_completed_item_keeps_its_spelling() {
    let text = r#"{"type":"item_completed","turn_id":"t","item":{"n": 1.50,"type":"Plan"}}"#;
    let EventMsg::ItemCompleted(completed) = event(text) else { panic!() };
    let item = completed.item.as_ref().unwrap();
    assert_eq!((item.kind(), item.json().get()), ("Plan", r#"{"n": 1.50,"type":"Plan"}"#));
    assert_eq!(canonical(&serde_json::to_string(&completed).unwrap()), canonical(text));

    let odd: ItemCompletedEvent = serde_json::from_str(r#"{"item":7}"#).unwrap();
    assert!(odd.item.is_none() && odd.extra.get("item").is_some());
    assert_eq!(CompletedItem::from_value(&json!([])), None);
    assert_eq!(CompletedItem::from_value(&json!({"type": "Plan"})).unwrap().kind(), "Plan");
    assert_eq!(CompletedItem::from_value(&json!({})).unwrap().kind(), "");
}

#[test]
fn a_new_event_has_its_type() {
    let event = EventMsg::from(UserMessageEvent { message: Some("m".to_owned()), ..UserMessageEvent::default() });
    assert_eq!(serde_json::to_value(&event).unwrap(), json!({"type": "user_message", "message": "m"}));
}
