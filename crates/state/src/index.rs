//! The index of one home: the state that all its operations share.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use selvedge_rollout::{CachedHome, HomeFiles, RolloutHome};

use crate::database::{Database, SetAside};
use crate::error::Result;
use crate::open_turns::OpenTurnCache;
use crate::search::directory::Directory;

/// The index of one home.
#[derive(Clone, Debug)]
pub struct StateIndex {
    pub(crate) home: RolloutHome,
    pub(crate) cached_home: Arc<CachedHome>,
    pub(crate) database: Arc<Database>,
    set_aside: Option<SetAside>,
    /// The directories of search runs that were read. A run never changes, so that they stay valid.
    pub(crate) directories: Arc<Mutex<HashMap<i64, Arc<Directory>>>>,
    /// The files of the home at the time when the index last knew all of them.
    pub(crate) last_files: Arc<Mutex<Option<Arc<HomeFiles>>>>,
    pub(crate) open_turns: Arc<OpenTurnCache>,
}

impl StateIndex {
    /// Returns the default path of the index of a home.
    #[must_use]
    pub fn path_in(home: &RolloutHome) -> PathBuf {
        home.root().join("selvedge-index.sqlite")
    }

    /// Opens the index of `home` in the file at `path`, and creates the file if it is missing. Reads none of the rollouts.
    ///
    /// # Errors
    /// If the file cannot be created, opened or set aside.
    pub async fn open(home: &RolloutHome, path: &Path) -> Result<Self> {
        Self::open_with(Arc::new(CachedHome::new(home.clone())), path).await
    }

    /// Opens the index as [`open`](Self::open) does, with a shared cache of the home.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_with(cached_home: Arc<CachedHome>, path: &Path) -> Result<Self> {
        let (database, set_aside) = Database::open(cached_home.home(), path).await?;
        Ok(Self { set_aside, ..Self::with_database(cached_home, database) })
    }

    /// Creates the index from a database that is open.
    pub(crate) fn with_database(cached_home: Arc<CachedHome>, database: Database) -> Self {
        Self {
            home: cached_home.home().clone(),
            cached_home,
            database: Arc::new(database),
            set_aside: None,
            directories: Arc::default(),
            last_files: Arc::default(),
            open_turns: Arc::default(),
        }
    }

    /// Returns the file that was found at the path of the index and could not be used. `None` if there was no such file.
    #[must_use]
    pub fn set_aside(&self) -> Option<&SetAside> {
        self.set_aside.as_ref()
    }

    /// Closes the database. Everything that was written is safe without closing, too.
    pub async fn close(&self) {
        self.database.close().await;
    }
}
