//! Items for the steps of an agent: commands, file changes, tool calls, searches and plans, with their exact values.

use selvedge_protocol::{ItemContent, ItemStatus, RolloutItem, Turn, TurnItem, TurnStatus};
use serde_json::{Value, json};

use crate::recordings;
use crate::story::{
    aborted, complete, completed_item, event, item_ids, item_kinds, lines, ordinal_lines, project, started, user,
    user_event,
};

/// The only item of the only turn.
fn only(turns: &[Turn]) -> Value {
    assert_eq!((turns.len(), turns[0].items.len()), (1, 1), "{turns:?}");
    serde_json::to_value(&turns[0].items[0]).unwrap()
}

/// The only item of this kind in a recorded thread.
fn recorded(folder: &str, letter: &str, kind: &str) -> Value {
    let turns = project(&recordings::story(folder, letter).lines);
    let mut items = turns.iter().flat_map(|turn| &turn.items).filter(|item| item.kind() == kind);
    let item = items.next().unwrap();
    assert!(items.next().is_none(), "{folder} has more than one {kind}");
    serde_json::to_value(item).unwrap()
}

/// The item without the times, which not all programs recorded.
fn without_times(mut item: Value) -> Value {
    item.as_object_mut().unwrap().retain(|name, _| name != "started_at" && name != "completed_at");
    item
}

/// The item of a paginated thread from this completed item.
fn from_completed(item: Value) -> Value {
    only(&project(&ordinal_lines([started("t"), completed_item("t", item), complete("t")])))
}

/// The item of a legacy thread from this event.
fn from_event(payload: Value) -> Value {
    only(&project(&lines([started("t"), event(payload), complete("t")])))
}

#[test]
fn a_recorded_command_that_failed_has_exit_code_output_and_duration() {
    assert_eq!(
        recorded("story-0.169.0-tools", "W", "command_execution"),
        json!({
            "type": "command_execution", "id": "call_m5", "command": "/bin/bash -lc 'echo no; exit 3'",
            "cwd": "/home/dev/proj1", "status": "failed", "output": "no\n", "exit_code": 3, "duration_ms": 0,
            "command_actions": [{"type": "unknown", "cmd": "echo no; exit 3"}],
            "started_at": "2026-11-21T12:00:40.293Z", "completed_at": "2026-11-21T12:00:40.293Z",
        })
    );
}

#[test]
fn recorded_file_changes_are_equal_in_both_modes() {
    for folder in ["story-0.137.0-tools", "story-0.144.6-tools", "story-0.169.0-tools", "story-0.171.0-tools"] {
        assert_eq!(
            without_times(recorded(folder, "W", "file_change")),
            json!({
                "type": "file_change", "id": "call_m7", "status": "completed",
                "changes": {"/home/dev/proj1/nest.txt": {"type": "add", "content": "twigs\n"}},
            }),
            "{folder}"
        );
    }
}

#[test]
fn recorded_searches_are_equal_in_both_modes() {
    for folder in ["story-0.137.0-tools", "story-0.144.6-tools", "story-0.169.0-tools", "story-0.171.0-tools"] {
        assert_eq!(
            without_times(recorded(folder, "W", "web_search")),
            json!({"type": "web_search", "id": "ws_1", "query": "wrens", "action": {"type": "search", "query": "wrens"}}),
            "{folder}"
        );
    }
}

#[test]
fn a_recorded_call_of_another_agent_keeps_all_its_fields() {
    let call = recorded("story-0.169.0-rows", "S", "collab_agent_tool_call");
    assert_eq!(
        (&call["id"], &call["tool"], &call["status"]),
        (&json!("call_m8"), &json!("spawn_agent"), &json!("completed"))
    );
    assert_eq!((&call["prompt"], &call["reasoning_effort"]), (&json!("look after the cygnets"), &json!("medium")));
    assert_eq!(call["agents_states"], json!({"01a1fdfa-dd79-7c70-8604-26a39bcc8241": "pending_init"}));
}

