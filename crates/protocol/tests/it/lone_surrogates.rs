//! Lone surrogate escapes: the views have U+FFFD in their place, and the line keeps its bytes.

use selvedge_protocol::{EventMsg, OpenItem, ResponseItem, RolloutItem, RolloutLine};

use crate::support::{json, raw};

fn parse(text: &str) -> RolloutLine {
    let line = RolloutLine::parse(text).unwrap();
    assert_eq!(line.text(), text);
    line
}

fn item(kind: &str, payload: &str) -> RolloutItem {
    parse(&format!(r#"{{"timestamp":"2026-11-21T09:08:56.680Z","type":"{kind}","payload":{payload}}}"#)).item()
}

#[test]
fn every_field_of_every_kind_reads_as_with_the_replacement_character() {
    for (kind, payload) in [
        ("session_meta", r#"{"cwd":"/srv/SUR/app","source":{"subagent":"SUR"},"git":{"branch":"SUR"},"SUR":"SUR"}"#),
        ("response_item", r#"{"type":"message","role":"user","content":[{"type":"input_text","text":"a SUR b"}]}"#),
        ("response_item", r#"{"SUR":1,"type":"function_call_output","call_id":"c","output":"SUR"}"#),
        ("event_msg", r#"{"type":"user_message","message":"a SUR b","images":["SUR"],"SUR":null}"#),
        ("event_msg", r#"{"type":"item_completed","item":{"type":"AgentMessage","content":[{"text":"SUR"}]}}"#),
        ("event_msg", r#"{"type":"of_tomorrow","SUR":["SUR"]}"#),
        ("turn_context", r#"{"cwd":"SUR","approval_policy":{"SUR":"SUR"}}"#),
        ("compacted", r#"{"message":"SUR","replacement_history":[{"type":"message","content":"SUR"}]}"#),
        ("world_state", r#"{"full":true,"state":{"env":{"SUR":"SUR"}}}"#),
        ("inter_agent_communication", r#"{"author":"SUR","content":"SUR"}"#),
        ("thread_metadata", r#"{"patch":{"name":"SUR"}}"#),
        ("of_tomorrow", r#"{"SUR":{"SUR":["SUR"]}}"#),
    ] {
        let clean = item(kind, &payload.replace("SUR", "\u{fffd}"));
        let escaped = item(kind, &payload.replace("SUR", r"\ufffd"));
        for lone in [r"\ud83d", r"\uDE00"] {
            let item = item(kind, &payload.replace("SUR", lone));
            assert_eq!(item, escaped, "{kind} {payload}");
            assert!(kind == "of_tomorrow" || !matches!(item, RolloutItem::Other(_)), "{kind} {payload}");
            // `to_value` compares the content, because an item that is kept as text spells U+FFFD as an escape.
            assert_eq!(serde_json::to_value(&item).unwrap(), serde_json::to_value(&clean).unwrap(), "{kind} {payload}");
        }
        // A whole pair is a character and stays one.
        let pair = item(kind, &payload.replace("SUR", r"\ud83d\ude00"));
        let emoji = item(kind, &payload.replace("SUR", "😀"));
        assert_eq!(serde_json::to_value(&pair).unwrap(), serde_json::to_value(&emoji).unwrap(), "{kind} {payload}");
    }
}

#[test]
fn items_made_of_json_text_are_readable() {
    let message = r#"{"type":"message","role":"user","content":"x \ud83d y"}"#;
    assert_eq!(ResponseItem::from_json(raw(message)).unwrap().texts(), ["x \u{fffd} y"]);
    let EventMsg::UserMessage(event) = EventMsg::from_json(raw(r#"{"type":"user_message","message":"\ud83d"}"#)) else {
        panic!("another event")
    };
    assert_eq!(event.message.as_deref(), Some("\u{fffd}"));
    assert_eq!(json(OpenItem::new("k", raw(r#"{"\ud83d":7}"#)).json().get())["\u{fffd}"], 7);
    let item: RolloutItem =
        serde_json::from_str(&format!(r#"{{"type":"response_item","payload":{message}}}"#)).unwrap();
    assert_eq!(item, ResponseItem::from_json(raw(message)).unwrap().into());
}

#[test]
fn a_lone_surrogate_in_the_envelope_damages_no_line() {
    let line = parse(
        r#"{"\ud83d":1,"timestamp":"2026-11-21T09:08:56.680Z","ordinal":7,"type":"x\ud83d","payload":{"a":1},"k\udc00":2}"#,
    );
    assert_eq!((line.ordinal(), line.kind(), line.payload()), (Some(7), "x\u{fffd}", r#"{"a":1}"#));
    assert!(line.timestamp().is_some());
    let extra = line.extra();
    let keys: Vec<_> = extra.iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["\u{fffd}", "k\u{fffd}"]);
    assert_eq!(parse(line.with_item(&line.item()).text()).extra(), extra);
    RolloutLine::parse(r#"{"\ud83d":"#).unwrap_err();
}
