//! The implementation of `ThreadStore`. Each change is one transaction, which also checks the claim: the result of a
//! check outside of the transaction could be outdated.

use std::time::SystemTime;

use async_trait::async_trait;
use selvedge_history::{head_identity, new_head};
use selvedge_protocol::{RolloutItem, SessionMeta, StoredThread, ThreadId, ThreadMetadataPatch, Timestamp};
use selvedge_thread_store::implement::{
    BatchOutcome, RevertWrite, Segment, compare_part, detached_bytes, fork_segment, next_segment_id, plan_patch,
    plan_revert,
};
use selvedge_thread_store::{
    Appended, BatchId, ForkThread, MaintenanceProgress, MaintenanceReport, MaintenanceRequest, MetadataOrigin, Result,
    RevertThread, SegmentInfo, SegmentPart, StoreError, ThreadStore, WriterState,
};
use uuid::Uuid;

use crate::RedbThreadStore;
use crate::tables::{SegmentRecord, ThreadRecord, WriteTables, conflict};

/// Returns the current time. The clock of the store stamps every line.
fn now() -> Timestamp {
    SystemTime::now().into()
}

impl RedbThreadStore {
    /// Fails if a thread with this id exists, stored or lazy.
    fn check_free(&self, stored: Option<&ThreadRecord>, thread_id: ThreadId) -> Result<()> {
        if stored.is_some() || self.lazy().contains_key(&thread_id) {
            return Err(StoreError::AlreadyExists { thread_id });
        }
        Ok(())
    }

    /// Fails if the thread is not live in this handle.
    fn check_live(&self, thread_id: ThreadId) -> Result<()> {
        if self.lazy().contains_key(&thread_id) {
            return Ok(());
        }
        self.held(self.snapshot()?.find(thread_id)?, thread_id).map(drop)
    }

    /// Returns a stored thread if this handle has its writer, and fails otherwise.
    fn held(&self, thread: Option<ThreadRecord>, thread_id: ThreadId) -> Result<ThreadRecord> {
        let held = thread.filter(|thread| thread.holder == Some(self.handle.id));
        held.ok_or(StoreError::not_live(thread_id))
    }

    /// Ends the claim of this handle. A lazy thread was never stored, so it ends with it.
    fn release(&self, thread_id: ThreadId) -> Result<()> {
        if self.lazy().remove(&thread_id).is_some() {
            return Ok(());
        }
        self.in_transaction(|tables| {
            let thread = self.held(tables.find(thread_id)?, thread_id)?;
            tables.put_thread(ThreadRecord { holder: None, ..thread }).map(drop)
        })
    }

    /// Archives a cold thread, or makes it active again.
    fn set_archived(&self, thread_id: ThreadId, archived: bool) -> Result<StoredThread> {
        self.in_transaction(|tables| {
            let mut thread = tables.thread(thread_id)?;
            tables.check_cold(&thread, None)?;
            thread.row.archived = archived;
            tables.put_thread(thread)
        })
    }
}

impl WriteTables<'_> {
    /// Stores a lazy thread with its head, and returns whether it was still lazy: of two concurrent calls, one is the
    /// first.
    fn begin_thread(&mut self, head: &SessionMeta, holder: Uuid, now: Timestamp) -> Result<(ThreadRecord, bool)> {
        let (thread_id, created) = head_identity(head)?;
        match self.find(thread_id)? {
            // Another call of this handle was first. Its batch and this one follow each other.
            Some(thread) if thread.holder == Some(holder) => return Ok((thread, false)),
            // Another handle has stored a thread with this id meanwhile.
            Some(_) => return Err(StoreError::AlreadyExists { thread_id }),
            None => {}
        }
        let mut thread = ThreadRecord { holder: Some(holder), ..ThreadRecord::new(thread_id, created) };
        let segment = Segment::begin(thread_id.into(), thread_id, now, &[head.clone().into()]);
        self.begin_segment(&mut thread, &segment)?;
        Ok((thread, true))
    }

    /// Stores an explicit patch: a name in the row, everything else as lines of the log.
    fn keep(&mut self, thread: &mut ThreadRecord, patch: &ThreadMetadataPatch, writer: Uuid) -> Result<()> {
        let now = now();
        let head = self.chain(thread)?.history().newest_head();
        // No items: the patch sets only the name, which needs no writer and no line.
        let (items, row) = plan_patch(patch, head, thread.row.clone(), now);
        if !items.is_empty() {
            self.check_cold(thread, Some(writer))?;
            self.push_items(thread, &items, now)?;
        }
        thread.row = row;
        Ok(())
    }
}

