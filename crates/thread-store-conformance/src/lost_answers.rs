//! Loses answers of any store, by a wrapper around its hosts.
//!
//! A client whose connection breaks does not know whether its call took effect. The wrapper simulates both cases for one planned
//! call: it makes the call and drops the answer, or it does not make the call. In both cases the client gets `OutcomeUnknown`.

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

/// Wraps hosts, and loses answers of them as planned.
#[derive(Debug, Default)]
pub(crate) struct LostAnswers {
    /// The next loss of each host. The key is the address of the host, because a `dyn ThreadStore` has no other identity.
    losses: Mutex<HashMap<usize, NextLoss>>,
}

/// The next loss of a host, if one is planned. The host and [`LostAnswers`] share it.
type NextLoss = Arc<Mutex<Option<PlannedLoss>>>;

/// A loss of an answer that will happen.
#[derive(Clone, Copy, Debug)]
struct PlannedLoss {
    /// The kind of call whose answer is lost.
    call: StoreCall,
    /// Whether the call takes effect before its answer is lost.
    takes_effect: bool,
}

impl LostAnswers {
    /// Creates an instance without planned losses.
    #[must_use]
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Wraps a host.
    pub(crate) fn host(&self, store: Arc<dyn ThreadStore>) -> Arc<dyn ThreadStore> {
        let next_loss = NextLoss::default();
        let host: Arc<dyn ThreadStore> = Arc::new(Wrapped(LossyHost { store, next_loss: Arc::clone(&next_loss) }));
        locked(&self.losses).insert(address(&host), next_loss);
        host
    }

    /// Plans to lose the answer of the next call of this kind to a host.
    ///
    /// # Errors
    /// If the host is not one of those that were wrapped here.
    pub(crate) fn lose(
        &self,
        host: &Arc<dyn ThreadStore>,
        call: StoreCall,
        takes_effect: bool,
    ) -> Result<(), NotApplicable> {
        let losses = locked(&self.losses);
        let next_loss =
            losses.get(&address(host)).ok_or_else(|| NotApplicable::because("the host was not wrapped here"))?;
        *locked(next_loss) = Some(PlannedLoss { call, takes_effect });
        Ok(())
    }
}

fn address(host: &Arc<dyn ThreadStore>) -> usize {
    Arc::as_ptr(host).cast::<()>() as usize
}

/// Locks a mutex. A poisoned one is used as well, because no code under these locks can panic halfway through a change.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A host that loses an answer when one is planned.
#[derive(Debug)]
struct LossyHost {
    store: Arc<dyn ThreadStore>,
    next_loss: NextLoss,
}

impl LossyHost {
    /// Makes a call and returns its answer, unless the loss of this answer is planned.
    ///
    /// A planned call that fails returns its own error: it had no effect, so that no answer about an effect can be lost.
    async fn answer<T>(
        &self,
        call: StoreCall,
        thread_id: ThreadId,
        batch: Option<BatchId>,
        made: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        // The plan is taken before the call, so that it applies to one call only: the repetition succeeds.
        let planned = locked(&self.next_loss).take_if(|loss| loss.call == call);
        match planned {
            None => return made.await,
            Some(PlannedLoss { takes_effect: true, .. }) => _ = made.await?,
            // A future that is never polled has no effect.
            Some(PlannedLoss { takes_effect: false, .. }) => {}
        }
        let source = io::Error::new(io::ErrorKind::ConnectionReset, "the answer was lost").into();
        Err(StoreError::OutcomeUnknown { thread_id, batch, source })
    }
}

#[async_trait]
impl StoreWrapper for LossyHost {
    fn inner(&self) -> &dyn ThreadStore {
        &*self.store
    }

    async fn create_thread(&self, meta: SessionMeta) -> Result<()> {
        // The store refuses a head without an id, so that there is no effect to be uncertain about.
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
