//! Bringing the index up to date with the files of its home.
//!
//! A walk over the directories and a look at each file from outside tell which threads changed. Those are read by two
//! threads, a log that only grew from where it was read to, and written in short transactions, so that a process that dies
//! in between has lost nothing but time.

use std::collections::{HashSet, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use selvedge_protocol::ThreadId;
use selvedge_rollout::{CachedHome, FileStamp, HomeFiles, ResolvedHistory, RolloutHome, now, retry_if_moved};
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection};
use tokio::sync::mpsc;

use crate::StateIndex;
use crate::database::{Database, WaitPolicy};
use crate::error::{IndexError, Result};
use crate::list::stored_thread;
use crate::plan::{Job, Known, ids};
use crate::row::{KnownThread, Mark, scan, scan_tail};
use crate::search::gather::RunCollector;
use crate::search::run::Run;
use crate::search::store::store_run;
use crate::told::{Told, TurnSink};
use crate::write::{self, Scanned, signed};

/// How many threads read files.
const SCANNERS: usize = 2;

/// How many threads of a home are written in one transaction at most.
const BATCH: usize = 1_000;

/// How many bytes of their logs, and how many of the text in these.
const BATCH_BYTES: u64 = 40 << 20;
const BATCH_TEXT: usize = 9 << 20;

/// How often threads are looked at again that another process wrote at the same time.
const ROUNDS: usize = 4;

/// How many batches wait to be written: what bounds memory.
const QUEUE: usize = 1;

/// How far a sync is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UpdateProgress {
    /// Threads that have to be read.
    pub threads: u64,
    /// Threads that have been read and written.
    pub threads_done: u64,
    /// Size of the files that have to be read, as they lie on disk.
    pub bytes: u64,
    /// Of these, those of threads that are done.
    pub bytes_done: u64,
}

/// What a sync did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct UpdateReport {
    /// Threads that were looked at.
    pub threads: u64,
    /// Threads that were read whole.
    pub read_whole: u64,
    /// Threads of which only what was appended was read.
    pub read_tail: u64,
    /// Threads that are gone.
    pub removed: u64,
    /// Threads that could not be read; they are looked at again by the next sync.
    pub unreadable: u64,
    /// Threads that another process wrote or moved all the time, so that they have to be looked at again.
    pub overtaken: u64,
    /// Names that were given, changed or taken away.
    pub renamed: u64,
    /// Bytes of rollout text that were read.
    pub bytes_read: u64,
}

/// A thread that was read.
struct Done {
    job: Job,
    outcome: Option<Box<Scanned>>,
    /// Whether it could not be read because its files were moved all the time.
    is_moved: bool,
}

/// Threads that are written together, with the words that they hold.
#[derive(Default)]
struct Batch {
    done: Vec<Done>,
    runs: Vec<Run>,
}

impl StateIndex {
    /// Brings the index up to date with the home. `progress` is told after each batch.
    ///
    /// Several may sync at once, in this process or in others: they do the same work twice and come to the same rows.
    ///
    /// # Errors
    /// When the directories of the home cannot be read, or the database cannot be written. What was written until then
    /// stands, and the next sync goes on from there.
    pub async fn update(&self, mut progress: impl FnMut(UpdateProgress)) -> Result<UpdateReport> {
        let (started_at, clearings) = (now(), self.clearings().await?);
        let look = self.look().await?;
        let report = self.follow(Arc::clone(&look.files), None, WaitPolicy::Long, &mut progress).await?;
        if report.overtaken == 0 {
            self.set_filled(started_at, clearings).await?;
            self.saw(look, WaitPolicy::Long).await?;
        }
        Ok(report)
    }

