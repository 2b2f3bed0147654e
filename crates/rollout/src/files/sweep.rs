//! Removal of the temporary files that dead processes left.
//!
//! The next process that writes in a directory sweeps it. A file of a live process stays: the process holds the kernel's lock on
//! its temporary file, and that lock ends with the process.

use std::fs;
use std::path::Path;

use super::side_files::temporary_target;
use crate::file_system::OpenMode;
use crate::home::RolloutHome;

impl RolloutHome {
    /// Removes the temporary files of dead processes from a directory, at the first write to it by this process. A file that cannot
    /// be removed is no error, because it does no harm.
    pub(crate) fn sweep(&self, dir: &Path) {
        if !self.is_first_sweep(dir) {
            return;
        }
        let names = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.file_name());
        for name in names.filter(|name| name.to_str().and_then(temporary_target).is_some()) {
            self.remove_unless_locked(&dir.join(name));
        }
    }

    /// Removes a file unless a process holds a lock on it.
    pub(crate) fn remove_unless_locked(&self, path: &Path) {
        let Ok(file) = self.open(path, OpenMode::LockExisting) else { return };
        // The name is removed while this process holds the lock. Its owner may have created the file just now and not have locked
        // it yet; `open_temporary` notices that and creates another one.
        if file.try_lock().is_ok() {
            let _ = self.file_system().remove_file(path);
        }
    }
}
