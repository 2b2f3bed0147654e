//! Walks over a home, and what is remembered from one to the next.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use selvedge_protocol::{SegmentId, ThreadId};
use serde::{Deserialize, Serialize};

use crate::backoff::retry_if_moved;
use crate::error::{IoContext, Result, RolloutError};
use crate::history::ResolvedHistory;
use crate::identity::FileStamp;
use crate::layout::{HomeFiles, RolloutFile, RolloutFileName, RolloutHome};

/// For how long a directory may change without looking any different: the coarsest clocks of file systems count in two
/// seconds.
const SETTLING: Duration = Duration::from_secs(3);

/// How often a home is looked through for a thread that was in it. A walk makes these looks at once, and only if a segment that
/// it knew is missing: what is moved between two directories is seen in neither if both are read at the wrong moments.
const LOOKS: usize = 8;

/// How often a home is looked through when files were moved in it meanwhile.
const LOOKS_WHILE_MOVED: usize = 2;

/// How often a history is followed in one attempt: from where its files were found before, and from where they are now.
const RESOLUTIONS: usize = 2;

/// Levels of directories above those that hold the files of active threads: years, months, days.
const LEVELS: usize = 3;

/// The files of a home, found again in less time than it took to find them: a directory is read again only if it changed
/// since. What [`files`](Self::files) gives is what [`RolloutHome::files`] would.
#[derive(Debug)]
pub struct CachedHome {
    home: RolloutHome,
    memory: Mutex<Memory>,
}

impl CachedHome {
    /// Nothing is remembered of the home yet, and nothing is looked for.
    #[must_use]
    pub fn new(home: RolloutHome) -> Self {
        Self { home, memory: Mutex::default() }
    }

    /// The home.
    #[must_use]
    pub fn home(&self) -> &RolloutHome {
        &self.home
    }

    /// The same as [`files`](Self::files), with how the directories looked. Nothing of those when the files are still the ones
    /// that are `known`, or when a directory may yet change without looking any different.
    ///
    /// # Errors
    /// As [`RolloutHome::files`].
    pub fn files_and_directories(
        &self,
        known: Option<&Arc<HomeFiles>>,
    ) -> Result<(Arc<HomeFiles>, Option<HomeDirectories>)> {
        let memory = self.rescan()?;
        let is_known = known.is_some_and(|known| Arc::ptr_eq(known, &memory.files));
        let directories = if is_known { None } else { memory.directories(&self.home) };
        Ok((Arc::clone(&memory.files), directories))
    }

    /// Every rollout file of the home. Who calls while another one looks waits for that, which leaves less to look at.
    ///
    /// Others may move files meanwhile, into the archive and out of it or into compressed files. What was found before counts as
    /// gone when eight looks in a row did not see it. What is new is found if it leaves the archive once meanwhile, and in the
    /// first walk if it is moved once in any way.
    ///
    /// # Errors
    /// As [`RolloutHome::files`].
    pub fn files(&self) -> Result<Arc<HomeFiles>> {
        Ok(Arc::clone(&self.rescan()?.files))
    }

    /// Says that this process removed the files of a thread: nobody moved them, and the next look need not seek them.
    pub fn removed(&self, thread_id: ThreadId) {
        self.memory().removed.insert(thread_id);
    }

