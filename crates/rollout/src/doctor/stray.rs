//! Rollouts in places where no program looks for them: copies that a synchronizing program made of a conflict, and files that a person
//! or another program put elsewhere.
//!
//! What matters is whether such a file holds lines that are nowhere else. A line is compared by its text. Heads do not count, because
//! they say nothing that anyone said or did, and an import rewrites them.

use std::collections::HashSet;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};

use selvedge_protocol::log::Entry;
use selvedge_protocol::{LineFormat, ThreadId};

use super::finding::{Finding, FindingKind};
use crate::error::Result;
use crate::files::side_files::temporary_target;
use crate::home::{CachedHome, HomeFiles, RolloutFileName, RolloutHome, SESSION_LEVELS};
use crate::reader::RolloutReader;

/// How deep directories are searched. The layout has three levels.
const MAX_DEPTH: usize = 12;

/// How many directory entries are searched. A foreign folder can hold any number.
const MAX_ENTRIES: usize = 200_000;

/// In how many entries a head is searched for.
const MAX_ENTRIES_TO_HEAD: usize = 8;

/// How many lines of a file are in no rollout of a home.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StrayLines {
    /// The number of intact lines, heads not counted.
    pub lines: u64,
    /// The number of those whose text is on no line of the home.
    pub new_lines: u64,
}

impl StrayLines {
    /// Compares a file with all rollouts of a home that can be read.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn compare(files: &HomeFiles, path: &Path) -> Result<Self> {
        let mut comparison = LineComparison::default();
        let stray = comparison.read_stray(path)?;
        comparison.remove_known(files);
        Ok(comparison.count(&stray))
    }
}

/// A comparison of stray files with a home. It holds 16 bytes for each line of the stray files.
#[derive(Default)]
struct LineComparison {
    hashers: [RandomState; 2],
    /// The lines of stray files that were not found in the home.
    missing: HashSet<LineFingerprint>,
}

/// Two independent hashes of the text of a line, so that two texts have the same one only by an accident that does not happen.
type LineFingerprint = [u64; 2];

impl LineComparison {
    fn fingerprint(&self, text: &str) -> LineFingerprint {
        [self.hashers[0].hash_one(text), self.hashers[1].hash_one(text)]
    }

    /// Reads a stray file, and returns its lines.
    fn read_stray(&mut self, path: &Path) -> Result<Vec<LineFingerprint>> {
        let mut lines = Vec::new();
        for entry in RolloutReader::open(path)? {
            if let Entry::Line(record) = entry?
                && record.line.kind() != "session_meta"
            {
                lines.push(self.fingerprint(record.line.text()));
            }
        }
        self.missing.extend(&lines);
        Ok(lines)
    }

    /// Removes the lines that a rollout of the home holds. Files that cannot be read hold nothing that counts.
    fn remove_known(&mut self, files: &HomeFiles) {
        for file in files.threads().flat_map(|(thread_id, _)| files.all_files(thread_id)) {
            if self.missing.is_empty() {
                return;
            }
            let Ok(reader) = RolloutReader::open(&file.path) else { continue };
            for entry in reader.map_while(Result::ok) {
                if let Entry::Line(record) = entry {
                    let fingerprint = self.fingerprint(record.line.text());
                    self.missing.remove(&fingerprint);
                }
            }
        }
    }

    fn count(&self, lines: &[LineFingerprint]) -> StrayLines {
        let new_lines = lines.iter().filter(|line| self.missing.contains(*line)).count() as u64;
        StrayLines { lines: lines.len() as u64, new_lines }
    }
}

/// Finds the stray rollouts of a home, and what they hold.
pub(super) fn find_strays(cached_home: &CachedHome) -> Result<Vec<Finding>> {
    let files = cached_home.files()?;
    let mut comparison = LineComparison::default();
    let mut strays = Vec::new();
    for path in candidates(cached_home.home(), &files) {
        // A file that cannot be read is none of the home, so that nothing has to be said about it.
        if let Ok(Some(thread_id)) = thread_of(&path)
            && let Ok(lines) = comparison.read_stray(&path)
            && !lines.is_empty()
        {
            strays.push((path, thread_id, lines));
        }
    }
    if strays.is_empty() {
        return Ok(Vec::new());
    }
    comparison.remove_known(&files);
    let hidden = if files.unreadable().next().is_some() { " that can be read" } else { "" };
    let findings = strays.into_iter().map(|(path, thread_id, lines)| {
        let StrayLines { lines, new_lines } = comparison.count(&lines);
        let (kind, detail) = if new_lines > 0 {
            let detail = format!(
                "no command reads it, because a rollout has another place or name; {new_lines} of its {lines} lines are in no \
                 rollout of the home{hidden}"
            );
            (FindingKind::StrayRollout, detail)
        } else {
            (FindingKind::StrayCopy, format!("all of its {lines} lines are in rollouts of the home"))
        };
        Finding { thread_id: thread_id.known, ..Finding::new(kind, path, detail) }
    });
    Ok(findings.collect())
}

