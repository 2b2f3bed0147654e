//! Doing something about what was found.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use selvedge_protocol::ThreadId;
use selvedge_protocol::log::{Entry, LineRecord};
use serde::Serialize;

use super::bases::SegmentReferences;
use super::effects;
use super::finding::{Finding, FindingKind};
use super::home::{Diagnosis, diagnose};
use super::mend::{RepairedFile, mend};
use crate::clock::now;
use crate::error::{IoContext, Result, RolloutError};
use crate::files::damaged_beside;
use crate::layout::{RolloutFile, RolloutHome};
use crate::lock::WriterLock;
use crate::names::NameIndex;
use crate::reader::{RolloutReader, open_bytes};
use crate::walk::CachedHome;

/// What is done about something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RepairAction {
    /// A rollout file is replaced by one that holds its intact lines.
    RewriteFile,
    /// A file is removed of which another one holds everything.
    RemoveDuplicate,
    /// A file is renamed so that no reader takes it for a rollout.
    SetAside,
    /// A temporary file is removed.
    RemoveLeftover,
    /// A lock file that nobody holds is removed.
    RemoveLock,
    /// A name is cleared.
    ClearName,
    /// The index of names is replaced by one that holds its intact lines.
    RewriteNames,
    /// A mode is narrowed.
    NarrowMode,
}

impl fmt::Display for RepairAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RewriteFile => "rewrite",
            Self::RemoveDuplicate => "remove duplicate",
            Self::SetAside => "set aside",
            Self::RemoveLeftover => "remove leftover",
            Self::RemoveLock => "remove lock",
            Self::ClearName => "clear name",
            Self::RewriteNames => "rewrite names",
            Self::NarrowMode => "narrow",
        })
    }
}

/// One thing that is done, or would be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RepairStep {
    /// What.
    pub action: RepairAction,
    /// To which file or directory.
    pub path: PathBuf,
    /// Of which thread, where it is one's.
    pub thread_id: Option<ThreadId>,
    /// In words.
    pub detail: String,
    /// Where what was there is kept.
    pub kept: Option<PathBuf>,
    /// Why it was not done, if it was not.
    pub error: Option<String>,
}

/// Does what can be done about the findings of a diagnosis; with `dry_run` it only says what that is. One step that fails
/// does not keep the others from being done.
///
/// Every file of a thread is touched under the thread's writer lock: of a thread that somebody writes, nothing is touched,
/// and the step says who. What is wrong with a file is looked at again under the lock.
#[must_use]
pub fn repair(home: &RolloutHome, diagnosis: &Diagnosis, dry_run: bool) -> Vec<RepairStep> {
    // The references of now count; should they be unreadable, those of the diagnosis.
    let references = diagnose(home, Some(&HashSet::new()), &|_| {}).map(|now| now.references);
    let references = references.unwrap_or_else(|_| diagnosis.references.clone());
    let remembered = CachedHome::new(home.clone());
    let mut repair = Repair { home, remembered, dry_run, references, steps: Vec::new() };
    let mendable = || diagnosis.findings.iter().filter(|finding| finding.mendable);
    let of_threads: BTreeSet<ThreadId> = mendable()
        .filter(|finding| !matches!(finding.kind, FindingKind::OrphanName | FindingKind::StaleLock))
        .filter_map(|finding| finding.thread_id)
        .collect();
    for thread_id in of_threads {
        let findings: Vec<&Finding> = mendable().filter(|finding| finding.thread_id == Some(thread_id)).collect();
        repair.thread(thread_id, &findings);
    }
    for finding in mendable() {
        match finding.kind {
            FindingKind::StaleLock => repair.lock(finding),
            FindingKind::OrphanName => repair.name(finding),
            FindingKind::Leftover if finding.thread_id.is_none() => repair.leftover(finding),
            FindingKind::WideMode if finding.thread_id.is_none() => repair.mode(finding),
            _ => {}
        }
    }
    if mendable().any(|finding| finding.kind == FindingKind::DamagedNames) {
        repair.names();
    }
    repair.steps
}

