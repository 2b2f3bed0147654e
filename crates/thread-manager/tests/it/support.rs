//! The threads of a test, items to append, and what the store returns for them.
#![expect(clippy::unwrap_used, reason = "test code, which clippy does not recognize without the attribute `test`")]

use std::sync::Arc;
use std::time::Duration;

use selvedge_protocol::{
    CompletedItem, EventMsg, HistoryMode, ItemCompletedEvent, ItemContent, OpenItem, ResponseItem, RolloutItem,
    SessionMeta, StoredThread, TaskCompleteEvent, TaskStartedEvent, ThreadId, Timestamp, TokenCountEvent, TokenUsage,
    TokenUsageInfo, TurnBoundary, TurnContext, TurnQuery, UserMessageEvent, WorldState,
};
use selvedge_thread_manager::{LiveThread, ThreadManager};
use selvedge_thread_store::{ForkThread, InMemoryThreadStore, Result, StoreError, ThreadStore};
use selvedge_thread_store_local::LocalThreadStore;
use serde_json::{Value, json};

pub(crate) const MODES: [HistoryMode; 2] = [HistoryMode::Legacy, HistoryMode::Paginated];

/// The threads of a test. It opens any number of stores over them.
pub(crate) enum TestStores {
    Memory(InMemoryThreadStore),
    Local(tempfile::TempDir),
}

impl TestStores {
    pub(crate) fn memory() -> Self {
        Self::Memory(InMemoryThreadStore::new())
    }

    pub(crate) fn local() -> Self {
        Self::Local(tempfile::tempdir().unwrap())
    }

    /// Opens a store over the threads, as another process would.
    pub(crate) fn store(&self) -> Arc<dyn ThreadStore> {
        match self {
            Self::Memory(store) => Arc::new(store.peer()),
            Self::Local(home) => Arc::new(LocalThreadStore::open(home.path())),
        }
    }

    /// Creates a manager over a new store, as another process would.
    pub(crate) fn manager(&self) -> ThreadManager {
        ThreadManager::new(self.store())
    }

    /// Returns how many files there are.
    pub(crate) fn files(&self) -> usize {
        match self {
            Self::Memory(_) => 0,
            Self::Local(home) => files_in(home.path()),
        }
    }
}

fn files_in(dir: &std::path::Path) -> usize {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { files_in(&path) } else { 1 }).sum()
}

/// Returns the `n`-th thread id of a test.
pub(crate) fn id(n: u32) -> ThreadId {
    format!("01a1fd5d-0000-7000-8000-{n:012x}").parse().unwrap()
}

/// Returns the head of the `n`-th thread.
pub(crate) fn head(n: u32, mode: HistoryMode) -> SessionMeta {
    let at = Timestamp::from_millis(1_700_000_000_000 + i64::from(n) * 1000);
    SessionMeta { history_mode: Some(mode), cwd: Some("/srv".into()), ..SessionMeta::new(id(n), at) }
}

/// Returns the head of the `n`-th thread, in paginated mode.
pub(crate) fn paginated(n: u32) -> SessionMeta {
    head(n, HistoryMode::Paginated)
}

/// A user message as the model sees it.
pub(crate) fn message(text: &str) -> RolloutItem {
    ResponseItem::user_text(text).into()
}

/// A user message as a client shows it.
pub(crate) fn user_message(mode: HistoryMode, turn: &str, text: &str) -> RolloutItem {
    let event = match mode {
        HistoryMode::Legacy => UserMessageEvent { message: Some(text.into()), ..Default::default() }.into(),
        HistoryMode::Paginated => item_completed(turn, "UserMessage", text),
    };
    RolloutItem::EventMsg(event)
}

pub(crate) fn item_completed(turn: &str, kind: &str, text: &str) -> EventMsg {
    let item = json!({"type": kind, "id": format!("{kind} {text}"), "text": text, "content": [{"type": "text", "text": text}]});
    ItemCompletedEvent { turn_id: Some(turn.into()), item: CompletedItem::from_value(&item), ..Default::default() }
        .into()
}

/// An event with no field that any rule knows.
pub(crate) fn event(kind: &str) -> RolloutItem {
    let json = serde_json::value::to_raw_value(&json!({"type": kind})).unwrap();
    RolloutItem::EventMsg(EventMsg::Other(OpenItem::new(kind.to_owned(), json)))
}

/// A response item of this kind, with nothing else in it.
pub(crate) fn response(kind: &str) -> RolloutItem {
    ResponseItem::from_value(&json!({"type": kind})).unwrap().into()
}

pub(crate) fn started(turn: &str) -> RolloutItem {
    EventMsg::from(TaskStartedEvent { turn_id: Some(turn.into()), ..Default::default() }).into()
}

pub(crate) fn complete(turn: &str) -> RolloutItem {
    EventMsg::from(TaskCompleteEvent { turn_id: Some(turn.into()), ..Default::default() }).into()
}

pub(crate) fn model(name: &str) -> RolloutItem {
    TurnContext { model: Some(name.into()), ..Default::default() }.into()
}

