//! The life of a writer: create, resume, append, release.

use std::time::SystemTime;

use selvedge_history::{head_identity, new_head};
use selvedge_protocol::{RolloutItem, SessionMeta, ThreadId};

use super::threads::{MemoryState, WriterId, this_process};
use crate::implement::{BatchOutcome, Segment};
use crate::{Appended, BatchId, Result, StoreError, WriterState};

// The states of a thread. The store has no list of live threads: a thread is live if it is in `lazy` or has a `writer`.
//
//     create ──> lazy ── append, persist ──> live <── resume ── cold
//                 │                           │                  ^
//                 └── release ──> nothing     └──── release ─────┘
//
impl MemoryState {
    pub(super) fn create(&mut self, writer: WriterId, meta: SessionMeta) -> Result<()> {
        // Only stored threads and the lazy ones of this store are checked. Another store can have a lazy thread with the same
        // id: the thread with the first append gets the id.
        let (thread_id, _) = head_identity(&meta)?;
        let meta = new_head(meta)?;
        self.check_free(writer, thread_id)?;
        self.lazy_mut().insert((writer, thread_id), meta);
        Ok(())
    }

    pub(super) fn resume(&mut self, writer: WriterId, thread_id: ThreadId) -> Result<()> {
        // A lazy thread is live, although it is not stored.
        if self.is_lazy(writer, thread_id) {
            return Err(StoreError::Conflict { thread_id, holder: this_process(), since: None });
        }
        self.check_cold(thread_id, None)?;
        let thread = self.thread_mut(thread_id)?;
        // Each claim gets a higher number, so a store that compares numbers can reject writes of an earlier claim.
        thread.writer = Some(writer);
        thread.epoch += 1;
        Ok(())
    }

    pub(super) fn append(
        &mut self,
        writer: WriterId,
        thread_id: ThreadId,
        batch: BatchId,
        items: &[RolloutItem],
    ) -> Result<Appended> {
        self.check_live(writer, thread_id)?;
        // A repeated call: return the outcome of the first one.
        if let Ok(thread) = self.thread(thread_id)
            && let Some(BatchOutcome::Appended(appended)) = thread.batches.find(batch)
        {
            return Ok(appended);
        }
        // The first append makes a lazy thread visible and writes its head as well. An empty batch does nothing, so it
        // does not make the thread visible, and it is not remembered.
        let mut lines = items.len() as u64;
        if lines > 0 {
            lines += u64::from(self.make_visible(writer, thread_id)?);
            self.push_items(thread_id, items, SystemTime::now().into())?;
        }
        let appended = Appended { lines, last_ordinal: self.last_ordinal(thread_id) };
        if lines > 0 {
            self.thread_mut(thread_id)?.batches.push(batch, BatchOutcome::Appended(appended));
        }
        Ok(appended)
    }

    pub(super) fn writer_state(&self, writer: WriterId, thread_id: ThreadId) -> Result<WriterState> {
        self.check_live(writer, thread_id)?;
        let Ok(thread) = self.thread(thread_id).map(|thread| (thread.batches.last(), thread.epoch)) else {
            return Ok(WriterState { end: None, last_batch: None, epoch: 0 });
        };
        let (last_batch, epoch) = thread;
        Ok(WriterState { end: Some(self.end_position(thread_id)?), last_batch, epoch })
    }

    pub(super) fn persist(&mut self, writer: WriterId, thread_id: ThreadId) -> Result<()> {
        self.check_live(writer, thread_id)?;
        self.make_visible(writer, thread_id).map(|_| ())
    }

    /// Releases the writer. A lazy thread then no longer exists.
    pub(super) fn release(&mut self, writer: WriterId, thread_id: ThreadId) -> Result<()> {
        self.check_live(writer, thread_id)?;
        if self.lazy_mut().remove(&(writer, thread_id)).is_none() {
            self.thread_mut(thread_id)?.writer = None;
        }
        Ok(())
    }

    /// Gives up all threads of a writer.
    pub(super) fn release_all(&mut self, writer: WriterId) {
        self.lazy_mut().retain(|(holder, _), _| *holder != writer);
        for thread in self.threads_mut().filter(|thread| thread.writer == Some(writer)) {
            thread.writer = None;
        }
    }

    /// Fails if the thread is not live in this store.
    pub(super) fn check_live(&self, writer: WriterId, thread_id: ThreadId) -> Result<()> {
        let is_held = self.thread(thread_id).is_ok_and(|thread| thread.writer == Some(writer));
        if is_held || self.is_lazy(writer, thread_id) { Ok(()) } else { Err(StoreError::not_live(thread_id)) }
    }

    /// Writes the first line of a lazy thread. Returns whether the thread was lazy.
    fn make_visible(&mut self, writer: WriterId, thread_id: ThreadId) -> Result<bool> {
        if !self.is_lazy(writer, thread_id) {
            return Ok(false);
        }
        // Two stores can each have a lazy thread with the same id. The other one was faster.
        if self.thread(thread_id).is_ok() {
            return Err(StoreError::AlreadyExists { thread_id });
        }
        if let Some(head) = self.lazy_mut().remove(&(writer, thread_id)) {
            let now = SystemTime::now().into();
            self.insert_thread(thread_id, head.timestamp.unwrap_or_default());
            self.put_segment(Segment::begin(thread_id.into(), thread_id, now, &[head.into()]))?;
            self.thread_mut(thread_id)?.writer = Some(writer);
        }
        Ok(true)
    }
}
