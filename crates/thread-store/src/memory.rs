//! A store that keeps its threads in memory. It is complete, and the reference for what the contract means.

mod branch;
mod live;
mod metadata;
mod read;
mod segments;
mod threads;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use selvedge_history::ModelContext;
use selvedge_protocol::{
    Cursor, ItemQuery, Page, RolloutItem, SearchHit, SearchQuery, SegmentId, SessionMeta, StatsQuery, StoredThread,
    ThreadId, ThreadMetadataPatch, ThreadQuery, ThreadStats, Turn, TurnItemEntry, TurnQuery, distinct_prefix_len,
};

use self::threads::{MemoryState, WriterId};

use crate::implement::ChangeSignal;
use crate::{
    Appended, BatchId, ChangePage, ForkThread, LinePage, LinePosition, LineQuery, MaintenanceProgress,
    MaintenanceReport, MaintenanceRequest, MetadataOrigin, Result, RevertThread, SegmentInfo, SegmentPart,
    ThreadHistory, ThreadLookup, ThreadReader, ThreadStore, WriterState,
};

/// A store of threads in memory.
///
/// A clone is the same store. [`peer`](Self::peer) creates another store over the same threads, like a store in another
/// process: a thread that is live in one is a `Conflict` in the other. When the last clone of a store is dropped, its
/// live threads are given up, as when a process ends.
///
/// Each operation holds one lock from its beginning to its end, and does not wait for anything while it does. So it is
/// atomic: other tasks see all of it or nothing, and a dropped future changes nothing.
#[derive(Clone)]
pub struct InMemoryThreadStore {
    shared: Arc<SharedThreads>,
    writer: WriterId,
    _guard: Arc<ClaimGuard>,
}

/// Releases all claims of a store when its last clone is dropped.
struct ClaimGuard {
    shared: Arc<SharedThreads>,
    writer: WriterId,
}

impl Drop for ClaimGuard {
    fn drop(&mut self) {
        locked(&self.shared.state).release_all(self.writer);
        self.shared.changes.wake();
    }
}

/// The threads, shared by all stores over them.
#[derive(Default)]
struct SharedThreads {
    state: Mutex<MemoryState>,
    changes: ChangeSignal,
}

impl InMemoryThreadStore {
    /// Creates a store without threads.
    #[must_use]
    pub fn new() -> Self {
        Self::over(Arc::default())
    }

    /// Creates another store over the same threads, like a store in another process. Both stores name this process as
    /// the holder of their live threads.
    #[must_use]
    pub fn peer(&self) -> Self {
        Self::over(Arc::clone(&self.shared))
    }

    fn over(shared: Arc<SharedThreads>) -> Self {
        // All clones of this store share the guard, and peers do not. So the claims of this store end with its last
        // clone, and the threads live on as long as there is a peer.
        let writer = locked(&shared.state).new_writer();
        let guard = Arc::new(ClaimGuard { shared: Arc::clone(&shared), writer });
        Self { shared, writer, _guard: guard }
    }

    fn state(&self) -> MutexGuard<'_, MemoryState> {
        locked(&self.shared.state)
    }

    /// Changes the state and wakes all tasks that wait for a change.
    fn change<T>(&self, change: impl FnOnce(&mut MemoryState) -> Result<T>) -> Result<T> {
        // Wake after the lock is released: a woken task takes it immediately. Waking after a failure is needless but
        // allowed.
        let outcome = change(&mut self.state());
        self.shared.changes.wake();
        outcome
    }
}

/// Locks the state. No code panics between two changes that belong together, so a poisoned lock still has a consistent
/// state.
fn locked(state: &Mutex<MemoryState>) -> MutexGuard<'_, MemoryState> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for InMemoryThreadStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for InMemoryThreadStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InMemoryThreadStore").field("threads", &self.state().len()).finish_non_exhaustive()
    }
}

#[async_trait]
impl ThreadReader for InMemoryThreadStore {
    async fn load_history(&self, thread_id: ThreadId) -> Result<ThreadHistory> {
        self.state().load_history(thread_id)
    }

    async fn read_lines(&self, query: &LineQuery) -> Result<LinePage> {
        self.state().read_lines(query)
    }

    async fn wait_for_lines(&self, thread_id: ThreadId, after: &LinePosition) -> Result<()> {
        self.shared.changes.wait_for_lines(self, thread_id, after).await
    }

    async fn load_model_context(&self, thread_id: ThreadId) -> Result<ModelContext> {
        self.state().model_context(thread_id)
    }

    async fn read_thread(&self, thread_id: ThreadId) -> Result<StoredThread> {
        self.state().record(thread_id)
    }

    async fn list_changes(&self, after: Option<&Cursor>, limit: usize) -> Result<ChangePage> {
        self.state().list_changes(after, limit)
    }

