//! What segments build on, and whether it is there.

use std::collections::{HashMap, HashSet, hash_map};

use selvedge_protocol::log::{DamageKind, Entry};
use selvedge_protocol::{HistoryBase, SegmentId};

use super::file::Examined;
use super::finding::{Finding, FindingKind};
use crate::layout::{HomeFiles, RolloutFile};
use crate::reverse::ReverseReader;

/// Up to which byte the segments of a home are built on by others.
#[derive(Clone, Debug, Default)]
pub struct SegmentReferences(HashMap<SegmentId, u64>);

impl SegmentReferences {
    pub(super) fn add(&mut self, base: &HistoryBase) {
        if let (Some(segment_id), Some(end)) = (base.thread_id, base.end_byte_offset) {
            let known = self.0.entry(segment_id).or_default();
            *known = end.max(*known);
        }
    }

    /// The byte up to which the lines of a segment have to stay where they are; 0 when nobody refers to it.
    #[must_use]
    pub fn end_of(&self, segment_id: SegmentId) -> u64 {
        self.0.get(&segment_id).copied().unwrap_or(0)
    }
}

/// What is wrong with the bases of files.
pub(super) fn examine(files: &HomeFiles, examined: &[Examined]) -> Vec<Finding> {
    let bases: HashMap<SegmentId, SegmentId> = examined
        .iter()
        .filter(|one| one.counts)
        .filter_map(|one| Some((one.file.name.segment_id(), one.base.as_ref()?.thread_id?)))
        .collect();
    let circles = circles(&bases);
    let sizes: HashMap<SegmentId, u64> =
        examined.iter().filter(|one| one.counts).map(|one| (one.file.name.segment_id(), one.bytes)).collect();
    let mut found = Vec::new();
    for one in examined.iter().filter(|one| one.counts) {
        let Some(base) = &one.base else { continue };
        let Some(segment_id) = base.thread_id else { continue };
        let finding = match files.segment(segment_id) {
            None => Some((
                FindingKind::MissingBase,
                format!("its history begins in segment {segment_id}, of which there is no file in this home"),
            )),
            Some(_) if circles.contains(&one.file.name.segment_id()) => Some((
                FindingKind::BaseCycle,
                format!("its history begins in segment {segment_id}, whose history begins in this one"),
            )),
            Some(file) => share(file, base, sizes.get(&segment_id).copied()),
        };
        if let Some((kind, detail)) = finding {
            found.push(
                Finding::new(kind, &one.file.path, detail).of(one.file.name.thread_id).at(one.head_range.clone(), 1),
            );
        }
    }
    found
}

/// The segments whose bases lead back to them. Each base is followed once, however long the chains are.
fn circles(bases: &HashMap<SegmentId, SegmentId>) -> HashSet<SegmentId> {
    let mut found = HashSet::new();
    // In which walk a segment was come by first.
    let mut walks = HashMap::new();
    for (walk, start) in bases.keys().enumerate() {
        let mut at = *start;
        while let (hash_map::Entry::Vacant(unseen), Some(next)) = (walks.entry(at), bases.get(&at)) {
            unseen.insert(walk);
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

/// What is wrong with the part of a file that another one builds on.
fn share(file: &RolloutFile, base: &HistoryBase, size: Option<u64>) -> Option<(FindingKind, String)> {
    let end = base.end_byte_offset?;
    let path = file.path.display();
    let size =
        size.or_else(|| std::fs::metadata(&file.path).ok().filter(|_| !file.name.compressed).map(|it| it.len()))?;
    if size < end {
        let detail =
            format!("its history begins with {end} bytes of {path}, which has {size}: what was behind is lost");
        return Some((FindingKind::BaseTooShort, detail));
    }
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
        // The line that stood there is damaged, and its place is not.
        Entry::Damage(damage) => damage.range.end == end && damage.kind != DamageKind::Torn,
    };
    let detail = || {
        let ordinal = ordinal.map(|ordinal| format!(" before ordinal {ordinal}")).unwrap_or_default();
        format!(
            "its history ends in {path} at byte {end}{ordinal}, where no such line ends: bytes were moved or replaced"
        )
    };
    (!fits).then(|| (FindingKind::BaseDiffers, detail()))
}
