//! Import of segments into a home, part by part.
//!
//! The bytes of a segment are collected in a file beside its future path, under a name that no reader takes for a rollout. An
//! import that was interrupted continues there. Only the last step gives the file its name:
//!
//! ```text
//! append parts       a crash leaves a beginning of the segment, without a name
//! fsync              the same
//! link the name      the segment, and the name of the import
//! remove the name of the import
//! ```

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::side_files::parent;
use crate::error::{IoContext, Result};
use crate::file_system::{FileWriter, OpenFile, OpenMode};
use crate::home::RolloutHome;

impl RolloutHome {
    /// Returns the path at which the bytes of a segment are collected. `path` is the future path of the segment.
    #[must_use]
    pub fn partial_import_path(path: &Path) -> PathBuf {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        path.with_file_name(format!(".{name}.import"))
    }

    /// Returns whether a file name is one of [`partial_import_path`](Self::partial_import_path).
    pub(crate) fn is_partial_import(name: &str) -> bool {
        name.starts_with('.') && name.ends_with(".import")
    }

    /// Appends a part of the segment that belongs at `path`. `known` is the number of bytes collected so far.
    ///
    /// # Errors
    /// - With kind [`io::ErrorKind::ResourceBusy`] if another process imports the same segment.
    /// - If the system fails to do it.
    pub fn append_to_import(&self, path: &Path, known: u64, bytes: &[u8]) -> Result<()> {
        self.create_dir(parent(path))?;
        let partial = Self::partial_import_path(path);
        let file = self.open(&partial, OpenMode::AppendOrNew).context("open", &partial)?;
        append_at(&file, known, bytes).context("write", &partial)
    }

    /// Renames an imported segment to its final name, atomically. Its bytes are durable before.
    ///
    /// # Errors
    /// - With kind [`io::ErrorKind::AlreadyExists`] if there is a file of that name.
    /// - If the system fails to do it.
    pub fn finish_import(&self, path: &Path) -> Result<()> {
        let partial = Self::partial_import_path(path);
        let file = self.open(&partial, OpenMode::AppendOrNew).context("open", &partial)?;
        file.sync().context("sync", &partial)?;
        // A link and not a rename: it fails if another segment has the name, and the bytes keep a name until the end.
        self.file_system().hard_link(&partial, path).context("create", path)?;
        if self.is_synced() {
            self.sync_names(path)?;
        }
        self.remove_file(&partial)
    }

    /// Appends bytes to a file, which has `known` bytes. The caller holds the writer lock of the thread.
    ///
    /// # Errors
    /// If the system fails to do it.
    pub fn extend_file(&self, path: &Path, known: u64, bytes: &[u8]) -> Result<()> {
        let file = self.open(path, OpenMode::Append).context("open", path)?;
        append_at(&file, known, bytes).context("write", path)?;
        if self.is_synced() { file.sync().context("sync", path) } else { Ok(()) }
    }
}

/// Appends bytes to a file that ends at `known`. What a failed write left is removed.
///
/// The lock and the check of the length exclude a second importer: two of them would interleave their parts.
fn append_at(file: &Arc<dyn OpenFile>, known: u64, bytes: &[u8]) -> io::Result<()> {
    match file.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => return Err(io::ErrorKind::ResourceBusy.into()),
        Err(fs::TryLockError::Error(error)) => return Err(error),
    }
    let outcome = if file.file().metadata()?.len() == known {
        FileWriter(&**file).write_all(bytes).inspect_err(|_| _ = file.set_len(known))
    } else {
        Err(io::ErrorKind::ResourceBusy.into())
    };
    file.unlock()?;
    outcome
}
