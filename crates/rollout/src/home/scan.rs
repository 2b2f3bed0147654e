//! Scans of a home: find every rollout file, although other processes move files at the same time.
//!
//! # How a moved file is not lost
//!
//! A scan reads one directory after another. A file that moves from a directory that is not read yet into one that was read is
//! seen in neither:
//!
//! ```text
//! scan                          another process
//! read sessions/2026/11/21
//!                               move A from archived_sessions to sessions/2026/11/21
//! read archived_sessions
//! ```
//!
//! A single pass cannot notice that. So a scan makes several passes:
//!
//! - It repeats the pass while a segment of an earlier scan is missing, up to [`MAX_PASSES`] times. A file that is moved at
//!   the wrong moment in each of them is improbable; a file that was deleted costs these passes once.
//! - A *new* segment is in no earlier scan. So there are two passes if the archive may have changed during the pass. The first
//!   scan knows no segment at all, so it makes two passes if any directory may have changed.
//!
//! # What makes a scan cheap
//!
//! Creating, moving and removing a file changes the status time of its directory. A directory whose stamp did not change is
//! not read again. The time has a granularity, so a stamp is trusted only if it was old enough when the directory was read
//! ([`DIRECTORY_SETTLE_TIME`]).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use selvedge_protocol::{SegmentId, ThreadId};
use serde::{Deserialize, Serialize};

use super::file_name::RolloutFileName;
use super::home_files::{HomeFiles, RolloutFile};
use super::layout::{RolloutHome, SESSION_LEVELS};
use super::left_out::{LeftOut, is_date_directory, is_shortage};
use crate::error::{IoContext, Result, RolloutError};
use crate::identity::FileStamp;
use crate::timing::DIRECTORY_SETTLE_TIME;

/// How many passes a scan makes while a segment that it knew is missing.
const MAX_PASSES: usize = 8;

/// How many passes a scan makes if a file that it did not know may have been moved during a pass.
const PASSES_WITH_MOVES: usize = 2;

/// The stamps of the directories of a home at the time of a scan, and what the scan left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HomeDirectories {
    /// The user whose scan it was. Another one may read less, or more.
    user: u32,
    /// The directories, by their paths below the home.
    stamps: Vec<(PathBuf, FileStamp)>,
    /// Nothing in it is unreadable: a directory that cannot be read has no stamp that proves that it still cannot be read.
    pub(super) left_out: Vec<LeftOut>,
}

impl HomeDirectories {
    /// Returns whether every directory still has the same stamp, so that no file was added, moved or removed since the scan.
    #[must_use]
    pub fn are_unchanged(&self, home: &RolloutHome) -> bool {
        // A directory that did not exist has no stamp here. If it is created, its parent changes, except for these two, whose
        // parent is the home itself.
        let known = |dir: &Path| self.stamps.iter().any(|(known, _)| home.root().join(known) == dir);
        let is_new = |dir: PathBuf| !known(&dir) && dir.exists();
        self.user == current_user()
            && !is_new(home.sessions_dir())
            && !is_new(home.archived_dir())
            && self.stamps.iter().all(|(dir, stamp)| {
                fs::metadata(home.root().join(dir))
                    .is_ok_and(|metadata| FileStamp::by_status_change(&metadata) == *stamp)
            })
    }
}

impl RolloutHome {
    /// Scans the directories of the home and returns every rollout file. Opens none of the files.
    ///
    /// The scan ignores what cannot be a rollout: other names, directories in the place of files, and symbolic links. A home
    /// or a directory that does not exist is empty. What it cannot read costs only itself: [`HomeFiles::left_out`] returns that.
    ///
    /// # Errors
    /// If the home is no directory, or this process lacks memory or open files.
    pub fn files(&self) -> Result<HomeFiles> {
        let mut scan = HomeScan::default();
        scan.run(self, SystemTime::now())?;
        Ok(Arc::unwrap_or_clone(scan.files))
    }
}

/// What scans have found so far.
#[derive(Debug, Default)]
pub(super) struct HomeScan {
    directories: HashMap<PathBuf, DirectoryListing>,
    pub(super) files: Arc<HomeFiles>,
    /// The number of the current pass, counted over all scans.
    pass: u64,
    /// Segments that an earlier pass found and this one may not have found.
    unseen: HashSet<FoundSegment>,
    /// Threads that this process removed. Their segments are not searched for.
    pub(super) removed: HashSet<ThreadId>,
    /// Whether a scan has ended, so that the segments of the home are known.
    is_known: bool,
    /// What an earlier scan left out, which need not have been one of this process.
    pub(super) remembered: Vec<LeftOut>,
    /// Files that could not be read when they were needed, by path.
    pub(super) unreadable_files: BTreeMap<PathBuf, LeftOut>,
    /// Whether a file that was not known may have been moved during this pass, and not been seen.
    saw_concurrent_move: bool,
}

