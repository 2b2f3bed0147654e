//! Moving and removing files.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::compare::{begins_with, have_same_content};
use super::side_files::parent;
use crate::error::{IoContext, Result};
use crate::home::RolloutHome;

impl RolloutHome {
    /// Moves a file to another path, and creates the directory if it is missing. The two may be on different file systems: then the
    /// file is copied, the copy is synced and gets its name, and only then the original is removed.
    ///
    /// ```text
    /// one file system              rename              before it the file is at its old path, after it at its new one
    /// two file systems, at any level:
    ///   copy to a temporary file, sync it              the original, and a temporary file
    ///   rename it to the new path, sync the directory  two equal files
    ///   remove the original                            the file at its new path
    /// ```
    ///
    /// A file that is already at the new path is what an interrupted move left: then one of the two has all bytes of the other. The
    /// longer one stays, because the thread may have been continued since, and the move is completed.
    ///
    /// # Errors
    /// - With kind [`io::ErrorKind::AlreadyExists`] if there is another file at the new path.
    /// - If the system fails to do it, or another program changes the file while it is copied.
    ///
    /// The file is then at its old path. If only the fsync or the removal failed, it is at its new path.
    pub fn move_file(&self, from: &Path, to: &Path) -> Result<()> {
        let dir = parent(to);
        self.create_dir(dir)?;
        self.sweep(dir);
        // The caller holds the writer lock of the thread. So neither Selvedge nor Codex creates a file there between the check and
        // the rename.
        if to.try_exists().context("stat", to)? {
            if is_beginning_of(from, to).context("compare", to)? {
                // The new name is durable before the old one goes, which may be on another file system.
                self.sync_dir(dir).context("sync", dir)?;
                self.file_system().remove_file(from).context("remove", from)?;
                return self.sync_rename(from, to);
            }
            if !is_beginning_of(to, from).context("compare", to)? {
                return Err(io::Error::from(io::ErrorKind::AlreadyExists)).context("move a file to", to);
            }
        }
        match self.file_system().rename(from, to) {
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => self.copy_and_remove(from, to)?,
            outcome => outcome.context("move", from)?,
        }
        self.sync_rename(from, to)
    }

    /// Moves a file to a path on another file system.
    fn copy_and_remove(&self, from: &Path, to: &Path) -> Result<()> {
        let mut source = File::open(from).context("open", from)?;
        let before = source.metadata().context("read", from)?;
        let modified = before.modified().context("read", from)?;
        let is_unchanged = || -> io::Result<bool> {
            let now = fs::metadata(from)?;
            Ok(now.len() == before.len() && now.modified()? == modified)
        };
        let mut temporary = self.fill_temporary(to, |out| io::copy(&mut source, out).map(drop))?;
        temporary.file.set_modified(modified).context("set the time of", to)?;
        temporary.file.sync().context("sync", to)?;
        // The original is removed below, so the copy is read back.
        if !is_unchanged().context("stat", from)?
            || !have_same_content(from, &temporary.path).context("compare", from)?
        {
            return Err(io::Error::other(CHANGED)).context("move", from);
        }
        self.file_system().rename(&temporary.path, to).context("create", to)?;
        temporary.is_renamed = true;
        self.sync_dir(parent(to)).context("sync", parent(to))?;
        // The last check before the only step that cannot be undone. Without the copy, the file is where it was.
        if !is_unchanged().context("stat", from)? {
            self.remove_file(to)?;
            return Err(io::Error::other(CHANGED)).context("move", from);
        }
        self.file_system().remove_file(from).context("remove", from)
    }

    /// Removes a file. Succeeds if there is no such file. The removal is durable after [`sync_removal`](Self::sync_removal).
    ///
    /// # Errors
    /// If the system fails to do it.
    pub fn remove_file(&self, path: &Path) -> Result<()> {
        match self.file_system().remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.context("remove", path),
        }
    }
}

/// The reason of an error after a program that takes no lock changed the file that was being copied.
const CHANGED: &str = "another program changed it meanwhile";

/// Returns whether a file has all bytes of another one, from its first byte on.
fn is_beginning_of(beginning: &Path, whole: &Path) -> io::Result<bool> {
    let is_no_longer = fs::metadata(beginning)?.len() <= fs::metadata(whole)?.len();
    Ok(is_no_longer && begins_with(File::open(whole)?, File::open(beginning)?)?)
}
