//! Segments that are copied into a home, piece by piece.
//!
//! Until a segment is there as a whole, its bytes are gathered in a file beside the place where it belongs, under a name that
//! no reader takes for a rollout. A copy that breaks off goes on there; the last piece gives the file its real name.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{IoContext, Result};
use crate::file_system::{OpenFile, OpenMode, Writer};
use crate::files::parent;
use crate::layout::RolloutHome;

impl RolloutHome {
    /// Where a segment that belongs at `path` is gathered.
    #[must_use]
    pub fn import_path(path: &Path) -> PathBuf {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        path.with_file_name(format!(".{name}.import"))
    }

    /// Appends bytes to what was gathered of the segment that belongs at `path`, which has `known` bytes.
    ///
    /// # Errors
    /// When the system refuses; with [`io::ErrorKind::ResourceBusy`] when somebody else gathers the same segment.
    pub fn gather_import(&self, path: &Path, known: u64, bytes: &[u8]) -> Result<()> {
        self.create_dir(parent(path))?;
        let gathered = Self::import_path(path);
        let file = self.file_system().open(&gathered, OpenMode::AppendOrNew).context("open", &gathered)?;
        append_at(&file, known, bytes).context("write", &gathered)
    }

    /// Gives a gathered segment its real name: at once, for all to see. Its bytes are on the medium before.
    ///
    /// # Errors
    /// When the system refuses; with [`io::ErrorKind::AlreadyExists`] when there is a file of that name.
    pub fn finish_import(&self, path: &Path) -> Result<()> {
        let gathered = Self::import_path(path);
        let file = self.file_system().open(&gathered, OpenMode::AppendOrNew).context("open", &gathered)?;
        file.sync().context("sync", &gathered)?;
        self.file_system().hard_link(&gathered, path).context("create", path)?;
        if self.is_synced() {
            self.sync_names(path)?;
        }
        self.remove_file(&gathered)
    }

    /// Appends bytes to a file that has `known` bytes. For who holds the lock of the thread.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn extend_file(&self, path: &Path, known: u64, bytes: &[u8]) -> Result<()> {
        let file = self.file_system().open(path, OpenMode::Append).context("open", path)?;
        append_at(&file, known, bytes).context("write", path)?;
        if self.is_synced() { file.sync().context("sync", path) } else { Ok(()) }
    }
}

/// Appends bytes to a file that ends at `known`. What a failed write left is taken back.
fn append_at(file: &Arc<dyn OpenFile>, known: u64, bytes: &[u8]) -> io::Result<()> {
    match file.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => return Err(io::ErrorKind::ResourceBusy.into()),
        Err(fs::TryLockError::Error(error)) => return Err(error),
    }
    let outcome = if file.file().metadata()?.len() == known {
        Writer(&**file).write_all(bytes).inspect_err(|_| _ = file.set_len(known))
    } else {
        Err(io::ErrorKind::ResourceBusy.into())
    };
    file.unlock()?;
    outcome
}