    fn rescan(&self) -> Result<MutexGuard<'_, Memory>> {
        let mut memory = self.memory();
        memory.walk(&self.home, SystemTime::now())?;
        Ok(memory)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(|poisoned| {
            let mut memory = poisoned.into_inner();
            // What a walk left that never ended.
            *memory = Memory::default();
            self.memory.clear_poison();
            memory
        })
    }

    /// Follows the history of a thread from where its `files` were found, and says in which files it was; no history when
    /// there is no such thread.
    ///
    /// Other processes move files, into the archive and out of it, or into compressed files. So a file that is not there,
    /// or not any more, is looked for again, for as long as [`retry_if_moved`] does. Work that is itself run by that function
    /// calls [`try_resolve`](Self::try_resolve).
    ///
    /// # Errors
    /// When the directories cannot be read, or the thread's own newest segment.
    pub fn resolve(
        &self,
        files: Arc<HomeFiles>,
        thread_id: ThreadId,
    ) -> Result<(Arc<HomeFiles>, Option<ResolvedHistory>)> {
        let mut found = Some(files);
        retry_if_moved(RolloutError::is_gone, || {
            let files = found.take().map_or_else(|| self.files(), Ok)?;
            self.try_resolve(files, thread_id)
        })
    }

    /// Makes one attempt at what [`resolve`](Self::resolve) does: follows the history from where its `files` were found, and if
    /// a file is not there, from where the files are now.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve), and if a file was moved again meanwhile
    /// ([`RolloutError::is_gone`]).
    pub fn try_resolve(
        &self,
        mut files: Arc<HomeFiles>,
        thread_id: ThreadId,
    ) -> Result<(Arc<HomeFiles>, Option<ResolvedHistory>)> {
        let mut sought_path = self.home.root().to_path_buf();
        for _ in 0..RESOLUTIONS {
            let resolved = ResolvedHistory::resolve(&files, thread_id);
            let (sought, is_gone) = match &resolved {
                Ok(Some(ResolvedHistory { missing: Some(missing), .. }))
                    if missing.is_gone || files.segment(missing.segment_id).is_none() =>
                {
                    (Some(missing.segment_id), missing.is_gone)
                }
                Ok(Some(_)) => return Ok((files, resolved?)),
                Ok(None) => (None, false),
                Err(error) => (None, error.is_gone()),
            };
            let now = self.files()?;
            let is_same = match sought {
                Some(segment_id) => now.segment(segment_id) == files.segment(segment_id),
                None => now.segments(thread_id) == files.segments(thread_id),
            };
            if is_same && !is_gone {
                return Ok((files, resolved?));
            }
            let file = sought.map_or_else(|| files.segments(thread_id).last(), |segment_id| files.segment(segment_id));
            sought_path = file.map_or(sought_path, |file| file.path.clone());
            files = now;
        }
        Err(io::Error::from(io::ErrorKind::NotFound)).context("find", &sought_path)
    }
}

/// How the directories of a home looked when they held just the files that were found in them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HomeDirectories(Vec<(PathBuf, FileStamp)>);

impl HomeDirectories {
    /// Whether all of them still look the same, so that no file came and none went.
    #[must_use]
    pub fn are_unchanged(&self, home: &RolloutHome) -> bool {
        // A directory that is missing has no place here, and comes with a change of none of the others.
        let known = |dir: &Path| self.0.iter().any(|(known, _)| home.root().join(known) == dir);
        let has_come = |dir: PathBuf| !known(&dir) && dir.exists();
        !has_come(home.sessions_dir())
            && !has_come(home.archived_dir())
            && self.0.iter().all(|(dir, stamp)| {
                fs::metadata(home.root().join(dir))
                    .is_ok_and(|metadata| FileStamp::by_status_change(&metadata) == *stamp)
            })
    }
}

/// One walk, from nothing.
pub(crate) fn walk(home: &RolloutHome) -> Result<HomeFiles> {
    let mut memory = Memory::default();
    memory.walk(home, SystemTime::now())?;
    Ok(Arc::unwrap_or_clone(memory.files))
}

/// What walks have found.
#[derive(Debug, Default)]
struct Memory {
    dirs: HashMap<PathBuf, Listing>,
    files: Arc<HomeFiles>,
    /// The number of the last look.
    look: u64,
    /// Segments that were found before the last look and may not have been since.
    lost: HashSet<FoundSegment>,
    /// Threads that this process removed, so that nobody looks for them.
    removed: HashSet<ThreadId>,
    /// Whether a walk came to its end.
    is_known: bool,
    /// Whether a file that nobody knew may have been moved during the last look, and not been seen.
    saw_concurrent_move: bool,
}

/// A segment, and whose it is.
type FoundSegment = (ThreadId, SegmentId);

/// What a directory held.
#[derive(Debug)]
struct Listing {
    /// How the directory looked before it was read; nothing when it may look the same with something else in it.
    stamp: Option<FileStamp>,
    subdirs: Arc<[PathBuf]>,
    /// The segments of the files in it.
    segments: Vec<FoundSegment>,
    /// The last look that came through.
    look: u64,
}

