//! The files of the home, and when they can be assumed to be the same as before.

use std::sync::{Arc, PoisonError};

use selvedge_rollout::{HomeDirectories, HomeFiles, RolloutHome};

use crate::blocking::blocking;
use crate::database::WaitPolicy;
use crate::error::Result;
use crate::index::StateIndex;

/// The files of a home at one moment.
#[derive(Debug)]
pub(crate) struct HomeSnapshot {
    pub(crate) files: Arc<HomeFiles>,
    /// The stamps of the directories. `None` if the files are those of the last snapshot.
    pub(crate) directories: Option<HomeDirectories>,
}

impl StateIndex {
    /// Lists the files of the home.
    pub(crate) async fn snapshot_home(&self) -> Result<HomeSnapshot> {
        let (cached_home, last_files) = (Arc::clone(&self.cached_home), self.last_files());
        blocking(move || {
            let (files, directories) = cached_home.files_and_directories(last_files.as_ref())?;
            Ok(HomeSnapshot { files, directories })
        })
        .await
    }

    /// Lists the files of the home, without their directories.
    pub(crate) async fn home_files(&self) -> Result<Arc<HomeFiles>> {
        let cached_home = Arc::clone(&self.cached_home);
        blocking(move || Ok(cached_home.files()?)).await
    }

    /// Remembers a snapshot of which the index knows every file. This process keeps its files, and the database keeps
    /// the stamps of the directories, for other processes and later ones.
    pub(crate) async fn remember_snapshot(&self, snapshot: HomeSnapshot, wait: WaitPolicy) -> Result<()> {
        *self.last_files.lock().unwrap_or_else(PoisonError::into_inner) = Some(snapshot.files);
        if let Some(directories) = snapshot.directories
            && let Ok(directories) = serde_json::to_string(&directories)
            // Usually they are the same, and then nothing is written: a refresh should not need the write lock.
            && self.stored_directories().await?.as_ref() != Some(&directories)
        {
            let mut transaction = self.database.begin(wait).await?;
            let sql = "INSERT OR REPLACE INTO directories (only, looks) VALUES (1, ?)";
            sqlx::query(sql).bind(directories).execute(&mut *transaction).await?;
            transaction.commit().await?;
        }
        Ok(())
    }

    /// Returns the files of the last snapshot of this process.
    pub(crate) fn last_files(&self) -> Option<Arc<HomeFiles>> {
        self.last_files.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns whether the directories have the stamps that they had when the index knew every file in them.
    pub(crate) async fn are_directories_unchanged(&self) -> Result<bool> {
        let Some(stored) = self.stored_directories().await? else { return Ok(false) };
        let home = self.home.clone();
        blocking(move || Ok(unchanged_directories(&home, &stored).is_some())).await
    }

    /// Returns, as JSON, the stamps of the directories at the time when the index knew every file in them. `None` if it never did.
    pub(crate) async fn stored_directories(&self) -> Result<Option<String>> {
        Ok(sqlx::query_scalar("SELECT looks FROM directories").fetch_optional(&self.database.readers).await?)
    }
}

/// Returns the `stored` directories if those of the home still have their stamps. JSON that cannot be parsed counts as changed.
pub(crate) fn unchanged_directories(home: &RolloutHome, stored: &str) -> Option<HomeDirectories> {
    serde_json::from_str::<HomeDirectories>(stored).ok().filter(|stored| stored.are_unchanged(home))
}
