//! The implementation of `ThreadStore`. Each call does its work in a task of its own, so that a dropped future ends nothing
//! half done. The calls on a thread follow each other also when they are dropped: the task owns the lock of the
//! thread's writer or, of a thread that this store does not write, the permit of its cold queue.

use std::sync::Arc;

use async_trait::async_trait;
use selvedge_history::head_identity;
use selvedge_protocol::{RolloutItem, SessionMeta, StoredThread, ThreadId, ThreadMetadataPatch};
use selvedge_thread_store::{
    Appended, BatchId, ForkThread, LineQuery, LineStart, MaintenanceProgress, MaintenanceReport, MaintenanceRequest,
    MetadataOrigin, Result, RevertThread, SegmentPart, StoreError, ThreadReader, ThreadStore, WriterState,
};

use crate::PostgresThreadStore;
use crate::host::{PostgresHost, outcome_of};
use crate::live_threads::{LiveWriter, LockedWriter, WriterProgress, WriterStage};

impl PostgresThreadStore {
    /// Locks the writer of a live thread. The lock is requested in the first poll, so calls follow each other in this order.
    async fn writer(&self, thread_id: ThreadId) -> Result<(Arc<LiveWriter>, LockedWriter)> {
        let writer = self.host.live.get(thread_id)?;
        let state = writer.lock().await;
        // An earlier call may have given the thread up.
        if matches!(state.stage, WriterStage::Ended) {
            Err(StoreError::not_live(thread_id))
        } else {
            Ok((writer, state))
        }
    }

    /// Locks the writer of a thread if it is live in this store.
    async fn writer_if_live(&self, thread_id: ThreadId) -> Option<(Arc<LiveWriter>, LockedWriter)> {
        self.writer(thread_id).await.ok()
    }

    /// Changes a thread that is not live in this store. A call that was dropped while at work is finished before the next one
    /// begins.
    async fn changing<T, F>(&self, thread_id: ThreadId, change: impl FnOnce(Arc<PostgresHost>) -> F + Send) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let permit = self.host.cold_queues.acquire(thread_id).await;
        let change = change(Arc::clone(&self.host));
        to_the_end(async move {
            let _permit = permit;
            change.await
        })
        .await
    }
}

/// Releases a writer. The projections of its thread follow, which the caller does not wait for.
async fn release(
    host: &Arc<PostgresHost>,
    writer: &LiveWriter,
    state: &mut WriterProgress,
    is_flushed: bool,
) -> Result<()> {
    let is_claimed = matches!(state.stage, WriterStage::Claimed(_));
    host.release(writer, state, is_flushed).await?;
    host.fold_later(is_claimed.then_some(writer.thread_id));
    Ok(())
}

/// Completes a call even if the caller drops its future.
async fn to_the_end<T: Send + 'static>(call: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    outcome_of(tokio::spawn(call)).await?
}

#[async_trait]
impl ThreadStore for PostgresThreadStore {
    async fn create_thread(&self, meta: SessionMeta) -> Result<()> {
        self.host.create(meta).await
    }

    async fn resume_thread(&self, thread_id: ThreadId) -> Result<()> {
        self.changing(thread_id, |host| async move { host.resume(thread_id).await }).await
    }

    async fn append_items(&self, thread_id: ThreadId, batch: BatchId, items: &[RolloutItem]) -> Result<Appended> {
        let (writer, mut state) = self.writer(thread_id).await?;
        let (host, items) = (Arc::clone(&self.host), items.to_vec());
        to_the_end(async move { host.append(&writer, &mut state, batch, &items).await }).await
    }

    async fn writer_state(&self, thread_id: ThreadId) -> Result<WriterState> {
        let (_, state) = self.writer(thread_id).await?;
        let (last_batch, epoch) = match &state.stage {
            WriterStage::Lazy(_) => return Ok(WriterState { end: None, last_batch: None, epoch: 0 }),
            WriterStage::Claimed(claimed) => (claimed.batches.last(), claimed.claim.epoch),
            WriterStage::Lost(reason) => return Err(StoreError::Lost { thread_id, reason: reason.clone() }),
            WriterStage::Ended => return Err(StoreError::not_live(thread_id)),
        };
        let end = self.read_lines(&LineQuery::from(thread_id, LineStart::End)).await?.next;
        Ok(WriterState { end: Some(end), last_batch, epoch: u64::try_from(epoch).unwrap_or_default() })
    }

