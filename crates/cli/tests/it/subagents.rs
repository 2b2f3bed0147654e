//! Sub-agents: threads that another thread started.

use serde_json::Value;

use crate::support::Home;

const PARENT: &str = "01a1fd5d-0000-7000-8000-000000000001";
const CHILD: &str = "01a1fd5d-0000-7000-8000-000000000002";

fn line(ordinal: u64, kind: &str, payload: &str) -> String {
    format!(
        r#"{{"timestamp":"2026-11-21T09:00:{ordinal:02}.000Z","ordinal":{ordinal},"type":"{kind}","payload":{payload}}}"#
    )
}

/// The lines of a turn, from `ordinal` on.
fn turn(ordinal: u64, id: &str, text: &str, tokens: u64) -> Vec<String> {
    let payloads = [
        ("event_msg", format!(r#"{{"type":"task_started","turn_id":"{id}"}}"#)),
        (
            "response_item",
            format!(r#"{{"type":"message","role":"user","content":[{{"type":"input_text","text":"{text}"}}]}}"#),
        ),
        (
            "event_msg",
            format!(
                r#"{{"type":"item_completed","turn_id":"{id}","item":{{"type":"UserMessage","id":"u-{id}","content":[{{"type":"text","text":"{text}"}}]}}}}"#
            ),
        ),
        (
            "event_msg",
            format!(
                r#"{{"type":"token_count","info":{{"total_token_usage":{{"input_tokens":{tokens},"total_tokens":{tokens}}}}}}}"#
            ),
        ),
        ("event_msg", format!(r#"{{"type":"task_complete","turn_id":"{id}"}}"#)),
    ];
    (ordinal..).zip(payloads).map(|(ordinal, (kind, payload))| line(ordinal, kind, &payload)).collect()
}

fn head(ordinal: u64, id: &str, fields: &str) -> String {
    let payload = format!(
        r#"{{"id":"{id}","timestamp":"2026-11-21T09:00:00.000Z","history_mode":"paginated","cwd":"/srv"{fields}}}"#
    );
    line(ordinal, "session_meta", &payload)
}

/// A parent, and a sub-agent whose file begins with the lines of the parent. Only the source names the parent.
fn home() -> Home {
    let home = Home::empty();
    let parent: Vec<String> = [vec![head(0, PARENT, "")], turn(1, "p1", "asked the walrus", 5000)].concat();
    let source = format!(
        r#","subagent_history_start_ordinal":7,"source":{{"subagent":{{"thread_spawn":{{"parent_thread_id":"{PARENT}","agent_nickname":"Ash"}}}}}}"#
    );
    let child: Vec<String> = [
        vec![head(0, CHILD, &source), head(1, PARENT, "")],
        turn(2, "p1", "asked the walrus", 5000),
        turn(7, "c1", "asked the heron", 30),
        turn(12, "c2", "asked the stork", 70),
    ]
    .concat();
    home.write(PARENT, (parent.join("\n") + "\n").as_bytes());
    home.write(CHILD, (child.join("\n") + "\n").as_bytes());
    home
}

/// Returns the ids of the threads in an answer.
fn ids(threads: &Value) -> Vec<&str> {
    let threads = threads.as_array().unwrap().iter();
    threads.map(|thread| thread.get("thread").unwrap_or(thread)["id"].as_str().unwrap()).collect()
}

#[test]
fn a_sub_agent_shows_finds_and_counts_only_what_is_its_own() {
    let home = home();
    home.ok(&["index", "rebuild"]);
    for index in [&["--index", "off"][..], &[]] {
        let json = |args: &[&str]| home.json(&[index, args].concat());
        let shown = json(&["show", CHILD]);
        let turns: Vec<&Value> = shown["turns"].as_array().unwrap().iter().map(|turn| &turn["id"]).collect();
        assert_eq!(turns, ["c1", "c2"], "{index:?}");
        assert_eq!(shown["thread"]["preview"], "asked the heron", "{index:?}");
        assert_eq!(shown["thread"]["token_usage"]["total_tokens"], 70, "{index:?}");
        assert_eq!(shown["thread"]["parent_thread_id"], PARENT, "{index:?}");
        assert_eq!(shown["thread"]["agent_nickname"], "Ash", "{index:?}");
        assert_eq!(ids(&json(&["search", "walrus"])), [PARENT], "{index:?}");
        assert_eq!(ids(&json(&["search", "stork"])), [CHILD], "{index:?}");
        assert_eq!(ids(&json(&["list", "--descendant-of", PARENT])), [CHILD], "{index:?}");
        let stats = json(&["stats"]);
        assert_eq!((&stats["total"]["threads"], &stats["total"]["turns"]), (&2.into(), &3.into()), "{index:?}");
        assert!(stats["total"].to_string().contains("5070"), "{index:?}: {stats}");
        // The model has seen what was copied.
        let context = json(&["context", CHILD]);
        assert_eq!(context["history"].as_array().unwrap().len(), 3, "{index:?}");
    }
    assert!(home.ok(&["tree"]).contains("Ash"));
}

#[test]
fn a_rewind_of_a_sub_agent_ends_where_its_own_lines_begin() {
    for (turns, kept, texts) in [("1", 1, 2), ("2", 0, 1), ("9", 0, 1)] {
        let home = home();
        home.ok(&["rewind", CHILD, "--turns", turns]);
        let shown = home.json(&["show", CHILD]);
        assert_eq!(shown["turns"].as_array().unwrap().len(), kept, "{turns}: {shown}");
        let context = home.json(&["context", CHILD]);
        assert_eq!(context["history"].as_array().unwrap().len(), texts, "{turns}: {context}");
    }
    // A turn of the parent is none of the sub-agent.
    let home = home();
    assert_ne!(home.run(&["fork", CHILD, "--after", "p1"]).code, 0);
}

#[test]
fn a_fork_of_a_sub_agent_shows_what_the_sub_agent_shows() {
    let home = home();
    let fork = home.ok(&["fork", CHILD]).trim().to_owned();
    let detached = |home: &Home| {
        let shown = home.json(&["show", &fork]);
        let turns: Vec<Value> = shown["turns"].as_array().unwrap().iter().map(|turn| turn["id"].clone()).collect();
        assert_eq!(turns, ["c1", "c2"]);
        assert_eq!(shown["thread"]["preview"], "asked the heron");
        assert_eq!(shown["thread"]["parent_thread_id"], Value::Null);
        assert_eq!(home.json(&["context", &fork])["history"].as_array().unwrap().len(), 3);
    };
    detached(&home);
    home.ok(&["delete", CHILD, "--detach", "--yes"]);
    detached(&home);
}
