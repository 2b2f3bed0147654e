//! Locks on files: waiting for one, and finding the process that holds one.
//!
//! All locks of the crate are BSD locks (`flock`). Such a lock belongs to the open file and not to the process, so that it also
//! excludes another holder in the same process. The kernel releases it when the file is closed or its process ends.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::lock_holder::LockHolder;
use crate::backoff::Backoff;
use crate::error::{IoContext, Result, RolloutError};
#[cfg(target_os = "linux")]
use crate::identity::FileIdentity;

/// A wait of at least this long is reported. Locks are held for one short change, so that a person does not notice shorter waits.
const LONG_WAIT: Duration = Duration::from_millis(50);

/// Waits for a lock on a file.
///
/// # Errors
/// [`RolloutError::LockTimeout`], with the holder, if the lock was not released within `timeout`.
pub(crate) fn wait_for_lock(
    file: &File,
    path: &Path,
    timeout: Duration,
    try_lock: impl FnMut() -> Result<(), TryLockError>,
) -> Result<()> {
    let began = Instant::now();
    // Who holds the lock is looked up once, and only in a wait that a person may ask about.
    let mut holder = None;
    let is_locked = lock_within(timeout, try_lock, || {
        if holder.is_none() && began.elapsed() >= LONG_WAIT {
            holder = Some(holder_of(file, path));
        }
    });
    if is_locked.context("lock", path)? {
        if let Some(LockHolder { process_id }) = holder {
            let millis = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            tracing::info!(path = %path.display(), holder = process_id, millis, "waited for a lock");
        }
        return Ok(());
    }
    Err(RolloutError::LockTimeout { path: path.to_owned(), holder: holder_of(file, path), waited: timeout })
}

/// Returns the process that holds the lock on a file, as far as the system reports it.
pub(crate) fn holder_of(file: &File, path: &Path) -> LockHolder {
    LockHolder { process_id: find_holder_process(file, path) }
}

/// Takes a lock, and waits no longer than `timeout` while other processes hold it. Returns whether the lock was taken.
///
/// The lock is polled, because the kernel's own wait has no timeout.
///
/// `on_pause` is called before each pause.
fn lock_within(
    timeout: Duration,
    mut try_lock: impl FnMut() -> Result<(), TryLockError>,
    mut on_pause: impl FnMut(),
) -> io::Result<bool> {
    let mut backoff = Backoff::new(timeout);
    loop {
        match try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) => match backoff.next() {
                Some(pause) => {
                    on_pause();
                    thread::sleep(pause);
                }
                None => return Ok(false),
            },
        }
    }
}

/// Returns the id of the process that holds the lock on a file, as far as the system reports it.
///
/// `/proc/locks` lists holders by the device and inode of the file. It does not list a holder in another PID namespace, and some
/// file systems (overlayfs, btrfs) report other device numbers to `stat`. Then a process that has the file open is the best
/// guess.
#[cfg(target_os = "linux")]
pub(crate) fn find_holder_process(file: &File, path: &Path) -> Option<u32> {
    let FileIdentity { device, inode } = FileIdentity::of(&file.metadata().ok()?);
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    // A line is `1: FLOCK  ADVISORY  WRITE 4711 fd:01:786438 0 EOF`: the process, then major:minor:inode.
    let id = format!("{:02x}:{:02x}:{inode}", major(device), minor(device));
    let holder = locks.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, "FLOCK", _, _, process_id, file_id, ..] = fields[..] else { return None };
        (file_id == id).then(|| process_id.parse().ok())?
    });
    holder.filter(|process_id| *process_id != 0).or_else(|| find_opening_process(path))
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn find_holder_process(_: &File, _: &Path) -> Option<u32> {
    None
}

// Linux packs a device number into 64 bits, with the halves of both numbers interleaved:
//
//     63          44 43          20 19       8 7        0
//     | major high  | minor high   | major low | minor low |

#[cfg(target_os = "linux")]
const fn major(dev: u64) -> u64 {
    ((dev >> 8) & 0xfff) | ((dev >> 32) & !0xfff)
}

#[cfg(target_os = "linux")]
const fn minor(dev: u64) -> u64 {
    (dev & 0xff) | ((dev >> 12) & !0xff)
}

/// Returns the id of a process that has the file at this path open.
#[cfg(target_os = "linux")]
fn find_opening_process(path: &Path) -> Option<u32> {
    let path = path.canonicalize().ok()?;
    let this = std::process::id();
    let has_open = |process_id: u32| {
        let open = fs::read_dir(format!("/proc/{process_id}/fd")).into_iter().flatten().flatten();
        // This process has the file open to ask for the lock. A second open file in it means that it also holds the lock.
        let times = open.filter(|fd| fs::read_link(fd.path()).is_ok_and(|target| target == path)).count();
        times > usize::from(process_id == this)
    };
    let processes = fs::read_dir("/proc").ok()?.flatten();
    processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).find(|process_id| has_open(*process_id))
}
