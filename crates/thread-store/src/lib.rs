//! The contract of a store of threads.
//!
//! [`ThreadReader`] is what needs no writer: lists, searches, exports, copies, tails. [`ThreadStore`] adds the life of a writer and
//! every change. Behind them may be a directory of logs, a database, memory. The traits' documentation *is* the contract, method by method: what is durable when, what concurrent callers see,
//! which errors there are. [`InMemoryThreadStore`] is complete and is the reference for what the contract means.
//!
//! # Vocabulary
//!
//! - A thread is *live* in a store while the store holds its writer: from [`create_thread`](ThreadStore::create_thread) or
//!   [`resume_thread`](ThreadStore::resume_thread) to [`shutdown_thread`](ThreadStore::shutdown_thread) or
//!   [`discard_thread`](ThreadStore::discard_thread). Otherwise it is *cold*.
//! - A created thread is *lazy*: nobody sees it before its first append or [`persist_thread`](ThreadStore::persist_thread).
//! - *History first, metadata second*: metadata may lag behind the log and never leads it.
//!
//! # For those who write a store
//!
//! What two stores would otherwise both write is here once: [`implement`] cuts pages, also of lines, remembers batches and finds
//! out what changed. What items mean for a store (where a cut is, what a fork, a revert and a change of metadata
//! write) is said by `selvedge_history`. [`InMemoryThreadStore`] is made of them and shows how they go together. The crate
//! `selvedge-thread-store-conformance` checks any store against the contract.
//!
//! ```
//! # use selvedge_protocol::{ResponseItem, RolloutItem, SessionMeta, ThreadId, Timestamp};
//! # use selvedge_thread_store::{BatchId, InMemoryThreadStore, ThreadReader, ThreadStore};
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let store = InMemoryThreadStore::new();
//! let now: Timestamp = "2026-11-21T09:08:56.680Z".parse()?;
//! let id = ThreadId::new(now);
//! store.create_thread(SessionMeta::new(id, now)).await?;
//! store.append_items(id, BatchId::generate(), &[ResponseItem::user_text("hello").into()]).await?;
//! assert_eq!(store.load_history(id).await?.lines.len(), 2);
//! store.shutdown_thread(id).await?;
//! # Ok(())
//! # }
//! ```

mod batch;
mod changes;
mod error;
pub mod implement;
mod lines;
mod maintenance;
mod memory;
mod provided;
mod reader;
mod segments;
mod store;
mod types;

pub use batch::BatchId;
pub use changes::{ChangePage, ThreadChange};
pub use error::{BoxError, Holder, Recovery, Result, StoreError};
pub use lines::{EntryKind, LineEntry, LinePage, LinePosition, LineQuery, LineSelect, LineStart};
pub use maintenance::{MaintenanceProgress, MaintenanceReport, MaintenanceRequest};
pub use memory::InMemoryThreadStore;
pub use reader::ThreadReader;
pub use segments::{SegmentInfo, SegmentPart};
pub use selvedge_protocol::TurnBoundary;
pub use store::ThreadStore;
pub use types::{Appended, Damage, ForkThread, MetadataOrigin, RevertThread, ThreadHistory, ThreadLookup, WriterState};
