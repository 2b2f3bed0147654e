//! Scans threads in parallel, and groups them into batches that are written together.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use selvedge_protocol::{SegmentId, ThreadId};
use selvedge_rollout::{CachedHome, FileStamp, HomeFiles, RolloutError};
use sqlx::{QueryBuilder, Row, Sqlite};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::database::Database;
use crate::error::{IndexError, Result};
use crate::index::StateIndex;
use crate::indexed_prefix::IndexedPrefix;
use crate::limits::{BATCH_BYTES, BATCH_TEXT_BYTES, BATCH_THREADS, QUEUED_BATCHES, SCANNERS};
use crate::open_turns::{OpenTurnCache, ScannedLines};
use crate::paths::home_relative;
use crate::plan::ScanJob;
use crate::record::read_record;
use crate::resolved::read_resolved;
use crate::scan::{ResumableThread, scan, scan_tail};
use crate::search::collector::RunCollector;
use crate::search::run::Run;
use crate::sql::signed;
use crate::write::{SegmentRow, ThreadUpdate};
use selvedge_history::turn_index::{TurnRows, TurnSink};

/// A job that was carried out.
pub(crate) struct ScannedJob {
    pub(crate) job: ScanJob,
    pub(crate) outcome: ScanOutcome,
}

/// The outcome of scanning a thread.
pub(crate) enum ScanOutcome {
    /// The thread was read.
    Read(Box<ThreadUpdate>),
    /// The thread's files were moved each time it was read. It has to be planned again.
    Moved,
    /// The thread cannot be read, or has no files any more.
    Unreadable,
}

/// Threads that are written together, with the words of their items.
#[derive(Default)]
pub(crate) struct ScanBatch {
    pub(crate) scanned: Vec<ScannedJob>,
    pub(crate) runs: Vec<Run>,
}

impl StateIndex {
    /// Scans threads on the blocking thread pool. Batches arrive in no particular order. The scanners stop when the receiver is
    /// dropped.
    pub(crate) fn spawn_scanners(&self, files: Arc<HomeFiles>, jobs: VecDeque<ScanJob>) -> mpsc::Receiver<ScanBatch> {
        let (sender, receiver) = mpsc::channel(QUEUED_BATCHES);
        let jobs = Arc::new(Mutex::new(jobs));
        // Scanners take jobs from one queue, so that a long thread does not delay the others.
        for _ in 0..SCANNERS {
            let scanner = Scanner {
                cached_home: Arc::clone(&self.cached_home),
                database: Arc::clone(&self.database),
                open_turns: Arc::clone(&self.open_turns),
                runtime: Handle::current(),
                files: Arc::clone(&files),
                jobs: Arc::clone(&jobs),
                sender: sender.clone(),
                collector: RunCollector::default(),
                batch: ScanBatch::default(),
                batch_bytes: 0,
            };
            tokio::task::spawn_blocking(move || scanner.run());
        }
        receiver
    }
}

/// One of the tasks that scan threads.
struct Scanner {
    cached_home: Arc<CachedHome>,
    database: Arc<Database>,
    open_turns: Arc<OpenTurnCache>,
    /// Runs the few database queries of a scan. The scan blocks its thread while it waits for them.
    runtime: Handle,
    files: Arc<HomeFiles>,
    /// The queue that all scanners share.
    jobs: Arc<Mutex<VecDeque<ScanJob>>>,
    sender: mpsc::Sender<ScanBatch>,
    /// Collects the words of the current batch.
    collector: RunCollector,
    batch: ScanBatch,
    /// How many bytes of logs the current batch has read.
    batch_bytes: u64,
}

impl Scanner {
    fn run(mut self) {
        while let Some(job) = self.next_job() {
            let scanned = self.scan(job);
            self.batch.scanned.push(scanned);
            if self.is_batch_full() && self.send_batch().is_err() {
                return;
            }
        }
        if !self.batch.scanned.is_empty() {
            // If the receiver is gone, the update has ended early and needs no more batches.
            let _ = self.send_batch();
        }
    }