#[test]
fn recorded_turns_that_were_killed_show_their_completed_steps() {
    for (folder, steps) in [("story-0.144.6-crash", 1), ("story-0.155.1-crash", 1), ("story-0.169.0-crash", 1)] {
        let turns = project(&recordings::story(folder, "K").lines);
        let killed: Vec<&Turn> = turns.iter().filter(|turn| turn.status == TurnStatus::Interrupted).collect();
        assert_eq!((killed.len(), killed[0].completed_at, killed[0].duration_ms), (1, None, None), "{folder}");
        let commands = killed[0].items.iter().filter(|item| item.kind() == "command_execution");
        let commands: Vec<Value> = commands.map(|item| serde_json::to_value(item).unwrap()).collect();
        assert_eq!(commands.len(), steps, "{folder}");
        for command in commands {
            assert_eq!((&command["status"], &command["exit_code"]), (&json!("completed"), &json!(0)), "{folder}");
            assert_eq!(command["output"], "before the end\n", "{folder}");
        }
    }
}

#[test]
fn a_command_has_its_outcome_in_both_modes() {
    let fields = json!({
        "command": ["bash", "-lc", "cargo test"], "cwd": "/w", "exit_code": 101, "status": "failed",
        "aggregated_output": "1 failed\n", "duration": {"secs": 12, "nanos": 345_999_999},
    });
    let with = |more: Value| {
        let mut fields = fields.clone();
        fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        fields
    };
    let expected = json!({
        "type": "command_execution", "id": "c", "command": "bash -lc 'cargo test'", "cwd": "/w", "status": "failed",
        "output": "1 failed\n", "exit_code": 101, "duration_ms": 12_345,
    });
    assert_eq!(from_completed(with(json!({"type": "CommandExecution", "id": "c"}))), expected);
    assert_eq!(from_event(with(json!({"type": "exec_command_end", "call_id": "c"}))), expected);
}

#[test]
fn missing_fields_of_a_command_are_derived_from_others() {
    let command = |more: Value| {
        let mut fields = json!({"type": "CommandExecution", "id": "c", "command": "ls"});
        fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        from_completed(fields)
    };
    assert_eq!(command(json!({}))["status"], "completed");
    assert_eq!(command(json!({"exit_code": 0}))["status"], "completed");
    assert_eq!(command(json!({"exit_code": 2}))["status"], "failed");
    assert_eq!(command(json!({"status": "declined", "exit_code": 2}))["status"], "declined");
    assert_eq!(command(json!({}))["output"], Value::Null);
    assert_eq!(command(json!({"aggregated_output": "", "stdout": "x"}))["output"], "");
    assert_eq!(command(json!({"stdout": "out\n", "stderr": "err\n"}))["output"], "out\nerr\n");
    assert_eq!(command(json!({"duration_ms": 7}))["duration_ms"], 7);
}

#[test]
fn a_tool_call_has_its_outcome_in_both_modes() {
    let expected = |status: &str, more: Value| {
        let mut item = json!({
            "type": "tool_call", "id": "c", "server": "docs", "tool": "find", "arguments": {"q": "yaks"},
            "status": status, "result": null, "error": null, "duration_ms": 2_500,
        });
        item.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        item
    };
    let (invocation, duration) = (
        json!({"server": "docs", "tool": "find", "arguments": {"q": "yaks"}}),
        json!({"secs": 2, "nanos": 500_000_000}),
    );
    let ended = |result: Value| {
        from_event(json!({
            "type": "mcp_tool_call_end", "call_id": "c", "invocation": invocation, "duration": duration, "result": result,
        }))
    };
    let found = json!({"content": [{"type": "text", "text": "two"}]});
    assert_eq!(ended(json!({"Ok": found})), expected("completed", json!({"result": found})));
    let wrong = json!({"content": [], "isError": true});
    assert_eq!(ended(json!({"Ok": wrong})), expected("failed", json!({"result": wrong})));
    assert_eq!(ended(json!({"Err": "no such tool"})), expected("failed", json!({"error": "no such tool"})));

    let item = |status: &str, result: Value, error: Value| {
        from_completed(json!({
            "type": "McpToolCall", "id": "c", "server": "docs", "tool": "find", "arguments": {"q": "yaks"},
            "status": status, "result": result, "error": error, "duration": duration,
        }))
    };
    assert_eq!(item("completed", found.clone(), Value::Null), expected("completed", json!({"result": found})));
    let error = json!({"message": "no such tool"});
    assert_eq!(item("failed", Value::Null, error.clone()), expected("failed", json!({"error": error})));
}

