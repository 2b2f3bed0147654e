//! A store that records the calls it gets, and fails or hangs when a test requires it.
#![expect(clippy::unwrap_used, reason = "test code, which clippy does not recognize without the attribute `test`")]

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use selvedge_history::ModelContext;
use selvedge_protocol::{
    Cursor, ItemQuery, Page, RolloutItem, SearchHit, SearchQuery, SegmentId, SessionMeta, StatsQuery, StoredThread,
    ThreadId, ThreadMetadataPatch, ThreadQuery, ThreadStats, Turn, TurnItemEntry, TurnQuery,
};
use selvedge_thread_manager::ThreadManager;
use selvedge_thread_store::{
    Appended, BatchId, ChangePage, ForkThread, InMemoryThreadStore, LinePage, LinePosition, LineQuery,
    MaintenanceProgress, MaintenanceReport, MaintenanceRequest, MetadataOrigin, Result, RevertThread, SegmentInfo,
    SegmentPart, StoreError, ThreadHistory, ThreadLookup, ThreadReader, ThreadStore, WriterState,
};
use tokio::sync::Semaphore;

/// An operation of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Create,
    Resume,
    Append,
    Persist,
    Flush,
    Sync,
    Shutdown,
    Discard,
    LoadContext,
    Read,
    Update,
    Revert,
    Fork,
    Archive,
    Unarchive,
    Delete,
    Detach,
}

/// A call that succeeded.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Call {
    /// The kinds of the items.
    Append(Vec<String>),
    Update(Box<ThreadMetadataPatch>, MetadataOrigin),
    Other(Op),
}

/// A fault of an operation.
#[derive(Clone, Debug)]
enum Fault {
    /// It fails and changes nothing.
    Fails,
    /// It waits at the gate before it does anything.
    HangsBefore(Gate),
    /// It waits at the gate when everything is done.
    HangsAfter(Gate),
    /// Its answer is lost, and it takes effect or does not.
    LosesAnswer { took_effect: bool },
}

#[derive(Debug)]
struct Rule {
    op: Op,
    thread_id: Option<ThreadId>,
    fault: Fault,
    times: usize,
}

/// Calls wait here until the gate is opened.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    arrivals: Arc<Semaphore>,
    open: Arc<Semaphore>,
}

impl Gate {
    fn new() -> Self {
        Self { arrivals: Arc::new(Semaphore::new(0)), open: Arc::new(Semaphore::new(0)) }
    }

    /// Lets all calls pass from now on.
    pub(crate) fn open(&self) {
        self.open.add_permits(1);
    }

    /// Waits until a call waits here.
    pub(crate) async fn reached(&self) {
        self.arrivals.acquire().await.unwrap().forget();
    }

    async fn pass(&self) {
        self.arrivals.add_permits(1);
        let _permit = self.open.acquire().await.unwrap();
    }
}

/// A store in memory that records its calls.
#[derive(Clone, Debug)]
pub(crate) struct WatchedStore {
    inner: Arc<InMemoryThreadStore>,
    calls: Arc<Mutex<Vec<Call>>>,
    rules: Arc<Mutex<Vec<Rule>>>,
}

impl WatchedStore {
    pub(crate) fn new() -> Self {
        Self { inner: Arc::new(InMemoryThreadStore::new()), calls: Arc::default(), rules: Arc::default() }
    }

    pub(crate) fn manager(&self) -> ThreadManager {
        ThreadManager::new(Arc::new(self.clone()))
    }

    /// Fails the next `times` calls.
    pub(crate) fn fail(&self, op: Op, times: usize) {
        self.rule(op, None, Fault::Fails, times);
    }

    /// Fails all calls for a thread.
    pub(crate) fn fail_for(&self, op: Op, thread_id: ThreadId) {
        self.rule(op, Some(thread_id), Fault::Fails, usize::MAX);
    }

    /// Loses the answers of the next `times` calls.
    pub(crate) fn lose_answers(&self, op: Op, took_effect: bool, times: usize) {
        self.rule(op, None, Fault::LosesAnswer { took_effect }, times);
    }

    /// Holds up the next call before it does anything.
    pub(crate) fn hang_before(&self, op: Op, thread_id: Option<ThreadId>) -> Gate {
        let gate = Gate::new();
        self.rule(op, thread_id, Fault::HangsBefore(gate.clone()), 1);
        gate
    }

    /// Holds up the next call when everything is done.
    pub(crate) fn hang_after(&self, op: Op, thread_id: Option<ThreadId>) -> Gate {
        let gate = Gate::new();
        self.rule(op, thread_id, Fault::HangsAfter(gate.clone()), 1);
        gate
    }

