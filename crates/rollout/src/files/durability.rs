//! Fsync of files and of the directories that hold their names.

use std::io;
use std::path::Path;

use super::side_files::parent;
use crate::error::{IoContext, Result};
use crate::file_system::OpenMode;
use crate::home::RolloutHome;

impl RolloutHome {
    /// Makes the name of a file durable, and the names of the directories above it up to the home. All of them, because another
    /// process at level `written` may have created these directories.
    pub(crate) fn sync_names(&self, path: &Path) -> Result<()> {
        for dir in path.ancestors().skip(1) {
            self.sync_dir(dir).context("sync", dir)?;
            if dir == self.root() || !dir.starts_with(self.root()) {
                break;
            }
        }
        Ok(())
    }

    /// Calls fsync on a directory: makes durable which names are in it.
    pub(crate) fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        // The parent of a relative path without a directory is the empty path.
        let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        self.file_system().sync_dir(dir)
    }

    /// Makes the bytes of a file durable at any level, whichever process wrote them. At level `synced` its names, too.
    ///
    /// Required before another segment refers to a position in this file. A power loss could take bytes before that
    /// position. Later lines would be written in their place, and the reference would lead to the wrong lines.
    ///
    /// # Errors
    /// If the system fails to do it.
    pub fn sync_file(&self, path: &Path) -> Result<()> {
        let file = self.open(path, OpenMode::Append).context("open", path)?;
        file.sync().context("sync", path)?;
        if self.is_synced() { self.sync_names(path) } else { Ok(()) }
    }

    /// Makes a rename that was done as durable as the home's level requires.
    ///
    /// # Errors
    /// If the system fails to do it.
    pub fn sync_rename(&self, from: &Path, to: &Path) -> Result<()> {
        if !self.is_synced() {
            return Ok(());
        }
        // The new name first. Otherwise a power loss could come when the removal of the old name is durable and the
        // new name is not. The file would have no name then. In this order it can have both names, which `move_file`
        // resolves.
        self.sync_names(to)?;
        self.sync_removal(from)
    }

    /// Makes the removal of a file as durable as the home's level requires.
    ///
    /// # Errors
    /// If the system fails to do it.
    pub fn sync_removal(&self, path: &Path) -> Result<()> {
        let dir = parent(path);
        if self.is_synced() && dir.is_dir() { self.sync_dir(dir).context("sync", dir) } else { Ok(()) }
    }
}
