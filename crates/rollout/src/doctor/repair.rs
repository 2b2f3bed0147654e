//! The repair of what a diagnosis found.

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::path::{Path, PathBuf};

use selvedge_protocol::ThreadId;

use super::diagnose::{Diagnosis, diagnose};
use super::effects::{self, Replacement};
use super::finding::{Finding, FindingKind};
use super::fork_diverged::{find_again, fork_diverged};
use super::references::SegmentReferences;
use super::repair_step::{RepairAction, RepairStep};
use super::repaired_file::{RepairedFile, write_repaired};
use super::verify::verify_repaired;
use crate::clock::now;
use crate::error::{IoContext, Result, RolloutError};
use crate::files::compare::begins_with;
use crate::files::side_files::damaged_beside;
use crate::home::{CachedHome, RolloutFile, RolloutFileName, RolloutHome};
use crate::locks::WriterLock;
use crate::names::NameIndex;
use crate::reader::open_bytes;

/// Repairs what can be repaired of the findings of a diagnosis, and returns the steps. With `dry_run` nothing is changed, and the
/// steps are those that a repair would do. If a step fails, the others are still done.
///
/// Every file of a thread is changed under the writer lock of the thread. Of a thread that another process writes, no file is
/// changed, and the step names that process. What is wrong with a file is determined again under the lock.
#[must_use]
pub fn repair(home: &RolloutHome, diagnosis: &Diagnosis, dry_run: bool) -> Vec<RepairStep> {
    // A fork may have been created since the diagnosis. So its references are collected again; only if that fails, the old ones
    // are used.
    let references = diagnose(home, Some(&HashSet::new()), &|_| {}).map(|now| now.references);
    let references = references.unwrap_or_else(|_| diagnosis.references.clone());
    let cached_home = CachedHome::new(home.clone());
    let mut run = RepairRun { home, cached_home, dry_run, references, steps: Vec::new() };
    let repairable = || diagnosis.findings.iter().filter(|finding| finding.is_repairable);

    // First the files of each thread, which are repaired under one lock.
    let threads: BTreeSet<ThreadId> = repairable()
        .filter(|finding| !matches!(finding.kind, FindingKind::OrphanName | FindingKind::StaleLock))
        .filter_map(|finding| finding.thread_id)
        .collect();
    for thread_id in threads {
        let findings: Vec<&Finding> = repairable().filter(|finding| finding.thread_id == Some(thread_id)).collect();
        run.repair_thread(thread_id, &findings);
    }
    // Then what belongs to no thread, or to a thread without files.
    for finding in repairable() {
        match finding.kind {
            FindingKind::StaleLock => run.remove_lock(finding),
            FindingKind::OrphanName => run.clear_name(finding),
            FindingKind::Leftover if finding.thread_id.is_none() => run.remove_leftover(finding),
            kind if is_mode(kind) && finding.thread_id.is_none() => run.narrow_mode(finding),
            _ => {}
        }
    }
    // Last the name index, which holds the lines that clear names by now.
    if repairable().any(|finding| finding.kind == FindingKind::DamagedNames) {
        run.rewrite_names();
    }
    run.steps
}

struct RepairRun<'a> {
    home: &'a RolloutHome,
    cached_home: CachedHome,
    dry_run: bool,
    references: SegmentReferences,
    steps: Vec<RepairStep>,
}