    /// Removes all faults and recorded calls.
    pub(crate) fn forget(&self) {
        self.rules.lock().unwrap().clear();
        self.calls.lock().unwrap().clear();
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    /// Returns the derived patches that the store got, in order.
    pub(crate) fn derived_patches(&self) -> Vec<ThreadMetadataPatch> {
        let calls = self.calls().into_iter().filter_map(|call| match call {
            Call::Update(patch, MetadataOrigin::Derived) => Some(*patch),
            _ => None,
        });
        calls.collect()
    }

    fn rule(&self, op: Op, thread_id: Option<ThreadId>, fault: Fault, times: usize) {
        self.rules.lock().unwrap().push(Rule { op, thread_id, fault, times });
    }

    fn fault(&self, op: Op, thread_id: ThreadId) -> Option<Fault> {
        let mut rules = self.rules.lock().unwrap();
        let is_meant =
            |rule: &&mut Rule| rule.op == op && rule.times > 0 && rule.thread_id.is_none_or(|id| id == thread_id);
        let rule = rules.iter_mut().find(is_meant)?;
        rule.times -= 1;
        Some(rule.fault.clone())
    }

    async fn watch<T>(
        &self,
        op: Op,
        thread_id: ThreadId,
        call: Call,
        work: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let fault = self.fault(op, thread_id);
        match &fault {
            Some(Fault::Fails) => return Err(StoreError::backend(format!("a test made {op:?} fail"), "no reason")),
            Some(Fault::HangsBefore(gate)) => gate.pass().await,
            Some(Fault::LosesAnswer { took_effect: false }) => return Err(lost(thread_id)),
            _ => {}
        }
        let value = work.await?;
        if let Some(Fault::LosesAnswer { .. }) = &fault {
            return Err(lost(thread_id));
        }
        self.calls.lock().unwrap().push(call);
        if let Some(Fault::HangsAfter(gate)) = &fault {
            gate.pass().await;
        }
        Ok(value)
    }

    async fn watch_op<T>(
        &self,
        op: Op,
        thread_id: ThreadId,
        work: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        self.watch(op, thread_id, Call::Other(op), work).await
    }
}

fn lost(thread_id: ThreadId) -> StoreError {
    StoreError::OutcomeUnknown { thread_id, batch: None, source: "the answer was lost".into() }
}

#[async_trait]
impl ThreadReader for WatchedStore {
    async fn load_history(&self, thread_id: ThreadId) -> Result<ThreadHistory> {
        self.inner.load_history(thread_id).await
    }

    async fn read_lines(&self, query: &LineQuery) -> Result<LinePage> {
        self.inner.read_lines(query).await
    }

    async fn wait_for_lines(&self, thread_id: ThreadId, after: &LinePosition) -> Result<()> {
        self.inner.wait_for_lines(thread_id, after).await
    }

    async fn export(&self, thread_id: ThreadId, out: &mut (dyn std::io::Write + Send)) -> Result<u64> {
        self.inner.export(thread_id, out).await
    }

    async fn list_changes(&self, after: Option<&Cursor>, limit: usize) -> Result<ChangePage> {
        self.inner.list_changes(after, limit).await
    }

    async fn wait_for_changes(&self, after: &Cursor) -> Result<()> {
        self.inner.wait_for_changes(after).await
    }

    async fn list_segments(&self, thread_id: ThreadId) -> Result<Vec<SegmentInfo>> {
        self.inner.list_segments(thread_id).await
    }

    async fn read_segment(
        &self,
        thread_id: ThreadId,
        segment: SegmentId,
        at: u64,
        max_bytes: usize,
    ) -> Result<Vec<u8>> {
        self.inner.read_segment(thread_id, segment, at, max_bytes).await
    }

    async fn read_session_meta(&self, thread_id: ThreadId) -> Result<Option<SessionMeta>> {
        self.inner.read_session_meta(thread_id).await
    }

    async fn find_threads(&self, lookup: &ThreadLookup) -> Result<Vec<ThreadId>> {
        self.inner.find_threads(lookup).await
    }

    async fn distinct_prefix_len(&self, thread_ids: &[ThreadId]) -> Result<usize> {
        self.inner.distinct_prefix_len(thread_ids).await
    }

    async fn thread_stats(&self, query: &StatsQuery) -> Result<ThreadStats> {
        self.inner.thread_stats(query).await
    }

    async fn load_model_context(&self, thread_id: ThreadId) -> Result<ModelContext> {
        self.watch_op(Op::LoadContext, thread_id, self.inner.load_model_context(thread_id)).await
    }

