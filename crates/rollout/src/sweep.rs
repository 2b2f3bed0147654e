//! What processes that died left behind: temporary files and lock files. It is taken away by the next one that writes nearby.
//!
//! Nothing that a live process is at work on is touched: it holds the kernel's lock on its temporary file, and on the lock
//! file of its thread, and both end with the process.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::file_system::OpenMode;
use crate::files::is_temporary;
use crate::layout::RolloutHome;

/// The directories that were swept already. A process that dies leaves something once, so that once is enough.
#[derive(Debug, Default)]
pub(crate) struct Swept(Mutex<HashSet<PathBuf>>);

impl Swept {
    /// Whether nobody has asked this of a directory before.
    pub(crate) fn is_first(&self, dir: &Path) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(dir.to_owned())
    }
}

impl RolloutHome {
    /// Removes the temporary files of dead processes from a directory, the first time that this home is written there. That
    /// some cannot be removed is no failure: they are in nobody's way.
    pub(crate) fn sweep(&self, dir: &Path) {
        if !self.swept.is_first(dir) {
            return;
        }
        let names = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.file_name());
        for name in names.filter(|name| name.to_str().is_some_and(is_temporary)) {
            self.remove_unless_locked(&dir.join(name));
        }
    }

    /// Removes a file that nobody holds the lock of.
    pub(crate) fn remove_unless_locked(&self, path: &Path) {
        let Ok(file) = self.file_system().open(path, OpenMode::LockExisting) else { return };
        if file.try_lock().is_ok() {
            let _ = self.file_system().remove_file(path);
        }
    }
}
