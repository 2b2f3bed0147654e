//! Where the files of a home are.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use selvedge_protocol::{SegmentId, ThreadId, Timestamp};

use crate::error::{IoContext, Result};

/// A home directory: sessions, archive, names and locks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolloutHome {
    root: PathBuf,
}

impl RolloutHome {
    /// The home at this path. Nothing is made or looked for.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
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
        let mut found = Vec::new();
        for year in subdirs(&self.sessions_dir())? {
            for month in subdirs(&year)? {
                for day in subdirs(&month)? {
                    collect_files(&day, false, &mut found)?;
                }
            }
        }
        collect_files(&self.archived_dir(), true, &mut found)?;
        Ok(HomeFiles::new(found))
    }
}

fn subdirs(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut dirs = Vec::new();
    for_each_entry(dir, |entry, file_type| {
        if file_type.is_dir() {
            dirs.push(entry.path());
        }
    })?;
    Ok(dirs)
}

fn collect_files(dir: &Path, archived: bool, found: &mut Vec<RolloutFile>) -> Result<()> {
    for_each_entry(dir, |entry, file_type| {
        if file_type.is_file()
            && let Some(name) = entry.file_name().to_str().and_then(RolloutFileName::parse)
        {
            found.push(RolloutFile { path: entry.path(), name, archived });
        }
    })
}

fn for_each_entry(dir: &Path, mut visit: impl FnMut(&fs::DirEntry, fs::FileType)) -> Result<()> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).context("read directory", dir),
    };
    for entry in entries {
        let entry = entry.context("read directory", dir)?;
        // An entry that vanished between the two calls is as good as never seen.
        if let Ok(file_type) = entry.file_type() {
            visit(&entry, file_type);
        }
    }
    Ok(())
}

/// The name of a rollout file: `rollout-<local time>-<thread id>[_<segment id>].jsonl[.zst]`.
#[derive(Clone, Debug, PartialEq, Eq)]
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
        // `%Y` would take a sign.
        let created = created.starts_with(|first: char| first.is_ascii_digit()).then_some(created)?;
        let ids = ids.strip_prefix('-')?;
        let (thread_id, later_segment) = match ids.split_once('_') {
            Some((thread_id, segment_id)) => (thread_id, Some(hyphenated(segment_id)?.parse().ok()?)),
            None => (ids, None),
        };
        let name = Self {
            created: DateTime::strptime("%Y-%m-%dT%H-%M-%S", created).ok()?,
            thread_id: hyphenated(thread_id)?.parse().ok()?,
            later_segment,
            compressed,
        };
        // Times and ids can be spelt in other ways, by which the file would not be found again.
        (name.to_string() == text).then_some(name)
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

/// Ids in file names are spelt with hyphens; `Uuid` would take other forms.
fn hyphenated(id: &str) -> Option<&str> {
    (id.len() == 36).then_some(id)
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolloutFile {
    /// Where it is.
    pub path: PathBuf,
    /// What its name says.
    pub name: RolloutFileName,
    /// Whether it is in the archive.
    pub archived: bool,
}

/// The rollout files of a home, as one walk found them.
#[derive(Clone, Debug, Default)]
pub struct HomeFiles {
    /// Segments by thread, oldest first.
    by_thread: HashMap<ThreadId, Vec<RolloutFile>>,
    /// Files that do not count, because another one holds the same segment.
    shadowed: Vec<RolloutFile>,
    /// The threads of later segments.
    later: HashMap<SegmentId, ThreadId>,
}

impl HomeFiles {
    fn new(files: Vec<RolloutFile>) -> Self {
        let mut by_thread: HashMap<ThreadId, Vec<RolloutFile>> = HashMap::new();
        let mut later = HashMap::new();
        for file in files {
            if let Some(segment_id) = file.name.later_segment {
                later.insert(segment_id, file.name.thread_id);
            }
            by_thread.entry(file.name.thread_id).or_default().push(file);
        }
        let mut shadowed = Vec::new();
        for segments in by_thread.values_mut() {
            // Of two files of one segment the active one counts, and of those the plain one.
            segments.sort_by(|a, b| precedence(a).cmp(&precedence(b)));
            let mut seen = HashSet::new();
            let (first, again) =
                std::mem::take(segments).into_iter().partition(|file| seen.insert(file.name.segment_id()));
            *segments = first;
            segments.sort_by_key(|file| file.name.age_key());
            shadowed.extend::<Vec<_>>(again);
        }
        Self { by_thread, shadowed, later }
    }

    /// Every file of a thread, those too that do not count because another one holds the same segment.
    pub fn all_files(&self, thread_id: ThreadId) -> impl Iterator<Item = &RolloutFile> {
        let again = self.shadowed.iter().filter(move |file| file.name.thread_id == thread_id);
        self.segments(thread_id).iter().chain(again)
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
