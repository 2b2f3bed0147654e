//! Reverts: a new segment that begins at the point to go back to, or an event in legacy mode.

use selvedge_protocol::{HistoryMode, RolloutLine, Timestamp};
use selvedge_rollout::{ResolvedHistory, RolloutError, RolloutFile};
use selvedge_thread_store::segment::revert_items;
use selvedge_thread_store::{Result, RevertThread, TurnCut};

use crate::cut::FoundCut;
use crate::error::{store_error, while_gone};
use crate::store::Inner;

impl Inner {
    pub(crate) fn revert(&self, request: &RevertThread) -> Result<usize> {
        let head = self.head(request.thread_id)?;
        if request.to == TurnCut::Latest {
            return Ok(0);
        }
        match head.map(|head| head.mode()).unwrap_or_default() {
            HistoryMode::Paginated => self.revert_by_segment(request),
            HistoryMode::Legacy => self.revert_by_event(request),
        }
    }

    fn revert_by_event(&self, request: &RevertThread) -> Result<usize> {
        let cut = while_gone(|| {
            let resolved = self.resolve_now(request.thread_id)?;
            Ok(self.find_cut(&resolved, HistoryMode::Legacy, &request.to)?.point)
        })?;
        if cut.undone_turns > 0 {
            self.append_anyway(request.thread_id, &[cut.rollback()?.into()])?;
        }
        Ok(cut.undone_turns)
    }

    fn revert_by_segment(&self, request: &RevertThread) -> Result<usize> {
        let thread_id = request.thread_id;
        if let Some(live) = self.live.find(thread_id) {
            return live.alone_with_recorder(|recorder| {
                let next = while_gone(|| self.next_by_cut(request))?;
                next.begin(|segment, bytes, ordinal| recorder.go_on_in(segment, bytes, ordinal))
            });
        }
        let _lock = self.lock_stored(thread_id)?;
        let next = while_gone(|| self.next_by_cut(request))?;
        next.begin(|segment, bytes, _| self.home.write_new_file(&segment.path, |out| out.write_all(bytes)))
    }

    /// The segment that begins at the point to go back to. For who holds the thread's lock.
    fn next_by_cut(&self, request: &RevertThread) -> Result<NextSegment> {
        let (files, resolved) = self.resolve(self.files()?, request.thread_id)?;
        let cut = self.find_cut(&resolved, HistoryMode::Paginated, &request.to)?;
        let undone_turns = cut.point.undone_turns;
        if undone_turns == 0 {
            return Ok(NextSegment { undone_turns, segment: None });
        }
        let (bytes, next_ordinal) = segment_bytes(&resolved, &cut, request.at)?;
        self.settle_bases(&resolved)?;
        let segment = self.next_segment(&files, &resolved, request.at);
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
    let base = cut.before.base(resolved);
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