    fn next_job(&self) -> Option<ScanJob> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    fn scan(&mut self, job: ScanJob) -> ScannedJob {
        self.collector.begin_thread(job.thread_id);
        let outcome = match self.read(&job) {
            Ok(Some(update)) => {
                self.batch_bytes += update.scanned.bytes_read;
                ScanOutcome::Read(Box::new(update))
            }
            Ok(None) => ScanOutcome::Unreadable,
            Err(error) => {
                match &error {
                    IndexError::Files(RolloutError::Io { path, source, .. }) if !error.is_gone() => {
                        self.cached_home.report_unreadable(path, source);
                        tracing::debug!(thread_id = %job.thread_id, %error, "thread cannot be indexed");
                    }
                    _ => tracing::warn!(thread_id = %job.thread_id, %error, "thread cannot be indexed"),
                }
                if error.is_gone() { ScanOutcome::Moved } else { ScanOutcome::Unreadable }
            }
        };
        if !matches!(outcome, ScanOutcome::Read(_)) {
            // Words of a thread that is not written must not be written either.
            self.collector.restart_thread();
        }
        ScannedJob { job, outcome }
    }

    /// Reads one thread: what was appended if that is possible, and otherwise its whole history. Returns `None` if the thread has
    /// no files any more.
    fn read(&mut self, job: &ScanJob) -> Result<Option<ThreadUpdate>> {
        if self.files.segments(job.thread_id).is_empty() {
            return Ok(None);
        }
        // Each failure of the cheap way falls back to the expensive one, which is always right.
        match self.read_appended(job)? {
            Some(update) => Ok(Some(update)),
            None => self.read_whole(job.thread_id),
        }
    }

    /// Reads what was appended to the newest file. Returns `None` if that does not suffice: the job is to read everything, the
    /// index has no resume point, a line affects what is indexed already, or a file was moved.
    fn read_appended(&mut self, job: &ScanJob) -> Result<Option<ThreadUpdate>> {
        let Some(newest) = self.files.segments(job.thread_id).last() else { return Ok(None) };
        let Some(known) = job.resume_after.and_then(|prefix| self.resumable_thread(job.thread_id, prefix)) else {
            return Ok(None);
        };
        // Stamps are taken before the lines are read: if a file grows in between, the next plan finds another stamp.
        let segments = segment_rows(&self.cached_home, &self.files, job.thread_id);
        let paused = self.open_turns.take(&newest.path, &known.lines);
        let scanned =
            segments.and_then(|segments| Ok((segments, scan_tail(newest, &known, paused, &mut self.collector)?)));
        match scanned {
            Ok((segments, Some((scanned, open)))) if !self.refers_to_earlier_turns(job.thread_id, &scanned.turns) => {
                // If these rows are not written after all, the scan is ahead of the index, and does not go on.
                open.into_iter().for_each(|open| self.open_turns.put(open));
                let path = home_relative(self.cached_home.home(), &newest.path).unwrap_or_default();
                let archived = newest.archived;
                Ok(Some(ThreadUpdate { scanned, is_whole: false, path, archived, segments, absent: None }))
            }
            Err(error) if !error.is_gone() => Err(error),
            _ => Ok(None),
        }
    }

    fn read_whole(&mut self, thread_id: ThreadId) -> Result<Option<ThreadUpdate>> {
        let Self { cached_home, files, collector, .. } = self;
        let update = read_resolved(cached_home, files, thread_id, |files, resolved| {
            // The words of an attempt that failed are dropped.
            collector.restart_thread();
            let missing = resolved.missing.as_ref().map(|missing| missing.segment_id);
            let absent = missing.filter(|missing| files.segment(*missing).is_none());
            let segments = segment_rows(cached_home, files, thread_id)?;
            let scanned = scan(files, resolved, collector)?;
            let newest = resolved.newest();
            let Some(path) = home_relative(cached_home.home(), &newest.path) else { return Ok(None) };
            Ok(Some(ThreadUpdate { scanned, is_whole: true, path, archived: newest.archived, segments, absent }))
        });
        update.map(Option::flatten)
    }

