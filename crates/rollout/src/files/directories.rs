//! Directories of a home: creating them, and refusing symbolic links that lead out of the home.

use std::fs::{self, Metadata};
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
            match self.make_dir(dir) {
                // Another process created it in the meantime.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => {}
                other => other.context("create directory", dir)?,
            }
            self.sync_dir(parent(dir)).context("sync", parent(dir))?;
        }
        Ok(())
    }

    /// Creates the directory of the home, if it does not exist.
    ///
    /// # Errors
    /// If the system fails to do it, or there is a file in its place.
    pub fn create(&self) -> Result<()> {
        self.create_dir(self.root())
    }

    /// Refuses a path on which a symbolic link leads out of the home. Otherwise a program that plants such a link could choose what
    /// is read as a thread, or where transcripts are written.
    ///
    /// The home itself may be a link, and a link that stays inside the home is allowed. `sessions` and `archived_sessions` may be
    /// links to any directory, if the owner of the home made them: people share homes that way. What counts as inside the home is
    /// then what is inside of these directories, too.
    pub(crate) fn refuse_links(&self, path: &Path) -> Result<()> {
        let inside = path.ancestors().take_while(|part| part.starts_with(self.root()) && *part != self.root());
        for part in inside {
            let Some(link) = fs::symlink_metadata(part).ok().filter(Metadata::is_symlink) else { continue };
            let is_top = part == self.sessions_dir() || part == self.archived_dir();
            let (kind, why) = match part.canonicalize() {
                Ok(target) if self.contains(&target) => continue,
                Ok(_) if !is_top => (
                    io::ErrorKind::PermissionDenied,
                    "it is a symbolic link that leads out of the home; put the directory or file itself there",
                ),
                Ok(_) if self.is_of_owner(&link) => continue,
                Ok(_) => (
                    io::ErrorKind::PermissionDenied,
                    "it is a symbolic link that leads out of the home, and the owner of the home did not make it; `chown -h` \
                     gives it to the owner",
                ),
                // A link without a target can get one outside of the home at any time.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    (io::ErrorKind::NotADirectory, "it is a symbolic link, and what it leads to does not exist")
                }
                Err(error) => return Err(error).context("follow", part),
            };
            return Err(io::Error::new(kind, why)).context("follow", part);
        }
        Ok(())
    }

    /// Returns whether an absolute path without links is inside the home, or inside a directory that the owner of the home linked
    /// into it.
    fn contains(&self, target: &Path) -> bool {
        let is_linked_by_owner = |dir: &Path| {
            fs::symlink_metadata(dir).is_ok_and(|metadata| metadata.is_symlink() && self.is_of_owner(&metadata))
        };
        let linked = [self.sessions_dir(), self.archived_dir()].into_iter().filter(|dir| is_linked_by_owner(dir));
        let mut roots = [self.root().to_owned()].into_iter().chain(linked);
        roots.any(|root| root.canonicalize().is_ok_and(|root| target.starts_with(root)))
    }
}
