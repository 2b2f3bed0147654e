//! What has to be read: the files of the home compared with what the index knows of them.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::Path;
use std::sync::Arc;

use selvedge_protocol::{SegmentId, ThreadId};
use selvedge_rollout::{FileStamp, HomeFiles, RolloutError, RolloutFile, RolloutHome};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use crate::StateIndex;
use crate::error::Result;
use crate::row::Mark;
use crate::stamp::stamp_of_row;
use crate::update::{blocking, relative};
use crate::write::unsigned;

/// What the index knows of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KnownSegment {
    pub(crate) stamp: FileStamp,
    pub(crate) mark: Mark,
}

/// What the index knows of a thread, apart from its row.
#[derive(Clone, Copy, Debug, Default)]
struct KnownState {
    /// Whether a tail can be folded onto the row.
    is_resumable: bool,
    /// Whether a base is missing or short.
    is_incomplete: bool,
}

/// What the index knows of threads, apart from their rows.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// The files of each thread, by path.
    segments: HashMap<ThreadId, HashMap<String, KnownSegment>>,
    threads: HashMap<ThreadId, KnownState>,
    dependents: HashMap<SegmentId, Vec<ThreadId>>,
}

/// A thread to be read, or to be removed.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) thread_id: ThreadId,
    /// What the index knew of its files when they were looked at, by path.
    pub(crate) seen: Vec<(String, KnownSegment)>,
    /// Where to go on from, if the log only grew.
    pub(crate) tail_of: Option<Mark>,
    /// How much there is to read.
    pub(crate) bytes: u64,
}

/// What is to be done to bring threads up to date.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) files: Arc<HomeFiles>,
    /// Threads to be read, those that changed last first.
    pub(crate) jobs: VecDeque<Job>,
    pub(crate) gone: Vec<Job>,
}

impl Plan {
    /// How much there is to read.
    pub(crate) fn bytes(&self) -> u64 {
        self.jobs.iter().map(|job| job.bytes).sum()
    }
}

impl StateIndex {
    /// Compares these threads, or all, with what the index knows of them.
    pub(crate) async fn plan(&self, files: Arc<HomeFiles>, threads: Option<HashSet<ThreadId>>) -> Result<Plan> {
        let known = self.known(&files, threads.as_ref()).await?;
        let home = self.home.clone();
        blocking(move || {
            let (jobs, gone) = changes(&home, &files, &known, threads.as_ref());
            Ok(Plan { files, jobs, gone })
        })
        .await
    }

    /// What the index knows of all threads, or of these and of those that build on them.
    async fn known(&self, files: &HomeFiles, threads: Option<&HashSet<ThreadId>>) -> Result<Known> {
        let mut known = Known::default();
        let mut connection = self.database.readers.acquire().await?;
        // One transaction: segments and threads as of one moment.
        let mut transaction = sqlx::Connection::begin(&mut *connection).await?;
        let Some(threads) = threads else {
            known.load_segments(&mut transaction, None).await?;
            known.load_threads(&mut transaction, None).await?;
            known.load_dependents(&mut transaction, None).await?;
            return Ok(known);
        };
        known.load_segments(&mut transaction, Some(ids(threads))).await?;
        let here = threads.iter().flat_map(|thread_id| files.segments(*thread_id)).map(|file| file.name.segment_id());
        let gone = known.segments.values().flat_map(HashMap::keys).filter_map(|path| segment_of(path));
        let segments: HashSet<SegmentId> = here.chain(gone).collect();
        known.load_dependents(&mut transaction, Some(hex(segments.iter().map(|id| id.as_uuid())))).await?;
        let dependents: Vec<ThreadId> = known.dependents.values().flatten().copied().collect();
        known.load_threads(&mut transaction, Some(ids(threads.iter().chain(&dependents)))).await?;
        known.load_segments(&mut transaction, Some(ids(&dependents))).await?;
        Ok(known)
    }
}

impl Known {
    /// What is known of the files of this thread.
    pub(crate) fn seen(&self, thread_id: ThreadId) -> Vec<(String, KnownSegment)> {
        let segments = self.segments.get(&thread_id).into_iter().flatten();
        let mut seen: Vec<_> = segments.map(|(path, segment)| (path.clone(), *segment)).collect();
        seen.sort_by(|one, other| one.0.cmp(&other.0));
        seen
    }

