//! Brings the index up to date with the files of its home.
//!
//! ```text
//!  plan ──▶ remove threads that are gone ──▶ scan ──▶ write, batch by batch ──▶ names ──▶ merge search runs
//!   ▲                                                          │
//!   └────────── threads that another process wrote first ◀─────┘
//! ```
//!
//! The plan needs only the directories and the stamps of files. Threads that changed are scanned by two tasks, from the point
//! where the last scan ended if their log only grew. Each batch is one short transaction, which writes whole threads: a process
//! that dies in between loses time, and nothing else.
//!
//! There is no lock between processes. Each transaction compares what the plan saw of a thread with what the index knows now,
//! and skips the thread if they differ. Otherwise a slow process would replace newer rows with older ones.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use selvedge_protocol::ThreadId;
use selvedge_rollout::{HomeFiles, now};
use sqlx::SqliteConnection;

use crate::database::{SetAside, WaitPolicy};
use crate::error::{IndexError, Result};
use crate::index::StateIndex;
use crate::indexed_state::IndexedState;
use crate::limits::UPDATE_ROUNDS;
use crate::plan::ScanJob;
use crate::scan_pool::{ScanBatch, ScanOutcome, ScannedJob};
use crate::search::merge::rewrite_runs_of;
use crate::search::run::Run;
use crate::search::store::store_run;
use crate::sql::ids_json;
use crate::write::{self, ThreadUpdate};

/// The progress of an update.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UpdateProgress {
    /// Threads to read.
    pub threads: u64,
    /// Threads that have been read and written.
    pub threads_done: u64,
    /// Size on disk of the files to read.
    pub bytes: u64,
    /// The part of `bytes` that belongs to threads that are done.
    pub bytes_done: u64,
}

/// What an update did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct UpdateReport {
    /// Threads that were compared with their files.
    pub threads: u64,
    /// Threads of which the whole history was read.
    pub read_whole: u64,
    /// Threads of which only the appended lines were read.
    pub read_tail: u64,
    /// Threads that were removed because they have no files any more.
    pub removed: u64,
    /// Threads that could not be read. The next update tries again.
    pub unreadable: u64,
    /// Threads that other processes kept writing or moving, so that the next update has to compare them again.
    #[serde(rename = "overtaken")]
    pub contended: u64,
    /// Threads whose name was set, changed or removed.
    pub renamed: u64,
    /// Bytes of rollout text that were read.
    pub bytes_read: u64,
}

impl StateIndex {
    /// Brings the index up to date with the home. Calls `progress` after each batch.
    ///
    /// Several updates may run at the same time, in this process or in others. They do the same work twice and write the same
    /// rows.
    ///
    /// # Errors
    /// If the directories of the home cannot be read, or the database cannot be written. What was written before the error
    /// stays, and the next update continues from there.
    pub async fn update(&self, mut progress: impl FnMut(UpdateProgress)) -> Result<UpdateReport> {
        // Both are read before the files are: what changes meanwhile is not counted as checked.
        let (started_at, clearings) = (now(), self.clearings().await?);
        let snapshot = self.snapshot_home().await?;
        let report = self.apply_changes(Arc::clone(&snapshot.files), None, WaitPolicy::Long, &mut progress).await?;
        if report.contended == 0 {
            // Asked now: if several updates fill the index at the same time, the first that is done reports it.
            let was_filled = self.generation().await?.is_some();
            self.set_filled(started_at, clearings).await?;
            if report.unreadable == 0 {
                self.remember_snapshot(snapshot, WaitPolicy::Long).await?;
            }
            if !was_filled {
                let why = self.why_unfilled(clearings);
                let UpdateReport { threads, bytes_read, .. } = report;
                let millis = now().as_millis() - started_at.as_millis();
                tracing::info!(why, threads, bytes_read, millis, "the index was built from the logs");
            }
        }
        Ok(report)
    }

