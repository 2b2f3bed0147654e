//! Effects on real files, one of which goes wrong.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use selvedge_rollout::{FileSystem, OpenFile, OpenMode, SystemFiles};

use crate::disk::Disk;

/// What was asked of the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// To open a file.
    Open,
    /// To make a directory.
    CreateDir,
    /// To give a file another name.
    Rename,
    /// To give a file a second name.
    HardLink,
    /// To take a name away.
    RemoveFile,
    /// To put a directory's names on the medium.
    SyncDir,
    /// To write.
    Write,
    /// To make a file so long.
    SetLen,
    /// To say when a file was changed.
    SetModified,
    /// To put a file's bytes on the medium.
    Sync,
    /// To lock, waiting or not.
    Lock,
    /// To give up a lock.
    Unlock,
}

/// How a call goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The disk is full.
    NoSpace,
    /// The medium fails.
    Io,
    /// A signal came first.
    Interrupted,
    /// It is not allowed.
    Denied,
    /// A write takes half of the bytes, and says so.
    ShortWrite,
    /// A write takes half of the bytes, and then the disk is full.
    HalfThenNoSpace,
    /// The process dies before the call.
    StopBefore,
    /// The process dies in the middle of a write.
    StopHalfway,
}

impl Fault {
    /// The faults that a call can have.
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

    /// Whether it is the end of the process.
    #[must_use]
    pub fn is_stop(self) -> bool {
        matches!(self, Self::StopBefore | Self::StopHalfway)
    }

    fn error(self) -> io::Error {
        io::Error::from(match self {
            Self::NoSpace | Self::HalfThenNoSpace => io::ErrorKind::StorageFull,
            Self::Interrupted => io::ErrorKind::Interrupted,
            Self::Denied => io::ErrorKind::PermissionDenied,
            Self::StopBefore | Self::StopHalfway => return dead(),
            Self::Io | Self::ShortWrite => return io::Error::other("the medium failed, as it was told to"),
        })
    }
}

/// What a dead process is told.
fn dead() -> io::Error {
    io::Error::other("the process is dead")
}

/// The files of the system, with a fault; clones share the fault, the count and the disk.
#[derive(Clone, Debug)]
pub struct FaultyFiles(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    fault: Option<(usize, Fault)>,
    calls: Vec<Call>,
    /// How many calls from now on find the disk full.
    full: usize,
    is_dead: bool,
    disk: Disk,
}

/// How a call is to be done.
enum How {
    Whole,
    Half(Fault),
}

impl State {
    /// Counts a call and says how it is to be done.
    fn call(&mut self, call: Call) -> io::Result<How> {
        if self.is_dead {
            return Err(dead());
        }
        self.calls.push(call);
        let number = self.calls.len() - 1;
        if self.full > 0 && call == Call::Write {
            self.full -= 1;
            return Err(Fault::NoSpace.error());
        }
        let Some((_, fault)) = self.fault.filter(|(at, _)| *at == number) else { return Ok(How::Whole) };
        match fault {
            Fault::ShortWrite | Fault::HalfThenNoSpace | Fault::StopHalfway if call == Call::Write => {
                Ok(How::Half(fault))
            }
            fault => {
                self.is_dead = fault.is_stop();
                Err(fault.error())
            }
        }
    }
}

impl FaultyFiles {
    /// Files without a fault, that count the calls.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::default())
    }

    /// Files of which the call of this number, counted from 0, goes wrong in this way.
    #[must_use]
    pub fn with_fault(at: usize, fault: Fault) -> Self {
        let files = Self::new();
        files.state().fault = Some((at, fault));
        files
    }

    /// The same files, on a medium that has what lies below `root` already.
    ///
    /// # Errors
    /// When something there cannot be read.
    pub fn adopting(self, root: &Path) -> io::Result<Self> {
        self.state().disk = Disk::adopt(root)?;
        Ok(self)
    }

    /// The calls so far, in order.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.state().calls.clone()
    }

    /// Whether the process has died. Every call fails since then.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.state().is_dead
    }

    /// What a power loss would meet now.
    #[must_use]
    pub fn disk(&self) -> Disk {
        self.state().disk.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does a call to the real files, and if it goes well to the disk.
    fn call<T>(
        &self,
        call: Call,
        work: impl FnOnce() -> io::Result<T>,
        record: impl FnOnce(&mut Disk, &T),
    ) -> io::Result<T> {
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
        self.call(Call::SyncDir, || Ok(()), |disk, ()| disk.sync_dir(path))
    }
}

#[derive(Debug)]
struct FaultyFile {
    files: FaultyFiles,
    file: Arc<dyn OpenFile>,
    number: usize,
}

impl OpenFile for FaultyFile {
    fn file(&self) -> &File {
        self.file.file()
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.files.state();
        let half = match state.call(Call::Write)? {
            How::Whole => None,
            How::Half(fault) => Some(fault),
        };
        let taken = if half.is_some() { &bytes[..bytes.len() / 2] } else { bytes };
        let len = self.file.write(taken)?;
        state.disk.append(self.number, &taken[..len]);
        match half {
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
            Err(_) if !was_dead && !state.is_dead => state.disk.fail_sync(self.number),
            Err(_) => {}
        }
        outcome
    }

    fn lock(&self) -> io::Result<()> {
        self.files.state().call(Call::Lock)?;
        // Another one of this process may have to give it up first.
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
