//! The index of a home: what its rollouts say, kept so that it can be asked at once.
//!
//! The log is the truth, and this is a cache of it in SQLite. [`StateIndex::sync`] compares it with the files of the home
//! and reads what changed, a log that only grew from where it was read to; an index that is up to date and one that is
//! built anew say the same, row for row. Deleting the file loses nothing. A file that is no index, that is damaged or of
//! another version is set aside when it is opened, and a new one begun.
//!
//! Several processes share one index: writers take turns in short transactions, and readers never wait.
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

mod check;
mod database;
mod error;
mod fill;
mod fresh;
mod list;
mod names;
mod plan;
mod row;
mod search;
mod stamp;
mod stats;
mod status;
mod told;
mod turns;
mod update;
mod varint;
mod write;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use selvedge_rollout::{CachedHome, HomeFiles, RolloutHome};

pub use crate::check::{CheckScope, IndexCheck, IndexFinding, IndexFindingKind, IndexRepair};
use crate::database::Database;
pub use crate::database::SetAside;
pub use crate::error::IndexError;
use crate::error::Result;
pub use crate::fresh::{IndexGeneration, RefreshOutcome};
use crate::search::run::Directory;
pub use crate::status::IndexStatus;
pub use crate::update::{UpdateProgress, UpdateReport};

/// The index of one home.
#[derive(Clone, Debug)]
pub struct StateIndex {
    home: RolloutHome,
    remembered: Arc<CachedHome>,
    database: Arc<Database>,
    set_aside: Option<SetAside>,
    /// Directories of runs of words that were read.
    directories: Arc<Mutex<HashMap<i64, Arc<Directory>>>>,
    /// The files of the home when the index was last up to date with which there are.
    seen: Arc<Mutex<Option<Arc<HomeFiles>>>>,
}

impl StateIndex {
    /// Where the index of a home is, unless somebody wants it elsewhere.
    #[must_use]
    pub fn path_in(home: &RolloutHome) -> PathBuf {
        home.root().join("selvedge-index.sqlite")
    }

    /// Opens the index of `home` in the file at `path`, which is made if it is missing. Reads none of the rollouts.
    ///
    /// # Errors
    /// When the file cannot be made, opened or set aside.
    pub async fn open(home: &RolloutHome, path: &Path) -> Result<Self> {
        Self::open_with(Arc::new(CachedHome::new(home.clone())), path).await
    }

    /// The same, with what somebody remembers of the home.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_with(remembered: Arc<CachedHome>, path: &Path) -> Result<Self> {
        let (database, set_aside) = Database::open(path).await?;
        let home = remembered.home().clone();
        Ok(Self {
            home,
            remembered,
            database: Arc::new(database),
            set_aside,
            directories: Arc::default(),
            seen: Arc::default(),
        })
    }

    /// The file that was found in the place of the index and could not be used, if there was one.
    #[must_use]
    pub fn set_aside(&self) -> Option<&SetAside> {
        self.set_aside.as_ref()
    }

    /// Closes the database. What was written stands without it as well.
    pub async fn close(&self) {
        self.database.close().await;
    }
}