    /// Loads what is known of the files of these threads, or of all.
    pub(crate) async fn load_segments(
        &mut self,
        connection: &mut SqliteConnection,
        threads: Option<String>,
    ) -> Result<()> {
        let sql = "SELECT thread_id, path, size, modified_ns, inode, indexed_bytes, last_line_start, last_line_hash \
            FROM segments";
        for row in rows(connection, sql, "thread_id", threads).await? {
            let segment = KnownSegment {
                stamp: stamp_of_row(&row, 2)?,
                mark: Mark {
                    end: unsigned(row.try_get(5)?),
                    last_line_start: unsigned(row.try_get(6)?),
                    last_line_hash: unsigned(row.try_get(7)?),
                },
            };
            let thread_id = ThreadId::from_uuid(row.try_get(0)?);
            self.segments.entry(thread_id).or_default().insert(row.try_get(1)?, segment);
        }
        Ok(())
    }

    async fn load_threads(&mut self, connection: &mut SqliteConnection, threads: Option<String>) -> Result<()> {
        for row in rows(connection, "SELECT id, is_resumable, is_incomplete FROM threads", "id", threads).await? {
            let known = KnownState { is_resumable: row.try_get(1)?, is_incomplete: row.try_get(2)? };
            self.threads.insert(ThreadId::from_uuid(row.try_get(0)?), known);
        }
        Ok(())
    }

    async fn load_dependents(&mut self, connection: &mut SqliteConnection, segments: Option<String>) -> Result<()> {
        for row in rows(connection, "SELECT segment_id, thread_id FROM bases", "segment_id", segments).await? {
            let dependents = self.dependents.entry(SegmentId::from_uuid(row.try_get(0)?)).or_default();
            dependents.push(ThreadId::from_uuid(row.try_get(1)?));
        }
        Ok(())
    }
}

/// The rows of a statement, all or those of which a column is one of these ids.
async fn rows(
    connection: &mut SqliteConnection,
    sql: &str,
    column: &str,
    wanted: Option<String>,
) -> Result<Vec<SqliteRow>> {
    Ok(match wanted {
        None => sqlx::query(sql).fetch_all(connection).await?,
        Some(wanted) => {
            let sql = format!("{sql} WHERE {column} IN (SELECT unhex(value) FROM json_each(?))");
            sqlx::query(&sql).bind(wanted).fetch_all(connection).await?
        }
    })
}

/// Ids of threads as a JSON array of their hexadecimal digits, for [`rows`].
pub(crate) fn ids<'a>(threads: impl IntoIterator<Item = &'a ThreadId>) -> String {
    hex(threads.into_iter().map(ThreadId::as_uuid))
}

fn hex(ids: impl Iterator<Item = uuid::Uuid>) -> String {
    let mut array = String::from("[");
    for id in ids {
        if array.len() > 1 {
            array.push(',');
        }
        array.push_str(&format!("\"{}\"", id.simple()));
    }
    array.push(']');
    array
}

/// A number for a path that is the same in every build (FNV-1a), so small that a sum of many is still an SQLite integer.
pub(crate) fn path_hash(path: &str) -> i64 {
    let hash = path
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    (hash >> 24).cast_signed()
}

