//! Bringing the index up to date with the files of its home.
//!
//! A walk over the directories and a look at each file from outside tell which threads changed. Those are read by two
//! threads, a log that only grew from where it was read to, and written in short transactions, so that a process that dies
//! in between has lost nothing but time.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use selvedge_protocol::{SegmentId, StoredThread, ThreadId, repository_name};
use selvedge_rollout::{HomeFiles, NameIndex, ResolvedHistory, RolloutFile, RolloutHome};
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection};
use tokio::sync::mpsc;

use crate::StateIndex;
use crate::database::Database;
use crate::error::Result;
use crate::list::stored_thread;
use crate::row::{Mark, ScannedThread, scan, scan_tail};
use crate::stamp::Stamp;

/// How many threads read files.
const SCANNERS: usize = 2;

/// How many threads of a home are written in one transaction.
const BATCH: usize = 200;

/// How many scanned threads wait to be written: what bounds memory.
const QUEUE: usize = 64;

/// How far a sync is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SyncProgress {
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
pub struct SyncReport {
    /// Threads in the home.
    pub threads: u64,
    /// Threads that were read whole.
    pub read_whole: u64,
    /// Threads of which only what was appended was read.
    pub read_tail: u64,
    /// Threads that are gone.
    pub removed: u64,
    /// Threads that could not be read; they are looked at again by the next sync.
    pub unreadable: u64,
    /// Names that were given, changed or taken away.
    pub renamed: u64,
    /// Bytes of rollout text that were read.
    pub bytes_read: u64,
}

/// What the index knows of a file.
#[derive(Clone, Copy, Debug)]
struct KnownSegment {
    thread_id: ThreadId,
    stamp: Stamp,
    mark: Mark,
}

/// What the index knows of all files and threads, apart from their rows.
#[derive(Debug, Default)]
struct Known {
    segments: HashMap<String, KnownSegment>,
    /// Each thread, whether a tail can be folded onto its row, and whether a base of it is missing or short.
    threads: HashMap<ThreadId, (bool, bool)>,
    dependents: HashMap<SegmentId, Vec<ThreadId>>,
}

/// A thread to be read.
#[derive(Debug)]
struct Job {
    thread_id: ThreadId,
    /// The row and mark to go on from, if the log only grew.
    tail_of: Option<Mark>,
    bytes: u64,
}

/// A thread that was read.
struct Done {
    job: Job,
    outcome: Option<Box<Scanned>>,
}

struct Scanned {
    scanned: ScannedThread,
    is_whole: bool,
    path: String,
    archived: bool,
    /// All segments of the thread, as they looked before the thread was read.
    segments: Vec<(String, SegmentId, Stamp)>,
}

impl StateIndex {
    /// Brings the index up to date with the home. `progress` is told after each batch.
    ///
    /// Several may sync at once, in this process or in others: they do the same work twice and come to the same rows.
    ///
    /// # Errors
    /// When the directories of the home cannot be read, or the database cannot be written. What was written until then
    /// stands, and the next sync goes on from there.
    pub async fn sync(&self, progress: impl FnMut(SyncProgress)) -> Result<SyncReport> {
        let known = self.known().await?;
        let home = self.home.clone();
        let (files, jobs, gone) = blocking(move || {
            let files = home.files()?;
            let (jobs, gone) = changes(&home, &files, &known);
            Ok((files, jobs, gone))
        })
        .await?;
        let mut report = SyncReport { threads: files.threads().count() as u64, ..SyncReport::default() };
        if !gone.is_empty() {
            report.removed = gone.len() as u64;
            self.database.write(async |connection| remove(connection, &gone).await).await?;
        }
        let has_new_rows = self.read_and_write(files, jobs, &mut report, progress).await?;
        report.renamed = self.sync_names(has_new_rows).await?;
        Ok(report)
    }

