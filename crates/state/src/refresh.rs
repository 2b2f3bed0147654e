//! Keeps the index fresh between queries, for less than it costs to stat every file.
//!
//! A refresh checks where changes are visible for little cost:
//!
//! | change | visible in | cost |
//! | --- | --- | --- |
//! | a file is added, removed or moved | its directory | one stat per directory |
//! | a log grows whose writer is running | the lock file of the thread | listing the lock files, one stat per file |
//! | a log grew recently | the [`HOT_FILES`] most recently changed files | one stat per file |
//! | a thread is renamed | the name index | one stat |
//!
//! Any other change, such as an edit of an old file, is found by an [`update`](StateIndex::update), which stats every file.

use std::collections::HashSet;
use std::sync::Arc;

use selvedge_protocol::ThreadId;
use selvedge_rollout::{FileStamp, HomeFiles, WriterLock};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use tokio::runtime::Handle;

use crate::blocking::blocking;
use crate::database::{Database, WaitPolicy};
use crate::error::Result;
use crate::file_columns::read_stamp;
use crate::home_snapshot::{HomeSnapshot, unchanged_directories};
use crate::index::StateIndex;
use crate::limits::HOT_FILES;
use crate::names::stat_name_index;
use crate::paths::{home_relative, path_hash};
use crate::sql::ids_json;
use crate::update::UpdateReport;

/// The outcome of a refresh: whether the index can answer a query now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshOutcome {
    /// The index agrees with the logs, as far as a refresh can find out.
    Fresh(UpdateReport),
    /// The index is stale, and bringing it up to date takes an [`update`](StateIndex::update).
    Behind {
        /// Bytes of rollouts that the update has to read.
        bytes: u64,
    },
    /// The index was never filled to the end.
    Unfilled,
    /// The index knows files in a directory that cannot be read now. It keeps what it knows of them, because they may be there
    /// again in a moment. Until then it cannot answer, because the logs answer without them.
    Hidden,
}

/// What the database records of an index that was filled.
struct FilledIndex {
    /// The stamp that the name index had when it was read. `None` if it never was.
    names: Option<FileStamp>,
}

/// The changes that a refresh found without reading a rollout.
struct ObservedChanges {
    /// The threads of hot files whose stamp differs from the indexed one.
    hot: HashSet<ThreadId>,
    /// The current stamp of the name index.
    names: FileStamp,
    /// The files of the home. `None` if the directories have the stamps that they had when the index knew every file in
    /// them.
    snapshot: Option<HomeSnapshot>,
}

impl StateIndex {
    /// Finds what changed, and brings the index up to date, unless that means to read more than `max_bytes`.
    ///
    /// # Errors
    /// As [`update`](Self::update).
    pub async fn refresh(&self, max_bytes: u64) -> Result<RefreshOutcome> {
        let Some(filled) = self.load_filled().await? else { return Ok(RefreshOutcome::Unfilled) };
        let ObservedChanges { hot, names, snapshot } = self.observe_changes().await?;
        let Some(snapshot) = snapshot else { return self.refresh_changed(hot, &filled, Some(names), max_bytes).await };
        if self.knows_hidden_files(&snapshot.files).await? {
            return Ok(RefreshOutcome::Hidden);
        }
        let mut threads = self.find_moved_threads(&snapshot.files).await?;
        threads.extend(hot);
        let outcome = self.refresh_changed(threads, &filled, Some(names), max_bytes).await?;
        // Only now does the index know every file of the snapshot, so that the next refresh may rely on it.
        // And only if it could read all of them: a file that cannot be read is reported by each process.
        if matches!(outcome, RefreshOutcome::Fresh(report) if report.contended == 0 && report.unreadable == 0) {
            self.remember_snapshot(snapshot, WaitPolicy::Short).await?;
        }
        Ok(outcome)
    }

    /// Brings these threads up to date, as [`refresh`](Self::refresh) does, and inspects no other ones.
    ///
    /// # Errors
    /// As [`update`](Self::update).
    pub async fn refresh_threads(&self, threads: HashSet<ThreadId>, max_bytes: u64) -> Result<RefreshOutcome> {
        let Some(filled) = self.load_filled().await? else { return Ok(RefreshOutcome::Unfilled) };
        self.refresh_changed(threads, &filled, None, max_bytes).await
    }

    /// Brings these threads and the names up to date. `names_now` is the current stamp of the name index, if the caller
    /// knows it.
    async fn refresh_changed(
        &self,
        threads: HashSet<ThreadId>,
        filled: &FilledIndex,
        mut names_now: Option<FileStamp>,
        max_bytes: u64,
    ) -> Result<RefreshOutcome> {
        if !threads.is_empty() {
            let (cached_home, home) = (Arc::clone(&self.cached_home), self.home.clone());
            let (files, stamp) = blocking(move || Ok((cached_home.files()?, stat_name_index(&home)))).await?;
            names_now = names_now.or(Some(stamp));
            if self.knows_hidden_files(&files).await? {
                return Ok(RefreshOutcome::Hidden);
            }
            // This plan only finds out what the update costs. `apply_changes` plans for itself, with files that may have changed
            // since. A plan of few threads is cheap.
            let plan = self.plan_update(Arc::clone(&files), Some(threads.clone())).await?;
            let bytes = plan.bytes();
            if bytes > max_bytes {
                return Ok(RefreshOutcome::Behind { bytes });
            }
            if !plan.jobs.is_empty() || !plan.gone.is_empty() {
                let report = self.apply_changes(files, Some(threads), WaitPolicy::Short, &mut |_| {}).await?;
                return Ok(RefreshOutcome::Fresh(report));
            }
        }
        // Usually nothing has changed. Comparing the stamps finds that out without another query.
        let are_names_known = filled.names.is_some() && filled.names == names_now;
        let renamed = if are_names_known { 0 } else { self.update_names(WaitPolicy::Short).await? };
        Ok(RefreshOutcome::Fresh(UpdateReport { threads: threads.len() as u64, renamed, ..UpdateReport::default() }))
    }

