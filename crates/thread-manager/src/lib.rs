//! The life of threads.
//!
//! [`ThreadManager`] starts, resumes, forks and rewinds threads over any [`ThreadStore`](selvedge_thread_store::ThreadStore),
//! and is the one door to the metadata of threads, loaded or cold. [`LiveThread`] is a thread that an agent is writing: it
//! applies the persistence policy, appends, and tells the store what the items say of the thread. It knows no concrete
//! store.
//!
//! # Order
//!
//! History first, metadata second. An append returns when its items are in the store; what they say of the thread follows, and
//! may come later: counts of tokens and times of last change are told at most every [`METADATA_SYNC_INTERVAL`], and at each
//! [`flush`](LiveThread::flush). New facts (a first message, another model) are told at once.
//!
//! ```
//! use std::sync::Arc;
//! use selvedge_protocol::{ResponseItem, SessionMeta, ThreadId, Timestamp};
//! use selvedge_thread_manager::ThreadManager;
//! use selvedge_thread_store::InMemoryThreadStore;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let manager = ThreadManager::new(Arc::new(InMemoryThreadStore::new()));
//! let now: Timestamp = std::time::SystemTime::now().into();
//! let thread = manager.start(SessionMeta::new(ThreadId::new(now), now)).await?;
//! thread.append(&[ResponseItem::user_text("hello").into()]).await?;
//! thread.shutdown().await?;
//!
//! let resumed = manager.resume(thread.id()).await?;
//! assert_eq!(resumed.context.history, [ResponseItem::user_text("hello")]);
//! # Ok(())
//! # }
//! ```

mod live;
mod manager;
mod metadata_sync;
mod task;
mod timer;
mod unobserved;

pub use live::LiveThread;
pub use manager::{ResumedThread, RewindTo, ShutdownReport, StartingThread, ThreadManager};
pub use metadata_sync::METADATA_SYNC_INTERVAL;
#[doc(hidden)]
pub use timer::wake_timers;
