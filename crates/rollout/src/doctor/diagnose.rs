//! The diagnosis of a home.
//!
//! A diagnosis reads a home while other processes write it, and takes no lock. So whatever another process may be doing at this
//! moment is checked a second time before it becomes a finding: a file that is moved, two forms of a file during its
//! compression, a temporary file, the torn end of a log that is being written.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use selvedge_protocol::ThreadId;
use serde::Serialize;

use super::base_check::check_bases;
use super::diverged_check::check_diverged;
use super::duplicates::find_lasting_duplicates;
use super::file_check::{ExaminedFile, check_file};
use super::finding::{Finding, FindingKind};
use super::home_check::HomeInspection;
#[cfg(target_os = "linux")]
use super::network::find_network_file_systems;
use super::references::{SegmentReferences, collect_references};
use super::stray::find_strays;
use crate::backoff::Backoff;
use crate::error::Result;
use crate::home::{CachedHome, HomeFiles, RolloutFile, RolloutHome};
use crate::identity::FileStamp;
use crate::locks::WriterLock;
use crate::timing::MOVE_TIMEOUT;

/// How many files are read at the same time. More would compete with the writers of the home for the disk, and each one may hold a
/// line of maximal length in memory.
const WORKERS: usize = 2;

/// The progress of a diagnosis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DiagnosisProgress {
    /// How many files were read.
    pub done: usize,
    /// How many files are to be read.
    pub total: usize,
}

/// What a diagnosis has read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CheckedTotals {
    /// The number of rollout files.
    pub files: u64,
    /// The number of their (decompressed) bytes, as far as they can be read.
    pub bytes: u64,
    /// The number of their intact lines.
    pub lines: u64,
}

/// The result of a diagnosis.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Diagnosis {
    /// The findings, by path and position.
    pub findings: Vec<Finding>,
    /// How many findings were left out, of files that consist of damage.
    pub omitted: u64,
    /// What was read.
    pub checked: CheckedTotals,
    /// The references to segments.
    pub references: SegmentReferences,
}

/// Checks the rollout files of a home, or those of some threads, and everything that belongs to them.
///
/// It changes nothing and holds no lock. Its memory is bounded by the longest line and the number of findings. `progress` is called
/// after each file, by the thread that read the file.
///
/// # Errors
/// If this process lacks memory or open files. A file or directory that cannot be read is a finding.
pub fn diagnose(
    home: &RolloutHome,
    threads: Option<&HashSet<ThreadId>>,
    progress: &(dyn Fn(DiagnosisProgress) + Sync),
) -> Result<Diagnosis> {
    let cached_home = CachedHome::new(home.clone());
    let mut files = cached_home.files()?;
    let is_wanted = |thread_id: ThreadId| threads.is_none_or(|threads| threads.contains(&thread_id));

    // First the content of each file.
    let mut examined = check_files(&wanted_files(&files, &is_wanted), progress);
    recheck_changed_files(&cached_home, &mut files, &mut examined)?;

    // Then what files say about each other. The references of the whole home are needed, whatever threads are wanted: a repair
    // must not move a line to which any other file refers.
    let references = collect_references(&cached_home, &mut files, &examined)?;
    let mut diagnosis = Diagnosis { references, ..Diagnosis::default() };
    let mut found = check_bases(&files, &examined);
    if found.iter().any(|finding| finding.kind == FindingKind::MissingBase) {
        // A base is missing if two scans do not find it.
        let again = check_bases(cached_home.files()?.as_ref(), &examined);
        found.retain(|finding| finding.kind != FindingKind::MissingBase || again.contains(finding));
    }
    for one in &mut examined {
        diagnosis.checked.files += 1;
        diagnosis.checked.bytes += one.bytes;
        diagnosis.checked.lines += one.lines;
        diagnosis.omitted += one.omitted;
        found.append(&mut one.findings);
    }
    found.extend(find_lasting_duplicates(&cached_home, &files, &is_wanted)?);
    found.extend(check_diverged(&files, &diagnosis.references, &is_wanted));

    // Last what is in the home beside the logs.
    found.extend(HomeInspection::new(&cached_home, &is_wanted, threads.is_none()).run()?);
    if threads.is_none() {
        found.extend(find_strays(&cached_home)?);
        #[cfg(target_os = "linux")]
        found.extend(find_network_file_systems(home));
    }
    found.retain(|finding| !is_being_written(home, finding));
    found.sort_by(|a, b| {
        let position = |finding: &Finding| finding.range.as_ref().map(|range| range.start);
        (&a.path, position(a), a.kind).cmp(&(&b.path, position(b), b.kind))
    });
    diagnosis.findings = found;
    Ok(diagnosis)
}

