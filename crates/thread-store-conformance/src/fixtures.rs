//! What the rules are told with: threads, items and turns by number and name, and questions to a store.
//!
//! A store's own tests may use them, too. They panic where a store does not do what they need.
#![expect(clippy::unwrap_used, reason = "what a test cannot go on without")]

use selvedge_history::MetadataFold;
use selvedge_protocol::{
    CompletedItem, Cursor, EventMsg, HistoryMode, ItemCompletedEvent, Page, ResponseItem, RolloutItem, SessionMeta,
    TaskCompleteEvent, TaskStartedEvent, ThreadId, Timestamp, Turn, TurnId, TurnItem, TurnQuery, UserMessageEvent,
};
use selvedge_thread_store::{BatchId, MetadataOrigin, StoreError, ThreadHistory, ThreadStore};
use serde_json::json;

/// Both ways in which a log is kept.
pub const MODES: [HistoryMode; 2] = [HistoryMode::Legacy, HistoryMode::Paginated];

/// The `n`-th thread id of a test. Ids are in the order of their numbers.
#[must_use]
pub fn id(n: u32) -> ThreadId {
    format!("01a1fd5d-0000-7000-8000-{n:012x}").parse().unwrap()
}

/// The `n`-th second of a test.
#[must_use]
pub fn second(n: i64) -> Timestamp {
    Timestamp::from_millis(1_795_252_000_000 + n * 1000)
}

/// The head of the `n`-th thread, created at the `n`-th second.
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

/// What the user says, for the model and for the client.
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

/// What the agent says, for the model and for the client.
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

/// A turn begins.
#[must_use]
pub fn started(turn: &str) -> RolloutItem {
    EventMsg::from(TaskStartedEvent { turn_id: Some(turn.into()), ..Default::default() }).into()
}

/// A turn ends.
#[must_use]
pub fn complete(turn: &str) -> RolloutItem {
    EventMsg::from(TaskCompleteEvent { turn_id: Some(turn.into()), ..Default::default() }).into()
}

/// A whole turn: the user says `"ask {turn}"`, the agent `"answer {turn}"`.
#[must_use]
pub fn turn(mode: HistoryMode, turn: &str) -> Vec<RolloutItem> {
    let mut items = vec![started(turn)];
    items.extend(user(mode, turn, &format!("ask {turn}")));
    items.extend(agent(mode, turn, &format!("answer {turn}")));
    items.push(complete(turn));
    items
}

/// An item of any kind that is done (paginated mode).
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

/// Appends items to a live thread, and tells the store what they say of the thread, as whoever appends does: the store need not
/// find that out.
pub async fn append_and_tell(store: &dyn ThreadStore, thread_id: ThreadId, items: &[RolloutItem]) {
    store.append_items(thread_id, BatchId::generate(), items).await.unwrap();
    let lines = store.load_history(thread_id).await.unwrap().lines;
    let mut fold = MetadataFold::resume(store.read_thread(thread_id).await.unwrap());
    for line in &lines[lines.len() - items.len()..] {
        let patch = fold.observe_line(line);
        store.update_thread_metadata(thread_id, &patch, MetadataOrigin::Derived).await.unwrap();
    }
}

/// Makes the `n`-th thread with these turns and leaves it cold.
pub async fn record(store: &dyn ThreadStore, n: u32, mode: HistoryMode, turns: &[&str]) -> ThreadId {
    store.create_thread(head(n, mode)).await.unwrap();
    store.persist_thread(id(n)).await.unwrap();
    for name in turns {
        append_and_tell(store, id(n), &turn(mode, name)).await;
    }
    store.shutdown_thread(id(n)).await.unwrap();
    id(n)
}

/// Adds turns to a cold thread and leaves it cold.
pub async fn go_on(store: &dyn ThreadStore, thread_id: ThreadId, mode: HistoryMode, turns: &[&str]) {
    store.resume_thread(thread_id).await.unwrap();
    for name in turns {
        append_and_tell(store, thread_id, &turn(mode, name)).await;
    }
    store.shutdown_thread(thread_id).await.unwrap();
}

/// A thread's turns, oldest first.
pub async fn all_turns(store: &dyn ThreadStore, thread_id: ThreadId) -> Vec<Turn> {
    let page = store.list_turns(&TurnQuery::all(thread_id)).await.unwrap();
    assert_eq!(page.next_cursor, None);
    page.items
}

/// Everything on the pages that `page` gives from a cursor on, of which each holds at most `limit` and is full if another
/// one follows.
pub async fn walk<T>(
    limit: usize,
    mut cursor: Option<Cursor>,
    page: impl AsyncFn(Option<Cursor>) -> Page<T>,
) -> Vec<T> {
    let mut found = Vec::new();
    loop {
        let page = page(cursor).await;
        assert!(page.items.len() <= limit);
        assert!(page.next_cursor.is_none() || page.items.len() == limit, "a page with a next one is full");
        found.extend(page.items);
        cursor = page.next_cursor;
        if cursor.is_none() {
            return found;
        }
    }
}

/// What was asked in a thread's turns, oldest first.
pub async fn asked(store: &dyn ThreadStore, thread_id: ThreadId) -> Vec<String> {
    let turns = all_turns(store, thread_id).await;
    let items = turns.into_iter().flat_map(|turn| turn.items);
    items
        .filter_map(|item| match item {
            TurnItem::UserMessage { text, .. } => Some(text.trim_start_matches("ask ").to_owned()),
            _ => None,
        })
        .collect()
}

/// What the model sees of the user, oldest first.
pub async fn heard(store: &dyn ThreadStore, thread_id: ThreadId) -> Vec<String> {
    let context = store.load_model_context(thread_id).await.unwrap();
    let said = context.history.iter().filter(|item| item.role().as_deref() == Some("user"));
    said.map(|item| item.texts().concat().trim_start_matches("ask ").to_owned()).collect()
}

/// The id of a turn.
#[must_use]
pub fn turn_id(turn: &str) -> TurnId {
    turn.into()
}

/// The ordinals of a paginated history count from 0 without a gap.
pub fn assert_counted(history: &ThreadHistory) {
    let ordinals: Vec<_> = history.lines.iter().map(|line| line.ordinal()).collect();
    let counted: Vec<_> = (0..ordinals.len() as u64).map(Some).collect();
    assert_eq!(ordinals, counted);
}

/// The lines of a history as they are stored.
#[must_use]
pub fn texts(history: &ThreadHistory) -> Vec<&str> {
    history.lines.iter().map(|line| line.text()).collect()
}

/// Whether the error says that there is no such thread, stored or live.
#[must_use]
pub fn is_missing<T>(outcome: Result<T, StoreError>, live: bool) -> bool {
    matches!(outcome, Err(StoreError::NotFound { live: said, .. }) if said == live)
}

/// Whether the error says that somebody else is writing the thread.
#[must_use]
pub fn is_conflict<T>(outcome: Result<T, StoreError>) -> bool {
    matches!(outcome, Err(StoreError::Conflict { .. }))
}

/// Whether the error says that there is a thread of this id already.
#[must_use]
pub fn is_taken<T>(outcome: Result<T, StoreError>) -> bool {
    matches!(outcome, Err(StoreError::AlreadyExists { .. }))
}

/// Whether the error says that the request is wrong.
#[must_use]
pub fn is_invalid<T>(outcome: Result<T, StoreError>) -> bool {
    matches!(outcome, Err(StoreError::InvalidRequest { .. }))
}
