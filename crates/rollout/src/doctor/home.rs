//! What is wrong with a home.

use std::collections::{HashMap, HashSet};
use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use selvedge_protocol::{SegmentId, ThreadId};
use serde::Serialize;

use super::bases::{self, SegmentReferences};
use super::file::{self, Examined};
use super::finding::{Finding, FindingKind};
use crate::backoff::{Backoff, MOVE_TIMEOUT};
use crate::error::{IoContext, Result};
use crate::files::is_temporary;
use crate::history::read_head;
use crate::identity::{FileIdentity, FileStamp};
use crate::layout::{HomeFiles, RolloutFile, RolloutFileName, RolloutHome};
use crate::lock::WriterLock;
use crate::names::NameIndex;
use crate::walk::CachedHome;

/// How many files are read at the same time.
const WORKERS: usize = 2;

/// How long it may take to lock a file that was just made.
const LOCKING: Duration = Duration::from_millis(20);

/// How old a temporary file is that was not just made.
const SETTLED: Duration = Duration::from_secs(1);

/// How long two files of one segment may be there while one is made of the other.
const MAKING: Duration = Duration::from_secs(1);

/// Levels of directories below that of the active threads: years, months, days.
const LEVELS: usize = 3;

/// How far a diagnosis has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiagnosisProgress {
    /// How many files were read.
    pub done: usize,
    /// How many there are.
    pub total: usize,
}

/// What was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// Rollout files.
    pub files: u64,
    /// Their (decompressed) bytes, as far as they can be read.
    pub bytes: u64,
    /// Intact lines in them.
    pub lines: u64,
}

/// What a home looks like.
#[derive(Clone, Debug, Default)]
pub struct Diagnosis {
    /// What is wrong or out of the ordinary, by path and place.
    pub findings: Vec<Finding>,
    /// How many more there are in files that are nothing but damage.
    pub omitted: u64,
    /// What was looked at.
    pub checked: Checked,
    /// Which places of files others refer to.
    pub references: SegmentReferences,
}

/// Checks the rollout files of a home, or those of some threads, and what belongs to them. Reads only, in memory bounded by
/// the longest line and the number of findings; takes no lock but looks whether locks are held.
///
/// `progress` is told after each file, by whichever thread has read it.
///
/// # Errors
/// When the home's directories cannot be read. A file that cannot be read is a finding.
pub fn diagnose(
    home: &RolloutHome,
    threads: Option<&HashSet<ThreadId>>,
    progress: &(dyn Fn(DiagnosisProgress) + Sync),
) -> Result<Diagnosis> {
    let remembered = CachedHome::new(home.clone());
    let mut files = remembered.files()?;
    let wanted = |thread_id: ThreadId| threads.is_none_or(|threads| threads.contains(&thread_id));
    let mut examined = examine_all(&wanted_files(&files, &wanted), progress);
    look_again(&remembered, &mut files, &mut examined)?;
    let references = references(&remembered, &mut files, &examined)?;
    let mut diagnosis = Diagnosis { references, ..Diagnosis::default() };
    let mut found = bases::examine(&files, &examined);
    if found.iter().any(|finding| finding.kind == FindingKind::MissingBase) {
        // Missing is what two looks do not see.
        let again = bases::examine(remembered.files()?.as_ref(), &examined);
        found.retain(|finding| finding.kind != FindingKind::MissingBase || again.contains(finding));
    }
    for one in &mut examined {
        diagnosis.checked.files += 1;
        diagnosis.checked.bytes += one.bytes;
        diagnosis.checked.lines += one.lines;
        diagnosis.omitted += one.omitted;
        found.append(&mut one.findings);
    }
    found.extend(lasting_duplicates(&remembered, &files, &wanted)?);
    let mut places = Places {
        home,
        remembered: &remembered,
        wanted: &wanted,
        is_whole: threads.is_none(),
        found,
        suspects: Vec::new(),
    };
    places.look()?;
    found = places.found;
    found.retain(|finding| !is_being_written(home, finding));
    found.sort_by(|a, b| {
        let place = |finding: &Finding| finding.range.as_ref().map(|range| range.start);
        (&a.path, place(a), a.kind).cmp(&(&b.path, place(b), b.kind))
    });
    diagnosis.findings = found;
    Ok(diagnosis)
}