/// An event that reports this many tokens.
pub(crate) fn tokens(total: u64) -> RolloutItem {
    let usage = TokenUsage { total_tokens: Some(total), ..Default::default() };
    let info = TokenUsageInfo { total_token_usage: Some(usage), ..Default::default() };
    EventMsg::from(TokenCountEvent { info: Some(info), ..Default::default() }).into()
}

/// Returns how many tokens a thread record reports.
pub(crate) fn tokens_used(stored: &StoredThread) -> Option<u64> {
    stored.token_usage.as_ref()?.total_tokens
}

/// A whole turn whose user message is its name.
pub(crate) fn turn(mode: HistoryMode, name: &str) -> Vec<RolloutItem> {
    vec![started(name), message(name), user_message(mode, name, name), complete(name)]
}

/// Surroundings with this directory.
pub(crate) fn surroundings(cwd: &str) -> WorldState {
    WorldState::new(json!({"environment": {"cwd": cwd}, "tools": ["a", "b"]})).unwrap()
}

/// Starts the `n`-th thread with these turns.
pub(crate) async fn start(manager: &ThreadManager, n: u32, mode: HistoryMode, turns: &[&str]) -> Arc<LiveThread> {
    let thread = manager.start(head(n, mode)).await.unwrap();
    thread.persist().await.unwrap();
    for name in turns {
        thread.append(&turn(mode, name)).await.unwrap();
    }
    thread
}

/// Records the `n`-th thread with these turns and leaves it cold.
pub(crate) async fn record(manager: &ThreadManager, n: u32, mode: HistoryMode, turns: &[&str]) -> ThreadId {
    let thread = start(manager, n, mode, turns).await;
    thread.shutdown().await.unwrap();
    thread.id()
}

/// Forks a thread as the `n`-th.
pub(crate) async fn fork(manager: &ThreadManager, source: ThreadId, n: u32, at: TurnBoundary) -> ThreadId {
    manager.fork(ForkThread { source, at, meta: paginated(n) }).await.unwrap()
}

/// Returns the items of a thread, without heads.
pub(crate) async fn items(store: &dyn ThreadStore, thread_id: ThreadId) -> Vec<RolloutItem> {
    let history = store.load_history(thread_id).await.unwrap();
    let items = history.lines.iter().map(|line| line.item());
    items.filter(|item| !matches!(item, RolloutItem::SessionMeta(_))).collect()
}

/// Returns the kinds of all lines of a thread.
pub(crate) async fn kinds(store: &dyn ThreadStore, thread_id: ThreadId) -> Vec<String> {
    let history = store.load_history(thread_id).await.unwrap();
    history.lines.iter().map(|line| line.kind().to_owned()).collect()
}

/// Returns the user messages as a client shows them, oldest first.
pub(crate) async fn shown_prompts(store: &dyn ThreadStore, thread_id: ThreadId) -> Vec<String> {
    let turns = store.list_turns(&TurnQuery::all(thread_id)).await.unwrap().items;
    let items = turns.into_iter().flat_map(|turn| turn.items);
    items
        .filter_map(|item| if let ItemContent::UserMessage { text, .. } = item.content { Some(text) } else { None })
        .collect()
}

/// Returns the user messages that the model sees, oldest first.
pub(crate) async fn model_prompts(store: &dyn ThreadStore, thread_id: ThreadId) -> Vec<String> {
    let context = store.load_model_context(thread_id).await.unwrap();
    context.history.iter().map(|item| item.texts().concat()).collect()
}

/// Returns the records of the world state in the log: whether each is a full one, and its state.
pub(crate) async fn world_state_records(store: &dyn ThreadStore, thread_id: ThreadId) -> Vec<(bool, Value)> {
    let records = items(store, thread_id).await.into_iter().filter_map(|item| match item {
        RolloutItem::WorldState(record) => Some((record.is_full(), record.state.unwrap_or_default())),
        _ => None,
    });
    records.collect()
}

pub(crate) fn is_not_found<T>(outcome: &Result<T>) -> bool {
    matches!(outcome, Err(StoreError::NotFound { live: false, .. }))
}

pub(crate) fn is_not_live<T>(outcome: &Result<T>) -> bool {
    matches!(outcome, Err(StoreError::NotFound { live: true, .. }))
}

pub(crate) fn is_conflict<T>(outcome: &Result<T>) -> bool {
    matches!(outcome, Err(StoreError::Conflict { .. }))
}

pub(crate) fn is_backend<T>(outcome: &Result<T>) -> bool {
    matches!(outcome, Err(StoreError::Backend { .. }))
}

/// Returns a thread record without the time at which the log last grew, which comes from two clocks.
pub(crate) fn without_update_time(mut stored: StoredThread) -> StoredThread {
    stored.updated_at = stored.created_at;
    stored.recency_at = stored.created_at;
    stored
}

/// Lets background tasks run until they wait.
pub(crate) async fn run_background_tasks() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

/// Repeats an attempt until it succeeds.
pub(crate) async fn eventually<T>(mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..5000 {
        if let Some(value) = attempt().await {
            return value;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("it never came");
}
