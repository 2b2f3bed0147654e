//! What the model said and did, and no event tells, is shown once.

use std::collections::BTreeMap;

use selvedge_history::{TextSearch, item_texts};
use selvedge_protocol::{
    ItemContent, ItemOrigin, ItemStatus, ResponseItem, RolloutItem, RolloutLine, Turn, TurnItem, TurnStatus,
};
use serde_json::{Value, json};

use crate::recordings;
use crate::story::{
    aborted, agent_event, assistant, complete, completed_item, event, fragment, item, item_kinds, lines, ordinal_lines,
    project, rolled_back, started, user, user_event,
};

fn response(value: Value) -> RolloutItem {
    ResponseItem::from_value(&value).unwrap().into()
}

fn call(id: &str, name: &str, arguments: &Value) -> RolloutItem {
    response(json!({"type": "function_call", "name": name, "arguments": arguments.to_string(), "call_id": id}))
}

fn output(id: &str, output: &str) -> RolloutItem {
    response(json!({"type": "function_call_output", "call_id": id, "output": output}))
}

/// The items of all turns, as kinds and whether an event tells of them.
fn shown(turns: &[Turn]) -> Vec<(String, ItemOrigin)> {
    turns.iter().flat_map(|turn| &turn.items).map(|item| (item.kind().to_owned(), item.origin)).collect()
}

fn texts(turns: &[Turn]) -> Vec<Vec<String>> {
    let text = |item: &TurnItem| item_texts(item).concat();
    turns.iter().map(|turn| turn.items.iter().map(text).collect()).collect()
}

const MODEL: ItemOrigin = ItemOrigin::Model;
const EVENT: ItemOrigin = ItemOrigin::Event;

#[test]
fn a_thread_of_messages_has_turns() {
    let items = vec![fragment("x"), user("q"), assistant("a"), user("r"), assistant("b")];
    for lines in [lines(items.clone()), ordinal_lines(items)] {
        let turns = project(&lines);
        assert_eq!(texts(&turns), [["q", "a"], ["r", "b"]]);
        assert_eq!(turns.iter().map(|turn| turn.lines.clone()).collect::<Vec<_>>(), [0..3, 3..5]);
        assert!(turns.iter().all(|turn| turn.status == TurnStatus::Completed));
        assert!(shown(&turns).iter().all(|(_, origin)| *origin == MODEL));
    }
}

