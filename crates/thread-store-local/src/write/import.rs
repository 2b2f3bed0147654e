//! Importing a segment part by part.
//!
//! Parts collect in a hidden file beside the final path, so that no reader sees half a segment. With the last part the hidden
//! file is synced and gets its real name: the step by which the segment appears. A crash before it leaves the hidden file, and
//! the next call continues with what is in it.

use std::fs;
use std::io;

use selvedge_protocol::SegmentId;
use selvedge_rollout::{ReferenceLock, RolloutFile, RolloutFileName, RolloutHome};
use selvedge_thread_store::implement::compare_part;
use selvedge_thread_store::{Result, SegmentInfo, SegmentPart, StoreError};

use crate::error::store_error;
use crate::read::raw_entries::content_len;
use crate::read::segments::read_range;
use crate::store_core::StoreCore;

impl StoreCore {
    /// Adds a part of a segment. Returns how many bytes of the segment the store has now.
    pub(crate) fn import_segment(&self, info: &SegmentInfo, part: SegmentPart<'_>) -> Result<u64> {
        let SegmentInfo { thread_id, id, .. } = *info;
        let files = self.files()?;
        if let Some(file) = files.segment(id) {
            if file.name.thread_id != thread_id {
                return Err(StoreError::AlreadyExists { thread_id });
            }
            return self.extend_visible(file, part);
        }
        let path = self.home.active_path(&file_name_of(info)?);
        let partial = RolloutHome::partial_import_path(&path);
        let known = match fs::metadata(&partial) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(StoreError::backend("cannot stat what was copied", error)),
        };
        // A part may repeat bytes of an earlier one, which have to be the same. Only the rest is written.
        let rest = compare_part(&part, known, |range| read_range(&partial, range))?;
        // Also for an empty first part: a segment without bytes gets its file.
        if !rest.is_empty() || known == 0 {
            self.home.append_to_import(&path, known, rest).map_err(store_error)?;
        }
        if part.is_last {
            // A writer knows the segments of its thread, so none may be added while another one holds it.
            let is_known = !files.segments(thread_id).is_empty();
            let _lock = is_known.then(|| self.lock_known(thread_id)).transpose()?;
            // The segment may refer to others as soon as it is visible.
            let _references = ReferenceLock::shared(&self.home).map_err(store_error)?;
            self.home.finish_import(&path).map_err(store_error)?;
        }
        Ok(known + rest.len() as u64)
    }

    /// Appends to a segment that is visible already what a part has beyond it.
    fn extend_visible(&self, file: &RolloutFile, part: SegmentPart<'_>) -> Result<u64> {
        let known = content_len(file)?;
        let rest = compare_part(&part, known, |range| read_range(&file.path, range))?;
        if !rest.is_empty() {
            let _lock = self.lock_known(file.name.thread_id)?;
            // A crash between the two steps leaves the plain file without the new bytes. The next call appends them.
            let path = if file.name.compressed {
                self.home.decompress_in_place(&file.path).map_err(store_error)?
            } else {
                file.path.clone()
            };
            self.home.extend_file(&path, known, rest).map_err(store_error)?;
        }
        Ok(known + rest.len() as u64)
    }
}

/// Returns the name of a segment's file: the one that it has in the other store, if that is a name of this segment.
fn file_name_of(info: &SegmentInfo) -> Result<RolloutFileName> {
    let later = Some(info.id).filter(|id| *id != SegmentId::from(info.thread_id));
    let Some(text) = &info.file_name else { return Ok(RolloutFileName::new(info.created, info.thread_id, later)) };
    let name = RolloutFileName::parse(text).map(|name| name.plain());
    let name = name.filter(|name| name.thread_id == info.thread_id && name.segment_id() == info.id);
    name.ok_or_else(|| StoreError::invalid(format!("{text:?} is not the name of a file of segment {}", info.id)))
}
