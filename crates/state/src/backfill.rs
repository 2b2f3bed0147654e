//! Fills an index in the background, in one process at a time.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use selvedge_rollout::CachedHome;

use crate::database::{beside, failed, private};
use crate::error::Result;
use crate::index::StateIndex;
use crate::update::UpdateReport;

impl StateIndex {
    /// Brings the index in the file at `path` up to date, as [`update`](Self::update) does, and closes it. Returns `None`, and does
    /// nothing, while another process is doing this.
    ///
    /// # Errors
    /// As [`open`](Self::open) and [`update`](Self::update).
    pub async fn fill(cached_home: Arc<CachedHome>, path: &Path) -> Result<Option<UpdateReport>> {
        let Some(_lock) = BackfillLock::try_acquire(path)? else { return Ok(None) };
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
    /// Takes the lock. Returns `None` if another process holds it. Where files cannot be locked, every process gets it: to fill an
    /// index twice costs only time.
    fn try_acquire(index: &Path) -> Result<Option<Self>> {
        let path = beside(index, ".filling");
        // The file is created with every attempt, because a holder removes it when it is done.
        let file = private().append(true).create(true).open(&path).map_err(|error| failed("open", &path, error))?;
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            return Ok(None);
        }
        Ok(Some(Self { path, _file: file }))
    }
}

impl Drop for BackfillLock {
    fn drop(&mut self) {
        // If the file stays, it locks out no process: only the lock on it would.
        let _ = std::fs::remove_file(&self.path);
    }
}
