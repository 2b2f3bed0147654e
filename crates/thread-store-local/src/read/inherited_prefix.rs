//! Inherited prefixes: up to which byte a segment belongs to a history that continues in another segment.
//!
//! A `history_base` has an ordinal and a byte offset. If a line with the ordinal just before it ends at that byte, the offset is
//! right and nothing needs to be read. It may be wrong, for example after damage, and a compressed file cannot be checked that
//! way. Then the ordinal decides, and the segment is read.

use selvedge_history::InheritedPrefix;
use selvedge_rollout::{HistoryEntry, HistoryPart, ResolvedHistory, RolloutReader};
use selvedge_thread_store::Result;
use selvedge_thread_store::implement::{MissingBytes, SegmentPrefix};

use crate::error::store_error;

/// Finds the end of the prefix that is inherited from one segment: by its byte if that is right, else by reading the segment.
pub(crate) fn find_prefix(part: &HistoryPart) -> Result<SegmentPrefix> {
    let mut fold: InheritedPrefix = part.inherited_prefix().map_err(store_error)?;
    if let Some(byte) = part.end.and_then(|end| end.byte).filter(|_| fold.ends_at_byte()) {
        return Ok(SegmentPrefix { end: byte, missing: None });
    }
    // The fold refuses the first entry after the prefix. If it accepts all entries, the segment may be too short.
    let mut is_whole = true;
    for entry in RolloutReader::open(&part.file.path).map_err(store_error)? {
        if !fold.take(&entry.map_err(store_error)?, 0) {
            is_whole = false;
            break;
        }
    }
    let is_short = is_whole && fold.is_short(0);
    let lacking = part.end.and_then(|end| end.byte).and_then(|byte| byte.checked_sub(fold.end_byte()));
    let missing = is_short.then(|| MissingBytes {
        bytes: lacking,
        reason: format!("{} ends before the part of it that this thread builds on", part.file.path.display()),
    });
    Ok(SegmentPrefix { end: fold.end_byte(), missing })
}

/// Returns the byte at which the prefix of each part ends. The last part is the thread's own newest segment and counts as a
/// whole.
pub(crate) fn prefix_ends(resolved: &ResolvedHistory) -> Result<Vec<u64>> {
    let last = resolved.parts.len() - 1;
    let mut ends = vec![0; resolved.parts.len()];
    ends[last] = u64::MAX;
    // A history of one part inherits nothing, and is not read.
    if last > 0 {
        for entry in resolved.reader() {
            match entry.map_err(store_error)? {
                HistoryEntry::Entry { part, entry } if part < last => ends[part] = entry.range().end,
                _ => {}
            }
        }
    }
    Ok(ends)
}
