//! The lock that keeps a segment from being deleted while another one begins to refer to it.
//!
//! A fork by reference looks for its base and then writes a file that names it; a deletion looks for files that name the
//! thread and then removes it. Each is right only if the other does not come in between its two steps. So those who add a
//! reference share the lock, and those who remove what references may point to hold it alone.
//!
//! The file is ours and not one that other programs know, because an fsync may run while the lock is held.

use std::fs::TryLockError;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{IoContext, Result};
use crate::file_system::{OpenFile, OpenMode};
use crate::identity::FileIdentity;
use crate::layout::RolloutHome;
use crate::lock::wait_for;

/// How long to wait for others. Deleting a thread reads the head of every file of the home under the lock.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Holds off changes to which segments refer to which. The lock is released when the value is dropped, or when the process
/// ends.
///
/// It excludes other holders in the same process, too. A [`WriterLock`](crate::WriterLock) can be taken before it or after it:
/// taking that one does not wait for who holds it, so that the two cannot deadlock.
#[derive(Debug)]
pub struct ReferenceLock {
    _file: Arc<dyn OpenFile>,
}

impl ReferenceLock {
    /// Takes the lock to add a reference to a segment: to fork, to revert or to import. Others may do so at the same time.
    ///
    /// # Errors
    /// [`RolloutError::LockTimeout`](crate::RolloutError::LockTimeout) if somebody holds the lock alone for longer than 10 s; [`RolloutError::Io`](crate::RolloutError::Io) if the home
    /// cannot be written.
    pub fn shared(home: &RolloutHome) -> Result<Self> {
        Self::take(home, |file| file.try_lock_shared())
    }

    /// Takes the lock to remove a segment that others might refer to.
    ///
    /// # Errors
    /// [`RolloutError::LockTimeout`](crate::RolloutError::LockTimeout) if others hold the lock for longer than 10 s; [`RolloutError::Io`](crate::RolloutError::Io) if the home cannot be
    /// written.
    pub fn exclusive(home: &RolloutHome) -> Result<Self> {
        Self::take(home, |file| file.try_lock())
    }

    fn take(home: &RolloutHome, try_lock: impl Fn(&dyn OpenFile) -> Result<(), TryLockError>) -> Result<Self> {
        home.create_dir(home.root())?;
        let path = home.reference_lock_path();
        home.refuse_links(&path)?;
        loop {
            let file = home.file_system().open(&path, OpenMode::Lock).context("open", &path)?;
            wait_for(file.file(), &path, TIMEOUT, || try_lock(&*file))?;
            // A lock on a file that somebody unlinked meanwhile excludes nobody.
            let locked = FileIdentity::of(&file.file().metadata().context("look at", &path)?);
            if std::fs::metadata(&path).is_ok_and(|metadata| FileIdentity::of(&metadata) == locked) {
                return Ok(Self { _file: file });
            }
        }
    }
}