/// A segment and its thread.
type FoundSegment = (ThreadId, SegmentId);

/// The content of a directory.
#[derive(Debug)]
struct DirectoryListing {
    /// The stamp of the directory before it was read. `None` if it may have the same stamp with other content.
    stamp: Option<FileStamp>,
    subdirs: Arc<[PathBuf]>,
    /// The segments of the files in the directory.
    segments: Vec<FoundSegment>,
    /// What is left out of the directory, or the directory itself.
    left_out: Vec<LeftOut>,
    /// The last pass that found the directory.
    pass: u64,
}

impl HomeScan {
    /// Scans the home. `now` is the current time, with which the age of stamps is computed.
    pub(super) fn run(&mut self, home: &RolloutHome, now: SystemTime) -> Result<()> {
        self.unseen.clear();
        for passes in 1..=MAX_PASSES {
            self.run_pass(home, now)?;
            self.discard_found();
            if self.unseen.is_empty() && (passes >= PASSES_WITH_MOVES || !self.saw_concurrent_move) {
                break;
            }
        }
        // What is still unseen now was deleted.
        self.removed.clear();
        self.is_known = true;
        Ok(())
    }

    /// Returns whether a scan has ended.
    pub(super) fn is_known(&self) -> bool {
        self.is_known
    }

    /// Removes from the unseen segments those that were found, perhaps in another directory, and those of removed threads.
    fn discard_found(&mut self) {
        let threads: HashSet<ThreadId> = self.unseen.iter().map(|(thread_id, _)| *thread_id).collect();
        let files = threads.into_iter().flat_map(|thread_id| self.files.segments(thread_id));
        let found: HashSet<FoundSegment> = files.map(found_segment).collect();
        self.unseen.retain(|segment| !found.contains(segment) && !self.removed.contains(&segment.0));
    }

    fn run_pass(&mut self, home: &RolloutHome, now: SystemTime) -> Result<()> {
        self.saw_concurrent_move = false;
        self.pass += 1;
        // Something else in the place of the home is a mistake of the caller, and nothing to leave out.
        if fs::metadata(home.root()).is_ok_and(|metadata| !metadata.is_dir()) {
            return Err(io::Error::from(io::ErrorKind::NotADirectory)).context("read directory", home.root());
        }
        // The archive comes last. A file that is archived during the pass is then seen twice, which does no harm: one of the two
        // counts. Only a file that leaves the archive can be missed.
        for (dir, levels, archived) in [(home.sessions_dir(), SESSION_LEVELS, false), (home.archived_dir(), 0, true)] {
            match home.refuse_links(&dir) {
                Ok(()) => self.visit_directory(&dir, levels, archived, now)?,
                Err(RolloutError::Io { source, .. }) => self.leave_out(&dir, &source)?,
                Err(error) => return Err(error),
            }
        }
        // A directory that this pass did not visit no longer exists, and with it its files.
        let pass = self.pass;
        for (dir, gone) in self.directories.extract_if(|_, listing| listing.pass < pass) {
            Arc::make_mut(&mut self.files).replace(&dir, &threads_of(&gone.segments), Vec::new());
            self.unseen.extend(gone.segments);
        }
        let mut left_out: Vec<LeftOut> =
            self.directories.values().flat_map(|listing| &listing.left_out).cloned().collect();
        left_out.sort();
        // The files stay the same value if nothing changed, by which callers notice that.
        if self.files.left_out() != left_out {
            Arc::make_mut(&mut self.files).set_left_out(left_out);
        }
        Ok(())
    }