#[async_trait]
impl ThreadStore for RedbThreadStore {
    async fn create_thread(&self, meta: SessionMeta) -> Result<()> {
        let (thread_id, _) = head_identity(&meta)?;
        let meta = new_head(meta)?;
        self.check_free(self.snapshot()?.find(thread_id)?.as_ref(), thread_id)?;
        self.lazy().insert(thread_id, meta);
        Ok(())
    }

    async fn resume_thread(&self, thread_id: ThreadId) -> Result<()> {
        // A lazy thread is not stored, but it is live.
        if self.lazy().contains_key(&thread_id) {
            return Err(conflict(thread_id));
        }
        self.in_transaction(|tables| {
            let thread = tables.thread(thread_id)?;
            tables.check_cold(&thread, None)?;
            let epoch = thread.epoch + 1;
            tables.put_thread(ThreadRecord { holder: Some(self.handle.id), epoch, ..thread }).map(drop)
        })
    }

    async fn append_items(&self, thread_id: ThreadId, batch: BatchId, items: &[RolloutItem]) -> Result<Appended> {
        let head = self.lazy().get(&thread_id).cloned();
        if head.is_some() && items.is_empty() {
            return Ok(Appended { lines: 0, last_ordinal: None });
        }
        let appended = self.in_transaction(|tables| {
            let now = now();
            let (mut thread, is_new) = match &head {
                Some(head) => tables.begin_thread(head, self.handle.id, now)?,
                None => (self.held(tables.find(thread_id)?, thread_id)?, false),
            };
            // A repeated batch: it took effect before, and its answer was lost.
            if let Some(BatchOutcome::Appended(appended)) = thread.batches.find(batch) {
                return Ok(appended);
            }
            let tail = tables.push_items(&thread, items, now)?;
            let lines = items.len() as u64 + u64::from(is_new);
            let appended = Appended { lines, last_ordinal: tail.last_ordinal() };
            if !items.is_empty() {
                thread.batches.push(batch, BatchOutcome::Appended(appended));
                tables.put_thread(thread)?;
            }
            Ok(appended)
        })?;
        // After the transaction: if it fails, the thread is still lazy and the batch can be repeated.
        self.lazy().remove(&thread_id);
        Ok(appended)
    }

    async fn writer_state(&self, thread_id: ThreadId) -> Result<WriterState> {
        self.check_live(thread_id)?;
        let snapshot = self.snapshot()?;
        let Some(thread) = snapshot.find(thread_id)? else {
            return Ok(WriterState { end: None, last_batch: None, epoch: 0 });
        };
        Ok(WriterState { end: Some(snapshot.end(thread_id)?), last_batch: thread.batches.last(), epoch: thread.epoch })
    }

    async fn persist_thread(&self, thread_id: ThreadId) -> Result<()> {
        self.check_live(thread_id)?;
        let head = self.lazy().get(&thread_id).cloned();
        if let Some(head) = head {
            self.in_transaction(|tables| {
                let (thread, _) = tables.begin_thread(&head, self.handle.id, now())?;
                tables.put_thread(thread).map(drop)
            })?;
            self.lazy().remove(&thread_id);
        }
        Ok(())
    }

    async fn flush_thread(&self, thread_id: ThreadId) -> Result<()> {
        // Every transaction is synced when it is committed.
        self.check_live(thread_id)
    }

    async fn sync_thread(&self, thread_id: ThreadId) -> Result<()> {
        self.check_live(thread_id)
    }

    async fn shutdown_thread(&self, thread_id: ThreadId) -> Result<()> {
        self.release(thread_id)
    }

    async fn discard_thread(&self, thread_id: ThreadId) -> Result<()> {
        self.release(thread_id)
    }

    async fn update_thread_metadata(
        &self,
        thread_id: ThreadId,
        patch: &ThreadMetadataPatch,
        origin: MetadataOrigin,
    ) -> Result<StoredThread> {
        if patch.is_empty() {
            return Ok(self.snapshot()?.thread(thread_id)?.row);
        }
        self.in_transaction(|tables| {
            let mut thread = tables.thread(thread_id)?;
            match origin {
                MetadataOrigin::Derived => {
                    // A name is only ever set explicitly.
                    let derived = ThreadMetadataPatch { name: None, ..patch.clone() };
                    derived.apply(&mut thread.row);
                }
                MetadataOrigin::Explicit => tables.keep(&mut thread, patch, self.handle.id)?,
            }
            tables.put_thread(thread)
        })
    }

    async fn archive_thread(&self, thread_id: ThreadId) -> Result<StoredThread> {
        self.set_archived(thread_id, true)
    }

    async fn unarchive_thread(&self, thread_id: ThreadId) -> Result<StoredThread> {
        self.set_archived(thread_id, false)
    }