/// What has to be read, newest first, and which threads are gone: of these threads and those that build on them, or of all.
fn changes(
    home: &RolloutHome,
    files: &HomeFiles,
    known: &Known,
    threads: Option<&HashSet<ThreadId>>,
) -> (VecDeque<Job>, Vec<Job>) {
    let job = |thread_id, tail_of, bytes| Job { thread_id, seen: known.seen(thread_id), tail_of, bytes };
    let in_question: Vec<(ThreadId, &[RolloutFile])> = match threads {
        None => files.threads().collect(),
        Some(threads) => threads.iter().map(|thread_id| (*thread_id, files.segments(*thread_id))).collect(),
    };
    let mut jobs: HashMap<ThreadId, (Job, i64)> = HashMap::new();
    let mut rewritten: HashSet<SegmentId> = HashSet::new();
    let mut touched: HashSet<SegmentId> = HashSet::new();
    let mut lost: HashSet<ThreadId> = HashSet::new();
    for (thread_id, segments) in in_question {
        let known_segments = known.segments.get(&thread_id);
        let mut newest_ns = 0;
        let mut seen = 0;
        let mut changed: Vec<(&RolloutFile, Option<&KnownSegment>, Option<FileStamp>)> = Vec::new();
        for file in segments {
            let known_segment = relative(home, &file.path).and_then(|path| known_segments?.get(&path));
            let looked = FileStamp::read(&file.path);
            // Moved since it was found, it is somewhere else.
            let is_gone = looked.as_ref().is_err_and(RolloutError::is_gone);
            let stamp = looked.ok();
            newest_ns = newest_ns.max(stamp.map_or(0, |stamp| stamp.changed_ns));
            seen += usize::from(known_segment.is_some());
            if is_gone || known_segment.map(|segment| segment.stamp) != stamp {
                changed.push((file, known_segment, stamp));
            }
        }
        // Files that are gone: the thread, if it has others, and those that build on it.
        if let Some(known_segments) = known_segments.filter(|known| known.len() > seen) {
            let here: HashSet<String> = segments.iter().filter_map(|file| relative(home, &file.path)).collect();
            rewritten
                .extend(known_segments.keys().filter(|path| !here.contains(*path)).filter_map(|path| segment_of(path)));
            lost.insert(thread_id);
        }
        touched.extend(changed.iter().map(|(file, ..)| file.name.segment_id()));
        if segments.is_empty() || (changed.is_empty() && known.threads.contains_key(&thread_id)) {
            continue;
        }
        let is_foldable = known.threads.get(&thread_id).is_some_and(|known| known.is_resumable && !known.is_incomplete);
        // A log that goes on before a segment which was never begun is read whole: its tail is not that of the newest file.
        let is_newest = |file: &RolloutFile| segments.last().is_some_and(|newest| newest.path == file.path);
        let tail_of = match &*changed {
            [(file, Some(segment), Some(stamp))] if is_foldable && is_newest(file) => grown(file, segment, stamp),
            _ => None,
        };
        if tail_of.is_none() {
            rewritten.extend(changed.iter().map(|(file, ..)| file.name.segment_id()));
        }
        let bytes = changed.iter().filter_map(|(_, _, stamp)| Some(stamp.as_ref()?.size)).sum::<u64>();
        let bytes = bytes.saturating_sub(tail_of.map_or(0, |mark| mark.end));
        jobs.insert(thread_id, (job(thread_id, tail_of, bytes), newest_ns));
    }
    if threads.is_none() {
        for (thread_id, segments) in known.segments.iter().filter(|(thread_id, _)| !is_here(files, **thread_id)) {
            rewritten.extend(segments.keys().filter_map(|path| segment_of(path)));
            lost.insert(*thread_id);
        }
    }
    let mut read_whole = |thread_id| {
        if is_here(files, thread_id) {
            jobs.entry(thread_id).or_insert_with(|| (job(thread_id, None, 0), 0)).0.tail_of = None;
        }
    };
    lost.into_iter().for_each(&mut read_whole);
    for (segment_id, dependents) in &known.dependents {
        for thread_id in dependents {
            let is_incomplete = known.threads.get(thread_id).is_some_and(|known| known.is_incomplete);
            if rewritten.contains(segment_id) || (is_incomplete && touched.contains(segment_id)) {
                read_whole(*thread_id);
            }
        }
    }
    let gone = known.threads.keys().filter(|thread_id| !is_here(files, **thread_id));
    let gone = gone.map(|thread_id| job(*thread_id, None, 0)).collect();
    let mut jobs: Vec<_> = jobs.into_values().collect();
    jobs.sort_by_key(|(job, newest_ns)| (std::cmp::Reverse(*newest_ns), job.thread_id));
    (jobs.into_iter().map(|(job, _)| job).collect(), gone)
}

fn is_here(files: &HomeFiles, thread_id: ThreadId) -> bool {
    !files.segments(thread_id).is_empty()
}

/// Where to go on reading, if the file only grew.
fn grown(file: &RolloutFile, known: &KnownSegment, stamp: &FileStamp) -> Option<Mark> {
    known.mark.is_grown(&file.path, &known.stamp, stamp).then_some(known.mark)
}

fn segment_of(path: &str) -> Option<SegmentId> {
    let name = Path::new(path).file_name()?.to_str()?;
    Some(selvedge_rollout::RolloutFileName::parse(name)?.segment_id())
}
