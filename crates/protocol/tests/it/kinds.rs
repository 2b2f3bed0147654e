//! The kinds of lines of newer releases: their fields are typed, and what the types do not name is kept.

use selvedge_protocol::{RealtimeItem, ResponseItemKind, RolloutItem, RolloutLine, SessionMeta};
use serde_json::Value;

use crate::support::{canonical, json};

/// Payloads of Codex 0.171, with a field that no type names in each of them.
const LINES: [(&str, &str); 8] = [
    (
        "token_usage_record",
        r#"{"thread_id":"01a222c1-02af-78e2-b7ee-b9746258cdc0","turn_id":"t1","session_id":"01a222c1-02af-78e2-b7ee-b9746258cdc0","root_turn_id":"t0","response_id":"resp_1","usage":{"input_tokens":1001,"cached_input_tokens":10,"cache_write_input_tokens":0,"output_tokens":20,"reasoning_output_tokens":5,"total_tokens":1021},"turn_token_usage":{"total_tokens":1021},"thread_token_usage":{"total_tokens":3000},"new":1.50}"#,
    ),
    ("inter_agent_communication_metadata", r#"{"trigger_turn":true,"new":1.50}"#),
    (
        "dynamic_tools_updated",
        r#"{"thread_id":"01a222c1-4296-7913-b7ea-f326a669de95","tools":[{"type":"function","name":"lookup"}],"new":1.50}"#,
    ),
    (
        "security_risk_score",
        r#"{"scores":{"high":0.5},"call_id":"c","action":"x","sampled_at":"2026-11-28T15:23:41.900123Z","new":1.50}"#,
    ),
    (
        "realtime_item",
        r#"{"id":"r1","realtime_session_id":"s","observed_at_ms":5,"type":"transcript_segment","role":"user","text":"hello","new":1.50}"#,
    ),
    (
        "retained_context",
        r#"{"type":"verified_answer","turn_id":"t1","call_id":"call_m1","questions":[{"question":"Shall I?\nYes: do it","answer":"Yes","new":1.50}],"acceptance_order":2,"new":1.50}"#,
    ),
    (
        "compacted",
        r#"{"message":"m","replacement_history":[{"type":"message","role":"user","content":[]},{"type":"compaction"}],"replacement_history_metadata":[{"history_sequence":4,"sampled_through_sequence":0,"client_authored":false,"user_input_order":1,"model_search_state":"unused"},null],"compaction_response_id":"resp_2","latest_token_usage_record":{"response_id":"resp_1"},"mcp_resource_origins":{"new":1},"resume_metadata":{"dynamic_tools":{"tools":[]},"multi_agent_version":"v1","last_started_turn_id":"t1","turn_attribution":{"turn_id":"t1"},"previous_turn_settings":{"model":"m"},"next_item_ordinal":9,"observation_clock_floor_ms":7,"new":1.50},"retained_context":{"verified_answers":[],"incomplete":false}}"#,
    ),
    (
        "session_meta",
        r#"{"id":"01a222c3-b917-79d1-b38a-f6df302df544","account_scoped":true,"runtime_workspace_roots":["/srv/a"],"memory_mode":"disabled","selected_capability_roots":[],"multi_agent_version":"v2","subagent_history_start_ordinal":21,"source":{"subagent":{"thread_spawn":{"parent_thread_id":"01a222c3-b839-7b11-b4f6-cd45bfb1be51","depth":1,"agent_path":"/root/cygnets","agent_nickname":"Leibniz","agent_role":null}}},"creator_user_id":"u"}"#,
    ),
];

fn item(kind: &str, payload: &str) -> RolloutItem {
    let line = format!(r#"{{"timestamp":"2026-11-28T15:23:24.310Z","ordinal":3,"type":"{kind}","payload":{payload}}}"#);
    RolloutLine::parse(&line).unwrap().item()
}

#[test]
fn newer_kinds_are_typed_and_lose_nothing() {
    for (kind, payload) in LINES {
        let item = item(kind, payload);
        assert_eq!(item.kind(), kind);
        assert!(!matches!(item, RolloutItem::Other(_)), "{kind}");
        let mut written = Vec::new();
        item.write_payload(&mut written).unwrap();
        assert_eq!(canonical(&String::from_utf8(written).unwrap()), canonical(payload), "{kind}");
        // Every field of another shape is kept, and the others are read.
        for (name, _) in json(payload).as_object().unwrap() {
            let mut other = json(payload);
            other[name] = Value::from(vec![7]);
            let odd: RolloutItem = serde_json::from_value(serde_json::json!({"type": kind, "payload": other})).unwrap();
            assert_eq!(serde_json::to_value(&odd).unwrap()["payload"], other, "{kind} {name}");
        }
    }
    let unexpected = item("realtime_item", "7");
    assert!(matches!(&unexpected, RolloutItem::Other(item) if item.json().get() == "7"));
}

#[test]
fn the_fields_of_newer_kinds_have_their_values() {
    let typed: Vec<RolloutItem> = LINES.iter().map(|(kind, payload)| item(kind, payload)).collect();
    let RolloutItem::TokenUsageRecord(record) = &typed[0] else { panic!() };
    assert_eq!(record.usage.as_ref().unwrap().total_tokens, Some(1021));
    assert_eq!(record.thread_token_usage.as_ref().unwrap().total_tokens, Some(3000));
    let RolloutItem::RetainedContext(retained) = &typed[5] else { panic!() };
    assert_eq!(retained.kind.as_deref(), Some("verified_answer"));
    assert_eq!(retained.questions.as_ref().unwrap()[0].answer.as_deref(), Some("Yes"));
    let RolloutItem::Compacted(compacted) = &typed[6] else { panic!() };
    let metadata = compacted.replacement_history_metadata.as_ref().unwrap();
    assert_eq!((metadata.len(), metadata[0].as_ref().unwrap().history_sequence), (2, Some(4)));
    assert_eq!(compacted.resume_metadata.as_ref().unwrap().next_item_ordinal, Some(9));
    let RolloutItem::SessionMeta(head) = &typed[7] else { panic!() };
    assert_eq!(head.subagent_history_start_ordinal, Some(21));
    assert_eq!(head.runtime_workspace_roots.as_deref(), Some(&["/srv/a".to_owned()][..]));
    let RolloutItem::ResponseItem(update) = item("response_item", r#"{"type":"configuration_update"}"#) else {
        panic!()
    };
    assert_eq!(*update.kind(), ResponseItemKind::ConfigurationUpdate);
}

#[test]
fn the_source_of_a_sub_agent_describes_how_it_was_started() {
    let RolloutItem::SessionMeta(head) = item(LINES[7].0, LINES[7].1) else { panic!() };
    let spawn = head.thread_spawn().unwrap();
    assert_eq!(spawn.parent_thread_id.unwrap().to_string(), "01a222c3-b839-7b11-b4f6-cd45bfb1be51");
    assert_eq!((spawn.depth, spawn.agent_nickname.as_deref(), spawn.agent_role), (Some(1), Some("Leibniz"), None));
    assert!(head.is_of_subagent());
    for (source, is_of_subagent) in [
        (serde_json::json!("cli"), false),
        (serde_json::json!({"custom": "subagent"}), false),
        (serde_json::json!({"subagent": "review"}), true),
        (serde_json::json!({"subagent": {"other": "guardian"}}), true),
        (serde_json::json!({"subagent": {"thread_spawn": 7}}), true),
        (serde_json::json!(7), false),
    ] {
        let head = SessionMeta { source: Some(source.clone()), ..SessionMeta::default() };
        assert_eq!((head.thread_spawn(), head.is_of_subagent()), (None, is_of_subagent), "{source}");
    }
}

#[test]
fn spoken_words_are_a_transcript() {
    for (payload, transcript) in [
        (r#"{"type":"transcript_segment","role":"user","text":"hello"}"#, Some(("user", "hello"))),
        (
            r#"{"type":"frame","channels":{"voice_transcript":{"role":"assistant","text":"hi"}}}"#,
            Some(("assistant", "hi")),
        ),
        (r#"{"type":"frame","channels":{"other":{}}}"#, None),
        (r#"{"type":"realtime_session_closed","outcome":"ended"}"#, None),
    ] {
        let item: RealtimeItem = serde_json::from_str(payload).unwrap();
        assert_eq!(item.transcript(), transcript, "{payload}");
    }
}
