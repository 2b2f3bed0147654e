//! The seam: every effect on the files of a home goes through [`FileSystem`], so that a test can make any of them fail, or
//! the last thing that happened. Reading goes past it.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

/// Effects on names of files. [`SystemFiles`] is what everybody uses who does not test.
///
/// Each method is one call of the system and nothing more: no retry, no order, no clean-up. What makes an operation whole out
/// of them is built on top.
pub trait FileSystem: fmt::Debug + Send + Sync + 'static {
    /// Opens a file for writing. A file that is made is for this user only.
    ///
    /// # Errors
    /// What the system says.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn OpenFile>>;

    /// Makes one directory, for this user only, in one that is there.
    ///
    /// # Errors
    /// What the system says.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Gives a file another name, at once, in the place of whatever has that name.
    ///
    /// # Errors
    /// What the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives a file a second name that no other file may have.
    ///
    /// # Errors
    /// What the system says.
    fn hard_link(&self, original: &Path, link: &Path) -> io::Result<()>;

    /// Takes away a name, and the file with its last one.
    ///
    /// # Errors
    /// What the system says.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Puts the names in a directory on the medium: what was made, moved and removed in it.
    ///
    /// # Errors
    /// What the system says. What is on the medium then is not known.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
}

/// Effects on an open file.
pub trait OpenFile: fmt::Debug + Send + Sync + 'static {
    /// The file itself, to read it and to look at it; never to change it.
    fn file(&self) -> &File;

    /// Writes bytes, at the end in a file that was opened to append, and says how many of them were taken.
    ///
    /// # Errors
    /// What the system says.
    fn write(&self, bytes: &[u8]) -> io::Result<usize>;

    /// Makes the file this long.
    ///
    /// # Errors
    /// What the system says.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Says that the file was changed last at this time.
    ///
    /// # Errors
    /// What the system says.
    fn set_modified(&self, at: SystemTime) -> io::Result<()>;

    /// Puts the file's bytes and its length on the medium; not its names.
    ///
    /// # Errors
    /// What the system says. What is on the medium then is not known, and a second call that succeeds does not change that:
    /// the system may have dropped what it could not write.
    fn sync(&self) -> io::Result<()>;

    /// Waits for the exclusive lock on the file. It ends with [`unlock`](Self::unlock), or when the file is closed.
    ///
    /// # Errors
    /// What the system says.
    fn lock(&self) -> io::Result<()>;

    /// Takes the exclusive lock on the file, at once or not at all.
    ///
    /// # Errors
    /// [`TryLockError::WouldBlock`] when somebody has it.
    fn try_lock(&self) -> Result<(), TryLockError>;

    /// Takes a shared lock on the file, at once or not at all. It excludes an exclusive one and ends like one.
    ///
    /// # Errors
    /// [`TryLockError::WouldBlock`] when somebody has the exclusive lock.
    fn try_lock_shared(&self) -> Result<(), TryLockError>;

    /// Gives up the lock.
    ///
    /// # Errors
    /// What the system says.
    fn unlock(&self) -> io::Result<()>;
}

/// How a file is opened. Each can be read, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// To append to a file that must not be there yet.
    New,
    /// To append to a file that is there.
    Append,
    /// To append to a file that is made if it is not there.
    AppendOrNew,
    /// To lock a file that is made if it is not there.
    Lock,
    /// To lock a file that is there.
    LockExisting,
}

/// The files of the system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemFiles;

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

    /// Elsewhere directories cannot be synced; the file system orders names by itself.
    #[cfg(not(unix))]
    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

/// Options to open files that, if they are made, are for this user only.
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

/// An open file as something to write to; with `write_all`, what was taken in part is gone on with.
pub(crate) struct Writer<'a>(pub(crate) &'a dyn OpenFile);

impl Write for Writer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