    /// Carries out what is to be done about these threads, or about all: until no other process is in between.
    pub(crate) async fn follow(
        &self,
        files: Arc<HomeFiles>,
        threads: Option<HashSet<ThreadId>>,
        patience: WaitPolicy,
        progress: &mut impl FnMut(UpdateProgress),
    ) -> Result<UpdateReport> {
        let looked_at = threads.as_ref().map_or_else(|| files.threads().count(), HashSet::len);
        let mut report = UpdateReport { threads: looked_at as u64, ..UpdateReport::default() };
        let mut plan = self.plan(files, threads).await?;
        for _ in 0..ROUNDS {
            let mut overtaken = HashSet::new();
            if !plan.gone.is_empty() {
                // A file that is moved while directories are read may be seen in neither place.
                let files = self.home_files().await?;
                let is_gone = |job: &Job| files.segments(job.thread_id).is_empty();
                let (gone, moved): (Vec<Job>, Vec<Job>) = plan.gone.drain(..).partition(is_gone);
                overtaken.extend(moved.iter().map(|job| job.thread_id));
                let mut transaction = self.database.begin(patience).await?;
                report.removed += remove(&mut transaction, &gone).await?;
                transaction.commit().await?;
            }
            self.read_and_write(&plan.files, plan.jobs, &mut report, &mut overtaken, patience, progress).await?;
            report.overtaken = overtaken.len() as u64;
            if overtaken.is_empty() {
                break;
            }
            plan = self.plan(self.home_files().await?, Some(overtaken)).await?;
        }
        report.renamed = self.sync_names(patience).await?;
        match self.merge_runs(patience).await {
            // What was read is written. Runs are as good unmerged, and somebody else may be merging them.
            Err(IndexError::Busy(error)) => tracing::debug!(%error, "runs of words not merged"),
            outcome => outcome?,
        }
        Ok(report)
    }

    /// Reads the threads in question and writes their rows.
    async fn read_and_write(
        &self,
        files: &Arc<HomeFiles>,
        jobs: VecDeque<Job>,
        report: &mut UpdateReport,
        overtaken: &mut HashSet<ThreadId>,
        patience: WaitPolicy,
        progress: &mut impl FnMut(UpdateProgress),
    ) -> Result<()> {
        let mut state = UpdateProgress { threads: jobs.len() as u64, ..UpdateProgress::default() };
        state.bytes = jobs.iter().map(|job| job.bytes).sum();
        if jobs.is_empty() {
            return Ok(());
        }
        progress(state);
        let mut results = self.scan_all(Arc::clone(files), jobs);
        while let Some(Batch { done: batch, runs }) = results.recv().await {
            let read: Vec<&Done> = batch.iter().filter(|done| done.outcome.is_some()).collect();
            let mut transaction = self.database.begin(patience).await?;
            let late = changed_meanwhile(&mut transaction, read.iter().map(|done| &done.job)).await?;
            let timely = read.iter().filter(|done| !late.contains(&done.job.thread_id));
            let timely: Vec<&Scanned> = timely.filter_map(|done| done.outcome.as_deref()).collect();
            write::store(&mut transaction, &timely).await?;
            for run in runs {
                store_run(&mut transaction, run, &late).await?;
            }
            transaction.commit().await?;
            overtaken.extend(late);
            for done in batch {
                state.threads_done += 1;
                state.bytes_done += done.job.bytes;
                match done.outcome {
                    Some(scanned) => {
                        report.bytes_read += scanned.scanned.bytes_read;
                        *(if scanned.is_whole { &mut report.read_whole } else { &mut report.read_tail }) += 1;
                    }
                    None if done.is_moved => drop(overtaken.insert(done.job.thread_id)),
                    None => report.unreadable += 1,
                }
            }
            progress(state);
        }
        Ok(())
    }

    /// Reads threads on threads of their own; their rows come in no order. When the receiver goes, so do they.
    fn scan_all(&self, files: Arc<HomeFiles>, jobs: VecDeque<Job>) -> mpsc::Receiver<Batch> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let runtime = tokio::runtime::Handle::current();
        let shared = Arc::new((files, Mutex::new(jobs)));
        for _ in 0..SCANNERS {
            let (remembered, database) = (Arc::clone(&self.remembered), self.database.clone());
            let runtime = runtime.clone();
            let (shared, sender) = (shared.clone(), sender.clone());
            tokio::task::spawn_blocking(move || {
                let (files, jobs) = &*shared;
                let mut texts = RunCollector::default();
                let mut batch = Batch::default();
                let mut bytes = 0;
                loop {
                    let Some(job) = jobs.lock().unwrap_or_else(PoisonError::into_inner).pop_front() else { break };
                    texts.begin_thread(job.thread_id);
                    let known = |mark| runtime.block_on(known_of(&database, job.thread_id, mark)).ok().flatten();
                    let is_known_turn = |told: &Told| {
                        // When it cannot be told, the thread is read whole.
                        runtime.block_on(names_turns_before(&database, job.thread_id, told)).unwrap_or(true)
                    };
                    let scanned = scan_job(&remembered, files, &job, known, is_known_turn, &mut texts);
                    let is_moved = scanned.as_ref().is_err_and(IndexError::is_gone);
                    let outcome = match scanned {
                        Ok(scanned) => scanned.map(Box::new),
                        Err(error) => {
                            tracing::warn!(thread_id = %job.thread_id, %error, "thread cannot be indexed");
                            None
                        }
                    };
                    match &outcome {
                        Some(scanned) => bytes += scanned.scanned.bytes_read,
                        None => texts.restart_thread(),
                    }
                    batch.done.push(Done { job, outcome, is_moved });
                    if batch.done.len() >= BATCH || bytes >= BATCH_BYTES || texts.text() >= BATCH_TEXT {
                        bytes = 0;
                        batch.runs = texts.take_runs();
                        if sender.blocking_send(std::mem::take(&mut batch)).is_err() {
                            return;
                        }
                    }
                }
                batch.runs = texts.take_runs();
                if !batch.done.is_empty() {
                    // Nobody waits for it any more, or it is received.
                    let _ = sender.blocking_send(batch);
                }
            });
        }
        receiver
    }
}