impl RepairRun<'_> {
    /// Repairs the files of one thread.
    fn repair_thread(&mut self, thread_id: ThreadId, findings: &[&Finding]) {
        let lock = match self.lock_thread(thread_id) {
            Ok(lock) => lock,
            Err(error) => return self.refuse(findings, &error),
        };
        // A shadowed file is not rewritten, since no reader uses it. It is removed or set aside below.
        let duplicates = || findings.iter().filter(|finding| finding.kind == FindingKind::Duplicate);
        let is_duplicate = |path: &Path| duplicates().any(|finding| finding.path == path);
        let damaged: BTreeSet<&Path> = findings
            .iter()
            .filter(|finding| is_in_content(finding.kind) && !is_duplicate(&finding.path))
            .map(|finding| finding.path.as_path())
            .collect();
        // Modes come first: a file that replaces another one is private in any case.
        findings.iter().filter(|finding| is_mode(finding.kind)).for_each(|finding| self.narrow_mode(finding));
        for path in damaged {
            self.rewrite_file(thread_id, path);
        }
        for finding in findings {
            match finding.kind {
                FindingKind::Duplicate => self.resolve_duplicate(thread_id, finding),
                FindingKind::Leftover => self.remove_leftover(finding),
                // After the damage of the segment was repaired: the end of the file is the end of a line then.
                FindingKind::DivergedHistory => self.fork_diverged(thread_id, finding),
                _ => {}
            }
        }
        drop(lock);
    }

    /// Takes the writer lock of a thread. A dry run has no effects, so it only checks whether the lock is free.
    fn lock_thread(&self, thread_id: ThreadId) -> Result<Option<WriterLock>> {
        if self.dry_run {
            return match WriterLock::holder(self.home, thread_id)? {
                Some(holder) => Err(RolloutError::Locked { thread_id, holder }),
                None => Ok(None),
            };
        }
        WriterLock::acquire(self.home, thread_id).map(Some)
    }

    /// Adds a step with an error for each file of a thread that is not repaired.
    fn refuse(&mut self, findings: &[&Finding], error: &RolloutError) {
        let mut reported = HashSet::new();
        for finding in findings {
            let action = match finding.kind {
                FindingKind::Duplicate => RepairAction::SetAside,
                FindingKind::Leftover => RepairAction::RemoveLeftover,
                kind if is_mode(kind) => RepairAction::NarrowMode,
                FindingKind::DivergedHistory => RepairAction::Fork,
                _ => RepairAction::RewriteFile,
            };
            if reported.insert((finding.path.clone(), action.to_string())) {
                let detail = "not changed".to_owned();
                self.push(action, &finding.path, finding.thread_id, detail, None, Some(with_source(error)));
            }
        }
    }

    /// Replaces a rollout file by one that holds its intact lines.
    fn rewrite_file(&mut self, thread_id: ThreadId, path: &Path) {
        let mut kept = None;
        let outcome = self.try_rewrite_file(thread_id, path, &mut kept);
        let (detail, error) = match outcome {
            Ok(None) => return,
            Ok(Some(repaired)) => (describe(&repaired), (!repaired.left.is_empty()).then(|| repaired.left.join("; "))),
            Err(error) => ("nothing was changed".to_owned(), Some(with_source(&error))),
        };
        self.push(RepairAction::RewriteFile, path, Some(thread_id), detail, kept, error);
    }

    fn try_rewrite_file(
        &self,
        thread_id: ThreadId,
        path: &Path,
        kept: &mut Option<PathBuf>,
    ) -> Result<Option<RepairedFile>> {
        // The file may have been moved, or repaired, since the diagnosis.
        let files = self.cached_home.files()?;
        let Some(file) = files.all_files(thread_id).find(|file| file.path == path) else { return Ok(None) };
        let keep = self.references.end_of(file.name.segment_id());
        // The bytes are generated twice: first to see what changes, then into the new file.
        let repaired = write_repaired(file, keep, &mut io::sink())?;
        if !repaired.changes_anything() || self.dry_run {
            return Ok(Some(repaired).filter(|repaired| repaired.changes_anything() || !repaired.left.is_empty()));
        }
        let target = if file.name.compressed { path.with_extension("") } else { path.to_owned() };
        let aside = damaged_beside(path, now());
        let paths = Replacement { original: path, target: &target, kept: &aside };
        let write = |out: &mut dyn io::Write| write_repaired(file, keep, out).map(drop);
        effects::replace(self.home, paths, write, |new_path| verify_repaired(file, new_path, &repaired))?;
        *kept = Some(aside);
        Ok(Some(repaired))
    }

    /// Removes a shadowed file whose content the other file has, or sets it aside.
    fn resolve_duplicate(&mut self, thread_id: ThreadId, finding: &Finding) {
        let path = &finding.path;
        // The files may have changed since the diagnosis. If no other file counts any more, this one does, and stays.
        let counting = self.cached_home.files().map(|files| {
            let is_this = |file: &&RolloutFile| file.path == *path;
            let segment_id = files.all_files(thread_id).find(is_this).map(|file| file.name.segment_id());
            let counts = |file: &&RolloutFile| Some(file.name.segment_id()) == segment_id && file.path != *path;
            files.segments(thread_id).iter().find(counts).cloned()
        });
        let other = match counting {
            Ok(Some(other)) => other,
            Ok(None) => return,
            Err(error) => {
                let detail = "nothing was changed".to_owned();
                return self.push(
                    RepairAction::SetAside,
                    path,
                    Some(thread_id),
                    detail,
                    None,
                    Some(with_source(&error)),
                );
            }
        };
        // Only content that exists twice is removed.
        let is_held = is_beginning(path, &other.path);
        let (action, detail, kept) = if is_held {
            (RepairAction::RemoveDuplicate, format!("{} has all of its content", other.path.display()), None)
        } else {
            let kept = damaged_beside(path, now());
            (RepairAction::SetAside, format!("{} counts and has other content", other.path.display()), Some(kept))
        };
        let outcome = match &kept {
            _ if self.dry_run => Ok(()),
            None => effects::remove(self.home, path),
            Some(kept) => effects::set_aside(self.home, path, kept),
        };
        self.push(action, path, Some(thread_id), detail, kept, outcome.err().map(|error| with_source(&error)));
    }

    /// Makes a fork of a diverged history.
    fn fork_diverged(&mut self, thread_id: ThreadId, finding: &Finding) {
        let (new_thread_id, error) = match self.try_fork_diverged(thread_id, finding) {
            Ok(None) => return,
            Ok(Some(forked)) => (forked, None),
            Err(error) => (None, Some(with_source(&error))),
        };
        let detail = match new_thread_id {
            Some(fork_id) => format!("its history is thread {fork_id} now"),
            None => "its history becomes a thread".to_owned(),
        };
        let (action, path, thread_id) = (RepairAction::Fork, finding.path.clone(), Some(thread_id));
        self.steps.push(RepairStep { action, path, thread_id, detail, kept: None, new_thread_id, error });
    }

    /// Returns `None` if the history is not diverged any more, and no thread in a dry run.
    fn try_fork_diverged(&self, thread_id: ThreadId, finding: &Finding) -> Result<Option<Option<ThreadId>>> {
        let files = self.cached_home.files()?;
        let segment_id = finding.path.file_name().and_then(|name| name.to_str()).and_then(RolloutFileName::parse);
        let Some(segment_id) = segment_id.map(|name| name.segment_id()) else { return Ok(None) };
        let Some(segment) = find_again(&files, &self.references, thread_id, segment_id)? else { return Ok(None) };
        if self.dry_run {
            return Ok(Some(None));
        }
        fork_diverged(self.home, &files, thread_id, &segment).map(|fork_id| Some(Some(fork_id)))
    }

    fn remove_leftover(&mut self, finding: &Finding) {
        let outcome = if self.dry_run { Ok(()) } else { effects::remove_leftover(self.home, &finding.path) };
        let detail = "its process died".to_owned();
        let error = outcome.err().map(|error| with_source(&error));
        self.push(RepairAction::RemoveLeftover, &finding.path, finding.thread_id, detail, None, error);
    }

    fn remove_lock(&mut self, finding: &Finding) {
        let Some(thread_id) = finding.thread_id else { return };
        // To take the lock and to release it removes the file, under the coordination lock.
        let outcome = if self.dry_run { Ok(()) } else { WriterLock::acquire(self.home, thread_id).map(drop) };
        let error = outcome.err().map(|error| with_source(&error));
        let detail = "no process holds it".to_owned();
        self.push(RepairAction::RemoveLock, &finding.path, Some(thread_id), detail, None, error);
    }

    fn clear_name(&mut self, finding: &Finding) {
        let Some(thread_id) = finding.thread_id else { return };
        let error = match self.try_clear_name(thread_id) {
            Ok(false) => return,
            Ok(true) => None,
            Err(error) => Some(with_source(&error)),
        };
        self.push(RepairAction::ClearName, &finding.path, Some(thread_id), finding.detail.clone(), None, error);
    }

    /// Clears the name of a thread, unless the thread has a file by now. Returns whether it has none.
    fn try_clear_name(&self, thread_id: ThreadId) -> Result<bool> {
        // A thread that is about to be created holds its lock, so that this fails and its name stays.
        let _lock = self.lock_thread(thread_id)?;
        let files = self.cached_home.files()?;
        if !files.segments(thread_id).is_empty() || files.unreadable().next().is_some() {
            return Ok(false);
        }
        if !self.dry_run {
            NameIndex::set(self.home, thread_id, None, now())?;
        }
        Ok(true)
    }

    /// Replaces the name index by one that holds its intact lines.
    fn rewrite_names(&mut self) {
        let path = self.home.name_index_path();
        let kept = damaged_beside(&path, now());
        let outcome = if self.dry_run { Ok(()) } else { self.try_rewrite_names(&path, &kept) };
        let error = outcome.err().map(|error| with_source(&error));
        let kept = error.is_none().then_some(kept);
        self.push(RepairAction::RewriteNames, &path, None, "its intact lines stay".to_owned(), kept, error);
    }

    fn try_rewrite_names(&self, path: &Path, kept: &Path) -> Result<()> {
        // Under the lock no process appends a name between the read and the replacement. That name would be lost.
        let _lock = NameIndex::lock(self.home)?;
        let bytes = std::fs::read(path).context("read", path)?;
        let intact = NameIndex::intact(&bytes);
        let write = |out: &mut dyn io::Write| out.write_all(&intact).context("write", path);
        effects::replace(self.home, Replacement { original: path, target: path, kept }, write, |_| Ok(()))
    }

    fn narrow_mode(&mut self, finding: &Finding) {
        let wanted = if finding.path.is_dir() { 0o700 } else { 0o600 };
        let outcome = if self.dry_run { Ok(()) } else { effects::narrow(&finding.path, wanted) };
        let error = outcome.err().map(|error| with_source(&error));
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
        let path = path.to_owned();
        self.steps.push(RepairStep { action, path, thread_id, detail, kept, new_thread_id: None, error });
    }
}

