//! Sub-agents: who started them, and what is their own.

use selvedge_history::{MetadataFold, TurnProjection, replay_lines};
use selvedge_protocol::{RolloutItem, RolloutLine, StoredThread, ThreadId, Timestamp};
use serde_json::{Value, json};

use crate::story::{
    assistant, complete, completed_item, event, item, item_kinds, ordinal_lines, project, started, texts, time,
    turn_context, turn_ids, user,
};

const CHILD: &str = "01a222c3-b917-79d1-b38a-f6df302df544";
const PARENT: &str = "01a222c3-b839-7b11-b4f6-cd45bfb1be51";
const WINDOW: &str = "01a222c3-b919-79d1-b38a-f6df302df544";
const OTHER_WINDOW: &str = "01a222c3-b91a-79d1-b38a-f6df302df544";
const FORK: &str = "01a222c4-b839-7b11-b4f6-cd45bfb1be51";

fn id(text: &str) -> ThreadId {
    text.parse().unwrap()
}

fn head(id: &str, fields: Value) -> RolloutItem {
    let mut payload = json!({"id": id, "timestamp": "2026-11-01T00:00:00.000Z", "history_mode": "paginated"});
    payload.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    item(json!({"type": "session_meta", "payload": payload}))
}

fn tokens(total: u64) -> RolloutItem {
    event(json!({"type": "token_count", "info": {"total_token_usage": {"total_tokens": total}}}))
}

fn exchange(turn: &str, asked: &str, answered: &str, total: u64) -> Vec<RolloutItem> {
    vec![
        started(turn),
        turn_context(turn, turn),
        user(asked),
        completed_item(
            turn,
            json!({"type": "UserMessage", "id": format!("u-{turn}"), "content": [{"type": "text", "text": asked}]}),
        ),
        completed_item(
            turn,
            json!({"type": "AgentMessage", "id": format!("a-{turn}"), "content": [{"type": "Text", "text": answered}]}),
        ),
        assistant(answered),
        tokens(total),
        complete(turn),
    ]
}

/// The file of a sub-agent, as Codex 0.171 writes it: its head, the parent's head and lines, and then its own lines.
fn lines() -> Vec<RolloutLine> {
    let mut items = vec![
        head(
            CHILD,
            json!({
                "subagent_history_start_ordinal": 10, "parent_thread_id": PARENT, "cwd": "/child",
                "context_window": {"window_id": WINDOW},
            }),
        ),
        // The parent was a sub-agent and a fork, too. Its numbers count in its own file.
        head(
            PARENT,
            json!({
                "subagent_history_start_ordinal": 999, "cwd": "/parent", "context_window": {"window_id": OTHER_WINDOW},
                "history_base": {"thread_id": FORK, "end_ordinal_exclusive": 3},
            }),
        ),
    ];
    items.extend(exchange("p1", "asked the parent", "answer of the parent", 5000));
    assert_eq!(items.len(), 10);
    items.extend(exchange("c1", "asked the child", "answer of the child", 70));
    ordinal_lines(items)
}

fn folded(thread: &str, lines: &[RolloutLine]) -> StoredThread {
    let mut fold = MetadataFold::new(id(thread), Timestamp::default());
    lines.iter().for_each(|line| _ = fold.observe_line(line));
    fold.into_thread()
}

#[test]
fn a_sub_agent_shows_only_what_is_its_own() {
    let turns = project(&lines());
    assert_eq!(turn_ids(&turns), ["c1"]);
    assert_eq!(item_kinds(&turns[0]), ["user_message", "agent_message"]);
    assert_eq!((turns[0].lines.clone(), &turns[0].item_positions), (10..18, &vec![12, 14]));
}

#[test]
fn the_record_of_a_sub_agent_has_only_what_is_its_own() {
    let record = folded(CHILD, &lines());
    assert_eq!(record.preview.as_deref(), Some("asked the child"));
    assert_eq!(record.first_user_message.as_deref(), Some("asked the child"));
    assert_eq!((record.model.as_deref(), record.cwd.as_deref()), (Some("c1"), Some("/child")));
    assert_eq!(record.token_usage.unwrap().total_tokens, Some(70));
    assert_eq!((record.recency_at, record.updated_at), (time(10), time(17)));
    // Before it did anything of its own, nothing of the parent stands in its place.
    let record = folded(CHILD, &lines()[..10]);
    assert_eq!(
        (record.preview, record.model, record.token_usage, record.parent_thread_id),
        (None, None, None, Some(id(PARENT)))
    );
}

