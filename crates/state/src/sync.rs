//! Bringing the index up to date with the files of its home.
//!
//! A walk over the directories and a look at each file from outside tell which threads changed. Those are read by two
//! threads, a log that only grew from where it was read to, and written in short transactions, so that a process that dies
//! in between has lost nothing but time.

use std::collections::{HashSet, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use selvedge_protocol::{SegmentId, StoredThread, ThreadId, repository_name};
use selvedge_rollout::{HomeFiles, NameIndex, ResolvedHistory, RolloutHome, now};
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection};
use tokio::sync::mpsc;

use crate::StateIndex;
use crate::database::{Database, Patience};
use crate::error::Result;
use crate::list::stored_thread;
use crate::plan::{Job, Known, ids, path_hash};
use crate::row::{Mark, ScannedThread, scan, scan_tail};
use crate::stamp::Stamp;

/// How many threads read files.
const SCANNERS: usize = 2;

/// How many threads of a home are written in one transaction.
const BATCH: usize = 200;

/// How often threads are looked at again that another process wrote at the same time.
const ROUNDS: usize = 4;

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
    /// Threads that another process wrote at the same time, so that they have to be looked at again.
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
    pub async fn sync(&self, mut progress: impl FnMut(SyncProgress)) -> Result<SyncReport> {
        let started_at = now();
        let look = self.look().await?;
        let report = self.follow(Arc::clone(&look.files), None, Patience::Much, &mut progress).await?;
        if report.overtaken == 0 {
            self.set_filled(started_at).await?;
            self.saw(look, Patience::Much).await?;
        }
        Ok(report)
    }

    /// Carries out what is to be done about these threads, or about all: until no other process is in between.
    pub(crate) async fn follow(
        &self,
        files: Arc<HomeFiles>,
        threads: Option<HashSet<ThreadId>>,
        patience: Patience,
        progress: &mut impl FnMut(SyncProgress),
    ) -> Result<SyncReport> {
        let looked_at = threads.as_ref().map_or_else(|| files.threads().count(), HashSet::len);
        let mut report = SyncReport { threads: looked_at as u64, ..SyncReport::default() };
        let mut plan = self.plan(files, threads).await?;
        let mut has_new_rows = false;
        for _ in 0..ROUNDS {
            let mut overtaken = HashSet::new();
            if !plan.gone.is_empty() {
                let mut transaction = self.database.begin(patience).await?;
                report.removed += remove(&mut transaction, &plan.gone).await?;
                transaction.commit().await?;
            }
            has_new_rows |=
                self.read_and_write(&plan.files, plan.jobs, &mut report, &mut overtaken, patience, progress).await?;
            report.overtaken = overtaken.len() as u64;
            if overtaken.is_empty() {
                break;
            }
            plan = self.plan(plan.files, Some(overtaken)).await?;
        }
        report.renamed = self.sync_names(has_new_rows, patience).await?;
        Ok(report)
    }

    /// Reads the threads in question and writes their rows. Says whether rows were added.
    async fn read_and_write(
        &self,
        files: &Arc<HomeFiles>,
        jobs: VecDeque<Job>,
        report: &mut SyncReport,
        overtaken: &mut HashSet<ThreadId>,
        patience: Patience,
        progress: &mut impl FnMut(SyncProgress),
    ) -> Result<bool> {
        let mut state = SyncProgress { threads: jobs.len() as u64, ..SyncProgress::default() };
        state.bytes = jobs.iter().map(|job| job.bytes).sum();
        if jobs.is_empty() {
            return Ok(false);
        }
        progress(state);
        let mut results = self.scan_all(Arc::clone(files), jobs);
        let mut has_new_rows = false;
        let mut batch = Vec::new();
        while results.recv_many(&mut batch, BATCH).await > 0 {
            let read: Vec<&Done> = batch.iter().filter(|done| done.outcome.is_some()).collect();
            let mut transaction = self.database.begin(patience).await?;
            let late = changed_meanwhile(&mut transaction, read.iter().map(|done| &done.job)).await?;
            let timely = read.iter().filter(|done| !late.contains(&done.job.thread_id));
            let timely: Vec<&Scanned> = timely.filter_map(|done| done.outcome.as_deref()).collect();
            store(&mut transaction, &timely).await?;
            transaction.commit().await?;
            has_new_rows |= read.iter().any(|done| done.outcome.as_ref().is_some_and(|scanned| scanned.is_whole));
            overtaken.extend(late);
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
    fn scan_all(&self, files: Arc<HomeFiles>, jobs: VecDeque<Job>) -> mpsc::Receiver<Done> {
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
    pub(crate) async fn sync_names(&self, has_new_rows: bool, patience: Patience) -> Result<u64> {
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
        let mut transaction = self.database.begin(patience).await?;
        let renamed = take_names(&mut transaction, &self.home).await?;
        transaction.commit().await?;
        Ok(renamed)
    }
}

/// A path as the index keeps it: below the home. Rollout files have names in UTF-8, and so have the directories above them
/// up to the home; what has not is not indexed.
pub(crate) fn relative(home: &RolloutHome, path: &Path) -> Option<String> {
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
    let mut removed = 0;
    for job in gone.iter().filter(|job| !came_back.contains(&job.thread_id)) {
        removed += 1;
        for sql in [
            "DELETE FROM threads WHERE id = ?",
            "DELETE FROM segments WHERE thread_id = ?",
            "DELETE FROM bases WHERE thread_id = ?",
        ] {
            sqlx::query(sql).bind(job.thread_id.as_uuid()).execute(&mut *connection).await?;
        }
    }
    Ok(removed)
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
        "INSERT OR REPLACE INTO segments (path, thread_id, segment_id, path_hash, size, modified_ns, inode, indexed_bytes, last_line_start, last_line_hash) ",
    );
    insert.push_values(&scanned.segments, |mut row, (path, segment_id, stamp)| {
        let (stamp, mark) = if *path == scanned.path {
            (scanned.scanned.stamp, scanned.scanned.mark)
        } else {
            (*stamp, Mark::default())
        };
        row.push_bind(path).push_bind(thread_id).push_bind(segment_id.as_uuid()).push_bind(path_hash(path));
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
pub(crate) const fn signed(value: u64) -> i64 {
    value.cast_signed()
}

pub(crate) const fn unsigned(value: i64) -> u64 {
    value.cast_unsigned()
}

pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

#[cfg(test)]
mod tests {
    use selvedge_protocol::{ResponseItem, SessionMeta};
    use selvedge_rollout::RolloutRecorder;

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
        late.sync(|_| {}).await.unwrap();
        // The late one looks, and writes what it saw only after another one has written more.
        recorder.append(&[ResponseItem::user_text("once").into()]).unwrap();
        std::fs::rename(other.path(), dir.path().join("away")).unwrap();
        let plan = late.plan(late.home_files().await.unwrap(), None).await.unwrap();
        std::fs::rename(dir.path().join("away"), other.path()).unwrap();
        std::fs::write(other.path(), [std::fs::read(other.path()).unwrap(), b"\n".to_vec()].concat()).unwrap();
        recorder.append(&[ResponseItem::user_text("twice").into()]).unwrap();
        early.sync(|_| {}).await.unwrap();
        let known = early.known_size(grows).await;

        let mut transaction = late.database.begin(Patience::Much).await.unwrap();
        assert_eq!(remove(&mut transaction, &plan.gone).await.unwrap(), 0, "{goes} came back");
        transaction.commit().await.unwrap();
        let (mut report, mut overtaken) = (SyncReport::default(), HashSet::new());
        late.read_and_write(&plan.files, plan.jobs, &mut report, &mut overtaken, Patience::Much, &mut |_| {})
            .await
            .unwrap();
        assert_eq!(overtaken, HashSet::from([grows]));
        assert_eq!(late.known_size(grows).await, known);
    }

    impl StateIndex {
        async fn known_size(&self, thread_id: ThreadId) -> i64 {
            let sql = "SELECT size FROM segments WHERE thread_id = ?";
            sqlx::query_scalar(sql).bind(thread_id.as_uuid()).fetch_one(&self.database.readers).await.unwrap()
        }
    }
}
