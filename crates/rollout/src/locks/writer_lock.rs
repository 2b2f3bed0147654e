//! One writer for each thread: an exclusive `flock` on a file that is named after the thread.
//!
//! Codex uses the same files in the same way, so that a writer of Selvedge and one of Codex exclude each other. The lock file is
//! empty, and the kernel releases the lock when its process ends. So a lock file that no process holds means nothing.
//!
//! Lock files are created and removed only under a second lock, the *coordination lock*, whose file is never removed. Without it
//! two processes could hold "the" lock of one thread:
//!
//! ```text
//! process A                 process B (the holder)       process C
//! open the lock file
//!                           unlink it, release the lock
//! flock: succeeds, on a
//! file without a name
//!                                                        open: creates a new lock file
//!                                                        flock: succeeds, too
//! ```
//!
//! Codex waits for the coordination lock without a timeout. So nothing slow happens while this crate holds it: no fsync, and no
//! wait for another lock.

use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use selvedge_protocol::ThreadId;

use super::coordination::{COORDINATION, coordinate, coordination_path, open_lock_file};
use super::file_lock::{find_holder_process, holder_of, wait_for_lock};
use super::lock_holder::LockHolder;
use super::unused_files::remove_later;
use crate::error::{IoContext, Result, RolloutError};
use crate::file_system::OpenFile;
use crate::home::RolloutHome;
use crate::timing::COORDINATION_TIMEOUT;

/// The exclusive right to write a thread. It ends when the value is dropped, which never blocks, or with the process.
#[derive(Debug)]
pub struct WriterLock {
    /// The lock file, open for as long as the lock is held.
    file: Option<Arc<dyn OpenFile>>,
    path: PathBuf,
    home: RolloutHome,
}

impl WriterLock {
    /// Takes the lock of a thread, or fails immediately if it is held.
    ///
    /// The call blocks while other processes create or remove lock files: usually for microseconds, and for up to 5 s if one
    /// of them hangs. Async code must call it where blocking is allowed.
    ///
    /// # Errors
    /// - [`RolloutError::Locked`] if a process holds the lock; it may be this process.
    /// - [`RolloutError::LockTimeout`] if another process holds the coordination lock for too long.
    /// - [`RolloutError::Io`] if the home cannot be written.
    pub fn acquire(home: &RolloutHome, thread_id: ThreadId) -> Result<Self> {
        let locks_dir = home.locks_dir();
        home.create_dir(&locks_dir)?;
        let path = locks_dir.join(format!("{thread_id}.lock"));
        // From here to the end of the function no other process creates or removes a lock file.
        let _coordination = coordinate(home, COORDINATION_TIMEOUT)?;
        if home.is_first_sweep(&locks_dir) {
            sweep(home, &path);
        }
        // The lock itself is not waited for: a writer holds it for as long as its thread is loaded.
        let file = open_lock_file(home, &path)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { file: Some(file), path, home: home.clone() }),
            Err(TryLockError::WouldBlock) => {
                Err(RolloutError::Locked { thread_id, holder: holder_of(file.file(), &path) })
            }
            Err(TryLockError::Error(error)) => Err(error).context("lock", &path),
        }
    }

    /// Returns the threads that have a lock file: threads that are being written, and threads whose writer died.
    ///
    /// # Errors
    /// If the directory of the lock files cannot be read.
    pub fn threads_with_lock_file(home: &RolloutHome) -> Result<Vec<ThreadId>> {
        let dir = home.locks_dir();
        let entries = match fs::read_dir(&dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.context("read directory", &dir)?,
        };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        Ok(names.filter_map(|name| name.strip_suffix(".lock")?.parse().ok()).collect())
    }

    /// Returns the process that holds the lock of a thread, or `None` if no process does. Creates no file.
    ///
    /// # Errors
    /// - [`RolloutError::LockTimeout`] if another process holds the coordination lock for too long.
    /// - [`RolloutError::Io`] if the lock file cannot be opened or locked.
    pub fn holder(home: &RolloutHome, thread_id: ThreadId) -> Result<Option<LockHolder>> {
        let locks_dir = home.locks_dir();
        let path = locks_dir.join(format!("{thread_id}.lock"));
        // The question is asked by taking the lock for a moment. Under the coordination lock no other process can take this
        // for a writer. If the file of the coordination lock does not exist, no writer has ever been in this home.
        let coordination_path = coordination_path(home);
        let coordination = match File::open(&coordination_path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            other => Some(other.context("open", &coordination_path)?),
        };
        if let Some(coordination) = &coordination {
            wait_for_lock(coordination, &coordination_path, COORDINATION_TIMEOUT, || coordination.try_lock())?;
        }
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.context("open", &path)?,
        };
        match file.try_lock() {
            Ok(()) => Ok(None),
            Err(TryLockError::WouldBlock) => Ok(Some(holder_of(&file, &path))),
            Err(TryLockError::Error(error)) => Err(error).context("lock", &path),
        }
    }

    /// Returns whether a process seems to hold the lock of a thread.
    ///
    /// Unlike [`holder`](Self::holder) it takes no lock, so that no process has to wait for it. It reads the system's table of
    /// locks. On a system without such a table, a lock that has a file counts as held.
    #[must_use]
    pub fn seems_held(home: &RolloutHome, thread_id: ThreadId) -> bool {
        let path = home.locks_dir().join(format!("{thread_id}.lock"));
        File::open(&path)
            .is_ok_and(|file| cfg!(not(target_os = "linux")) || find_holder_process(&file, &path).is_some())
    }

    /// Returns whether a process holds the lock of a thread. In doubt it does.
    pub(crate) fn is_held(home: &RolloutHome, thread_id: ThreadId) -> bool {
        // A process that holds the coordination lock for long may be the writer of this thread, which begins or ends.
        matches!(Self::holder(home, thread_id), Ok(Some(_)) | Err(RolloutError::LockTimeout { .. }))
    }
}

impl Drop for WriterLock {
    /// Releases the lock without waiting, because a value may be dropped where nothing may block.
    fn drop(&mut self) {
        // The file is removed while its lock is still held, and only under the coordination lock. If another process has that lock
        // now, a thread of its own removes the file later. To unlink it anyway would allow the race that is described above.
        let coordination = open_lock_file(&self.home, &coordination_path(&self.home));
        let locked = coordination.ok().map(|coordination| (coordination.try_lock(), coordination));
        if let Some((Ok(()), _)) = &locked {
            let _ = self.home.remove_file(&self.path);
        }
        self.file = None;
        if let Some((Err(TryLockError::WouldBlock), _)) = locked {
            remove_later(self.home.clone(), std::mem::take(&mut self.path));
        }
        // After any other failure the file stays, and the next writer takes it over.
    }
}

/// Removes the lock files of dead processes, except one that the caller is about to take over. The caller holds the coordination
/// lock.
fn sweep(home: &RolloutHome, except: &Path) {
    let entries = fs::read_dir(home.locks_dir()).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_lock = |path: &PathBuf| path.extension() == Some(OsStr::new("lock"));
    let is_other = |path: &PathBuf| path != except && path.file_name() != Some(OsStr::new(COORDINATION));
    for path in entries.filter(is_lock).filter(is_other) {
        home.remove_unless_locked(&path);
    }
}
