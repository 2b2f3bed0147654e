//! What state the index is in.

use std::path::{Path, PathBuf};

use selvedge_protocol::Timestamp;
use serde::Serialize;

use crate::StateIndex;
use crate::error::Result;
use crate::plan::Plan;
use crate::update::blocking;

/// How an index and its home stand to each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct IndexStatus {
    /// The database file.
    pub path: PathBuf,
    /// Bytes of the file and of what SQLite keeps beside it.
    pub size: u64,
    /// Threads that are in the index.
    pub threads: u64,
    /// Threads of the home.
    pub threads_in_home: u64,
    /// Threads that have to be read, because they are new or changed.
    pub changed: u64,
    /// Bytes of them that have to be read, as they lie on disk.
    pub changed_bytes: u64,
    /// Threads in the index that are gone.
    pub gone: u64,
    /// When every file was last looked at; nothing while the index was never filled.
    pub checked_at: Option<Timestamp>,
}

impl StateIndex {
    /// Compares the index with every file of the home, and changes nothing.
    ///
    /// # Errors
    /// When the directories of the home or the database cannot be read.
    pub async fn status(&self) -> Result<IndexStatus> {
        // First: what had been looked at by then is not told to be unread, though somebody else fills the index meanwhile.
        let checked_at = self.checked_at().await?;
        let plan = self.plan(self.home_files().await?, None).await?;
        let Plan { files, jobs, gone } = &plan;
        let threads: i64 = sqlx::query_scalar("SELECT count(*) FROM threads").fetch_one(&self.database.readers).await?;
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