    /// Returns what the index knows of the thread. `None`, which means to read everything, also if the index cannot be read.
    fn resumable_thread(&self, thread_id: ThreadId, prefix: IndexedPrefix) -> Option<ResumableThread> {
        self.runtime.block_on(load_resumable_thread(&self.database, thread_id, prefix)).ok().flatten()
    }

    /// Returns whether appended lines refer to indexed turns. An index that cannot be read counts as yes, which means to read
    /// everything.
    fn refers_to_earlier_turns(&self, thread_id: ThreadId, turns: &TurnRows) -> bool {
        self.runtime.block_on(refers_to_earlier_turns(&self.database, thread_id, turns)).unwrap_or(true)
    }

    fn is_batch_full(&self) -> bool {
        self.batch.scanned.len() >= BATCH_THREADS
            || self.batch_bytes >= BATCH_BYTES
            || self.collector.text_bytes() >= BATCH_TEXT_BYTES
    }

    /// Waits until the queue has room. Fails if the receiver is gone.
    fn send_batch(&mut self) -> Result<(), mpsc::error::SendError<ScanBatch>> {
        self.batch_bytes = 0;
        self.batch.runs = self.collector.take_runs();
        self.sender.blocking_send(std::mem::take(&mut self.batch))
    }
}

/// Returns the files of a thread with their current stamps, as far as the index can store their paths.
fn segment_rows(cached_home: &CachedHome, files: &HomeFiles, thread_id: ThreadId) -> Result<Vec<SegmentRow>> {
    let mut rows = Vec::new();
    for file in files.segments(thread_id) {
        let Some(path) = home_relative(cached_home.home(), &file.path) else { continue };
        let segment_id: SegmentId = file.name.segment_id();
        rows.push(SegmentRow { path, segment_id, stamp: FileStamp::read(&file.path)? });
    }
    Ok(rows)
}

/// Returns what the index knows of a thread whose log grew behind `prefix`. `None` if the index has no resume point.
async fn load_resumable_thread(
    database: &Database,
    thread_id: ThreadId,
    prefix: IndexedPrefix,
) -> Result<Option<ResumableThread>> {
    let sql = "SELECT record, name, archived, path, tail, (SELECT count(part) FROM bases WHERE thread_id = threads.id), \
        counts, fold, scan_id FROM threads JOIN activities ON thread_id = threads.id WHERE id = ?";
    let row = sqlx::query(sql).bind(thread_id.as_uuid()).fetch_optional(&database.readers).await?;
    let Some(row) = row else { return Ok(None) };
    let resume_point: Option<&str> = row.try_get(4)?;
    let resume_point = resume_point.and_then(|json| serde_json::from_str(json).ok());
    let Some(resume_point) = resume_point else { return Ok(None) };
    let parts = usize::try_from(row.try_get::<i64, _>(5)?).unwrap_or_default() + 1;
    let (counts, state) = (serde_json::from_str(row.try_get(6)?), serde_json::from_str(row.try_get(7)?));
    let (Ok(activity), Ok(activity_state)) = (counts, state) else { return Ok(None) };
    let thread = read_record(&row, None)?;
    let lines = ScannedLines { thread_id, scan_id: row.try_get(8)?, resume_point, prefix };
    Ok(Some(ResumableThread { thread, parts, lines, activity, activity_state }))
}

/// Returns whether lines that were appended refer to turns before them.
async fn refers_to_earlier_turns(database: &Database, thread_id: ThreadId, turns: &TurnRows) -> Result<bool> {
    if turns.unresolved_turn_ids.is_empty() {
        return Ok(false);
    }
    let mut sql = QueryBuilder::<Sqlite>::new("SELECT EXISTS (SELECT 1 FROM turns WHERE thread_id = ");
    sql.push_bind(thread_id.as_uuid()).push(" AND place < ").push_bind(signed(turns.first_turn));
    sql.push(" AND turn_id IN (");
    let mut list = sql.separated(", ");
    for turn_id in &turns.unresolved_turn_ids {
        list.push_bind(turn_id.as_str());
    }
    sql.push("))");
    // The length varies, so the prepared statement is rarely used again and would only remove others from the cache.
    Ok(sql.build_query_scalar().persistent(false).fetch_one(&database.readers).await?)
}
