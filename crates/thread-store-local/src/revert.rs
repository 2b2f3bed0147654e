//! Reverts: a new segment that begins at the point to go back to, or an event in legacy mode.

use selvedge_protocol::{HistoryMode, RolloutLine, Timestamp};
use selvedge_rollout::{ResolvedHistory, RolloutFile, RolloutRecorder, WriterLock, read_head, write_new_file};
use selvedge_thread_store::segment::revert_items;
use selvedge_thread_store::{Result, RevertThread, StoreError, TurnCut};

use crate::cut::FoundCut;
use crate::error::store_error;
use crate::store::Inner;

impl Inner {
    pub(crate) fn revert(&self, request: &RevertThread) -> Result<usize> {
        let resolved = self.resolve_now(request.thread_id)?;
        if request.to == TurnCut::Latest {
            return Ok(0);
        }
        let head = read_head(resolved.newest()).map_err(store_error)?;
        match head.map(|head| head.mode()).unwrap_or_default() {
            HistoryMode::Paginated => self.revert_by_segment(request),
            HistoryMode::Legacy => self.revert_by_event(&resolved, request),
        }
    }

    fn revert_by_event(&self, resolved: &ResolvedHistory, request: &RevertThread) -> Result<usize> {
        let cut = self.find_cut(resolved, HistoryMode::Legacy, &request.to)?.point;
        if cut.undone_turns > 0 {
            self.append_anyway(request.thread_id, &[cut.rollback()?.into()])?;
        }
        Ok(cut.undone_turns)
    }

    fn revert_by_segment(&self, request: &RevertThread) -> Result<usize> {
        let thread_id = request.thread_id;
        if let Some(live) = self.live.find(thread_id) {
            let reverted = live.replace_recorder(thread_id, |recorder| self.revert_live(request, recorder));
            if live.lost_recorder() {
                // Neither segment could be opened. The thread is cold, so that it can be resumed when that is mended.
                self.live.remove(thread_id)?;
            }
            return reverted;
        }
        let _lock = self.lock_stored(thread_id)?;
        Ok(self.begin_segment(request)?.undone_turns)
    }

    /// Reverts a live thread: its recorder goes, and the one of the new segment takes its place. Should that fail, the old
    /// segment is gone on with.
    fn revert_live(
        &self,
        request: &RevertThread,
        recorder: RolloutRecorder,
    ) -> (Option<RolloutRecorder>, Result<usize>) {
        let path = recorder.path();
        let Some(lock) = recorder.into_lock() else {
            return (None, Err(StoreError::not_live(request.thread_id)));
        };
        let begun = self.begin_segment(request);
        let next = match &begun {
            Ok(Reverted { segment: Some(segment), .. }) => self.reopen(segment, lock),
            Ok(_) | Err(_) => self.reopen_path(request, &path, lock),
        };
        match (next, begun) {
            (Ok(recorder), begun) => (Some(recorder), begun.map(|reverted| reverted.undone_turns)),
            (Err(error), Ok(_)) | (Err(_), Err(error)) => (None, Err(error)),
        }
    }

    fn reopen(&self, segment: &RolloutFile, lock: WriterLock) -> Result<RolloutRecorder> {
        RolloutRecorder::resume_locked(&self.home, segment, lock).map_err(store_error)
    }

    fn reopen_path(&self, request: &RevertThread, path: &std::path::Path, lock: WriterLock) -> Result<RolloutRecorder> {
        let files = self.files()?;
        let segment = files.segments(request.thread_id).iter().find(|segment| segment.path == path);
        self.reopen(segment.ok_or(StoreError::not_found(request.thread_id))?, lock)
    }

    /// Writes the first lines of the new segment, all at once or not at all; none when there is nothing to undo. For who
    /// holds the thread's lock.
    fn begin_segment(&self, request: &RevertThread) -> Result<Reverted> {
        let files = self.files()?;
        let resolved = self.resolve(&files, request.thread_id)?;
        let cut = self.find_cut(&resolved, HistoryMode::Paginated, &request.to)?;
        let undone_turns = cut.point.undone_turns;
        if undone_turns == 0 {
            return Ok(Reverted { undone_turns, segment: None });
        }
        let bytes = segment_bytes(&resolved, &cut, request.at)?;
        let segment = self.next_segment(&files, &resolved, request.at);
        write_new_file(&segment.path, |out| out.write_all(&bytes)).map_err(store_error)?;
        Ok(Reverted { undone_turns, segment: Some(segment) })
    }
}

/// What came of a revert by segment.
struct Reverted {
    undone_turns: usize,
    /// The new segment, if anything was undone.
    segment: Option<RolloutFile>,
}

fn segment_bytes(resolved: &ResolvedHistory, cut: &FoundCut, at: Timestamp) -> Result<Vec<u8>> {
    let base = cut.before.base(resolved);
    let first = base.as_ref().and_then(|base| base.end_ordinal_exclusive).unwrap_or(0);
    let items = revert_items(cut.labels(resolved)?, at, base);
    let mut bytes = Vec::new();
    for (ordinal, item) in (first..).zip(&items) {
        RolloutLine::encode(&mut bytes, at, Some(ordinal), item);
    }
    Ok(bytes)
}
