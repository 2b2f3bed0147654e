//! What is done with the files of a home, beside the contract.
//!
//! A [`ThreadStore`](selvedge_thread_store::ThreadStore) says nothing of files. [`HomeAdmin`] is for whoever looks after those
//! of a home: it checks and repairs them, compresses them, and updates the index.

mod compress;
mod doctor;
mod index;

use std::fs;
use std::path::{Path, PathBuf};

use selvedge_protocol::{Durability, ThreadId};
use selvedge_thread_store::{Result, StoreError};

pub use self::compress::{CompressionScope, UncompressedFile, UncompressedThread};
pub use self::index::IndexAdmin;
use crate::store::LocalThreadStore;

/// The administration of a store's home: what is done with its files rather than with its threads.
///
/// It works on the store that it comes from ([`LocalThreadStore::admin`]): at its durability, with its file system, and
/// knowing which threads are live in it.
#[derive(Clone, Debug)]
pub struct HomeAdmin {
    store: LocalThreadStore,
}

impl HomeAdmin {
    pub(crate) const fn new(store: LocalThreadStore) -> Self {
        Self { store }
    }

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

    /// Returns whether Codex keeps an index of its own in this home. It records there which segment of a thread is the newest,
    /// and does not see when another program begins one.
    ///
    /// A home that cannot be read has none.
    #[must_use]
    pub fn has_codex_index(&self) -> bool {
        let names = fs::read_dir(self.home()).into_iter().flatten().flatten().map(|entry| entry.file_name());
        let mut names = names.filter_map(|name| name.into_string().ok());
        names.any(|name| name.starts_with("state_") && name.ends_with(".sqlite"))
    }

    /// Returns the file of a thread's newest segment, as it is named. `None` if there is no such thread.
    ///
    /// # Errors
    /// `Backend` if the home cannot be read.
    pub async fn thread_file(&self, thread_id: ThreadId) -> Result<Option<PathBuf>> {
        let file = self.store.reading(move |store| Ok(store.resolve_now(thread_id)?.newest().path.clone())).await;
        match file {
            Err(StoreError::NotFound { .. }) => Ok(None),
            outcome => outcome.map(Some),
        }
    }

    /// Closes the store's index, as [`LocalThreadStore::close`] does.
    pub async fn close(&self) {
        self.store.close().await;
    }
}
