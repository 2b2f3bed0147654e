//! Checks of bases: whether the segments exist on which others are based, and end where the references name.

use std::collections::{HashMap, HashSet, hash_map};

use selvedge_protocol::log::{DamageKind, Entry};
use selvedge_protocol::{HistoryBase, SegmentId};

use super::file_check::ExaminedFile;
use super::finding::{Finding, FindingKind};
use crate::home::{HomeFiles, RolloutFile};
use crate::reverse::ReverseReader;

/// Checks the bases of files.
pub(super) fn check_bases(files: &HomeFiles, examined: &[ExaminedFile]) -> Vec<Finding> {
    // Shadowed files are left out everywhere here, because no reader uses their references.
    let bases: HashMap<SegmentId, SegmentId> = examined
        .iter()
        .filter(|one| one.counts)
        .filter_map(|one| Some((one.file.name.segment_id(), one.base.as_ref()?.thread_id?)))
        .collect();
    let in_circles = find_circles(&bases);
    let sizes: HashMap<SegmentId, u64> =
        examined.iter().filter(|one| one.counts).map(|one| (one.file.name.segment_id(), one.bytes)).collect();
    let is_built_on: HashSet<SegmentId> = bases.values().copied().collect();
    let mut found = Vec::new();
    for one in examined.iter().filter(|one| one.counts) {
        let Some(base) = &one.base else { continue };
        let Some(segment_id) = base.thread_id else { continue };
        let finding = match files.segment(segment_id) {
            None => {
                let is_in_use = is_newest(files, &one.file) || is_built_on.contains(&one.file.name.segment_id());
                let kind = if is_in_use { FindingKind::MissingBase } else { FindingKind::AbandonedWithoutBase };
                Some((kind, format!("its history begins in segment {segment_id}, which has no file in this home")))
            }
            // A circle is reported for each of its segments, and the position in the base does not matter then.
            Some(_) if in_circles.contains(&one.file.name.segment_id()) => Some((
                FindingKind::BaseCycle,
                format!("its history begins in segment {segment_id}, whose history begins in this one"),
            )),
            Some(file) => check_reference(file, base, sizes.get(&segment_id).copied()),
        };
        if let Some((kind, detail)) = finding {
            found.push(
                Finding::new(kind, &one.file.path, detail).of(one.file.name.thread_id).at(one.head_range.clone(), 1),
            );
        }
    }
    found
}

/// Returns whether a file is the newest segment of its thread, through which the thread's history goes.
fn is_newest(files: &HomeFiles, file: &RolloutFile) -> bool {
    files.segments(file.name.thread_id).last().is_none_or(|newest| newest.name.segment_id() == file.name.segment_id())
}

/// Returns the segments whose bases lead back to themselves.
///
/// Each segment has at most one base, so the bases form paths. A walk follows the path from each segment and marks every segment
/// with the number of the walk. It stops at a segment that is marked:
///
/// ```text
/// walk 0:  A → B → C → D → B       D leads to B, marked by this walk: a circle B C D
/// walk 1:  E → A                   A is marked by an earlier walk: no new circle
/// ```
///
/// So each base is followed once by a walk, and once more if it is in a circle, however long the chains are.
fn find_circles(bases: &HashMap<SegmentId, SegmentId>) -> HashSet<SegmentId> {
    let mut found = HashSet::new();
    let mut walks = HashMap::new();
    for (walk, start) in bases.keys().enumerate() {
        let mut at = *start;
        while let (hash_map::Entry::Vacant(unmarked), Some(next)) = (walks.entry(at), bases.get(&at)) {
            unmarked.insert(walk);
            at = *next;
        }
        if walks.get(&at) == Some(&walk) {
            while let (true, Some(next)) = (found.insert(at), bases.get(&at)) {
                at = *next;
            }
        }
    }
    found
}

/// Checks whether a base ends where a reference to it names. `size` is the size of the base, if it was read.
fn check_reference(file: &RolloutFile, base: &HistoryBase, size: Option<u64>) -> Option<(FindingKind, String)> {
    let end = base.end_byte_offset?;
    let path = file.path.display();
    // Without the size, that of a plain file is known from outside. The decompressed size of another file is not.
    let size =
        size.or_else(|| std::fs::metadata(&file.path).ok().filter(|_| !file.name.compressed).map(|it| it.len()))?;
    if size < end {
        let detail = format!("its history begins with {end} bytes of {path}, which has only {size}: the rest is lost");
        return Some((FindingKind::BaseTooShort, detail));
    }
    // A compressed file cannot be read backwards, and is not read to its end for this check alone.
    if file.name.compressed || end == 0 {
        return None;
    }
    let last = ReverseReader::open_before(&file.path, end).ok()?.next()?.ok()?;
    let ordinal = base.end_ordinal_exclusive;
    let fits = match &last {
        Entry::Line(record) => {
            let next = record.line.ordinal().and_then(|last| last.checked_add(1));
            record.range.end == end && (ordinal.is_none() || next.is_none() || next == ordinal)
        }
        // Damage that ends at the byte with a newline: the line is lost, but no byte was moved.
        Entry::Damage(damage) => damage.range.end == end && damage.kind != DamageKind::Torn,
    };
    let detail = || {
        let ordinal = ordinal.map(|ordinal| format!(" before ordinal {ordinal}")).unwrap_or_default();
        format!(
            "its history continues {path} from byte {end}{ordinal}, where no such line ends: bytes were moved or replaced"
        )
    };
    (!fits).then(|| (FindingKind::BaseDiffers, detail()))
}
