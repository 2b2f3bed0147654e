//! Builders for hand-made items and lines, so that a whole thread fits in a few lines of a test.

use selvedge_history::{ModelContext, TurnProjection, replay};
use selvedge_protocol::{
    Compacted, ItemContent, ItemOrigin, ResponseItem, RolloutItem, RolloutLine, Timestamp, Turn, TurnItem, WorldState,
    WorldStateRecord,
};
use serde_json::{Value, json};

pub(crate) fn item(value: Value) -> RolloutItem {
    serde_json::from_value(value).unwrap()
}

pub(crate) fn event(payload: Value) -> RolloutItem {
    item(json!({"type": "event_msg", "payload": payload}))
}

pub(crate) fn user(text: &str) -> RolloutItem {
    ResponseItem::user_text(text).into()
}

pub(crate) fn assistant(text: &str) -> RolloutItem {
    ResponseItem::assistant_text(text).into()
}

/// A context fragment.
pub(crate) fn fragment(text: &str) -> RolloutItem {
    user(&format!("<environment_context>{text}</environment_context>"))
}

pub(crate) fn started(turn: &str) -> RolloutItem {
    event(json!({"type": "task_started", "turn_id": turn}))
}

pub(crate) fn complete(turn: &str) -> RolloutItem {
    event(json!({"type": "task_complete", "turn_id": turn}))
}

pub(crate) fn aborted(turn: &str) -> RolloutItem {
    event(json!({"type": "turn_aborted", "turn_id": turn, "reason": "interrupted"}))
}

pub(crate) fn rolled_back(turns: u64) -> RolloutItem {
    event(json!({"type": "thread_rolled_back", "num_turns": turns}))
}

pub(crate) fn user_event(text: &str) -> RolloutItem {
    event(json!({"type": "user_message", "message": text}))
}

pub(crate) fn agent_event(text: &str) -> RolloutItem {
    event(json!({"type": "agent_message", "message": text}))
}

pub(crate) fn turn_context(turn: &str, model: &str) -> RolloutItem {
    item(json!({"type": "turn_context", "payload": {"turn_id": turn, "model": model}}))
}

pub(crate) fn completed_item(turn: &str, completed: Value) -> RolloutItem {
    event(json!({"type": "item_completed", "turn_id": turn, "item": completed}))
}

pub(crate) fn state(value: Value) -> WorldState {
    WorldState::new(value).unwrap()
}

pub(crate) fn snapshot(value: Value) -> RolloutItem {
    WorldStateRecord::snapshot(&state(value)).into()
}

pub(crate) fn patch(value: Value) -> RolloutItem {
    item(json!({"type": "world_state", "payload": {"full": false, "state": value}}))
}

/// A compaction with a replacement history: messages of role `user`, with the summary last.
pub(crate) fn compacted(left: &[&str], window_number: u64) -> RolloutItem {
    let history = left.iter().map(|text| ResponseItem::user_text(text)).collect();
    let summary = left.last().map(|text| (*text).to_owned());
    Compacted {
        message: summary,
        replacement_history: Some(history),
        window_number: Some(window_number),
        ..Compacted::default()
    }
    .into()
}

/// A turn as a legacy program records it.
pub(crate) fn turn(id: &str, asked: &str, answered: &str) -> Vec<RolloutItem> {
    vec![
        started(id),
        turn_context(id, id),
        user(asked),
        user_event(asked),
        agent_event(answered),
        assistant(answered),
        complete(id),
    ]
}

/// A turn with only a compaction.
pub(crate) fn compaction_turn(id: &str, left: &[&str], window_number: u64) -> Vec<RolloutItem> {
    vec![started(id), compacted(left, window_number), event(json!({"type": "context_compacted"})), complete(id)]
}

pub(crate) fn replayed(story: &[Vec<RolloutItem>]) -> ModelContext {
    replay(story.iter().flatten())
}

/// The time of the line at `position` in a hand-made story.
pub(crate) fn time(position: u64) -> Timestamp {
    Timestamp::from_seconds(1_795_000_000 + i64::try_from(position).unwrap())
}

/// Lines of a legacy thread.
pub(crate) fn lines(items: impl IntoIterator<Item = RolloutItem>) -> Vec<RolloutLine> {
    (0..).zip(items).map(|(position, item)| RolloutLine::new(time(position), None, &item)).collect()
}

/// Lines of a paginated thread.
pub(crate) fn ordinal_lines(items: impl IntoIterator<Item = RolloutItem>) -> Vec<RolloutLine> {
    (0..).zip(items).map(|(position, item)| RolloutLine::new(time(position), Some(position), &item)).collect()
}

pub(crate) fn project(lines: &[RolloutLine]) -> Vec<Turn> {
    let mut turns = TurnProjection::new();
    for (position, line) in (0..).zip(lines) {
        turns.push(position, line);
    }
    let turns = turns.finish();
    assert!(turns.iter().all(|turn| turn.items.len() == turn.item_positions.len()), "each item has its position");
    turns
}

/// The turns as the programs that wrote the log show them: without what no event tells, and with parts of a reasoning in one item
/// if nothing that they show is between them.
pub(crate) fn told_by_events(turns: Vec<Turn>) -> Vec<Turn> {
    let shown = |mut turn: Turn| {
        let has_items = !turn.items.is_empty();
        let mut items: Vec<TurnItem> = Vec::new();
        for item in turn.items.into_iter().filter(|item| item.origin == ItemOrigin::Event) {
            let is_part = item.id.as_str().matches('-').count() == 2 && item.id.as_str().starts_with("item-");
            match (items.last_mut().map(|last| &mut last.content), item) {
                (
                    Some(ItemContent::Reasoning { summary, content }),
                    TurnItem { content: ItemContent::Reasoning { summary: more, content: more_content }, .. },
                ) if is_part => {
                    summary.extend(more);
                    content.extend(more_content);
                }
                (_, item) => items.push(TurnItem { started_at: None, completed_at: None, ..item }),
            }
        }
        turn.items = items;
        turn.item_positions = Vec::new();
        // An implicit turn exists because of its items.
        let is_implicit = turn.id.as_str().starts_with("turn-");
        (!is_implicit || !has_items || !turn.items.is_empty()).then_some(turn)
    };
    turns.into_iter().filter_map(shown).collect()
}

pub(crate) fn projected(story: &[Vec<RolloutItem>]) -> Vec<Turn> {
    project(&lines(story.iter().flatten().cloned()))
}

/// The texts of a history, one for each item.
pub(crate) fn texts(context: &ModelContext) -> Vec<String> {
    context.history.iter().map(|item| item.texts().concat()).collect()
}

pub(crate) fn turn_ids(turns: &[Turn]) -> Vec<&str> {
    turns.iter().map(|turn| turn.id.as_str()).collect()
}

pub(crate) fn item_ids(turn: &Turn) -> Vec<&str> {
    turn.items.iter().map(|item| item.id.as_str()).collect()
}

pub(crate) fn item_kinds(turn: &Turn) -> Vec<&str> {
    turn.items.iter().map(TurnItem::kind).collect()
}
