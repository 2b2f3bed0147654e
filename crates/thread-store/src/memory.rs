//! A store that keeps its threads in memory: complete, and the reference for what the contract means.

mod branch;
mod detach;
mod live;
mod metadata;
mod read;
mod state;

use std::fmt;
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use selvedge_history::ModelContext;
use selvedge_protocol::{
    ItemQuery, Page, RolloutItem, SearchHit, SearchQuery, SessionMeta, StatsQuery, StoredThread, ThreadId,
    ThreadMetadataPatch, ThreadQuery, ThreadStats, Turn, TurnItemEntry, TurnQuery, distinct_prefix_len,
};

use self::state::{State, Writer};
use crate::{
    Appended, ForkThread, PatchOrigin, Result, RevertThread, StoreError, ThreadHistory, ThreadLookup, ThreadReader,
    ThreadStore,
};

/// Threads in memory.
///
/// A clone is the same store. [`InMemoryThreadStore::peer`] gives another store over the same threads, as another process
/// would have it: what is live in one is not live in the other, and taken there.
///
/// Each operation holds one lock from beginning to end and waits for nothing else, which makes it whole by itself: others see
/// all of it or nothing, and a dropped future changes nothing.
#[derive(Clone)]
pub struct InMemoryThreadStore {
    state: Arc<Mutex<State>>,
    writer: Writer,
}

impl InMemoryThreadStore {
    /// A store without threads.
    #[must_use]
    pub fn new() -> Self {
        Self::over(Arc::default())
    }

    /// Another store over the same threads, as another process would have it. Both name this process as the holder of
    /// what is live in them.
    #[must_use]
    pub fn peer(&self) -> Self {
        Self::over(Arc::clone(&self.state))
    }

    fn over(state: Arc<Mutex<State>>) -> Self {
        let writer = locked(&state).new_writer();
        Self { state, writer }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }
}

/// Nothing here panics between two changes that belong together, so that a poisoned state is a whole one.
fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
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

    async fn export(&self, thread_id: ThreadId, out: &mut (dyn Write + Send)) -> Result<u64> {
        // Not under the lock: whoever reads the other end may ask this store meanwhile.
        let history = self.state().load_history(thread_id)?;
        let mut written = 0;
        for line in &history.lines {
            writeln!(out, "{}", line.text()).map_err(|error| StoreError::backend("cannot export a thread", error))?;
            written += line.text().len() as u64 + 1;
        }
        Ok(written)
    }

    async fn load_model_context(&self, thread_id: ThreadId) -> Result<ModelContext> {
        self.state().model_context(thread_id)
    }

    async fn read_thread(&self, thread_id: ThreadId) -> Result<StoredThread> {
        self.state().row(thread_id)
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
        self.state().stats(self.writer, query)
    }

    async fn list_threads(&self, query: &ThreadQuery) -> Result<Page<StoredThread>> {
        self.state().list_threads(query)
    }

    async fn search_threads(&self, query: &SearchQuery) -> Result<Page<SearchHit>> {
        self.state().search_threads(self.writer, query)
    }

    async fn list_turns(&self, query: &TurnQuery) -> Result<Page<Turn>> {
        self.state().list_turns(self.writer, query)
    }

    async fn list_items(&self, query: &ItemQuery) -> Result<Page<TurnItemEntry>> {
        self.state().list_items(self.writer, query)
    }
}

#[async_trait]
impl ThreadStore for InMemoryThreadStore {
    async fn create_thread(&self, meta: SessionMeta) -> Result<()> {
        self.state().create(self.writer, meta)
    }

    async fn resume_thread(&self, thread_id: ThreadId) -> Result<()> {
        self.state().resume(self.writer, thread_id)
    }

    async fn append_items(&self, thread_id: ThreadId, items: &[RolloutItem]) -> Result<Appended> {
        self.state().append(self.writer, thread_id, items)
    }

    async fn persist_thread(&self, thread_id: ThreadId) -> Result<()> {
        self.state().persist(self.writer, thread_id)
    }

    async fn flush_thread(&self, thread_id: ThreadId) -> Result<()> {
        self.state().check_live(self.writer, thread_id)
    }

    async fn sync_thread(&self, thread_id: ThreadId) -> Result<()> {
        // Of memory, nothing survives more than it does anyway.
        self.state().check_live(self.writer, thread_id)
    }

    async fn shutdown_thread(&self, thread_id: ThreadId) -> Result<()> {
        self.state().release(self.writer, thread_id)
    }

    async fn discard_thread(&self, thread_id: ThreadId) -> Result<()> {
        self.state().release(self.writer, thread_id)
    }

    async fn update_thread_metadata(
        &self,
        thread_id: ThreadId,
        patch: &ThreadMetadataPatch,
        origin: PatchOrigin,
    ) -> Result<StoredThread> {
        self.state().update_metadata(self.writer, thread_id, patch, origin)
    }

    async fn archive_thread(&self, thread_id: ThreadId) -> Result<StoredThread> {
        self.state().set_archived(thread_id, true)
    }

    async fn unarchive_thread(&self, thread_id: ThreadId) -> Result<StoredThread> {
        self.state().set_archived(thread_id, false)
    }

    async fn delete_thread(&self, thread_id: ThreadId) -> Result<()> {
        self.state().delete(thread_id)
    }

    async fn detach_thread(&self, thread_id: ThreadId) -> Result<StoredThread> {
        self.state().detach(thread_id)
    }

    async fn fork_thread(&self, request: ForkThread) -> Result<ThreadId> {
        self.state().fork(self.writer, request)
    }

    async fn revert_thread(&self, request: RevertThread) -> Result<usize> {
        self.state().revert(self.writer, &request)
    }
}
