//! The columns that describe files.

use selvedge_rollout::FileStamp;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::error::Result;
use crate::indexed_prefix::IndexedPrefix;
use crate::sql::unsigned;

/// Reads a stamp from the columns `size, modified_ns, inode`. `first` is the index of the first one.
pub(crate) fn read_stamp(row: &SqliteRow, first: usize) -> Result<FileStamp> {
    Ok(FileStamp {
        size: unsigned(row.try_get(first)?),
        changed_ns: row.try_get(first + 1)?,
        inode: unsigned(row.try_get(first + 2)?),
    })
}

/// Reads a prefix from the columns `indexed_bytes, last_line_start, last_line_hash`. `first` is the index of the first one.
pub(crate) fn read_prefix(row: &SqliteRow, first: usize) -> Result<IndexedPrefix> {
    Ok(IndexedPrefix {
        end: unsigned(row.try_get(first)?),
        last_line_start: unsigned(row.try_get(first + 1)?),
        last_line_hash: unsigned(row.try_get(first + 2)?),
    })
}