impl Memory {
    /// Finds every file, those too that are moved meanwhile: one that goes from a directory that is yet to be read into one that
    /// was read is seen in neither. So a segment that was known is looked for again, and the archive is looked through twice when it
    /// changes just then; so is every directory in the first walk, to which no segment is known.
    fn walk(&mut self, home: &RolloutHome, now: SystemTime) -> Result<()> {
        self.lost.clear();
        for count in 1..=LOOKS {
            self.look_through(home, now)?;
            self.forget_found();
            if self.lost.is_empty() && (count >= LOOKS_WHILE_MOVED || !self.saw_concurrent_move) {
                break;
            }
        }
        self.removed.clear();
        self.is_known = true;
        Ok(())
    }

    /// Takes out of what is lost what is there, and what nobody seeks.
    fn forget_found(&mut self) {
        let threads: HashSet<ThreadId> = self.lost.iter().map(|(thread_id, _)| *thread_id).collect();
        let files = threads.into_iter().flat_map(|thread_id| self.files.segments(thread_id));
        let found: HashSet<FoundSegment> = files.map(found_segment).collect();
        self.lost.retain(|segment| !found.contains(segment) && !self.removed.contains(&segment.0));
    }

    fn look_through(&mut self, home: &RolloutHome, now: SystemTime) -> Result<()> {
        self.saw_concurrent_move = false;
        self.look += 1;
        home.refuse_links(&home.sessions_dir())?;
        home.refuse_links(&home.archived_dir())?;
        self.visit(&home.sessions_dir(), LEVELS, false, now)?;
        self.visit(&home.archived_dir(), 0, true, now)?;
        let look = self.look;
        for (dir, gone) in self.dirs.extract_if(|_, listing| listing.look < look) {
            Arc::make_mut(&mut self.files).replace(&dir, &threads_of(&gone.segments), Vec::new());
            self.lost.extend(gone.segments);
        }
        Ok(())
    }

    /// How the directories looked, below the home.
    fn directories(&self, home: &RolloutHome) -> Option<HomeDirectories> {
        let dirs = self
            .dirs
            .iter()
            .map(|(dir, listing)| Some((dir.strip_prefix(home.root()).ok()?.to_path_buf(), listing.stamp?)));
        let mut dirs = dirs.collect::<Option<Vec<_>>>()?;
        dirs.sort_by(|one, other| one.0.cmp(&other.0));
        Some(HomeDirectories(dirs))
    }

    /// Goes through a directory that has so many levels of others below it, or files.
    fn visit(&mut self, dir: &Path, levels: usize, archived: bool, now: SystemTime) -> Result<()> {
        let metadata = match fs::metadata(dir) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error).context("read directory", dir),
        };
        let stamp = FileStamp::by_status_change(&metadata);
        let look = self.look;
        let subdirs = match self.dirs.get_mut(dir) {
            Some(listing) if listing.stamp == Some(stamp) => {
                listing.look = look;
                Arc::clone(&listing.subdirs)
            }
            _ => {
                let settled = Some(stamp).filter(|stamp| is_settled(stamp, now));
                let subdirs = self.read(dir, levels, archived, settled)?;
                if !self.is_known || archived {
                    let after = fs::metadata(dir).ok().map(|metadata| FileStamp::by_status_change(&metadata));
                    self.saw_concurrent_move |= settled.is_none() || after != settled;
                }
                subdirs
            }
        };
        subdirs.iter().try_for_each(|subdir| self.visit(subdir, levels - 1, archived, now))
    }

    fn read(&mut self, dir: &Path, levels: usize, archived: bool, stamp: Option<FileStamp>) -> Result<Arc<[PathBuf]>> {
        let (mut subdirs, mut files) = (Vec::new(), Vec::new());
        for_each_entry(dir, |entry, file_type| {
            if levels > 0 && file_type.is_dir() {
                subdirs.push(entry.path());
            } else if levels == 0
                && file_type.is_file()
                && let Some(name) = entry.file_name().to_str().and_then(RolloutFileName::parse)
            {
                files.push(RolloutFile { path: entry.path(), name, archived });
            }
        })?;
        let subdirs: Arc<[PathBuf]> = subdirs.into();
        let segments = files.iter().map(found_segment).collect();
        let listing = Listing { stamp, subdirs: Arc::clone(&subdirs), segments, look: self.look };
        let before = self.dirs.insert(dir.to_path_buf(), listing).map(|before| before.segments).unwrap_or_default();
        if !before.is_empty() || !files.is_empty() {
            Arc::make_mut(&mut self.files).replace(dir, &threads_of(&before), files);
            self.lost.extend(before);
        }
        Ok(subdirs)
    }
}

