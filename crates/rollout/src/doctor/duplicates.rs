//! Files that hold the same segment.

use std::collections::{HashMap, HashSet};
use std::fs::{self, Metadata};
use std::path::PathBuf;

use selvedge_protocol::{SegmentId, ThreadId};

use super::finding::{Finding, FindingKind};
use crate::error::Result;
use crate::home::{CachedHome, HomeFiles, RolloutFile};
use crate::identity::{FileIdentity, FileStamp};
use crate::locks::WriterLock;
use crate::timing::CONVERSION_GRACE;

/// Finds files that hold the segment of another file, except those that another process is moving, compressing or decompressing.
pub(super) fn find_lasting_duplicates(
    cached_home: &CachedHome,
    files: &HomeFiles,
    is_wanted: &dyn Fn(ThreadId) -> bool,
) -> Result<Vec<Finding>> {
    let mut found = find_duplicates(files);
    found.retain(|duplicate| duplicate.finding.thread_id.is_none_or(is_wanted));
    let stamps: Vec<_> = found.iter().map(DuplicateFile::stamps).collect();
    if found.is_empty() {
        return Ok(Vec::new());
    }
    // A process that converts a file holds the lock of the thread while both forms exist. So if the lock is held, such a
    // process has most likely made the two forms, and it gets time to finish.
    let may_be_converted = |duplicate: &DuplicateFile| {
        let are_two_forms = duplicate.finding.path.extension() != duplicate.other.extension();
        are_two_forms
            && duplicate.finding.thread_id.is_some_and(|thread_id| WriterLock::is_held(cached_home.home(), thread_id))
    };
    if found.iter().any(may_be_converted) {
        std::thread::sleep(CONVERSION_GRACE);
    }
    // A duplicate lasts if a second scan finds it, with the same two files.
    let again: HashSet<PathBuf> =
        find_duplicates(cached_home.files()?.as_ref()).into_iter().map(|again| again.finding.path).collect();
    let lasting = found.into_iter().zip(stamps).filter(|(duplicate, stamps)| {
        // The file that counts may have grown since, because a writer may append to it.
        let are_same = |[one, other]: [FileStamp; 2], [was, other_was]: [FileStamp; 2]| {
            one == was && other.inode == other_was.inode
        };
        let still_exist = duplicate.stamps().zip(*stamps).is_some_and(|(now, before)| are_same(now, before));
        still_exist && again.contains(&duplicate.finding.path)
    });
    Ok(lasting.map(|(duplicate, _)| duplicate.finding).collect())
}

/// A file that holds the segment of another one.
struct DuplicateFile {
    finding: Finding,
    other: PathBuf,
}

impl DuplicateFile {
    /// Returns the stamps of the two files. `None` if one of them does not exist, or both are one file that is being moved.
    fn stamps(&self) -> Option<[FileStamp; 2]> {
        let [one, other] = [fs::metadata(&self.finding.path).ok()?, fs::metadata(&self.other).ok()?];
        // One file with one name cannot be at two paths: it was moved between the two calls. With two names it is at both.
        let are_one = cfg!(unix) && FileIdentity::of(&one) == FileIdentity::of(&other) && count_links(&one) == 1;
        (!are_one).then(|| [&one, &other].map(FileStamp::by_status_change))
    }
}

/// Returns the number of names of a file.
fn count_links(metadata: &Metadata) -> u64 {
    #[cfg(unix)]
    let links = std::os::unix::fs::MetadataExt::nlink(metadata);
    #[cfg(not(unix))]
    let links = 1;
    #[cfg(not(unix))]
    let _ = metadata;
    links
}

/// Finds files that hold the segment of another file: of the same thread, or of another thread.
fn find_duplicates(files: &HomeFiles) -> Vec<DuplicateFile> {
    let mut found = Vec::new();
    let mut claims: HashMap<SegmentId, &RolloutFile> = HashMap::new();
    let mut threads: Vec<_> = files.threads().collect();
    // In a fixed order, so that each diagnosis reports the same one of two threads that claim a segment.
    threads.sort_unstable_by_key(|(thread_id, _)| *thread_id);
    for (thread_id, segments) in threads {
        for file in files.all_files(thread_id).skip(segments.len()) {
            let Some(other) = segments.iter().find(|other| other.name.segment_id() == file.name.segment_id()) else {
                continue;
            };
            let other = other.path.clone();
            let detail = format!("{} holds the same segment and counts, so this file is not read", other.display());
            let finding = Finding::new(FindingKind::Duplicate, &file.path, detail).of(thread_id);
            found.push(DuplicateFile { finding, other });
        }
        for file in segments {
            let segment_id = file.name.segment_id();
            let Some(other) = claims.insert(segment_id, file) else { continue };
            let detail = format!("{} of another thread claims the same segment {segment_id}", other.path.display());
            let finding = Finding::new(FindingKind::Duplicate, &file.path, detail).of(thread_id);
            let finding =
                finding.unrepairable("references to the segment are ambiguous; rename one of the files by hand");
            found.push(DuplicateFile { finding, other: other.path.clone() });
        }
    }
    found
}