    /// Returns why the index had to be built.
    fn why_unfilled(&self, clearings: i64) -> &str {
        match self.set_aside() {
            Some(SetAside { reason, .. }) => reason,
            None if clearings > 0 => "it was cleared",
            None => "there was none",
        }
    }

    /// Brings these threads up to date, and those that build on them; `None` means all threads. Threads that another process
    /// writes at the same time are planned again, [`UPDATE_ROUNDS`] times at most.
    pub(crate) async fn apply_changes(
        &self,
        files: Arc<HomeFiles>,
        threads: Option<HashSet<ThreadId>>,
        wait: WaitPolicy,
        progress: &mut impl FnMut(UpdateProgress),
    ) -> Result<UpdateReport> {
        let compared = threads.as_ref().map_or_else(|| files.threads().count(), HashSet::len);
        let mut report = UpdateReport { threads: compared as u64, ..UpdateReport::default() };
        let mut plan = self.plan_update(files, threads).await?;
        for _ in 0..UPDATE_ROUNDS {
            let mut contended = HashSet::new();
            if !plan.gone.is_empty() {
                report.removed += self.remove_gone(std::mem::take(&mut plan.gone), &mut contended, wait).await?;
            }
            self.scan_and_write(&plan.files, plan.jobs, &mut report, &mut contended, wait, progress).await?;
            report.contended = contended.len() as u64;
            if contended.is_empty() {
                break;
            }
            plan = self.plan_update(self.home_files().await?, Some(contended)).await?;
        }
        report.renamed = self.update_names(wait).await?;
        if report.removed > 0 {
            self.finish_removal().await?;
        }
        match self.merge_runs(wait).await {
            // The threads are written. Unmerged runs answer as well, and another process may be merging them right now.
            Err(IndexError::Busy(error)) => tracing::debug!(%error, "search runs not merged"),
            outcome => outcome?,
        }
        Ok(report)
    }

    /// Removes threads that have no files. Returns how many it removed.
    async fn remove_gone(
        &self,
        gone: Vec<ScanJob>,
        contended: &mut HashSet<ThreadId>,
        wait: WaitPolicy,
    ) -> Result<u64> {
        // A file that is moved while directories are read may be seen at neither path. Therefore the files are listed again, and
        // a thread that shows up now is planned again instead of removed.
        let files = self.home_files().await?;
        let is_hidden =
            |job: &ScanJob| job.indexed_segments.iter().any(|(path, _)| files.is_hidden(&self.home.root().join(path)));
        let is_gone = |job: &ScanJob| files.segments(job.thread_id).is_empty() && !is_hidden(job);
        let (gone, moved): (Vec<ScanJob>, Vec<ScanJob>) = gone.into_iter().partition(is_gone);
        contended.extend(moved.iter().map(|job| job.thread_id));
        let mut transaction = self.database.begin(wait).await?;
        let removed = remove_threads(&mut transaction, &gone).await?;
        transaction.commit().await?;
        Ok(removed)
    }

    /// Brings threads up to date that were deleted: nothing of them stays in the files of the index, whether it was filled or not.
    ///
    /// # Errors
    /// As [`update`](Self::update).
    pub async fn erase_threads(&self, threads: HashSet<ThreadId>) -> Result<UpdateReport> {
        let files = self.home_files().await?;
        self.apply_changes(files, Some(threads), WaitPolicy::Long, &mut |_| {}).await
    }

    /// Empties the write-ahead log after threads were removed, and removes older files of the index, which contain these threads, too.
    async fn finish_removal(&self) -> Result<()> {
        match self.database.empty_log().await {
            Err(IndexError::Busy(error)) => tracing::info!(%error, "the log of the index was not emptied"),
            outcome => outcome?,
        }
        self.database.remove_set_aside().await
    }

