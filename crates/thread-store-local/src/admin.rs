//! Administration of the files of a home, beside the contract.
//!
//! A [`ThreadStore`](selvedge_thread_store::ThreadStore) knows threads and no files. [`HomeAdmin`] is for programs that maintain
//! the files of a home: it checks and repairs them, compresses them, and updates the index.

#[cfg(feature = "index")]
mod codex;
mod compress;
mod doctor;
mod import;
#[cfg(feature = "index")]
mod index;
mod maintenance;

use std::path::{Path, PathBuf};

use selvedge_protocol::{Durability, ThreadId};
use selvedge_rollout::{DivergedSegment, LeftOut};
use selvedge_thread_store::{Result, StoreError};

#[cfg(feature = "index")]
pub use self::codex::{CodexChange, DeletionGuard, UnnoticedChange};
pub use self::compress::{CompressionScope, UncompressedFile, UncompressedThread};
#[cfg(feature = "index")]
pub use self::index::IndexAdmin;
pub use self::maintenance::HomeMaintenance;
use crate::store::LocalThreadStore;

/// The administration of a store's home: operations on its files rather than on its threads.
///
/// It works on the store that it comes from ([`LocalThreadStore::admin`]): it has the store's durability level, file system and
/// live threads.
#[derive(Clone, Debug)]
pub struct HomeAdmin {
    store: LocalThreadStore,
}

impl LocalThreadStore {
    /// Returns the administration of the home's files: checks and repairs, compression, the index.
    #[must_use]
    pub fn admin(&self) -> HomeAdmin {
        HomeAdmin { store: self.clone() }
    }
}

impl HomeAdmin {
    /// Returns the path of the home.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.store.home()
    }

    /// Returns the level at which changes are acknowledged.
    #[must_use]
    pub fn durability(&self) -> Durability {
        self.store.durability()
    }

    /// Returns the path of the file that holds a thread's newest segment. `None` if there is no such thread.
    ///
    /// # Errors
    /// `Backend` if the home cannot be read.
    pub async fn thread_file(&self, thread_id: ThreadId) -> Result<Option<PathBuf>> {
        let file = self.store.reading(move |core| Ok(core.resolve_now(thread_id)?.newest().path.clone())).await;
        match file {
            Err(StoreError::NotFound { .. }) => Ok(None),
            outcome => outcome.map(Some),
        }
    }

    /// Returns the segments of a thread with lines that no history contains, because a program went on in a segment that another one
    /// had abandoned. A thread with one segment costs nothing, and of others only the lines in question are read.
    ///
    /// # Errors
    /// `Backend` if a file cannot be read.
    pub async fn diverged(&self, thread_id: ThreadId) -> Result<Vec<DivergedSegment>> {
        self.store.reading(move |core| core.diverged(thread_id)).await
    }

    /// Returns what the queries so far have left out, by path: directories and files that cannot be read, and what does not
    /// belong among the rollouts. Reads nothing.
    #[must_use]
    pub fn left_out(&self) -> Vec<LeftOut> {
        self.store.core.cached_home.left_out()
    }

    /// Closes the store's index, as [`LocalThreadStore::close`] does.
    pub async fn close(&self) {
        self.store.close().await;
    }
}