    async fn delete_thread(&self, thread_id: ThreadId) -> Result<()> {
        self.in_transaction(|tables| {
            let thread = tables.thread(thread_id)?;
            tables.check_cold(&thread, None)?;
            let dependents = tables.dependents(thread_id)?;
            if !dependents.is_empty() {
                let dependents = dependents.iter().map(|dependent| dependent.row.id).collect();
                return Err(StoreError::HasDependents { thread_id, dependents });
            }
            tables.remove(&thread)
        })
    }

    async fn detach_thread(&self, thread_id: ThreadId) -> Result<StoredThread> {
        self.in_transaction(|tables| {
            let mut thread = tables.thread(thread_id)?;
            tables.check_cold(&thread, None)?;
            // A thread that builds on no other one is detached already.
            let Some(bytes) = detached_bytes(&tables.chain(&thread)?)? else { return Ok(thread.row) };
            let id = next_segment_id(thread_id, thread.segments.iter().copied(), now());
            let mut segment = Segment::new(id, thread_id, now());
            segment.extend(&bytes);
            tables.begin_segment(&mut thread, &segment)?;
            tables.put_thread(thread)
        })
    }

    async fn fork_thread(&self, request: ForkThread) -> Result<ThreadId> {
        self.in_transaction(|tables| {
            let source = tables.chain(&tables.thread(request.source)?)?;
            let (thread_id, created) = head_identity(&request.meta)?;
            self.check_free(tables.find(thread_id)?.as_ref(), thread_id)?;
            // The source cannot be deleted before the commit, because this transaction is the only one that writes.
            let segment = fork_segment(&source, &request.at, request.meta, now())?;
            let mut fork = ThreadRecord::new(thread_id, created);
            tables.begin_segment(&mut fork, &segment)?;
            tables.put_thread(fork)?;
            Ok(thread_id)
        })
    }

    async fn revert_thread(&self, request: RevertThread) -> Result<usize> {
        self.in_transaction(|tables| {
            let thread_id = request.thread_id;
            let mut thread = tables.thread(thread_id)?;
            tables.check_cold(&thread, Some(self.handle.id))?;
            if let Some(BatchOutcome::Reverted(undone)) = thread.batches.find(request.batch) {
                return Ok(undone);
            }
            let (history, now) = (tables.chain(&thread)?.history(), now());
            let (undone, write) = plan_revert(&history, &request.to, thread.row.created_at, now)?;
            // Nothing is removed. A legacy thread gets an event, and a paginated one a segment that abandons the
            // newest.
            match write {
                RevertWrite::Nothing => {}
                RevertWrite::Items(items) => {
                    tables.push_items(&thread, &items, now)?;
                    tables.refold(&mut thread)?;
                }
                RevertWrite::Segment(items) => {
                    let id = next_segment_id(thread_id, thread.segments.iter().copied(), now);
                    tables.begin_segment(&mut thread, &Segment::begin(id, thread_id, now, &items))?;
                }
            }
            thread.batches.push(request.batch, BatchOutcome::Reverted(undone));
            tables.put_thread(thread)?;
            Ok(undone)
        })
    }

    async fn import_segment(&self, part: SegmentPart<'_>) -> Result<u64> {
        self.in_transaction(|tables| {
            let SegmentInfo { thread_id, id, created, .. } = *part.info;
            let mut record = tables.segment_record(id)?.unwrap_or_else(|| SegmentRecord::empty(part.info));
            if record.info.thread_id != thread_id {
                return Err(StoreError::AlreadyExists { thread_id });
            }
            // Parts can come twice, because a copy is repeated after an error. `rest` is what is new in this one.
            let rest = compare_part(&part, record.info.bytes, |range| tables.bytes(id, range))?;
            let becomes_visible = part.is_last && !record.is_visible;
            if rest.is_empty() && !becomes_visible {
                return Ok(record.info.bytes);
            }
            record.is_visible |= part.is_last;
            tables.append(&mut record, rest)?;
            if record.is_visible {
                let new = || ThreadRecord::new(thread_id, thread_id.made_at().unwrap_or(created));
                let mut thread = tables.find(thread_id)?.unwrap_or_else(new);
                tables.check_cold(&thread, None)?;
                if let Some(segment) = tables.segment(id)? {
                    tables.attach_segment(&mut thread, &segment)?;
                }
                tables.put_thread(thread)?;
                // Threads that build on this segment were listed from a part of their history. Now they have all of it.
                for mut dependent in tables.dependents(thread_id)? {
                    tables.refold(&mut dependent)?;
                    tables.put_thread(dependent)?;
                }
            }
            Ok(record.info.bytes)
        })
    }

    async fn maintain(
        &self,
        _: &MaintenanceRequest,
        progress: &mut (dyn FnMut(MaintenanceProgress) + Send),
    ) -> Result<MaintenanceReport> {
        // redb can shrink a file only while no other handle uses it, so there is nothing to do.
        progress(MaintenanceProgress::default());
        Ok(MaintenanceReport::default())
    }
}
