//! Plans an update: compares the files of the home with what the index knows of them.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use selvedge_protocol::{SegmentId, ThreadId};
use selvedge_rollout::{FileStamp, HomeFiles, RolloutError, RolloutFile, RolloutHome};

use crate::blocking::blocking;
use crate::error::Result;
use crate::index::StateIndex;
use crate::indexed_prefix::IndexedPrefix;
use crate::indexed_state::{IndexedSegment, IndexedState, ThreadFlags};
use crate::paths::{home_relative, segment_id_of};

/// A thread to be read, or to be removed from the index.
#[derive(Debug)]
pub(crate) struct ScanJob {
    pub(crate) thread_id: ThreadId,
    /// What the index knew of the thread's files when the plan was made, by path. If that has changed when the thread is
    /// written, another process has written it first.
    pub(crate) indexed_segments: Vec<(String, IndexedSegment)>,
    /// The prefix of the newest file behind which reading resumes, if that file only grew. `None`: the whole history is read.
    pub(crate) resume_after: Option<IndexedPrefix>,
    /// How many bytes there are to read. A thread that is read again because of another thread's files counts less than it
    /// costs, because the index does not know its size.
    pub(crate) bytes: u64,
}

/// What an update has to do.
#[derive(Debug)]
pub(crate) struct UpdatePlan {
    pub(crate) files: Arc<HomeFiles>,
    /// Threads to be read, the most recently changed first.
    pub(crate) jobs: VecDeque<ScanJob>,
    /// Threads of the index that have no file.
    pub(crate) gone: Vec<ScanJob>,
}

impl UpdatePlan {
    /// Returns how many bytes there are to read.
    pub(crate) fn bytes(&self) -> u64 {
        self.jobs.iter().map(|job| job.bytes).sum()
    }
}

impl StateIndex {
    /// Compares these threads, and those that build on them, with what the index knows of them. `None`: all threads.
    pub(crate) async fn plan_update(
        &self,
        files: Arc<HomeFiles>,
        threads: Option<HashSet<ThreadId>>,
    ) -> Result<UpdatePlan> {
        let indexed = self.load_indexed_state(&files, threads.as_ref()).await?;
        let home = self.home.clone();
        blocking(move || {
            let (jobs, gone) = UpdatePlanner::new(&home, &files, &indexed).plan(threads.as_ref());
            Ok(UpdatePlan { files, jobs, gone })
        })
        .await
    }
}

/// A file that differs from what the index knows of it.
struct ChangedFile<'a> {
    file: &'a RolloutFile,
    /// `None` if the index does not know the file at this path.
    indexed: Option<&'a IndexedSegment>,
    /// `None` if the file cannot be read now.
    stamp: Option<FileStamp>,
}

/// A planned job, with the time of the newest change among the thread's files.
struct PlannedScan {
    job: ScanJob,
    newest_ns: i64,
}

/// The state of a comparison.
///
/// Threads share segments, so that a thread can be out of date although none of its own files changed. The comparison
/// therefore runs in phases, and their order matters: first the files of each thread are compared, which finds jobs and fills
/// the three sets; then the sets turn further threads into jobs, and jobs that would resume into jobs that read everything.
struct UpdatePlanner<'a> {
    home: &'a RolloutHome,
    files: &'a HomeFiles,
    indexed: &'a IndexedState,
    scans: HashMap<ThreadId, PlannedScan>,
    /// Threads of which a file is gone.
    lost_files: HashSet<ThreadId>,
    /// Segments whose indexed lines may be other lines now, or gone. Threads that inherit lines of them are read again.
    rewritten: HashSet<SegmentId>,
    /// Segments whose file changed in any way. A segment that only grew matters to threads that missed lines of it.
    touched: HashSet<SegmentId>,
}

impl<'a> UpdatePlanner<'a> {
    fn new(home: &'a RolloutHome, files: &'a HomeFiles, indexed: &'a IndexedState) -> Self {
        Self {
            home,
            files,
            indexed,
            scans: HashMap::new(),
            lost_files: HashSet::new(),
            rewritten: HashSet::new(),
            touched: HashSet::new(),
        }
    }

