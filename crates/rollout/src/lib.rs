//! The bytes of a thread: which files hold them, how they are written and how they are read.
//!
//! The [glossary](../../../docs/glossary.md) defines the terms.
//!
//! A thread is a log in JSON lines. It consists of one or several *segments*, each of which is a file. This crate has:
//!
//! - [`RolloutHome`]: the directory that holds the files, and [`CachedHome`], which remembers what a scan of it found;
//! - [`RolloutRecorder`]: appends to a segment;
//! - [`RolloutReader`] and [`ReverseReader`]: read a segment forwards and backwards;
//! - [`ResolvedHistory`]: follows a history through the segments that it is built on;
//! - [`WriterLock`]: keeps a second writer out of a thread;
//! - [`ReferenceLock`]: keeps a segment from being deleted while another one begins to refer to it;
//! - [`MaintenanceLock`]: keeps other programs from rewriting many files at the same time;
//! - [`NameIndex`]: the names that users give to threads;
//! - [`doctor`]: diagnosis and repair.
//!
//! The crate does not know stores or indexes. `docs/rollout-format.md` describes the format.
//!
//! # Promises
//!
//! - Reading never changes a file. It fails only when the system fails, never because of the content of a file: a reader yields
//!   every intact line with its position, and the range of everything that is damaged.
//! - What [`RolloutRecorder::append`] acknowledged is in the file, once, in order, and as durable as the home's
//!   [level](RolloutHome::with_durability). A failed append leaves nothing.
//! - An operation that a crash interrupts leaves the old state or the new one. Leftover temporary files are removed by the next
//!   process that writes in the same directory.
//! - Every effect on files goes through [`FileSystem`].
//! - Files are created with mode 0600 and directories with mode 0700, because transcripts hold secrets.
//!
//! ```
//! use selvedge_protocol::{ResponseItem, SessionMeta, ThreadId};
//! use selvedge_rollout::{RolloutHome, RolloutReader, RolloutRecorder, now};
//! use selvedge_protocol::log::Entry;
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
pub mod doctor;
mod error;
mod file_system;
mod files;
mod history;
mod home;
mod identity;
mod locks;
mod log_file;
mod names;
mod reader;
mod recorder;
mod reverse;
mod timing;

pub use backoff::{Backoff, retry_if_moved};
pub use clock::now;
pub use error::{LostFile, RolloutError};
#[doc(hidden)]
pub use file_system::sealed;
pub use file_system::{FileSystem, OpenFile, OpenMode, SystemFiles};
pub use history::{
    BackwardEntry, BackwardReader, DivergedSegment, HistoryEntry, HistoryPart, HistoryReader, MissingBase,
    ResolvedHistory, read_head,
};
pub use home::{
    CachedHome, HomeDirectories, HomeFiles, LeftOut, LeftOutKind, RolloutFile, RolloutFileName, RolloutHome,
};
pub use identity::{FileIdentity, FileStamp};
pub use locks::{LockHolder, MaintenanceLock, ReferenceLock, WriterLock};
pub use names::{NameEntry, NameIndex};
pub use reader::{RolloutReader, open_bytes};
pub use recorder::{AppendedLines, RolloutRecorder, WrittenBatch};
pub use reverse::ReverseReader;