    /// Carries out jobs. Adds to `contended` the threads that have to be planned again.
    async fn scan_and_write(
        &self,
        files: &Arc<HomeFiles>,
        jobs: VecDeque<ScanJob>,
        report: &mut UpdateReport,
        contended: &mut HashSet<ThreadId>,
        wait: WaitPolicy,
        progress: &mut impl FnMut(UpdateProgress),
    ) -> Result<()> {
        if jobs.is_empty() {
            return Ok(());
        }
        let bytes = jobs.iter().map(|job| job.bytes).sum();
        let mut state = UpdateProgress { threads: jobs.len() as u64, bytes, ..UpdateProgress::default() };
        progress(state);
        let mut batches = self.spawn_scanners(Arc::clone(files), jobs);
        while let Some(ScanBatch { scanned, runs }) = batches.recv().await {
            contended.extend(self.write_batch(&scanned, runs, wait).await?);
            for ScannedJob { job, outcome } in scanned {
                state.threads_done += 1;
                state.bytes_done += job.bytes;
                match outcome {
                    ScanOutcome::Read(update) => {
                        report.bytes_read += update.scanned.bytes_read;
                        *(if update.is_whole { &mut report.read_whole } else { &mut report.read_tail }) += 1;
                    }
                    ScanOutcome::Moved => drop(contended.insert(job.thread_id)),
                    ScanOutcome::Unreadable => report.unreadable += 1,
                }
            }
            progress(state);
        }
        Ok(())
    }

    /// Writes a batch in one transaction. Returns the threads that it did not write, because another process wrote them first.
    async fn write_batch(&self, batch: &[ScannedJob], runs: Vec<Run>, wait: WaitPolicy) -> Result<HashSet<ThreadId>> {
        let read = || {
            batch.iter().filter_map(|ScannedJob { job, outcome }| match outcome {
                ScanOutcome::Read(update) => Some((job, &**update)),
                ScanOutcome::Moved | ScanOutcome::Unreadable => None,
            })
        };
        let mut transaction = self.database.begin(wait).await?;
        let rewritten = find_rewritten(&mut transaction, read().map(|(job, _)| job)).await?;
        let updates = read().filter(|(job, _)| !rewritten.contains(&job.thread_id));
        let updates: Vec<&ThreadUpdate> = updates.map(|(_, update)| update).collect();
        write::store_updates(&mut transaction, &updates).await?;
        for run in runs {
            // A run holds the words of all threads of the batch. Those of threads that were not written are marked as superseded.
            store_run(&mut transaction, run, &rewritten).await?;
        }
        transaction.commit().await?;
        Ok(rewritten)
    }
}

/// Returns which of these threads another process wrote since the jobs were planned.
async fn find_rewritten(
    connection: &mut SqliteConnection,
    jobs: impl IntoIterator<Item = &ScanJob>,
) -> Result<HashSet<ThreadId>> {
    let jobs: Vec<&ScanJob> = jobs.into_iter().collect();
    let mut known = IndexedState::default();
    known.load_segments(connection, Some(ids_json(jobs.iter().map(|job| &job.thread_id)))).await?;
    let rewritten = jobs.into_iter().filter(|job| known.segments_of(job.thread_id) != job.indexed_segments);
    Ok(rewritten.map(|job| job.thread_id).collect())
}

/// Removes threads, except those that another process wrote since the plan. Returns how many it removed.
async fn remove_threads(connection: &mut SqliteConnection, gone: &[ScanJob]) -> Result<u64> {
    let rewritten = find_rewritten(connection, gone).await?;
    let gone: Vec<ThreadId> = gone.iter().map(|job| job.thread_id).filter(|id| !rewritten.contains(id)).collect();
    write::delete_threads(connection, &gone).await?;
    // A merge would remove their words at some time. They must go with the thread.
    rewrite_runs_of(connection, &gone).await?;
    Ok(gone.len() as u64)
}

#[cfg(test)]
mod tests {
    use selvedge_protocol::{HistoryBase, HistoryMode, ResponseItem, RolloutLine, SegmentId, SessionMeta};
    use selvedge_rollout::{RolloutFileName, RolloutHome, RolloutRecorder};

    use super::*;