#[test]
fn calls_have_their_arguments_outputs_and_outcomes() {
    let items = [
        started("t"),
        user("q"),
        user_event("q"),
        call("c1", "exec_command", &json!({"cmd": "ls -l", "workdir": "/w"})),
        call("c2", "shell", &json!({"command": ["bash", "-lc", "false"]})),
        output("c2", r#"{"output":"no","metadata":{"exit_code":1,"duration_seconds":0.5}}"#),
        output("c1", "Wall time: 0.1000 seconds\nProcess exited with code 0\nOutput:\nfile\n"),
        call("c3", "mcp__birds__find", &json!({"name": "wren"})),
        response(
            json!({"type": "function_call_output", "call_id": "c3", "output": {"content": "gone", "success": false}}),
        ),
        response(
            json!({"type": "custom_tool_call", "name": "apply_patch", "input": "*** Begin Patch", "call_id": "p"}),
        ),
        call("c4", "update_plan", &json!({})),
        complete("t"),
    ];
    let turns = project(&lines(items));
    let steps: Vec<Value> = turns[0].items[1..].iter().map(|item| serde_json::to_value(item).unwrap()).collect();
    let time = |second: u64| serde_json::to_value(crate::story::time(second)).unwrap();
    assert_eq!(
        steps,
        [
            json!({
                "type": "command_execution", "id": "c1", "command": "ls -l", "cwd": "/w", "status": "completed",
                "output": "file\n", "exit_code": 0, "duration_ms": 100, "origin": "model",
                "started_at": time(3), "completed_at": time(6),
            }),
            json!({
                "type": "command_execution", "id": "c2", "command": "bash -lc false", "cwd": null, "status": "failed",
                "output": "no", "exit_code": 1, "duration_ms": 500, "origin": "model",
                "started_at": time(4), "completed_at": time(5),
            }),
            json!({
                "type": "tool_call", "id": "c3", "server": "birds", "tool": "find", "arguments": {"name": "wren"},
                "status": "failed", "result": {"content": "gone", "success": false}, "error": null, "duration_ms": null,
                "origin": "model", "started_at": time(7), "completed_at": time(8),
            }),
            json!({
                "type": "tool_call", "id": "p", "server": null, "tool": "apply_patch", "arguments": "*** Begin Patch",
                "status": "in_progress", "result": null, "error": null, "duration_ms": null,
                "origin": "model", "started_at": time(9),
            }),
            json!({
                "type": "tool_call", "id": "c4", "server": null, "tool": "update_plan", "arguments": {},
                "status": "in_progress", "result": null, "error": null, "duration_ms": null,
                "origin": "model", "started_at": time(10),
            }),
        ]
    );
}

/// The fragment that tells the model of a command that the user ran.
fn ran_by_user(command: &str) -> RolloutItem {
    let result = "Exit code: 3\nDuration: 0.0139 seconds\nOutput:\nno\n";
    user(&format!(
        "<user_shell_command>\n<command>\n{command}\n</command>\n<result>\n{result}\n</result>\n</user_shell_command>"
    ))
}

#[test]
fn commands_of_the_user_are_shown_and_are_no_messages() {
    let strange = user("<user_shell_command>strange</user_shell_command>");
    let turns = project(&lines([started("t"), ran_by_user("grep\nno"), complete("t"), strange]));
    assert_eq!(turns.len(), 1);
    let item = serde_json::to_value(&turns[0].items[0]).unwrap();
    assert_eq!(
        (&item["command"], &item["output"], &item["exit_code"], &item["duration_ms"], &item["status"], &item["origin"]),
        (&json!("grep\nno"), &json!("no\n"), &json!(3), &json!(13), &json!("failed"), &json!("model"))
    );
    assert_eq!(item_texts(&turns[0].items[1]).concat(), "strange");
}

/// The item and the event of each thing that is said or done.
fn pairs() -> Vec<(&'static str, RolloutItem, RolloutItem)> {
    let of = |kind: &str, fields: Value| {
        let mut payload = json!({"type": kind, "call_id": "c"});
        payload.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        event(payload)
    };
    let search = json!({"type": "search", "query": "yaks"});
    vec![
        ("user_message", user("said"), user_event("said")),
        ("agent_message", assistant("said"), agent_event("said")),
        ("agent_message", assistant("said<oai-mem-citation>\nx</oai-mem-citation>"), agent_event("said")),
        (
            "reasoning",
            response(json!({"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": "why"}]})),
            event(json!({"type": "agent_reasoning", "text": "why"})),
        ),
        (
            "command_execution",
            call("c", "exec_command", &json!({"cmd": "ls"})),
            of("exec_command_end", json!({"command": ["ls"], "exit_code": 0, "aggregated_output": ""})),
        ),
        (
            "command_execution",
            ran_by_user("ls"),
            of(
                "exec_command_end",
                json!({"command": ["/bin/sh", "-lc", "ls"], "source": "user_shell", "exit_code": 0}),
            ),
        ),
        (
            "file_change",
            response(json!({"type": "custom_tool_call", "name": "apply_patch", "input": "x", "call_id": "c"})),
            of("patch_apply_end", json!({"success": true, "changes": {}})),
        ),
        (
            "tool_call",
            call("c", "mcp__s__t", &json!({})),
            of("mcp_tool_call_end", json!({"invocation": {"server": "s", "tool": "t"}, "result": {"Ok": {}}})),
        ),
        (
            "web_search",
            response(json!({"type": "web_search_call", "id": "c", "action": search})),
            of("web_search_end", json!({"query": "yaks", "action": search})),
        ),
        (
            "web_search",
            response(json!({"type": "web_search_call", "action": search})),
            of("web_search_end", json!({"query": "yaks", "action": search})),
        ),
        (
            "image_generation",
            response(json!({"type": "image_generation_call", "id": "c", "status": "completed"})),
            of("image_generation_end", json!({"status": "completed"})),
        ),
    ]
}

