//! The metadata fold: what a listing shows of a thread.

use selvedge_history::MetadataFold;
use selvedge_protocol::{
    HistoryMode, ResponseItem, RolloutItem, RolloutLine, StoredThread, ThreadId, ThreadMetadataPatch, Timestamp,
};
use serde_json::{Value, json};

use crate::recordings::{self, Recorded};
use crate::story::fragment;
use crate::story::{
    assistant, completed_item, event, item, lines, snapshot, started, time, turn_context, user, user_event,
};

const OWN: &str = "01a1fd5d-c6c8-7a71-ac95-699c8dab1ede";
const OTHER: &str = "01a1fd5d-c3f2-7313-862d-a0ba485d5b31";

fn id(text: &str) -> ThreadId {
    text.parse().unwrap()
}

fn fold() -> MetadataFold {
    MetadataFold::new(id(OWN), Timestamp::default())
}

fn folded(lines: &[RolloutLine]) -> StoredThread {
    let mut fold = fold();
    for line in lines {
        fold.observe_line(line);
    }
    fold.into_thread()
}

fn head(id: &str, fields: Value) -> RolloutItem {
    let mut payload = json!({"id": id, "timestamp": "2026-11-21T09:00:00.000Z"});
    payload.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    item(json!({"type": "session_meta", "payload": payload}))
}

pub(crate) fn folded_record(thread: &Recorded) -> StoredThread {
    let mut fold = MetadataFold::new(thread.id, Timestamp::default());
    for line in &thread.lines {
        fold.observe_line(line);
    }
    fold.into_thread()
}

/// Metadata that the log contains and that the recorded listings do not.
#[test]
fn every_recorded_thread_has_a_model_and_token_usage() {
    for thread in recordings::stories() {
        let record = folded_record(&thread);
        assert_eq!(record.model.as_deref(), Some("mock-model"), "{}", thread.name);
        assert!(record.token_usage.unwrap().total_tokens.unwrap() > 1_000, "{}", thread.name);
    }
}

#[test]
fn a_recording_of_bare_lines_has_a_preview() {
    let mut fold = MetadataFold::new(id("6c1959de-8bdf-489c-a664-66b58be0c216"), Timestamp::default());
    for line in recordings::basic("0.20.0") {
        fold.observe_line(&line);
    }
    let record = fold.into_thread();
    assert_eq!(record.preview.as_deref(), Some("first question about zebras"));
    assert_eq!(record.created_at.to_string(), "2026-11-21T09:07:26.036Z");
    assert_eq!(record.git, None);
}

#[test]
fn the_patches_of_a_fold_reproduce_its_record() {
    for thread in recordings::stories() {
        let mut fold = MetadataFold::new(thread.id, Timestamp::default());
        let mut record = fold.thread().clone();
        let mut merged = ThreadMetadataPatch::default();
        for line in &thread.lines {
            let patch = fold.observe_line(line);
            patch.apply(&mut record);
            merged.merge(patch);
        }
        assert_eq!(&record, fold.thread(), "{}", thread.name);
        let mut at_once = StoredThread::new(thread.id, Timestamp::default());
        merged.apply(&mut at_once);
        assert_eq!(at_once, record, "{}", thread.name);
    }
}

#[test]
fn live_items_and_lines_give_the_same_record() {
    for thread in recordings::stories() {
        let mut live = MetadataFold::new(thread.id, Timestamp::default());
        for line in &thread.lines {
            live.observe(&line.item(), line.timestamp());
        }
        assert_eq!(live.into_thread(), folded_record(&thread), "{}", thread.name);
    }
}

#[test]
fn a_fold_can_be_resumed_from_its_record() {
    for thread in recordings::stories() {
        let whole = folded_record(&thread);
        let own_head = thread
            .lines
            .iter()
            .position(|line| matches!(line.item(), RolloutItem::SessionMeta(meta) if meta.id == Some(thread.id)));
        for middle in own_head.unwrap() + 1..thread.lines.len() {
            let mut first = MetadataFold::new(thread.id, Timestamp::default());
            thread.lines[..middle].iter().for_each(|line| drop(first.observe_line(line)));
            let mut second = MetadataFold::resume(first.into_thread());
            thread.lines[middle..].iter().for_each(|line| drop(second.observe_line(line)));
            assert_eq!(second.into_thread(), whole, "{} at {middle}", thread.name);
        }
    }
}

