//! Lines keep their bytes, and typed views lose no field.

use proptest::prelude::*;
use selvedge_protocol::{EventMsg, LineFormat, OpenItem, ResponseItem, RolloutItem, RolloutLine, TurnContext};

use crate::support::{any_value, at, canonical, json, raw, recorded_lines};

const LINE: &str = r#"{"timestamp":"2026-11-21T09:08:56.680Z","ordinal":7,"type":"response_item","payload":{"type":"message"},"metadata":{"k":1.50},"é":[ ]}"#;

fn parse(text: &str) -> RolloutLine {
    RolloutLine::parse(text).unwrap()
}

#[test]
fn recorded_lines_keep_their_bytes() {
    for (path, text) in recorded_lines() {
        let line = parse(&text);
        assert_eq!(line.text(), text);
        assert_eq!(line.clone().text(), text);
        let bare = path.to_str().unwrap().contains("basic-0.20");
        assert_eq!(line.format() == LineFormat::Bare, bare);
        if !bare {
            let value = json(&text);
            assert_eq!(line.timestamp().unwrap().to_string(), value["timestamp"]);
            assert_eq!(line.kind(), value["type"]);
            assert_eq!(line.ordinal(), value["ordinal"].as_u64());
            assert_eq!(json(line.payload()), value["payload"]);
        }
    }
}

#[test]
fn recorded_items_are_typed_and_written_again_without_a_loss() {
    let mut kinds = std::collections::BTreeMap::new();
    for (path, text) in recorded_lines() {
        let line = parse(&text);
        let item = line.item();
        let typed = !matches!(item, RolloutItem::Other(_));
        *kinds.entry((line.kind().to_owned(), typed)).or_insert(0) += 1;
        let mut payload = Vec::new();
        item.write_payload(&mut payload).unwrap();
        let payload = String::from_utf8(payload).unwrap();
        assert_eq!(canonical(&payload), canonical(line.payload()), "{}: {text}", path.display());

        if line.format() == LineFormat::Envelope {
            let again = line.with_item(&item);
            assert_eq!(canonical(again.text()), canonical(&text));
            assert_eq!(parse(again.text()).item(), item);
        }
    }
    for kind in ["session_meta", "response_item", "event_msg", "turn_context", "compacted", "world_state"] {
        assert!(kinds.contains_key(&(kind.to_owned(), true)), "{kind}: {kinds:?}");
        assert!(!kinds.contains_key(&(kind.to_owned(), false)), "{kind} is not understood: {kinds:?}");
    }
}

#[test]
fn recorded_events_are_typed() {
    let known = [
        "task_started",
        "task_complete",
        "turn_aborted",
        "user_message",
        "agent_message",
        "token_count",
        "item_completed",
        "thread_rolled_back",
    ];
    let mut seen = std::collections::BTreeSet::new();
    for (_, text) in recorded_lines() {
        if let RolloutItem::EventMsg(event) = parse(&text).item() {
            let kind = event.kind().to_owned();
            if known.contains(&kind.as_str()) {
                assert!(!matches!(event, EventMsg::Other(_)), "{text}");
                seen.insert(kind);
            }
        }
    }
    assert_eq!(seen.len(), known.len(), "{seen:?}");
}

#[test]
fn white_space_around_a_line_is_not_part_of_it() {
    assert_eq!(parse(&format!(" \t{LINE}\r\n")).text(), LINE);
    let spaced = r#"{ "timestamp" : "2026-11-21T09:08:56.680Z" , "type" : "x" , "payload" :  [ 1 ]  }"#;
    let line = parse(spaced);
    assert_eq!((line.text(), line.payload(), line.kind()), (spaced, "[ 1 ]", "x"));
}

#[test]
fn only_an_object_is_a_line() {
    for text in ["", " ", "null", "[]", "7", "{", "{}{}", "{} x", "{\"a\"}", "{\"a\":}", "\u{feff}{}", "{\"a\":NaN}"] {
        let error = RolloutLine::parse(text).unwrap_err();
        assert!(error.to_string().starts_with("not a JSON object: "), "{text:?}: {error}");
    }
}