#[test]
fn what_an_event_tells_too_is_shown_once_in_either_order() {
    for (kind, from_model, from_event) in pairs() {
        let lines_of = |items: Vec<RolloutItem>| lines([vec![started("t")], items, vec![complete("t")]].concat());
        let alone = project(&lines_of(vec![from_event.clone()]));
        for items in [
            vec![from_model.clone(), from_event.clone()],
            vec![from_event.clone(), from_model.clone()],
            vec![from_model.clone(), fragment("x"), from_event.clone()],
        ] {
            let turns = project(&lines_of(items));
            assert_eq!(shown(&turns), [(kind.to_owned(), EVENT)]);
            assert_eq!(turns[0].items[0].content, alone[0].items[0].content);
            assert_eq!(turns[0].items[0].id, alone[0].items[0].id, "{kind} has the id that the event gives it");
        }
        let model_only = project(&lines_of(vec![from_model.clone()]));
        let kind = if kind == "file_change" { "tool_call" } else { kind };
        assert_eq!(shown(&model_only), [(kind.to_owned(), MODEL)]);
        // Two of them, of which an event tells one.
        let twice = project(&lines_of(vec![from_model.clone(), from_event, from_model]));
        assert_eq!(shown(&twice).len(), 2, "{kind}");
    }
}

#[test]
fn completed_items_replace_the_items_of_the_model() {
    let command =
        json!({"type": "CommandExecution", "id": "c", "command": ["ls"], "aggregated_output": "x", "exit_code": 0});
    let message = json!({"type": "AgentMessage", "id": "m2", "content": [{"type": "Text", "text": "a"}]});
    let reasoning = json!({"type": "Reasoning", "id": "r2", "summary_text": ["why", "how"], "raw_content": []});
    let turns = project(&ordinal_lines([
        started("t"),
        user("q"),
        completed_item(
            "t",
            json!({"type": "UserMessage", "id": "u", "client_id": "mine", "content": [{"type": "text", "text": "q"}]}),
        ),
        response(json!({"type": "reasoning", "id": "r1", "summary": [{"text": "why"}, {"text": "how"}]})),
        completed_item("t", reasoning),
        call("c", "exec_command", &json!({"cmd": "ls"})),
        output("c", "x"),
        completed_item("t", command),
        assistant("a"),
        completed_item("t", message),
        complete("t"),
    ]));
    let ids: Vec<&str> = turns[0].items.iter().map(|item| item.id.as_str()).collect();
    assert_eq!(ids, ["u", "r2", "c", "m2"]);
    assert!(shown(&turns).iter().all(|(_, origin)| *origin == EVENT), "{turns:?}");
    assert!(matches!(&turns[0].items[0].content, ItemContent::UserMessage { client_id: Some(id), .. } if id == "mine"));
}

#[test]
fn facts_beside_the_text_are_kept() {
    let citation = json!({"entries": [{"path": "notes.md"}], "rollout_ids": []});
    let results = json!([{"url": "https://example.org"}]);
    let legacy = project(&lines([
        started("t"),
        event(json!({"type": "user_message", "message": "q", "client_id": "mine"})),
        event(json!({"type": "agent_message", "message": "a", "memory_citation": citation})),
        event(json!({"type": "web_search_end", "call_id": "w", "query": "yaks", "results": results})),
    ]));
    let of = |item: Value| {
        let fields = json!({"turn_id": "t", "item": item, "started_at_ms": 1_000, "completed_at_ms": 2_000});
        let mut payload = json!({"type": "item_completed"});
        payload.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        event(payload)
    };
    let content = json!([{"type": "text", "text": "q"}]);
    let paginated = project(&ordinal_lines([
        started("t"),
        of(json!({"type": "UserMessage", "id": "u", "client_id": "mine", "content": content})),
        of(
            json!({"type": "AgentMessage", "id": "a", "content": [{"type": "Text", "text": "a"}], "memory_citation": citation}),
        ),
        of(json!({"type": "WebSearch", "id": "w", "query": "yaks", "results": results})),
    ]));
    for turns in [&legacy, &paginated] {
        let items: Vec<Value> = turns[0].items.iter().map(|item| serde_json::to_value(item).unwrap()).collect();
        assert_eq!(items[0]["client_id"], "mine");
        assert_eq!(items[1]["memory_citation"], citation);
        assert_eq!(items[2]["results"], results);
    }
    let times = serde_json::to_value(&paginated[0].items[0]).unwrap();
    assert_eq!(
        (&times["started_at"], &times["completed_at"]),
        (&json!("1970-01-01T00:00:01.000Z"), &json!("1970-01-01T00:00:02.000Z"))
    );
}

