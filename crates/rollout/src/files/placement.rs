//! Atomic placement: a file gets its name only when its content is complete.
//!
//! # Steps, and what a crash between them leaves
//!
//! ```text
//! 1  create a temporary file beside the path, lock it    a temporary file
//! 2  write the content                                   a temporary file
//! 3  fsync the temporary file                            a temporary file
//! 4  link (new file) or rename (replacement)             the new file; after a link also the temporary name
//! 5  remove the temporary name, after a link             the new file
//! 6  fsync the directories, at level `synced`            the new file, durably
//! ```
//!
//! So a process that dies leaves the old state or the new one. The temporary file may remain; [`sweep`](super::sweep) removes it.
//!
//! A power loss leaves the same, because the bytes are durable (step 3) before the name can be (step 4). Step 3 runs at any
//! level, except for a log ([`SyncPolicy::ByLevel`]). What is removed in favor of a new file is removed only when the new name
//! is durable. The level decides only when the call returns: at [`Durability::Synced`](selvedge_protocol::Durability::Synced)
//! after step 6.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::side_files::{parent, temporary_beside};
use crate::error::{IoContext, Result};
use crate::file_system::{FileWriter, OpenFile, OpenMode};
use crate::home::RolloutHome;

/// When the bytes of a new file are synced before it gets its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SyncPolicy {
    /// At any level. For a file of which other files or readers need all bytes or none.
    Always,
    /// Only at level `synced`. For a new log: at level `written` a power loss may take the end of a log anyway.
    ByLevel,
}

impl RolloutHome {
    /// Creates a file with this content, atomically. There must be no file at the path. The bytes are durable before the file has
    /// its name, at any level.
    ///
    /// # Errors
    /// - With kind [`io::ErrorKind::AlreadyExists`] if there is a file at the path.
    /// - If the system fails to do it.
    ///
    /// There is no new file then.
    pub fn write_new_file(&self, path: &Path, content: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
        self.place_new_file(path, SyncPolicy::Always, content).map(drop)
    }

    /// Creates a file like [`write_new_file`](Self::write_new_file), and returns it, open to append to it.
    pub(crate) fn place_new_file(
        &self,
        path: &Path,
        policy: SyncPolicy,
        content: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<Arc<dyn OpenFile>> {
        let temporary = self.write_temporary(path, policy, content)?;
        // A hard link fails if the path is taken. A rename would replace the other file.
        self.file_system().hard_link(&temporary.path, path).context("create", path)?;
        let file = Arc::clone(&temporary.file);
        drop(temporary);
        if self.is_synced()
            && let Err(error) = self.sync_names(path)
        {
            // An error has to mean that there is no new file. This is the best that can be done on a device that fails.
            let _ = self.file_system().remove_file(path);
            return Err(error);
        }
        Ok(file)
    }

    /// Replaces a file by one with this content, atomically: readers see the old file or the new one, and after a crash there is
    /// one of them.
    ///
    /// # Errors
    /// If the system fails to do it. The old file is unchanged then, unless only the fsync of the directories failed: then the
    /// new file is there, and after a power loss either one.
    pub fn replace_file(&self, path: &Path, content: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
        let mut temporary = self.write_temporary(path, SyncPolicy::Always, content)?;
        self.file_system().rename(&temporary.path, path).context("replace", path)?;
        temporary.is_renamed = true;
        if self.is_synced() { self.sync_names(path) } else { Ok(()) }
    }

    /// Writes and syncs a temporary file beside `path` (steps 1 to 3).
    pub(crate) fn write_temporary(
        &self,
        path: &Path,
        policy: SyncPolicy,
        content: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<TemporaryFile<'_>> {
        let temporary = self.fill_temporary(path, content)?;
        if policy == SyncPolicy::Always || self.is_synced() {
            temporary.file.sync().context("sync", path)?;
        }
        Ok(temporary)
    }

    /// Writes a temporary file beside `path` (steps 1 and 2). The caller syncs it.
    pub(crate) fn fill_temporary(
        &self,
        path: &Path,
        content: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<TemporaryFile<'_>> {
        let dir = parent(path);
        self.create_dir(dir)?;
        self.sweep(dir);
        let temporary = self.open_temporary(path)?;
        let mut writer = io::BufWriter::with_capacity(1 << 16, FileWriter(&*temporary.file));
        content(&mut writer).and_then(|()| writer.flush()).context("write", path)?;
        drop(writer);
        Ok(temporary)
    }

    /// Creates and locks a temporary file (step 1). The lock shows other processes that this one is still working on it.
    fn open_temporary(&self, path: &Path) -> Result<TemporaryFile<'_>> {
        loop {
            let name = temporary_beside(path);
            let file = self.open(&name, OpenMode::New).context("create", &name)?;
            let temporary = TemporaryFile { home: self, path: name, file, is_renamed: false };
            // On a file system without locks no sweep can lock the file either, so that it is not removed.
            let is_locked = temporary.file.lock().is_ok();
            // Between the creation and the lock, the sweep of another process may have removed the file as a leftover.
            if !is_locked || temporary.path.exists() {
                return Ok(temporary);
            }
        }
    }
}

/// A file under a temporary name. The name is removed when the value is dropped, after success as well as after a failure.
pub(crate) struct TemporaryFile<'a> {
    home: &'a RolloutHome,
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<dyn OpenFile>,
    /// Whether the file was renamed, so that the temporary name no longer exists.
    pub(crate) is_renamed: bool,
}

impl Drop for TemporaryFile<'_> {
    fn drop(&mut self) {
        if !self.is_renamed {
            // If this fails, the file stays as a leftover and a later sweep removes it.
            let _ = self.home.file_system().remove_file(&self.path);
        }
        let _ = self.file.unlock();
    }
}
