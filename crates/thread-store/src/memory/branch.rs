//! Forks, reverts and detaches.

use std::time::SystemTime;

use selvedge_history::head_identity;
use selvedge_protocol::{StoredThread, ThreadId, Timestamp};

use super::threads::{MemoryState, WriterId};
use crate::implement::{BatchOutcome, RevertWrite, Segment, detached_bytes, fork_segment, plan_revert};
use crate::{ForkThread, Result, RevertThread};

impl MemoryState {
    pub(super) fn fork(&mut self, writer: WriterId, request: ForkThread) -> Result<ThreadId> {
        let source = self.chain(request.source)?;
        let (thread_id, created) = head_identity(&request.meta)?;
        self.check_free(writer, thread_id)?;
        let segment = fork_segment(&source, &request.at, request.meta, SystemTime::now().into())?;
        // Everything that can fail was done before, so a failed fork leaves no thread.
        self.insert_thread(thread_id, created);
        self.put_segment(segment)?;
        Ok(thread_id)
    }

    pub(super) fn revert(&mut self, writer: WriterId, request: &RevertThread) -> Result<usize> {
        let thread_id = request.thread_id;
        self.check_cold(thread_id, Some(writer))?;
        if let Some(BatchOutcome::Reverted(undone)) = self.thread(thread_id)?.batches.find(request.batch) {
            return Ok(undone);
        }
        let now = Timestamp::from(SystemTime::now());
        let created = self.record(thread_id)?.created_at;
        let (undone, write) = plan_revert(&self.history(thread_id)?, &request.to, created, now)?;
        match write {
            RevertWrite::Nothing => {}
            RevertWrite::Items(items) => {
                self.push_items(thread_id, &items, now)?;
                // Unlike an append: the event undoes metadata that is in the record.
                self.rederive(thread_id)?;
            }
            RevertWrite::Segment(items) => {
                let id = self.next_segment_id(thread_id, now)?;
                self.put_segment(Segment::begin(id, thread_id, now, &items))?;
            }
        }
        // A revert that changes nothing is remembered, too: repeated later, it must still change nothing.
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
        self.record(thread_id)
    }
}