    async fn known(&self) -> Result<Known> {
        let mut known = Known::default();
        let mut connection = self.database.readers.acquire().await?;
        // One transaction: segments and threads as of one moment.
        let mut transaction = sqlx::Connection::begin(&mut *connection).await?;
        let sql = "SELECT path, thread_id, size, modified_ns, inode, indexed_bytes, last_line_start, last_line_hash FROM segments";
        for row in sqlx::query(sql).fetch_all(&mut *transaction).await? {
            let stamp = Stamp {
                size: unsigned(row.try_get(2)?),
                modified_ns: row.try_get(3)?,
                inode: unsigned(row.try_get(4)?),
            };
            let mark = Mark {
                end: unsigned(row.try_get(5)?),
                last_line_start: unsigned(row.try_get(6)?),
                last_line_hash: unsigned(row.try_get(7)?),
            };
            let thread_id = ThreadId::from_uuid(row.try_get(1)?);
            known.segments.insert(row.try_get(0)?, KnownSegment { thread_id, stamp, mark });
        }
        for row in
            sqlx::query("SELECT id, is_resumable, is_incomplete FROM threads").fetch_all(&mut *transaction).await?
        {
            known.threads.insert(ThreadId::from_uuid(row.try_get(0)?), (row.try_get(1)?, row.try_get(2)?));
        }
        for row in sqlx::query("SELECT segment_id, thread_id FROM bases").fetch_all(&mut *transaction).await? {
            let dependents = known.dependents.entry(SegmentId::from_uuid(row.try_get(0)?)).or_default();
            dependents.push(ThreadId::from_uuid(row.try_get(1)?));
        }
        Ok(known)
    }

    /// Reads the threads in question and writes their rows. Says whether rows were added.
    async fn read_and_write(
        &self,
        files: HomeFiles,
        jobs: VecDeque<Job>,
        report: &mut SyncReport,
        mut progress: impl FnMut(SyncProgress),
    ) -> Result<bool> {
        let mut state = SyncProgress { threads: jobs.len() as u64, ..SyncProgress::default() };
        state.bytes = jobs.iter().map(|job| job.bytes).sum();
        if jobs.is_empty() {
            return Ok(false);
        }
        progress(state);
        let mut results = self.scan_all(files, jobs);
        let mut has_new_rows = false;
        let mut batch = Vec::new();
        while results.recv_many(&mut batch, BATCH).await > 0 {
            let scanned: Vec<&Scanned> = batch.iter().filter_map(|done| done.outcome.as_deref()).collect();
            has_new_rows |= scanned.iter().any(|scanned| scanned.is_whole);
            self.database.write(async |connection| store(connection, &scanned).await).await?;
            for done in batch.drain(..) {
                state.threads_done += 1;
                state.bytes_done += done.job.bytes;
                match done.outcome {
                    Some(scanned) => {
                        report.bytes_read += scanned.scanned.bytes_read;
                        *(if scanned.is_whole { &mut report.read_whole } else { &mut report.read_tail }) += 1;
                    }
                    None => report.unreadable += 1,
                }
            }
            progress(state);
        }
        Ok(has_new_rows)
    }

    /// Reads threads on threads of their own; their rows come in no order. When the receiver goes, so do they.
    fn scan_all(&self, files: HomeFiles, jobs: VecDeque<Job>) -> mpsc::Receiver<Done> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let runtime = tokio::runtime::Handle::current();
        let shared = Arc::new((files, Mutex::new(jobs)));
        for _ in 0..SCANNERS {
            let (home, database, runtime) = (self.home.clone(), self.database.clone(), runtime.clone());
            let (shared, sender) = (shared.clone(), sender.clone());
            tokio::task::spawn_blocking(move || {
                let (files, jobs) = &*shared;
                loop {
                    let Some(job) = jobs.lock().unwrap_or_else(PoisonError::into_inner).pop_front() else { break };
                    let row =
                        job.tail_of.and_then(|_| runtime.block_on(row_of(&database, job.thread_id)).ok().flatten());
                    let outcome = match scan_job(&home, files, &job, row) {
                        Ok(scanned) => scanned.map(Box::new),
                        Err(error) => {
                            tracing::warn!(thread_id = %job.thread_id, %error, "thread cannot be indexed");
                            None
                        }
                    };
                    if sender.blocking_send(Done { job, outcome }).is_err() {
                        break;
                    }
                }
            });
        }
        receiver
    }

    /// Takes over the names of the name index, if it changed or there are rows that had no chance to get one.
    async fn sync_names(&self, has_new_rows: bool) -> Result<u64> {
        let path = self.home.name_index_path();
        let stamp = Stamp::of(&path).unwrap_or(Stamp { size: 0, modified_ns: 0, inode: 0 });
        let known = sqlx::query("SELECT size, modified_ns, inode FROM names_source")
            .fetch_optional(&self.database.readers)
            .await?;
        let known = known
            .map(|row| -> Result<Stamp> {
                Ok(Stamp {
                    size: unsigned(row.try_get(0)?),
                    modified_ns: row.try_get(1)?,
                    inode: unsigned(row.try_get(2)?),
                })
            })
            .transpose()?;
        if known == Some(stamp) && !has_new_rows {
            return Ok(0);
        }
        self.database.write(async |connection| take_names(connection, &self.home).await).await
    }
}

