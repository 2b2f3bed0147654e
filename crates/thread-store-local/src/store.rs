//! [`LocalThreadStore`]: opening it, and its life.
//!
//! Above everything else in the crate: [`tasks`] runs operations where they may block, [`reader`] and [`writer`] implement the
//! traits of the contract, each method by the operation that does it, and [`waiting`] waits for changes.

mod reader;
mod tasks;
mod waiting;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use selvedge_protocol::Durability;
use selvedge_rollout::RolloutHome;
use selvedge_thread_store::Result;

use crate::error::store_error;
use crate::index::IndexLocation;
use crate::store_core::StoreCore;

/// Options for opening a home.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HomeOptions {
    /// The level at which changes are acknowledged. It applies to everything that changes the home: what was appended, created,
    /// moved or removed when a call returns.
    pub durability: Durability,
    /// Where the index is.
    pub index: IndexLocation,
}

impl From<Durability> for HomeOptions {
    fn from(durability: Durability) -> Self {
        Self { durability, ..Self::default() }
    }
}

impl From<IndexLocation> for HomeOptions {
    fn from(index: IndexLocation) -> Self {
        Self { index, ..Self::default() }
    }
}

/// A store of threads in a home directory. Clones share the live threads.
#[derive(Clone, Debug)]
pub struct LocalThreadStore {
    pub(crate) core: Arc<StoreCore>,
}

impl LocalThreadStore {
    /// Creates the directory of a home and its missing ancestors, private to their owner and durable at any level. If root does it,
    /// they belong to the owner of the directory in which they are created. Succeeds if the home exists.
    ///
    /// # Errors
    /// `Backend` if the system fails to do it.
    pub fn create_home(home: &Path) -> Result<()> {
        RolloutHome::new(home).create().map_err(store_error)
    }

    /// Opens the store of the home at this path, at durability level `written`. Reads and creates no files: a missing home is
    /// empty, and is created when the first thread is written.
    #[must_use]
    pub fn open(home: impl Into<PathBuf>) -> Self {
        Self::open_with(home, HomeOptions::default())
    }

    /// Opens the store of a home with options: a durability level, a location of the index, or both as [`HomeOptions`].
    #[must_use]
    pub fn open_with(home: impl Into<PathBuf>, options: impl Into<HomeOptions>) -> Self {
        let HomeOptions { durability, index } = options.into();
        Self::of(RolloutHome::new(home).with_durability(durability), index)
    }

    /// Opens the store of this home, with the home's durability level and file system, and with its index at this location.
    #[must_use]
    pub fn of(home: RolloutHome, index: IndexLocation) -> Self {
        Self { core: Arc::new(StoreCore::new(home, index)) }
    }

    /// Returns the path of the home.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.core.home.root()
    }

    /// Returns the level at which changes are acknowledged.
    #[must_use]
    pub fn durability(&self) -> Durability {
        self.core.home.durability()
    }

    /// Ends background tasks and closes the index. The store can still be used, and opens the index again.
    pub async fn close(&self) {
        self.core.index.close().await;
    }
}