#[test]
fn a_call_of_a_client_tool_has_its_outcome_in_both_modes() {
    let fields = json!({
        "namespace": "ide", "tool": "open", "arguments": {"path": "a.rs"}, "success": false,
        "content_items": [{"type": "inputText", "text": "no such file"}], "duration": {"secs": 0, "nanos": 30_000_000},
    });
    let with = |more: Value| {
        let mut fields = fields.clone();
        fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        fields
    };
    let expected = json!({
        "type": "tool_call", "id": "c", "server": "ide", "tool": "open", "arguments": {"path": "a.rs"},
        "status": "failed", "result": [{"type": "inputText", "text": "no such file"}], "error": null, "duration_ms": 30,
    });
    assert_eq!(from_completed(with(json!({"type": "DynamicToolCall", "id": "c"}))), expected);
    assert_eq!(from_event(with(json!({"type": "dynamic_tool_call_response", "call_id": "c"}))), expected);
}

#[test]
fn the_newest_text_of_a_plan_counts_in_both_modes() {
    let plan = |text: &str| completed_item("t", json!({"type": "Plan", "id": "t-plan", "text": text}));
    let story = [started("t"), plan("look"), plan("look, then leap"), complete("t")];
    let expected = json!({"type": "plan", "id": "t-plan", "text": "look, then leap"});
    assert_eq!(only(&project(&lines(story.clone()))), expected);
    assert_eq!(only(&project(&ordinal_lines(story))), expected);
}

#[test]
fn an_item_of_an_unknown_kind_is_shown_with_all_its_fields() {
    let unknown = json!({
        "type": "TeleportStarted", "id": "x", "status": "half_way", "output": [1, null], "durationMs": 5, "kind": "far",
    });
    let expected = json!({
        "type": "teleport_started", "id": "x", "status": "half_way", "output": [1, null], "durationMs": 5, "kind": "far",
    });
    assert_eq!(from_completed(unknown.clone()), expected);
    // Also in a legacy thread, which has no event for it.
    assert_eq!(only(&project(&lines([started("t"), completed_item("t", unknown), complete("t")]))), expected);
}