/// What has to be read, newest first, and which threads are gone.
fn changes(home: &RolloutHome, files: &HomeFiles, known: &Known) -> (VecDeque<Job>, Vec<ThreadId>) {
    let mut jobs: HashMap<ThreadId, (Job, i64)> = HashMap::new();
    let mut rewritten: HashSet<SegmentId> = HashSet::new();
    let mut touched: HashSet<SegmentId> = HashSet::new();
    let mut seen: HashSet<&str> = HashSet::new();
    for (thread_id, segments) in files.threads() {
        let mut newest_ns = 0;
        let mut changed: Vec<(&RolloutFile, Option<&KnownSegment>, Option<Stamp>)> = Vec::new();
        for file in segments {
            let known_segment = relative(home, &file.path).and_then(|path| known.segments.get_key_value(&path));
            let stamp = Stamp::of(&file.path).ok();
            newest_ns = newest_ns.max(stamp.map_or(0, |stamp| stamp.modified_ns));
            seen.extend(known_segment.map(|(path, _)| path.as_str()));
            let known_segment = known_segment.map(|(_, segment)| segment);
            if known_segment.map(|segment| segment.stamp) != stamp {
                changed.push((file, known_segment, stamp));
            }
        }
        touched.extend(changed.iter().map(|(file, ..)| file.name.segment_id()));
        if changed.is_empty() && known.threads.contains_key(&thread_id) {
            continue;
        }
        let tail_of = match (&*changed, known.threads.get(&thread_id)) {
            ([(file, Some(segment), Some(stamp))], Some((true, false))) => grown(file, segment, stamp),
            _ => None,
        };
        if tail_of.is_none() {
            rewritten.extend(changed.iter().map(|(file, ..)| file.name.segment_id()));
        }
        let bytes = changed.iter().filter_map(|(_, _, stamp)| Some(stamp.as_ref()?.size)).sum::<u64>();
        let bytes = bytes.saturating_sub(tail_of.map_or(0, |mark| mark.end));
        jobs.insert(thread_id, (Job { thread_id, tail_of, bytes }, newest_ns));
    }
    // Files that are gone: their threads, if they have others, and those that build on them.
    let mut lost: HashSet<ThreadId> = HashSet::new();
    for (path, segment) in &known.segments {
        if !seen.contains(path.as_str()) {
            lost.insert(segment.thread_id);
            rewritten.extend(segment_of(path));
        }
    }
    let whole = |thread_id| (Job { thread_id, tail_of: None, bytes: 0 }, 0);
    let is_here = |thread_id: &ThreadId| !files.segments(*thread_id).is_empty();
    for thread_id in lost.iter().filter(|thread_id| is_here(thread_id)) {
        jobs.entry(*thread_id).or_insert_with(|| whole(*thread_id)).0.tail_of = None;
    }
    for (segment_id, dependents) in &known.dependents {
        for thread_id in dependents.iter().filter(|thread_id| is_here(thread_id)) {
            let is_incomplete = known.threads.get(thread_id).is_some_and(|(_, is_incomplete)| *is_incomplete);
            if rewritten.contains(segment_id) || (is_incomplete && touched.contains(segment_id)) {
                jobs.entry(*thread_id).or_insert_with(|| whole(*thread_id)).0.tail_of = None;
            }
        }
    }
    let gone = known.threads.keys().copied().filter(|thread_id| !is_here(thread_id)).collect();
    let mut jobs: Vec<_> = jobs.into_values().collect();
    jobs.sort_by_key(|(job, newest_ns)| (std::cmp::Reverse(*newest_ns), job.thread_id));
    (jobs.into_iter().map(|(job, _)| job).collect(), gone)
}

/// Where to go on reading, if the file only grew.
fn grown(file: &RolloutFile, known: &KnownSegment, stamp: &Stamp) -> Option<Mark> {
    let is_same = stamp.inode == known.stamp.inode && stamp.size > known.stamp.size && known.mark.end > 0;
    (is_same && known.mark.still_holds(&file.path)).then_some(known.mark)
}

