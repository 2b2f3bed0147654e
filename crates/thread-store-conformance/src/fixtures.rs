//! The material of the rules: threads by number, turns by name, their items, and short queries and assertions.
//!
//! The turn `a` contains the prompt `ask a` and the answer `answer a`. [`shown_prompts`] and [`model_prompts`] return the names of
//! turns again, so that a rule can compare a history with a list of names, such as `["a", "b"]`.
//!
//! A store's own tests may use the fixtures, too. They panic if a store does not do what they need.
#![expect(clippy::unwrap_used, reason = "a test cannot continue without the result")]

use selvedge_history::MetadataFold;
use selvedge_protocol::{
    CompletedItem, Cursor, EventMsg, HistoryMode, ItemCompletedEvent, ItemContent, Page, ResponseItem, RolloutItem,
    SessionMeta, TaskCompleteEvent, TaskStartedEvent, ThreadId, Timestamp, Turn, TurnId, TurnQuery, UserMessageEvent,
};
use selvedge_thread_store::{BatchId, MetadataOrigin, StoreError, ThreadHistory, ThreadStore};
use serde_json::json;

/// Both modes of a log. Most rules run once in each.
pub const MODES: [HistoryMode; 2] = [HistoryMode::Legacy, HistoryMode::Paginated];

/// Returns the `n`-th thread id of a test. Ids sort like their numbers.
#[must_use]
pub fn id(n: u32) -> ThreadId {
    format!("01a1fd5d-0000-7000-8000-{n:012x}").parse().unwrap()
}

/// Returns the `n`-th second of a test.
#[must_use]
pub fn second(n: i64) -> Timestamp {
    Timestamp::from_millis(1_795_252_000_000 + n * 1000)
}

/// Returns the head of the `n`-th thread, created at the `n`-th second.
#[must_use]
pub fn head(n: u32, mode: HistoryMode) -> SessionMeta {
    SessionMeta {
        history_mode: Some(mode),
        cwd: Some("/srv/project".into()),
        originator: Some("test".into()),
        cli_version: Some("0.1.0".into()),
        source: Some(json!("cli")),
        model_provider: Some("mock".into()),
        ..SessionMeta::new(id(n), second(n.into()))
    }
}

/// Returns the two items of a user message: one for the model, then one for clients.
#[must_use]
pub fn user(mode: HistoryMode, turn: &str, text: &str) -> Vec<RolloutItem> {
    let event = match mode {
        HistoryMode::Legacy => UserMessageEvent { message: Some(text.into()), ..Default::default() }.into(),
        HistoryMode::Paginated => completed(
            turn,
            json!({"type": "UserMessage", "id": format!("user {text}"), "content": [{"type": "text", "text": text}]}),
        ),
    };
    vec![ResponseItem::user_text(text).into(), RolloutItem::EventMsg(event)]
}

/// Returns the two items of an agent message: one for the model, then one for clients.
#[must_use]
pub fn agent(mode: HistoryMode, turn: &str, text: &str) -> Vec<RolloutItem> {
    let event = match mode {
        HistoryMode::Legacy => EventMsg::from_json(raw(json!({"type": "agent_message", "message": text}))),
        HistoryMode::Paginated => completed(
            turn,
            json!({"type": "AgentMessage", "id": format!("agent {text}"), "content": [{"type": "Text", "text": text}]}),
        ),
    };
    vec![ResponseItem::assistant_text(text).into(), RolloutItem::EventMsg(event)]
}

/// Returns the event that begins a turn.
#[must_use]
pub fn started(turn: &str) -> RolloutItem {
    EventMsg::from(TaskStartedEvent { turn_id: Some(turn.into()), ..Default::default() }).into()
}

/// Returns the event that ends a turn.
#[must_use]
pub fn complete(turn: &str) -> RolloutItem {
    EventMsg::from(TaskCompleteEvent { turn_id: Some(turn.into()), ..Default::default() }).into()
}

/// Returns the items of a whole turn: the user says `"ask {turn}"`, the agent `"answer {turn}"`.
#[must_use]
pub fn turn(mode: HistoryMode, turn: &str) -> Vec<RolloutItem> {
    let mut items = vec![started(turn)];
    items.extend(user(mode, turn, &format!("ask {turn}")));
    items.extend(agent(mode, turn, &format!("answer {turn}")));
    items.push(complete(turn));
    items
}

/// Returns the event for a completed item of any kind, as paginated logs have it.
#[must_use]
pub fn completed(turn: &str, item: serde_json::Value) -> EventMsg {
    EventMsg::from(ItemCompletedEvent {
        turn_id: Some(turn.into()),
        item: CompletedItem::from_value(&item),
        ..Default::default()
    })
}

fn raw(value: serde_json::Value) -> Box<serde_json::value::RawValue> {
    serde_json::value::to_raw_value(&value).unwrap()
}

