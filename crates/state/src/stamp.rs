//! Stamps of files in the database.

use selvedge_rollout::FileStamp;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::error::Result;
use crate::write::unsigned;

/// Reads a stamp from the columns `size, modified_ns, inode`, the first of which is column `first`.
pub(crate) fn stamp_of_row(row: &SqliteRow, first: usize) -> Result<FileStamp> {
    Ok(FileStamp {
        size: unsigned(row.try_get(first)?),
        changed_ns: row.try_get(first + 1)?,
        inode: unsigned(row.try_get(first + 2)?),
    })
}