struct Repair<'a> {
    home: &'a RolloutHome,
    remembered: CachedHome,
    dry_run: bool,
    references: SegmentReferences,
    steps: Vec<RepairStep>,
}

impl Repair<'_> {
    /// Repairs the files of one thread.
    fn thread(&mut self, thread_id: ThreadId, findings: &[&Finding]) {
        let lock = match self.claim(thread_id) {
            Ok(lock) => lock,
            Err(error) => return self.refuse(findings, &error),
        };
        let duplicates = || findings.iter().filter(|finding| finding.kind == FindingKind::Duplicate);
        let is_duplicate = |path: &Path| duplicates().any(|finding| finding.path == path);
        let broken: BTreeSet<&Path> = findings
            .iter()
            .filter(|finding| is_in_lines(finding.kind) && !is_duplicate(&finding.path))
            .map(|finding| finding.path.as_path())
            .collect();
        // Before anything is replaced: what takes a file's place is private anyhow.
        findings.iter().filter(|finding| finding.kind == FindingKind::WideMode).for_each(|finding| self.mode(finding));
        for path in broken {
            self.file(thread_id, path);
        }
        for finding in findings {
            match finding.kind {
                FindingKind::Duplicate => self.duplicate(thread_id, finding),
                FindingKind::Leftover => self.leftover(finding),
                _ => {}
            }
        }
        drop(lock);
    }

    /// The thread's writer lock; without effects, a look whether it could be had.
    fn claim(&self, thread_id: ThreadId) -> Result<Option<WriterLock>> {
        if self.dry_run {
            return match WriterLock::holder(self.home, thread_id)? {
                Some(holder) => Err(RolloutError::Locked { thread_id, holder }),
                None => Ok(None),
            };
        }
        WriterLock::acquire(self.home, thread_id).map(Some)
    }

    fn refuse(&mut self, findings: &[&Finding], error: &RolloutError) {
        let mut told = HashSet::new();
        for finding in findings {
            let action = match finding.kind {
                FindingKind::Duplicate => RepairAction::SetAside,
                FindingKind::Leftover => RepairAction::RemoveLeftover,
                FindingKind::WideMode => RepairAction::NarrowMode,
                _ => RepairAction::RewriteFile,
            };
            if told.insert((finding.path.clone(), action.to_string())) {
                self.push(action, &finding.path, finding.thread_id, "not touched".to_owned(), None, Some(chain(error)));
            }
        }
    }

    /// Replaces a rollout file by one of its intact lines.
    fn file(&mut self, thread_id: ThreadId, path: &Path) {
        let mut kept = None;
        let outcome = self.try_file(thread_id, path, &mut kept);
        let (detail, error) = match outcome {
            Ok(None) => return,
            Ok(Some(plan)) => (describe(&plan), (!plan.left.is_empty()).then(|| plan.left.join("; "))),
            Err(error) => ("nothing was changed".to_owned(), Some(chain(&error))),
        };
        self.push(RepairAction::RewriteFile, path, Some(thread_id), detail, kept, error);
    }

    fn try_file(&self, thread_id: ThreadId, path: &Path, kept: &mut Option<PathBuf>) -> Result<Option<RepairedFile>> {
        // What is there now counts.
        let files = self.remembered.files()?;
        let Some(file) = files.all_files(thread_id).find(|file| file.path == path) else { return Ok(None) };
        let keep = self.references.end_of(file.name.segment_id());
        let plan = mend(file, keep, &mut io::sink())?;
        if !plan.changes_anything() || self.dry_run {
            return Ok(Some(plan).filter(|plan| plan.changes_anything() || !plan.left.is_empty()));
        }
        let target = if file.name.compressed { path.with_extension("") } else { path.to_owned() };
        let aside = damaged_beside(path, now());
        let write = |out: &mut dyn io::Write| mend(file, keep, out).map(drop);
        effects::replace(self.home, [path, &target, &aside], write, |repaired| check(file, repaired, &plan))?;
        *kept = Some(aside);
        Ok(Some(plan))
    }

    fn duplicate(&mut self, thread_id: ThreadId, finding: &Finding) {
        let path = &finding.path;
        let counting = self.remembered.files().map(|files| {
            let all = |file: &&RolloutFile| file.path == *path;
            let segment_id = files.all_files(thread_id).find(all).map(|file| file.name.segment_id());
            let counts = |file: &&RolloutFile| Some(file.name.segment_id()) == segment_id && file.path != *path;
            files.segments(thread_id).iter().find(counts).cloned()
        });
        let other = match counting {
            Ok(Some(other)) => other,
            Ok(None) => return,
            Err(error) => {
                let detail = "nothing was changed".to_owned();
                return self.push(RepairAction::SetAside, path, Some(thread_id), detail, None, Some(chain(&error)));
            }
        };
        let is_held = is_beginning(path, &other.path);
        let (action, detail, kept) = if is_held {
            (RepairAction::RemoveDuplicate, format!("{} has all of it", other.path.display()), None)
        } else {
            let kept = damaged_beside(path, now());
            (RepairAction::SetAside, format!("{} counts and differs", other.path.display()), Some(kept))
        };
        let outcome = match &kept {
            _ if self.dry_run => Ok(()),
            None => effects::remove(self.home, path),
            Some(kept) => effects::set_aside(self.home, path, kept),
        };
        self.push(action, path, Some(thread_id), detail, kept, outcome.err().map(|error| chain(&error)));
    }

    fn leftover(&mut self, finding: &Finding) {
        let outcome = if self.dry_run { Ok(()) } else { effects::remove_leftover(self.home, &finding.path) };
        let detail = "nobody will finish it".to_owned();
        let error = outcome.err().map(|error| chain(&error));
        self.push(RepairAction::RemoveLeftover, &finding.path, finding.thread_id, detail, None, error);
    }

    fn lock(&mut self, finding: &Finding) {
        let Some(thread_id) = finding.thread_id else { return };
        // Who takes the lock and lets it go leaves no file.
        let outcome = if self.dry_run { Ok(()) } else { WriterLock::acquire(self.home, thread_id).map(drop) };
        let error = outcome.err().map(|error| chain(&error));
        let detail = "nobody holds it".to_owned();
        self.push(RepairAction::RemoveLock, &finding.path, Some(thread_id), detail, None, error);
    }

    fn name(&mut self, finding: &Finding) {
        let Some(thread_id) = finding.thread_id else { return };
        let error = match self.try_name(thread_id) {
            Ok(false) => return,
            Ok(true) => None,
            Err(error) => Some(chain(&error)),
        };
        self.push(RepairAction::ClearName, &finding.path, Some(thread_id), finding.detail.clone(), None, error);
    }

    /// Clears the name of a thread that is not there, and says whether that is so. A thread that is yet to be written holds its
    /// lock.
    fn try_name(&self, thread_id: ThreadId) -> Result<bool> {
        let _lock = self.claim(thread_id)?;
        if !self.remembered.files()?.segments(thread_id).is_empty() {
            return Ok(false);
        }
        if !self.dry_run {
            NameIndex::set(self.home, thread_id, None, now())?;
        }
        Ok(true)
    }

    fn names(&mut self) {
        let path = self.home.name_index_path();
        let kept = damaged_beside(&path, now());
        let outcome = if self.dry_run { Ok(()) } else { self.try_names(&path, &kept) };
        let error = outcome.err().map(|error| chain(&error));
        let kept = error.is_none().then_some(kept);
        self.push(RepairAction::RewriteNames, &path, None, "its intact lines are kept".to_owned(), kept, error);
    }

    fn try_names(&self, path: &Path, kept: &Path) -> Result<()> {
        let _lock = NameIndex::lock(self.home)?;
        let bytes = std::fs::read(path).context("read", path)?;
        let intact = NameIndex::intact(&bytes);
        let write = |out: &mut dyn io::Write| out.write_all(&intact).context("write", path);
        effects::replace(self.home, [path, path, kept], write, |_| Ok(()))
    }

    fn mode(&mut self, finding: &Finding) {
        let wanted = if finding.path.is_dir() { 0o700 } else { 0o600 };
        let outcome = if self.dry_run { Ok(()) } else { effects::narrow(&finding.path, wanted) };
        let error = outcome.err().map(|error| chain(&error));
        let detail = format!("to {wanted:04o}");
        self.push(RepairAction::NarrowMode, &finding.path, finding.thread_id, detail, None, error);
    }

    fn push(
        &mut self,
        action: RepairAction,
        path: &Path,
        thread_id: Option<ThreadId>,
        detail: String,
        kept: Option<PathBuf>,
        error: Option<String>,
    ) {
        let kept = kept.filter(|_| !self.dry_run);
        self.steps.push(RepairStep { action, path: path.to_owned(), thread_id, detail, kept, error });
    }
}

