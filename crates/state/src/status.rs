//! The status of an index: how far it is behind its home.

use std::path::{Path, PathBuf};

use selvedge_protocol::Timestamp;
use serde::Serialize;

use crate::blocking::blocking;
use crate::error::Result;
use crate::index::StateIndex;
use crate::plan::UpdatePlan;

/// The status of an index, compared with its home.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct IndexStatus {
    /// The database file.
    pub path: PathBuf,
    /// Size in bytes of the file and of the files that SQLite keeps beside it.
    pub size: u64,
    /// Threads in the index.
    pub threads: u64,
    /// Threads in the home.
    pub threads_in_home: u64,
    /// Threads that an update has to read, because they are new or changed.
    pub changed: u64,
    /// Bytes on disk that an update has to read.
    pub changed_bytes: u64,
    /// Threads in the index that have no file any more.
    pub gone: u64,
    /// When every file was last compared with the index. `None` if the index was never filled.
    pub checked_at: Option<Timestamp>,
}

impl StateIndex {
    /// Compares the index with every file of the home, and changes nothing.
    ///
    /// # Errors
    /// If the directories of the home or the database cannot be read.
    pub async fn status(&self) -> Result<IndexStatus> {
        // First of all: another process may fill the index meanwhile. Then the status shows an old time with few changes, and not
        // a new time with many.
        let checked_at = self.checked_at().await?;
        let plan = self.plan_update(self.home_files().await?, None).await?;
        let UpdatePlan { files, jobs, gone } = &plan;
        let threads: i64 = sqlx::query_scalar("SELECT count(*) FROM threads").fetch_one(&self.database.readers).await?;
        // The log of the database can be larger than the database itself, until it is written back.
        let path = self.database.path.clone();
        let size = blocking(move || Ok(["", "-wal", "-shm"].iter().map(|end| size_of(&path, end)).sum())).await?;
        Ok(IndexStatus {
            path: self.database.path.clone(),
            size,
            threads: threads.cast_unsigned(),
            threads_in_home: files.threads().count() as u64,
            changed: jobs.len() as u64,
            changed_bytes: plan.bytes(),
            gone: gone.len() as u64,
            checked_at,
        })
    }
}

fn size_of(path: &Path, end: &str) -> u64 {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    std::fs::metadata(name).map_or(0, |metadata| metadata.len())
}
