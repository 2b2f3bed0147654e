//! The coordination lock: lock files of writers are created and removed only under it. [`writer_lock`](super::writer_lock) says why.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::file_lock::wait_for_lock;
use crate::error::{IoContext, Result};
use crate::file_system::{OpenFile, OpenMode};
use crate::home::RolloutHome;

/// Takes the coordination lock: while the returned file is open, no other process creates or removes lock files.
pub(super) fn coordinate(home: &RolloutHome, timeout: Duration) -> Result<Arc<dyn OpenFile>> {
    let path = coordination_path(home);
    let file = open_lock_file(home, &path)?;
    wait_for_lock(file.file(), &path, timeout, || file.try_lock())?;
    Ok(file)
}

/// The file of the coordination lock. It is never removed.
pub(super) const COORDINATION: &str = ".coordination.lock";

/// Returns the path of its file.
pub(super) fn coordination_path(home: &RolloutHome) -> PathBuf {
    home.locks_dir().join(COORDINATION)
}

/// Opens a lock file, and creates it if it is missing.
pub(super) fn open_lock_file(home: &RolloutHome, path: &Path) -> Result<Arc<dyn OpenFile>> {
    home.refuse_links(path)?;
    home.open(path, OpenMode::Lock).context("open", path)
}
