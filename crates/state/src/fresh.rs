//! Keeping the index fresh between questions, for less than it costs to look at every file.
//!
//! New files and files that are gone change their directories. Logs grow where they grew last, or where a writer holds
//! the lock of a thread: those files are looked at each time. What changes elsewhere, behind the back of all that, is found by a
//! [`update`](StateIndex::update), which looks at every file.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use selvedge_protocol::{ThreadId, Timestamp};
use selvedge_rollout::{FileStamp, HomeDirectories, HomeFiles, RolloutHome, WriterLock};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use tokio::runtime::Handle;

use crate::StateIndex;
use crate::database::{Database, WaitPolicy};
use crate::error::Result;
use crate::names::stamp_of_names;
use crate::plan::{ids, path_hash};
use crate::stamp::stamp_of_row;
use crate::update::{UpdateReport, blocking, relative};

/// How many of the files that changed last are looked at each time.
const HOT_FILES: i64 = 64;

/// Whether the index can answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshOutcome {
    /// It says what the logs say, as far as a look around can tell.
    Fresh(UpdateReport),
    /// So much has changed that it takes a [`update`](StateIndex::update).
    Behind {
        /// Bytes of rollouts that it has to read.
        bytes: u64,
    },
    /// It was never filled, or not to the end.
    Unfilled,
}

/// Names one filling of an index, from the first time that it held every thread until it is cleared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexGeneration(i64);

/// What a look around found.
struct Changes {
    /// The threads of files that look different from when they were read, among those that are likely to.
    hot: HashSet<ThreadId>,
    /// How the name index looks.
    names: FileStamp,
    /// The files of the home; `None` if the directories look as they did when the index knew every file in them.
    look: Option<Look>,
}

/// The files that are likely to change, with their threads and as the index knows them: those that changed last, and those of
/// `locked` threads.
async fn hot_files(database: &Database, locked: &[ThreadId]) -> Result<Vec<(ThreadId, String, FileStamp)>> {
    let sql = "SELECT thread_id, path, size, modified_ns, inode FROM segments \
        WHERE rowid IN (SELECT rowid FROM segments ORDER BY modified_ns DESC LIMIT ?) \
        OR thread_id IN (SELECT unhex(value) FROM json_each(?))";
    let rows = sqlx::query(sql).bind(HOT_FILES).bind(ids(locked)).fetch_all(&database.readers).await?;
    let known = |row: &SqliteRow| Ok((ThreadId::from_uuid(row.try_get(0)?), row.try_get(1)?, stamp_of_row(row, 2)?));
    rows.iter().map(known).collect()
}

fn are_unchanged(home: &RolloutHome, looks: &str) -> bool {
    serde_json::from_str::<HomeDirectories>(looks).is_ok_and(|known| known.are_unchanged(home))
}

