//! Reverts: a new segment that begins at the point to go back to, or an event in legacy mode.

use std::sync::{MutexGuard, PoisonError};

use selvedge_history::{ResolvedBoundary, revert_items};
use selvedge_protocol::{HistoryMode, RolloutLine, Timestamp};
use selvedge_rollout::{ReferenceLock, ResolvedHistory, RolloutError, RolloutFile};
use selvedge_thread_store::implement::{BatchOutcome, RecentBatches};
use selvedge_thread_store::{BatchId, Result, RevertThread, TurnBoundary};

use crate::append::write_once;
use crate::boundary::{FoundCut, base_at};
use crate::error::{store_error, while_gone};
use crate::live::Live;
use crate::store::Inner;

impl Inner {
    /// Undoes turns, unless the same request has done so. `turn` is that of a thread that is live here; it is held from the first
    /// look at the history on, and tasks that append wait for it asleep.
    pub(crate) fn revert(&self, request: &RevertThread, turn: Option<(&Live, &mut RecentBatches)>) -> Result<usize> {
        let head = self.head(request.thread_id)?;
        if request.to == TurnBoundary::Latest {
            return Ok(0);
        }
        let mode = head.map(|head| head.mode()).unwrap_or_default();
        match turn {
            Some((live, turn)) => self.revert_live(live, turn, mode, request),
            None => self.revert_cold(mode, request),
        }
    }

    fn revert_live(
        &self,
        live: &Live,
        turn: &mut RecentBatches,
        mode: HistoryMode,
        request: &RevertThread,
    ) -> Result<usize> {
        if let Some(BatchOutcome::Reverted(undone)) = turn.find(request.batch) {
            return Ok(undone);
        }
        let undone = match mode {
            HistoryMode::Paginated => {
                let _references = ReferenceLock::shared(&self.home).map_err(store_error)?;
                let next = while_gone(|| self.next_by_cut(request))?;
                let undone =
                    next.begin(|segment, bytes, ordinal| live.recorder.switch_segment(segment, bytes, ordinal))?;
                live.forget_row();
                undone
            }
            HistoryMode::Legacy => {
                let cut = self.cut_by_event(request)?;
                if cut.undone_turns > 0 {
                    // The event has an id of its own: the request's is for the revert.
                    let event = [cut.rollback()?.into()];
                    let written = write_once(live, turn, BatchId::generate(), &event)?;
                    self.settle(live, written)?;
                }
                cut.undone_turns
            }
        };
        turn.push(request.batch, BatchOutcome::Reverted(undone));
        Ok(undone)
    }

    fn revert_cold(&self, mode: HistoryMode, request: &RevertThread) -> Result<usize> {
        let thread_id = request.thread_id;
        let lock = self.lock_stored(thread_id)?;
        if let Some(BatchOutcome::Reverted(undone)) = self.reverts().find(request.batch) {
            return Ok(undone);
        }
        let undone = match mode {
            HistoryMode::Paginated => {
                let _references = ReferenceLock::shared(&self.home).map_err(store_error)?;
                let next = while_gone(|| self.next_by_cut(request))?;
                next.begin(|segment, bytes, _| self.home.write_new_file(&segment.path, |out| out.write_all(bytes)))?
            }
            HistoryMode::Legacy => {
                let cut = self.cut_by_event(request)?;
                if cut.undone_turns > 0 {
                    let event = [cut.rollback()?.into()];
                    self.open_recorder_with(thread_id, lock)?.append(&event).map_err(store_error)?;
                }
                cut.undone_turns
            }
        };
        self.reverts().push(request.batch, BatchOutcome::Reverted(undone));
        Ok(undone)
    }

    fn reverts(&self) -> MutexGuard<'_, RecentBatches> {
        self.reverts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cut_by_event(&self, request: &RevertThread) -> Result<ResolvedBoundary> {
        while_gone(|| {
            let resolved = self.resolve_now(request.thread_id)?;
            Ok(self.resolve_boundary(&resolved, HistoryMode::Legacy, &request.to)?.point)
        })
    }

    /// The segment that begins at the point to go back to. For who holds the thread's lock.
    fn next_by_cut(&self, request: &RevertThread) -> Result<NextSegment> {
        let (files, resolved) = self.resolve(self.files()?, request.thread_id)?;
        let cut = self.resolve_boundary(&resolved, HistoryMode::Paginated, &request.to)?;
        let undone_turns = cut.point.undone_turns;
        if undone_turns == 0 {
            return Ok(NextSegment { undone_turns, segment: None });
        }
        let at = self.home.now();
        let (bytes, next_ordinal) = segment_bytes(&resolved, &cut, at)?;
        self.settle_bases(&resolved)?;
        let segment = self.next_segment(&files, &resolved, at);
        Ok(NextSegment { undone_turns, segment: Some((segment, bytes, next_ordinal)) })
    }
}

/// What comes of a revert by segment.
struct NextSegment {
    undone_turns: usize,
    /// The new segment, its first lines and the ordinal of the line behind them, if anything is undone.
    segment: Option<(RolloutFile, Vec<u8>, u64)>,
}

impl NextSegment {
    /// Has the segment written, all at once or not at all, and says how many turns were undone by that.
    fn begin(self, write: impl FnOnce(&RolloutFile, &[u8], u64) -> Result<(), RolloutError>) -> Result<usize> {
        if let Some((segment, bytes, next_ordinal)) = &self.segment {
            write(segment, bytes, *next_ordinal).map_err(store_error)?;
        }
        Ok(self.undone_turns)
    }
}

/// The first lines of a segment that begins at a cut, and the ordinal of the line behind them.
fn segment_bytes(resolved: &ResolvedHistory, cut: &FoundCut, at: Timestamp) -> Result<(Vec<u8>, u64)> {
    let base = base_at(&cut.before, resolved);
    let first = base.as_ref().and_then(|base| base.end_ordinal_exclusive).unwrap_or(0);
    let items = revert_items(cut.labels(resolved)?, at, base);
    let mut bytes = Vec::new();
    let mut next = first;
    for item in &items {
        RolloutLine::encode(&mut bytes, at, Some(next), item);
        next = next.saturating_add(1);
    }
    Ok((bytes, next))
}
