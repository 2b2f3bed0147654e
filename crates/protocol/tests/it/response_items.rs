//! Response items: they keep their text, and some fields are parsed on request.

use selvedge_protocol::{ResponseItem, ResponseItemKind};
use serde_json::json;

use crate::support::raw;

fn item(text: &str) -> ResponseItem {
    ResponseItem::from_json(raw(text)).unwrap()
}

#[test]
fn an_item_stays_verbatim() {
    let text = r#"{ "type":"message", "n":1.50, "role" : "user","x":{"b":1,"a":2}}"#;
    assert_eq!(item(text).json().get(), text);
    assert_eq!(serde_json::to_string(&item(text)).unwrap(), text);
    assert_eq!(serde_json::from_str::<ResponseItem>(text).unwrap(), item(text));
    assert_eq!(item(text).clone(), item(text));
    assert_ne!(item(text), item(&text.replace("1.50", "1.5")));
}

#[test]
fn only_an_object_is_an_item() {
    for text in ["null", "[]", "7", "\"message\""] {
        assert_eq!(ResponseItem::from_json(raw(text)), None);
        serde_json::from_str::<ResponseItem>(text).unwrap_err();
    }
    assert_eq!(ResponseItem::from_value(&json!([])), None);
    assert_eq!(ResponseItem::from_value(&json!({"type": "reasoning"})).unwrap().kind(), &ResponseItemKind::Reasoning);
}

#[test]
fn kinds_are_parsed_from_their_names() {
    for (name, kind) in [
        ("message", ResponseItemKind::Message),
        ("agent_message", ResponseItemKind::AgentMessage),
        ("custom_tool_call_output", ResponseItemKind::CustomToolCallOutput),
        ("ghost_snapshot", ResponseItemKind::GhostSnapshot),
        ("compaction", ResponseItemKind::Compaction),
        ("from_the_future", ResponseItemKind::Other("from_the_future".to_owned())),
    ] {
        let item = item(&format!(r#"{{"type":"{name}"}}"#));
        assert_eq!((item.kind(), item.kind().as_str()), (&kind, name));
    }
    assert_eq!(item(r#"{"type":"compaction_summary"}"#).kind(), &ResponseItemKind::Compaction);
    for odd in ["{}", r#"{"type":7}"#, r#"{"type":null}"#] {
        assert_eq!(item(odd).kind(), &ResponseItemKind::Other(String::new()));
    }
}

#[test]
fn role_and_texts_of_a_message_are_parsed_on_request() {
    let message = item(
        r#"{"type":"message","role":"us\u0065r","content":[{"type":"input_text","text":"a\n"},{"type":"input_image","image_url":"x"},{"type":"input_text","text":"b"}]}"#,
    );
    assert_eq!(message.role().as_deref(), Some("user"));
    assert_eq!(message.texts(), ["a\n", "b"]);
    assert_eq!(item(r#"{"role":"user","content":"plain"}"#).texts(), ["plain"]);
    for none in ["{}", r#"{"content":null}"#, r#"{"content":7}"#, r#"{"content":{"text":"x"}}"#, r#"{"content":[]}"#] {
        assert_eq!(item(none).texts(), [""; 0], "{none}");
        assert_eq!(item(none).role(), None);
    }
}

#[test]
fn a_part_of_an_unexpected_shape_does_not_hide_the_texts_of_the_others() {
    let message = item(
        r#"{"role":7,"content":["x",{"text":7},null,{"text":"a","type":[]},{"text":null},{"text":"b","text_elements":[{}]}]}"#,
    );
    assert_eq!(message.texts(), ["a", "b"]);
    assert_eq!(message.role(), None);
}

#[test]
fn new_items_have_the_expected_json() {
    assert_eq!(
        json!(ResponseItem::user_text("t")),
        json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": "t"}]})
    );
    assert_eq!(
        json!(ResponseItem::assistant_text("t")),
        json!({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "t"}]})
    );
    assert_eq!(ResponseItem::message("developer", "t").role().as_deref(), Some("developer"));
    assert_eq!(
        json!(ResponseItem::agent_message("a", "b", "t")),
        json!({"type": "agent_message", "author": "a", "recipient": "b", "content": [{"type": "input_text", "text": "t"}]})
    );
    assert_eq!(
        json!(ResponseItem::function_call("c", "n", "{}")),
        json!({"type": "function_call", "name": "n", "arguments": "{}", "call_id": "c"})
    );
    assert_eq!(
        json!(ResponseItem::function_call_output("c", "o")),
        json!({"type": "function_call_output", "call_id": "c", "output": "o"})
    );
    assert_eq!(ResponseItem::function_call("c", "n", "{}").kind(), &ResponseItemKind::FunctionCall);
    assert_eq!(ResponseItem::user_text("t").texts(), ["t"]);
}
