//! [`ThreadStore`]: each method by the operation that does it.
//!
//! A change of a live thread acquires the permit of its [write queue](crate::store_core::write_queue), one of a cold thread
//! that of its [cold queue](selvedge_thread_store::implement::ColdQueues). The permit moves into the blocking work, so it is kept until the
//! work is done, also if the call is dropped.

use async_trait::async_trait;
use selvedge_history::head_identity;
use selvedge_protocol::{Durability, RolloutItem, SessionMeta, StoredThread, ThreadId, ThreadMetadataPatch};
use selvedge_thread_store::{
    Appended, BatchId, ForkThread, MaintenanceProgress, MaintenanceReport, MaintenanceRequest, MetadataOrigin, Result,
    RevertThread, SegmentPart, ThreadReader, ThreadStore, WriterState,
};

use super::LocalThreadStore;
use crate::blocking::runtime;
use crate::error::retry_if_moved;
use crate::store_core::StoreCore;
use crate::write::append::{BatchWrite, is_large, write_once};

#[async_trait]
impl ThreadStore for LocalThreadStore {
    async fn create_thread(&self, meta: SessionMeta) -> Result<()> {
        // `blocking` and not `writing`: nothing is written yet.
        self.blocking(move |core| core.create(meta)).await
    }

    async fn resume_thread(&self, thread_id: ThreadId) -> Result<()> {
        self.changing(thread_id, move |core| core.resume(thread_id)).await
    }

    /// The hot path. A small batch is written by the calling task, without a hand-over to another thread; whatever else may
    /// block, creating the file or writing a large batch, goes to the blocking pool.
    async fn append_items(&self, thread_id: ThreadId, batch: BatchId, items: &[RolloutItem]) -> Result<Appended> {
        let live = self.core.live.get(thread_id)?;
        if self.durability() == Durability::Synced {
            // Before the write: a batch without its fsync could not be acknowledged.
            runtime()?;
        }
        if is_large(items) || !live.is_materialized() {
            // The permit goes along, so that no later batch overtakes this one.
            let mut permit = live.acquire().await;
            let items = items.to_vec();
            let work = move |core: &StoreCore| {
                let write = write_once(&live, &mut permit, batch, &items)?;
                // The order is settled by the write. While this batch waits for its fsync, others may be written.
                drop(permit);
                core.sync_write(&live, write)
            };
            return self.writing(thread_id, work).await;
        }
        // The inline permit is a guard that must not live across an `await`. So it gets a block of its own.
        let inline = match live.queue.try_acquire() {
            Some(mut permit) => Some(write_once(&live, permit.recent(), batch, items)?),
            None => None,
        };
        let write = match inline {
            Some(write) => write,
            None => write_once(&live, &mut *live.acquire().await, batch, items)?,
        };
        let appended = write.appended();
        self.core.notify_written(thread_id);
        if self.durability() == Durability::Synced {
            match write {
                BatchWrite::Written(batch) => self.core.group_commit.sync(live, batch).await?,
                BatchWrite::Repeated(_) => self.blocking(move |core| core.sync_write(&live, write).map(drop)).await?,
            }
        }
        Ok(appended)
    }

    async fn writer_state(&self, thread_id: ThreadId) -> Result<WriterState> {
        let live = self.core.live.get(thread_id)?;
        let permit = live.acquire().await;
        self.reading(move |core| core.writer_state(thread_id, &live, &permit)).await
    }

    async fn persist_thread(&self, thread_id: ThreadId) -> Result<()> {
        let permit = self.core.live.get(thread_id)?.acquire().await;
        self.writing(thread_id, move |core| {
            let _permit = permit;
            core.persist(thread_id)
        })
        .await
    }

    async fn flush_thread(&self, thread_id: ThreadId) -> Result<()> {
        // With the permit, all earlier appends are written. It is not needed any longer: later appends may run during the sync.
        drop(self.core.live.get(thread_id)?.acquire().await);
        self.blocking(move |core| core.flush(thread_id)).await
    }

