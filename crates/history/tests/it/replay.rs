//! Replay: what the model sees next.

use std::convert::Infallible;

use selvedge_history::{OutputLimit, Replay, ReplayOptions, context_fragments, replay, replay_lines};
use selvedge_protocol::{ContextWindow, ResponseItem, RolloutItem, RolloutLine};
use serde_json::{Value, json};

use crate::recordings::{self, Recorded};
use crate::story::{
    assistant, compacted, complete, fragment, item, patch, replayed, rolled_back, snapshot, started, state, texts,
    turn, turn_context, user,
};

/// An item without the fields that differ from request to request.
pub(crate) fn comparable(item: &Value) -> Value {
    const APART: [&str; 5] = ["id", "metadata", "internal_chat_message_metadata_passthrough", "phase", "status"];
    let fields = item.as_object().unwrap().iter();
    fields
        .filter(|(name, value)| !APART.contains(&name.as_str()) && !value.is_null())
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

pub(crate) fn is_base_instructions(item: &Value, thread: &Recorded) -> bool {
    let RolloutItem::SessionMeta(meta) = thread.lines[0].item() else { panic!("no head") };
    let instructions = meta.base_instructions.and_then(|instructions| instructions.text);
    item["role"] == "developer" && item["content"][0]["text"].as_str() == instructions.as_deref()
}

#[test]
fn lines_and_items_give_the_same_context() {
    for thread in recordings::stories() {
        let items: Vec<RolloutItem> = thread.lines.iter().map(RolloutLine::item).collect();
        assert_eq!(replay(&items), replay_lines(&thread.lines), "{}", thread.name);
    }
}

#[test]
fn recorded_world_state_and_settings_come_from_the_newest_records_that_are_not_undone() {
    for folder in ["story-0.144.6", "story-0.169.0"] {
        let thread = recordings::story(folder, "T");
        let context = replay_lines(&thread.lines);
        let records = thread.lines.iter().rev().map(RolloutLine::item);
        let newest = records.into_iter().find_map(|item| match item {
            RolloutItem::WorldState(record) if record.is_full() => record.state,
            _ => None,
        });
        assert_eq!(context.world_state, newest.map(state), "{folder}");
        let contexts = thread.lines.iter().rev().map(RolloutLine::item);
        let newest = contexts.into_iter().find_map(|item| match item {
            RolloutItem::TurnContext(context) => Some(*context),
            _ => None,
        });
        assert_eq!(context.turn_context, newest, "{folder}");
        assert_eq!(context.previous_settings, newest, "{folder}");
        assert_eq!(context.window.number, 2, "{folder}");
        assert_ne!(context.window.window_id, context.window.previous_window_id, "{folder}");
    }
}

#[test]
fn a_recorded_fork_is_in_its_own_first_window() {
    for folder in ["story-0.144.6", "story-0.169.0"] {
        for letter in ["F", "FF"] {
            let thread = recordings::story(folder, letter);
            let own = thread.lines.iter().map(RolloutLine::item).find_map(|item| match item {
                RolloutItem::SessionMeta(meta) if meta.id == Some(thread.id) => meta.window_id(),
                _ => None,
            });
            assert!(own.is_some());
            assert_eq!(replay_lines(&thread.lines).window, ContextWindow::first(own), "{}", thread.name);
        }
    }
}

#[test]
fn recordings_of_old_programs_keep_everything_that_the_model_saw() {
    for (version, items) in [("0.20.0", 3), ("0.36.0", 8), ("0.58.0", 8), ("0.118.0", 9)] {
        let context = replay_lines(&recordings::basic(version));
        assert_eq!(context.history.len(), items, "{version}");
        assert!(context.history.iter().all(|item| item.kind().as_str() != "ghost_snapshot"));
        assert_eq!(context.window, ContextWindow::default(), "{version}");
    }
}

#[test]
fn the_history_is_verbatim() {
    let odd =
        r#"{"type":"message","role":"assistant","content":[{"type":"output_text","text":"a\u00e9"}],"zz":1,"aa":1.0}"#;
    let line = format!(r#"{{"timestamp":"2026-11-21T09:08:56.680Z","type":"response_item","payload":{odd}}}"#);
    let context = replay_lines(&[RolloutLine::parse(&line).unwrap()]);
    assert_eq!(context.history[0].json().get(), odd);
}

#[test]
fn ghost_snapshots_are_dropped_from_replacements_too() {
    let ghost = json!({"type": "ghost_snapshot", "ghost_commit": {"id": "c"}});
    let compacted = item(json!({"type": "compacted", "payload": {
        "message": "s",
        "replacement_history": [ghost, {"type": "message", "role": "user", "content": "s"}],
    }}));
    let context = replay(&[item(json!({"type": "response_item", "payload": ghost})), compacted]);
    assert_eq!(texts(&context), ["s"]);
}

#[test]
fn messages_between_agents_are_part_of_the_history() {
    let message = item(json!({"type": "inter_agent_communication", "payload": {
        "author": "/lead", "recipient": "/lead/a", "content": "look here",
    }}));
    let context = replay(&[message]);
    assert_eq!(context.history, [ResponseItem::agent_message("/lead", "/lead/a", "look here")]);
    assert!(context_fragments::is_user_message(&context.history[0]));
}

#[test]
fn a_compaction_clears_world_state_and_settings_until_they_are_written_again() {
    let before = [vec![snapshot(json!({"cwd": "/a"}))], turn("t1", "q1", "a1")].concat();
    let compaction = vec![compacted(&["q1", "summary"], 1)];
    let context = replayed(&[before.clone(), compaction.clone()]);
    assert_eq!(texts(&context), ["q1", "summary"]);
    assert_eq!((&context.world_state, &context.turn_context), (&None, &None));
    assert_eq!(context.previous_settings.unwrap().model.as_deref(), Some("t1"));

    let again = vec![snapshot(json!({"cwd": "/b"})), turn_context("t2", "m2")];
    let context = replayed(&[before, compaction, again]);
    assert_eq!(context.world_state, Some(state(json!({"cwd": "/b"}))));
    assert_eq!(context.turn_context.unwrap().model.as_deref(), Some("m2"));
}

#[test]
fn settings_of_a_turn_without_a_user_message_are_not_the_previous_settings() {
    let compaction = vec![started("c"), compacted(&["s"], 1), turn_context("c", "compactor"), complete("c")];
    let context = replayed(&[turn("t1", "q", "a"), compaction]);
    assert_eq!(context.turn_context.unwrap().model.as_deref(), Some("compactor"));
    assert_eq!(context.previous_settings.unwrap().model.as_deref(), Some("t1"));
}

#[test]
fn a_legacy_compaction_retains_the_users_messages_and_the_summary() {
    let old = |summary: &str| item(json!({"type": "compacted", "payload": {"message": summary}}));
    let story = [vec![fragment("here"), user("q1"), assistant("a1"), user("q2")], vec![old("so far")]].concat();
    assert_eq!(texts(&replay(&story)), ["q1", "q2", "so far"]);
    // A summary that looks like a message of the user counts as one.
    let longer = [story, vec![user("q3"), old("further")]].concat();
    assert_eq!(texts(&replay(&longer)), ["q1", "q2", "so far", "q3", "further"]);
}

#[test]
fn a_summary_with_the_first_line_of_the_program_replaces_the_earlier_one() {
    let line = "Words that the program puts in front of every summary. ".repeat(5);
    let old = |summary: &str| item(json!({"type": "compacted", "payload": {"message": summary}}));
    let (first, second) = (format!("{line}\nso far"), format!("{line}\nfurther"));
    let story = [user("q1"), old(&first), user("q2"), old(&second)];
    assert_eq!(texts(&replay(&story)), ["q1", "q2", second.as_str()]);
    // A shorter first line is a heading by the model; a message of the user can begin with the same words.
    let (first, second) = ("# Summary\nso far", "# Summary\nfurther");
    let story = [user("# Summary\nplease"), old(first), old(second)];
    assert_eq!(texts(&replay(&story)), ["# Summary\nplease", first, second]);
}

#[test]
fn a_legacy_compaction_retains_the_newest_messages_within_its_limit_and_truncates_the_oldest() {
    let old = item(json!({"type": "compacted", "payload": {"message": "s"}}));
    let story = [user(&"a".repeat(10)), user(&"é".repeat(30_000)), user(&"c".repeat(60_000)), old];
    let kept = texts(&replay(&story));
    assert_eq!(kept.len(), 3);
    // As Codex 0.169 does: the beginning, a note and the end are parts of one message.
    let context = replay(&story);
    assert_eq!(
        context.history[0].texts(),
        ["é".repeat(5_000), "…10000 tokens truncated…".to_owned(), "é".repeat(5_000)]
    );
    assert_eq!(kept[1].len(), 60_000);
    assert_eq!(kept[2], "s");
}

#[test]
fn patches_merge_into_the_baseline() {
    let context =
        replay(&[snapshot(json!({"a": {"x": 1, "y": 2}, "b": [1]})), patch(json!({"a": {"x": null}, "b": [2, 3]}))]);
    assert_eq!(context.world_state, Some(state(json!({"a": {"y": 2}, "b": [2, 3]}))));
    assert!(context.warnings.is_empty());
}

#[test]
fn malformed_world_states_give_warnings() {
    let context = replay(&[patch(json!({"a": 1}))]);
    assert_eq!((context.world_state, context.warnings.len()), (None, 1));

    let no_object = item(json!({"type": "world_state", "payload": {"full": true, "state": [1]}}));
    let context = replay(&[snapshot(json!({"a": 1})), no_object, patch(json!({"a": 2}))]);
    assert_eq!((context.world_state, context.warnings.len()), (None, 2));

    let context = replay(&[snapshot(json!({"a": 1})), patch(json!("gone")), user("q")]);
    assert_eq!((context.world_state, context.warnings.len(), context.history.len()), (None, 1, 1));
}

fn head(window: &str) -> RolloutItem {
    item(json!({"type": "session_meta", "payload": {
        "id": "01a1fd5d-c3f2-7313-862d-a0ba485d5b31", "context_window": {"window_id": window},
    }}))
}

const W0: &str = "01a1fd5d-c3f2-7313-862d-a0c32e605504";
const W1: &str = "01a1fd5d-c8ca-7871-98f8-a182fa53a4e1";
const NOT_V7: &str = "f5da5fd7-8a08-4fc0-a43e-0dfab513b993";

fn compaction_to(fields: Value) -> RolloutItem {
    let mut payload = json!({"message": "s", "replacement_history": []});
    payload.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    item(json!({"type": "compacted", "payload": payload}))
}

#[test]
fn without_a_compaction_the_window_is_that_of_the_head() {
    assert_eq!(replay(&[head(W0)]).window, ContextWindow::first(Some(W0.parse().unwrap())));
    assert_eq!(replay(&[head(NOT_V7)]).window, ContextWindow::default());
    assert_eq!(replay(&[]).window, ContextWindow::default());
}

#[test]
fn the_newest_numbered_compaction_determines_the_window() {
    let ids = json!({"window_number": 7, "first_window_id": W0, "previous_window_id": NOT_V7, "window_id": W1});
    let window = replay(&[head(W0), compaction_to(ids)]).window;
    assert_eq!(
        window,
        ContextWindow {
            number: 7,
            first_window_id: Some(W0.parse().unwrap()),
            previous_window_id: None,
            window_id: Some(W1.parse().unwrap()),
        }
    );
}

#[test]
fn compactions_without_numbers_are_counted() {
    let window = replay(&[head(W0), compaction_to(json!({})), compaction_to(json!({"window_id": W1}))]).window;
    assert_eq!(window, ContextWindow { number: 2, ..ContextWindow::default() });
}

#[test]
fn a_fork_begins_a_new_window_and_a_later_segment_does_not() {
    let numbered = compaction_to(json!({"window_number": 1, "first_window_id": W0, "window_id": W1}));
    let later = |id: &str| {
        item(json!({"type": "session_meta", "payload": {
            "id": id, "context_window": {"window_id": W0}, "history_base": {"end_ordinal_exclusive": 2},
        }}))
    };
    let same = replay(&[head(W0), numbered.clone(), later("01a1fd5d-c3f2-7313-862d-a0ba485d5b31")]);
    assert_eq!(same.window.number, 1);
    let fork = replay(&[head(W1), numbered, later("01a1fd5d-c6c8-7a71-ac95-699c8dab1ede")]);
    assert_eq!(fork.window, ContextWindow::first(Some(W0.parse().unwrap())));
}

#[test]
fn long_outputs_are_truncated_only_on_request() {
    let long = "é".repeat(1_000);
    let output = || RolloutItem::from(ResponseItem::function_call_output("c", &long));
    let parts = item(json!({"type": "response_item", "payload": {
        "type": "custom_tool_call_output", "call_id": "c", "output": [{"type": "input_text", "text": long}],
    }}));
    let story = [user(&long), output(), parts];
    assert_eq!(replay(&story).history[1], ResponseItem::function_call_output("c", &long));

    let options = ReplayOptions { output_limit: Some(OutputLimit::Bytes(84)), ..ReplayOptions::default() };
    let shortened = Replay::whole(options, |replay| {
        story.iter().for_each(|item| replay.push(item));
        Ok::<_, Infallible>(())
    });
    let history = shortened.unwrap().history;
    assert_eq!(history[0].texts(), std::slice::from_ref(&long));
    for (item, text) in [(&history[1], "/output"), (&history[2], "/output/0/text")] {
        let item = serde_json::to_value(item).unwrap();
        let text = item.pointer(text).unwrap().as_str().unwrap();
        assert!(text.starts_with("éé") && text.ends_with("éé"), "{text}");
        assert!((90..150).contains(&text.len()), "{}", text.len());
    }
}

#[test]
fn the_context_serializes_with_its_field_names() {
    let context = replay(&[head(W0), snapshot(json!({"a": 1})), user("q")]);
    let json = serde_json::to_value(&context).unwrap();
    assert_eq!(json["history"][0]["role"], "user");
    assert_eq!(json["world_state"], json!({"a": 1}));
    assert_eq!(json["window"]["window_id"], W0);
    assert!(json["turn_context"].is_null());
}

#[test]
fn a_rollback_of_nothing_changes_nothing() {
    let before = replayed(&[turn("t1", "q1", "a1")]);
    assert_eq!(replayed(&[turn("t1", "q1", "a1"), vec![rolled_back(0)]]), before);
}
