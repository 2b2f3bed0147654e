//! Administration of a home's index: its state, updating, checking and repairing it.

use std::path::Path;
use std::sync::Arc;

use selvedge_state::{
    CheckScope, IndexCheck, IndexError, IndexRepair, IndexStatus, SetAside, StateIndex, UpdateProgress, UpdateReport,
};

use super::HomeAdmin;
use crate::index::with_timers;

/// The opened index of a home.
#[derive(Debug)]
pub struct IndexAdmin {
    index: StateIndex,
}

impl HomeAdmin {
    /// Returns the path of the index's database, `None` if the index is disabled.
    #[must_use]
    pub fn index_path(&self) -> Option<&Path> {
        self.store.core.index.path()
    }

    /// Returns the progress of the background update of the index. `None` if there is no such update. Until it is done, the logs
    /// answer queries.
    #[must_use]
    pub fn index_progress(&self) -> Option<UpdateProgress> {
        self.store.core.index.progress()
    }

    /// Opens the index, and creates it if it is missing. A file at its path that cannot be used is set aside
    /// ([`IndexAdmin::set_aside`]). Returns `None` if the index is disabled.
    ///
    /// # Errors
    /// If the file cannot be created, opened or set aside.
    pub async fn open_index(&self) -> Result<Option<IndexAdmin>, IndexError> {
        let Some(path) = self.index_path() else { return Ok(None) };
        let index = with_timers(StateIndex::open_with(Arc::clone(&self.store.core.cached_home), path)).await?;
        if index.set_aside().is_some() {
            self.forget_opened().await;
        }
        Ok(Some(IndexAdmin { index }))
    }

    /// Updates the index, and creates it if it is missing. Returns `None` without doing so if another process is filling the index
    /// in the background, or if the index is disabled.
    ///
    /// # Errors
    /// As [`open_index`](Self::open_index) and [`IndexAdmin::update`].
    pub async fn fill_index(&self) -> Result<Option<UpdateReport>, IndexError> {
        let Some(path) = self.index_path() else { return Ok(None) };
        with_timers(StateIndex::fill(Arc::clone(&self.store.core.cached_home), path)).await
    }

    /// Compares the index with the files of the home, and changes neither. Returns `None` if the index is disabled or missing.
    ///
    /// # Errors
    /// [`IndexError::Busy`] if other processes hold the database; others if the home's directories cannot be read. An index that
    /// cannot be used is a finding.
    pub async fn check_index(&self, scope: &CheckScope) -> Result<Option<IndexCheck>, IndexError> {
        let Some(path) = self.index_path() else { return Ok(None) };
        let check = with_timers(StateIndex::check(&self.store.core.home, path, scope)).await?;
        Ok(Some(check).filter(|check| check.exists))
    }

    /// Repairs what a check of the index found, and updates the index. If the file was replaced, the store opens the new one.
    ///
    /// # Errors
    /// As [`open_index`](Self::open_index) and [`IndexAdmin::update`].
    pub async fn repair_index(&self, check: &IndexCheck) -> Result<IndexRepair, IndexError> {
        let repair = with_timers(StateIndex::repair(&self.store.core.home, check)).await;
        if !matches!(&repair, Ok(IndexRepair { set_aside: None, .. })) {
            self.forget_opened().await;
        }
        repair
    }

    /// Closes the store's own connections, which are to the file that was set aside. Its next query opens the new file.
    async fn forget_opened(&self) {
        self.store.core.index.close().await;
    }
}

impl IndexAdmin {
    /// Returns what became of an unusable file at the path of the index. `None` if there was none.
    #[must_use]
    pub fn set_aside(&self) -> Option<&SetAside> {
        self.index.set_aside()
    }

    /// Compares the index with every file of the home, and changes nothing.
    ///
    /// # Errors
    /// If the home's directories or the database cannot be read.
    pub async fn status(&self) -> Result<IndexStatus, IndexError> {
        with_timers(self.index.status()).await
    }

    /// Brings the index up to date with the files of the home. `progress` is called for each batch of threads.
    ///
    /// # Errors
    /// If the home's directories cannot be read, or the database cannot be written. What was written until then stays.
    pub async fn update(&self, progress: impl FnMut(UpdateProgress)) -> Result<UpdateReport, IndexError> {
        with_timers(self.index.update(progress)).await
    }

    /// Clears the index and builds it again from the logs.
    ///
    /// # Errors
    /// As [`update`](Self::update).
    pub async fn rebuild(&self, progress: impl FnMut(UpdateProgress)) -> Result<UpdateReport, IndexError> {
        with_timers(async {
            self.index.clear().await?;
            self.index.update(progress).await
        })
        .await
    }

    /// Closes the database. Without this call nothing that was written is lost.
    pub async fn close(self) {
        with_timers(self.index.close()).await;
    }
}
