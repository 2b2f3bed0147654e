//! One writer for each thread: the kernel's lock on a file.
//!
//! The scheme is the one of the program whose homes these are, so that the two keep out of each other's way: an exclusive
//! `flock` on an empty file named after the thread, made and removed only under a lock on a second, fixed file, so that no
//! file is unlinked between another process's open and its lock. The kernel drops a lock when its process dies.

use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use selvedge_protocol::ThreadId;

use crate::backoff::lock_within;
use crate::error::{IoContext, Result, RolloutError};
use crate::file_system::{OpenFile, OpenMode};
#[cfg(target_os = "linux")]
use crate::identity::FileIdentity;
use crate::layout::RolloutHome;

/// How long to wait for others who make or remove lock files. They need microseconds, so somebody hangs who needs longer.
const COORDINATION_TIMEOUT: Duration = Duration::from_secs(5);

/// How long to wait for them to remove one's own lock file, which may stay as well.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(1);

/// Who holds a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockHolder {
    /// The process, where the system tells it.
    pub process_id: Option<u32>,
}

impl fmt::Display for LockHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.process_id {
            Some(process_id) => write!(f, "process {process_id}"),
            None => f.write_str("another process"),
        }
    }
}

/// The right to write a thread. Ends when it is dropped, or with the process.
#[derive(Debug)]
pub struct WriterLock {
    file: Option<Arc<dyn OpenFile>>,
    path: PathBuf,
    home: RolloutHome,
}

impl WriterLock {
    /// Takes the lock of a thread, at once or not at all.
    ///
    /// This blocks the calling thread while others make or remove lock files: usually for microseconds, and for some seconds
    /// if one of them hangs. Async code calls it where blocking is allowed.
    ///
    /// # Errors
    /// [`RolloutError::Locked`] when somebody has it, this process included; [`RolloutError::LockTimeout`] when another process
    /// keeps everybody from making lock files; [`RolloutError::Io`] when the home cannot be written.
    pub fn acquire(home: &RolloutHome, thread_id: ThreadId) -> Result<Self> {
        let locks_dir = home.locks_dir();
        home.create_dir(&locks_dir)?;
        let path = locks_dir.join(format!("{thread_id}.lock"));
        let _coordination = coordinate(home, COORDINATION_TIMEOUT)?;
        if home.swept.is_first(&locks_dir) {
            sweep(home, &path);
        }
        let file = open_lock_file(home, &path)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { file: Some(file), path, home: home.clone() }),
            Err(TryLockError::WouldBlock) => {
                Err(RolloutError::Locked { thread_id, holder: holder_of(file.file(), &path) })
            }
            Err(TryLockError::Error(error)) => Err(error).context("lock", &path),
        }
    }
}

impl WriterLock {
    /// The threads that have a lock file: those that are being written, and those of writers that died.
    ///
    /// # Errors
    /// When the directory of the locks cannot be read.
    pub fn threads_with_file(home: &RolloutHome) -> Result<Vec<ThreadId>> {
        let dir = home.locks_dir();
        let entries = match fs::read_dir(&dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.context("read directory", &dir)?,
        };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        Ok(names.filter_map(|name| name.strip_suffix(".lock")?.parse().ok()).collect())
    }

