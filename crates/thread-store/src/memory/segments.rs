//! Segments as bytes: reading them, and copying them in.

use std::collections::HashSet;
use std::ops::Range;

use selvedge_protocol::{SegmentId, ThreadId};

use super::threads::MemoryState;
use crate::implement::{MAX_SEGMENT_READ, Segment, compare_part};
use crate::{Result, SegmentInfo, SegmentPart, StoreError};

impl MemoryState {
    pub(super) fn list_segments(&self, thread_id: ThreadId) -> Result<Vec<SegmentInfo>> {
        let current: HashSet<SegmentId> = self.chain(thread_id)?.segments().map(|segment| segment.id).collect();
        let own = self.segment_ids(thread_id)?.iter().filter_map(|id| self.segment(*id));
        let infos = own.map(|segment| SegmentInfo {
            thread_id,
            id: segment.id,
            created: segment.created,
            file_name: segment.file_name.clone(),
            base: segment.base(),
            bytes: segment.size(),
            is_current: current.contains(&segment.id),
        });
        Ok(infos.collect())
    }

    pub(super) fn read_segment(
        &self,
        thread_id: ThreadId,
        segment_id: SegmentId,
        at: u64,
        max_bytes: usize,
    ) -> Result<Vec<u8>> {
        let segment = self.segment(segment_id).filter(|segment| segment.thread_id == thread_id);
        let bytes = segment.ok_or(StoreError::not_found(thread_id))?.bytes();
        Ok(slice(bytes, at..at.saturating_add(max_bytes.min(MAX_SEGMENT_READ) as u64)))
    }

    pub(super) fn import_segment(&mut self, part: SegmentPart<'_>) -> Result<u64> {
        let SegmentInfo { thread_id, id, .. } = *part.info;
        if self.segment(id).is_some() {
            return self.extend_visible(part);
        }
        // The bytes are kept aside until the last part, so no reader sees a segment without its end.
        let known = self.imports_mut().entry(id).or_default();
        let rest = compare_part(&part, known.len() as u64, |range| Ok(slice(known, range)))?;
        known.extend_from_slice(rest);
        let len = known.len() as u64;
        if part.is_last {
            if self.thread(thread_id).is_ok() {
                self.check_cold(thread_id, None)?;
            } else {
                // The id of a thread contains its creation time. A segment may be a later one.
                let created = thread_id.made_at().unwrap_or(part.info.created);
                self.insert_thread(thread_id, created);
            }
            let bytes = self.imports_mut().remove(&id).unwrap_or_default();
            let mut segment = Segment::new(id, thread_id, part.info.created);
            segment.file_name.clone_from(&part.info.file_name);
            segment.extend(&bytes);
            self.put_segment(segment)?;
            self.rederive_dependents(thread_id, id)?;
        }
        Ok(len)
    }

    /// Copies a part of a segment that is visible already.
    fn extend_visible(&mut self, part: SegmentPart<'_>) -> Result<u64> {
        let SegmentInfo { thread_id, id, .. } = *part.info;
        let segment = self.segment(id).filter(|segment| segment.thread_id == thread_id);
        let segment = segment.ok_or(StoreError::AlreadyExists { thread_id })?;
        let rest = compare_part(&part, segment.size(), |range| Ok(slice(segment.bytes(), range)))?;
        // A part without new bytes is a repetition, which must succeed even while the thread has a writer.
        if !rest.is_empty() {
            self.check_cold(thread_id, None)?;
            self.extend_segment(thread_id, id, rest)?;
            self.rederive_dependents(thread_id, id)?;
        }
        Ok(self.segment(id).map_or(0, Segment::size))
    }

    /// Derives the records of all threads again whose histories go through a segment of a thread: they may inherit
    /// lines that were just copied in.
    fn rederive_dependents(&mut self, thread_id: ThreadId, segment_id: SegmentId) -> Result<()> {
        // To find dependents, every thread's chain is followed. A copy of many threads must not do that for each of them.
        if !self.is_base(segment_id) {
            return Ok(());
        }
        self.dependents(thread_id).into_iter().try_for_each(|dependent| self.rederive(dependent))
    }
}

/// Returns the bytes of a range, as far as they exist.
fn slice(bytes: &[u8], range: Range<u64>) -> Vec<u8> {
    let index = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
    bytes[index(range.start)..index(range.end)].to_vec()
}