#[test]
fn ids_of_calls_that_a_model_uses_again_hide_no_call() {
    let step = |name: &str| [call("call_0", name, &json!({})), output("call_0", name)];
    let turns =
        project(&lines([started("t"), user("q")].into_iter().chain(["one", "two", "three"].map(step).concat())));
    let results: Vec<Value> =
        turns[0].items[1..].iter().map(|item| serde_json::to_value(item).unwrap()["result"].clone()).collect();
    assert_eq!(results, ["one", "two", "three"]);
}

#[test]
fn ids_of_messages_that_a_model_uses_again_hide_no_message() {
    let said = |text: &str| {
        let content = json!([{"type": "output_text", "text": text}]);
        response(json!({"type": "message", "id": "m", "role": "assistant", "content": content}))
    };
    let turns = project(&lines([started("t"), user("q"), said("one"), said("two"), said("one")]));
    assert_eq!(texts(&turns), [["q", "one", "two", "one"]]);
}

#[test]
fn a_plan_in_a_message_is_shown_once() {
    let said = assistant("first this <proposed_plan>\nsteps\n</proposed_plan>");
    let turns = project(&lines([started("t"), said.clone()]));
    assert_eq!(texts(&turns), [["first this <proposed_plan>\nsteps\n</proposed_plan>"]]);
    let plan = completed_item("t", json!({"type": "Plan", "id": "p", "text": "steps"}));
    let turns = project(&lines([started("t"), plan, agent_event("first this"), said]));
    assert_eq!(texts(&turns), [["steps", "first this"]]);
}

#[test]
fn a_plan_after_its_message_is_shown_once() {
    let plan = |id: &str| completed_item("t", json!({"type": "Plan", "id": id, "text": "steps"}));
    let block = "<proposed_plan>\nsteps\n</proposed_plan>";
    let turns = project(&lines([started("t"), assistant(&format!("first this {block}")), plan("p")]));
    assert_eq!(texts(&turns), [["first this", "steps"]]);
    // The plan takes the place of a message that is nothing else. The second plan is another one.
    let turns = project(&lines([started("t"), assistant(block), plan("p"), plan("q")]));
    assert_eq!(shown(&turns), [("plan".to_owned(), EVENT), ("plan".to_owned(), EVENT)]);
    let turns = project(&lines([
        started("t"),
        assistant(&format!("first this {block}")),
        agent_event("first this"),
        plan("p"),
    ]));
    assert_eq!(texts(&turns), [["first this", "steps"]]);
}

#[test]
fn a_message_of_several_parts_is_shown_once() {
    let said = || {
        let part = |text: &str| json!({"type": "output_text", "text": text});
        response(json!({"type": "message", "role": "assistant", "content": [part("one "), part("two")]}))
    };
    let (one, two) = (|| agent_event("one "), || agent_event("two"));
    let of = |items: Vec<RolloutItem>| texts(&project(&lines([started("t")].into_iter().chain(items)))).concat();
    // Old programs wrote an event for each part, newer ones one for the message.
    assert_eq!(of(vec![said(), one(), two()]), ["one two"]);
    assert_eq!(of(vec![one(), two(), said()]), ["one ", "two"]);
    assert_eq!(of(vec![said(), agent_event("one two")]), ["one two"]);
    // What is said again is shown again.
    assert_eq!(of(vec![said(), agent_event("one two"), two()]), ["one two", "two"]);
    assert_eq!(of(vec![said(), one(), two(), two()]), ["one two", "two"]);
}

#[test]
fn files_and_sounds_of_the_user_are_shown() {
    let file = json!({"type": "input_file", "filename": "herons.pdf"});
    let message = response(json!({"type": "message", "role": "user", "content": [file]}));
    let turns = project(&lines([started("t"), message]));
    let ItemContent::UserMessage { text, attachments, .. } = &turns[0].items[0].content else { panic!("{turns:?}") };
    assert_eq!((text.as_str(), attachments.as_slice()), ("", [file].as_slice()));
}

