//! The index of a home: a copy of what its rollouts contain, kept so that queries are fast.
//!
//! The [glossary](../../../docs/glossary.md) defines the terms.
//!
//! The log is the truth, and this is a cache of it in SQLite. [`StateIndex::update`] compares it with the files of the home and
//! reads what changed. Of a log that only grew, it reads only what was appended. An index that was updated and one that was
//! built from scratch have the same rows. Deleting the file loses nothing. A file that is not an index, is damaged or was made by
//! another version is set aside when it is opened, and a new index is created.
//!
//! Several processes share one index. Writers take turns in short transactions, and readers never wait.
//!
//! # Layers
//!
//! Each layer calls the ones below it only:
//!
//! | layer | files |
//! | --- | --- |
//! | entry points | `backfill`, `check`, `status` |
//! | refreshes the index before a query | `refresh` |
//! | updates: writes what logs contain | `update`, `scan_pool`, `scan`, `open_turns`, `write`, `names`, `search::merge` |
//! | compares files with the database | `plan`, `indexed_state`, `home_snapshot`, `generation` |
//! | queries, beside all of these | `list`, `turns`, `thread_log`, `stats`, `search` |
//! | reads the database of Codex, which is no part of the index | `codex_database` |
//! | what all share | `index`, `database`, `sql`, `paths`, `limits`, … |
//!
//! # Example
//!
//! ```
//! use selvedge_protocol::{ResponseItem, SessionMeta, ThreadId, ThreadQuery};
//! use selvedge_rollout::{RolloutHome, RolloutRecorder, now};
//! use selvedge_state::StateIndex;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! let home = RolloutHome::new(dir.path());
//! let id = ThreadId::new(now());
//! let recorder = RolloutRecorder::create(&home, SessionMeta::new(id, now()))?;
//! recorder.append(&[ResponseItem::user_text("hello").into()])?;
//!
//! let index = StateIndex::open(&home, &StateIndex::path_in(&home)).await?;
//! let report = index.update(|_| {}).await?;
//! assert_eq!(report.read_whole, 1);
//! assert_eq!(index.list_threads(&ThreadQuery::default()).await?.items[0].id, id);
//! # Ok(())
//! # }
//! ```

mod backfill;
mod blocking;
mod check;
mod codex_database;
mod database;
mod error;
mod file_columns;
mod generation;
mod home_snapshot;
mod index;
mod indexed_file;
mod indexed_prefix;
mod indexed_state;
mod limits;
mod list;
mod names;
mod open_turns;
mod paths;
mod plan;
mod record;
mod refresh;
mod resolved;
mod scan;
mod scan_pool;
mod search;
mod sql;
mod stats;
mod status;
mod thread_log;
mod turn_reader;
mod turn_rows;
mod turns;
mod update;
mod write;

pub use crate::check::{CheckScope, IndexCheck, IndexFinding, IndexFindingKind, IndexRepair};
pub use crate::codex_database::{CodexDatabaseError, CodexRecord};
pub use crate::database::SetAside;
pub use crate::error::IndexError;
pub use crate::generation::IndexGeneration;
pub use crate::index::StateIndex;
pub use crate::refresh::RefreshOutcome;
pub use crate::status::IndexStatus;
pub use crate::update::{UpdateProgress, UpdateReport};
