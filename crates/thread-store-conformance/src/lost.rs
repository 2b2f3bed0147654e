//! Losing answers of any store.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use selvedge_protocol::{RolloutItem, SessionMeta, StoredThread, ThreadId, ThreadMetadataPatch};
use selvedge_thread_store::{
    Appended, BatchId, ForkThread, MetadataOrigin, Result, RevertThread, SegmentPart, StoreError, ThreadStore,
};

use crate::wrapper::{StoreWrapper, Wrapped};
use crate::{NotApplicable, StoreCall};

/// Loses answers of any store, in front of it.
#[derive(Debug, Default)]
pub(crate) struct LostAnswers {
    /// What each host loses next, by where it stands in memory.
    losses: Mutex<HashMap<usize, Loss>>,
}

/// The call whose answer is lost next, and whether it takes effect.
type Loss = Arc<Mutex<Option<(StoreCall, bool)>>>;

impl LostAnswers {
    /// Loses nothing yet.
    #[must_use]
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Stands in front of a host that was opened.
    pub(crate) fn host(&self, store: Arc<dyn ThreadStore>) -> Arc<dyn ThreadStore> {
        let loss = Loss::default();
        let host: Arc<dyn ThreadStore> = Arc::new(Wrapped(Host { store, loss: Arc::clone(&loss) }));
        locked(&self.losses).insert(address(&host), loss);
        host
    }

    /// Loses the answer of the next call of this kind to a host.
    ///
    /// # Errors
    /// If nobody stands in front of the host.
    pub(crate) fn lose(
        &self,
        host: &Arc<dyn ThreadStore>,
        call: StoreCall,
        took_effect: bool,
    ) -> Result<(), NotApplicable> {
        let losses = locked(&self.losses);
        let loss = losses.get(&address(host)).ok_or_else(|| NotApplicable::because("a host of somewhere else"))?;
        *locked(loss) = Some((call, took_effect));
        Ok(())
    }
}

fn address(host: &Arc<dyn ThreadStore>) -> usize {
    Arc::as_ptr(host).cast::<()>() as usize
}

/// Nothing is done under these locks that could panic.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A host that loses an answer.
#[derive(Debug)]
struct Host {
    store: Arc<dyn ThreadStore>,
    loss: Loss,
}

impl Host {
    /// Makes a call, or does not, and loses its answer if it is the one. A call that failed did nothing whose answer could be lost.
    async fn answer<T>(
        &self,
        call: StoreCall,
        thread_id: ThreadId,
        batch: Option<BatchId>,
        made: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let lost = locked(&self.loss).take_if(|(lost, _)| *lost == call);
        match lost {
            None => return made.await,
            Some((_, true)) => _ = made.await?,
            Some((_, false)) => {}
        }
        let source = io::Error::new(io::ErrorKind::ConnectionReset, "the answer was lost").into();
        Err(StoreError::OutcomeUnknown { thread_id, batch, source })
    }
}

#[async_trait]
impl StoreWrapper for Host {
    fn inner(&self) -> &dyn ThreadStore {
        &*self.store
    }

    async fn create_thread(&self, meta: SessionMeta) -> Result<()> {
        // Without an id nothing can be made, and no answer lost.
        let Some(thread_id) = meta.id else { return self.store.create_thread(meta).await };
        self.answer(StoreCall::Create, thread_id, None, self.store.create_thread(meta)).await
    }

    async fn resume_thread(&self, thread_id: ThreadId) -> Result<()> {
        self.answer(StoreCall::Resume, thread_id, None, self.store.resume_thread(thread_id)).await
    }

    async fn append_items(&self, thread_id: ThreadId, batch: BatchId, items: &[RolloutItem]) -> Result<Appended> {
        let made = self.store.append_items(thread_id, batch, items);
        self.answer(StoreCall::Append, thread_id, Some(batch), made).await
    }

    async fn persist_thread(&self, thread_id: ThreadId) -> Result<()> {
        self.answer(StoreCall::Persist, thread_id, None, self.store.persist_thread(thread_id)).await
    }

    async fn flush_thread(&self, thread_id: ThreadId) -> Result<()> {
        self.answer(StoreCall::Flush, thread_id, None, self.store.flush_thread(thread_id)).await
    }

    async fn sync_thread(&self, thread_id: ThreadId) -> Result<()> {
        self.answer(StoreCall::Sync, thread_id, None, self.store.sync_thread(thread_id)).await
    }

    async fn shutdown_thread(&self, thread_id: ThreadId) -> Result<()> {
        self.answer(StoreCall::Shutdown, thread_id, None, self.store.shutdown_thread(thread_id)).await
    }

    async fn discard_thread(&self, thread_id: ThreadId) -> Result<()> {
        self.answer(StoreCall::Discard, thread_id, None, self.store.discard_thread(thread_id)).await
    }

    async fn update_thread_metadata(
        &self,
        thread_id: ThreadId,
        patch: &ThreadMetadataPatch,
        origin: MetadataOrigin,
    ) -> Result<StoredThread> {
        let made = self.store.update_thread_metadata(thread_id, patch, origin);
        self.answer(StoreCall::Update, thread_id, None, made).await
    }

    async fn archive_thread(&self, thread_id: ThreadId) -> Result<StoredThread> {
        self.answer(StoreCall::Archive, thread_id, None, self.store.archive_thread(thread_id)).await
    }

    async fn unarchive_thread(&self, thread_id: ThreadId) -> Result<StoredThread> {
        self.answer(StoreCall::Unarchive, thread_id, None, self.store.unarchive_thread(thread_id)).await
    }

    async fn delete_thread(&self, thread_id: ThreadId) -> Result<()> {
        self.answer(StoreCall::Delete, thread_id, None, self.store.delete_thread(thread_id)).await
    }

    async fn detach_thread(&self, thread_id: ThreadId) -> Result<StoredThread> {
        self.answer(StoreCall::Detach, thread_id, None, self.store.detach_thread(thread_id)).await
    }

    async fn fork_thread(&self, request: ForkThread) -> Result<ThreadId> {
        let Some(thread_id) = request.meta.id else { return self.store.fork_thread(request).await };
        self.answer(StoreCall::Fork, thread_id, None, self.store.fork_thread(request)).await
    }

    async fn revert_thread(&self, request: RevertThread) -> Result<usize> {
        let (thread_id, batch) = (request.thread_id, Some(request.batch));
        self.answer(StoreCall::Revert, thread_id, batch, self.store.revert_thread(request)).await
    }

    async fn import_segment(&self, part: SegmentPart<'_>) -> Result<u64> {
        let thread_id = part.info.thread_id;
        self.answer(StoreCall::Import, thread_id, None, self.store.import_segment(part)).await
    }
}