#[test]
fn items_outside_of_turns_belong_to_the_turn_before() {
    let turns = project(&lines([
        started("t"),
        user("q"),
        user_event("q"),
        call("c", "t", &json!({})),
        complete("t"),
        output("c", "late"),
        assistant("late"),
        item(json!({"type": "of_tomorrow", "payload": {"words": "later"}})),
        started("u"),
        complete("u"),
    ]));
    assert_eq!(
        turns.iter().map(item_kinds).collect::<Vec<_>>(),
        [vec!["user_message", "tool_call", "agent_message", "of_tomorrow"], vec![]]
    );
    assert_eq!(turns[0].lines, 0..8);
    let ItemContent::ToolCall { status, .. } = turns[0].items[1].content else { panic!("{turns:?}") };
    assert_eq!(status, ItemStatus::Completed);
}

#[test]
fn a_call_of_an_interrupted_turn_has_no_end() {
    let turns = project(&lines([started("t"), user("q"), call("c", "t", &json!({})), aborted("t")]));
    let ItemContent::ToolCall { status, .. } = turns[0].items[1].content else { panic!("{turns:?}") };
    assert_eq!((turns[0].status, status), (TurnStatus::Interrupted, ItemStatus::InProgress));
}

#[test]
fn whatever_is_not_understood_shows_with_its_kind_and_is_found() {
    for strange in [
        item(json!({"type": "of_tomorrow", "payload": {"words": "kestrel"}})),
        item(json!({"type": "of_tomorrow", "payload": ["kestrel"]})),
        item(json!({"type": "response_item", "payload": {"type": "of_tomorrow", "words": "kestrel"}})),
        event(json!({"type": "of_tomorrow", "words": "kestrel"})),
        event(json!({"type": "of_tomorrow", "turn_id": "t", "words": "kestrel"})),
        completed_item("t", json!({"type": "OfTomorrow", "id": "i", "words": "kestrel"})),
    ] {
        for lines in [lines([started("t"), strange.clone()]), ordinal_lines([started("t"), strange.clone()])] {
            let turns = project(&lines);
            assert_eq!(item_kinds(&turns[0]), ["of_tomorrow"], "{strange:?}");
            let search = TextSearch::new("kestrel").unwrap();
            assert!(search.snippet(&item_texts(&turns[0].items[0])).is_some());
        }
    }
    // Outputs whose call is not there, and events of steps that only newer programs write.
    let turns = project(&lines([
        started("t"),
        output("gone", "kestrel"),
        event(json!({"type": "sub_agent_activity", "kind": "started", "agent_path": "/root/a"})),
        completed_item("t", json!({"type": "Sleep", "id": "s", "duration_ms": 100})),
    ]));
    assert_eq!(item_kinds(&turns[0]), ["function_call_output", "sub_agent_activity", "sleep"]);
}

#[test]
fn spoken_words_and_messages_between_agents_are_shown() {
    let frame = |role: &str, text: &str| {
        let channels = json!({"voice_transcript": {"role": role, "text": text}});
        item(json!({"type": "realtime_item", "payload": {"id": text, "type": "frame", "channels": channels}}))
    };
    let turns = project(&ordinal_lines([
        item(json!({"type": "realtime_item", "payload": {"id": "s", "type": "realtime_session_started"}})),
        frame("user", "count the geese"),
        item(
            json!({"type": "realtime_item", "payload": {"id": "t", "type": "transcript_segment", "role": "assistant", "text": "I will"}}),
        ),
        started("t"),
        item(
            json!({"type": "inter_agent_communication", "payload": {"author": "/root", "recipient": "/root/a", "content": "look"}}),
        ),
        ResponseItem::agent_message("/root/a", "/root", "found").into(),
        complete("t"),
    ]));
    assert_eq!(texts(&turns), [["count the geese", "I will"], ["look", "found"]]);
    assert_eq!(
        turns.iter().map(item_kinds).collect::<Vec<_>>(),
        [["transcript", "transcript"], ["inter_agent_message", "inter_agent_message"]]
    );
}