/// Returns whether a finding is about the mode of a file or directory.
fn is_mode(kind: FindingKind) -> bool {
    matches!(kind, FindingKind::WideMode | FindingKind::WritableByAll)
}

/// Returns whether a finding is repaired by rewriting the content of the file.
fn is_in_content(kind: FindingKind) -> bool {
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
            | FindingKind::BadHeadId
    )
}

fn describe(repaired: &RepairedFile) -> String {
    let mut parts = vec![format!("{} intact lines stay", repaired.lines)];
    if repaired.removed > 0 {
        let (ranges, bytes) = (repaired.removed, repaired.removed_bytes);
        parts.push(format!("{ranges} damaged ranges of {bytes} bytes are removed"));
    }
    if repaired.newlines > 0 {
        parts.push(format!("{} newlines are inserted", repaired.newlines));
    }
    if repaired.new_head {
        parts.push("a head is inserted".to_owned());
    }
    parts.join(", ")
}

/// Returns the text of an error with that of its source.
fn with_source(error: &RolloutError) -> String {
    let source = std::error::Error::source(error).map(|source| format!(": {source}")).unwrap_or_default();
    format!("{error}{source}")
}

/// Returns whether a file has the same content as another one, or a beginning of it. Compressed files are decompressed. `false` if
/// one of them cannot be read.
fn is_beginning(one: &Path, other: &Path) -> bool {
    let open = |path: &Path| open_bytes(path, 0..u64::MAX).ok().map(|(bytes, _)| io::BufReader::new(bytes));
    let (Some(one), Some(other)) = (open(one), open(other)) else { return false };
    begins_with(other, one).unwrap_or(false)
}
