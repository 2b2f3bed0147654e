//! The set of rollout files of a home, by thread and by segment.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use selvedge_protocol::{SegmentId, ThreadId};

use super::file_name::RolloutFileName;
use super::left_out::{LeftOut, LeftOutKind};

/// A rollout file: one segment of a thread.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RolloutFile {
    /// The path of the file.
    pub path: PathBuf,
    /// The parsed name of the file.
    pub name: RolloutFileName,
    /// Whether the file is in the archive.
    pub archived: bool,
}

/// The rollout files of a home, as one scan found them.
///
/// At most one file of each segment counts. Another file of the same segment is *shadowed*: the files of an interrupted move
/// or compression can both exist, and no reader uses the shadowed one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HomeFiles {
    /// The files that count by thread, the oldest segment first.
    by_thread: HashMap<ThreadId, Vec<RolloutFile>>,
    /// The shadowed files by thread.
    shadowed: HashMap<ThreadId, Vec<RolloutFile>>,
    /// The thread of each later segment. A first segment has the id of its thread.
    later: HashMap<SegmentId, ThreadId>,
    /// What the scan left out, by path.
    left_out: Vec<LeftOut>,
}

impl HomeFiles {
    /// Replaces the files that were found in a directory before by `files`. The earlier files belonged to the threads `before`.
    pub(crate) fn replace(&mut self, dir: &Path, before: &[ThreadId], files: Vec<RolloutFile>) {
        // Which file of a segment counts, and the order of segments, depend on all files of the thread. So each thread that has or
        // had a file in this directory is taken out as a whole and put back. A thread of `before` without a new file is in the map
        // with no file, so that its old files go.
        let mut found: HashMap<ThreadId, Vec<RolloutFile>> = before.iter().map(|id| (*id, Vec::new())).collect();
        for file in files {
            found.entry(file.name.thread_id).or_default().push(file);
        }
        for (thread_id, mut files) in found {
            let known = self.take(thread_id).filter(|file| file.path.parent() != Some(dir));
            files.extend(known);
            self.put(thread_id, files);
        }
    }

    /// Removes every file of a thread and returns them.
    fn take(&mut self, thread_id: ThreadId) -> impl Iterator<Item = RolloutFile> {
        let files = self.by_thread.remove(&thread_id).unwrap_or_default();
        // Two threads may claim one segment. Then the entry may belong to the other thread, and stays.
        for segment_id in files.iter().filter_map(|file| file.name.later_segment) {
            if self.later.get(&segment_id) == Some(&thread_id) {
                self.later.remove(&segment_id);
            }
        }
        files.into_iter().chain(self.shadowed.remove(&thread_id).unwrap_or_default())
    }

    /// Adds all files of a thread, which has none in the set.
    fn put(&mut self, thread_id: ThreadId, mut files: Vec<RolloutFile>) {
        if files.is_empty() {
            return;
        }
        // The first file of each segment counts: an active one before an archived one, then a plain one before a compressed one.
        files.sort_by(|a, b| precedence(a).cmp(&precedence(b)));
        let mut seen = HashSet::new();
        let (mut segments, again): (Vec<_>, Vec<_>) =
            files.into_iter().partition(|file| seen.insert(file.name.segment_id()));
        segments.sort_by_key(|file| file.name.age_key());
        self.later.extend(segments.iter().filter_map(|file| Some((file.name.later_segment?, thread_id))));
        self.by_thread.insert(thread_id, segments);
        if !again.is_empty() {
            self.shadowed.insert(thread_id, again);
        }
    }

    pub(crate) fn set_left_out(&mut self, left_out: Vec<LeftOut>) {
        self.left_out = left_out;
    }

    /// Returns what the scan left out, by path.
    #[must_use]
    pub fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    /// Returns the directories that could not be read. They may hold any number of files.
    pub fn unreadable(&self) -> impl Iterator<Item = &LeftOut> {
        self.left_out.iter().filter(|left_out| left_out.kind == LeftOutKind::Unreadable)
    }

    /// Returns whether a path is below a directory that could not be read, so that a file may be there although the scan did not
    /// find it.
    #[must_use]
    pub fn is_hidden(&self, path: &Path) -> bool {
        self.unreadable().any(|left_out| path.starts_with(&left_out.path))
    }

    /// Returns every file of a thread: first the files that count, then the shadowed ones.
    pub fn all_files(&self, thread_id: ThreadId) -> impl Iterator<Item = &RolloutFile> {
        self.segments(thread_id).iter().chain(self.shadowed.get(&thread_id).into_iter().flatten())
    }

    /// Returns the threads with their segments, in no particular order.
    pub fn threads(&self) -> impl Iterator<Item = (ThreadId, &[RolloutFile])> {
        self.by_thread.iter().map(|(id, segments)| (*id, segments.as_slice()))
    }

    /// Returns the segments of a thread, the oldest first. Empty if there is no such thread.
    #[must_use]
    pub fn segments(&self, thread_id: ThreadId) -> &[RolloutFile] {
        self.by_thread.get(&thread_id).map_or(&[], Vec::as_slice)
    }

    /// Returns the file of a segment.
    #[must_use]
    pub fn segment(&self, segment_id: SegmentId) -> Option<&RolloutFile> {
        // An id may be that of a first segment, which is the id of its thread, or that of a later one.
        let first = self.segments(ThreadId::from_uuid(segment_id.as_uuid()));
        let later = self.later.get(&segment_id).map_or(&[][..], |thread_id| self.segments(*thread_id));
        first.iter().chain(later).find(|file| file.name.segment_id() == segment_id)
    }
}

/// Returns a key that orders the files of one segment by precedence. The file with the lowest key counts.
fn precedence(file: &RolloutFile) -> (bool, bool, &Path) {
    (file.archived, file.name.compressed, &file.path)
}
