//! Filling an index in the background, which one process does at a time.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use selvedge_rollout::CachedHome;

use crate::StateIndex;
use crate::database::{beside, failed, private};
use crate::error::Result;
use crate::update::UpdateReport;

impl StateIndex {
    /// Brings the index in the file at `path` up to date, as [`update`](Self::update) does, and closes it. Does nothing and
    /// returns `None` while another process is filling it this way.
    ///
    /// # Errors
    /// As [`open`](Self::open) and [`update`](Self::update).
    pub async fn fill(remembered: Arc<CachedHome>, path: &Path) -> Result<Option<UpdateReport>> {
        let Some(_lock) = FillLock::try_acquire(path)? else { return Ok(None) };
        let index = Self::open_with(remembered, path).await?;
        let report = index.update(|_| {}).await;
        index.close().await;
        report.map(Some)
    }
}

/// The lock of the process that fills an index: the kernel's, on a file beside the index. Dropping it removes the file.
#[derive(Debug)]
struct FillLock {
    path: PathBuf,
    _file: File,
}

impl FillLock {
    /// Returns `None` if another process holds the lock. Where files cannot be locked, every process gets it: filling an
    /// index twice costs only time.
    fn try_acquire(index: &Path) -> Result<Option<Self>> {
        let path = beside(index, ".filling");
        let file = private().append(true).create(true).open(&path).map_err(|error| failed("open", &path, error))?;
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            return Ok(None);
        }
        Ok(Some(Self { path, _file: file }))
    }
}

impl Drop for FillLock {
    fn drop(&mut self) {
        // A file that stays keeps nobody out.
        let _ = std::fs::remove_file(&self.path);
    }
}
