//! Keeping the index fresh between questions, for less than it costs to look at every file.
//!
//! New files and files that are gone change their directories. Logs grow where they grew last, or where a writer holds
//! the lock of a thread: those files are looked at each time. What changes elsewhere, behind the back of all that, is found by a
//! [`sync`](StateIndex::sync), which looks at every file.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};

use selvedge_protocol::{ThreadId, Timestamp};
use selvedge_rollout::{HomeFiles, WriterLock};
use sqlx::Row;

use crate::StateIndex;
use crate::database::Patience;
use crate::error::Result;
use crate::plan::{Plan, ids, path_hash};
use crate::stamp::Stamp;
use crate::sync::{SyncReport, blocking, relative, unsigned};

/// How many of the files that changed last are looked at each time.
const HOT_FILES: i64 = 64;

/// Whether the index can answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// It says what the logs say, as far as a look around can tell.
    Fresh(SyncReport),
    /// So much has changed that it takes a [`sync`](StateIndex::sync).
    Behind {
        /// Bytes of rollouts that it has to read.
        bytes: u64,
    },
    /// It was never filled, or not to the end.
    Unfilled,
}

impl StateIndex {
    /// Looks around for what changed, and brings the index up to date unless that takes reading more than `most_bytes`.
    ///
    /// # Errors
    /// As [`sync`](Self::sync).
    pub async fn refresh(&self, most_bytes: u64) -> Result<Freshness> {
        if self.checked_at().await?.is_none() {
            return Ok(Freshness::Unfilled);
        }
        let files = self.home_files().await?;
        let mut threads = self.hot_threads().await?;
        threads.extend(self.moved_threads(&files).await?);
        let freshness = self.take_in(Arc::clone(&files), threads, most_bytes).await?;
        if matches!(freshness, Freshness::Fresh(report) if report.overtaken == 0) {
            self.saw(files);
        }
        Ok(freshness)
    }

    /// The same, looking at nothing but these threads.
    ///
    /// # Errors
    /// As [`sync`](Self::sync).
    pub async fn refresh_threads(&self, threads: HashSet<ThreadId>, most_bytes: u64) -> Result<Freshness> {
        if self.checked_at().await?.is_none() {
            return Ok(Freshness::Unfilled);
        }
        let files = self.home_files().await?;
        self.take_in(files, threads, most_bytes).await
    }

    async fn take_in(&self, files: Arc<HomeFiles>, threads: HashSet<ThreadId>, most_bytes: u64) -> Result<Freshness> {
        let plan = match threads.is_empty() {
            true => None,
            false => Some(self.plan(Arc::clone(&files), Some(threads.clone())).await?),
        };
        let bytes = plan.as_ref().map_or(0, Plan::bytes);
        if bytes > most_bytes {
            return Ok(Freshness::Behind { bytes });
        }
        let has_changes = plan.is_some_and(|plan| !plan.jobs.is_empty() || !plan.gone.is_empty());
        Ok(Freshness::Fresh(if has_changes {
            self.follow(files, Some(threads), Patience::Little, &mut |_| {}).await?
        } else {
            let renamed = self.sync_names(false, Patience::Little).await?;
            SyncReport { threads: files.threads().count() as u64, renamed, ..SyncReport::default() }
        }))
    }