    /// Leaves out a directory that cannot be read, with all that was found in it before.
    ///
    /// # Errors
    /// If the reason is not the directory: this process lacks memory or open files.
    fn leave_out(&mut self, dir: &Path, error: &io::Error) -> Result<()> {
        if is_shortage(error) {
            return Err(io::Error::from(error.kind())).context("read directory", dir);
        }
        // Without a stamp the next scan tries it again.
        let listing = DirectoryListing {
            stamp: None,
            subdirs: Arc::default(),
            segments: Vec::new(),
            left_out: vec![LeftOut::unreadable(dir, error)],
            pass: self.pass,
        };
        let before = self.directories.insert(dir.to_path_buf(), listing).map(|before| before.segments);
        if let Some(before) = before.filter(|before| !before.is_empty()) {
            Arc::make_mut(&mut self.files).replace(dir, &threads_of(&before), Vec::new());
            self.unseen.extend(before);
        }
        Ok(())
    }

    /// Returns the stamps of all directories. `None` if one of them has no stamp that can be trusted.
    pub(super) fn directories(&self, home: &RolloutHome) -> Option<HomeDirectories> {
        let stamps = self
            .directories
            .iter()
            .map(|(dir, listing)| Some((dir.strip_prefix(home.root()).ok()?.to_path_buf(), listing.stamp?)));
        let mut stamps = stamps.collect::<Option<Vec<_>>>()?;
        stamps.sort_by(|one, other| one.0.cmp(&other.0));
        Some(HomeDirectories { user: current_user(), stamps, left_out: self.files.left_out().to_vec() })
    }

    /// Visits a directory and those below it. It has `levels` levels of directories below it, or with 0 levels, files.
    fn visit_directory(&mut self, dir: &Path, levels: usize, archived: bool, now: SystemTime) -> Result<()> {
        let metadata = match fs::metadata(dir) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return self.leave_out(dir, &error),
        };
        // The stamp is taken before the directory is read. A change during the reading then leads to a stamp that differs, and
        // the next scan reads the directory again.
        let stamp = FileStamp::by_status_change(&metadata);
        let pass = self.pass;
        let subdirs = match self.directories.get_mut(dir) {
            Some(listing) if listing.stamp == Some(stamp) => {
                listing.pass = pass;
                Arc::clone(&listing.subdirs)
            }
            _ => {
                let settled = Some(stamp).filter(|stamp| is_settled(stamp, now));
                let subdirs = match self.read_directory(dir, levels, archived, settled) {
                    Ok(subdirs) => subdirs,
                    Err(error) => return self.leave_out(dir, &error),
                };
                // In a later scan only the archive matters: see the order of directories in `run_pass`.
                if !self.is_known || archived {
                    let after = fs::metadata(dir).ok().map(|metadata| FileStamp::by_status_change(&metadata));
                    self.saw_concurrent_move |= settled.is_none() || after != settled;
                }
                subdirs
            }
        };
        // An unchanged directory does not mean that those below it are unchanged, so they are visited in any case.
        subdirs.iter().try_for_each(|subdir| self.visit_directory(subdir, levels - 1, archived, now))
    }

    /// Reads a directory, and returns the directories in it.
    fn read_directory(
        &mut self,
        dir: &Path,
        levels: usize,
        archived: bool,
        stamp: Option<FileStamp>,
    ) -> io::Result<Arc<[PathBuf]>> {
        let (mut subdirs, mut files, mut left_out) = (Vec::new(), Vec::new(), Vec::new());
        for_each_entry(dir, |entry, file_type| {
            if levels > 0 && file_type.is_dir() && is_date_directory(&entry.file_name(), levels - 1) {
                subdirs.push(entry.path());
                return;
            }
            let name = (levels == 0).then(|| entry.file_name().to_str().and_then(RolloutFileName::parse)).flatten();
            match name {
                Some(name) if file_type.is_file() => files.push(RolloutFile { path: entry.path(), name, archived }),
                name if !file_type.is_file() => {
                    left_out.extend(LeftOut::by_type(&entry.path(), file_type, levels, name.is_some()));
                }
                _ => {}
            }
        })?;
        let subdirs: Arc<[PathBuf]> = subdirs.into();
        let segments = files.iter().map(found_segment).collect();
        let listing = DirectoryListing { stamp, subdirs: Arc::clone(&subdirs), segments, left_out, pass: self.pass };
        let before =
            self.directories.insert(dir.to_path_buf(), listing).map(|before| before.segments).unwrap_or_default();
        if !before.is_empty() || !files.is_empty() {
            Arc::make_mut(&mut self.files).replace(dir, &threads_of(&before), files);
            // Most of these were just found again. `discard_found` keeps only the others, after all directories were visited.
            self.unseen.extend(before);
        }
        Ok(subdirs)
    }
}