    /// Who holds the lock of a thread just now; nobody in the good case. Makes nothing.
    ///
    /// # Errors
    /// When the lock file cannot be looked at; [`RolloutError::LockTimeout`] when another process keeps everybody from looking.
    pub fn holder(home: &RolloutHome, thread_id: ThreadId) -> Result<Option<LockHolder>> {
        let locks_dir = home.locks_dir();
        let path = locks_dir.join(format!("{thread_id}.lock"));
        // Who looks must not be taken for a writer meanwhile. Where nobody ever coordinated, nobody holds anything.
        let coordination_path = locks_dir.join(COORDINATION);
        let coordination = match File::open(&coordination_path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            other => Some(other.context("open", &coordination_path)?),
        };
        if let Some(coordination) = &coordination {
            wait_for(coordination, &coordination_path, COORDINATION_TIMEOUT, || coordination.try_lock())?;
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

    /// Whether somebody seems to hold the lock of a thread. Takes no lock, unlike [`holder`](Self::holder), and makes nobody
    /// wait: it looks for the lock file and into the system's table of locks. Where there is no such table, a lock file
    /// counts as held.
    #[must_use]
    pub fn seems_held(home: &RolloutHome, thread_id: ThreadId) -> bool {
        let path = home.locks_dir().join(format!("{thread_id}.lock"));
        File::open(&path).is_ok_and(|file| cfg!(not(target_os = "linux")) || find_holder(&file, &path).is_some())
    }

    /// Whether somebody holds the lock of a thread, as far as that can be told.
    pub(crate) fn is_held(home: &RolloutHome, thread_id: ThreadId) -> bool {
        // Who is at work on the lock files may be the writer that begins or ends.
        matches!(Self::holder(home, thread_id), Ok(Some(_)) | Err(RolloutError::LockTimeout { .. }))
    }
}

impl Drop for WriterLock {
    fn drop(&mut self) {
        // Without coordination the file is left: a later writer takes it over, while unlinking it could part two writers.
        if let Ok(_coordination) = coordinate(&self.home, RELEASE_TIMEOUT) {
            let _ = self.home.remove_file(&self.path);
            self.file = None;
        }
    }
}

/// Keeps everybody else from making and removing lock files for as long as the file is open.
fn coordinate(home: &RolloutHome, timeout: Duration) -> Result<Arc<dyn OpenFile>> {
    let path = home.locks_dir().join(COORDINATION);
    let file = open_lock_file(home, &path)?;
    wait_for(file.file(), &path, timeout, || file.try_lock())?;
    Ok(file)
}

/// Waits for a lock on a file, and says who holds it if the wait was in vain.
pub(crate) fn wait_for(
    file: &File,
    path: &Path,
    timeout: Duration,
    try_lock: impl FnMut() -> Result<(), TryLockError>,
) -> Result<()> {
    if lock_within(timeout, try_lock).context("lock", path)? {
        return Ok(());
    }
    Err(RolloutError::LockTimeout { path: path.to_owned(), holder: holder_of(file, path), waited: timeout })
}

/// Who holds the lock on a file, as far as the system tells.
fn holder_of(file: &File, path: &Path) -> LockHolder {
    LockHolder { process_id: find_holder(file, path) }
}

const COORDINATION: &str = ".coordination.lock";

fn open_lock_file(home: &RolloutHome, path: &Path) -> Result<Arc<dyn OpenFile>> {
    home.refuse_links(path)?;
    home.file_system().open(path, OpenMode::Lock).context("open", path)
}

/// Removes the lock files that dead processes left, but for the one that is about to be taken over. For who coordinates.
fn sweep(home: &RolloutHome, but: &Path) {
    let entries = fs::read_dir(home.locks_dir()).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_lock = |path: &PathBuf| path.extension() == Some(OsStr::new("lock"));
    let is_other = |path: &PathBuf| path != but && path.file_name() != Some(OsStr::new(COORDINATION));
    for path in entries.filter(is_lock).filter(is_other) {
        home.remove_unless_locked(&path);
    }
}

/// The process that holds the lock on a file, as far as the system tells: `/proc/locks` names it by device and inode; where
/// that view is not to be had, a process that has the file open.
#[cfg(target_os = "linux")]
fn find_holder(file: &File, path: &Path) -> Option<u32> {
    let FileIdentity { device, inode } = FileIdentity::of(&file.metadata().ok()?);
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    let id = format!("{:02x}:{:02x}:{inode}", major(device), minor(device));
    let holder = locks.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, "FLOCK", _, _, process_id, file_id, ..] = fields[..] else { return None };
        (file_id == id).then(|| process_id.parse().ok())?
    });
    holder.filter(|process_id| *process_id != 0).or_else(|| find_opener(path))
}

#[cfg(not(target_os = "linux"))]
fn find_holder(_: &File, _: &Path) -> Option<u32> {
    None
}

#[cfg(target_os = "linux")]
const fn major(dev: u64) -> u64 {
    ((dev >> 8) & 0xfff) | ((dev >> 32) & !0xfff)
}

#[cfg(target_os = "linux")]
const fn minor(dev: u64) -> u64 {
    (dev & 0xff) | ((dev >> 12) & !0xff)
}

#[cfg(target_os = "linux")]
fn find_opener(path: &Path) -> Option<u32> {
    let path = path.canonicalize().ok()?;
    let this = std::process::id();
    let has_open = |process_id: u32| {
        let open = fs::read_dir(format!("/proc/{process_id}/fd")).into_iter().flatten().flatten();
        // This process has the file open to ask for the lock; once more means that it holds the lock, too.
        let times = open.filter(|fd| fs::read_link(fd.path()).is_ok_and(|target| target == path)).count();
        times > usize::from(process_id == this)
    };
    let processes = fs::read_dir("/proc").ok()?.flatten();
    processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).find(|process_id| has_open(*process_id))
}
