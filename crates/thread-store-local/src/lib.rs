//! Threads in a home directory.
//!
//! [`LocalThreadStore`] keeps the [`ThreadStore`](selvedge_thread_store::ThreadStore) contract on the files of a home and on
//! nothing else: the log is the truth, names are in the name index, and a thread is archived when its files are in the
//! archive. Opening a store reads nothing and makes nothing, whatever the size of the home.
//!
//! What is done with the files rather than with the threads, a check, a repair, compression, an update of the index, is a method of
//! [`HomeAdmin`], and everything that its methods take and return is exported here.
//!
//! Lists, rows and pages of turns and items come from an index ([`selvedge_state`]) that is made by the first question, follows
//! the files, whoever writes them, and can be deleted at any time. While it is being filled, or busy, or broken, the logs answer.
//!
//! # What costs what
//!
//! - An append costs one write, made by the calling task itself; batches of more than 256 KiB are handed to a blocking
//!   thread.
//! - A page of threads costs a look at directories and at a few files, and a query. Without an index it costs a walk over
//!   directories, and reading those files that can be on the page: a file's time of last
//!   change bounds when its log last grew, so the newest page opens few files. Of a file that is read for a listing, the
//!   lines that cannot say a fact are passed over unparsed.
//! - A fork or a rewind of a paginated thread writes one line or two, and reads from the end of the log back to the turn that
//!   is meant, whatever stands before it. The log has to be read as a whole when it is compressed, when a legacy rollback
//!   or a turn without an id stands on the way, and when the turn is more than 64 MiB back. A legacy fork copies the log,
//!   and so does detaching a fork.
//! - The index has one thread of the process's own, with the timers that it takes, so that the store works in any Tokio runtime.
//! - Which files there are is remembered: from the second look on, a directory is read again only if it changed. That costs a
//!   few hundred bytes of memory for each file.
//!
//! ```
//! use selvedge_protocol::{ResponseItem, SessionMeta, ThreadId, ThreadQuery, Timestamp};
//! use selvedge_thread_store::{BatchId, ThreadReader, ThreadStore};
//! use selvedge_thread_store_local::LocalThreadStore;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let home = tempfile::tempdir()?;
//! let store = LocalThreadStore::open(home.path());
//! let now: Timestamp = std::time::SystemTime::now().into();
//! let id = ThreadId::new(now);
//! store.create_thread(SessionMeta::new(id, now)).await?;
//! store.append_items(id, BatchId::generate(), &[ResponseItem::user_text("hello").into()]).await?;
//! store.shutdown_thread(id).await?;
//! assert_eq!(store.list_threads(&ThreadQuery::default()).await?.items[0].id, id);
//! # Ok(())
//! # }
//! ```

mod admin;
mod append;
mod archive;
mod boundary;
mod changes;
mod cold_turns;
mod compress;
mod context;
mod delete;
mod detach;
mod error;
mod export;
mod find;
mod fork;
mod history;
mod index;
mod index_runtime;
mod lines;
mod list;
mod live;
mod metadata;
mod revert;
mod row;
mod search;
mod segment;
mod segments;
mod stats;
mod store;
mod sync;
mod ticker;
mod turns;

pub use admin::{CompressionScope, HomeAdmin, IndexAdmin, UncompressedFile, UncompressedThread};
pub use compress::Compressed;
pub use index::IndexLocation;
pub use store::{HomeOptions, LocalThreadStore};

// What the methods of `HomeAdmin` take and return.
pub use selvedge_rollout::doctor::{
    CheckedTotals, Diagnosis, DiagnosisProgress, Finding, FindingKind, RepairAction, RepairStep, SegmentReferences,
    Severity,
};
pub use selvedge_state::{
    CheckScope, IndexCheck, IndexError, IndexFinding, IndexFindingKind, IndexRepair, IndexStatus, SetAside,
    UpdateProgress, UpdateReport,
};