    async fn wait_for_changes(&self, after: &Cursor) -> Result<()> {
        self.shared.changes.wait_for_changes(self, after).await
    }

    async fn list_segments(&self, thread_id: ThreadId) -> Result<Vec<SegmentInfo>> {
        self.state().list_segments(thread_id)
    }

    async fn read_segment(
        &self,
        thread_id: ThreadId,
        segment: SegmentId,
        at: u64,
        max_bytes: usize,
    ) -> Result<Vec<u8>> {
        self.state().read_segment(thread_id, segment, at, max_bytes)
    }

    async fn read_session_meta(&self, thread_id: ThreadId) -> Result<Option<SessionMeta>> {
        self.state().session_meta(thread_id)
    }

    async fn find_threads(&self, lookup: &ThreadLookup) -> Result<Vec<ThreadId>> {
        Ok(self.state().find_threads(lookup))
    }

    async fn distinct_prefix_len(&self, thread_ids: &[ThreadId]) -> Result<usize> {
        Ok(distinct_prefix_len(thread_ids, self.state().thread_ids()))
    }

    async fn thread_stats(&self, query: &StatsQuery) -> Result<ThreadStats> {
        Ok(self.state().stats(query))
    }

    async fn list_threads(&self, query: &ThreadQuery) -> Result<Page<StoredThread>> {
        self.state().list_threads(query)
    }

    async fn search_threads(&self, query: &SearchQuery) -> Result<Page<SearchHit>> {
        self.state().search_threads(query)
    }

    async fn list_turns(&self, query: &TurnQuery) -> Result<Page<Turn>> {
        self.state().list_turns(query)
    }

    async fn list_items(&self, query: &ItemQuery) -> Result<Page<TurnItemEntry>> {
        self.state().list_items(query)
    }
}

#[async_trait]
impl ThreadStore for InMemoryThreadStore {
    async fn create_thread(&self, meta: SessionMeta) -> Result<()> {
        self.change(|state| state.create(self.writer, meta))
    }

    async fn resume_thread(&self, thread_id: ThreadId) -> Result<()> {
        self.change(|state| state.resume(self.writer, thread_id))
    }

    async fn append_items(&self, thread_id: ThreadId, batch: BatchId, items: &[RolloutItem]) -> Result<Appended> {
        self.change(|state| state.append(self.writer, thread_id, batch, items))
    }

    async fn writer_state(&self, thread_id: ThreadId) -> Result<WriterState> {
        self.state().writer_state(self.writer, thread_id)
    }

    async fn persist_thread(&self, thread_id: ThreadId) -> Result<()> {
        self.change(|state| state.persist(self.writer, thread_id))
    }

    async fn flush_thread(&self, thread_id: ThreadId) -> Result<()> {
        self.state().check_live(self.writer, thread_id)
    }

    async fn sync_thread(&self, thread_id: ThreadId) -> Result<()> {
        // Memory has no stronger durability than the one that an append has already.
        self.state().check_live(self.writer, thread_id)
    }

    async fn shutdown_thread(&self, thread_id: ThreadId) -> Result<()> {
        self.change(|state| state.release(self.writer, thread_id))
    }

    async fn discard_thread(&self, thread_id: ThreadId) -> Result<()> {
        self.change(|state| state.release(self.writer, thread_id))
    }

    async fn update_thread_metadata(
        &self,
        thread_id: ThreadId,
        patch: &ThreadMetadataPatch,
        origin: MetadataOrigin,
    ) -> Result<StoredThread> {
        self.change(|state| state.update_metadata(self.writer, thread_id, patch, origin))
    }

    async fn archive_thread(&self, thread_id: ThreadId) -> Result<StoredThread> {
        self.change(|state| state.set_archived(thread_id, true))
    }

    async fn unarchive_thread(&self, thread_id: ThreadId) -> Result<StoredThread> {
        self.change(|state| state.set_archived(thread_id, false))
    }

    async fn delete_thread(&self, thread_id: ThreadId) -> Result<()> {
        self.change(|state| state.delete(thread_id))
    }

    async fn detach_thread(&self, thread_id: ThreadId) -> Result<StoredThread> {
        self.change(|state| state.detach(thread_id))
    }

    async fn fork_thread(&self, request: ForkThread) -> Result<ThreadId> {
        self.change(|state| state.fork(self.writer, request))
    }

    async fn revert_thread(&self, request: RevertThread) -> Result<usize> {
        self.change(|state| state.revert(self.writer, &request))
    }

    async fn import_segment(&self, part: SegmentPart<'_>) -> Result<u64> {
        self.change(|state| state.import_segment(part))
    }

    async fn maintain(
        &self,
        _: &MaintenanceRequest,
        progress: &mut (dyn FnMut(MaintenanceProgress) + Send),
    ) -> Result<MaintenanceReport> {
        progress(MaintenanceProgress::default());
        Ok(MaintenanceReport::default())
    }
}