    /// When every file was last looked at, by this process or another, so that all that had changed until then is in the
    /// index. Nothing while the index was never filled.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn checked_at(&self) -> Result<Option<Timestamp>> {
        let row = sqlx::query("SELECT checked_at FROM checks").fetch_optional(&self.database.readers).await?;
        row.map(|row| Ok(Timestamp::from_millis(row.try_get(0)?))).transpose()
    }

    /// Every file had been looked at, at a time not before this one.
    pub(crate) async fn set_filled(&self, at: Timestamp) -> Result<()> {
        let sql = "INSERT INTO checks (only, checked_at) VALUES (1, ?) \
            ON CONFLICT (only) DO UPDATE SET checked_at = max(checked_at, excluded.checked_at)";
        let mut transaction = self.database.begin(Patience::Much).await?;
        sqlx::query(sql).bind(at.as_millis()).execute(&mut *transaction).await?;
        Ok(transaction.commit().await?)
    }

    /// Forgets everything, so that the next [`sync`](Self::sync) reads every thread. Until it is done, the index is one that
    /// was never filled, to other processes too.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn clear(&self) -> Result<()> {
        let mut transaction = self.database.begin(Patience::Much).await?;
        for table in ["checks", "names_source", "bases", "segments", "threads"] {
            sqlx::query(&format!("DELETE FROM {table}")).execute(&mut *transaction).await?;
        }
        Ok(transaction.commit().await?)
    }

    /// The index is up to date with which files there are.
    pub(crate) fn saw(&self, files: Arc<HomeFiles>) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(files);
    }

    pub(crate) async fn home_files(&self) -> Result<Arc<HomeFiles>> {
        let remembered = Arc::clone(&self.remembered);
        blocking(move || Ok(remembered.files()?)).await
    }

    /// The threads of files that look different from when they were read, among those that are likely to.
    async fn hot_threads(&self) -> Result<HashSet<ThreadId>> {
        let locked = WriterLock::threads_with_file(&self.home)?;
        let sql = "SELECT thread_id, path, size, modified_ns, inode FROM segments \
            WHERE rowid IN (SELECT rowid FROM segments ORDER BY modified_ns DESC LIMIT ?) \
            OR thread_id IN (SELECT unhex(value) FROM json_each(?))";
        let rows = sqlx::query(sql).bind(HOT_FILES).bind(ids(&locked)).fetch_all(&self.database.readers).await?;
        let mut changed = HashSet::new();
        for row in rows {
            let path: &str = row.try_get(1)?;
            let stamp = Stamp {
                size: unsigned(row.try_get(2)?),
                modified_ns: row.try_get(3)?,
                inode: unsigned(row.try_get(4)?),
            };
            if Stamp::of(&self.home.root().join(path)).ok() != Some(stamp) {
                changed.insert(ThreadId::from_uuid(row.try_get(0)?));
            }
        }
        Ok(changed)
    }

    /// The threads that have files which were not there the last time, or have lost some.
    async fn moved_threads(&self, files: &Arc<HomeFiles>) -> Result<HashSet<ThreadId>> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(seen) = seen else { return self.moved_since_indexed(files).await };
        if Arc::ptr_eq(&seen, files) {
            return Ok(HashSet::new());
        }
        let came = files.threads().filter(|(thread_id, segments)| seen.segments(*thread_id) != *segments);
        let went = seen.threads().filter(|(thread_id, _)| files.segments(*thread_id).is_empty());
        Ok(came.chain(went).map(|(thread_id, _)| thread_id).collect())
    }

    /// The same, as the index knows the files.
    async fn moved_since_indexed(&self, files: &HomeFiles) -> Result<HashSet<ThreadId>> {
        let paths = || {
            let segments = files.threads().flat_map(|(id, segments)| segments.iter().map(move |file| (id, file)));
            segments.filter_map(|(id, file)| Some((id, relative(&self.home, &file.path)?)))
        };
        let (count, sum) = paths().fold((0, 0), |(count, sum), (_, path)| (count + 1, sum + path_hash(&path)));
        let (known_count, known_sum): (i64, i64) =
            sqlx::query_as("SELECT count(*), coalesce(sum(path_hash), 0) FROM segments")
                .fetch_one(&self.database.readers)
                .await?;
        if (count, sum) == (known_count, known_sum) {
            return Ok(HashSet::new());
        }
        let mut known: HashSet<(ThreadId, String)> = HashSet::new();
        for row in sqlx::query("SELECT thread_id, path FROM segments").fetch_all(&self.database.readers).await? {
            known.insert((ThreadId::from_uuid(row.try_get(0)?), row.try_get(1)?));
        }
        let mut moved: HashSet<ThreadId> =
            paths().filter(|file| !known.remove(file)).map(|(thread_id, _)| thread_id).collect();
        moved.extend(known.into_iter().map(|(thread_id, _)| thread_id));
        Ok(moved)
    }
}
