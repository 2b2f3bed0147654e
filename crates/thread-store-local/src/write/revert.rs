//! Reverts: in paginated mode a new segment that begins at the boundary, in legacy mode an event in the log.
//!
//! In paginated mode the steps are: find the boundary, make everything before it durable, write the new segment under a
//! temporary name, rename it to its real name. The revert takes effect with the rename, because the thread's history ends in its
//! newest segment. A crash before the rename leaves the thread as it was, and the abandoned lines stay in the older segments.
//!
//! In legacy mode the event is an append, and takes effect like one.

use std::sync::{MutexGuard, PoisonError};

use selvedge_history::{ResolvedBoundary, revert_items};
use selvedge_protocol::{HistoryMode, RolloutLine, Timestamp, TurnBoundary};
use selvedge_rollout::{ReferenceLock, ResolvedHistory, RolloutError, RolloutFile};
use selvedge_thread_store::implement::{BatchOutcome, RecentBatches};
use selvedge_thread_store::{BatchId, Result, RevertThread};

use super::append::write_once;
use crate::error::{retry_if_moved, store_error};
use crate::read::boundary::{LocatedBoundary, base_after};
use crate::store_core::live::LiveClaim;
use crate::store_core::{FoundHistory, StoreCore};

impl StoreCore {
    /// Reverts a thread, unless an earlier call with the same request did. Returns how many turns were undone.
    ///
    /// `claim` is the claim on a thread that is live here, together with the batches of its permit. The caller holds the permit
    /// before the history is first read, so no append changes what the boundary refers to.
    pub(crate) fn revert(
        &self,
        request: &RevertThread,
        claim: Option<(&LiveClaim, &mut RecentBatches)>,
    ) -> Result<usize> {
        let head = self.newest_head(request.thread_id)?;
        if request.to == TurnBoundary::Latest {
            return Ok(0);
        }
        let mode = head.map(|head| head.mode()).unwrap_or_default();
        match claim {
            Some((live, recent)) => self.revert_live(live, recent, mode, request),
            None => self.revert_cold(mode, request),
        }
    }

    fn revert_live(
        &self,
        live: &LiveClaim,
        recent: &mut RecentBatches,
        mode: HistoryMode,
        request: &RevertThread,
    ) -> Result<usize> {
        if let Some(BatchOutcome::Reverted(undone)) = recent.find(request.batch) {
            return Ok(undone);
        }
        let undone = match mode {
            HistoryMode::Paginated => {
                // The new segment refers to older ones, so none of them may be deleted before it exists.
                let _references = ReferenceLock::shared(&self.home).map_err(store_error)?;
                let next = retry_if_moved(|| self.prepare_segment(request))?;
                let undone =
                    next.write(|segment, bytes, ordinal| live.recorder.switch_segment(segment, bytes, ordinal))?;
                live.forget_record();
                undone
            }
            HistoryMode::Legacy => {
                let boundary = self.legacy_boundary(request)?;
                if boundary.undone_turns > 0 {
                    // The event is a batch of its own. The id of the request stands for the revert as a whole.
                    let event = [boundary.rollback()?.into()];
                    let write = write_once(live, recent, BatchId::generate(), &event)?;
                    self.sync_write(live, write)?;
                }
                boundary.undone_turns
            }
        };
        recent.push(request.batch, BatchOutcome::Reverted(undone));
        Ok(undone)
    }

    fn revert_cold(&self, mode: HistoryMode, request: &RevertThread) -> Result<usize> {
        let thread_id = request.thread_id;
        // Lock first, then read the list of reverts: an earlier call with the same request holds this lock while it works.
        let lock = self.lock_known(thread_id)?;
        if let Some(BatchOutcome::Reverted(undone)) = self.cold_reverts().find(request.batch) {
            return Ok(undone);
        }
        let undone = match mode {
            HistoryMode::Paginated => {
                let _references = ReferenceLock::shared(&self.home).map_err(store_error)?;
                let next = retry_if_moved(|| self.prepare_segment(request))?;
                next.write(|segment, bytes, _| self.home.write_new_file(&segment.path, |out| out.write_all(bytes)))?
            }
            HistoryMode::Legacy => {
                let boundary = self.legacy_boundary(request)?;
                if boundary.undone_turns > 0 {
                    let event = [boundary.rollback()?.into()];
                    self.open_recorder_locked(thread_id, lock)?.append(&event).map_err(store_error)?;
                }
                boundary.undone_turns
            }
        };
        self.cold_reverts().push(request.batch, BatchOutcome::Reverted(undone));
        Ok(undone)
    }

    fn cold_reverts(&self) -> MutexGuard<'_, RecentBatches> {
        self.cold_reverts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn legacy_boundary(&self, request: &RevertThread) -> Result<ResolvedBoundary> {
        retry_if_moved(|| {
            let resolved = self.resolve_now(request.thread_id)?;
            Ok(self.locate_boundary(&resolved, HistoryMode::Legacy, &request.to)?.resolved)
        })
    }

    /// Prepares the segment that begins at the boundary. The caller holds the writer lock of the thread.
    fn prepare_segment(&self, request: &RevertThread) -> Result<PreparedSegment> {
        let FoundHistory { files, resolved } = self.resolve(self.files()?, request.thread_id)?;
        let boundary = self.locate_boundary(&resolved, HistoryMode::Paginated, &request.to)?;
        let undone_turns = boundary.resolved.undone_turns;
        if undone_turns == 0 {
            return Ok(PreparedSegment { undone_turns, segment: None });
        }
        // This function writes nothing and only syncs the bases, so it can be repeated if a file was moved.
        let at = self.home.now();
        let lines = first_lines(&resolved, &boundary, at)?;
        self.sync_bases(&resolved)?;
        let file = self.next_segment(&files, &resolved, at);
        Ok(PreparedSegment { undone_turns, segment: Some(SegmentStart { file, lines }) })
    }
}

/// A revert that is prepared and not written yet.
struct PreparedSegment {
    undone_turns: usize,
    /// `None` if there is nothing to undo.
    segment: Option<SegmentStart>,
}

/// The beginning of a segment.
struct SegmentStart {
    file: RolloutFile,
    lines: FirstLines,
}

/// The first lines of a segment.
struct FirstLines {
    bytes: Vec<u8>,
    /// The ordinal of the line after them.
    next_ordinal: u64,
}

impl PreparedSegment {
    /// Calls `write`, which must write the segment atomically. Returns how many turns were undone.
    fn write(self, write: impl FnOnce(&RolloutFile, &[u8], u64) -> Result<(), RolloutError>) -> Result<usize> {
        if let Some(SegmentStart { file, lines }) = &self.segment {
            write(file, &lines.bytes, lines.next_ordinal).map_err(store_error)?;
        }
        Ok(self.undone_turns)
    }
}

/// Returns the first lines of a segment that begins at a boundary.
fn first_lines(resolved: &ResolvedHistory, boundary: &LocatedBoundary, at: Timestamp) -> Result<FirstLines> {
    let base = base_after(&boundary.before, resolved);
    let mut next_ordinal = base.as_ref().and_then(|base| base.end_ordinal_exclusive).unwrap_or(0);
    let items = revert_items(boundary.carried_metadata(resolved)?, at, base);
    let mut bytes = Vec::new();
    for item in &items {
        RolloutLine::encode(&mut bytes, at, Some(next_ordinal), item);
        next_ordinal = next_ordinal.saturating_add(1);
    }
    Ok(FirstLines { bytes, next_ordinal })
}
