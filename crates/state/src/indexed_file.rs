//! The files of a thread's history as the index knows them.

use std::path::{Path, PathBuf};

use selvedge_rollout::FileStamp;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::error::Result;
use crate::file_columns::{read_prefix, read_stamp};
use crate::indexed_prefix::IndexedPrefix;

/// A file as the index knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IndexedFile {
    pub(crate) path: PathBuf,
    stamp: FileStamp,
    prefix: IndexedPrefix,
}

/// What happened to a file since it was indexed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileChange {
    None,
    /// The file grew to this size in bytes.
    Grown(u64),
    /// The file was moved, removed or rewritten.
    Other,
}

impl IndexedFile {
    /// Reads a file from the columns `path, size, modified_ns, inode, indexed_bytes, last_line_start, last_line_hash`. `first` is
    /// the index of the first one, `root` the directory of the home. `None` if the columns are null, which is the result of an outer join
    /// without a match.
    pub(crate) fn read(row: &SqliteRow, first: usize, root: &Path) -> Result<Option<Self>> {
        let Some(path) = row.try_get::<Option<&str>, _>(first)? else { return Ok(None) };
        let path = root.join(path);
        Ok(Some(Self { path, stamp: read_stamp(row, first + 1)?, prefix: read_prefix(row, first + 4)? }))
    }

    /// Compares the file with what the index knows of it.
    pub(crate) fn change(&self) -> FileChange {
        match FileStamp::read(&self.path) {
            Ok(stamp) if stamp == self.stamp => FileChange::None,
            Ok(stamp) if self.prefix.has_grown_to(&self.path, &self.stamp, &stamp) => FileChange::Grown(stamp.size),
            _ => FileChange::Other,
        }
    }

    /// Returns how many bytes of lines the index has read.
    pub(crate) fn indexed_bytes(&self) -> u64 {
        self.prefix.end
    }

    /// Returns whether the file still begins with the lines that were indexed.
    pub(crate) fn has_indexed_lines(&self) -> bool {
        self.change() != FileChange::Other
    }
}

/// A part of a history: a file, and where the part ends in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IndexedPart {
    pub(crate) file: IndexedFile,
    /// The end, exclusive, of the inherited prefix. [`u64::MAX`] for the newest file, which may grow.
    pub(crate) end: u64,
}
