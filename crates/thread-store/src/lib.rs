//! The contract of a store of threads.
//!
//! The [glossary](../../../docs/glossary.md) defines the terms.
//!
//! [`ThreadReader`] has everything that needs no writer: lists, searches, exports, copies, tails. [`ThreadStore`] adds
//! the life of a writer and every change. A store may keep its threads in a directory of logs, in a database or in
//! memory.
//!
//! The documentation of the two traits *is* the contract, method by method: what is durable when, what concurrent
//! callers see, and which errors there are. [`InMemoryThreadStore`] is a complete store and the reference for what the
//! contract means.
//!
//! # Vocabulary
//!
//! - A thread is *live* in a store while the store holds its writer: from [`create_thread`](ThreadStore::create_thread)
//!   or [`resume_thread`](ThreadStore::resume_thread) to [`shutdown_thread`](ThreadStore::shutdown_thread) or
//!   [`discard_thread`](ThreadStore::discard_thread). Otherwise it is *cold*.
//! - A new thread is *lazy*: no other process sees it before its first append or
//!   [`persist_thread`](ThreadStore::persist_thread).
//! - *History first, metadata second*: metadata may lag behind the log and is never ahead of it.
//! - A thread's log consists of *segments*. A segment can continue at a position in another one, which its *head* (a
//!   `session_meta` line) names. So a history goes through a *chain* of segments. Some may belong to other threads.
//! - *Damage* is a range of stored bytes that is no intact line. A *gap* is a part of a history that is missing in the
//!   store.
//!
//! # For authors of a store
//!
//! [`implement`] has what every store needs and does not have to write again. It cuts pages, remembers batches and
//! finds out what changed. `selvedge_history` determines what items mean for a store: where a turn boundary is, and
//! what a fork, a revert and a change of metadata write. [`InMemoryThreadStore`] is built from both and shows how to
//! combine them. The crate `selvedge-thread-store-conformance` checks any store against the contract.
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
mod history_walk;
pub mod implement;
mod lines;
mod maintenance;
mod memory;
mod reader;
mod segments;
mod store;
mod store_methods;
mod traced;
mod types;

pub use batch::BatchId;
pub use changes::{ChangePage, ThreadChange};
pub use error::{BoxError, Holder, Recovery, Result, StoreError};
pub use lines::{EntryKind, LineEntry, LinePage, LinePosition, LineQuery, LineSelect, LineStart};
pub use maintenance::{MaintenanceProgress, MaintenanceReport, MaintenanceRequest};
pub use memory::InMemoryThreadStore;
pub use reader::ThreadReader;
pub use segments::{SegmentInfo, SegmentPart};
pub use store::ThreadStore;
pub use traced::TracedStore;
pub use types::{Appended, Damage, ForkThread, MetadataOrigin, RevertThread, ThreadHistory, ThreadLookup, WriterState};