/// Every file of the wanted threads, and whether it counts.
fn wanted_files(files: &HomeFiles, wanted: &dyn Fn(ThreadId) -> bool) -> Vec<(RolloutFile, bool)> {
    let mut found = Vec::new();
    for (thread_id, segments) in files.threads().filter(|(thread_id, _)| wanted(*thread_id)) {
        let all = files.all_files(thread_id).cloned().enumerate();
        found.extend(all.map(|(at, file)| (file, at < segments.len())));
    }
    found.sort_by(|a, b| a.0.path.cmp(&b.0.path));
    found
}

fn examine_all(files: &[(RolloutFile, bool)], progress: &(dyn Fn(DiagnosisProgress) + Sync)) -> Vec<Examined> {
    let next = AtomicUsize::new(0);
    let done = AtomicUsize::new(0);
    let examined = Mutex::new(Vec::with_capacity(files.len()));
    let work = || {
        while let Some((file, counts)) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            let one = file::examine(file, *counts);
            examined.lock().unwrap_or_else(PoisonError::into_inner).push(one);
            progress(DiagnosisProgress { done: done.fetch_add(1, Ordering::Relaxed) + 1, total: files.len() });
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..WORKERS.min(files.len()) {
            scope.spawn(work);
        }
        work();
    });
    examined.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Looks again at files that others moved before they were read through, where they are now, and at files with a broken end
/// that have changed since. Those that are gone are forgotten.
fn look_again(remembered: &CachedHome, files: &mut Arc<HomeFiles>, examined: &mut Vec<Examined>) -> Result<()> {
    for pause in Backoff::new(MOVE_TIMEOUT) {
        let (stale, mut settled): (Vec<Examined>, Vec<Examined>) =
            examined.drain(..).partition(|one| is_stale(remembered.home(), one));
        if stale.is_empty() {
            *examined = settled;
            break;
        }
        std::thread::sleep(pause);
        *files = remembered.files()?;
        let now: HashMap<PathBuf, RolloutFile> = stale
            .iter()
            .filter_map(|one| {
                let mut segments = files.segments(one.file.name.thread_id).iter();
                segments.find(|file| file.name.segment_id() == one.file.name.segment_id())
            })
            .map(|file| (file.path.clone(), file.clone()))
            .collect();
        // A file that was seen in two places while it moved is one.
        settled.retain(|one| !now.contains_key(&one.file.path));
        settled.extend(now.values().map(|file| file::examine(file, true)));
        *examined = settled;
    }
    Ok(())
}

/// Whether a file was not where it was found, or its writer ended while it was read.
fn is_stale(home: &RolloutHome, one: &Examined) -> bool {
    let has_open_end =
        one.findings.iter().any(|finding| matches!(finding.kind, FindingKind::Torn | FindingKind::Unsealed));
    let is_held = || WriterLock::is_held(home, one.file.name.thread_id);
    one.is_gone || has_open_end && !is_held() && stamp_of(&one.file.path) != one.stamp
}

/// Which places others refer to, in the whole home. Heads that others moved are looked for again, in what becomes the files.
fn references(remembered: &CachedHome, files: &mut Arc<HomeFiles>, examined: &[Examined]) -> Result<SegmentReferences> {
    let known: HashSet<&Path> = examined.iter().map(|one| one.file.path.as_path()).collect();
    let mut references = SegmentReferences::default();
    examined.iter().filter_map(|one| one.base.as_ref()).for_each(|base| references.add(base));
    for pause in Backoff::new(MOVE_TIMEOUT) {
        let all = files.threads().flat_map(|(thread_id, _)| files.all_files(thread_id));
        let mut is_any_gone = false;
        for file in all.filter(|file| !known.contains(file.path.as_path())) {
            match read_head(file) {
                Ok(head) => head.and_then(|head| head.history_base).iter().for_each(|base| references.add(base)),
                // A head that cannot be read refers to nothing that anybody could follow.
                Err(error) => is_any_gone |= error.is_gone(),
            }
        }
        if !is_any_gone {
            break;
        }
        std::thread::sleep(pause);
        *files = remembered.files()?;
    }
    Ok(references)
}