fn found_segment(file: &RolloutFile) -> FoundSegment {
    (file.name.thread_id, file.name.segment_id())
}

/// The threads of some segments, each once.
fn threads_of(segments: &[FoundSegment]) -> Vec<ThreadId> {
    let threads: HashSet<ThreadId> = segments.iter().map(|(thread_id, _)| *thread_id).collect();
    threads.into_iter().collect()
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

/// Whether a later change of a directory is sure to make it look different from this.
fn is_settled(stamp: &FileStamp, now: SystemTime) -> bool {
    stamp.age(now).is_some_and(|age| age >= SETTLING)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "rollout-2026-11-21T09-08-56-01a1fd5d-aacb-7641-837d-630af077ebd5.jsonl";

    /// A home with one thread, its day, and what is remembered of it when everything in it is `age` old.
    fn remembered(age: Duration) -> (tempfile::TempDir, RolloutHome, PathBuf, Memory) {
        let dir = tempfile::tempdir().unwrap();
        let home = RolloutHome::new(dir.path());
        let day = home.sessions_dir().join("2026/11/21");
        fs::create_dir_all(&day).unwrap();
        fs::write(day.join(NAME), "{}\n").unwrap();
        let mut memory = Memory::default();
        memory.walk(&home, SystemTime::now() + age).unwrap();
        assert_eq!(memory.files.threads().count(), 1);
        (dir, home, day, memory)
    }

    /// Whether a walk reads the day's directory: what it held was forgotten behind the memory's back.
    fn reads_again(home: &RolloutHome, memory: &mut Memory) -> bool {
        memory.files = Arc::default();
        memory.walk(home, SystemTime::now()).unwrap();
        memory.files.threads().count() == 1
    }

    #[test]
    fn a_directory_that_did_not_change_is_not_read_again() {
        let (_dir, home, _, mut memory) = remembered(Duration::from_secs(60));
        assert!(!reads_again(&home, &mut memory));
    }

    #[test]
    fn a_directory_that_changed_just_before_it_was_read_is_read_again() {
        let (_dir, home, _, mut memory) = remembered(Duration::ZERO);
        assert!(reads_again(&home, &mut memory));
    }

    #[test]
    fn what_this_process_removed_is_not_sought() {
        for (is_told, looks) in [(true, 1), (false, LOOKS)] {
            let (_dir, home, day, mut memory) = remembered(Duration::ZERO);
            let before = memory.look;
            fs::remove_file(day.join(NAME)).unwrap();
            if is_told {
                memory.removed.extend(memory.files.threads().map(|(thread_id, _)| thread_id).collect::<Vec<_>>());
            }
            memory.walk(&home, SystemTime::now()).unwrap();
            assert_eq!((memory.files.threads().count(), memory.look - before), (0, looks as u64));
        }
    }

    #[test]
    fn what_changes_later_is_found() {
        let (_dir, home, day, mut memory) = remembered(Duration::from_secs(60));
        // Longer than the clock of any file system here takes to tick.
        std::thread::sleep(Duration::from_millis(50));
        let compressed = day.join(format!("{NAME}.zst"));
        fs::rename(day.join(NAME), &compressed).unwrap();
        memory.walk(&home, SystemTime::now()).unwrap();
        let paths = |memory: &Memory| -> Vec<PathBuf> {
            memory.files.threads().flat_map(|(_, files)| files).map(|file| file.path.clone()).collect()
        };
        assert_eq!(paths(&memory), std::slice::from_ref(&compressed));
        fs::remove_dir_all(home.sessions_dir().join("2026/11")).unwrap();
        memory.walk(&home, SystemTime::now()).unwrap();
        assert_eq!((paths(&memory), memory.dirs.len()), (Vec::new(), 2));
    }
}