    /// Loads what the database records of the last fill. `None` if the index was never filled to the end.
    async fn load_filled(&self) -> Result<Option<FilledIndex>> {
        let sql = "SELECT size, modified_ns, inode FROM checks LEFT JOIN names_source ON true";
        let row = sqlx::query(sql).fetch_optional(&self.database.readers).await?;
        row.map(|row| {
            let has_names = row.try_get::<Option<i64>, _>(0)?.is_some();
            Ok(FilledIndex { names: has_names.then(|| read_stamp(&row, 0)).transpose()? })
        })
        .transpose()
    }

    /// Stats whatever can show a change, in one piece of blocking work: a refresh runs before each query, and every switch to the
    /// blocking pool costs.
    async fn observe_changes(&self) -> Result<ObservedChanges> {
        let last_files = self.last_files();
        // A process that has listed the files before compares with its own list. Otherwise the stored directories may spare it
        // from listing them.
        let stored = if last_files.is_none() { self.stored_directories().await? } else { None };
        let (home, cached_home) = (self.home.clone(), Arc::clone(&self.cached_home));
        let (database, runtime) = (Arc::clone(&self.database), Handle::current());
        blocking(move || {
            // Before the files are statted: a writer that starts later changes its file later.
            let locked = WriterLock::threads_with_lock_file(&home)?;
            let known = runtime.block_on(hot_files(&database, &locked))?;
            let has_changed = |path: &str, stamp| FileStamp::read(&home.root().join(path)).ok() != Some(stamp);
            let hot = known.into_iter().filter(|(_, path, stamp)| has_changed(path, *stamp));
            let (hot, names) = (hot.map(|(thread_id, ..)| thread_id).collect(), stat_name_index(&home));
            if let Some(unchanged) = stored.and_then(|stored| unchanged_directories(&home, &stored)) {
                cached_home.remember_left_out(&unchanged);
                return Ok(ObservedChanges { hot, names, snapshot: None });
            }
            let (files, directories) = cached_home.files_and_directories(last_files.as_ref())?;
            Ok(ObservedChanges { hot, names, snapshot: Some(HomeSnapshot { files, directories }) })
        })
        .await
    }

    /// Returns whether the index knows a file in a directory that cannot be read.
    async fn knows_hidden_files(&self, files: &HomeFiles) -> Result<bool> {
        for hidden in files.unreadable() {
            let Some(dir) = home_relative(&self.home, &hidden.path) else { continue };
            // "Begins with the directory and a slash" as a range: `0` is the character after `/`.
            let sql = "SELECT EXISTS (SELECT 1 FROM segments WHERE path >= ? AND path < ?)";
            let query = sqlx::query_scalar(sql).bind(format!("{dir}/")).bind(format!("{dir}0"));
            if query.fetch_one(&self.database.readers).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Returns the threads of which a file was added or removed since the index last knew all files.
    async fn find_moved_threads(&self, files: &Arc<HomeFiles>) -> Result<HashSet<ThreadId>> {
        let Some(before) = self.last_files() else { return self.find_moved_since_indexed(files).await };
        // The cached home returns the same list if no directory changed.
        if Arc::ptr_eq(&before, files) {
            return Ok(HashSet::new());
        }
        let changed = files.threads().filter(|(thread_id, segments)| before.segments(*thread_id) != *segments);
        let gone = before.threads().filter(|(thread_id, _)| files.segments(*thread_id).is_empty());
        Ok(changed.chain(gone).map(|(thread_id, _)| thread_id).collect())
    }

    /// Returns the same by the files that the database knows.
    async fn find_moved_since_indexed(&self, files: &HomeFiles) -> Result<HashSet<ThreadId>> {
        let paths = || {
            let segments = files.threads().flat_map(|(id, segments)| segments.iter().map(move |file| (id, file)));
            segments.filter_map(|(id, file)| Some((id, home_relative(&self.home, &file.path)?)))
        };
        // Count and sum of hashes are cheap to compare, and nearly always equal. Only if they differ are all paths loaded.
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

/// Returns the files that are likely to change, as the index knows them: the most recently changed ones, and those of `locked`
/// threads.
async fn hot_files(database: &Database, locked: &[ThreadId]) -> Result<Vec<(ThreadId, String, FileStamp)>> {
    let sql = "SELECT thread_id, path, size, modified_ns, inode FROM segments \
        WHERE rowid IN (SELECT rowid FROM segments ORDER BY modified_ns DESC LIMIT ?) \
        OR thread_id IN (SELECT unhex(value) FROM json_each(?))";
    let rows = sqlx::query(sql).bind(HOT_FILES).bind(ids_json(locked)).fetch_all(&database.readers).await?;
    let known = |row: &SqliteRow| Ok((ThreadId::from_uuid(row.try_get(0)?), row.try_get(1)?, read_stamp(row, 2)?));
    rows.iter().map(known).collect()
}