/// Files that hold the segment of another one, and not because that is just being moved, compressed or decompressed.
fn lasting_duplicates(
    remembered: &CachedHome,
    files: &HomeFiles,
    wanted: &dyn Fn(ThreadId) -> bool,
) -> Result<Vec<Finding>> {
    let mut found = duplicates(files);
    found.retain(|duplicate| duplicate.finding.thread_id.is_none_or(wanted));
    let stamps: Vec<_> = found.iter().map(Duplicate::stamps).collect();
    if found.is_empty() {
        return Ok(Vec::new());
    }
    // Who makes one file of another holds the lock of their thread from before there are two until there is one.
    let is_at_work = |duplicate: &Duplicate| {
        let is_made = duplicate.finding.path.extension() != duplicate.other.extension();
        is_made
            && duplicate.finding.thread_id.is_some_and(|thread_id| WriterLock::is_held(remembered.home(), thread_id))
    };
    if found.iter().any(is_at_work) {
        std::thread::sleep(MAKING);
    }
    let again: HashSet<PathBuf> =
        duplicates(remembered.files()?.as_ref()).into_iter().map(|again| again.finding.path).collect();
    let lasting = found.into_iter().zip(stamps).filter(|(duplicate, stamps)| {
        // The other one may be written.
        let are_same = |[one, other]: [FileStamp; 2], [was, other_was]: [FileStamp; 2]| {
            one == was && other.inode == other_was.inode
        };
        let is_there = duplicate.stamps().zip(*stamps).is_some_and(|(now, before)| are_same(now, before));
        is_there && again.contains(&duplicate.finding.path)
    });
    Ok(lasting.map(|(duplicate, _)| duplicate.finding).collect())
}

/// A file that holds the segment of another one.
struct Duplicate {
    finding: Finding,
    other: PathBuf,
}

impl Duplicate {
    /// The stamps of the two files; `None` if there are not two, or both are one that is being moved.
    fn stamps(&self) -> Option<[FileStamp; 2]> {
        let [one, other] = [fs::metadata(&self.finding.path).ok()?, fs::metadata(&self.other).ok()?];
        let are_one = cfg!(unix) && FileIdentity::of(&one) == FileIdentity::of(&other) && count_links(&one) == 1;
        (!are_one).then(|| [&one, &other].map(FileStamp::by_status_change))
    }
}

/// The stamp of the file at a path, if there is one; another one in its place has another stamp.
pub(super) fn stamp_of(path: &Path) -> Option<FileStamp> {
    fs::metadata(path).ok().map(|metadata| FileStamp::by_status_change(&metadata))
}

/// By how many names a file goes.
fn count_links(metadata: &Metadata) -> u64 {
    #[cfg(unix)]
    let links = std::os::unix::fs::MetadataExt::nlink(metadata);
    #[cfg(not(unix))]
    let links = 1;
    #[cfg(not(unix))]
    let _ = metadata;
    links
}

/// Files that hold the segment of another one.
fn duplicates(files: &HomeFiles) -> Vec<Duplicate> {
    let mut found = Vec::new();
    let mut claims: HashMap<SegmentId, &RolloutFile> = HashMap::new();
    let mut threads: Vec<_> = files.threads().collect();
    // Of two claims the same one is told each time.
    threads.sort_unstable_by_key(|(thread_id, _)| *thread_id);
    for (thread_id, segments) in threads {
        for file in files.all_files(thread_id).skip(segments.len()) {
            let Some(other) = segments.iter().find(|other| other.name.segment_id() == file.name.segment_id()) else {
                continue;
            };
            let other = other.path.clone();
            let detail = format!("{} holds the same segment and counts, so that this one is not read", other.display());
            let finding = Finding::new(FindingKind::Duplicate, &file.path, detail).of(thread_id);
            found.push(Duplicate { finding, other });
        }
        for file in segments {
            let segment_id = file.name.segment_id();
            let Some(other) = claims.insert(segment_id, file) else { continue };
            let detail = format!("{} of another thread claims the same segment {segment_id}", other.path.display());
            let finding = Finding::new(FindingKind::Duplicate, &file.path, detail).of(thread_id);
            let finding = finding.unmendable("which of them the references mean, nobody can tell; rename one by hand");
            found.push(Duplicate { finding, other: other.path.clone() });
        }
    }
    found
}