/// Returns the number of the user with whose rights this process reads files.
fn current_user() -> u32 {
    #[cfg(unix)]
    let user = rustix::process::geteuid().as_raw();
    #[cfg(not(unix))]
    let user = 0;
    user
}

fn found_segment(file: &RolloutFile) -> FoundSegment {
    (file.name.thread_id, file.name.segment_id())
}

/// Returns the threads of some segments, each one once.
fn threads_of(segments: &[FoundSegment]) -> Vec<ThreadId> {
    let threads: HashSet<ThreadId> = segments.iter().map(|(thread_id, _)| *thread_id).collect();
    threads.into_iter().collect()
}

fn for_each_entry(dir: &Path, mut visit: impl FnMut(&fs::DirEntry, fs::FileType)) -> io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        // An entry that was removed between the two calls counts as not found.
        if let Ok(file_type) = entry.file_type() {
            visit(&entry, file_type);
        }
    }
    Ok(())
}

/// Returns whether every later change of a directory gives it another stamp than this one.
fn is_settled(stamp: &FileStamp, now: SystemTime) -> bool {
    stamp.age(now).is_some_and(|age| age >= DIRECTORY_SETTLE_TIME)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NAME: &str = "rollout-2026-11-21T09-08-56-01a1fd5d-aacb-7641-837d-630af077ebd5.jsonl";

    /// Returns a home with one thread, the directory of its day, and a scan that took place when everything in it was `age` old.
    fn scanned_home(age: Duration) -> (tempfile::TempDir, RolloutHome, PathBuf, HomeScan) {
        let dir = tempfile::tempdir().unwrap();
        let home = RolloutHome::new(dir.path());
        let day = home.sessions_dir().join("2026/11/21");
        fs::create_dir_all(&day).unwrap();
        fs::write(day.join(NAME), "{}\n").unwrap();
        let mut scan = HomeScan::default();
        scan.run(&home, SystemTime::now() + age).unwrap();
        assert_eq!(scan.files.threads().count(), 1);
        (dir, home, day, scan)
    }

    /// Returns whether a scan reads the directory of the day. To find that out, the files are taken from the scan behind its back.
    fn reads_again(home: &RolloutHome, scan: &mut HomeScan) -> bool {
        scan.files = Arc::default();
        scan.run(home, SystemTime::now()).unwrap();
        scan.files.threads().count() == 1
    }

    #[test]
    fn a_directory_that_did_not_change_is_not_read_again() {
        let (_dir, home, _, mut scan) = scanned_home(Duration::from_secs(60));
        assert!(!reads_again(&home, &mut scan));
    }

    #[test]
    fn a_directory_that_changed_just_before_it_was_read_is_read_again() {
        let (_dir, home, _, mut scan) = scanned_home(Duration::ZERO);
        assert!(reads_again(&home, &mut scan));
    }

    #[test]
    fn a_thread_that_this_process_removed_is_not_searched_for() {
        for (is_reported, passes) in [(true, 1), (false, MAX_PASSES)] {
            let (_dir, home, day, mut scan) = scanned_home(Duration::ZERO);
            let before = scan.pass;
            fs::remove_file(day.join(NAME)).unwrap();
            if is_reported {
                scan.removed.extend(scan.files.threads().map(|(thread_id, _)| thread_id).collect::<Vec<_>>());
            }
            scan.run(&home, SystemTime::now()).unwrap();
            assert_eq!((scan.files.threads().count(), scan.pass - before), (0, passes as u64));
        }
    }

    #[test]
    fn a_later_change_is_found() {
        let (_dir, home, day, mut scan) = scanned_home(Duration::from_secs(60));
        // Longer than one tick of the clock of the file system.
        std::thread::sleep(Duration::from_millis(50));
        let compressed = day.join(format!("{NAME}.zst"));
        fs::rename(day.join(NAME), &compressed).unwrap();
        scan.run(&home, SystemTime::now()).unwrap();
        let paths = |scan: &HomeScan| -> Vec<PathBuf> {
            scan.files.threads().flat_map(|(_, files)| files).map(|file| file.path.clone()).collect()
        };
        assert_eq!(paths(&scan), std::slice::from_ref(&compressed));
        fs::remove_dir_all(home.sessions_dir().join("2026/11")).unwrap();
        scan.run(&home, SystemTime::now()).unwrap();
        assert_eq!((paths(&scan), scan.directories.len()), (Vec::new(), 2));
    }
}
