//! Segments as bytes, for copies of a thread.

use std::collections::HashSet;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

use selvedge_protocol::{SegmentId, ThreadId};
use selvedge_rollout::{RolloutFile, open_bytes, read_head};
use selvedge_thread_store::implement::MAX_SEGMENT_READ;
use selvedge_thread_store::{Result, SegmentInfo, StoreError};

use super::raw_entries::content_len;
use crate::error::store_error;
use crate::store_core::{FoundHistory, StoreCore};

impl StoreCore {
    pub(crate) fn list_segments(&self, thread_id: ThreadId) -> Result<Vec<SegmentInfo>> {
        let FoundHistory { files, resolved } = self.resolve(self.files()?, thread_id)?;
        let current: HashSet<SegmentId> = resolved.parts.iter().map(|part| part.file.name.segment_id()).collect();
        let info = |file: &RolloutFile| {
            let head = read_head(file).map_err(store_error)?;
            let created = head.as_ref().and_then(|head| head.timestamp).unwrap_or_else(|| file.name.created_utc());
            Ok(SegmentInfo {
                thread_id,
                id: file.name.segment_id(),
                created,
                file_name: Some(file.name.plain().to_string()),
                base: head.and_then(|head| head.history_base),
                bytes: content_len(file)?,
                is_current: current.contains(&file.name.segment_id()),
            })
        };
        files.segments(thread_id).iter().map(info).collect()
    }

    pub(crate) fn read_segment(
        &self,
        thread_id: ThreadId,
        segment_id: SegmentId,
        at: u64,
        max_bytes: usize,
    ) -> Result<Vec<u8>> {
        let files = self.files()?;
        let file = files.segments(thread_id).iter().find(|file| file.name.segment_id() == segment_id);
        let file = file.ok_or(StoreError::not_found(thread_id))?;
        let most = max_bytes.min(MAX_SEGMENT_READ);
        // Offsets count decompressed bytes, so a copy that began with a plain file continues with its compressed form.
        if file.name.compressed {
            return self.decompression_cursor.read(&file.path, at, most);
        }
        read_range(&file.path, at..at.saturating_add(most as u64))
    }
}

/// Reads bytes of a segment. Unlike [`read_at`](super::raw_entries::read_at) it reports a damaged frame as an error: a copy must
/// not pass for complete.
pub(crate) fn read_range(path: &Path, range: Range<u64>) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let (mut source, _) = open_bytes(path, range).map_err(store_error)?;
    source.read_to_end(&mut bytes).map_err(|error| StoreError::backend("cannot read a segment", error))?;
    Ok(bytes)
}