/// The thread that a stray file is of.
struct StrayThread {
    /// `None` if its head has no id that can be read.
    known: Option<ThreadId>,
}

/// Returns the files whose names are similar to those of rollouts, and that a scan of the home does not find.
fn candidates(home: &RolloutHome, files: &HomeFiles) -> Vec<PathBuf> {
    let known: HashSet<&Path> =
        files.threads().flat_map(|(thread_id, _)| files.all_files(thread_id)).map(|file| file.path.as_path()).collect();
    let mut found = Vec::new();
    let mut budget = MAX_ENTRIES;
    for dir in [home.sessions_dir(), home.archived_dir()] {
        if home.refuse_links(&dir).is_ok() {
            collect(&dir, MAX_DEPTH, &mut budget, &mut found);
        }
    }
    // In the home itself there are many files of other programs.
    let mut beside = Vec::new();
    collect(home.root(), 0, &mut budget, &mut beside);
    found.extend(beside.into_iter().filter(|path| name_of(path).starts_with("rollout-")));
    found.retain(|path| !known.contains(path.as_path()) && !is_in_layout(home, path) && may_be_stray(&name_of(path)));
    found.sort();
    found
}

/// Returns whether a scan finds a file with this path. A scan may have missed it only because another process moved it meanwhile.
fn is_in_layout(home: &RolloutHome, path: &Path) -> bool {
    let Some(dir) = path.parent() else { return false };
    let is_number =
        |part: std::path::Component<'_>| part.as_os_str().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit());
    let is_day = dir
        .strip_prefix(home.sessions_dir())
        .is_ok_and(|below| below.components().count() == SESSION_LEVELS && below.components().all(is_number));
    (is_day || dir == home.archived_dir()) && RolloutFileName::parse(&name_of(path)).is_some()
}

fn collect(dir: &Path, depth: usize, budget: &mut usize, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if *budget == 0 {
            return;
        }
        *budget -= 1;
        match entry.file_type() {
            Ok(file_type) if file_type.is_file() => found.push(entry.path()),
            // Links are not followed.
            Ok(file_type) if file_type.is_dir() && depth > 0 => collect(&entry.path(), depth - 1, budget, found),
            _ => {}
        }
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Returns whether a name can be that of a rollout or of a copy, and is none that this crate gives to files of its own.
fn may_be_stray(name: &str) -> bool {
    let is_similar = name.starts_with("rollout") || name.contains(".jsonl");
    let is_partial = RolloutHome::is_partial_import(name);
    is_similar
        && !is_partial
        && temporary_target(name).is_none()
        && !name.contains(".jsonl.damaged-")
        && !name.contains(".zst.damaged-")
}

/// Returns the thread of a file if the file is a rollout: if it begins with a head, or is named like a rollout and has its lines.
fn thread_of(path: &Path) -> Result<Option<StrayThread>> {
    // A large file of another program would otherwise be searched for a newline.
    if !begins_like_a_rollout(path).unwrap_or(false) {
        return Ok(None);
    }
    let name = name_of(path);
    let mut has_line = false;
    for entry in RolloutReader::open(path)?.take(MAX_ENTRIES_TO_HEAD) {
        let Entry::Line(record) = entry? else { continue };
        if record.line.kind() == "session_meta" {
            let known = match record.line.item() {
                selvedge_protocol::RolloutItem::SessionMeta(head) => head.id,
                _ => None,
            };
            return Ok(Some(StrayThread { known }));
        }
        has_line |= record.line.format() == LineFormat::Envelope && record.line.timestamp().is_some();
    }
    let known = RolloutFileName::parse(&name).map(|name| name.thread_id);
    Ok((has_line && name.starts_with("rollout")).then_some(StrayThread { known }))
}

/// Returns whether the first byte that is no white space begins a JSON object or a zstd frame.
fn begins_like_a_rollout(path: &Path) -> io::Result<bool> {
    use std::io::Read;
    let mut start = [0; 64];
    let len = fs::File::open(path)?.read(&mut start)?;
    let start = start[..len].strip_prefix(b"\xef\xbb\xbf").unwrap_or(&start[..len]);
    Ok(start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) || start.trim_ascii_start().starts_with(b"{"))
}
