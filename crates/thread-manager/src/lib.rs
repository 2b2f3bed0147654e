//! The life of threads, over any store.
//!
//! The [glossary](../../../docs/glossary.md) defines the terms.
//!
//! [`ThreadManager`] starts, resumes, forks and rewinds threads in a
//! [`ThreadStore`](selvedge_thread_store::ThreadStore). It is also the one way to change the metadata of threads, live
//! or cold. [`LiveThread`] is a thread that an agent is writing: it applies the persistence policy, appends items, and
//! stores the metadata that derives from them. [`TurnRecorder`] records a turn of it, step by step. This crate knows no
//! concrete store.
//!
//! # History first, metadata second
//!
//! An append returns when its items are in the store. The metadata that derives from them is stored afterwards:
//!
//! - New facts, such as a first message or another model, are stored with the append that brings them.
//! - Token counts and times of the last change are stored at most once per [`METADATA_SYNC_INTERVAL`], and with each
//!   [`flush`](LiveThread::flush).
//!
//! So a crash leaves metadata that lags behind the log. The next writer of the thread derives the rest from the log.
//! The other order could leave metadata with facts that no log has, and nothing could find out which facts those are.
//!
//! # Dropped calls and lost answers
//!
//! A call on the store may be dropped halfway, or its answer may get lost. The manager repeats the same call while its
//! answer is lost, and every such call takes effect once. After a dropped call, the next call on the thread reads the
//! state of the thread from the store before it does anything else.
//!
//! # The runtime
//!
//! Calls belong in a Tokio runtime, of either flavour: current-thread or multi-thread.
//!
//! - It needs neither timers nor I/O. `enable_all` does no harm. Timers come from a thread of this crate, which runs only
//!   while one is set.
//! - No call blocks the thread of the runtime, except for small writes: an append of less than 256 KiB to a thread that has a
//!   file is written by the calling task ([decision 3](../../../docs/decisions/0003-writes-happen-inline.md)). Locks of other
//!   processes are waited for on the blocking pool.
//! - Outside of any runtime, a call works as far as its store does, and nothing panics. The store over files returns a
//!   `Backend` error that says what is missing. What happens in the background does not happen then: a dropped call may stop
//!   halfway, and progress is stored with the next flush.
//!
//! ```
//! use std::sync::Arc;
//! use selvedge_thread_manager::{NewThread, ThreadManager, TurnSettings};
//! use selvedge_thread_store::InMemoryThreadStore;
//! use serde_json::json;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let manager = ThreadManager::new(Arc::new(InMemoryThreadStore::new()));
//! let thread = manager.start(NewThread::in_dir("/srv").model("gpt-x")).await?;
//! let turn = thread.begin_turn(TurnSettings::default()).await?;
//! turn.user_message("how many files are there?").await?;
//! let call = turn.tool_call("call_1", "count_files", &json!({"dir": "/srv"})).await?;
//! call.finish("12").await?;
//! turn.agent_message("There are 12 files.").await?;
//! turn.complete().await?;
//! thread.shutdown().await?;
//!
//! let thread = manager.open(thread.id()).await?;
//! assert_eq!(thread.model_input().await?.len(), 4);
//! # Ok(())
//! # }
//! ```

mod clock;
mod compaction;
mod completion;
mod derived_record;
mod follow;
mod live;
mod live_state;
mod lost_answer;
mod manager;
mod metadata_sync;
mod new_head;
mod new_thread;
mod prompt;
mod recorded;
mod recorded_turn;
mod registry;
mod starting;
mod timer;
mod timing;
mod tool_call;
mod turn_recorder;
mod turn_settings;
mod turn_tracker;
mod working_directory;

pub use follow::{FollowEvent, ThreadFollower};
pub use live::LiveThread;
pub use manager::{ResumedThread, ShutdownReport, ThreadManager};
pub use new_thread::NewThread;
pub use prompt::{AgentText, Prompt};
pub use recorded::Recorded;
pub use starting::StartingThread;
#[doc(hidden)]
pub use timer::wake_timers;
pub use timing::METADATA_SYNC_INTERVAL;
pub use tool_call::{Approval, ToolCallRecorder, ToolOutput};
pub use turn_recorder::TurnRecorder;
pub use turn_settings::TurnSettings;
