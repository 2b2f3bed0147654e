//! A file system that forwards every call to real files, except that one chosen call goes wrong.
//!
//! ```text
//!         ┌───────┐  StopBefore, StopHalfway         ┌───────┐
//!   ──────│ alive │─────────────────────────────────▶│ dead  │  every call fails, and nothing changes any more
//!         └───────┘                                  └───────┘
//!          │     ▲
//!          └─────┘ any other fault: this call fails, and the process continues
//! ```

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use selvedge_rollout::{FileSystem, OpenFile, OpenMode, SystemFiles};

use crate::disk::Disk;

/// A kind of call to the file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// Opens a file.
    Open,
    /// Creates a directory.
    CreateDir,
    /// Renames a file.
    Rename,
    /// Adds a second name for a file.
    HardLink,
    /// Removes a name.
    RemoveFile,
    /// Syncs the names in a directory.
    SyncDir,
    /// Writes bytes to a file.
    Write,
    /// Sets the length of a file.
    SetLen,
    /// Sets the time at which a file was last modified.
    SetModified,
    /// Syncs the bytes of a file.
    Sync,
    /// Takes a lock on a file, waiting for it or not.
    Lock,
    /// Releases a lock.
    Unlock,
}

/// A way in which a call goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The disk is full.
    NoSpace,
    /// The disk fails.
    Io,
    /// A signal interrupts the call.
    Interrupted,
    /// The process lacks the permission.
    Denied,
    /// A write takes half of the bytes and returns their number.
    ShortWrite,
    /// A write takes half of the bytes and returns their number. The next write finds the disk full.
    HalfThenNoSpace,
    /// The process ends before the call.
    StopBefore,
    /// The process ends in the middle of a write.
    StopHalfway,
}

impl Fault {
    /// Returns the faults that a call can have.
    #[must_use]
    pub fn of(call: Call) -> &'static [Self] {
        use Fault::{Denied, HalfThenNoSpace, Interrupted, Io, NoSpace, ShortWrite, StopBefore, StopHalfway};
        match call {
            Call::Write => &[NoSpace, Io, Interrupted, ShortWrite, HalfThenNoSpace, StopBefore, StopHalfway],
            Call::Sync | Call::SyncDir => &[NoSpace, Io, Interrupted, StopBefore],
            Call::Lock | Call::Unlock => &[Io, Interrupted, StopBefore],
            Call::SetLen | Call::SetModified => &[Io, Interrupted, StopBefore],
            _ => &[NoSpace, Io, Interrupted, Denied, StopBefore],
        }
    }

    /// Returns whether the fault ends the process.
    #[must_use]
    pub fn is_stop(self) -> bool {
        matches!(self, Self::StopBefore | Self::StopHalfway)
    }

    /// Returns the error of a call with this fault.
    fn error(self) -> io::Error {
        io::Error::from(match self {
            Self::NoSpace | Self::HalfThenNoSpace => io::ErrorKind::StorageFull,
            Self::Interrupted => io::ErrorKind::Interrupted,
            Self::Denied => io::ErrorKind::PermissionDenied,
            Self::StopBefore | Self::StopHalfway => return dead(),
            Self::Io | Self::ShortWrite => return io::Error::other("the disk failed, as the test requested"),
        })
    }
}

/// Returns the error of every call after the end of the process.
fn dead() -> io::Error {
    io::Error::other("the process has ended, as the test requested")
}

/// Real files with a fault. Clones share the fault, the count of calls and the disk.
#[derive(Clone, Debug)]
pub struct FaultyFiles(Arc<Mutex<FaultState>>);

#[derive(Debug, Default)]
struct FaultState {
    /// The number of the call that goes wrong, counted from 0, and how.
    fault: Option<(usize, Fault)>,
    /// The calls so far, in their order.
    calls: Vec<Call>,
    /// The number of following writes that find the disk full.
    full: usize,
    /// Whether the process has ended. Every call fails from then on.
    is_dead: bool,
    /// What would be on durable storage.
    disk: Disk,
}

/// How a call that does not fail is carried out.
enum CallPlan {
    /// As requested.
    Whole,
    /// A write of half of the bytes, and then this fault.
    Half(Fault),
}

impl FaultState {
    /// Counts a call and determines how it is carried out.
    ///
    /// # Errors
    /// The fault of the call, or the error of a process that has ended.
    fn call(&mut self, call: Call) -> io::Result<CallPlan> {
        if self.is_dead {
            return Err(dead());
        }
        self.calls.push(call);
        let number = self.calls.len() - 1;
        if self.full > 0 && call == Call::Write {
            self.full -= 1;
            return Err(Fault::NoSpace.error());
        }
        // The fault happens once. If the code under test repeats the call, the files work again.
        let Some((_, fault)) = self.fault.filter(|(at, _)| *at == number) else { return Ok(CallPlan::Whole) };
        match fault {
            Fault::ShortWrite | Fault::HalfThenNoSpace | Fault::StopHalfway if call == Call::Write => {
                Ok(CallPlan::Half(fault))
            }
            // For a call that is not a write, a fault of a write is a plain error.
            fault => {
                self.is_dead = fault.is_stop();
                Err(fault.error())
            }
        }
    }
}