fn segment_of(path: &str) -> Option<SegmentId> {
    let name = Path::new(path).file_name()?.to_str()?;
    Some(selvedge_rollout::RolloutFileName::parse(name)?.segment_id())
}

/// A path as the index keeps it: below the home. Rollout files have names in UTF-8, and so have the directories above them
/// up to the home; what has not is not indexed.
fn relative(home: &RolloutHome, path: &Path) -> Option<String> {
    Some(path.strip_prefix(home.root()).ok()?.to_str()?.to_owned())
}

/// Reads one thread; nothing when it went away meanwhile.
fn scan_job(home: &RolloutHome, files: &HomeFiles, job: &Job, row: Option<StoredThread>) -> Result<Option<Scanned>> {
    let Some(newest) = files.segments(job.thread_id).last() else { return Ok(None) };
    let segments: Vec<_> = files
        .segments(job.thread_id)
        .iter()
        .filter_map(|file| Some((relative(home, &file.path)?, file.name.segment_id(), Stamp::of(&file.path).ok()?)))
        .collect();
    if let (Some(mark), Some(row)) = (job.tail_of, row)
        && let Some(scanned) = scan_tail(newest, row, mark)?
    {
        let path = relative(home, &newest.path).unwrap_or_default();
        return Ok(Some(Scanned { scanned, is_whole: false, path, archived: newest.archived, segments }));
    }
    let Some(resolved) = ResolvedHistory::resolve(files, job.thread_id)? else { return Ok(None) };
    let scanned = scan(&resolved)?;
    let newest = resolved.newest();
    let Some(path) = relative(home, &newest.path) else { return Ok(None) };
    Ok(Some(Scanned { scanned, is_whole: true, path, archived: newest.archived, segments }))
}

async fn row_of(database: &Database, thread_id: ThreadId) -> Result<Option<StoredThread>> {
    let row = sqlx::query("SELECT record, name, archived, path FROM threads WHERE id = ?")
        .bind(thread_id.as_uuid())
        .fetch_optional(&database.readers)
        .await?;
    row.map(|row| stored_thread(&row, None)).transpose()
}

async fn remove(connection: &mut SqliteConnection, gone: &[ThreadId]) -> Result<()> {
    for thread_id in gone {
        for sql in [
            "DELETE FROM threads WHERE id = ?",
            "DELETE FROM segments WHERE thread_id = ?",
            "DELETE FROM bases WHERE thread_id = ?",
        ] {
            sqlx::query(sql).bind(thread_id.as_uuid()).execute(&mut *connection).await?;
        }
    }
    Ok(())
}

async fn store(connection: &mut SqliteConnection, batch: &[&Scanned]) -> Result<()> {
    for scanned in batch {
        store_thread(connection, scanned).await?;
        store_segments(connection, scanned).await?;
        if scanned.is_whole {
            store_bases(connection, scanned).await?;
        }
    }
    Ok(())
}

async fn store_thread(connection: &mut SqliteConnection, scanned: &Scanned) -> Result<()> {
    let ScannedThread { thread, is_resumable, is_incomplete, .. } = &scanned.scanned;
    let record = StoredThread { name: None, archived: false, path: None, ..thread.clone() };
    let git = thread.git.as_ref();
    // The name is left as it is: it comes from elsewhere.
    let sql = "INSERT INTO threads (id, created_at, updated_at, recency_at, archived, preview_folded, source, \
        model_provider, model, cwd, git_branch, git_repository, forked_from_id, parent_id, path, record, \
        is_resumable, is_incomplete) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) \
        ON CONFLICT (id) DO UPDATE SET created_at = excluded.created_at, updated_at = excluded.updated_at, \
        recency_at = excluded.recency_at, archived = excluded.archived, preview_folded = excluded.preview_folded, \
        source = excluded.source, model_provider = excluded.model_provider, model = excluded.model, cwd = excluded.cwd, \
        git_branch = excluded.git_branch, git_repository = excluded.git_repository, forked_from_id = excluded.forked_from_id, parent_id = excluded.parent_id, \
        path = excluded.path, record = excluded.record, is_resumable = excluded.is_resumable, \
        is_incomplete = excluded.is_incomplete";
    sqlx::query(sql)
        .bind(thread.id.as_uuid())
        .bind(thread.created_at.as_millis())
        .bind(thread.updated_at.as_millis())
        .bind(thread.recency_at.as_millis())
        .bind(scanned.archived)
        .bind(thread.preview.as_ref().map(|preview| preview.to_lowercase()))
        .bind(thread.source_name())
        .bind(&thread.model_provider)
        .bind(&thread.model)
        .bind(thread.cwd.as_ref().map(|cwd| cwd.trim_end_matches('/')))
        .bind(git.and_then(|git| git.branch.as_ref()))
        .bind(git.and_then(|git| repository_name(git.repository_url.as_deref()?)))
        .bind(thread.forked_from_id.map(|id| id.as_uuid()))
        .bind(thread.parent_thread_id.map(|id| id.as_uuid()))
        .bind(&scanned.path)
        .bind(serde_json::to_string(&record).map_err(|error| sqlx::Error::Encode(error.into()))?)
        .bind(is_resumable)
        .bind(is_incomplete)
        .execute(connection)
        .await?;
    Ok(())
}