#[test]
fn a_caller_can_mark_inherited_lines() {
    let thread = recordings::story("story-0.169.0", "FF");
    let own_head = thread
        .lines
        .iter()
        .position(|line| matches!(line.item(), RolloutItem::SessionMeta(meta) if meta.id == Some(thread.id)));
    let (inherited, own) = thread.lines.split_at(own_head.unwrap());
    let mut fold = MetadataFold::new(thread.id, Timestamp::default());
    inherited.iter().for_each(|line| fold.observe_inherited(line));
    assert_eq!(fold.thread().preview.as_deref(), Some("first question about zebras"));
    assert_eq!(fold.thread().updated_at, Timestamp::default());
    own.iter().for_each(|line| drop(fold.observe_line(line)));
    assert_eq!(fold.into_thread(), folded_record(&thread));
}

#[test]
fn the_first_head_determines_the_origin_and_the_newest_the_location() {
    let first = head(
        OWN,
        json!({
            "source": "cli", "originator": "a", "cli_version": "1", "cwd": "/a", "model_provider": "p",
            "git": {"commit_hash": "c1", "branch": "b1"},
        }),
    );
    let second = head(
        OWN,
        json!({
            "timestamp": "2026-11-22T09:00:00.000Z", "source": "exec", "originator": "b", "cli_version": "2",
            "cwd": "/b", "model_provider": "q", "agent_type": "helper", "history_mode": "paginated",
            "git": {"commit_hash": "c2"},
        }),
    );
    let record = folded(&lines([first, second]));
    assert_eq!(record.created_at, "2026-11-21T09:00:00Z".parse().unwrap());
    assert_eq!(
        (record.source, record.originator.as_deref(), record.cli_version.as_deref()),
        (Some(json!("cli")), Some("a"), Some("1"))
    );
    assert_eq!((record.cwd.as_deref(), record.model_provider.as_deref()), (Some("/b"), Some("q")));
    assert_eq!((record.agent_role.as_deref(), record.history_mode), (Some("helper"), HistoryMode::Paginated));
    let git = record.git.unwrap();
    assert_eq!((git.commit_hash.as_deref(), git.branch), (Some("c2"), None));
}

#[test]
fn heads_in_a_full_copy_change_nothing() {
    let copied = head(OTHER, json!({"cwd": "/other", "cli_version": "0", "forked_from_id": OTHER}));
    let own = head(OWN, json!({"cwd": "/own", "forked_from_id": OTHER, "parent_thread_id": OTHER}));
    let record = folded(&lines([own, copied, user_event("asked before the fork")]));
    assert_eq!((record.cwd.as_deref(), record.cli_version), (Some("/own"), None));
    assert_eq!((record.forked_from_id, record.parent_thread_id), (Some(id(OTHER)), Some(id(OTHER))));
    assert_eq!(record.preview.as_deref(), Some("asked before the fork"));
    assert_eq!(record.updated_at, time(2));
}

#[test]
fn a_fork_by_reference_inherits_messages_and_settings_but_no_times() {
    let usage = event(json!({"type": "token_count", "info": {"total_token_usage": {"total_tokens": 9}}}));
    let base = [head(OTHER, json!({"cwd": "/base"})), started("t"), turn_context("t", "m"), user_event("q"), usage];
    let mut fold = fold();
    for line in lines(base) {
        fold.observe_line(&line);
    }
    let record = fold.thread();
    assert_eq!((record.preview.as_deref(), record.model.as_deref()), (Some("q"), Some("m")));
    assert_eq!(record.token_usage.as_ref().and_then(|usage| usage.total_tokens), Some(9));
    let never = Timestamp::default();
    assert_eq!((record.created_at, record.updated_at, record.recency_at), (never, never, never));
    assert_eq!(record.cwd, None);

    fold.observe(&head(OWN, json!({"cwd": "/own"})), Some(time(9)));
    let record = fold.into_thread();
    assert_eq!((record.updated_at, record.cwd.as_deref()), (time(9), Some("/own")));
    assert_eq!(record.recency_at, record.created_at);
}