impl FaultyFiles {
    /// Creates files without a fault, which only count the calls.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::default())
    }

    /// Creates files with one call that goes wrong: the call number `at`, counted from 0.
    #[must_use]
    pub fn with_fault(at: usize, fault: Fault) -> Self {
        let files = Self::new();
        files.state().fault = Some((at, fault));
        files
    }

    /// Returns the same files with a disk on which everything below `root` is durable already.
    ///
    /// # Errors
    /// If a directory or a file there cannot be read.
    pub fn adopting(self, root: &Path) -> io::Result<Self> {
        self.state().disk = Disk::adopt(root)?;
        Ok(self)
    }

    /// Returns the calls so far, in their order.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.state().calls.clone()
    }

    /// Returns whether the process has ended. Every call has failed since then.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.state().is_dead
    }

    /// Returns the current state of durable storage, from which a power loss can be simulated.
    #[must_use]
    pub fn disk(&self) -> Disk {
        self.state().disk.clone()
    }

    fn state(&self) -> MutexGuard<'_, FaultState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries out a call on the real files. If it succeeds, `record` applies it to the disk.
    fn call<T>(
        &self,
        call: Call,
        work: impl FnOnce() -> io::Result<T>,
        record: impl FnOnce(&mut Disk, &T),
    ) -> io::Result<T> {
        // The lock is held during the call, so that the real files and the disk change in the same order.
        let mut state = self.state();
        state.call(call)?;
        let done = work()?;
        record(&mut state.disk, &done);
        Ok(done)
    }
}

impl Default for FaultyFiles {
    fn default() -> Self {
        Self::new()
    }
}

impl selvedge_rollout::sealed::Sealed for FaultyFiles {}

impl FileSystem for FaultyFiles {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn OpenFile>> {
        let mut number = 0;
        let file = self.call(Call::Open, || SystemFiles.open(path, mode), |disk, _| number = disk.open(path))?;
        Ok(Arc::new(FaultyFile { files: self.clone(), file, number }))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.call(Call::CreateDir, || SystemFiles.create_dir(path), |disk, ()| disk.create_dir(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(Call::Rename, || SystemFiles.rename(from, to), |disk, ()| disk.rename(from, to))
    }

    fn hard_link(&self, original: &Path, link: &Path) -> io::Result<()> {
        self.call(Call::HardLink, || SystemFiles.hard_link(original, link), |disk, ()| disk.hard_link(original, link))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.call(Call::RemoveFile, || SystemFiles.remove_file(path), |disk, ()| disk.remove(path))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        // The real directory is not synced: only the disk is ever read after a power loss, and real syncs are slow.
        self.call(Call::SyncDir, || Ok(()), |disk, ()| disk.sync_dir(path))
    }
}

/// An open file of [`FaultyFiles`].
#[derive(Debug)]
struct FaultyFile {
    files: FaultyFiles,
    file: Arc<dyn OpenFile>,
    /// The index of the file on the disk.
    number: usize,
}

impl OpenFile for FaultyFile {
    fn file(&self) -> &File {
        self.file.file()
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.files.state();
        let half = match state.call(Call::Write)? {
            CallPlan::Whole => None,
            CallPlan::Half(fault) => Some(fault),
        };
        // Half of the bytes go to the real file, too, so that other processes see the torn line that a crash leaves.
        let taken = if half.is_some() { &bytes[..bytes.len() / 2] } else { bytes };
        let len = self.file.write(taken)?;
        state.disk.append(self.number, &taken[..len]);
        match half {
            // The caller sees a short write and writes the rest. Only then does it learn that the disk is full.
            Some(Fault::HalfThenNoSpace) => state.full = 1,
            Some(Fault::StopHalfway) => {
                state.is_dead = true;
                return Err(dead());
            }
            _ => {}
        }
        Ok(len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.files.call(Call::SetLen, || self.file.set_len(len), |disk, ()| disk.set_len(self.number, len))
    }

    fn set_modified(&self, at: SystemTime) -> io::Result<()> {
        self.files.call(Call::SetModified, || self.file.set_modified(at), |_, ()| ())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.files.state();
        let was_dead = state.is_dead;
        let outcome = state.call(Call::Sync).map(drop);
        match &outcome {
            Ok(()) => state.disk.sync(self.number),
            // A process that ends before the sync has not failed to sync. Its bytes can still become durable.
            Err(_) if !was_dead && !state.is_dead => state.disk.fail_sync(self.number),
            Err(_) => {}
        }
        outcome
    }

    fn lock(&self) -> io::Result<()> {
        self.files.state().call(Call::Lock)?;
        // The state is not locked while this waits: another thread may have to release the lock first, through these
        // files.
        self.file.lock()
    }

    fn try_lock(&self) -> Result<(), TryLockError> {
        self.files.state().call(Call::Lock).map_err(TryLockError::Error)?;
        self.file.try_lock()
    }

    fn try_lock_shared(&self) -> Result<(), TryLockError> {
        self.files.state().call(Call::Lock).map_err(TryLockError::Error)?;
        self.file.try_lock_shared()
    }

    fn unlock(&self) -> io::Result<()> {
        self.files.call(Call::Unlock, || self.file.unlock(), |_, ()| ())
    }
}
