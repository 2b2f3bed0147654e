//! Open objects keep the fields that they do not name.

use selvedge_protocol::{Extra, SessionMeta, ThreadSettings, TokenUsage, TurnContext, UserMessageEvent};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::support::{canonical, raw};

fn read<T: DeserializeOwned>(text: &str) -> T {
    serde_json::from_str(text).unwrap()
}

fn write(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap()
}

#[test]
fn fields_of_unexpected_shapes_count_as_missing_and_are_kept() {
    let text = r#"{"id":"no uuid","timestamp":17,"cwd":["/"],"history_mode":"sideways","history_base":7,"git":null,"agent_role":{},"cli_version":"1"}"#;
    let meta: SessionMeta = read(text);
    assert_eq!(meta.cli_version.as_deref(), Some("1"));
    assert!(meta.id.is_none() && meta.timestamp.is_none() && meta.cwd.is_none() && meta.git.is_none());
    assert!(meta.history_mode.is_none() && meta.history_base.is_none() && meta.agent_role.is_none());
    assert_eq!(read::<SessionMeta>(r#"{"source":null}"#).source, None, "null counts as missing for every type");
    assert_eq!(meta.extra.get("cwd").unwrap().get(), r#"["/"]"#);
    assert_eq!(canonical(&write(&meta)), canonical(text));
}

#[test]
fn a_field_that_is_set_replaces_its_unexpected_value() {
    let mut meta: SessionMeta = read(r#"{"cwd":null,"x":null,"cli_version":7}"#);
    meta.cwd = Some("/new".to_owned());
    assert_eq!(canonical(&write(&meta)), canonical(r#"{"cwd":"/new","x":null,"cli_version":7}"#));
}

#[test]
fn an_unexpected_field_inside_a_known_object_affects_no_other_field() {
    let meta: SessionMeta = read(r#"{"history_base":{"thread_id":5,"end_ordinal_exclusive":29,"new":true}}"#);
    let base = meta.history_base.unwrap();
    assert_eq!((base.thread_id, base.end_ordinal_exclusive), (None, Some(29)));
    assert_eq!(base.extra.get("new").unwrap().get(), "true");
    let v4 = r#"{"context_window":{"window_id":"6c1959de-8bdf-489c-a664-66b58be0c216"}}"#;
    let meta: SessionMeta = read(v4);
    assert_eq!(meta.window_id(), None);
    assert_eq!(write(&meta), v4);
}

#[test]
fn numbers_keep_their_spelling() {
    let text = r#"{"input_tokens":1.0,"output_tokens":1e2,"total_tokens":-1,"reasoning_output_tokens":7,"new":12345678901234567890123.50}"#;
    let usage: TokenUsage = read(text);
    assert_eq!((usage.input_tokens, usage.reasoning_output_tokens), (None, Some(7)));
    assert_eq!(canonical(&write(&usage)), canonical(text));
}

#[test]
fn a_field_is_read_under_its_alias_and_written_under_its_name() {
    let settings: ThreadSettings = read(r#"{"reasoning_effort":"high"}"#);
    assert_eq!(settings.effort.as_deref(), Some("high"));
    assert_eq!(write(&settings), r#"{"effort":"high"}"#);
    let both: ThreadSettings = read(r#"{"effort":null,"reasoning_effort":"high"}"#);
    assert_eq!(write(&both), r#"{"effort":"high"}"#);
    let meta: SessionMeta = read(r#"{"agent_type":"explorer"}"#);
    assert_eq!(meta.agent_role.as_deref(), Some("explorer"));
}

#[test]
fn a_tagged_object_writes_its_tag_first() {
    let event = UserMessageEvent { message: Some("m".to_owned()), ..UserMessageEvent::default() };
    assert_eq!(write(&event), r#"{"type":"user_message","message":"m"}"#);
    assert_eq!(read::<UserMessageEvent>(&write(&event)), event);
}

#[test]
fn only_an_object_is_accepted() {
    for text in ["null", "[]", "7", "\"x\""] {
        serde_json::from_str::<TurnContext>(text).unwrap_err();
    }
}

#[test]
fn unknown_fields_can_be_inspected_and_changed() {
    let mut context: TurnContext = read(r#"{"a":1,"model":"m","b":[2]}"#);
    assert_eq!(context.extra.iter().map(|(key, _)| key).collect::<Vec<_>>(), ["a", "b"]);
    context.extra.insert("a", raw("7"));
    context.extra.insert("c", raw("{}"));
    assert_eq!(context.extra.remove("b").unwrap().get(), "[2]");
    assert!(context.extra.remove("b").is_none());
    assert_eq!(canonical(&write(&context)), canonical(r#"{"a":7,"model":"m","c":{}}"#));
    assert!(Extra::default().is_empty() && !context.extra.is_empty());
}
