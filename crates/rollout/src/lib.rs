//! The bytes of a thread: where its files are, how they are written and how they are read.
//!
//! A thread is a log in JSON lines, in one *segment* file or several. This crate knows the directory that holds them
//! ([`RolloutHome`]), appends to them ([`RolloutRecorder`]), reads them ([`RolloutReader`], [`ReverseReader`]), follows a
//! history through the segments it is built on ([`ResolvedHistory`]), keeps a second writer out ([`WriterLock`]), keeps what
//! others refer to from being deleted ([`ReferenceLock`]) and keeps the names that people give to threads ([`NameIndex`]). It
//! knows nothing of stores and indexes.
//!
//! The format itself is described in `docs/rollout-format.md`.
//!
//! # Promises
//!
//! - Reading never changes a file, and never fails for what a file holds: a reader gives every intact line with its place,
//!   and the places of what is not intact. It fails only when the system does.
//! - What [`RolloutRecorder::append`] acknowledged is in the file, once, in order, and as durable as the home's
//!   [level](RolloutHome::with_durability). A failed append left nothing.
//! - An operation that a crash cuts short leaves the old or the new, and what it left beside that is taken away by whoever
//!   writes there next.
//! - Every effect on files goes through [`FileSystem`].
//! - Files are made with mode 0600 and directories with mode 0700: transcripts hold secrets.
//!
//! ```
//! use selvedge_protocol::{ResponseItem, SessionMeta, ThreadId};
//! use selvedge_rollout::{Entry, RolloutHome, RolloutReader, RolloutRecorder, now};
//!
//! # let dir = tempfile::tempdir()?;
//! let home = RolloutHome::new(dir.path());
//! let id = ThreadId::new(now());
//! let recorder = RolloutRecorder::create(&home, SessionMeta::new(id, now()))?;
//! recorder.append(&[ResponseItem::user_text("hello").into()])?;
//!
//! let lines: Vec<Entry> = RolloutReader::open(&recorder.path())?.collect::<Result<_, _>>()?;
//! assert_eq!(lines.len(), 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod backoff;
mod clock;
mod compress;
pub mod doctor;
mod error;
mod file_system;
mod files;
mod history;
mod identity;
mod import;
mod layout;
mod lock;
mod log_file;
mod names;
mod reader;
mod recorder;
mod reference_lock;
mod reverse;
mod sweep;
mod walk;

pub use backoff::{Backoff, retry_if_moved};
pub use clock::now;
pub use error::{LostFile, RolloutError};
pub use file_system::{FileSystem, OpenFile, OpenMode, SystemFiles};
pub use history::{
    BackwardEntry, BackwardReader, HistoryEntry, HistoryPart, HistoryReader, MissingBase, ResolvedHistory, read_head,
};
pub use identity::{FileIdentity, FileStamp};
pub use layout::{HomeFiles, RolloutFile, RolloutFileName, RolloutHome};
pub use lock::{LockHolder, WriterLock};
pub use names::{NameEntry, NameIndex};
pub use reader::{RolloutReader, open_bytes};
pub use recorder::{AppendedLines, RolloutRecorder, WrittenBatch};
pub use reference_lock::ReferenceLock;
pub use reverse::ReverseReader;
pub use selvedge_history::PrefixEnd;
pub use selvedge_protocol::log::{DamageKind, DamagedRange, Entry, LineRecord, MAX_LINE_BYTES};
pub use walk::{CachedHome, HomeDirectories};
