//! Where the files of a home are.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use selvedge_protocol::{Durability, SegmentId, ThreadId, Timestamp};

use crate::error::Result;
use crate::file_system::{FileSystem, SystemFiles};
use crate::sweep::Swept;
use crate::walk::walk;

/// A home directory: sessions, archive, names and locks; and how safe what is written to it has to be.
///
/// Two are equal when they are the same directory.
#[derive(Clone)]
pub struct RolloutHome {
    root: PathBuf,
    durability: Durability,
    files: Arc<dyn FileSystem>,
    clock: fn() -> Timestamp,
    pub(crate) swept: Arc<Swept>,
}

impl RolloutHome {
    /// The home at this path. Nothing is made or looked for. What is written to it is acknowledged at
    /// [`Durability::Written`].
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            durability: Durability::default(),
            files: Arc::new(SystemFiles),
            clock: crate::clock::now,
            swept: Arc::default(),
        }
    }

    /// The same home, to which everything is written at this level.
    #[must_use]
    pub fn with_durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// The same home, with other effects on files: for tests.
    #[must_use]
    pub fn with_file_system(mut self, files: Arc<dyn FileSystem>) -> Self {
        self.files = files;
        self
    }

    /// The same home, with another clock for when changes are made: for tests. It places new segments; lines are stamped by the
    /// clock of the system.
    #[must_use]
    pub fn with_clock(mut self, clock: fn() -> Timestamp) -> Self {
        self.clock = clock;
        self
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// The level at which an effect on this home is acknowledged.
    #[must_use]
    pub fn durability(&self) -> Durability {
        self.durability
    }

    /// Whether an effect is acknowledged only when the medium has it.
    pub(crate) fn is_synced(&self) -> bool {
        self.durability == Durability::Synced
    }

    pub(crate) fn file_system(&self) -> &dyn FileSystem {
        &*self.files
    }

    /// The home's path.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where active threads are, in folders of year, month and day.
    #[must_use]
    pub fn sessions_dir(&self) -> PathBuf {
        self.root.join("sessions")
    }

    /// Where archived threads are, flat.
    #[must_use]
    pub fn archived_dir(&self) -> PathBuf {
        self.root.join("archived_sessions")
    }

    /// The names of threads.
    #[must_use]
    pub fn name_index_path(&self) -> PathBuf {
        self.root.join("session_index.jsonl")
    }

    /// Where the locks of live threads are.
    #[must_use]
    pub fn locks_dir(&self) -> PathBuf {
        self.root.join("thread-writer-locks")
    }

    /// The lock between adding references to segments and removing segments.
    pub(crate) fn reference_lock_path(&self) -> PathBuf {
        self.root.join("selvedge-references.lock")
    }

    /// Where an active file of this name belongs.
    #[must_use]
    pub fn active_path(&self, name: &RolloutFileName) -> PathBuf {
        let date = name.created.date();
        self.sessions_dir()
            .join(format!("{:04}", date.year()))
            .join(format!("{:02}", date.month()))
            .join(format!("{:02}", date.day()))
            .join(name.to_string())
    }

    /// Where an archived file of this name belongs.
    #[must_use]
    pub fn archived_path(&self, name: &RolloutFileName) -> PathBuf {
        self.archived_dir().join(name.to_string())
    }

    /// Every rollout file of the home, by a walk over its directories that opens none of the files.
    ///
    /// What does not look like a rollout is passed over: other names, directories in the place of files, symbolic links.
    /// A home or a directory that is missing is empty.
    ///
    /// # Errors
    /// When a directory cannot be read.
    pub fn files(&self) -> Result<HomeFiles> {
        walk(self)
    }
}

impl PartialEq for RolloutHome {
    fn eq(&self, other: &Self) -> bool {
        self.root == other.root
    }
}

impl Eq for RolloutHome {}

impl fmt::Debug for RolloutHome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RolloutHome")
            .field("root", &self.root)
            .field("durability", &self.durability)
            .finish_non_exhaustive()
    }
}

/// The name of a rollout file: `rollout-<local time>-<thread id>[_<segment id>].jsonl[.zst]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RolloutFileName {
    /// When the segment was created, in the local time of its writer.
    pub created: DateTime,
    /// The thread.
    pub thread_id: ThreadId,
    /// The segment, for all but the first.
    pub later_segment: Option<SegmentId>,
    /// Whether the file is a zstd frame.
    pub compressed: bool,
}

impl RolloutFileName {
    /// The name of a segment that is created at `at`.
    #[must_use]
    pub fn new(at: Timestamp, thread_id: ThreadId, later_segment: Option<SegmentId>) -> Self {
        let utc = jiff::Timestamp::from_millisecond(at.as_millis()).unwrap_or_default();
        let created = TimeZone::system().to_datetime(utc);
        Self { created, thread_id, later_segment, compressed: false }
    }

    /// The time in the name, taken as if it were UTC: off by the time zone of its writer.
    #[must_use]
    pub fn created_utc(&self) -> Timestamp {
        let utc = self.created.to_zoned(TimeZone::UTC);
        utc.map_or_else(|_| Timestamp::default(), |utc| Timestamp::from_millis(utc.timestamp().as_millisecond()))
    }