/// What is at the end of a file while its writer lives is not wrong, nor the name of a thread whose file is yet to be made.
fn is_being_written(home: &RolloutHome, finding: &Finding) -> bool {
    matches!(finding.kind, FindingKind::Torn | FindingKind::Unsealed | FindingKind::Empty | FindingKind::OrphanName)
        && finding.thread_id.is_some_and(|thread_id| WriterLock::is_held(home, thread_id))
}

/// Looks at what is in the home beside the lines.
struct Places<'a> {
    home: &'a RolloutHome,
    remembered: &'a CachedHome,
    wanted: &'a dyn Fn(ThreadId) -> bool,
    is_whole: bool,
    found: Vec<Finding>,
    /// Files that may be left behind, and their stamps.
    suspects: Vec<(Finding, FileStamp)>,
}

impl Places<'_> {
    fn look(&mut self) -> Result<()> {
        self.dir(&self.home.sessions_dir(), LEVELS)?;
        self.dir(&self.home.archived_dir(), 0)?;
        self.locks()?;
        if self.is_whole {
            self.leftovers_of_names()?;
        }
        self.left_behind();
        self.names()
    }

    /// Notes a file that is left behind, unless somebody is at work on it.
    fn suspect(&mut self, finding: Finding) {
        if let Some(stamp) = stamp_of(&finding.path)
            && !self.is_at_work(&finding)
        {
            self.suspects.push((finding, stamp));
        }
    }

    /// Finds what is left behind: the files that nobody is at work on, and who makes one had the time to lock it.
    fn left_behind(&mut self) {
        let now = SystemTime::now();
        let is_young = |stamp: &FileStamp| stamp.age(now).is_some_and(|age| age < SETTLED);
        // The lock of a thread is made and taken in one, under coordination.
        if self.suspects.iter().any(|(finding, stamp)| finding.kind == FindingKind::Leftover && is_young(stamp)) {
            std::thread::sleep(LOCKING);
        }
        for (finding, stamp) in std::mem::take(&mut self.suspects) {
            if !self.is_at_work(&finding) && stamp_of(&finding.path) == Some(stamp) {
                self.found.push(finding);
            }
        }
    }

    /// Whether somebody is at work on a file that may be left behind.
    fn is_at_work(&self, finding: &Finding) -> bool {
        match (finding.kind, finding.thread_id) {
            // Who looks at the lock of a thread without coordination may be taken for a writer.
            (FindingKind::StaleLock, Some(thread_id)) => WriterLock::is_held(self.home, thread_id),
            _ => !is_free(&finding.path),
        }
    }

    fn dir(&mut self, dir: &Path, levels: usize) -> Result<()> {
        if self.is_whole {
            self.mode(dir, 0o700, None);
        }
        let mut subdirs = Vec::new();
        for (path, metadata) in entries(dir)? {
            let text = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if metadata.is_symlink() {
                let is_looked_for = levels > 0 || RolloutFileName::parse(&text).is_some();
                if is_looked_for && self.is_whole {
                    let detail = "it is a symbolic link, and is not followed";
                    self.found.push(Finding::new(FindingKind::SymbolicLink, path, detail));
                }
            } else if levels > 0 && metadata.is_dir() {
                subdirs.push(path);
            } else if levels == 0 && metadata.is_file() {
                self.file(path, &text);
            }
        }
        subdirs.iter().try_for_each(|subdir| self.dir(subdir, levels - 1))
    }

    fn file(&mut self, path: PathBuf, text: &str) {
        if let Some(name) = RolloutFileName::parse(text) {
            if (self.wanted)(name.thread_id) {
                self.mode(&path, 0o600, Some(name.thread_id));
            }
        } else if let Some(rollout) = temporary_of(text) {
            let thread_id = RolloutFileName::parse(rollout).map(|name| name.thread_id);
            let is_wanted = thread_id.map_or(self.is_whole, self.wanted);
            if is_wanted {
                let detail =
                    "it was written for a file that it never became; that file, or the one before it, is whole";
                let finding = Finding::new(FindingKind::Leftover, path, detail);
                self.suspect(Finding { thread_id, ..finding });
            }
        }
    }

    fn locks(&mut self) -> Result<()> {
        let dir = self.home.locks_dir();
        if self.is_whole {
            self.mode(&dir, 0o700, None);
        }
        for (path, metadata) in entries(&dir)? {
            let text = path.file_name().unwrap_or_default().to_string_lossy();
            let thread_id = text.strip_suffix(".lock").and_then(|id| id.parse::<ThreadId>().ok());
            if !metadata.is_file() || !thread_id.map_or(self.is_whole, self.wanted) {
                continue;
            }
            match thread_id {
                Some(thread_id) if !WriterLock::is_held(self.home, thread_id) => {
                    let detail = "nobody holds it: its writer died";
                    self.suspect(Finding::new(FindingKind::StaleLock, path, detail).of(thread_id));
                }
                _ => self.mode(&path, 0o600, thread_id),
            }
        }
        Ok(())
    }

    fn leftovers_of_names(&mut self) -> Result<()> {
        for (path, metadata) in entries(self.home.root())? {
            let text = path.file_name().unwrap_or_default().to_string_lossy();
            if metadata.is_file() && temporary_of(&text) == Some("session_index.jsonl") {
                let detail = "it was written for the index of names, which is whole";
                self.suspect(Finding::new(FindingKind::Leftover, path, detail));
            }
        }
        Ok(())
    }

    fn names(&mut self) -> Result<()> {
        let path = self.home.name_index_path();
        let names = NameIndex::load(self.home)?;
        // Behind the names: a thread may have come since the files were found first.
        let files = self.remembered.files()?;
        let mut orphans: Vec<(ThreadId, String)> = names
            .iter()
            .filter(|(thread_id, _)| (self.wanted)(*thread_id) && files.segments(*thread_id).is_empty())
            .map(|(thread_id, entry)| (thread_id, entry.name.clone()))
            .collect();
        orphans.sort();
        for (thread_id, name) in orphans {
            let detail = format!("{name:?} is the name of thread {thread_id}, of which there is no file");
            self.found.push(Finding::new(FindingKind::OrphanName, &path, detail).of(thread_id));
        }
        if self.is_whole {
            for (range, line, reason) in NameIndex::damage(self.home)? {
                let detail = format!("{reason}; every other name was read");
                self.found.push(Finding::new(FindingKind::DamagedNames, &path, detail).at(range, line));
            }
            self.mode(&path, 0o600, None);
            self.mode(&path.with_extension("jsonl.lock"), 0o600, None);
            self.mode(&self.home.reference_lock_path(), 0o600, None);
        }
        Ok(())
    }

    #[cfg(unix)]
    fn mode(&mut self, path: &Path, wanted: u32, thread_id: Option<ThreadId>) {
        use std::os::unix::fs::PermissionsExt;

        let Ok(metadata) = fs::symlink_metadata(path) else { return };
        let mode = metadata.permissions().mode() & 0o7777;
        if !metadata.is_symlink() && mode & 0o077 != 0 {
            let detail = format!("its mode is {mode:04o}, and {wanted:04o} is enough: transcripts hold secrets");
            let finding = Finding::new(FindingKind::WideMode, path, detail);
            self.found.push(Finding { thread_id, ..finding });
        }
    }

    #[cfg(not(unix))]
    fn mode(&mut self, _: &Path, _: u32, _: Option<ThreadId>) {}
}

/// What the name of a temporary file was made of, if it is one.
fn temporary_of(name: &str) -> Option<&str> {
    let (rest, _) = name.strip_prefix('.').filter(|_| is_temporary(name))?.rsplit_once(".tmp-")?;
    (rest.starts_with("rollout-") || rest == "session_index.jsonl").then_some(rest)
}

/// Whether nobody holds the kernel's lock on a temporary file. One that is gone is nobody's.
fn is_free(path: &Path) -> bool {
    match fs::File::open(path) {
        Ok(file) => !matches!(file.try_lock(), Err(fs::TryLockError::WouldBlock)),
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}

/// What is in a directory; nothing when it is missing. Links are given as links.
fn entries(dir: &Path) -> Result<Vec<(PathBuf, Metadata)>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).context("read directory", dir),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.context("read directory", dir)?;
        // An entry that vanished between the two calls is as good as never seen.
        if let Ok(metadata) = entry.metadata() {
            found.push((entry.path(), metadata));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}