#[test]
fn applied_settings_override_those_of_turns() {
    let context = item(json!({"type": "turn_context", "payload": {
        "cwd": "/turn", "model": "m1", "effort": "low", "approval_policy": "never", "permission_profile": {"type": "a"},
    }}));
    let record = folded(&lines([context.clone()]));
    assert_eq!((record.cwd.as_deref(), record.model.as_deref()), (Some("/turn"), Some("m1")));
    assert_eq!((record.reasoning_effort.as_deref(), record.approval_mode), (Some("low"), Some(json!("never"))));
    assert_eq!(record.permission_profile, Some(json!({"type": "a"})));

    let applied = event(json!({"type": "thread_settings_applied", "thread_settings": {
        "model_provider_id": "p2", "cwd": "/set", "approval_policy": {"granular": {}},
        "collaboration_mode": {"mode": "plan", "settings": {"model": "m2", "reasoning_effort": "high"}},
    }}));
    let record = folded(&lines([context.clone(), applied, context]));
    assert_eq!(record.cwd.as_deref(), Some("/set"));
    assert_eq!((record.model.as_deref(), record.reasoning_effort.as_deref()), (Some("m1"), Some("low")));
    assert_eq!(record.model_provider.as_deref(), Some("p2"));
}

#[test]
fn plain_settings_take_precedence_over_those_of_the_collaboration_mode() {
    let applied = |plain: Value| {
        let mut settings = json!({"collaboration_mode": {"settings": {"model": "m2", "reasoning_effort": "high"}}});
        settings.as_object_mut().unwrap().extend(plain.as_object().unwrap().clone());
        let record = folded(&lines([event(json!({"type": "thread_settings_applied", "thread_settings": settings}))]));
        (record.model.unwrap(), record.reasoning_effort.unwrap())
    };
    assert_eq!(applied(json!({})), ("m2".into(), "high".into()));
    assert_eq!(applied(json!({"model": "m1", "reasoning_effort": "low"})), ("m1".into(), "low".into()));
}

#[test]
fn the_first_message_of_the_user_is_the_preview() {
    let preview = |items: Vec<RolloutItem>| folded(&lines(items)).preview;
    assert_eq!(preview(vec![user_event("  q1\nmore \n"), user_event("q2")]).as_deref(), Some("q1\nmore"));
    let from_editor = "# Context from my IDE setup:\n\n## Open tabs:\n- a.rs\n\n## My request for Codex:\nfix it\n";
    assert_eq!(preview(vec![user_event(from_editor)]).as_deref(), Some("fix it"));
    assert_eq!(preview(vec![user_event(" "), user_event("q")]).as_deref(), Some("q"));
    let image = event(json!({"type": "user_message", "message": "", "local_images": ["/a.png"]}));
    assert_eq!(preview(vec![image]).as_deref(), Some("[Image]"));
    let done = |content: Value| completed_item("t", json!({"type": "UserMessage", "id": "u", "content": content}));
    assert_eq!(preview(vec![done(json!([{"type": "text", "text": " q "}]))]).as_deref(), Some("q"));
    assert_eq!(preview(vec![done(json!([{"type": "image", "image_url": "data:"}]))]).as_deref(), Some("[Image]"));
}

#[test]
fn a_goal_is_the_preview_if_there_is_none() {
    let goal = || event(json!({"type": "thread_goal_updated", "goal": {"objective": " ship it "}}));
    let record = folded(&lines([goal(), user_event("q")]));
    assert_eq!((record.preview.as_deref(), record.first_user_message.as_deref()), (Some("ship it"), Some("q")));
    assert_eq!(folded(&lines([user_event("q"), goal()])).preview.as_deref(), Some("q"));
}

