//! The owner of what is made: under `sudo`, the owner of the home and not root.
//!
//! A person who runs one command with `sudo` must still be able to write the home afterwards without it. So whatever a process of root
//! makes in the home of another user is given to that user:
//!
//! ```text
//! a new file that is placed       created under a temporary name, given away, then it gets its name
//! a lock, the name index          the same, if it does not exist yet
//! a directory                     created, then given away at once
//! ```
//!
//! So a file under its own name never belongs to root, and a crash leaves at worst a temporary file or an empty directory of root.
//! The owner is set directly and not through [`FileSystem`](crate::FileSystem), because no content depends on it.

use std::fs::{self, File, Metadata};
use std::io;
use std::path::Path;
use std::sync::Arc;

#[cfg(unix)]
use super::side_files::temporary_beside;
use crate::file_system::{OpenFile, OpenMode};
use crate::home::RolloutHome;

/// How often a lock file is created again that another process removes in the same moment.
#[cfg(unix)]
const CREATE_ATTEMPTS: usize = 100;

/// A user and a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileOwner {
    user: u32,
    group: u32,
}

impl FileOwner {
    #[cfg(unix)]
    fn of(metadata: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        Self { user: metadata.uid(), group: metadata.gid() }
    }

    #[cfg(not(unix))]
    fn of(_: &Metadata) -> Self {
        Self { user: 0, group: 0 }
    }
}

impl RolloutHome {
    /// Returns the owner of the home, or of the directory in which it will be created.
    fn owner(&self) -> Option<FileOwner> {
        let existing = self.root().ancestors().find_map(|dir| {
            let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
            fs::metadata(dir).ok()
        });
        existing.map(|metadata| FileOwner::of(&metadata))
    }

    /// Returns the user to whom this process has to give what it makes: if it runs as root, the owner of the home.
    fn owner_to_give_to(&self) -> Option<FileOwner> {
        #[cfg(unix)]
        let is_root = rustix::process::geteuid().is_root();
        #[cfg(not(unix))]
        let is_root = false;
        self.owner().filter(|owner| is_root && owner.user != 0)
    }

    /// Returns whether a link or a file was made by the owner of the home. On a system without users, everything was.
    pub(crate) fn is_of_owner(&self, metadata: &Metadata) -> bool {
        self.owner().is_none_or(|owner| FileOwner::of(metadata).user == owner.user)
    }

    /// Opens a file of the home. A file that is created belongs to the owner of the home. Every file is opened here.
    pub(crate) fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn OpenFile>> {
        match self.owner_to_give_to() {
            Some(owner) => self.open_as(path, mode, owner),
            None => self.file_system().open(path, mode),
        }
    }

    #[cfg(unix)]
    fn open_as(&self, path: &Path, mode: OpenMode, owner: FileOwner) -> io::Result<Arc<dyn OpenFile>> {
        let existing = match mode {
            OpenMode::New => return self.create_as(path, owner),
            OpenMode::AppendOrNew => OpenMode::Append,
            OpenMode::Lock => OpenMode::LockExisting,
            OpenMode::Append | OpenMode::LockExisting => return self.file_system().open(path, mode),
        };
        // A file that other processes open by its name must belong to the owner when it gets that name.
        for _ in 0..CREATE_ATTEMPTS {
            match self.file_system().open(path, existing) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                outcome => return outcome,
            }
            let temporary = temporary_beside(path);
            let file = self.create_as(&temporary, owner)?;
            let linked = self.file_system().hard_link(&temporary, path);
            let removed = self.file_system().remove_file(&temporary);
            match linked {
                Ok(()) => return removed.map(|()| file),
                // Another process created the file, or removed the temporary one as a leftover.
                Err(error) if matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::from(io::ErrorKind::ResourceBusy))
    }

    #[cfg(not(unix))]
    fn open_as(&self, path: &Path, mode: OpenMode, _: FileOwner) -> io::Result<Arc<dyn OpenFile>> {
        self.file_system().open(path, mode)
    }

    #[cfg(unix)]
    fn create_as(&self, path: &Path, owner: FileOwner) -> io::Result<Arc<dyn OpenFile>> {
        let file = self.file_system().open(path, OpenMode::New)?;
        if let Err(error) = give(file.file(), owner) {
            let _ = self.file_system().remove_file(path);
            return Err(error);
        }
        Ok(file)
    }

    /// Makes the owner of the home the owner of a file that this process has just created, if this process runs as root. For files that are
    /// not created by this crate: the index.
    ///
    /// # Errors
    /// If the system fails to do it.
    pub fn give_to_owner(&self, file: &File) -> io::Result<()> {
        self.owner_to_give_to().map_or(Ok(()), |owner| give(file, owner))
    }

    /// Creates one directory, which belongs to the owner of the home.
    pub(crate) fn make_dir(&self, path: &Path) -> io::Result<()> {
        let owner = self.owner_to_give_to();
        self.file_system().create_dir(path)?;
        owner.map_or(Ok(()), |owner| give(&open_new_dir(path)?, owner))
    }
}

/// Opens a directory that this process has just created. It refuses a link, which the owner of the home may have put there since.
#[cfg(unix)]
fn open_new_dir(path: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
    Ok(File::from(rustix::fs::open(path, flags, Mode::empty())?))
}

#[cfg(not(unix))]
fn open_new_dir(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// Makes a user the owner of a file, unless it belongs to that user already: some file systems decide the owner themselves.
#[cfg(unix)]
fn give(file: &File, owner: FileOwner) -> io::Result<()> {
    if FileOwner::of(&file.metadata()?) == owner {
        return Ok(());
    }
    std::os::unix::fs::fchown(file, Some(owner.user), Some(owner.group))
}

#[cfg(not(unix))]
fn give(_: &File, _: FileOwner) -> io::Result<()> {
    Ok(())
}
