//! Directories of a home: creating them, and refusing symbolic links that lead out of the home.

use std::io;
use std::path::Path;

use super::side_files::parent;
use crate::error::{IoContext, Result};
use crate::home::RolloutHome;

impl RolloutHome {
    /// Creates a directory and its missing ancestors, private to the user. Their names are durable at any level: otherwise a power
    /// loss could take the directory, together with a file that was moved into it.
    ///
    /// # Errors
    /// If a directory cannot be created, or a symbolic link on the path leads out of the home.
    pub fn create_dir(&self, path: &Path) -> Result<()> {
        self.refuse_links(path)?;
        // From the top down, each directory is created and its parent synced.
        let missing: Vec<&Path> = path.ancestors().take_while(|dir| !dir.is_dir()).collect();
        for dir in missing.into_iter().rev().filter(|dir| !dir.as_os_str().is_empty()) {
            match self.file_system().create_dir(dir) {
                // Another process created it in the meantime.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => {}
                other => other.context("create directory", dir)?,
            }
            self.sync_dir(parent(dir)).context("sync", parent(dir))?;
        }
        Ok(())
    }

    /// Refuses a path on which a symbolic link leads out of the home. Otherwise a program that plants such a link could choose what
    /// is read as a thread, or where transcripts are written.
    ///
    /// The home itself may be a link. A link that stays inside the home is allowed, too.
    pub(crate) fn refuse_links(&self, path: &Path) -> Result<()> {
        let inside = path.ancestors().take_while(|part| part.starts_with(self.root()) && *part != self.root());
        for part in inside.filter(|part| part.is_symlink()) {
            let leads_out = match (part.canonicalize(), self.root().canonicalize()) {
                (Ok(target), Ok(root)) => !target.starts_with(root),
                // A link without a target can get one outside of the home at any time.
                _ => true,
            };
            if leads_out {
                let why = "it is a symbolic link that leads out of the home; put the directory or file itself there";
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, why)).context("follow", part);
            }
        }
        Ok(())
    }
}