#[test]
fn the_first_message_of_the_user_is_the_preview_even_if_no_event_shows_it() {
    let preview = |items: Vec<RolloutItem>| folded(&lines(items)).preview;
    assert_eq!(preview(vec![fragment("x"), user("q"), assistant("a"), user("r")]).as_deref(), Some("q"));
    assert_eq!(preview(vec![user("q"), user_event("q, told by an event")]).as_deref(), Some("q"));
    let image = json!({"type": "message", "role": "user", "content": [{"type": "input_image", "image_url": "data:"}]});
    let image = ResponseItem::from_value(&image).unwrap().into();
    assert_eq!(preview(vec![image]).as_deref(), Some("[Image]"));
    let text = |text: &str| json!({"type": "input_text", "text": text});
    let image = json!({"type": "input_image", "image_url": "data:"});
    let tags = [text("q"), text("<image name=[Image #1] path=\"/w/a.png\">"), image, text("</image>")];
    let image = ResponseItem::from_value(&json!({"type": "message", "role": "user", "content": tags})).unwrap().into();
    assert_eq!(preview(vec![image]).as_deref(), Some("q"));
    assert_eq!(preview(vec![assistant("a")]), None);
    // What the program wrote before the words of the user is no preview, in an item and in an event.
    for said in [user, user_event] {
        let plugins = said("<recommended_plugins>\n- foo\n</recommended_plugins>\n\nq");
        assert_eq!(preview(vec![plugins]).as_deref(), Some("q"));
        let instructions = said("# AGENTS.md instructions for /w\n\n<INSTRUCTIONS>\nBe brief.\n</INSTRUCTIONS>");
        assert_eq!(preview(vec![instructions, said("q")]).as_deref(), Some("q"));
    }
}

#[test]
fn other_response_items_change_only_the_time_of_the_last_update() {
    let mut fold = fold();
    let silent = [fragment("x"), assistant("a"), snapshot(json!({"cwd": "/x"}))];
    for (line, position) in lines(silent).iter().zip(0..) {
        let only_time = ThreadMetadataPatch { updated_at: Some(time(position)), ..ThreadMetadataPatch::default() };
        assert_eq!(fold.observe_line(line), only_time);
    }
}

#[test]
fn times_never_decrease_and_recency_follows_turns() {
    let mut fold = fold();
    fold.observe(&started("t"), Some(time(5)));
    fold.observe(&user_event("q"), Some(time(9)));
    let patch = fold.observe(&started("t2"), Some(time(3)));
    assert_eq!(patch, ThreadMetadataPatch::default());
    assert_eq!((fold.thread().recency_at, fold.thread().updated_at), (time(5), time(9)));
}

#[test]
fn token_usage_comes_from_the_newest_event_that_contains_it() {
    let count = |info: Value| event(json!({"type": "token_count", "info": info}));
    let usage = |n: u64| count(json!({"total_token_usage": {"total_tokens": n}}));
    let record = folded(&lines([usage(1), usage(2), count(Value::Null)]));
    assert_eq!(record.token_usage.unwrap().total_tokens, Some(2));
}

#[test]
fn explicit_metadata_is_applied_as_it_is() {
    let of = |thread: &str, patch: Value| {
        item(json!({"type": "thread_metadata", "payload": {"thread_id": thread, "patch": patch}}))
    };
    let patch = |patch| of(OWN, patch);
    let record = folded(&lines([
        user_event("q"),
        patch(json!({"name": "n", "preview": null, "git": {"branch": "b"}, "updated_at": "2030-01-01T00:00:00Z"})),
        patch(json!({})),
        // A fork by full copy also contains the explicit metadata of its source.
        of(OTHER, json!({"preview": "of another thread"})),
    ]));
    assert_eq!(
        (record.name.as_deref(), record.preview, record.first_user_message.as_deref()),
        (Some("n"), None, Some("q"))
    );
    assert_eq!(record.git.unwrap().branch.as_deref(), Some("b"));
    assert_eq!(record.updated_at, "2030-01-01T00:00:00Z".parse().unwrap());
}

#[test]
fn unexpected_shapes_do_not_panic() {
    let odd = [
        head(
            OWN,
            json!({"cwd": 3, "source": {"subagent": "review"}, "git": "none", "timestamp": 7, "cli_version": []}),
        ),
        item(json!({"type": "turn_context", "payload": {"model": {"x": 1}, "effort": 2}})),
        event(json!({"type": "thread_settings_applied", "thread_settings": [1]})),
        event(json!({"type": "thread_settings_applied", "thread_settings": {"collaboration_mode": "plan"}})),
        event(json!({"type": "thread_goal_updated", "goal": "go"})),
        event(json!({"type": "token_count", "info": "many"})),
        event(json!({"type": "item_completed", "item": {"type": "UserMessage", "content": "x"}})),
    ];
    let record = folded(&lines(odd));
    assert_eq!(record.source, Some(json!({"subagent": "review"})));
    assert_eq!((record.model, record.preview, record.token_usage, record.cwd), (None, None, None, None));
}