/// Whether a repair of the file's bytes mends it.
fn is_in_lines(kind: FindingKind) -> bool {
    matches!(
        kind,
        FindingKind::InvalidUtf8
            | FindingKind::NotJson
            | FindingKind::Torn
            | FindingKind::Nul
            | FindingKind::ByteOrderMark
            | FindingKind::Compression
            | FindingKind::SplicedLines
            | FindingKind::Unsealed
            | FindingKind::MissingHead
    )
}

fn describe(plan: &RepairedFile) -> String {
    let mut parts = vec![format!("{} lines stay", plan.lines)];
    if plan.removed > 0 {
        parts.push(format!("{} stretches of {} bytes that are no line go", plan.removed, plan.removed_bytes));
    }
    if plan.newlines > 0 {
        parts.push(format!("{} newlines come", plan.newlines));
    }
    if plan.new_head {
        parts.push("a head comes".to_owned());
    }
    parts.join(", ")
}

fn chain(error: &RolloutError) -> String {
    let source = std::error::Error::source(error).map(|source| format!(": {source}")).unwrap_or_default();
    format!("{error}{source}")
}

/// Sees to it that a repaired file holds every intact line of the one before it.
fn check(file: &RolloutFile, repaired: &Path, plan: &RepairedFile) -> Result<()> {
    let lines = |reader: RolloutReader| {
        reader.filter_map(|entry| match entry {
            Ok(Entry::Line(record)) => Some(Ok(record)),
            Ok(Entry::Damage(_)) => None,
            Err(error) => Some(Err(error)),
        })
    };
    let mut before = lines(RolloutReader::open(&file.path)?);
    let mut after = lines(RolloutReader::from_bytes(std::fs::File::open(repaired).context("open", repaired)?));
    if plan.new_head {
        after.next().transpose()?;
    }
    loop {
        let (one, other): (Option<LineRecord>, Option<LineRecord>) =
            (before.next().transpose()?, after.next().transpose()?);
        match (one, other) {
            (None, None) => return Ok(()),
            (Some(one), Some(other)) if one.line.text() == other.line.text() => {}
            _ => {
                let message = "the repaired file would not hold the same lines; the original stays as it is";
                return Err(io::Error::new(io::ErrorKind::InvalidData, message)).context("repair", &file.path);
            }
        }
    }
}

/// Whether a file is the beginning of another one, or all of it, decompressed if need be.
fn is_beginning(one: &Path, other: &Path) -> bool {
    let open = |path: &Path| open_bytes(path, 0..u64::MAX).ok().map(|(bytes, _)| io::BufReader::new(bytes));
    let (Some(mut one), Some(mut other)) = (open(one), open(other)) else { return false };
    let (mut block, mut same) = ([0; 1 << 14], [0; 1 << 14]);
    loop {
        match one.read(&mut block) {
            Ok(0) => return true,
            Ok(len) => {
                if other.read_exact(&mut same[..len]).is_err() || same[..len] != block[..len] {
                    return false;
                }
            }
            Err(_) => return false,
        }
    }
}
