//! Reverts: a new segment that begins at the point to go back to, or an event in legacy mode.

use selvedge_protocol::{HistoryBase, HistoryMode, RolloutLine, StoredThread, Timestamp};
use selvedge_rollout::{ResolvedHistory, RolloutFile, RolloutRecorder, WriterLock, read_head, write_new_file};
use selvedge_thread_store::segment::revert_items;
use selvedge_thread_store::{Result, RevertThread, StoreError, TurnCut};

use crate::error::store_error;
use crate::fork::{base_at, place_before};
use crate::history::for_each_line;
use crate::row::read_row;
use crate::store::Inner;

impl Inner {
    pub(crate) fn revert(&self, request: &RevertThread) -> Result<StoredThread> {
        let thread_id = request.thread_id;
        let resolved = self.resolve(&self.files()?, thread_id)?;
        if request.to != TurnCut::Latest {
            let head = read_head(resolved.newest()).map_err(store_error)?;
            match head.map(|head| head.mode()).unwrap_or_default() {
                HistoryMode::Paginated => self.revert_by_segment(request)?,
                HistoryMode::Legacy => self.revert_by_event(&resolved, request)?,
            }
        }
        self.read_thread(thread_id)
    }

    fn revert_by_event(&self, resolved: &ResolvedHistory, request: &RevertThread) -> Result<()> {
        let cut = self.find_cut(resolved, &request.to)?;
        if cut.undone_turns == 0 {
            return Ok(());
        }
        self.append_anyway(request.thread_id, &[cut.rollback()?.into()])
    }

    fn revert_by_segment(&self, request: &RevertThread) -> Result<()> {
        let thread_id = request.thread_id;
        if let Some(live) = self.live.find(thread_id) {
            let reverted = live.replace_recorder(thread_id, |recorder| self.revert_live(request, recorder));
            if live.lost_recorder() {
                // Neither segment could be opened. The thread is cold, so that it can be resumed when that is mended.
                self.live.remove(thread_id)?;
            }
            return reverted;
        }
        let lock = self.lock_cold(thread_id)?;
        let segment = self.begin_segment(request);
        drop(lock);
        segment.map(drop)
    }

    /// Reverts a live thread: its recorder goes, and the one of the new segment takes its place. Should that fail, the old
    /// segment is gone on with.
    fn revert_live(&self, request: &RevertThread, recorder: RolloutRecorder) -> (Option<RolloutRecorder>, Result<()>) {
        let path = recorder.path();
        let Some(lock) = recorder.into_lock() else {
            return (None, Err(StoreError::not_live(request.thread_id)));
        };
        let begun = self.begin_segment(request);
        let next = match &begun {
            Ok(Some(segment)) => self.reopen(segment, lock),
            Ok(None) | Err(_) => self.reopen_path(request, &path, lock),
        };
        match (next, begun) {
            (Ok(recorder), begun) => (Some(recorder), begun.map(drop)),
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

    /// Writes the first lines of the new segment, all at once or not at all. Nothing when there is nothing to undo. For who
    /// holds the thread's lock.
    fn begin_segment(&self, request: &RevertThread) -> Result<Option<RolloutFile>> {
        let thread_id = request.thread_id;
        let files = self.files()?;
        let resolved = self.resolve(&files, thread_id)?;
        let cut = self.find_cut(&resolved, &request.to)?;
        if cut.undone_turns == 0 {
            return Ok(None);
        }
        let base = place_before(&resolved, cut.position)?.map(base_at);
        let bytes = self.segment_bytes(&resolved, request.at, cut.position, base)?;
        let segment = self.next_segment(&files, &resolved, request.at);
        write_new_file(&segment.path, |out| out.write_all(&bytes)).map_err(store_error)?;
        Ok(Some(segment))
    }

    fn segment_bytes(
        &self,
        resolved: &ResolvedHistory,
        at: Timestamp,
        position: u64,
        base: Option<HistoryBase>,
    ) -> Result<Vec<u8>> {
        let labels = labels(resolved, if base.is_some() { position } else { 0 })?;
        let row = read_row(resolved, &self.names())?;
        let first = base.as_ref().and_then(|base| base.end_ordinal_exclusive).unwrap_or(0);
        let items = revert_items(&row, &labels.lines, labels.inherited, labels.kept, at, base);
        let mut bytes = Vec::new();
        for (ordinal, item) in (first..).zip(&items) {
            RolloutLine::encode(&mut bytes, at, Some(ordinal), item);
        }
        Ok(bytes)
    }
}

/// The lines of a history that say something of the thread itself: its heads and explicit metadata.
struct Labels {
    lines: Vec<RolloutLine>,
    /// How many of them were inherited.
    inherited: usize,
    /// How many of them stand before the point to go back to.
    kept: usize,
}

fn labels(resolved: &ResolvedHistory, position: u64) -> Result<Labels> {
    let mut labels = Labels { lines: Vec::new(), inherited: 0, kept: 0 };
    let mut count = 0;
    for_each_line(resolved, |part, record| {
        if matches!(record.line.kind(), "session_meta" | "thread_metadata") {
            labels.inherited += usize::from(resolved.is_inherited(part));
            labels.kept += usize::from(count < position);
            labels.lines.push(record.line);
        }
        count += 1;
    })?;
    Ok(labels)
}
