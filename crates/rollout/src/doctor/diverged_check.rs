//! The check for diverged histories.

use selvedge_protocol::ThreadId;

use super::finding::{Finding, FindingKind};
use super::references::SegmentReferences;
use crate::history::DivergedSegment;
use crate::home::HomeFiles;

/// Finds the diverged segments of the wanted threads.
pub(super) fn check_diverged(
    files: &HomeFiles,
    references: &SegmentReferences,
    is_wanted: &dyn Fn(ThreadId) -> bool,
) -> Vec<Finding> {
    let mut found = Vec::new();
    for (thread_id, _) in files.threads().filter(|(thread_id, _)| is_wanted(*thread_id)) {
        // A file that cannot be read is a finding of its own.
        let diverged = DivergedSegment::find(files, thread_id, |segment_id| Ok(references.end_of(segment_id)));
        found.extend(diverged.unwrap_or_default().iter().map(|segment| to_finding(thread_id, segment)));
    }
    found
}

fn to_finding(thread_id: ThreadId, segment: &DivergedSegment) -> Finding {
    let DivergedSegment { lines, turns, abandoned_at, .. } = segment;
    let what = format!("{turns} {} in {lines} lines", if *turns == 1 { "turn" } else { "turns" });
    let detail = match abandoned_at {
        Some(at) => format!(
            "{what} were written here after the thread was continued in another segment at {at}, by a program that did \
             not notice; no history shows them"
        ),
        None => format!(
            "{what} are in no history: the thread was continued from another segment, by a program that did not know \
             this one"
        ),
    };
    Finding::new(FindingKind::DivergedHistory, &segment.file.path, detail).of(thread_id)
}
