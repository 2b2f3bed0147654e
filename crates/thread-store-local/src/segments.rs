//! Segments as bytes: out of the files of a home and into them.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use selvedge_protocol::{SegmentId, ThreadId};
use selvedge_rollout::{FileStamp, ReferenceLock, RolloutFile, RolloutFileName, RolloutHome, open_bytes, read_head};
use selvedge_thread_store::implement::{MAX_SEGMENT_READ, compare_part};
use selvedge_thread_store::{Result, SegmentInfo, SegmentPart, StoreError};

use crate::error::{look_at, store_error};
use crate::lines::decompressed_len;
use crate::store::Inner;

/// A compressed file that is read piece by piece. It can be read forwards only, so the reader is kept for the next piece.
#[derive(Default)]
pub(crate) struct OpenSegment(Mutex<Option<Decompressing>>);

struct Decompressing {
    path: PathBuf,
    stamp: FileStamp,
    /// The byte that is read next.
    next: u64,
    source: Box<dyn Read + Send>,
}

impl std::fmt::Debug for OpenSegment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenSegment").finish_non_exhaustive()
    }
}

impl OpenSegment {
    fn read(&self, path: &Path, at: u64, most: usize) -> Result<Vec<u8>> {
        let stamp = FileStamp::read(path).map_err(store_error)?;
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let kept = kept.filter(|kept| kept.path == path && kept.stamp == stamp && kept.next == at);
        let mut source = match kept {
            Some(kept) => kept.source,
            None => open_bytes(path, at..u64::MAX).map_err(store_error)?.0,
        };
        let mut bytes = Vec::new();
        // A frame that is damaged ends where it cannot be read any more.
        let _ = source.by_ref().take(most as u64).read_to_end(&mut bytes);
        let next = at + bytes.len() as u64;
        let path = path.to_path_buf();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Decompressing { path, stamp, next, source });
        Ok(bytes)
    }
}

impl Inner {
    pub(crate) fn list_segments(&self, thread_id: ThreadId) -> Result<Vec<SegmentInfo>> {
        let (files, resolved) = self.resolve(self.files()?, thread_id)?;
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
                bytes: if file.name.compressed { decompressed_len(file)? } else { look_at(&file.path)?.len() },
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
        if file.name.compressed {
            return self.open_segment.read(&file.path, at, most);
        }
        read_range(&file.path, at..at.saturating_add(most as u64))
    }

    /// Adds a part of a segment. Returns how many bytes the store has of it.
    pub(crate) fn import_segment(&self, info: &SegmentInfo, part: SegmentPart<'_>) -> Result<u64> {
        let SegmentInfo { thread_id, id, .. } = *info;
        let files = self.files()?;
        if let Some(file) = files.segment(id) {
            if file.name.thread_id != thread_id {
                return Err(StoreError::AlreadyExists { thread_id });
            }
            return self.extend_visible(file, part);
        }
        let path = self.home.active_path(&name_of(info)?);
        let gathered = RolloutHome::partial_import_path(&path);
        let known = match fs::metadata(&gathered) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(StoreError::backend("cannot look at what was copied", error)),
        };
        let rest = compare_part(&part, known, |range| read_range(&gathered, range))?;
        if !rest.is_empty() || known == 0 {
            self.home.append_to_import(&path, known, rest).map_err(store_error)?;
        }
        if part.is_last {
            let is_known = !files.segments(thread_id).is_empty();
            let _lock = is_known.then(|| self.lock_stored(thread_id)).transpose()?;
            let _references = ReferenceLock::shared(&self.home).map_err(store_error)?;
            self.home.finish_import(&path).map_err(store_error)?;
        }
        Ok(known + rest.len() as u64)
    }

    /// Lets a segment that is there grow by what a part has beyond it.
    fn extend_visible(&self, file: &RolloutFile, part: SegmentPart<'_>) -> Result<u64> {
        let known = if file.name.compressed { decompressed_len(file)? } else { look_at(&file.path)?.len() };
        let rest = compare_part(&part, known, |range| read_range(&file.path, range))?;
        if !rest.is_empty() {
            let _lock = self.lock_stored(file.name.thread_id)?;
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

/// The name of a segment's file: the one that it has where it comes from, if it is the name of this segment.
fn name_of(info: &SegmentInfo) -> Result<RolloutFileName> {
    let later = Some(info.id).filter(|id| *id != SegmentId::from(info.thread_id));
    let Some(text) = &info.file_name else { return Ok(RolloutFileName::new(info.created, info.thread_id, later)) };
    let name = RolloutFileName::parse(text).map(|name| name.plain());
    let name = name.filter(|name| name.thread_id == info.thread_id && name.segment_id() == info.id);
    name.ok_or_else(|| StoreError::invalid(format!("{text:?} is not the name of a file of segment {}", info.id)))
}

fn read_range(path: &Path, range: Range<u64>) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let (mut source, _) = open_bytes(path, range).map_err(store_error)?;
    source.read_to_end(&mut bytes).map_err(|error| StoreError::backend("cannot read a segment", error))?;
    Ok(bytes)
}