    async fn sync_thread(&self, thread_id: ThreadId) -> Result<()> {
        // As in `flush_thread`.
        drop(self.core.live.get(thread_id)?.acquire().await);
        self.blocking(move |core| core.sync(thread_id)).await
    }

    async fn shutdown_thread(&self, thread_id: ThreadId) -> Result<()> {
        let permit = self.core.live.get(thread_id)?.acquire().await;
        self.writing(thread_id, move |core| {
            let _permit = permit;
            core.shutdown(thread_id)
        })
        .await
    }

    async fn discard_thread(&self, thread_id: ThreadId) -> Result<()> {
        let permit = self.core.live.get(thread_id)?.acquire().await;
        self.blocking(move |core| {
            let _permit = permit;
            core.discard(thread_id)
        })
        .await
    }

    async fn update_thread_metadata(
        &self,
        thread_id: ThreadId,
        patch: &ThreadMetadataPatch,
        origin: MetadataOrigin,
    ) -> Result<StoredThread> {
        if origin == MetadataOrigin::Derived {
            // First without reading: a live thread usually has its record in memory.
            if let Some(record) = self.core.apply_derived_metadata(thread_id, patch, None) {
                return Ok(record);
            }
            let record = self.read_thread(thread_id).await?;
            // For a cold thread, the record from the log already contains everything that can be derived.
            let applied = self.core.apply_derived_metadata(thread_id, patch, Some(record.clone()));
            return Ok(applied.unwrap_or(record));
        }
        // Also for a live thread: what the patch changes is compared with the record that earlier calls left.
        let permit = self.core.cold_queues.acquire(thread_id).await;
        let (before, patch) = (self.read_thread(thread_id).await?, patch.clone());
        self.writing(thread_id, move |core| {
            let _permit = permit;
            core.set_metadata(&before, &patch)
        })
        .await?;
        self.read_thread(thread_id).await
    }

    async fn archive_thread(&self, thread_id: ThreadId) -> Result<StoredThread> {
        self.changing(thread_id, move |core| core.archive(thread_id)).await?;
        self.read_thread(thread_id).await
    }

    async fn unarchive_thread(&self, thread_id: ThreadId) -> Result<StoredThread> {
        self.changing(thread_id, move |core| core.unarchive(thread_id)).await?;
        self.read_thread(thread_id).await
    }

    async fn delete_thread(&self, thread_id: ThreadId) -> Result<()> {
        self.changing(thread_id, move |core| core.delete(thread_id)).await?;
        self.core.index.erase(thread_id).await;
        Ok(())
    }

    async fn detach_thread(&self, thread_id: ThreadId) -> Result<StoredThread> {
        self.changing(thread_id, move |core| core.detach(thread_id)).await?;
        self.read_thread(thread_id).await
    }

    async fn fork_thread(&self, request: ForkThread) -> Result<ThreadId> {
        // The permit is that of the new thread, so a repeated request waits for the first one. The source is only read.
        let (thread_id, _) = head_identity(&request.meta)?;
        self.changing(thread_id, move |core| retry_if_moved(|| core.fork(&request))).await
    }

    async fn revert_thread(&self, request: RevertThread) -> Result<usize> {
        let thread_id = request.thread_id;
        let Some(live) = self.core.live.find(thread_id) else {
            return self.changing(thread_id, move |core| core.revert(&request, None)).await;
        };
        let mut permit = live.acquire().await;
        self.writing(thread_id, move |core| core.revert(&request, Some((&live, &mut permit)))).await
    }

    async fn import_segment(&self, part: SegmentPart<'_>) -> Result<u64> {
        let (info, bytes) = (part.info.clone(), part.bytes.to_vec());
        let SegmentPart { at, is_last, .. } = part;
        let import =
            move |core: &StoreCore| core.import_segment(&info, SegmentPart { info: &info, at, bytes: &bytes, is_last });
        self.changing(part.info.thread_id, import).await
    }

    async fn maintain(
        &self,
        request: &MaintenanceRequest,
        progress: &mut (dyn FnMut(MaintenanceProgress) + Send),
    ) -> Result<MaintenanceReport> {
        self.admin().maintain(request, progress).await
    }
}
