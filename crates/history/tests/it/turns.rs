//! The turn projection: what a client shows.

use selvedge_history::{TurnProjection, apply_view, opens_turn};
use selvedge_protocol::{ItemContent, ItemsView, ResponseItem, RolloutItem, RolloutLine, TurnStatus};
use serde_json::{Value, json};

use crate::recordings;
use crate::story::{
    aborted, agent_event, compacted, complete, completed_item, event, fragment, item, item_ids, item_kinds, lines,
    ordinal_lines, project, rolled_back, snapshot, started, time, turn, turn_context, turn_ids, user, user_event,
};

#[test]
fn recorded_commands_show_what_was_run() {
    let thread = recordings::story("story-0.169.0", "T");
    let turns = project(&thread.lines);
    let command = serde_json::to_value(&turns[1].items[1]).unwrap();
    assert_eq!(
        command,
        json!({
            "type": "command_execution", "id": "call_m2", "command": "/bin/bash -lc 'echo hello yaks'",
            "cwd": "/home/dev/proj1", "status": "completed", "output": "hello yaks\n", "exit_code": 0,
            "duration_ms": 281, "command_actions": [{"type": "unknown", "cmd": "echo hello yaks"}],
            "started_at": "2026-11-21T09:08:57.012Z", "completed_at": "2026-11-21T09:08:57.295Z",
        })
    );
}