/// A path as the index keeps it: below the home. Rollout files have names in UTF-8, and so have the directories above them
/// up to the home; what has not is not indexed.
pub(crate) fn relative(home: &RolloutHome, path: &Path) -> Option<String> {
    Some(path.strip_prefix(home.root()).ok()?.to_str()?.to_owned())
}

/// Reads one thread; nothing when it went away meanwhile.
fn scan_job(
    remembered: &CachedHome,
    files: &Arc<HomeFiles>,
    job: &Job,
    known: impl FnOnce(Mark) -> Option<KnownThread>,
    is_known_turn: impl FnOnce(&Told) -> bool,
    sink: &mut impl TurnSink,
) -> Result<Option<Scanned>> {
    let home = remembered.home();
    let segments = |files: &HomeFiles| -> Result<Vec<_>> {
        let mut found = Vec::new();
        for file in files.segments(job.thread_id) {
            let Some(path) = relative(home, &file.path) else { continue };
            found.push((path, file.name.segment_id(), FileStamp::read(&file.path)?));
        }
        Ok(found)
    };
    let Some(newest) = files.segments(job.thread_id).last() else { return Ok(None) };
    if let Some(known) = job.tail_of.and_then(known) {
        let segments = segments(files);
        match segments.and_then(|segments| Ok((segments, scan_tail(newest, known, sink)?))) {
            Ok((segments, Some(scanned))) if !is_known_turn(&scanned.told) => {
                let path = relative(home, &newest.path).unwrap_or_default();
                let archived = newest.archived;
                return Ok(Some(Scanned { scanned, is_whole: false, path, archived, segments, absent: None }));
            }
            Err(error) if !error.is_gone() => return Err(error),
            _ => {}
        }
    }
    let scanned = while_moved(remembered, files, job.thread_id, |files, resolved| {
        sink.restart_thread();
        let missing = resolved.missing.as_ref().map(|missing| missing.segment_id);
        let absent = missing.filter(|missing| files.segment(*missing).is_none());
        let segments = segments(files)?;
        let scanned = scan(resolved, sink)?;
        let newest = resolved.newest();
        let Some(path) = relative(home, &newest.path) else { return Ok(None) };
        Ok(Some(Scanned { scanned, is_whole: true, path, archived: newest.archived, segments, absent }))
    });
    scanned.map(Option::flatten)
}

/// Follows the history of a thread from where its `files` were found and reads it, again if a file is not where it was found;
/// nothing when there is no such thread any more.
pub(crate) fn while_moved<T>(
    remembered: &CachedHome,
    files: &Arc<HomeFiles>,
    thread_id: ThreadId,
    mut read: impl FnMut(&HomeFiles, &ResolvedHistory) -> Result<T>,
) -> Result<Option<T>> {
    let mut found = Some(Arc::clone(files));
    retry_if_moved(IndexError::is_gone, || {
        let files = found.take().map_or_else(|| remembered.files(), Ok)?;
        let (files, Some(resolved)) = remembered.try_resolve(files, thread_id)? else { return Ok(None) };
        read(&files, &resolved).map(Some)
    })
}