    async fn read_thread(&self, thread_id: ThreadId) -> Result<StoredThread> {
        self.watch_op(Op::Read, thread_id, self.inner.read_thread(thread_id)).await
    }

    async fn list_threads(&self, query: &ThreadQuery) -> Result<Page<StoredThread>> {
        self.inner.list_threads(query).await
    }

    async fn search_threads(&self, query: &SearchQuery) -> Result<Page<SearchHit>> {
        self.inner.search_threads(query).await
    }

    async fn list_turns(&self, query: &TurnQuery) -> Result<Page<Turn>> {
        self.inner.list_turns(query).await
    }

    async fn list_items(&self, query: &ItemQuery) -> Result<Page<TurnItemEntry>> {
        self.inner.list_items(query).await
    }
}

#[async_trait]
impl ThreadStore for WatchedStore {
    async fn create_thread(&self, meta: SessionMeta) -> Result<()> {
        self.watch_op(Op::Create, meta.id.unwrap(), self.inner.create_thread(meta)).await
    }

    async fn resume_thread(&self, thread_id: ThreadId) -> Result<()> {
        self.watch_op(Op::Resume, thread_id, self.inner.resume_thread(thread_id)).await
    }

    async fn append_items(&self, thread_id: ThreadId, batch: BatchId, items: &[RolloutItem]) -> Result<Appended> {
        let call = Call::Append(items.iter().map(|item| item.kind().to_owned()).collect());
        self.watch(Op::Append, thread_id, call, self.inner.append_items(thread_id, batch, items)).await
    }

    async fn writer_state(&self, thread_id: ThreadId) -> Result<WriterState> {
        self.inner.writer_state(thread_id).await
    }

    async fn persist_thread(&self, thread_id: ThreadId) -> Result<()> {
        self.watch_op(Op::Persist, thread_id, self.inner.persist_thread(thread_id)).await
    }

    async fn flush_thread(&self, thread_id: ThreadId) -> Result<()> {
        self.watch_op(Op::Flush, thread_id, self.inner.flush_thread(thread_id)).await
    }

    async fn sync_thread(&self, thread_id: ThreadId) -> Result<()> {
        self.watch_op(Op::Sync, thread_id, self.inner.sync_thread(thread_id)).await
    }

    async fn shutdown_thread(&self, thread_id: ThreadId) -> Result<()> {
        self.watch_op(Op::Shutdown, thread_id, self.inner.shutdown_thread(thread_id)).await
    }

    async fn discard_thread(&self, thread_id: ThreadId) -> Result<()> {
        self.watch_op(Op::Discard, thread_id, self.inner.discard_thread(thread_id)).await
    }

    async fn update_thread_metadata(
        &self,
        thread_id: ThreadId,
        patch: &ThreadMetadataPatch,
        origin: MetadataOrigin,
    ) -> Result<StoredThread> {
        let call = Call::Update(Box::new(patch.clone()), origin);
        self.watch(Op::Update, thread_id, call, self.inner.update_thread_metadata(thread_id, patch, origin)).await
    }

    async fn archive_thread(&self, thread_id: ThreadId) -> Result<StoredThread> {
        self.watch_op(Op::Archive, thread_id, self.inner.archive_thread(thread_id)).await
    }

    async fn unarchive_thread(&self, thread_id: ThreadId) -> Result<StoredThread> {
        self.watch_op(Op::Unarchive, thread_id, self.inner.unarchive_thread(thread_id)).await
    }

    async fn delete_thread(&self, thread_id: ThreadId) -> Result<()> {
        self.watch_op(Op::Delete, thread_id, self.inner.delete_thread(thread_id)).await
    }

    async fn detach_thread(&self, thread_id: ThreadId) -> Result<StoredThread> {
        self.watch_op(Op::Detach, thread_id, self.inner.detach_thread(thread_id)).await
    }

    async fn fork_thread(&self, request: ForkThread) -> Result<ThreadId> {
        let source = request.source;
        self.watch_op(Op::Fork, source, self.inner.fork_thread(request)).await
    }

    async fn revert_thread(&self, request: RevertThread) -> Result<usize> {
        let thread_id = request.thread_id;
        self.watch_op(Op::Revert, thread_id, self.inner.revert_thread(request)).await
    }

    async fn import_segment(&self, part: SegmentPart<'_>) -> Result<u64> {
        self.inner.import_segment(part).await
    }

    async fn maintain(
        &self,
        request: &MaintenanceRequest,
        progress: &mut (dyn FnMut(MaintenanceProgress) + Send),
    ) -> Result<MaintenanceReport> {
        self.inner.maintain(request, progress).await
    }
}