#[test]
fn an_envelope_is_read_in_any_order_and_with_unexpected_fields() {
    let line = parse(
        r#"{"payload":{"x":1},"x":{},"type":"novel\u0074y","ordinal":3,"timestamp":"2026-11-21T10:08:56.680999+01:00"}"#,
    );
    assert_eq!((line.kind(), line.ordinal(), line.payload()), ("novelty", Some(3), r#"{"x":1}"#));
    assert_eq!(line.timestamp(), Some(at("2026-11-21T09:08:56.680Z")));

    let odd = parse(r#"{"timestamp":7,"ordinal":-1,"type":["event_msg"],"payload":null}"#);
    assert_eq!((odd.timestamp(), odd.ordinal(), odd.kind(), odd.payload()), (None, None, "", "null"));
    assert_eq!(parse(r#"{"ordinal":1.0,"type":"x","payload":1}"#).ordinal(), None);
    assert_eq!(parse(r#"{"ordinal":18446744073709551615,"type":"x","payload":1}"#).ordinal(), Some(u64::MAX));

    let no_payload = parse(r#"{"timestamp":"2026-11-21T09:08:56.680Z","type":"event_msg"}"#);
    assert_eq!((no_payload.format(), no_payload.payload()), (LineFormat::Envelope, "null"));
    assert!(matches!(no_payload.item(), RolloutItem::Other(item) if item.kind() == "event_msg"));
}

#[test]
fn bare_lines_have_the_kinds_that_they_would_have_today() {
    let head =
        parse(r#"{"id":"6c1959de-8bdf-489c-a664-66b58be0c216","timestamp":"2026-11-21T09:07:26.036Z","git":{}}"#);
    assert_eq!((head.format(), head.kind()), (LineFormat::Bare, "session_meta"));
    let RolloutItem::SessionMeta(meta) = head.item() else { panic!() };
    assert_eq!(meta.id.unwrap().to_string(), "6c1959de-8bdf-489c-a664-66b58be0c216");
    let message = parse(r#"{"type":"message","role":"user","content":[{"type":"input_text","text":"hi"}]}"#);
    assert_eq!((message.format(), message.kind()), (LineFormat::Bare, "response_item"));
    assert!(matches!(message.item(), RolloutItem::ResponseItem(item) if item.texts() == ["hi"]));
    let state = parse(r#"{"record_type":"state"}"#);
    assert_eq!((state.format(), state.kind()), (LineFormat::Bare, ""));
    assert!(matches!(state.item(), RolloutItem::Other(_)));
}

#[test]
fn a_known_kind_of_an_unexpected_shape_is_kept_whole() {
    for kind in
        ["session_meta", "response_item", "event_msg", "turn_context", "compacted", "world_state", "thread_metadata"]
    {
        for payload in ["null", "7", "[1]", "\"text\""] {
            let line = parse(&format!(r#"{{"type":"{kind}","payload":{payload}}}"#));
            assert_eq!(line.item(), RolloutItem::Other(OpenItem::new(kind, raw(payload))), "{kind} {payload}");
        }
    }
}

#[test]
fn a_line_with_another_item_keeps_its_time_ordinal_and_unknown_fields() {
    let line = parse(LINE);
    assert_eq!(
        line.extra().iter().map(|(key, value)| (key.to_owned(), value.get().to_owned())).collect::<Vec<_>>(),
        [("metadata".to_owned(), r#"{"k":1.50}"#.to_owned()), ("é".to_owned(), "[ ]".to_owned()),]
    );
    let changed = line.with_item(&ResponseItem::user_text("new").into());
    let wanted = r#"{"timestamp":"2026-11-21T09:08:56.680Z","ordinal":7,"type":"response_item","payload":{"content":[{"text":"new","type":"input_text"}],"role":"user","type":"message"},"metadata":{"k":1.50},"é":[ ]}"#;
    assert_eq!(canonical(changed.text()), canonical(wanted));
    assert!(changed.text().ends_with(r#","metadata":{"k":1.50},"é":[ ]}"#), "{}", changed.text());
    let again = parse(changed.text());
    assert_eq!((again.timestamp(), again.ordinal(), again.extra()), (line.timestamp(), Some(7), line.extra()));
    assert_eq!((again.payload(), again.item()), (changed.payload(), changed.item()));
    assert_eq!(line.text(), LINE, "the original line is unchanged");
}

#[test]
fn a_changed_item_keeps_its_unknown_fields() {
    let text = r#"{"timestamp":"2026-11-21T09:08:56.680Z","type":"turn_context","payload":{"before":1.0,"model":"old","cwd":null,"effort":7,"from_the_future":{"x":[1e5,12345678901234567890123]},"turn_id":"t"},"metadata":[]}"#;
    let line = parse(text);
    let RolloutItem::TurnContext(mut context) = line.item() else { panic!() };
    assert_eq!((context.model.as_deref(), &context.cwd, &context.effort), (Some("old"), &None, &None));
    context.model = Some("new".to_owned());
    let changed = line.with_item(&RolloutItem::TurnContext(context));
    assert_eq!(canonical(changed.text()), canonical(&text.replace("old", "new")));
}

#[test]
fn a_new_line_equals_the_line_parsed_from_its_text() {
    let item = RolloutItem::from(TurnContext { model: Some("m".to_owned()), ..TurnContext::default() });
    for ordinal in [None, Some(0), Some(u64::MAX)] {
        let line = RolloutLine::new(at("2026-11-21T09:08:56.680Z"), ordinal, &item);
        assert_eq!(line, parse(line.text()));
        let mut bytes = Vec::new();
        RolloutLine::encode(&mut bytes, at("2026-11-21T09:08:56.680Z"), ordinal, &item);
        assert_eq!(bytes, [line.text().as_bytes(), b"\n"].concat());
    }
    let line = RolloutLine::new(at("2026-11-21T09:08:56.680Z"), Some(3), &item);
    let wanted =
        r#"{"timestamp":"2026-11-21T09:08:56.680Z","ordinal":3,"type":"turn_context","payload":{"model":"m"}}"#;
    assert_eq!(line.text(), wanted);
}

#[test]
fn a_new_line_contains_no_newline() {
    let item = ResponseItem::from_json(raw("{\n\"type\":\r\n\"message\", \"text\": \"a\\nb\"\n}")).unwrap();
    let line = RolloutLine::new(at("2026-11-21T09:08:56.680Z"), None, &item.into());
    assert!(!line.text().contains(['\n', '\r']), "{}", line.text());
    assert_eq!(json(line.payload())["text"], "a\nb");
}

#[test]
fn an_item_serializes_as_its_type_and_payload() {
    let text = r#"{"type":"event_msg","payload":{"type":"error","message":"m","x":1.0}}"#;
    let item: RolloutItem = serde_json::from_str(text).unwrap();
    assert!(matches!(&item, RolloutItem::EventMsg(EventMsg::Error(_))));
    assert_eq!(serde_json::to_string(&item).unwrap(), text);
    serde_json::from_str::<RolloutItem>(r#"{"type":"event_msg"}"#).unwrap_err();
    serde_json::from_str::<RolloutItem>(r#"{"payload":{}}"#).unwrap_err();
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn payloads_of_any_kind_are_kept(
        kind in prop::sample::select(vec![
            "session_meta", "response_item", "event_msg", "turn_context", "compacted", "world_state",
            "inter_agent_communication", "thread_metadata", "from_the_future",
        ]),
        event in prop::sample::select(vec!["task_started", "token_count", "item_completed", "user_message", "x"]),
        payload in any_value(),
    ) {
        let mut payload = payload;
        if let Some(object) = payload.as_object_mut() {
            object.insert("type".to_owned(), event.into());
            object.insert("turn_id".to_owned(), 5.into());
        }
        let text = format!(r#"{{"type":"{kind}","payload":{payload},"beside":{payload}}}"#);
        let line = parse(&text);
        let mut written = Vec::new();
        line.item().write_payload(&mut written).unwrap();
        prop_assert_eq!(canonical(std::str::from_utf8(&written).unwrap()), canonical(&payload.to_string()));
        let changed = line.with_item(&line.item());
        prop_assert_eq!(canonical(changed.extra().get("beside").unwrap().get()), canonical(&payload.to_string()));
    }
}

#[test]
fn an_item_without_a_type_or_a_payload_is_refused() {
    for wrong in [r#"["x", {"a": 1}]"#, "[]", "{}", r#"{"type": "x"}"#, r#"{"type": 1, "payload": {}}"#, "7"] {
        let error = serde_json::from_str::<RolloutItem>(wrong).unwrap_err().to_string();
        assert!(!error.contains("struct"), "{wrong}: {error}");
    }
    let item: RolloutItem = serde_json::from_str(r#"{"payload": {"a": 1}, "ordinal": 3, "type": "x"}"#).unwrap();
    assert_eq!(serde_json::to_string(&item).unwrap(), r#"{"type":"x","payload":{"a": 1}}"#);
}
