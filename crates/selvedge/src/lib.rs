//! Durable threads for an agent.
//!
//! A *thread* is one conversation of an agent. This crate is everything that an agent needs to record its threads, and to
//! resume, fork and rewind them later. What is acknowledged survives the end of the process. The threads are in the
//! rollout format of Codex, and the `selvedge` program lists, shows and searches them.
//!
//! ```
//! use selvedge::{NewThread, TurnSettings};
//! use serde_json::json;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> selvedge::Result<()> {
//! # let home = tempfile::tempdir().unwrap();
//! # let home = home.path();
//! let threads = selvedge::open(home);
//! let thread = threads.start(NewThread::in_dir("/srv/project").model("gpt-x")).await?;
//!
//! let turn = thread.begin_turn(TurnSettings::default()).await?;
//! turn.user_message("where is the bug?").await?;
//! let call = turn.tool_call("call_1", "read_file", &json!({"path": "src/main.rs"})).await?;
//! call.finish("fn main() {}").await?;
//! turn.agent_message("found it").await?;
//! turn.complete().await?;
//!
//! // What the model sees next. It is always current: also after a rewind, a compaction or a dropped call.
//! let next = thread.model_input().await?;
//! assert_eq!(next.len(), 4);
//! # Ok(())
//! # }
//! ```
//!
//! # Where to look
//!
//! - [`ThreadManager`] starts, opens, forks, rewinds, renames and follows threads.
//! - [`LiveThread`] is a thread that this process writes, and [`TurnRecorder`] records a turn of it.
//! - [`ThreadStore`] is the contract of a store. [`open`] uses the store over a home directory, and `connect` (feature `postgres`) the
//!   one in a database; any other one goes into [`ThreadManager::new`].
//! - The crates `selvedge-protocol`, `selvedge-history` and `selvedge-thread-store` have the rest: every kind of line, the
//!   rules, and the queries.
//!
//! # Features
//!
//! | feature | default | what it adds |
//! | --- | --- | --- |
//! | `local` | yes | [`open`] and the store over a home directory |
//! | `index` | yes | an SQLite database beside the threads, which makes lists and searches fast. Without it the logs answer, and no SQLite is linked: for a program that has its own, such as one with `rusqlite` |
//! | `postgres` | no | `connect` and the store in PostgreSQL, for threads that several machines share |
//! | `metrics` | no | counters and histograms of calls on the store |
//!
//! # Times
//!
//! Every point in time is a [`Timestamp`], which converts from and to `std::time::SystemTime`. A duration that a call takes is
//! a `std::time::Duration`; one that was recorded is a number of milliseconds, `duration_ms`.
//!
//! # Reading
//!
//! [`ThreadManager::store`] returns the store. As a [`ThreadReader`], it lists and searches threads, and returns their turns:
//!
//! ```
//! use selvedge::{ItemContent, SearchQuery, ThreadQuery, TurnQuery};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> selvedge::Result<()> {
//! # let home = tempfile::tempdir().unwrap();
//! let threads = selvedge::open(home.path());
//! let store = threads.store();
//! for thread in store.list_threads(&ThreadQuery::default()).await?.items {
//!     for turn in store.list_turns(&TurnQuery::all(thread.id)).await?.items {
//!         for item in turn.items {
//!             if let ItemContent::UserMessage { text, .. } = item.content {
//!                 println!("{text}");
//!             }
//!         }
//!     }
//! }
//! let hits = store.search_threads(&SearchQuery::new("bug")).await?.items;
//! # assert_eq!(hits.len(), 0);
//! # Ok(())
//! # }
//! ```
//!
//! # The runtime
//!
//! The store and the manager need a Tokio runtime of either flavour. Without its timers, progress such as token counts is
//! stored with the next flush instead of after some seconds.

pub use selvedge_history::ModelContext;
pub use selvedge_protocol::{
    CompletedItem, ContextWindow, CwdFilter, Durability, EventMsg, GitInfo, GitInfoPatch, HistoryMode, ItemContent,
    ItemStatus, Page, ResponseItem, RolloutItem, RolloutLine, SearchHit, SearchQuery, SortDirection, StoredThread,
    ThreadId, ThreadMetadataPatch, ThreadQuery, Timestamp, TokenUsage, Turn, TurnBoundary, TurnId, TurnItem, TurnQuery,
    TurnStatus, WorldState,
};
pub use selvedge_thread_manager::{
    AgentText, Approval, FollowEvent, LiveThread, NewThread, Prompt, Recorded, ResumedThread, ShutdownReport,
    StartingThread, ThreadFollower, ThreadManager, ToolCallRecorder, ToolOutput, TurnRecorder, TurnSettings,
};
pub use selvedge_thread_store::{
    ForkThread, Holder, LinePosition, LineStart, Result, StoreError, ThreadReader, ThreadStore,
};
#[cfg(feature = "local")]
pub use selvedge_thread_store_local::{HomeOptions, IndexLocation, LocalThreadStore};

#[cfg(feature = "postgres")]
pub use selvedge_thread_store_postgres::{PostgresOptions, PostgresThreadStore, PostgresUrlError};

/// Connects to the threads in a PostgreSQL database, which several machines share. `selvedge store init` or
/// [`PostgresThreadStore::migrate`] creates the tables.
///
/// [`PostgresOptions`] has the parameters of the URL.
///
/// # Errors
/// - `InvalidRequest` if this is not the URL of a store, or the tables are missing or have another version. No message has the URL,
///   which may have a password.
/// - `Backend` if the server does not answer or refuses the connection.
///
/// ```no_run
/// # async fn example() -> selvedge::Result<()> {
/// let threads = selvedge::connect("postgres://db.example/work?namespace=team-a").await?;
/// let thread = threads.start(selvedge::NewThread::in_dir("/srv/project").model("gpt-x")).await?;
/// # Ok(())
/// # }
/// ```
#[cfg(feature = "postgres")]
pub async fn connect(url: &str) -> Result<ThreadManager> {
    let options: PostgresOptions =
        url.parse().map_err(|error: PostgresUrlError| StoreError::invalid(error.to_string()))?;
    Ok(ThreadManager::new(std::sync::Arc::new(PostgresThreadStore::connect(&options).await?)))
}

/// Opens the threads in a home directory. Reads and creates nothing: the first thread creates the directory.
///
/// Other processes can use the same home at the same time, Codex among them. A thread has one writer at a time.
#[cfg(feature = "local")]
#[must_use]
pub fn open(home: impl AsRef<std::path::Path>) -> ThreadManager {
    ThreadManager::new(std::sync::Arc::new(LocalThreadStore::open(home.as_ref())))
}