/// Whether the lines of a tail spoke of turns that stand before it.
async fn names_turns_before(database: &Database, thread_id: ThreadId, told: &Told) -> Result<bool> {
    if told.unresolved_turn_ids.is_empty() {
        return Ok(false);
    }
    let mut sql = QueryBuilder::<Sqlite>::new("SELECT EXISTS (SELECT 1 FROM turns WHERE thread_id = ");
    sql.push_bind(thread_id.as_uuid()).push(" AND place < ").push_bind(signed(told.first_turn));
    sql.push(" AND turn_id IN (");
    let mut list = sql.separated(", ");
    for turn_id in &told.unresolved_turn_ids {
        list.push_bind(turn_id.as_str());
    }
    sql.push("))");
    Ok(sql.build_query_scalar().persistent(false).fetch_one(&database.readers).await?)
}

/// What is known of a thread whose log grew behind `mark`; nothing when a tail cannot be folded onto it.
async fn known_of(database: &Database, thread_id: ThreadId, mark: Mark) -> Result<Option<KnownThread>> {
    let sql = "SELECT record, name, archived, path, tail, (SELECT count(part) FROM bases WHERE thread_id = threads.id) \
        FROM threads WHERE id = ?";
    let row = sqlx::query(sql).bind(thread_id.as_uuid()).fetch_optional(&database.readers).await?;
    let Some(row) = row else { return Ok(None) };
    let tail: Option<&str> = row.try_get(4)?;
    let Some(tail) = tail.and_then(|tail| serde_json::from_str(tail).ok()) else { return Ok(None) };
    let parts = usize::try_from(row.try_get::<i64, _>(5)?).unwrap_or_default() + 1;
    Ok(Some(KnownThread { thread: stored_thread(&row, None)?, parts, mark, tail }))
}

/// Which of these threads another process wrote since they were looked at.
async fn changed_meanwhile(
    connection: &mut SqliteConnection,
    jobs: impl IntoIterator<Item = &Job>,
) -> Result<HashSet<ThreadId>> {
    let jobs: Vec<&Job> = jobs.into_iter().collect();
    let mut known = Known::default();
    known.load_segments(connection, Some(ids(jobs.iter().map(|job| &job.thread_id)))).await?;
    let changed = jobs.into_iter().filter(|job| known.seen(job.thread_id) != job.seen);
    Ok(changed.map(|job| job.thread_id).collect())
}

/// Removes the rows of threads that are gone, and says how many those were.
async fn remove(connection: &mut SqliteConnection, gone: &[Job]) -> Result<u64> {
    let came_back = changed_meanwhile(connection, gone).await?;
    let gone: Vec<ThreadId> = gone.iter().map(|job| job.thread_id).filter(|id| !came_back.contains(id)).collect();
    write::remove(connection, &gone).await?;
    Ok(gone.len() as u64)
}

/// Runs work on files on the blocking thread pool. Nobody holds a transaction meanwhile: files can take any time, and the log of
/// the database grows for as long as somebody reads an old state of it.
///
/// # Errors
/// Those of the work, and [`IndexError::Cancelled`] if the runtime shuts down first.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(IndexError::Cancelled),
        },
    }
}

#[cfg(test)]
mod tests {
    use selvedge_protocol::{HistoryBase, HistoryMode, ResponseItem, RolloutLine, SegmentId, SessionMeta};
    use selvedge_rollout::{RolloutFileName, RolloutRecorder};

    use super::*;

    #[tokio::test]
    async fn who_comes_late_puts_nothing_back() {
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
        // The late one looks, and writes what it saw only after another one has written more.
        recorder.append(&[ResponseItem::user_text("once").into()]).unwrap();
        std::fs::rename(other.path(), dir.path().join("away")).unwrap();
        let plan = late.plan(late.home_files().await.unwrap(), None).await.unwrap();
        std::fs::rename(dir.path().join("away"), other.path()).unwrap();
        std::fs::write(other.path(), [std::fs::read(other.path()).unwrap(), b"\n".to_vec()].concat()).unwrap();
        recorder.append(&[ResponseItem::user_text("twice").into()]).unwrap();
        early.update(|_| {}).await.unwrap();
        let known = early.known_size(grows).await;

        let mut transaction = late.database.begin(WaitPolicy::Long).await.unwrap();
        assert_eq!(remove(&mut transaction, &plan.gone).await.unwrap(), 0, "{goes} came back");
        transaction.commit().await.unwrap();
        let (mut report, mut overtaken) = (UpdateReport::default(), HashSet::new());
        late.read_and_write(&plan.files, plan.jobs, &mut report, &mut overtaken, WaitPolicy::Long, &mut |_| {})
            .await
            .unwrap();
        assert_eq!(overtaken, HashSet::from([grows]));
        assert_eq!(late.known_size(grows).await, known);
    }