    /// Returns the jobs, those with the newest changes first, and the threads that are gone.
    fn plan(mut self, threads: Option<&HashSet<ThreadId>>) -> (VecDeque<ScanJob>, Vec<ScanJob>) {
        match threads {
            Some(threads) => {
                for thread_id in threads {
                    self.compare_thread(*thread_id, self.files.segments(*thread_id));
                }
            }
            None => {
                for (thread_id, segments) in self.files.threads() {
                    self.compare_thread(thread_id, segments);
                }
                self.find_threads_without_files();
            }
        }
        self.reread_threads_that_lost_files();
        self.reread_dependents();
        self.finish()
    }

    /// Compares the files of a thread with what the index knows of them, and plans a job if they differ.
    fn compare_thread(&mut self, thread_id: ThreadId, segments: &'a [RolloutFile]) {
        let indexed = self.indexed.segments.get(&thread_id);
        let mut changed: Vec<ChangedFile<'a>> = Vec::new();
        let mut newest_ns = 0;
        let mut found = 0;
        for file in segments {
            let indexed_segment = home_relative(self.home, &file.path).and_then(|path| indexed?.get(&path));
            let read = FileStamp::read(&file.path);
            // A file that is gone was moved since it was found: the job finds out where it is now.
            let is_gone = read.as_ref().is_err_and(RolloutError::is_gone);
            let stamp = read.ok();
            newest_ns = newest_ns.max(stamp.map_or(0, |stamp| stamp.changed_ns));
            found += usize::from(indexed_segment.is_some());
            if is_gone || indexed_segment.map(|segment| segment.stamp) != stamp {
                changed.push(ChangedFile { file, indexed: indexed_segment, stamp });
            }
        }
        if indexed.is_some_and(|indexed| indexed.len() > found) {
            self.note_lost_files(thread_id, segments);
        }
        self.touched.extend(changed.iter().map(|changed| changed.file.name.segment_id()));
        // Files that are known without a row of their thread: the index lost the row, and the thread is read again.
        let has_row = self.indexed.threads.contains_key(&thread_id);
        if segments.is_empty() || (changed.is_empty() && has_row) {
            return;
        }
        let resume_after = self.resume_after(thread_id, segments, &changed);
        if resume_after.is_none() {
            self.rewritten.extend(changed.iter().map(|changed| changed.file.name.segment_id()));
        }
        let bytes = changed.iter().filter_map(|changed| Some(changed.stamp.as_ref()?.size)).sum::<u64>();
        // Of a file that grew, the indexed prefix is not read again.
        let bytes = bytes.saturating_sub(resume_after.map_or(0, |prefix| prefix.end));
        let job = job(self.indexed, thread_id, resume_after, bytes);
        self.scans.insert(thread_id, PlannedScan { job, newest_ns });
    }

    /// Notes a thread of which the index knows a file that is not among `segments`.
    fn note_lost_files(&mut self, thread_id: ThreadId, segments: &[RolloutFile]) {
        let existing: HashSet<String> =
            segments.iter().filter_map(|file| home_relative(self.home, &file.path)).collect();
        let indexed = self.indexed.segments.get(&thread_id).into_iter().flat_map(HashMap::keys);
        let lost = indexed.filter(|path| !existing.contains(*path) && !self.is_hidden(path));
        let lost: Vec<&String> = lost.collect();
        self.rewritten.extend(lost.iter().filter_map(|path| segment_id_of(path)));
        if !lost.is_empty() {
            self.lost_files.insert(thread_id);
        }
    }

    /// Returns whether a file that the index knows is in a directory that cannot be read, so that it may still be there.
    fn is_hidden(&self, path: &str) -> bool {
        self.files.is_hidden(&self.home.root().join(path))
    }

