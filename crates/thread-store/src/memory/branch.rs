//! Forks, reverts, and threads that are given a history of their own.

use std::time::SystemTime;

use selvedge_history::head_identity;
use selvedge_protocol::{StoredThread, ThreadId, Timestamp};

use super::state::{State, Writer};
use crate::implement::{BatchOutcome, RevertWrite, Segment, detached_bytes, fork_segment, plan_revert};
use crate::{ForkThread, Result, RevertThread};

impl State {
    pub(super) fn fork(&mut self, writer: Writer, request: ForkThread) -> Result<ThreadId> {
        let source = self.chain(request.source)?;
        let (thread_id, created) = head_identity(&request.meta)?;
        self.check_free(writer, thread_id)?;
        let segment = fork_segment(&source, &request.at, request.meta, SystemTime::now().into())?;
        self.insert_thread(thread_id, created);
        self.put_segment(segment)?;
        Ok(thread_id)
    }

    pub(super) fn revert(&mut self, writer: Writer, request: &RevertThread) -> Result<usize> {
        let thread_id = request.thread_id;
        self.check_cold(thread_id, Some(writer))?;
        if let Some(BatchOutcome::Reverted(undone)) = self.thread(thread_id)?.batches.find(request.batch) {
            return Ok(undone);
        }
        let now = Timestamp::from(SystemTime::now());
        let created = self.row(thread_id)?.created_at;
        let (undone, write) = plan_revert(&self.history(thread_id)?, &request.to, created, now)?;
        match write {
            RevertWrite::Nothing => {}
            RevertWrite::Items(items) => {
                self.push_items(thread_id, &items, now)?;
                self.refold(thread_id)?;
            }
            RevertWrite::Segment(items) => {
                let id = self.next_segment_id(thread_id, now)?;
                self.put_segment(Segment::begin(id, thread_id, now, &items))?;
            }
        }
        self.thread_mut(thread_id)?.batches.push(request.batch, BatchOutcome::Reverted(undone));
        Ok(undone)
    }

    pub(super) fn detach(&mut self, thread_id: ThreadId) -> Result<StoredThread> {
        self.check_cold(thread_id, None)?;
        if let Some(bytes) = detached_bytes(&self.chain(thread_id)?)? {
            let now = Timestamp::from(SystemTime::now());
            let mut segment = Segment::new(self.next_segment_id(thread_id, now)?, thread_id, now);
            segment.extend(&bytes);
            self.put_segment(segment)?;
        }
        self.row(thread_id)
    }
}
