//! `LocalThreadStore`: threads in a home directory.
//!
//! The [glossary](../../../docs/glossary.md) defines the terms.
//!
//! [`LocalThreadStore`] keeps the [`ThreadStore`](selvedge_thread_store::ThreadStore) contract on the files of a home and on
//! nothing else. The log is the truth, names are in the name index, and a thread is archived if its files are in the archive.
//! Opening a store reads and creates no files, whatever the size of the home.
//!
//! Operations on the files rather than on the threads are methods of [`HomeAdmin`]: checks, repairs, compression, updates of the
//! index. Everything that these methods take and return is exported here.
//!
//! Lists, records and pages of turns and items come from an index, an SQLite database. The first query creates it, it notices
//! changes of the files by any program, and it can be deleted at any time. While it is being filled, or is busy or broken,
//! the logs answer.
//!
//! The index belongs to the feature `index`, which is on by default. Without it no SQLite is linked, so that the store can be used
//! in one program with another crate that links SQLite, such as `rusqlite`. Then the logs answer everything, and [`HomeAdmin`] has
//! neither the index nor what it knows of the databases of Codex.
//!
//! # What costs what
//!
//! - An append costs one write, made by the calling task itself. A batch of 256 KiB or more is written by a blocking thread.
//! - A page of threads costs a rescan, which stats the directories and a few files, and a query. Without an index it costs a walk
//!   over the directories, and reading those files that can be on the page: a file's modification time bounds when its log last
//!   grew, so the newest page opens few files. Within such a file, lines that cannot contain metadata are skipped unparsed.
//! - A fork or a revert of a paginated thread writes one line or two. It reads the log from its end back to the turn in
//!   question, whatever comes before that. It reads the whole log if the log is compressed, if a legacy rollback or a turn
//!   without an id is on the way, or if the turn is more than 64 MiB back. A legacy fork copies the log, and so does
//!   detaching a fork.
//! - The index takes one thread of the process, with the timers that it needs, so that the store works in any Tokio runtime.
//! - The files of a home are cached: after the first scan, a directory is read again only if it has changed. That costs a few
//!   hundred bytes of memory for each file.
//!
//! # Layers of this crate
//!
//! ```text
//!   admin                 HomeAdmin: operations on files
//!   store                 LocalThreadStore: the trait implementations, and where their work runs
//!   read    write         operations: methods of StoreCore, one file each; write uses read
//!   store_core            what all clones of a store share: home, cached files, live threads, queues, index handle
//!   index                 when the index answers, and when the logs do
//!   error   limits        translated errors; intervals and limits with their trade-offs
//! ```
//!
//! A file uses files of its own layer and of those below it. The order of locks is in `store_core.rs`; what a crash between two
//! steps of a change leaves is in the file of the change.
//!
//! # Example
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
mod blocking;
mod error;
mod index;
mod limits;
mod read;
mod store;
mod store_core;
mod write;

#[cfg(feature = "index")]
pub use admin::{CodexChange, DeletionGuard, IndexAdmin, UnnoticedChange};
pub use admin::{CompressionScope, HomeAdmin, HomeMaintenance, UncompressedFile, UncompressedThread};
pub use index::IndexLocation;
pub use store::{HomeOptions, LocalThreadStore};
pub use write::compress::CompressionReport;
pub use write::import_file::ImportedFile;

// What the methods of `HomeAdmin` take and return, beside the types above.
pub use selvedge_rollout::doctor::{
    CheckedTotals, Diagnosis, DiagnosisProgress, Finding, FindingKind, RepairAction, RepairStep, SegmentReferences,
    Severity,
};
pub use selvedge_rollout::{DivergedSegment, LeftOut, LeftOutKind, LockHolder};
#[cfg(feature = "index")]
pub use selvedge_state::{
    CheckScope, CodexRecord, IndexCheck, IndexError, IndexFinding, IndexFindingKind, IndexRepair, IndexStatus,
    SetAside, UpdateProgress, UpdateReport,
};
