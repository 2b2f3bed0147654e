//! The lock that keeps a segment from being deleted while another one begins to refer to it.
//!
//! A fork by reference finds its base and then writes a file that names the base. A deletion searches for files that name the
//! thread and then removes the thread. Each of the two is correct only if the other one does not happen between its two steps.
//! So processes that add a reference share this lock, and a process that removes a segment holds it exclusively.
//!
//! The lock file belongs to Selvedge alone. A lock that Codex also takes is no alternative: an fsync may run while this one is
//! held, and Codex would have to wait for it.

use std::fs::TryLockError;
use std::sync::Arc;

use super::file_lock::wait_for_lock;
use crate::error::{IoContext, Result};
use crate::file_system::{OpenFile, OpenMode};
use crate::home::RolloutHome;
use crate::identity::FileIdentity;
use crate::timing::REFERENCE_LOCK_TIMEOUT;

/// Prevents changes to the references between segments. The lock ends when the value is dropped, or with the process.
///
/// It also excludes other holders in the same process. A [`WriterLock`](crate::WriterLock) can be taken before or after it:
/// taking a writer lock does not wait for its holder, so the two cannot deadlock.
#[derive(Debug)]
pub struct ReferenceLock {
    _file: Arc<dyn OpenFile>,
}

impl ReferenceLock {
    /// Takes the lock to add a reference to a segment: for a fork, a revert or an import. Other processes may do the same at the
    /// same time.
    ///
    /// # Errors
    /// - [`RolloutError::LockTimeout`](crate::RolloutError::LockTimeout) if a process holds the lock exclusively for longer than
    ///   10 s.
    /// - [`RolloutError::Io`](crate::RolloutError::Io) if the home cannot be written.
    pub fn shared(home: &RolloutHome) -> Result<Self> {
        Self::take(home, |file| file.try_lock_shared())
    }

    /// Takes the lock to remove a segment that other segments might refer to.
    ///
    /// # Errors
    /// - [`RolloutError::LockTimeout`](crate::RolloutError::LockTimeout) if other processes hold the lock for longer than 10 s.
    /// - [`RolloutError::Io`](crate::RolloutError::Io) if the home cannot be written.
    pub fn exclusive(home: &RolloutHome) -> Result<Self> {
        Self::take(home, |file| file.try_lock())
    }

    fn take(home: &RolloutHome, try_lock: impl Fn(&dyn OpenFile) -> Result<(), TryLockError>) -> Result<Self> {
        home.create_dir(home.root())?;
        let path = home.reference_lock_path();
        home.refuse_links(&path)?;
        // Each attempt waits for the lock again. The loop ends unless a user removes the file again and again on purpose.
        loop {
            let file = home.open(&path, OpenMode::Lock).context("open", &path)?;
            wait_for_lock(file.file(), &path, REFERENCE_LOCK_TIMEOUT, || try_lock(&*file))?;
            // Selvedge never removes the file, but a user may. A lock on a file without a name excludes no other process, so
            // the path must still lead to the file that is locked.
            let locked = FileIdentity::of(&file.file().metadata().context("stat", &path)?);
            if std::fs::metadata(&path).is_ok_and(|metadata| FileIdentity::of(&metadata) == locked) {
                return Ok(Self { _file: file });
            }
        }
    }
}