    /// Returns whether a file of a thread may be in a directory that cannot be read.
    fn has_hidden_files(&self, thread_id: ThreadId) -> bool {
        // Nearly always nothing is hidden, and then this costs nothing.
        self.files.unreadable().next().is_some()
            && self.indexed.segments.get(&thread_id).is_some_and(|paths| paths.keys().any(|path| self.is_hidden(path)))
    }

    /// Returns the prefix behind which reading resumes. `None` if the whole history has to be read.
    fn resume_after(
        &self,
        thread_id: ThreadId,
        segments: &[RolloutFile],
        changed: &[ChangedFile<'_>],
    ) -> Option<IndexedPrefix> {
        // Reading resumes only if exactly one file changed, this is the newest one, and it only grew. A thread can also continue in
        // an older file: a program that was killed may have left behind a segment that was never begun. That thread is read whole,
        // because its resume point is in the newest file.
        let [ChangedFile { file, indexed: Some(indexed), stamp: Some(stamp) }] = changed else { return None };
        let is_foldable = self.flags(thread_id).is_resumable && !self.flags(thread_id).is_incomplete;
        let is_newest = segments.last().is_some_and(|newest| newest.path == file.path);
        let is_extended = || indexed.prefix.has_grown_to(&file.path, &indexed.stamp, stamp);
        (is_foldable && is_newest && is_extended()).then_some(indexed.prefix)
    }

    /// Finds the threads of the index that have no file at all. Only a comparison of all threads can do that.
    fn find_threads_without_files(&mut self) {
        for (thread_id, segments) in &self.indexed.segments {
            if !self.has_files(*thread_id) && !self.has_hidden_files(*thread_id) {
                self.rewritten.extend(segments.keys().filter_map(|path| segment_id_of(path)));
                self.lost_files.insert(*thread_id);
            }
        }
    }

    fn reread_threads_that_lost_files(&mut self) {
        for thread_id in std::mem::take(&mut self.lost_files) {
            self.read_whole(thread_id);
        }
    }

    /// Plans the threads that inherit lines from segments that changed.
    fn reread_dependents(&mut self) {
        // One pass is enough: the index lists for each thread every segment of its chain, not only the next one.
        for (segment_id, dependents) in &self.indexed.dependents {
            for thread_id in dependents {
                // A segment that grew can now hold the lines that an incomplete thread missed. For all others the new lines
                // do not matter: they are after the inherited prefix.
                let was_missed = self.flags(*thread_id).is_incomplete && self.touched.contains(segment_id);
                if was_missed || self.rewritten.contains(segment_id) {
                    self.read_whole(*thread_id);
                }
            }
        }
    }

    /// Plans to read the whole history of a thread, unless it has no files any more.
    fn read_whole(&mut self, thread_id: ThreadId) {
        if self.has_files(thread_id) {
            let new = || PlannedScan { job: job(self.indexed, thread_id, None, 0), newest_ns: 0 };
            self.scans.entry(thread_id).or_insert_with(new).job.resume_after = None;
        }
    }

    fn finish(self) -> (VecDeque<ScanJob>, Vec<ScanJob>) {
        let gone = self
            .indexed
            .threads
            .keys()
            .filter(|thread_id| !self.has_files(**thread_id) && !self.has_hidden_files(**thread_id));
        let gone = gone.map(|thread_id| job(self.indexed, *thread_id, None, 0)).collect();
        let mut scans: Vec<PlannedScan> = self.scans.into_values().collect();
        scans.sort_by_key(|scan| (Reverse(scan.newest_ns), scan.job.thread_id));
        (scans.into_iter().map(|scan| scan.job).collect(), gone)
    }

    fn flags(&self, thread_id: ThreadId) -> ThreadFlags {
        self.indexed.threads.get(&thread_id).copied().unwrap_or_default()
    }

    fn has_files(&self, thread_id: ThreadId) -> bool {
        !self.files.segments(thread_id).is_empty()
    }
}

fn job(indexed: &IndexedState, thread_id: ThreadId, resume_after: Option<IndexedPrefix>, bytes: u64) -> ScanJob {
    ScanJob { thread_id, indexed_segments: indexed.segments_of(thread_id), resume_after, bytes }
}