#[test]
fn the_model_of_a_sub_agent_sees_the_copied_lines() {
    let context = replay_lines(&lines());
    assert_eq!(context.window.window_id.unwrap().to_string(), WINDOW, "its window is its own");
    assert_eq!(texts(&context), ["asked the parent", "answer of the parent", "asked the child", "answer of the child"]);
}

#[test]
fn a_fork_of_a_sub_agent_shows_what_the_sub_agent_shows() {
    let mut items: Vec<RolloutItem> = lines().iter().map(RolloutLine::item).collect();
    items.push(head(
        FORK,
        json!({"forked_from_id": CHILD, "history_base": {"thread_id": CHILD, "end_ordinal_exclusive": 18}}),
    ));
    items.extend(exchange("f1", "asked the fork", "answer of the fork", 90));
    let lines = ordinal_lines(items);
    assert_eq!(turn_ids(&project(&lines)), ["c1", "f1"]);
    let record = folded(FORK, &lines);
    assert_eq!((record.preview.as_deref(), record.model.as_deref()), (Some("asked the child"), Some("f1")));
    assert_eq!(record.parent_thread_id, None);
    let mut fold = MetadataFold::new(id(FORK), Timestamp::default());
    lines[..18].iter().for_each(|line| fold.observe_inherited(line));
    lines[18..].iter().for_each(|line| _ = fold.observe_line(line));
    assert_eq!(fold.into_thread(), record);
}

#[test]
fn a_projection_resumes_only_behind_the_copied_lines() {
    let lines = lines();
    let whole = project(&lines);
    for cut in 1..lines.len() {
        let mut turns = TurnProjection::new();
        (0..).zip(&lines[..cut]).for_each(|(position, line)| turns.push(position, line));
        let restart = turns.restart();
        assert_eq!(restart.is_none(), cut < 10, "{cut}");
        let Some(restart) = restart else { continue };
        let mut turns = TurnProjection::resume(restart);
        let rest = (0..).zip(&lines).skip(usize::try_from(restart.position).unwrap());
        rest.for_each(|(position, line)| turns.push(position, line));
        assert_eq!(turns.finish(), whole[usize::try_from(restart.turns).unwrap()..], "{cut}");
    }
}

#[test]
fn an_older_head_names_the_parent_in_its_source_only() {
    let spawn = json!({"parent_thread_id": PARENT, "depth": 1, "agent_path": "/root/scout", "agent_nickname": "Ash", "agent_role": "explorer"});
    let source = json!({"subagent": {"thread_spawn": spawn}});
    let record = folded(CHILD, &ordinal_lines([head(CHILD, json!({"source": source}))]));
    assert_eq!(record.parent_thread_id, Some(id(PARENT)));
    assert_eq!(
        [record.agent_nickname.as_deref(), record.agent_role.as_deref(), record.agent_path.as_deref()],
        [Some("Ash"), Some("explorer"), Some("/root/scout")]
    );
    // The fields of the head count more.
    let own = json!({"source": source, "parent_thread_id": FORK, "agent_nickname": "Birch"});
    let record = folded(CHILD, &ordinal_lines([head(CHILD, own)]));
    assert_eq!((record.parent_thread_id, record.agent_nickname.as_deref()), (Some(id(FORK)), Some("Birch")));
    assert_eq!(record.agent_role.as_deref(), Some("explorer"));
    for source in [json!("cli"), json!({"subagent": "review"}), json!({"subagent": {"thread_spawn": []}}), json!(null)]
    {
        let record = folded(CHILD, &ordinal_lines([head(CHILD, json!({"source": source}))]));
        assert_eq!((record.parent_thread_id, record.agent_nickname), (None, None), "{source}");
    }
}