    /// The name that this text is, if it is one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("rollout-")?;
        let (rest, compressed) = match rest.strip_suffix(".zst") {
            Some(rest) => (rest, true),
            None => (rest, false),
        };
        let rest = rest.strip_suffix(".jsonl")?;
        let (created, ids) = rest.split_at_checked("YYYY-MM-DDTHH-MM-SS".len())?;
        let ids = ids.strip_prefix('-')?;
        let (thread_id, later_segment) = match ids.split_once('_') {
            Some((thread_id, segment_id)) => (thread_id, Some(spelt_as_written(segment_id)?.parse().ok()?)),
            None => (ids, None),
        };
        let created = time_in_name(created)?;
        Some(Self { created, thread_id: spelt_as_written(thread_id)?.parse().ok()?, later_segment, compressed })
    }

    /// The segment.
    #[must_use]
    pub fn segment_id(&self) -> SegmentId {
        self.later_segment.unwrap_or_else(|| self.thread_id.into())
    }

    /// The same name without the compression.
    #[must_use]
    pub fn plain(&self) -> Self {
        Self { compressed: false, ..self.clone() }
    }

    /// Orders the segments of one thread by age. Ids that carry a time are surer than local times, which may jump.
    fn age_key(&self) -> (bool, Option<Timestamp>, DateTime, SegmentId) {
        let made_at = self.later_segment.and_then(|id| id.made_at());
        (self.later_segment.is_some(), made_at, self.created, self.segment_id())
    }
}

/// Ids can be spelt in other ways, by which the file would not be found again.
fn spelt_as_written(id: &str) -> Option<&str> {
    (id.len() == 36 && !id.bytes().any(|byte| byte.is_ascii_uppercase())).then_some(id)
}

/// The time that a name has in the form `YYYY-MM-DDTHH-MM-SS`. A home has thousands of names, so that this is done by hand.
fn time_in_name(text: &str) -> Option<DateTime> {
    let bytes = text.as_bytes();
    let in_place = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b'-'), (16, b'-')];
    if !in_place.iter().all(|(at, byte)| bytes.get(*at) == Some(byte)) {
        return None;
    }
    let number = |range: std::ops::Range<usize>| {
        let digits = bytes.get(range)?;
        let is_number = digits.iter().all(u8::is_ascii_digit);
        is_number.then(|| digits.iter().fold(0_i16, |number, digit| number * 10 + i16::from(digit - b'0')))
    };
    let part = |start: usize| i8::try_from(number(start..start + 2)?).ok();
    DateTime::new(number(0..4)?, part(5)?, part(8)?, part(11)?, part(14)?, part(17)?, 0).ok()
}

impl fmt::Display for RolloutFileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rollout-{}-{}", self.created.strftime("%Y-%m-%dT%H-%M-%S"), self.thread_id)?;
        if let Some(segment) = self.later_segment {
            write!(f, "_{segment}")?;
        }
        f.write_str(if self.compressed { ".jsonl.zst" } else { ".jsonl" })
    }
}

/// A rollout file: one segment of a thread.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RolloutFile {
    /// Where it is.
    pub path: PathBuf,
    /// What its name says.
    pub name: RolloutFileName,
    /// Whether it is in the archive.
    pub archived: bool,
}

/// The rollout files of a home, as one walk found them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HomeFiles {
    /// Segments by thread, oldest first.
    by_thread: HashMap<ThreadId, Vec<RolloutFile>>,
    /// Files that do not count, because another one holds the same segment.
    shadowed: HashMap<ThreadId, Vec<RolloutFile>>,
    /// The threads of later segments.
    later: HashMap<SegmentId, ThreadId>,
}

impl HomeFiles {
    /// Puts `files` in the place of what was found in a directory before, which were files of the threads `before`.
    pub(crate) fn replace(&mut self, dir: &Path, before: &[ThreadId], files: Vec<RolloutFile>) {
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

    /// Takes out every file of a thread.
    fn take(&mut self, thread_id: ThreadId) -> impl Iterator<Item = RolloutFile> {
        let files = self.by_thread.remove(&thread_id).unwrap_or_default();
        for segment_id in files.iter().filter_map(|file| file.name.later_segment) {
            if self.later.get(&segment_id) == Some(&thread_id) {
                self.later.remove(&segment_id);
            }
        }
        files.into_iter().chain(self.shadowed.remove(&thread_id).unwrap_or_default())
    }

    /// Puts in every file of a thread.
    fn put(&mut self, thread_id: ThreadId, mut files: Vec<RolloutFile>) {
        if files.is_empty() {
            return;
        }
        // Of two files of one segment the active one counts, and of those the plain one.
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

    /// Every file of a thread, those too that do not count because another one holds the same segment.
    pub fn all_files(&self, thread_id: ThreadId) -> impl Iterator<Item = &RolloutFile> {
        self.segments(thread_id).iter().chain(self.shadowed.get(&thread_id).into_iter().flatten())
    }

    /// The threads, in no order.
    pub fn threads(&self) -> impl Iterator<Item = (ThreadId, &[RolloutFile])> {
        self.by_thread.iter().map(|(id, segments)| (*id, segments.as_slice()))
    }

    /// The segments of a thread, oldest first; none when there is no such thread.
    #[must_use]
    pub fn segments(&self, thread_id: ThreadId) -> &[RolloutFile] {
        self.by_thread.get(&thread_id).map_or(&[], Vec::as_slice)
    }

    /// The file of a segment.
    #[must_use]
    pub fn segment(&self, segment_id: SegmentId) -> Option<&RolloutFile> {
        let first = self.segments(ThreadId::from_uuid(segment_id.as_uuid()));
        let later = self.later.get(&segment_id).map_or(&[][..], |thread_id| self.segments(*thread_id));
        first.iter().chain(later).find(|file| file.name.segment_id() == segment_id)
    }
}

/// Orders the files of one segment by which of them counts.
fn precedence(file: &RolloutFile) -> (bool, bool, &Path) {
    (file.archived, file.name.compressed, &file.path)
}