/// The kind of a line, and of its payload.
fn kinds(line: &RolloutLine) -> (String, String) {
    let payload: Value = serde_json::from_str(line.payload()).unwrap();
    (line.kind().to_owned(), payload["type"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn recorded_turns_reach_from_their_first_line_to_their_last() {
    for thread in recordings::stories() {
        let turns = project(&thread.lines);
        for turn in &turns {
            let lines = usize::try_from(turn.lines.start).unwrap()..usize::try_from(turn.lines.end).unwrap();
            let lines = &thread.lines[lines];
            assert_eq!(kinds(&lines[0]).1, "task_started", "{}", thread.name);
            let last = kinds(&lines[lines.len() - 1]).1;
            assert!(last == "task_complete" || last == "turn_aborted", "{}: {last}", thread.name);
        }
        assert!(turns.windows(2).all(|pair| pair[0].lines.end <= pair[1].lines.start), "{}", thread.name);
    }
}

#[test]
fn recordings_without_explicit_turns_have_one_turn_per_question() {
    for (version, starts, kinds, call) in [
        ("0.36.0", [1, 10], ["user_message", "reasoning", "agent_message"], "call_m28"),
        ("0.58.0", [1, 11], ["user_message", "reasoning", "agent_message"], "call_m31"),
    ] {
        let lines = recordings::basic(version);
        let turns = project(&lines);
        assert_eq!(turn_ids(&turns), ["turn-1", "turn-2"], "{version}");
        assert_eq!(turns.iter().map(|turn| turn.lines.start).collect::<Vec<_>>(), starts, "{version}");
        assert_eq!(turns[0].lines.end, turns[1].lines.start);
        assert_eq!(turns[1].lines.end, lines.len() as u64);
        assert_eq!(item_kinds(&turns[0]), kinds, "{version}");
        // The call has the id that the log gives it, and messages have the numbers that the recorded program gave them.
        assert_eq!(item_ids(&turns[1]), ["item-4", call, "item-5"]);
        assert!(turns.iter().all(|turn| turn.status == TurnStatus::Completed));
    }
    let turns = project(&recordings::basic("0.118.0"));
    assert_eq!(turns.len(), 2);
    assert_eq!(turns[0].lines, 1..14);
    assert!(turns.iter().all(|turn| turn.completed_at.is_some()));
}

#[test]
fn a_recording_of_bare_lines_shows_its_messages() {
    let turns = project(&recordings::basic("0.20.0"));
    assert_eq!(turns.len(), 1);
    assert_eq!(turns[0].lines, 2..7);
    let json = serde_json::to_value(&turns[0].items).unwrap();
    assert_eq!(json[0]["text"], "first question about zebras");
    assert_eq!(json[1]["summary"], json!(["**Thinking** step 26"]));
    assert_eq!(json[2]["text"], "Answer 26 to: first question about zebras");
}

#[test]
fn turns_of_bare_lines_begin_with_context_fragments_and_do_not_overlap() {
    let bare = |role: &str, text: &str| {
        let message = ResponseItem::message(role, text);
        RolloutLine::parse(message.json().get()).unwrap()
    };
    let lines = [bare("user", "<skill>x</skill>"), bare("user", "q1"), bare("user", "q2"), bare("assistant", "a")];
    let turns = project(&lines);
    assert_eq!(turns.iter().map(|turn| turn.lines.clone()).collect::<Vec<_>>(), [0..2, 2..4]);
}

#[test]
fn context_world_states_and_settings_are_not_shown() {
    let silent = vec![fragment("x"), snapshot(json!({})), turn_context("t", "m")];
    assert!(project(&lines(silent.clone())).is_empty());
    assert!(project(&ordinal_lines(silent)).is_empty());
}

#[test]
fn a_turn_without_an_end_is_interrupted_or_in_progress() {
    let story = || lines([turn("t1", "q1", "a1"), vec![started("t2"), user_event("q2")]].concat());
    let cold = project(&story());
    assert_eq!(
        cold.iter().map(|turn| turn.status).collect::<Vec<_>>(),
        [TurnStatus::Completed, TurnStatus::Interrupted]
    );
    assert_eq!(cold[1].lines, 7..9);

    let live = |items| {
        let mut turns = TurnProjection::new().live(true);
        for (position, line) in (0..).zip(&lines(items)) {
            turns.push(position, line);
        }
        turns.finish().into_iter().map(|turn| turn.status).collect::<Vec<_>>()
    };
    use TurnStatus::{Completed, InProgress, Interrupted};
    assert_eq!(live([turn("t1", "q1", "a1"), vec![started("t2")]].concat()), [Completed, InProgress]);
    assert_eq!(live(vec![started("t1"), started("t2"), complete("t2")]), [Interrupted, Completed]);
    assert_eq!(live(vec![started("t1"), started("t2"), aborted("t2")]), [Interrupted, Interrupted]);
}

#[test]
fn late_items_go_to_an_aborted_turn_and_to_a_complete_one_that_they_name() {
    let plan = |turn: &str, id: &str| completed_item(turn, json!({"type": "Plan", "id": id, "text": "do"}));
    let story = [
        started("t1"),
        user_event("q1"),
        aborted("t1"),
        agent_event("late"),
        event(json!({"type": "token_count"})),
        started("t2"),
        complete("t2"),
        plan("t2", "p"),
        plan("t1", "p"),
        started("t3"),
        plan("t2", "p2"),
        complete("t3"),
    ];
    let turns = project(&lines(story));
    assert_eq!(item_kinds(&turns[0]), ["user_message", "agent_message", "plan"]);
    assert_eq!(turns[0].status, TurnStatus::Interrupted);
    assert_eq!(item_ids(&turns[1]), ["p", "p2"]);
    assert_eq!(turns[1].status, TurnStatus::Completed);
    assert!(turns[2].items.is_empty());
    let ranges: Vec<_> = turns.iter().map(|turn| turn.lines.clone()).collect();
    assert_eq!(ranges, [0..4, 5..8, 9..12]);
}

#[test]
fn an_end_event_ends_the_turn_that_it_names_or_else_the_open_one() {
    let story = lines([
        started("t1"),
        started("t2"),
        complete("t1"),
        complete("unknown"),
        started("t3"),
        event(json!({"type": "turn_aborted"})),
    ]);
    let turns = project(&story);
    let status: Vec<_> = turns.iter().map(|turn| turn.status).collect();
    assert_eq!(status, [TurnStatus::Completed, TurnStatus::Completed, TurnStatus::Interrupted]);
}

#[test]
fn a_late_abort_does_not_extend_its_turn_over_the_next_one() {
    let turns = project(&lines([started("t1"), complete("t1"), started("t2"), aborted("t1"), complete("t2")]));
    assert_eq!(turns[0].status, TurnStatus::Interrupted);
    assert_eq!((turns[0].lines.clone(), turns[1].lines.clone()), (0..2, 2..5));
}

#[test]
fn an_error_fails_the_turn_unless_it_only_refuses_a_request() {
    let error = |info: Value| event(json!({"type": "error", "message": "no", "codex_error_info": info}));
    let status = |middle: RolloutItem| project(&lines([started("t"), middle, complete("t")]))[0].clone();
    let failed = status(error(json!("context_window_exceeded")));
    assert_eq!(failed.status, TurnStatus::Failed);
    assert_eq!(failed.error.unwrap()["message"], "no");
    assert_eq!(status(error(Value::Null)).status, TurnStatus::Failed);
    assert_eq!(status(error(json!("thread_rollback_failed"))).status, TurnStatus::Completed);
    let by_end = event(json!({"type": "task_complete", "turn_id": "t", "error": {"message": "no"}}));
    assert_eq!(status(by_end).status, TurnStatus::Failed);
}

#[test]
fn a_second_message_stays_in_an_explicit_turn_and_opens_another_implicit_one() {
    let explicit = project(&lines([started("t"), user_event("a"), user_event("b"), complete("t")]));
    assert_eq!(item_ids(&explicit[0]), ["item-1", "item-2"]);
    let implicit = project(&lines([user_event("a"), agent_event("x"), user_event("b")]));
    assert_eq!(turn_ids(&implicit), ["turn-1", "turn-2"]);
}

#[test]
fn an_implicit_turn_with_only_a_compaction_continues_with_the_next_message() {
    let old = item(json!({"type": "compacted", "payload": {"message": "s"}}));
    let turns = project(&lines([user_event("a"), complete(""), old, user("b"), user_event("b"), agent_event("x")]));
    assert_eq!(turn_ids(&turns), ["turn-1", "turn-2"]);
    assert_eq!(item_kinds(&turns[1]), ["user_message", "agent_message"]);
}

#[test]
fn empty_explicit_turns_are_shown_and_empty_implicit_ones_are_not() {
    let turns = project(&lines([
        agent_event(""),
        started("t"),
        complete("t"),
        event(json!({"type": "agent_reasoning", "text": ""})),
    ]));
    assert_eq!(turn_ids(&turns), ["t"]);
    assert!(turns[0].items.is_empty());
}

#[test]
fn successive_parts_of_a_reasoning_are_one_item() {
    let part = |kind: &str, text: &str| event(json!({"type": kind, "text": text}));
    let turns = project(&lines([
        started("t"),
        part("agent_reasoning", "one"),
        part("agent_reasoning", "two"),
        part("agent_reasoning_raw_content", "deep"),
        agent_event("a"),
        part("agent_reasoning", "three"),
    ]));
    let items = serde_json::to_value(&turns[0].items).unwrap();
    assert_eq!(items[0], json!({"type": "reasoning", "id": "item-1", "summary": ["one", "two"], "content": ["deep"]}));
    assert_eq!(items[2]["summary"], json!(["three"]));
}

#[test]
fn item_numbers_continue_after_the_items_that_a_rollback_keeps() {
    let story = [turn("t1", "q1", "a1"), turn("t2", "q2", "a2"), vec![rolled_back(1)], turn("t3", "q3", "a3")];
    let turns = project(&lines(story.concat()));
    assert_eq!(item_ids(&turns[1]), ["item-3", "item-4"]);
    assert!(turns[0].lines.end <= 7);
}

#[test]
fn legacy_events_of_tools_become_items() {
    let story = lines([
        started("t"),
        event(json!({"type": "patch_apply_end", "call_id": "c1", "success": false, "changes": {"a": {"add": {}}}})),
        event(json!({"type": "patch_apply_end", "call_id": "c2", "success": true, "status": "declined"})),
        event(json!({
            "type": "mcp_tool_call_end", "call_id": "c3", "duration": {"secs": 1, "nanos": 5_000_000},
            "invocation": {"server": "s", "tool": "t", "arguments": {"x": 1}}, "result": {"Ok": {"content": []}},
        })),
        event(json!({"type": "mcp_tool_call_end", "call_id": "c4", "invocation": {}, "result": {"Err": "no"}})),
        event(json!({"type": "web_search_end", "call_id": "c5", "query": "zebras"})),
        event(json!({"type": "image_generation_end", "call_id": "c6", "status": "completed"})),
        event(json!({"type": "entered_review_mode", "user_facing_hint": "the change"})),
        event(json!({"type": "exited_review_mode", "review_output": {"overall_explanation": "fine"}})),
        event(
            json!({"type": "exec_command_end", "call_id": "c7", "command": ["ls", "a b"], "exit_code": 1, "status": "failed"}),
        ),
        event(json!({"type": "context_compacted"})),
    ]);
    let turns = project(&story);
    assert_eq!(item_ids(&turns[0]), ["c1", "c2", "c3", "c4", "c5", "c6", "item-1", "item-2", "c7", "item-3"]);
    let items = serde_json::to_value(&turns[0].items).unwrap();
    assert_eq!((&items[0]["status"], &items[1]["status"]), (&json!("failed"), &json!("declined")));
    assert_eq!((&items[2]["duration_ms"], &items[2]["status"]), (&json!(1005), &json!("completed")));
    assert_eq!((&items[3]["error"], &items[3]["status"]), (&json!("no"), &json!("failed")));
    assert_eq!(items[7]["review"], "fine");
    assert_eq!(items[8]["command"], "ls 'a b'");
}

#[test]
fn completed_items_of_every_kind_are_shown_in_paginated_threads() {
    let done = |value| completed_item("t", value);
    let story = ordinal_lines([
        started("t"),
        done(json!({"type": "UserMessage", "id": "u", "content": [
            {"type": "text", "text": "look"}, {"type": "local_image", "path": "/a.png"},
        ]})),
        done(json!({"type": "FileChange", "id": "f", "changes": {"a": 1}, "status": "completed"})),
        done(
            json!({"type": "McpToolCall", "id": "m", "server": "s", "tool": "t", "arguments": {}, "status": "failed"}),
        ),
        done(json!({"type": "DynamicToolCall", "id": "d", "tool": "t", "arguments": {}, "success": false})),
        done(json!({"type": "WebSearch", "id": "w", "query": "q", "action": {"type": "search"}})),
        done(json!({"type": "ImageGeneration", "id": "i", "status": "completed"})),
        done(json!({"type": "Plan", "id": "p", "text": "first"})),
        done(json!({"type": "SubAgentActivity", "id": "s", "kind": "started"})),
        done(json!({"type": "BrandNewThing"})),
        done(json!({"type": "Plan", "id": "p", "text": "second"})),
        event(json!({"type": "user_message", "message": "said twice"})),
    ]);
    let turns = project(&story);
    let items = serde_json::to_value(&turns[0].items).unwrap();
    let kinds = [
        "user_message",
        "file_change",
        "tool_call",
        "tool_call",
        "web_search",
        "image_generation",
        "plan",
        "sub_agent_activity",
        "brand_new_thing",
    ];
    assert_eq!(item_kinds(&turns[0]), kinds);
    assert_eq!(items[0]["images"][0]["path"], "/a.png");
    assert_eq!((&items[2]["status"], &items[3]["status"]), (&json!("failed"), &json!("failed")));
    assert_eq!(items[6]["text"], "second");
    assert_eq!(items[7]["kind"], "started");
    assert_eq!(items[8]["id"], "item-1");
}

#[test]
fn an_item_that_names_an_unknown_turn_opens_a_turn_with_that_id() {
    let item =
        completed_item("lost", json!({"type": "AgentMessage", "id": "a", "content": [{"type": "Text", "text": "x"}]}));
    let turns = project(&ordinal_lines([item]));
    assert_eq!(turn_ids(&turns), ["lost"]);
    assert_eq!(turns[0].started_at, Some(time(0)));
}

#[test]
fn unexpected_shapes_do_not_panic() {
    let odd = [
        event(json!({"type": "item_completed", "turn_id": 7, "item": [1]})),
        event(json!({"type": "item_completed", "item": {"type": "CommandExecution", "id": 3, "command": {"x": 1}}})),
        event(json!({"type": "user_message", "message": {"a": 1}, "images": 3})),
        event(json!({"type": "task_complete", "completed_at": "soon"})),
        event(json!({"type": "patch_apply_end", "changes": null})),
        event(json!({"type": "mcp_tool_call_end", "invocation": 1, "result": []})),
        event(json!({"type": "exec_command_end"})),
        event(json!(["no object"])),
        compacted(&[], 0),
    ];
    assert!(!project(&lines(odd.clone())).is_empty());
    assert!(!project(&ordinal_lines(odd)).is_empty());
}

#[test]
fn views_remove_items() {
    let whole = project(&lines([
        started("t"),
        user_event("q"),
        agent_event("one"),
        user_event("r"),
        agent_event("two"),
        complete("t"),
    ]));
    let seen = |view| {
        let mut turn = whole[0].clone();
        apply_view(&mut turn, view);
        assert_eq!(turn.items_view, view);
        let ids = turn.items.iter().map(|item| item.id.to_string());
        ids.zip(turn.item_positions).collect::<Vec<_>>()
    };
    let item = |id: &str, position| (id.to_owned(), position);
    assert_eq!(seen(ItemsView::Full).len(), 4);
    assert_eq!(seen(ItemsView::Summary), [item("item-1", 1), item("item-4", 4)]);
    assert!(seen(ItemsView::None).is_empty());
    assert!(matches!(&whole[0].items[0].content, ItemContent::UserMessage { text, .. } if text == "q"));
}

#[test]
fn events_of_both_names_open_a_turn() {
    let opens = |payload: &str| {
        let line = format!(r#"{{"timestamp":"2026-11-21T09:00:00.000Z","type":"event_msg","payload":{payload}}}"#);
        opens_turn(&RolloutLine::parse(&line).unwrap())
    };
    assert!(opens(r#"{"type":"task_started","turn_id":"t"}"#));
    assert!(opens(r#"{"turn_id":"t","type":"turn_started"}"#));
    assert!(!opens(r#"{"type":"task_complete","turn_id":"task_started"}"#));
    assert!(!opens_turn(&lines([user("task_started")])[0]));
}
