//! Fills an index in the background, in one process at a time.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use selvedge_rollout::{CachedHome, RolloutHome};

use crate::database::{beside, open_or_create};
use crate::error::Result;
use crate::index::StateIndex;
use crate::update::UpdateReport;

impl StateIndex {
    /// Updates the index in the file at `path`, as [`update`](Self::update) does, and closes it. Does nothing and returns `None`
    /// while another process does this.
    ///
    /// # Errors
    /// As [`open`](Self::open) and [`update`](Self::update).
    pub async fn fill(cached_home: Arc<CachedHome>, path: &Path) -> Result<Option<UpdateReport>> {
        let Some(_lock) = BackfillLock::try_acquire(cached_home.home(), path)? else { return Ok(None) };
        let index = Self::open_with(cached_home, path).await?;
        let report = index.update(|_| {}).await;
        index.close().await;
        report.map(Some)
    }
}

/// The lock of the process that fills an index. It is a lock of the operating system on a file beside the index, so that it ends
/// with the process. Dropping it removes the file.
#[derive(Debug)]
struct BackfillLock {
    path: PathBuf,
    _file: File,
}

impl BackfillLock {
    /// Takes the lock. Returns `None` if another process holds it. If files cannot be locked, every process gets it: filling an
    /// index twice costs only time.
    fn try_acquire(home: &RolloutHome, index: &Path) -> Result<Option<Self>> {
        let path = beside(index, ".filling");
        // Each attempt creates the file if it is missing, because a holder removes it at the end.
        let file = open_or_create(home, &path)?;
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            return Ok(None);
        }
        Ok(Some(Self { path, _file: file }))
    }
}

impl Drop for BackfillLock {
    fn drop(&mut self) {
        // If the file remains, it excludes no process: only a lock on it does.
        let _ = std::fs::remove_file(&self.path);
    }
}