#[test]
fn words_behind_a_context_fragment_in_one_item_are_shown() {
    let text = "<recommended_plugins>\n- foo\n</recommended_plugins>\n\nreal question";
    for items in [vec![user(text)], vec![user(text), user_event(text)], vec![user_event(text), user(text)]] {
        let turns = project(&lines([vec![started("t")], items, vec![complete("t")]].concat()));
        assert_eq!(texts(&turns), [[text]]);
    }
}

#[test]
fn lone_surrogates_hide_no_call_and_no_message() {
    let item = |payload: &str| {
        let line = format!(r#"{{"timestamp":"2026-11-21T09:00:00.000Z","type":"response_item","payload":{payload}}}"#);
        RolloutLine::parse(&line).unwrap()
    };
    let turns = project(&[
        item(r#"{"type":"message","role":"user","content":[{"type":"input_text","text":"wren \ud83d"}]}"#),
        item(r#"{"type":"function_call","call_id":"c","name":"shell","arguments":"{\"command\":\"ls \ud83d\"}"}"#),
        item(r#"{"type":"function_call_output","call_id":"c","output":"found \ud83d"}"#),
        item(r#"{"type":"reasoning","summary":[{"type":"summary_text","text":"why \ud83d"}]}"#),
        item(r#"{"type":"message","role":"assistant","content":[{"type":"output_text","text":"here \ud83d"}]}"#),
        item(r#"{"type":"of_tomorrow","words":"later \ud83d"}"#),
    ]);
    assert_eq!(
        texts(&turns),
        [["wren \u{fffd}", "ls \u{fffd}found \u{fffd}", "why \u{fffd}", "here \u{fffd}", "later \u{fffd}"]]
    );
}

#[test]
fn an_event_takes_no_message_that_the_model_answered() {
    let said = |items: Vec<RolloutItem>| texts(&project(&lines(items))).concat();
    assert_eq!(said(vec![user("a"), assistant("x"), user_event("b"), agent_event("y")]), ["a", "x", "b", "y"]);
    assert_eq!(said(vec![user("a"), assistant("x"), user_event("b"), user("b")]), ["a", "x", "b"]);
    assert_eq!(said(vec![started("t"), user("a"), assistant("x"), user_event("b"), user("b")]), ["a", "x", "b"]);
}

#[test]
fn no_call_and_no_output_is_hidden_by_another_item_with_its_id() {
    let note = event(json!({"type": "tool_note", "call_id": "c", "id": "n", "words": "noted"}));
    let turns = project(&lines([started("t"), note.clone(), call("c", "look", &json!({})), output("c", "SECRET")]));
    assert_eq!(shown(&turns), [("tool_note".to_owned(), EVENT), ("tool_call".to_owned(), MODEL)]);
    assert!(texts(&turns)[0][1].contains("SECRET"));
    // An event with the id of a call that does not tell what the call said.
    let wait = completed_item("t", json!({"type": "CollabWait", "id": "c"}));
    for items in [
        vec![call("c", "look", &json!({"at": "barn"})), wait.clone(), output("c", "SECRET")],
        vec![wait, call("c", "look", &json!({"at": "barn"})), output("c", "SECRET")],
    ] {
        let turns = project(&ordinal_lines([vec![started("t")], items].concat()));
        let item = serde_json::to_value(&turns[0].items[0]).unwrap();
        assert_eq!(
            (turns[0].items.len(), &item["tool"], &item["arguments"]["at"], &item["result"]),
            (1, &json!("look"), &json!("barn"), &json!("SECRET"))
        );
    }
    // Two calls with one id, both answered later, and one more output.
    let calls = [
        call("c", "one", &json!({})),
        call("c", "two", &json!({})),
        output("c", "1"),
        output("c", "2"),
        output("c", "3"),
    ];
    let turns = project(&lines([started("t")].into_iter().chain(calls)));
    let results: Vec<Value> = turns[0].items.iter().map(|item| serde_json::to_value(item).unwrap()).collect();
    assert_eq!(
        (&results[0]["result"], &results[1]["result"], &results[2]["output"]),
        (&json!("1"), &json!("2"), &json!("3"))
    );
}

#[test]
fn no_field_of_an_unknown_item_is_twice_in_its_json() {
    let strange = json!({"type": "new_thing", "id": "x", "origin": "web", "started_at": "soon", "words": "w"});
    let turns = project(&lines([started("t"), response(strange)]));
    let text = serde_json::to_string(&turns[0].items[0]).unwrap();
    assert_eq!(text.matches("\"origin\"").count(), 2, "one of them is within `fields`: {text}");
    let item: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&item["origin"], &item["fields"]["origin"], &item["fields"]["started_at"]),
        (&json!("model"), &json!("web"), &json!("soon"))
    );
}

#[test]
fn refusals_images_and_odd_parts_are_shown() {
    let said = |role: &str, content: Value| response(json!({"type": "message", "role": role, "content": content}));
    let turns = project(&lines([
        started("t"),
        said("user", json!([{"type": "input_text", "text": "<image of a heron>"}])),
        said("assistant", json!([{"type": "refusal", "refusal": "I cannot"}])),
        said("assistant", json!([{"type": "output_image", "image_url": "data:,"}])),
    ]));
    let texts = texts(&turns).concat();
    assert_eq!(texts[..2], ["<image of a heron>", "I cannot"]);
    assert!(texts[2].contains("output_image"), "{texts:?}");
}

#[test]
fn what_began_or_was_delivered_is_shown_once() {
    let user_item = json!({"type": "UserMessage", "id": "u", "content": [{"type": "text", "text": "q"}]});
    let begun = event(json!({"type": "item_started", "turn_id": "t", "item": user_item}));
    let agent = json!({"type": "AgentMessage", "id": "m", "content": [{"type": "Text", "text": "hello"}]});
    let content = json!([{"type": "output_text", "text": "hello"}]);
    let said = response(json!({"type": "message", "id": "m", "role": "assistant", "content": content}));
    let delivered = json!({"type": "delivered_assistant_message", "message_id": "m", "text": "hello"});
    let delivered = item(json!({"type": "retained_context", "payload": delivered}));
    let turns = project(&ordinal_lines([
        started("t"),
        user("q"),
        begun,
        completed_item("t", user_item),
        completed_item("t", agent.clone()),
        said.clone(),
        delivered,
        started("u"),
        // The event of a late item names its turn.
        completed_item(
            "t",
            json!({"type": "AgentMessage", "id": "late", "content": [{"type": "Text", "text": "late"}]}),
        ),
        response(
            json!({"type": "message", "id": "late", "role": "assistant", "content": [{"type": "output_text", "text": "late"}]}),
        ),
    ]));
    assert_eq!(texts(&turns), [vec!["q", "hello", "late"], vec![]]);
}

#[test]
fn a_rollback_removes_what_only_the_model_said() {
    let turns = project(&lines([
        user("q"),
        call("c", "t", &json!({})),
        output("c", "x"),
        user("r"),
        assistant("b"),
        rolled_back(1),
        user("s"),
    ]));
    let texts = texts(&turns);
    assert_eq!(texts.iter().map(|turn| turn[0].as_str()).collect::<Vec<_>>(), ["q", "s"]);
}

/// How often each thing is in the log and in what is shown.
#[derive(Debug, Default, PartialEq)]
struct Counts(BTreeMap<(String, String), usize>);

impl Counts {
    fn add(&mut self, kind: &str, what: &str) {
        *self.0.entry((kind.to_owned(), what.to_owned())).or_default() += 1;
    }

    fn in_lines(lines: &[RolloutLine]) -> Self {
        let (mut items, mut events) = (Self::default(), Self::default());
        for line in lines {
            let payload: Value = serde_json::from_str(line.payload()).unwrap();
            let text = || {
                let parts = payload["content"].as_array().into_iter().flatten();
                // The program puts tags around images.
                let texts = parts.filter_map(|part| part["text"].as_str());
                texts.filter(|text| !text.starts_with("<image ") && *text != "</image>").collect::<String>()
            };
            if let Some(command) = ran_in(&text()) {
                items.add("ran", command);
            }
            let is_fragment = |text: &str| text.starts_with('<') || text.starts_with("# AGENTS.md");
            match (line.kind(), payload["type"].as_str().unwrap_or_default(), payload["role"].as_str()) {
                ("response_item", "message", Some("user")) if !is_fragment(&text()) => items.add("user", &text()),
                ("response_item", "message", Some("assistant")) => items.add("agent", &text()),
                // Not all of them have an id.
                ("response_item", "web_search_call", _) => {
                    items.add("search", payload["action"]["query"].as_str().unwrap())
                }
                ("response_item", kind, _) if kind.ends_with("_call") => {
                    let id = payload["call_id"].as_str().or_else(|| payload["id"].as_str());
                    items.add("call", id.unwrap());
                }
                ("event_msg", "user_message", _) => events.add("user", payload["message"].as_str().unwrap()),
                ("event_msg", "agent_message", _) => events.add("agent", payload["message"].as_str().unwrap()),
                ("event_msg", "item_completed", _) => {
                    let item = &payload["item"];
                    let parts = item["content"].as_array().into_iter().flatten();
                    let text: String = parts.filter_map(|part| part["text"].as_str()).collect();
                    match item["type"].as_str().unwrap() {
                        "UserMessage" => events.add("user", &text),
                        "AgentMessage" => events.add("agent", &text),
                        "CommandExecution" if item["source"] == "user_shell" => {
                            events.add("ran", item["command"].as_array().unwrap().last().unwrap().as_str().unwrap());
                        }
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        for (key, count) in events.0 {
            let counted = items.0.entry(key).or_default();
            *counted = (*counted).max(count);
        }
        items
    }

    /// `by_user` are the commands that the user ran: an item does not tell who did.
    fn shown(turns: &[Turn], by_user: &[&str]) -> Self {
        let mut counts = Self::default();
        for item in turns.iter().flat_map(|turn| &turn.items) {
            match &item.content {
                ItemContent::UserMessage { text, .. } => counts.add("user", text),
                ItemContent::AgentMessage { text, .. } => counts.add("agent", text),
                ItemContent::WebSearch { query, .. } => counts.add("search", query),
                ItemContent::CommandExecution { command, .. }
                    if let Some(ran) = by_user.iter().find(|ran| is_command(command, ran)) =>
                {
                    counts.add("ran", ran);
                }
                ItemContent::CommandExecution { .. }
                | ItemContent::FileChange { .. }
                | ItemContent::ImageGeneration { .. }
                | ItemContent::ToolCall { .. } => counts.add("call", item.id.as_str()),
                // An event with the id of the call that started a sub-agent.
                ItemContent::Other(other)
                    if other.kind == "collab_agent_tool_call"
                        || other.kind == "dynamic_tool_call"
                        || other.fields.contains_key("tool") =>
                {
                    counts.add("call", item.id.as_str())
                }
                _ => {}
            }
        }
        counts
    }
}

/// Returns whether a shown command is this one. An event has the shell, too.
fn is_command(shown: &str, command: &str) -> bool {
    shown == command || shown.ends_with(&format!("'{command}'"))
}

/// The command in a fragment that tells the model what the user ran.
fn ran_in(text: &str) -> Option<&str> {
    text.strip_prefix("<user_shell_command>\n<command>\n")?.split("\n</command>").next()
}

#[test]
fn every_recorded_call_and_message_is_shown_once() {
    let (mut calls, mut threads) = (0, 0);
    for (name, lines) in recordings::all_threads() {
        // A sub-agent begins with lines that were copied from its parent.
        let RolloutItem::SessionMeta(head) = lines[0].item() else { panic!("{name} has no head") };
        let copied = head.subagent_history_start_ordinal.unwrap_or(0);
        let recorded = Counts::in_lines(&lines[usize::try_from(copied).unwrap()..]);
        let by_user = recorded.0.keys().filter(|(kind, _)| kind == "ran").map(|(_, command)| command.as_str());
        let shown = Counts::shown(&project(&lines), &by_user.collect::<Vec<_>>());
        threads += 1;
        if lines.iter().any(|line| line.payload().contains("thread_rolled_back")) {
            // What was undone is not shown.
            for (key, count) in &shown.0 {
                assert!(recorded.0.get(key).is_some_and(|recorded| count <= recorded), "{name}: {key:?} {count}");
            }
            continue;
        }
        assert_eq!(shown, recorded, "{name}");
        calls += recorded.0.keys().filter(|(kind, _)| kind != "user" && kind != "agent").count();
    }
    assert!(calls > 30 && threads > 50, "{calls} calls in {threads} threads");
}
