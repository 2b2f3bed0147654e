//! Checks of everything in a home beside the lines of its logs: temporary files, lock files, names, modes and links.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use selvedge_protocol::ThreadId;

use super::finding::{Finding, FindingKind};
use crate::error::{IoContext, Result, RolloutError};
use crate::files::side_files::temporary_target;
use crate::home::{
    CachedHome, LeftOut, LeftOutKind, NAME_INDEX, RolloutFileName, RolloutHome, SESSION_LEVELS, is_date_directory,
};
use crate::identity::FileStamp;
use crate::locks::WriterLock;
use crate::names::NameIndex;
use crate::timing::{TEMPORARY_FILE_AGE, TEMPORARY_LOCK_GRACE};

/// An inspection of a home.
pub(super) struct HomeInspection<'a> {
    home: &'a RolloutHome,
    cached_home: &'a CachedHome,
    is_wanted: &'a dyn Fn(ThreadId) -> bool,
    /// Whether the whole home is checked, and not only some threads.
    is_whole: bool,
    found: Vec<Finding>,
    suspects: Vec<Suspect>,
}

/// A file that may be left over from a dead process.
struct Suspect {
    finding: Finding,
    /// The stamp of the file when it was found.
    stamp: FileStamp,
}

impl<'a> HomeInspection<'a> {
    pub(super) fn new(
        cached_home: &'a CachedHome,
        is_wanted: &'a dyn Fn(ThreadId) -> bool,
        is_whole: bool,
    ) -> HomeInspection<'a> {
        let home = cached_home.home();
        HomeInspection { home, cached_home, is_wanted, is_whole, found: Vec::new(), suspects: Vec::new() }
    }

    /// Inspects the home and returns the findings.
    pub(super) fn run(mut self) -> Result<Vec<Finding>> {
        self.check_left_out()?;
        self.check_directory(&self.home.sessions_dir(), SESSION_LEVELS);
        self.check_directory(&self.home.archived_dir(), 0);
        let outcome = self.check_lock_files();
        self.report_unreadable(outcome)?;
        if self.is_whole {
            let outcome = self.check_temporary_files_of_names();
            self.report_unreadable(outcome)?;
        }
        self.confirm_suspects();
        let outcome = self.check_names();
        self.report_unreadable(outcome)?;
        Ok(self.found)
    }

    /// Reports what the system does not let this process read. It costs only itself: all other checks go on.
    fn report_unreadable(&mut self, outcome: Result<()>) -> Result<()> {
        let Err(error) = outcome else { return Ok(()) };
        let RolloutError::Io { path, source, .. } = &error else { return Err(error) };
        self.found.push(Finding::new(FindingKind::Unreadable, path, format!("{error}: {source}")));
        Ok(())
    }

    /// Reports what the scan of the home left out.
    fn check_left_out(&mut self) -> Result<()> {
        for LeftOut { path, kind, reason } in self.cached_home.files()?.left_out() {
            let (kind, detail) = match kind {
                LeftOutKind::Unreadable => (FindingKind::Unreadable, format!("it cannot be read: {reason}")),
                LeftOutKind::SymbolicLink => {
                    (FindingKind::SymbolicLink, "it is a symbolic link, and is not followed".to_owned())
                }
                LeftOutKind::ForeignDirectory | LeftOutKind::SpecialFile => {
                    (FindingKind::Foreign, format!("it is left out: {reason}"))
                }
            };
            // What cannot be read may hold a part of any thread. The rest concerns only the home as a whole.
            if self.is_whole || kind == FindingKind::Unreadable {
                self.found.push(Finding::new(kind, path, detail));
            }
        }
        Ok(())
    }

    /// Adds a file that may be left over, unless a process is using it.
    fn add_suspect(&mut self, finding: Finding) {
        if let Some(stamp) = FileStamp::read_by_status_change(&finding.path)
            && !self.is_in_use(&finding)
        {
            self.suspects.push(Suspect { finding, stamp });
        }
    }

    /// Reports the suspects that are left over: no process uses them, and they did not change since they were found.
    fn confirm_suspects(&mut self) {
        let now = SystemTime::now();
        let is_young = |stamp: &FileStamp| stamp.age(now).is_some_and(|age| age < TEMPORARY_FILE_AGE);
        // A process creates a temporary file and then locks it. A file that was just created gets the time for that. A writer lock
        // needs none, because its file is created and locked under the coordination lock.
        if self
            .suspects
            .iter()
            .any(|Suspect { finding, stamp }| finding.kind == FindingKind::Leftover && is_young(stamp))
        {
            std::thread::sleep(TEMPORARY_LOCK_GRACE);
        }
        for Suspect { finding, stamp } in std::mem::take(&mut self.suspects) {
            if !self.is_in_use(&finding) && FileStamp::read_by_status_change(&finding.path) == Some(stamp) {
                self.found.push(finding);
            }
        }
    }

    /// Returns whether a process uses a file that may be left over.
    fn is_in_use(&self, finding: &Finding) -> bool {
        match (finding.kind, finding.thread_id) {
            // Only under the coordination lock: otherwise this process could be taken for a writer while it tries the lock.
            (FindingKind::StaleLock, Some(thread_id)) => WriterLock::is_held(self.home, thread_id),
            _ => !is_unlocked(&finding.path),
        }
    }

    /// Checks a directory, which has `levels` levels of directories below it, or with 0 levels, files. What cannot be read is
    /// reported by `check_left_out`.
    fn check_directory(&mut self, dir: &Path, levels: usize) {
        if self.is_whole {
            self.check_mode(dir, 0o700, None);
        }
        let mut subdirs = Vec::new();
        for (path, metadata) in read_entries(dir).unwrap_or_default() {
            let name = path.file_name().unwrap_or_default();
            if levels > 0 && metadata.is_dir() && is_date_directory(name, levels - 1) {
                subdirs.push(path);
            } else if levels == 0 && metadata.is_file() {
                let name = name.to_string_lossy().into_owned();
                self.check_file(path, &name);
            }
        }
        subdirs.iter().for_each(|subdir| self.check_directory(subdir, levels - 1));
    }

    fn check_file(&mut self, path: PathBuf, name: &str) {
        if let Some(name) = RolloutFileName::parse(name) {
            if (self.is_wanted)(name.thread_id) {
                self.check_mode(&path, 0o600, Some(name.thread_id));
            }
        } else if let Some(target) = temporary_target(name).filter(|target| is_rollout_or_index(target)) {
            let thread_id = RolloutFileName::parse(target).map(|name| name.thread_id);
            let is_wanted = thread_id.map_or(self.is_whole, self.is_wanted);
            if is_wanted {
                let detail = "a process died before it finished the file; the file that it was to become, or the one \
                              before it, is complete";
                let finding = Finding::new(FindingKind::Leftover, path, detail);
                self.add_suspect(Finding { thread_id, ..finding });
            }
        }
    }

    fn check_lock_files(&mut self) -> Result<()> {
        let dir = self.home.locks_dir();
        if self.is_whole {
            self.check_mode(&dir, 0o700, None);
        }
        for (path, metadata) in read_entries(&dir)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let thread_id = name.strip_suffix(".lock").and_then(|id| id.parse::<ThreadId>().ok());
            if !metadata.is_file() || !thread_id.map_or(self.is_whole, self.is_wanted) {
                continue;
            }
            match thread_id {
                Some(thread_id) if !WriterLock::is_held(self.home, thread_id) => {
                    let detail = "no process holds it: its writer died";
                    self.add_suspect(Finding::new(FindingKind::StaleLock, path, detail).of(thread_id));
                }
                _ => self.check_mode(&path, 0o600, thread_id),
            }
        }
        Ok(())
    }

    fn check_temporary_files_of_names(&mut self) -> Result<()> {
        for (path, metadata) in read_entries(self.home.root())? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if metadata.is_file() && temporary_target(&name) == Some(NAME_INDEX) {
                let detail = "a process died before it finished the file; the name index is complete";
                self.add_suspect(Finding::new(FindingKind::Leftover, path, detail));
            }
        }
        Ok(())
    }

    fn check_names(&mut self) -> Result<()> {
        let path = self.home.name_index_path();
        let names = NameIndex::load(self.home)?;
        // The scan comes after the names are read. A thread that was created and named since the first scan is then no orphan.
        let files = self.cached_home.files()?;
        // The file of such a thread may be in a directory that cannot be read.
        let may_be_hidden = files.unreadable().next().is_some();
        let mut orphans: Vec<(ThreadId, String)> = names
            .iter()
            .filter(|(thread_id, _)| (self.is_wanted)(*thread_id) && files.segments(*thread_id).is_empty())
            .filter(|_| !may_be_hidden)
            .map(|(thread_id, entry)| (thread_id, entry.name.clone()))
            .collect();
        orphans.sort();
        for (thread_id, name) in orphans {
            let detail = format!("{name:?} is the name of thread {thread_id}, which has no file");
            self.found.push(Finding::new(FindingKind::OrphanName, &path, detail).of(thread_id));
        }
        if self.is_whole {
            for damaged in NameIndex::damage(self.home)? {
                let detail = format!("{}; every other name was read", damaged.reason);
                let finding = Finding::new(FindingKind::DamagedNames, &path, detail);
                self.found.push(finding.at(damaged.range, damaged.number));
            }
            self.check_mode(&path, 0o600, None);
            self.check_mode(&path.with_extension("jsonl.lock"), 0o600, None);
            self.check_mode(&self.home.reference_lock_path(), 0o600, None);
        }
        Ok(())
    }

    #[cfg(unix)]
    fn check_mode(&mut self, path: &Path, wanted: u32, thread_id: Option<ThreadId>) {
        use std::os::unix::fs::PermissionsExt;

        let Ok(metadata) = fs::symlink_metadata(path) else { return };
        let mode = metadata.permissions().mode() & 0o7777;
        if !metadata.is_symlink() && mode & 0o077 != 0 {
            let detail = format!("its mode is {mode:04o}; {wanted:04o} is enough, and transcripts can hold secrets");
            let kind = if mode & 0o002 == 0 { FindingKind::WideMode } else { FindingKind::WritableByAll };
            let finding = Finding::new(kind, path, detail);
            self.found.push(Finding { thread_id, ..finding });
        }
    }

    #[cfg(not(unix))]
    fn check_mode(&mut self, _: &Path, _: u32, _: Option<ThreadId>) {}
}

/// Returns whether the target of a temporary file is one that this crate writes. Files of other programs are left alone.
fn is_rollout_or_index(target: &str) -> bool {
    target.starts_with("rollout-") || target == NAME_INDEX
}

/// Returns whether no process holds a lock on a temporary file. `false` if the file no longer exists.
fn is_unlocked(path: &Path) -> bool {
    match fs::File::open(path) {
        Ok(file) => !matches!(file.try_lock(), Err(fs::TryLockError::WouldBlock)),
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}

/// Returns the entries of a directory, sorted; none if the directory does not exist. Symbolic links are not followed.
fn read_entries(dir: &Path) -> Result<Vec<(PathBuf, Metadata)>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).context("read directory", dir),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.context("read directory", dir)?;
        // An entry that was removed between the two calls counts as not found.
        if let Ok(metadata) = entry.metadata() {
            found.push((entry.path(), metadata));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}