    #[tokio::test]
    async fn a_slow_process_does_not_replace_newer_rows() {
        let dir = tempfile::tempdir().unwrap();
        let home = RolloutHome::new(dir.path());
        let path = StateIndex::path_in(&home);
        let record = |text: &str| {
            let id = ThreadId::new(now());
            let recorder = RolloutRecorder::create(&home, SessionMeta::new(id, now())).unwrap();
            recorder.append(&[ResponseItem::user_text(text).into()]).unwrap();
            (id, recorder)
        };
        let (grows, recorder) = record("grows");
        let (goes, other) = record("goes");
        other.shutdown();
        let (late, early) =
            (StateIndex::open(&home, &path).await.unwrap(), StateIndex::open(&home, &path).await.unwrap());
        late.update(|_| {}).await.unwrap();
        // The late process plans first, and writes only after the early one has written more.
        recorder.append(&[ResponseItem::user_text("once").into()]).unwrap();
        std::fs::rename(other.path(), dir.path().join("away")).unwrap();
        let plan = late.plan_update(late.home_files().await.unwrap(), None).await.unwrap();
        std::fs::rename(dir.path().join("away"), other.path()).unwrap();
        std::fs::write(other.path(), [std::fs::read(other.path()).unwrap(), b"\n".to_vec()].concat()).unwrap();
        recorder.append(&[ResponseItem::user_text("twice").into()]).unwrap();
        early.update(|_| {}).await.unwrap();
        let known = early.known_size(grows).await;

        let mut transaction = late.database.begin(WaitPolicy::Long).await.unwrap();
        assert_eq!(remove_threads(&mut transaction, &plan.gone).await.unwrap(), 0, "{goes} has a file again");
        transaction.commit().await.unwrap();
        let (mut report, mut contended) = (UpdateReport::default(), HashSet::new());
        late.scan_and_write(&plan.files, plan.jobs, &mut report, &mut contended, WaitPolicy::Long, &mut |_| {})
            .await
            .unwrap();
        assert_eq!(contended, HashSet::from([grows]));
        assert_eq!(late.known_size(grows).await, known);
    }

    #[tokio::test]
    async fn a_thread_that_one_listing_missed_is_not_removed() {
        let dir = tempfile::tempdir().unwrap();
        let (index, base, ..) = forked(dir.path()).await;
        let (path, away) = (base.path(), dir.path().join("away"));
        std::fs::rename(&path, &away).unwrap();
        let files = index.home_files().await.unwrap();
        std::fs::rename(&away, &path).unwrap();
        let report = index.apply_changes(files, None, WaitPolicy::Long, &mut |_| {}).await.unwrap();
        assert_eq!((report.removed, report.contended), (0, 0));
        assert_eq!(index.incomplete().await, 0);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(index.update(|_| {}).await.unwrap().removed, 1);
    }

    /// Returns the index of a home with a thread and a fork of it by reference, the two recorders and the id of the fork.
    async fn forked(dir: &std::path::Path) -> (StateIndex, RolloutRecorder, RolloutRecorder, ThreadId) {
        let home = RolloutHome::new(dir);
        let id = ThreadId::new(now());
        let paginated = |id| SessionMeta { history_mode: Some(HistoryMode::Paginated), ..SessionMeta::new(id, now()) };
        let base = RolloutRecorder::create(&home, paginated(id)).unwrap();
        base.append(&[ResponseItem::user_text("first").into()]).unwrap();
        let end = std::fs::metadata(base.path()).unwrap().len();
        let history_base = Some(HistoryBase {
            thread_id: Some(id.into()),
            end_ordinal_exclusive: Some(2),
            end_byte_offset: Some(end),
            ..HistoryBase::default()
        });
        let fork_id = ThreadId::new(now());
        let meta = SessionMeta { history_base, ..paginated(fork_id) };
        let fork = RolloutRecorder::create(&home, meta).unwrap();
        fork.append(&[ResponseItem::user_text("second").into()]).unwrap();
        let index = StateIndex::open(&home, &StateIndex::path_in(&home)).await.unwrap();
        index.update(|_| {}).await.unwrap();
        assert_eq!(index.incomplete().await, 0);
        (index, base, fork, fork_id)
    }

