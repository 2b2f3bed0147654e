//! The only door for effects: every change to the files of a home goes through [`FileSystem`].
//!
//! A test can therefore make any single effect fail, or let the process or the machine end there. Reading does not go through
//! it, because a read changes nothing.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

/// Effects on the names of files. [`SystemFiles`] is the implementation for everything but tests.
///
/// Each method is one call of the system and nothing more: no retry, no ordering, no clean-up. Atomic operations are built on
/// top of it.
///
/// The trait is sealed, because it gains a method whenever the crate needs another call. Only tests of this workspace implement it.
pub trait FileSystem: sealed::Sealed + fmt::Debug + Send + Sync + 'static {
    /// Opens a file for writing. A file that this call creates is private to the user.
    ///
    /// # Errors
    /// The error of the system.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn OpenFile>>;

    /// Creates one directory, private to the user. Its parent must exist.
    ///
    /// # Errors
    /// The error of the system.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Renames a file atomically. It replaces a file that already has the new name.
    ///
    /// # Errors
    /// The error of the system.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Adds a second name for a file. Fails if another file already has that name.
    ///
    /// # Errors
    /// The error of the system.
    fn hard_link(&self, original: &Path, link: &Path) -> io::Result<()>;

    /// Removes a name of a file, and the file together with its last name.
    ///
    /// # Errors
    /// The error of the system.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Calls fsync on a directory: makes durable which files were created, moved and removed in it.
    ///
    /// # Errors
    /// The error of the system. It is then unknown what is durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
}

/// What an implementation of [`FileSystem`] must have besides. It is no part of the public interface.
#[doc(hidden)]
pub mod sealed {
    /// Implemented in this workspace only.
    pub trait Sealed {}
}

/// Effects on an open file.
pub trait OpenFile: fmt::Debug + Send + Sync + 'static {
    /// Returns the file itself, to read it and to stat it, but never to change it.
    fn file(&self) -> &File;

    /// Writes bytes and returns how many of them were written. A file that was opened to append takes them at its end.
    ///
    /// # Errors
    /// The error of the system.
    fn write(&self, bytes: &[u8]) -> io::Result<usize>;

    /// Sets the length of the file.
    ///
    /// # Errors
    /// The error of the system.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Sets the time of the last modification.
    ///
    /// # Errors
    /// The error of the system.
    fn set_modified(&self, at: SystemTime) -> io::Result<()>;

    /// Calls fsync on the file: makes its bytes and its length durable, but not its names.
    ///
    /// # Errors
    /// The error of the system. It is then unknown what is durable. A second call that succeeds does not change that, because
    /// the system may have dropped the pages that it could not write.
    fn sync(&self) -> io::Result<()>;

    /// Waits for the exclusive lock on the file. It ends with [`unlock`](Self::unlock), or when the file is closed.
    ///
    /// # Errors
    /// The error of the system.
    fn lock(&self) -> io::Result<()>;

    /// Takes the exclusive lock on the file without waiting.
    ///
    /// # Errors
    /// [`TryLockError::WouldBlock`] if a process holds a lock on the file.
    fn try_lock(&self) -> Result<(), TryLockError>;

    /// Takes a shared lock on the file without waiting. It excludes the exclusive lock and ends like one.
    ///
    /// # Errors
    /// [`TryLockError::WouldBlock`] if a process holds the exclusive lock.
    fn try_lock_shared(&self) -> Result<(), TryLockError>;

    /// Releases the lock.
    ///
    /// # Errors
    /// The error of the system.
    fn unlock(&self) -> io::Result<()>;
}

/// How a file is opened. Every mode also allows reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// To append to a new file. Fails if the file exists.
    New,
    /// To append to an existing file.
    Append,
    /// To append to a file, which is created if it does not exist.
    AppendOrNew,
    /// To lock a file, which is created if it does not exist.
    Lock,
    /// To lock an existing file.
    LockExisting,
}

/// The files of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemFiles;

impl sealed::Sealed for SystemFiles {}

impl FileSystem for SystemFiles {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn OpenFile>> {
        let mut options = private();
        options.read(true);
        match mode {
            OpenMode::New => options.append(true).create_new(true),
            OpenMode::Append => options.append(true),
            OpenMode::AppendOrNew => options.append(true).create(true),
            OpenMode::Lock => options.write(true).create(true).truncate(false),
            OpenMode::LockExisting => options.write(true),
        };
        Ok(Arc::new(SystemFile(options.open(path)?)))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut builder = DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn hard_link(&self, original: &Path, link: &Path) -> io::Result<()> {
        fs::hard_link(original, link)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    #[cfg(unix)]
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    /// On other systems a directory cannot be synced. Their file systems order changes of names themselves.
    #[cfg(not(unix))]
    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

/// Returns options under which a file that is created is private to the user.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

#[derive(Debug)]
struct SystemFile(File);

impl OpenFile for SystemFile {
    fn file(&self) -> &File {
        &self.0
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        (&self.0).write(bytes)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn set_modified(&self, at: SystemTime) -> io::Result<()> {
        self.0.set_modified(at)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn lock(&self) -> io::Result<()> {
        self.0.lock()
    }

    fn try_lock(&self) -> Result<(), TryLockError> {
        self.0.try_lock()
    }

    fn try_lock_shared(&self) -> Result<(), TryLockError> {
        self.0.try_lock_shared()
    }

    fn unlock(&self) -> io::Result<()> {
        self.0.unlock()
    }
}

/// An open file as a [`Write`]. Its `write_all` continues after a partial write.
pub(crate) struct FileWriter<'a>(pub(crate) &'a dyn OpenFile);

impl Write for FileWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
