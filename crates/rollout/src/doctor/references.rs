//! References to segments: up to which byte other segments are based on them.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use selvedge_protocol::{HistoryBase, SegmentId};

use super::file_check::ExaminedFile;
use crate::backoff::Backoff;
use crate::error::Result;
use crate::history::read_head;
use crate::home::{CachedHome, HomeFiles};
use crate::timing::MOVE_TIMEOUT;

/// For each segment of a home, the highest byte to which a reference of another segment leads.
#[derive(Clone, Debug, Default)]
pub struct SegmentReferences {
    ends: HashMap<SegmentId, u64>,
    /// Whether a directory could not be read, in which there may be further references.
    is_incomplete: bool,
}

impl SegmentReferences {
    fn add(&mut self, base: &HistoryBase) {
        if let (Some(segment_id), Some(end)) = (base.thread_id, base.end_byte_offset) {
            let known = self.ends.entry(segment_id).or_default();
            *known = end.max(*known);
        }
    }

    /// Returns the byte before which no line of a segment may move; 0 if no segment refers to it. If not all references are known,
    /// no line may move.
    #[must_use]
    pub fn end_of(&self, segment_id: SegmentId) -> u64 {
        if self.is_incomplete { u64::MAX } else { self.ends.get(&segment_id).copied().unwrap_or(0) }
    }
}

/// Collects the references of all segments of a home. `examined` are the files that were read completely; of all others only the
/// head is read. If another process moves a file meanwhile, the home is scanned again, and `files` becomes the new set.
pub(super) fn collect_references(
    cached_home: &CachedHome,
    files: &mut Arc<HomeFiles>,
    examined: &[ExaminedFile],
) -> Result<SegmentReferences> {
    let known: HashSet<&Path> = examined.iter().map(|one| one.file.path.as_path()).collect();
    let mut references = SegmentReferences::default();
    examined.iter().filter_map(|one| one.base.as_ref()).for_each(|base| references.add(base));
    // To read a head twice adds the same reference, which changes nothing.
    for pause in Backoff::new(MOVE_TIMEOUT) {
        let all = files.threads().flat_map(|(thread_id, _)| files.all_files(thread_id));
        let mut is_any_gone = false;
        for file in all.filter(|file| !known.contains(file.path.as_path())) {
            match read_head(file) {
                Ok(head) => head.and_then(|head| head.history_base).iter().for_each(|base| references.add(base)),
                // A head that cannot be read refers to nothing, because no reader can follow it.
                Err(error) => is_any_gone |= error.is_gone(),
            }
        }
        if !is_any_gone {
            break;
        }
        std::thread::sleep(pause);
        *files = cached_home.files()?;
    }
    references.is_incomplete = files.unreadable().next().is_some();
    Ok(references)
}