    #[tokio::test]
    async fn a_base_that_is_moved_is_found_at_its_new_path() {
        let dir = tempfile::tempdir().unwrap();
        let (index, base, fork, fork_id) = forked(dir.path()).await;
        let away = dir.path().join("away");
        let archived = dir.path().join("archived_sessions").join(base.path().file_name().unwrap());
        std::fs::create_dir(archived.parent().unwrap()).unwrap();
        // Moved after the files were listed; then moved back, after it was listed at the other path.
        for (before, after) in [(&base.path(), &archived), (&archived, &base.path())] {
            fork.append(&[ResponseItem::user_text("again").into()]).unwrap();
            let files = index.home_files().await.unwrap();
            std::fs::rename(before, after).unwrap();
            let only = Some(HashSet::from([fork_id]));
            index.clear().await.unwrap();
            index.apply_changes(files, only, WaitPolicy::Long, &mut |_| {}).await.unwrap();
            assert_eq!(index.incomplete().await, 0);
            index.update(|_| {}).await.unwrap();
        }
        // Gone before the files were listed, so that only the fork is compared.
        std::fs::rename(base.path(), &away).unwrap();
        let files = index.home_files().await.unwrap();
        let text = std::fs::read(fork.path()).unwrap();
        std::fs::write(fork.path(), [&text[..], b"\n"].concat()).unwrap();
        std::fs::write(fork.path(), text).unwrap();
        index.apply_changes(files, Some(HashSet::from([fork_id])), WaitPolicy::Long, &mut |_| {}).await.unwrap();
        assert_eq!(index.incomplete().await, 1);
        std::fs::rename(&away, base.path()).unwrap();
        index.update(|_| {}).await.unwrap();
        assert_eq!(index.incomplete().await, 0);
    }

    #[tokio::test]
    async fn a_moved_file_without_lines_of_the_history_does_not_delay_the_update() {
        let dir = tempfile::tempdir().unwrap();
        let home = RolloutHome::new(dir.path());
        let id = ThreadId::new(now());
        let meta = SessionMeta { history_mode: Some(HistoryMode::Paginated), ..SessionMeta::new(id, now()) };
        let first = RolloutRecorder::create(&home, meta.clone()).unwrap();
        first.append(&[ResponseItem::user_text("undone").into()]).unwrap();
        first.shutdown();
        // The thread was reverted to its beginning.
        let later = home.active_path(&RolloutFileName::new(now(), id, Some(SegmentId::new(now()))));
        let mut head = Vec::new();
        RolloutLine::encode(&mut head, now(), Some(0), &meta.into());
        std::fs::write(later, head).unwrap();
        let index = StateIndex::open(&home, &StateIndex::path_in(&home)).await.unwrap();
        let files = index.home_files().await.unwrap();
        let archived = dir.path().join("archived_sessions").join(first.path().file_name().unwrap());
        std::fs::create_dir(archived.parent().unwrap()).unwrap();
        std::fs::rename(first.path(), archived).unwrap();
        let report = index.apply_changes(files, None, WaitPolicy::Long, &mut |_| {}).await.unwrap();
        assert_eq!((report.read_whole, report.contended, report.unreadable), (1, 0, 0));
    }

    impl StateIndex {
        async fn incomplete(&self) -> i64 {
            let sql = "SELECT count(*) FROM threads WHERE is_incomplete";
            sqlx::query_scalar(sql).fetch_one(&self.database.readers).await.unwrap()
        }

        async fn known_size(&self, thread_id: ThreadId) -> i64 {
            let sql = "SELECT size FROM segments WHERE thread_id = ?";
            sqlx::query_scalar(sql).bind(thread_id.as_uuid()).fetch_one(&self.database.readers).await.unwrap()
        }
    }
}
