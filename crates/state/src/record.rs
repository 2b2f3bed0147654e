//! The record of a thread as the database stores it.

use std::path::Path;

use selvedge_protocol::StoredThread;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::error::Result;

/// Reads a thread from the columns `record, name, archived, path`. The last three are columns of their own because they change
/// without the log. Without a `root` the location stays empty.
pub(crate) fn read_record(row: &SqliteRow, root: Option<&Path>) -> Result<StoredThread> {
    let record: &str = row.try_get(0)?;
    let mut thread: StoredThread = serde_json::from_str(record).map_err(|error| sqlx::Error::Decode(error.into()))?;
    thread.name = row.try_get(1)?;
    thread.archived = row.try_get(2)?;
    let path: &str = row.try_get(3)?;
    thread.location = root.map(|root| root.join(path).to_string_lossy().into_owned());
    Ok(thread)
}