async fn store_segments(connection: &mut SqliteConnection, scanned: &Scanned) -> Result<()> {
    let thread_id = scanned.scanned.thread.id.as_uuid();
    sqlx::query("DELETE FROM segments WHERE thread_id = ?").bind(thread_id).execute(&mut *connection).await?;
    let mut insert: QueryBuilder<'_, Sqlite> = QueryBuilder::new(
        "INSERT OR REPLACE INTO segments (path, thread_id, segment_id, size, modified_ns, inode, indexed_bytes, last_line_start, last_line_hash) ",
    );
    insert.push_values(&scanned.segments, |mut row, (path, segment_id, stamp)| {
        let (stamp, mark) = if *path == scanned.path {
            (scanned.scanned.stamp, scanned.scanned.mark)
        } else {
            (*stamp, Mark::default())
        };
        row.push_bind(path).push_bind(thread_id).push_bind(segment_id.as_uuid());
        row.push_bind(signed(stamp.size)).push_bind(stamp.modified_ns).push_bind(signed(stamp.inode));
        row.push_bind(signed(mark.end)).push_bind(signed(mark.last_line_start)).push_bind(signed(mark.last_line_hash));
    });
    if !scanned.segments.is_empty() {
        insert.build().execute(connection).await?;
    }
    Ok(())
}

async fn store_bases(connection: &mut SqliteConnection, scanned: &Scanned) -> Result<()> {
    let ScannedThread { thread, bases, .. } = &scanned.scanned;
    sqlx::query("DELETE FROM bases WHERE thread_id = ?").bind(thread.id.as_uuid()).execute(&mut *connection).await?;
    for segment_id in bases {
        let insert = sqlx::query("INSERT OR IGNORE INTO bases (thread_id, segment_id) VALUES (?, ?)");
        insert.bind(thread.id.as_uuid()).bind(segment_id.as_uuid()).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Gives every row the name that the name index says, and says how many changed.
///
/// The index is read within the transaction, so that of two processes the later one wins with the later names.
async fn take_names(connection: &mut SqliteConnection, home: &RolloutHome) -> Result<u64> {
    let stamp = Stamp::of(&home.name_index_path()).unwrap_or(Stamp { size: 0, modified_ns: 0, inode: 0 });
    let names = NameIndex::load(home)?;
    let mut renamed = 0;
    for row in sqlx::query("SELECT id, name FROM threads").fetch_all(&mut *connection).await? {
        let id = ThreadId::from_uuid(row.try_get(0)?);
        let known: Option<String> = row.try_get(1)?;
        let name = names.get(id).map(|entry| entry.name.as_str());
        if known.as_deref() != name {
            renamed += 1;
            sqlx::query("UPDATE threads SET name = ?, name_folded = ? WHERE id = ?")
                .bind(name)
                .bind(name.map(str::to_lowercase))
                .bind(id.as_uuid())
                .execute(&mut *connection)
                .await?;
        }
    }
    sqlx::query("INSERT OR REPLACE INTO names_source (only, size, modified_ns, inode) VALUES (1, ?, ?, ?)")
        .bind(signed(stamp.size))
        .bind(stamp.modified_ns)
        .bind(signed(stamp.inode))
        .execute(connection)
        .await?;
    Ok(renamed)
}

/// SQLite's integers are signed; these keep their bits.
const fn signed(value: u64) -> i64 {
    value.cast_signed()
}

const fn unsigned(value: i64) -> u64 {
    value.cast_unsigned()
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
