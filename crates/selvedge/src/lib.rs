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
//! - [`ThreadStore`] is the contract of a store. [`open`] uses the store over a home directory; any other one goes into
//!   [`ThreadManager::new`].
//! - The crates `selvedge-protocol`, `selvedge-history` and `selvedge-thread-store` have the rest: every kind of line, the
//!   rules, and the queries.
//!
//! # The runtime
//!
//! The store and the manager need a Tokio runtime of either flavour. Without its timers, progress such as token counts is
//! stored with the next flush instead of after some seconds.

pub use selvedge_history::ModelContext;
pub use selvedge_protocol::{
    ContextWindow, GitInfo, HistoryMode, ItemContent, ItemStatus, ResponseItem, RolloutItem, StoredThread, ThreadId,
    ThreadMetadataPatch, ThreadQuery, Timestamp, TokenUsage, Turn, TurnBoundary, TurnId, TurnItem, TurnQuery,
    TurnStatus, WorldState,
};
pub use selvedge_thread_manager::{
    AgentText, FollowEvent, LiveThread, NewThread, Prompt, ResumedThread, ThreadFollower, ThreadManager,
    ToolCallRecorder, ToolOutput, TurnRecorder, TurnSettings,
};
pub use selvedge_thread_store::{ForkThread, LineStart, Result, StoreError, ThreadReader, ThreadStore};
#[cfg(feature = "local")]
pub use selvedge_thread_store_local::LocalThreadStore;

/// Opens the threads in a home directory. Reads and creates nothing: the first thread creates the directory.
///
/// Other processes can use the same home at the same time, Codex among them. A thread has one writer at a time.
#[cfg(feature = "local")]
#[must_use]
pub fn open(home: impl AsRef<std::path::Path>) -> ThreadManager {
    ThreadManager::new(std::sync::Arc::new(LocalThreadStore::open(home.as_ref())))
}
