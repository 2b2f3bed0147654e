//! Forks and reverts.

use std::time::{Duration, SystemTime};

use selvedge_history::{
    CutPoint, Labels, TurnProjection, base_length, find_cut, fork_head, head_identity, inherit_head, newest_head,
    revert_items,
};
use selvedge_protocol::{HistoryMode, SegmentId, SessionMeta, ThreadId, Timestamp};

use super::state::{History, State, Writer};
use crate::implement::Done;
use crate::{ForkThread, Result, RevertThread, TurnCut};

impl State {
    pub(super) fn fork(&mut self, writer: Writer, request: ForkThread) -> Result<ThreadId> {
        let history = self.history(request.source)?;
        let (thread_id, _) = head_identity(&request.meta)?;
        self.check_free(writer, thread_id)?;
        let cut = self.cut(request.source, &history, &request.at)?;
        let mut meta = request.meta;
        if let Some(head) = newest_head(request.source, &history.lines) {
            inherit_head(&mut meta, &head);
        }
        match self.thread(request.source)?.mode() {
            HistoryMode::Paginated => self.fork_by_reference(thread_id, request.source, meta, &history, cut)?,
            HistoryMode::Legacy => {
                self.fork_by_copy(thread_id, request.source, meta, &history, cut, &request.at)?;
            }
        }
        Ok(thread_id)
    }

    pub(super) fn revert(&mut self, writer: Writer, request: &RevertThread) -> Result<usize> {
        let thread_id = request.thread_id;
        self.check_cold(thread_id, Some(writer))?;
        if let Some(Done::Reverted(undone)) = self.thread(thread_id)?.batches.find(request.batch) {
            return Ok(undone);
        }
        let history = self.history(thread_id)?;
        let cut = self.cut(thread_id, &history, &request.to)?;
        if cut.undone_turns > 0 {
            match self.thread(thread_id)?.mode() {
                HistoryMode::Paginated => self.revert_by_reference(request, &history, cut)?,
                HistoryMode::Legacy => {
                    self.push_items(thread_id, &[cut.rollback()?.into()])?;
                    self.refold(thread_id)?;
                }
            }
        }
        self.thread_mut(thread_id)?.batches.push(request.batch, Done::Reverted(cut.undone_turns));
        Ok(cut.undone_turns)
    }

    fn cut(&self, thread_id: ThreadId, history: &History, at: &TurnCut) -> Result<CutPoint> {
        let turns = match at {
            TurnCut::Latest => TurnProjection::new(),
            TurnCut::After(_) | TurnCut::Before(_) | TurnCut::BeforeNewest(_) => {
                self.turns(thread_id, &history.lines)?
            }
        };
        Ok(find_cut(thread_id, turns, history.lines.len() as u64, at)?)
    }

    fn fork_by_reference(
        &mut self,
        thread_id: ThreadId,
        source: ThreadId,
        meta: SessionMeta,
        history: &History,
        cut: CutPoint,
    ) -> Result<()> {
        let base = Self::base(history, base_length(&history.lines, cut.position));
        let head = fork_head(meta, source, HistoryMode::Paginated, base);
        self.insert(thread_id, head, &[])
    }

    /// Copies the bytes before the cut as they are, damage and all.
    fn fork_by_copy(
        &mut self,
        thread_id: ThreadId,
        source: ThreadId,
        meta: SessionMeta,
        history: &History,
        cut: CutPoint,
        at: &TurnCut,
    ) -> Result<()> {
        let head = fork_head(meta, source, HistoryMode::Legacy, None);
        let segment = self.newest_segment(source)?;
        let last = usize::try_from(cut.position).unwrap_or(usize::MAX).checked_sub(1);
        let end = match at {
            TurnCut::Latest => segment.bytes().len(),
            _ => {
                last.and_then(|last| history.ends.get(last)).map_or(0, |(_, byte)| usize::try_from(*byte).unwrap_or(0))
            }
        };
        let mut copied = segment.bytes()[..end].to_vec();
        if !copied.is_empty() && !copied.ends_with(b"\n") {
            copied.push(b'\n');
        }
        self.insert(thread_id, head, &copied)
    }

    fn revert_by_reference(&mut self, request: &RevertThread, history: &History, cut: CutPoint) -> Result<()> {
        let thread_id = request.thread_id;
        let kept = base_length(&history.lines, cut.position);
        let base = Self::base(history, kept);
        let mut labels = Labels::new(thread_id, self.row(thread_id)?.created_at);
        for (place, line) in history.lines.iter().enumerate().skip(history.inherited) {
            labels.take(line, place >= kept);
        }
        let now = Timestamp::from(SystemTime::now());
        let items = revert_items(labels, now, base);
        self.begin_segment(thread_id, self.next_segment_id(thread_id, now)?, &items)
    }

    /// An id that is newer than those of all other segments of the thread, also when the clock went back meanwhile.
    pub(super) fn next_segment_id(&self, thread_id: ThreadId, at: Timestamp) -> Result<SegmentId> {
        let later = self.segment_ids(thread_id)?.iter().filter(|id| **id != SegmentId::from(thread_id));
        let newest = later.filter_map(SegmentId::made_at).max();
        let after = newest.map(|newest| newest.saturating_add(Duration::from_millis(1)));
        Ok(SegmentId::new(after.map_or(at, |after| after.max(at))))
    }
}