    async fn persist_thread(&self, thread_id: ThreadId) -> Result<()> {
        let (writer, mut state) = self.writer(thread_id).await?;
        let host = Arc::clone(&self.host);
        to_the_end(async move { host.persist(&writer, &mut state).await }).await
    }

    async fn flush_thread(&self, thread_id: ThreadId) -> Result<()> {
        let (writer, mut state) = self.writer(thread_id).await?;
        let host = Arc::clone(&self.host);
        to_the_end(async move { host.flush(&writer, &mut state).await }).await
    }

    async fn sync_thread(&self, thread_id: ThreadId) -> Result<()> {
        let (writer, mut state) = self.writer(thread_id).await?;
        let host = Arc::clone(&self.host);
        to_the_end(async move { host.sync(&writer, &mut state).await }).await
    }

    async fn shutdown_thread(&self, thread_id: ThreadId) -> Result<()> {
        let (writer, mut state) = self.writer(thread_id).await?;
        let host = Arc::clone(&self.host);
        to_the_end(async move { release(&host, &writer, &mut state, true).await }).await
    }

    async fn discard_thread(&self, thread_id: ThreadId) -> Result<()> {
        let (writer, mut state) = self.writer(thread_id).await?;
        let host = Arc::clone(&self.host);
        to_the_end(async move { release(&host, &writer, &mut state, false).await }).await
    }

    async fn update_thread_metadata(
        &self,
        thread_id: ThreadId,
        patch: &ThreadMetadataPatch,
        origin: MetadataOrigin,
    ) -> Result<StoredThread> {
        if patch.is_empty() {
            return self.read_thread(thread_id).await;
        }
        let patch = patch.clone();
        match origin {
            // The log has these facts already, so nothing is written to it, and the writer is not needed. A name is only ever set
            // explicitly.
            MetadataOrigin::Derived => {
                let (host, patch) = (Arc::clone(&self.host), ThreadMetadataPatch { name: None, ..patch });
                to_the_end(async move { host.apply_patch(thread_id, &patch).await }).await
            }
            MetadataOrigin::Explicit => match self.writer_if_live(thread_id).await {
                Some(mut live) => {
                    let host = Arc::clone(&self.host);
                    to_the_end(async move { host.keep_patch(thread_id, &patch, Some(&mut live)).await }).await
                }
                None => {
                    self.changing(thread_id, |host| async move { host.keep_patch(thread_id, &patch, None).await }).await
                }
            },
        }
    }

    async fn archive_thread(&self, thread_id: ThreadId) -> Result<StoredThread> {
        self.changing(thread_id, |host| async move { host.set_archived(thread_id, true).await }).await
    }

    async fn unarchive_thread(&self, thread_id: ThreadId) -> Result<StoredThread> {
        self.changing(thread_id, |host| async move { host.set_archived(thread_id, false).await }).await
    }

    async fn delete_thread(&self, thread_id: ThreadId) -> Result<()> {
        self.changing(thread_id, |host| async move { host.delete(thread_id).await }).await
    }

    async fn detach_thread(&self, thread_id: ThreadId) -> Result<StoredThread> {
        self.changing(thread_id, |host| async move { host.detach(thread_id).await }).await
    }

    async fn fork_thread(&self, request: ForkThread) -> Result<ThreadId> {
        // The order is that of the new thread. The source is only read.
        let (thread_id, _) = head_identity(&request.meta)?;
        self.changing(thread_id, |host| async move { host.fork(request).await }).await
    }

    async fn revert_thread(&self, request: RevertThread) -> Result<usize> {
        let thread_id = request.thread_id;
        let Some(mut live) = self.writer_if_live(thread_id).await else {
            return self.changing(thread_id, |host| async move { host.revert(&request, None).await }).await;
        };
        let host = Arc::clone(&self.host);
        to_the_end(async move { host.revert(&request, Some(&mut live)).await }).await
    }

    async fn import_segment(&self, part: SegmentPart<'_>) -> Result<u64> {
        let (info, at, bytes, is_last) = (part.info.clone(), part.at, part.bytes.to_vec(), part.is_last);
        self.changing(part.info.thread_id, |host| async move {
            host.import(SegmentPart { info: &info, at, bytes: &bytes, is_last }).await
        })
        .await
    }

    async fn maintain(
        &self,
        _: &MaintenanceRequest,
        progress: &mut (dyn FnMut(MaintenanceProgress) + Send),
    ) -> Result<MaintenanceReport> {
        // The server compresses and cleans up by itself.
        progress(MaintenanceProgress::default());
        Ok(MaintenanceReport::default())
    }
}