/// Appends items to a live thread, and then patches its record with the facts that these items contain.
///
/// This is the duty of every writer: a store does not have to derive facts from items.
pub async fn append_with_metadata(store: &dyn ThreadStore, thread_id: ThreadId, items: &[RolloutItem]) {
    store.append_items(thread_id, BatchId::generate(), items).await.unwrap();
    let lines = store.load_history(thread_id).await.unwrap().lines;
    // The fold observes lines and not items, because a fact can depend on the time of its line. It continues from the record, which
    // contains the facts of all earlier lines.
    let mut fold = MetadataFold::resume(store.read_thread(thread_id).await.unwrap());
    for line in &lines[lines.len() - items.len()..] {
        let patch = fold.observe_line(line);
        store.update_thread_metadata(thread_id, &patch, MetadataOrigin::Derived).await.unwrap();
    }
}

/// Records the `n`-th thread with these turns and leaves it cold.
pub async fn record(store: &dyn ThreadStore, n: u32, mode: HistoryMode, turns: &[&str]) -> ThreadId {
    store.create_thread(head(n, mode)).await.unwrap();
    store.persist_thread(id(n)).await.unwrap();
    for name in turns {
        append_with_metadata(store, id(n), &turn(mode, name)).await;
    }
    store.shutdown_thread(id(n)).await.unwrap();
    id(n)
}

/// Resumes a cold thread, appends these turns and leaves it cold.
pub async fn continue_thread(store: &dyn ThreadStore, thread_id: ThreadId, mode: HistoryMode, turns: &[&str]) {
    store.resume_thread(thread_id).await.unwrap();
    for name in turns {
        append_with_metadata(store, thread_id, &turn(mode, name)).await;
    }
    store.shutdown_thread(thread_id).await.unwrap();
}

/// Returns all turns of a thread, oldest first.
pub async fn all_turns(store: &dyn ThreadStore, thread_id: ThreadId) -> Vec<Turn> {
    let page = store.list_turns(&TurnQuery::all(thread_id)).await.unwrap();
    assert_eq!(page.next_cursor, None);
    page.items
}

/// Returns the entries of all pages from a cursor on.
///
/// Asserts that each page has at most `limit` entries, and exactly `limit` if another page follows.
pub async fn collect_pages<T>(
    limit: usize,
    mut cursor: Option<Cursor>,
    page: impl AsyncFn(Option<Cursor>) -> Page<T>,
) -> Vec<T> {
    let mut found = Vec::new();
    loop {
        let page = page(cursor).await;
        assert!(page.items.len() <= limit);
        assert!(page.next_cursor.is_none() || page.items.len() == limit, "a page that is followed by another is full");
        found.extend(page.items);
        cursor = page.next_cursor;
        if cursor.is_none() {
            return found;
        }
    }
}

/// Returns the user messages that clients show, oldest first and without the prefix `ask `.
pub async fn shown_prompts(store: &dyn ThreadStore, thread_id: ThreadId) -> Vec<String> {
    let turns = all_turns(store, thread_id).await;
    let items = turns.into_iter().flat_map(|turn| turn.items);
    items
        .filter_map(|item| match item.content {
            ItemContent::UserMessage { text, .. } => Some(text.trim_start_matches("ask ").to_owned()),
            _ => None,
        })
        .collect()
}

/// Returns the user messages that the model gets, oldest first and without the prefix `ask `.
pub async fn model_prompts(store: &dyn ThreadStore, thread_id: ThreadId) -> Vec<String> {
    let context = store.load_model_context(thread_id).await.unwrap();
    let said = context.history.iter().filter(|item| item.role().as_deref() == Some("user"));
    said.map(|item| item.texts().concat().trim_start_matches("ask ").to_owned()).collect()
}

/// Returns the id of a turn.
#[must_use]
pub fn turn_id(turn: &str) -> TurnId {
    turn.into()
}

/// Asserts that the ordinals of a paginated history begin at 0 and have no gap.
pub fn assert_consecutive_ordinals(history: &ThreadHistory) {
    let ordinals: Vec<_> = history.lines.iter().map(|line| line.ordinal()).collect();
    let counted: Vec<_> = (0..ordinals.len() as u64).map(Some).collect();
    assert_eq!(ordinals, counted);
}

/// Returns the lines of a history as they are stored.
#[must_use]
pub fn line_texts(history: &ThreadHistory) -> Vec<&str> {
    history.lines.iter().map(|line| line.text()).collect()
}

/// Returns whether the call failed with `NotFound`, of a stored thread or (`live`) of a live one.
#[must_use]
pub fn is_missing<T>(outcome: Result<T, StoreError>, live: bool) -> bool {
    matches!(outcome, Err(StoreError::NotFound { live: reported, .. }) if reported == live)
}

/// Returns whether the call failed with `Conflict`: another writer holds the thread.
#[must_use]
pub fn is_conflict<T>(outcome: Result<T, StoreError>) -> bool {
    matches!(outcome, Err(StoreError::Conflict { .. }))
}

/// Returns whether the call failed with `AlreadyExists`: the id is taken.
#[must_use]
pub fn is_taken<T>(outcome: Result<T, StoreError>) -> bool {
    matches!(outcome, Err(StoreError::AlreadyExists { .. }))
}

/// Returns whether the call failed with `InvalidRequest`.
#[must_use]
pub fn is_invalid<T>(outcome: Result<T, StoreError>) -> bool {
    matches!(outcome, Err(StoreError::InvalidRequest { .. }))
}