/// Begin events that no release writes to its log, with their end events: each pair is one step, identified by its call.
fn begin_and_end_events() -> [(RolloutItem, RolloutItem, &'static str); 5] {
    let of = |kind: &str, fields: Value| {
        let mut payload = json!({"type": kind, "call_id": "c", "turn_id": "t"});
        payload.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        event(payload)
    };
    let invocation = json!({"server": "docs", "tool": "find", "arguments": {"q": 1}});
    [
        (
            of("exec_command_begin", json!({"command": ["ls", "-l"], "cwd": "/w"})),
            // As in programs of 2025: only the begin event contains the command.
            of(
                "exec_command_end",
                json!({"stdout": "a\n", "stderr": "", "exit_code": 0, "duration": {"secs": 1, "nanos": 0}}),
            ),
            "command_execution",
        ),
        (
            of(
                "patch_apply_begin",
                json!({"auto_approved": true, "changes": {"a": {"type": "delete", "content": ""}}}),
            ),
            of("patch_apply_end", json!({"success": false})),
            "file_change",
        ),
        (
            of("mcp_tool_call_begin", json!({"invocation": invocation})),
            of("mcp_tool_call_end", json!({"invocation": invocation, "result": {"Ok": {"content": []}}})),
            "tool_call",
        ),
        (
            of("dynamic_tool_call_request", json!({"tool": "open", "arguments": {}})),
            of("dynamic_tool_call_response", json!({"tool": "open", "arguments": {}, "success": true})),
            "tool_call",
        ),
        (
            of("web_search_begin", json!({})),
            of("web_search_end", json!({"query": "yaks", "action": {"type": "search"}})),
            "web_search",
        ),
    ]
}

fn status(item: &TurnItem) -> Option<ItemStatus> {
    match item.content {
        ItemContent::CommandExecution { status, .. }
        | ItemContent::FileChange { status, .. }
        | ItemContent::ToolCall { status, .. } => Some(status),
        _ => None,
    }
}

#[test]
fn a_step_without_an_end_is_in_progress_even_if_its_turn_ended() {
    for (begin, _, kind) in begin_and_end_events() {
        for end in [None, Some(aborted("t")), Some(complete("t"))] {
            let story = [started("t"), user("q"), user_event("q"), begin.clone()].into_iter().chain(end.clone());
            let turns = project(&lines(story));
            let wanted = if end == Some(complete("t")) { TurnStatus::Completed } else { TurnStatus::Interrupted };
            assert_eq!((turns.len(), turns[0].status), (1, wanted));
            assert_eq!(item_kinds(&turns[0]), ["user_message", kind]);
            assert!(status(&turns[0].items[1]).is_none_or(|status| status == ItemStatus::InProgress), "{kind}");
        }
    }
}

#[test]
fn the_end_of_a_step_updates_its_beginning_and_keeps_fields_that_it_lacks() {
    for (begin, end, kind) in begin_and_end_events() {
        let turns =
            project(&lines([started("t"), begin, event(json!({"type": "agent_message", "message": "a"})), end]));
        assert_eq!(item_kinds(&turns[0]), [kind, "agent_message"]);
        assert_eq!(item_ids(&turns[0]), ["c", "item-1"]);
        match &turns[0].items[0].content {
            ItemContent::CommandExecution { command, cwd, status, output, exit_code, duration_ms, .. } => {
                assert_eq!((command.as_str(), cwd.as_deref(), *status), ("ls -l", Some("/w"), ItemStatus::Completed));
                assert_eq!((output.as_deref(), *exit_code, *duration_ms), (Some("a\n"), Some(0), Some(1_000)));
            }
            ItemContent::FileChange { status, changes, .. } => {
                assert_eq!(*status, ItemStatus::Failed);
                assert_eq!(*changes, json!({"a": {"type": "delete", "content": ""}}));
            }
            ItemContent::ToolCall { status, .. } => assert_eq!(*status, ItemStatus::Completed),
            ItemContent::WebSearch { query, .. } => assert_eq!(query, "yaks"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_completed_item_updates_the_started_one() {
    let started_item = |item: Value| event(json!({"type": "item_started", "turn_id": "t", "item": item}));
    let command = |more: Value| {
        let mut item = json!({"type": "CommandExecution", "id": "c", "command": ["sleep", "9"]});
        item.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        item
    };
    let begin_and_end_events = [
        started("t"),
        // Messages are shown only when they are completed.
        started_item(json!({"type": "UserMessage", "id": "u", "content": []})),
        started_item(json!({"type": "AgentMessage", "id": "a", "content": []})),
        started_item(json!({"type": "ContextCompaction", "id": "k"})),
        started_item(command(json!({}))),
    ];
    let turns = project(&ordinal_lines(begin_and_end_events.clone()));
    assert_eq!(item_ids(&turns[0]), ["c"]);
    assert_eq!(status(&turns[0].items[0]), Some(ItemStatus::InProgress));

    let end = completed_item("t", command(json!({"status": "completed", "exit_code": 0, "aggregated_output": ""})));
    let turns = project(&ordinal_lines(begin_and_end_events.into_iter().chain([end])));
    assert_eq!(item_ids(&turns[0]), ["c"]);
    assert_eq!(status(&turns[0].items[0]), Some(ItemStatus::Completed));
    assert_eq!(turns[0].item_positions, [4], "the item is at the line where it began");
}

#[test]
fn events_that_do_not_parse_take_no_item_number() {
    let odd = event(json!({"type": "agent_message", "message": 7}));
    let turns = project(&lines([started("t"), odd, event(json!({"type": "agent_message", "message": "a"}))]));
    assert_eq!(item_ids(&turns[0]), ["item-1"]);
}
