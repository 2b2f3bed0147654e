//! The lock of programs that rewrite many rollouts: of Codex, and of Selvedge.
//!
//! Codex takes an exclusive `flock` on `.tmp/rollout-maintenance.lock` before it compresses old rollouts in the background or migrates them
//! (`codex migrate-rollouts --apply`), and does neither while another process holds it. The writer lock of each thread protects its
//! files in any case. This lock keeps two programs from doing the same work at the same time, and from working on a state
//! of the home that the other one is changing.

use std::fs::TryLockError;
use std::sync::Arc;
use std::time::Duration;

use super::file_lock::{holder_of, wait_for_lock};
use super::lock_holder::LockHolder;
use crate::error::{IoContext, Result};
use crate::file_system::{OpenFile, OpenMode};
use crate::home::RolloutHome;
use crate::timing::MAINTENANCE_LOCK_TIMEOUT;

/// Keeps other programs from compressing, migrating or repairing the rollouts of a home. The lock ends when the value is dropped, or
/// with the process. The file stays.
#[derive(Debug)]
pub struct MaintenanceLock {
    _file: Arc<dyn OpenFile>,
}

impl MaintenanceLock {
    /// Takes the lock. If another process holds it, calls `on_wait` with that process and waits for up to 10 s.
    ///
    /// # Errors
    /// - [`RolloutError::LockTimeout`](crate::RolloutError::LockTimeout) if the process holds the lock for longer.
    /// - [`RolloutError::Io`](crate::RolloutError::Io) if the home cannot be written.
    pub fn acquire(home: &RolloutHome, on_wait: impl FnOnce(LockHolder)) -> Result<Self> {
        let path = home.maintenance_lock_path();
        home.create_dir(path.parent().unwrap_or(home.root()))?;
        home.refuse_links(&path)?;
        let file = home.open(&path, OpenMode::Lock).context("open", &path)?;
        let timeout = match file.try_lock() {
            Ok(()) => return Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => {
                on_wait(holder_of(file.file(), &path));
                MAINTENANCE_LOCK_TIMEOUT
            }
            // `wait_for_lock` reports the error.
            Err(TryLockError::Error(_)) => Duration::ZERO,
        };
        wait_for_lock(file.file(), &path, timeout, || file.try_lock())?;
        Ok(Self { _file: file })
    }
}