fn clock_ns() -> i64 {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

/// The files of a home and, if they are not those that were seen before, how their directories looked.
#[derive(Debug)]
pub(crate) struct Look {
    pub(crate) files: Arc<HomeFiles>,
    pub(crate) directories: Option<HomeDirectories>,
}

impl StateIndex {
    /// Looks around for what changed, and brings the index up to date unless that takes reading more than `most_bytes`.
    ///
    /// # Errors
    /// As [`update`](Self::update).
    pub async fn refresh(&self, most_bytes: u64) -> Result<RefreshOutcome> {
        let Some(names) = self.names_known().await? else { return Ok(RefreshOutcome::Unfilled) };
        let Changes { hot, names: names_now, look } = self.look_for_changes().await?;
        let names_now = Some(names_now);
        let Some(look) = look else { return self.take_in(hot, names, names_now, most_bytes).await };
        let mut threads = self.moved_threads(&look.files).await?;
        threads.extend(hot);
        let freshness = self.take_in(threads, names, names_now, most_bytes).await?;
        if matches!(freshness, RefreshOutcome::Fresh(report) if report.overtaken == 0) {
            self.saw(look, WaitPolicy::Short).await?;
        }
        Ok(freshness)
    }

    /// The same, looking at nothing but these threads.
    ///
    /// # Errors
    /// As [`update`](Self::update).
    pub async fn refresh_threads(&self, threads: HashSet<ThreadId>, most_bytes: u64) -> Result<RefreshOutcome> {
        let Some(names) = self.names_known().await? else { return Ok(RefreshOutcome::Unfilled) };
        self.take_in(threads, names, None, most_bytes).await
    }

    /// `names` is how the name index looked when names were taken from it, and `names_now` how it looks if somebody has looked.
    async fn take_in(
        &self,
        threads: HashSet<ThreadId>,
        names: Option<FileStamp>,
        mut names_now: Option<FileStamp>,
        most_bytes: u64,
    ) -> Result<RefreshOutcome> {
        if !threads.is_empty() {
            let (remembered, home) = (Arc::clone(&self.remembered), self.home.clone());
            let (files, stamp) = blocking(move || Ok((remembered.files()?, stamp_of_names(&home)))).await?;
            names_now = names_now.or(Some(stamp));
            let plan = self.plan(Arc::clone(&files), Some(threads.clone())).await?;
            let bytes = plan.bytes();
            if bytes > most_bytes {
                return Ok(RefreshOutcome::Behind { bytes });
            }
            if !plan.jobs.is_empty() || !plan.gone.is_empty() {
                let report = self.follow(files, Some(threads), WaitPolicy::Short, &mut |_| {}).await?;
                return Ok(RefreshOutcome::Fresh(report));
            }
        }
        // What was known before the look spares asking the database again.
        let is_known = names.is_some() && names == names_now;
        let renamed = if is_known { 0 } else { self.sync_names(WaitPolicy::Short).await? };
        Ok(RefreshOutcome::Fresh(UpdateReport { threads: threads.len() as u64, renamed, ..UpdateReport::default() }))
    }

    /// How the name index looked when names were taken from it, if they ever were; nothing while the index is not filled.
    async fn names_known(&self) -> Result<Option<Option<FileStamp>>> {
        let sql = "SELECT size, modified_ns, inode FROM checks LEFT JOIN names_source ON true";
        let row = sqlx::query(sql).fetch_optional(&self.database.readers).await?;
        row.map(|row| {
            let has_names = row.try_get::<Option<i64>, _>(0)?.is_some();
            has_names.then(|| stamp_of_row(&row, 0)).transpose()
        })
        .transpose()
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

    /// Which filling of the index its rows come from; nothing while it is not filled. Answers that were given between two
    /// different ones may have been incomplete.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn filling(&self) -> Result<Option<IndexGeneration>> {
        let row = sqlx::query_scalar("SELECT filled_at FROM checks").fetch_optional(&self.database.readers).await?;
        Ok(row.map(IndexGeneration))
    }

    /// How often everything was forgotten.
    pub(crate) async fn clearings(&self) -> Result<i64> {
        Ok(sqlx::query_scalar("SELECT count FROM clearings").fetch_one(&self.database.readers).await?)
    }

    /// Every file had been looked at, at a time not before this one; unless everything was forgotten since there had been so
    /// many clearings.
    pub(crate) async fn set_filled(&self, at: Timestamp, clearings: i64) -> Result<()> {
        let sql = "INSERT INTO checks (only, checked_at, filled_at) \
            SELECT 1, ?, ? FROM clearings WHERE count = ? \
            ON CONFLICT (only) DO UPDATE SET checked_at = max(checked_at, excluded.checked_at)";
        let mut transaction = self.database.begin(WaitPolicy::Long).await?;
        sqlx::query(sql).bind(at.as_millis()).bind(clock_ns()).bind(clearings).execute(&mut *transaction).await?;
        Ok(transaction.commit().await?)
    }

    /// Forgets everything, so that the next [`update`](Self::update) reads every thread. Until it is done, the index is one that
    /// was never filled, to other processes too.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn clear(&self) -> Result<()> {
        let mut transaction = self.database.begin(WaitPolicy::Long).await?;
        sqlx::query("UPDATE clearings SET count = count + 1").execute(&mut *transaction).await?;
        for table in [
            "checks",
            "directories",
            "names_source",
            "names",
            "bases",
            "segments",
            "turns",
            "search_threads",
            "search_blocks",
            "search_runs",
            "threads",
        ] {
            sqlx::query(&format!("DELETE FROM {table}")).execute(&mut *transaction).await?;
        }
        Ok(transaction.commit().await?)
    }

    /// The index is up to date with which files there are.
    pub(crate) async fn saw(&self, look: Look, patience: WaitPolicy) -> Result<()> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(look.files);
        if let Some(directories) = look.directories
            && let Ok(looks) = serde_json::to_string(&directories)
            && self.known_looks().await?.as_ref() != Some(&looks)
        {
            let mut transaction = self.database.begin(patience).await?;
            let sql = "INSERT OR REPLACE INTO directories (only, looks) VALUES (1, ?)";
            sqlx::query(sql).bind(looks).execute(&mut *transaction).await?;
            transaction.commit().await?;
        }
        Ok(())
    }

    fn seen(&self) -> Option<Arc<HomeFiles>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the directories look as they did when the index knew every file in them.
    pub(crate) async fn has_same_files(&self) -> Result<bool> {
        let Some(looks) = self.known_looks().await? else { return Ok(false) };
        let home = self.home.clone();
        blocking(move || Ok(are_unchanged(&home, &looks))).await
    }

    /// Looks where changes cannot hide, in one go on the blocking thread pool.
    async fn look_for_changes(&self) -> Result<Changes> {
        let seen = self.seen();
        let looks = if seen.is_none() { self.known_looks().await? } else { None };
        let (home, remembered) = (self.home.clone(), Arc::clone(&self.remembered));
        let (database, runtime) = (Arc::clone(&self.database), Handle::current());
        blocking(move || {
            let locked = WriterLock::threads_with_lock_file(&home)?;
            let known = runtime.block_on(hot_files(&database, &locked))?;
            let has_changed = |path: &str, stamp| FileStamp::read(&home.root().join(path)).ok() != Some(stamp);
            let hot = known.into_iter().filter(|(_, path, stamp)| has_changed(path, *stamp));
            let (hot, names) = (hot.map(|(thread_id, ..)| thread_id).collect(), stamp_of_names(&home));
            if looks.is_some_and(|looks| are_unchanged(&home, &looks)) {
                return Ok(Changes { hot, names, look: None });
            }
            let (files, directories) = remembered.files_and_directories(seen.as_ref())?;
            Ok(Changes { hot, names, look: Some(Look { files, directories }) })
        })
        .await
    }

    /// How the directories looked when the index knew every file in them.
    async fn known_looks(&self) -> Result<Option<String>> {
        Ok(sqlx::query_scalar("SELECT looks FROM directories").fetch_optional(&self.database.readers).await?)
    }

    /// Finds every file of the home.
    pub(crate) async fn look(&self) -> Result<Look> {
        let (remembered, seen) = (Arc::clone(&self.remembered), self.seen());
        blocking(move || {
            let (files, directories) = remembered.files_and_directories(seen.as_ref())?;
            Ok(Look { files, directories })
        })
        .await
    }

    pub(crate) async fn home_files(&self) -> Result<Arc<HomeFiles>> {
        let remembered = Arc::clone(&self.remembered);
        blocking(move || Ok(remembered.files()?)).await
    }

    /// The threads that have files which were not there the last time, or have lost some.
    async fn moved_threads(&self, files: &Arc<HomeFiles>) -> Result<HashSet<ThreadId>> {
        let Some(seen) = self.seen() else { return self.moved_since_indexed(files).await };
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
