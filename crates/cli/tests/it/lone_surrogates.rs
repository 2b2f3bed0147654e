//! Threads with lone surrogate escapes, which JSON allows and no text can hold.

use std::fs;

use serde_json::Value;

use crate::support::Home;

const LEGACY: &str = "01a1fd5d-0000-7000-8000-000000000001";
const PAGINATED: &str = "01a1fd5d-0000-7000-8000-000000000002";

/// Lines with the spaces that Python writes, and with a lone surrogate in every text.
fn legacy() -> String {
    let head = format!(
        r#"{{"timestamp": "2026-11-21T09:00:00.000Z", "type": "session_meta", "payload": {{"id": "{LEGACY}", "timestamp": "2026-11-21T09:00:00.000Z", "cwd": "/srv/\ud83d/app"}}}}"#
    );
    let rest = [
        r#"{"timestamp": "2026-11-21T09:00:01.000Z", "type": "event_msg", "payload": {"type": "task_started", "turn_id": "t1"}}"#,
        r#"{"timestamp": "2026-11-21T09:00:02.000Z", "type": "response_item", "payload": {"\udc00": 1, "type": "message", "role": "user", "content": [{"type": "input_text", "text": "quay inventory \ud83d broken emoji"}]}}"#,
        r#"{"timestamp": "2026-11-21T09:00:02.000Z", "type": "event_msg", "payload": {"\udc00": 1, "type": "user_message", "message": "quay inventory \ud83d broken emoji"}}"#,
        r#"{"timestamp": "2026-11-21T09:00:03.000Z", "type": "event_msg", "payload": {"type": "agent_message", "message": "reply mooring \udc00\ud83d list"}}"#,
        r#"{"timestamp": "2026-11-21T09:00:04.000Z", "type": "event_msg", "payload": {"\udc00": 1, "type": "task_complete", "turn_id": "t1", "last_agent_message": "\udc00"}}"#,
    ];
    format!("{head}\n{}\n", rest.join("\n"))
}

fn paginated() -> String {
    let head = format!(
        r#"{{"timestamp":"2026-11-21T09:00:00.000Z","ordinal":0,"type":"session_meta","payload":{{"id":"{PAGINATED}","timestamp":"2026-11-21T09:00:00.000Z","history_mode":"paginated"}}}}"#
    );
    let rest = [
        r#"{"timestamp":"2026-11-21T09:00:01.000Z","ordinal":1,"type":"event_msg","payload":{"type":"task_started","turn_id":"t1"}}"#,
        r#"{"timestamp":"2026-11-21T09:00:02.000Z","ordinal":2,"type":"event_msg","payload":{"type":"item_completed","turn_id":"t1","item":{"type":"UserMessage","id":"u","content":[{"type":"text","text":"paged capstan \ud83d text"}]}}}"#,
        r#"{"timestamp":"2026-11-21T09:00:03.000Z","ordinal":3,"type":"event_msg","payload":{"type":"item_completed","turn_id":"t1","item":{"type":"CommandExecution","id":"c","command":"cat x","status":"completed","aggregated_output":"hawser \ud83d out","exit_code":0}}}"#,
        r#"{"timestamp":"2026-11-21T09:00:04.000Z","ordinal":4,"type":"event_msg","payload":{"type":"task_complete","turn_id":"t1"}}"#,
    ];
    format!("{head}\n{}\n", rest.join("\n"))
}

fn home() -> Home {
    let home = Home::with_file(LEGACY, legacy().as_bytes());
    home.write(PAGINATED, paginated().as_bytes());
    let name = format!(r#"{{"id":"{PAGINATED}","thread_name":"name \ud83d x","updated_at":"2026-11-21T10:00:00Z"}}"#);
    fs::write(home.path().join("session_index.jsonl"), name + "\n").unwrap();
    home
}

#[test]
fn a_text_with_a_lone_surrogate_is_shown_with_a_replacement_character() {
    let home = home();
    home.ok(&["index", "rebuild"]);
    for index in [&["--index", "off"][..], &[]] {
        let json = |args: &[&str]| home.json(&[index, args].concat());
        let threads = json(&["list"]);
        let of = |id: &str| threads.as_array().unwrap().iter().find(|thread| thread["id"] == id).unwrap().clone();
        assert_eq!(of(LEGACY)["preview"], "quay inventory \u{fffd} broken emoji");
        assert_eq!(of(LEGACY)["cwd"], "/srv/\u{fffd}/app");
        assert_eq!(of(PAGINATED)["preview"], "paged capstan \u{fffd} text");
        assert_eq!(of(PAGINATED)["name"], "name \u{fffd} x");

        let turns = json(&["show", LEGACY])["turns"].clone();
        assert_eq!((turns.as_array().unwrap().len(), &turns[0]["status"]), (1, &Value::from("completed")));
        assert_eq!(turns[0]["items"][0]["text"], "quay inventory \u{fffd} broken emoji");
        assert_eq!(turns[0]["items"][1]["text"], "reply mooring \u{fffd}\u{fffd} list");
        assert_eq!(json(&["show", PAGINATED])["turns"][0]["items"][1]["output"], "hawser \u{fffd} out");
        let context = json(&["context", LEGACY]);
        assert_eq!(context["history"][0]["content"][0]["text"], "quay inventory \u{fffd} broken emoji");

        for (text, id) in [
            ("inventory", LEGACY),
            ("broken emoji", LEGACY),
            ("mooring list", LEGACY),
            ("capstan", PAGINATED),
            ("text", PAGINATED),
            ("hawser out", PAGINATED),
            ("name x", PAGINATED),
        ] {
            let hits = json(&["search", text]);
            let mut threads = hits.as_array().unwrap().iter().map(|hit| &hit["thread"]["id"]);
            assert!(threads.any(|found| found == id), "{text} {index:?}: {hits}");
        }
    }
}

#[test]
fn a_thread_with_lone_surrogates_keeps_its_bytes() {
    let home = home();
    assert_eq!(home.ok(&["export", LEGACY]), legacy());
    assert_eq!(home.ok(&["export", PAGINATED]), paginated());
    // A fork by copy contains every line after the heads as it was.
    let fork = home.ok(&["fork", LEGACY]).trim().to_owned();
    let copied: Vec<String> = home.ok(&["export", &fork]).lines().skip(1).map(str::to_owned).collect();
    assert_eq!(copied, legacy().lines().collect::<Vec<_>>());
    // A repair changes the damaged line only.
    home.write(LEGACY, format!("{}broken\n", legacy()).as_bytes());
    home.ok(&["doctor", "--repair"]);
    assert_eq!(fs::read_to_string(home.file(LEGACY)).unwrap(), legacy());
}

#[test]
fn an_appended_item_is_one_that_every_program_can_read() {
    let home = home();
    let item = r#"{"type":"response_item","payload":{"type":"message","role":"user","content":[{"type":"input_text","text":"x \ud83d y"}]}}"#;
    assert_eq!(home.append(LEGACY, item).code, 0);
    let export = home.ok(&["export", LEGACY]);
    assert!(export.starts_with(&legacy()));
    assert!(export.lines().last().unwrap().contains(r#""text":"x \ufffd y""#), "{export}");
}
