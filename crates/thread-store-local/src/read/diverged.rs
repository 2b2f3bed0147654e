//! Diverged histories of a thread.

use std::collections::HashMap;

use selvedge_protocol::{SegmentId, ThreadId};
use selvedge_rollout::{DivergedSegment, HomeFiles, RolloutError, read_head};
use selvedge_thread_store::Result;

use crate::error::store_error;
use crate::store_core::StoreCore;

impl StoreCore {
    pub(crate) fn diverged(&self, thread_id: ThreadId) -> Result<Vec<DivergedSegment>> {
        let files = self.files()?;
        // The heads of the whole home are read only if a segment seems to be diverged, which is rare.
        let mut references: Option<HashMap<SegmentId, u64>> = None;
        let referenced_end = |segment_id| {
            let known = match &mut references {
                Some(known) => known,
                None => references.insert(read_references(&files)?),
            };
            Ok(known.get(&segment_id).copied().unwrap_or(0))
        };
        DivergedSegment::find(&files, thread_id, referenced_end).map_err(store_error)
    }
}

/// Returns the highest byte of each segment to which another one refers.
fn read_references(files: &HomeFiles) -> Result<HashMap<SegmentId, u64>, RolloutError> {
    let mut references = HashMap::new();
    for file in files.threads().flat_map(|(_, segments)| segments) {
        // A head that cannot be read refers to nothing: no reader can follow it.
        let base = read_head(file).ok().flatten().and_then(|head| head.history_base);
        if let Some((segment_id, end)) = base.and_then(|base| base.thread_id.zip(base.end_byte_offset)) {
            let known: &mut u64 = references.entry(segment_id).or_default();
            *known = end.max(*known);
        }
    }
    Ok(references)
}