    #[test]
    fn work_that_is_cancelled_by_a_shutdown_is_an_error() {
        let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
        let gone = runtime();
        let handle = gone.handle().clone();
        gone.shutdown_background();
        let mut work = std::pin::pin!(blocking(|| Ok(())));
        let work = std::future::poll_fn(|context| {
            let _inside = handle.enter();
            work.as_mut().poll(context)
        });
        assert!(matches!(runtime().block_on(work), Err(IndexError::Cancelled)));
    }

    #[tokio::test]
    async fn a_thread_that_no_look_saw_is_looked_for_again() {
        let dir = tempfile::tempdir().unwrap();
        let (index, base, ..) = forked(dir.path()).await;
        let (path, away) = (base.path(), dir.path().join("away"));
        std::fs::rename(&path, &away).unwrap();
        let files = index.home_files().await.unwrap();
        std::fs::rename(&away, &path).unwrap();
        let report = index.follow(files, None, WaitPolicy::Long, &mut |_| {}).await.unwrap();
        assert_eq!((report.removed, report.overtaken), (0, 0));
        assert_eq!(index.incomplete().await, 0);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(index.update(|_| {}).await.unwrap().removed, 1);
    }

    /// A home with a thread, and a fork of it by reference.
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
    async fn a_base_that_moved_is_found_where_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let (index, base, fork, fork_id) = forked(dir.path()).await;
        let away = dir.path().join("away");
        let archived = dir.path().join("archived_sessions").join(base.path().file_name().unwrap());
        std::fs::create_dir(archived.parent().unwrap()).unwrap();
        // Moved behind the look, and back where it was after it was away at the look.
        for (before, after) in [(&base.path(), &archived), (&archived, &base.path())] {
            fork.append(&[ResponseItem::user_text("again").into()]).unwrap();
            let files = index.home_files().await.unwrap();
            std::fs::rename(before, after).unwrap();
            let only = Some(HashSet::from([fork_id]));
            index.clear().await.unwrap();
            index.follow(files, only, WaitPolicy::Long, &mut |_| {}).await.unwrap();
            assert_eq!(index.incomplete().await, 0);
            index.update(|_| {}).await.unwrap();
        }
        // Gone while the fork is read, and nobody saw it go.
        std::fs::rename(base.path(), &away).unwrap();
        let files = index.home_files().await.unwrap();
        let text = std::fs::read(fork.path()).unwrap();
        std::fs::write(fork.path(), [&text[..], b"\n"].concat()).unwrap();
        std::fs::write(fork.path(), text).unwrap();
        index.follow(files, Some(HashSet::from([fork_id])), WaitPolicy::Long, &mut |_| {}).await.unwrap();
        assert_eq!(index.incomplete().await, 1);
        std::fs::rename(&away, base.path()).unwrap();
        index.update(|_| {}).await.unwrap();
        assert_eq!(index.incomplete().await, 0);
    }

    #[tokio::test]
    async fn a_file_that_moved_and_holds_nothing_of_the_history_holds_nothing_up() {
        let dir = tempfile::tempdir().unwrap();
        let home = RolloutHome::new(dir.path());
        let id = ThreadId::new(now());
        let meta = SessionMeta { history_mode: Some(HistoryMode::Paginated), ..SessionMeta::new(id, now()) };
        let first = RolloutRecorder::create(&home, meta.clone()).unwrap();
        first.append(&[ResponseItem::user_text("undone").into()]).unwrap();
        first.shutdown();
        // The thread went back to its beginning.
        let later = home.active_path(&RolloutFileName::new(now(), id, Some(SegmentId::new(now()))));
        let mut head = Vec::new();
        RolloutLine::encode(&mut head, now(), Some(0), &meta.into());
        std::fs::write(later, head).unwrap();
        let index = StateIndex::open(&home, &StateIndex::path_in(&home)).await.unwrap();
        let files = index.home_files().await.unwrap();
        let archived = dir.path().join("archived_sessions").join(first.path().file_name().unwrap());
        std::fs::create_dir(archived.parent().unwrap()).unwrap();
        std::fs::rename(first.path(), archived).unwrap();
        let report = index.follow(files, None, WaitPolicy::Long, &mut |_| {}).await.unwrap();
        assert_eq!((report.read_whole, report.overtaken, report.unreadable), (1, 0, 0));
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
