//! Moving and removing files.

use std::io;
use std::path::Path;

use super::compare::have_same_content;
use super::side_files::parent;
use crate::error::{IoContext, Result};
use crate::home::RolloutHome;

impl RolloutHome {
    /// Moves a file to another path, and creates the directory if it is missing.
    ///
    /// A file that is already there must have the same content. It is then what an interrupted move left, and the move is completed.
    ///
    /// # Errors
    /// - With kind [`io::ErrorKind::AlreadyExists`] if there is another file at the new path.
    /// - If the system fails to do it.
    ///
    /// The file is then at its old path. If only the fsync failed, it is at its new path.
    pub fn move_file(&self, from: &Path, to: &Path) -> Result<()> {
        let dir = parent(to);
        self.create_dir(dir)?;
        self.sweep(dir);
        if !to.try_exists().context("stat", to)? {
            // The caller holds the writer lock of the thread. So neither Selvedge nor Codex creates a file there
            // between the check and the rename.
            self.file_system().rename(from, to).context("move", from)?;
        } else if have_same_content(from, to).context("compare", to)? {
            // Both exist after a power loss that kept the new name and not the removal of the old one.
            self.file_system().remove_file(from).context("remove", from)?;
        } else {
            return Err(io::Error::from(io::ErrorKind::AlreadyExists)).context("move a file to", to);
        }
        self.sync_rename(from, to)
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