/// A file to check.
struct FileToCheck {
    file: RolloutFile,
    /// Whether the file counts, and is not shadowed by another file of the same segment.
    counts: bool,
}

/// Returns every file of the wanted threads, by path.
fn wanted_files(files: &HomeFiles, is_wanted: &dyn Fn(ThreadId) -> bool) -> Vec<FileToCheck> {
    let mut found = Vec::new();
    for (thread_id, segments) in files.threads().filter(|(thread_id, _)| is_wanted(*thread_id)) {
        // `all_files` returns the files that count first.
        let all = files.all_files(thread_id).cloned().enumerate();
        found.extend(all.map(|(index, file)| FileToCheck { file, counts: index < segments.len() }));
    }
    found.sort_by(|a, b| a.file.path.cmp(&b.file.path));
    found
}

/// Checks files in parallel.
fn check_files(files: &[FileToCheck], progress: &(dyn Fn(DiagnosisProgress) + Sync)) -> Vec<ExaminedFile> {
    let next = AtomicUsize::new(0);
    let done = AtomicUsize::new(0);
    let examined = Mutex::new(Vec::with_capacity(files.len()));
    let work = || {
        while let Some(FileToCheck { file, counts }) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            let one = check_file(file, *counts);
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

/// Checks files again that other processes moved before they were read completely, or whose writer ended meanwhile. Forgets the
/// files that no longer exist.
fn recheck_changed_files(
    cached_home: &CachedHome,
    files: &mut Arc<HomeFiles>,
    examined: &mut Vec<ExaminedFile>,
) -> Result<()> {
    for pause in Backoff::new(MOVE_TIMEOUT) {
        let (stale, mut settled): (Vec<ExaminedFile>, Vec<ExaminedFile>) =
            examined.drain(..).partition(|one| is_stale(cached_home.home(), one));
        if stale.is_empty() {
            *examined = settled;
            break;
        }
        // The same segment, at its present path. A segment without one was deleted, and is forgotten.
        std::thread::sleep(pause);
        *files = cached_home.files()?;
        let now: HashMap<PathBuf, RolloutFile> = stale
            .iter()
            .filter_map(|one| {
                let mut segments = files.segments(one.file.name.thread_id).iter();
                segments.find(|file| file.name.segment_id() == one.file.name.segment_id())
            })
            .map(|file| (file.path.clone(), file.clone()))
            .collect();
        // A file that was found at two paths while it moved is checked once.
        settled.retain(|one| !now.contains_key(&one.file.path));
        settled.extend(now.values().map(|file| check_file(file, true)));
        *examined = settled;
    }
    Ok(())
}

/// Returns whether a file was not at the path where it was found, or its writer ended while it was read.
fn is_stale(home: &RolloutHome, one: &ExaminedFile) -> bool {
    let has_open_end =
        one.findings.iter().any(|finding| matches!(finding.kind, FindingKind::Torn | FindingKind::Unsealed));
    let is_held = || WriterLock::is_held(home, one.file.name.thread_id);
    // While the writer holds its lock, `is_being_written` drops the finding. After the writer ended, the end of the file counts
    // only if the file did not change since it was read.
    one.is_gone
        || has_open_end && !is_held() && FileStamp::read_by_status_change(&one.file.path) != one.stamp_before_read
}

/// Returns whether a finding is the work of a live writer: the end of a file that it writes, or the name of a thread whose file it
/// has not created yet.
fn is_being_written(home: &RolloutHome, finding: &Finding) -> bool {
    matches!(finding.kind, FindingKind::Torn | FindingKind::Unsealed | FindingKind::Empty | FindingKind::OrphanName)
        && finding.thread_id.is_some_and(|thread_id| WriterLock::is_held(home, thread_id))
}
