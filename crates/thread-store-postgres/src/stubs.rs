//! The methods of the contract. They are written one after another.

use async_trait::async_trait;
use selvedge_history::ModelContext;
use selvedge_protocol::{
    Cursor, ItemQuery, Page, RolloutItem, SearchHit, SearchQuery, SegmentId, SessionMeta, StatsQuery, StoredThread,
    ThreadId, ThreadMetadataPatch, ThreadQuery, ThreadStats, Turn, TurnItemEntry, TurnQuery,
};
use selvedge_thread_store::{
    Appended, BatchId, ChangePage, ForkThread, LinePage, LinePosition, LineQuery, MaintenanceProgress,
    MaintenanceReport, MaintenanceRequest, MetadataOrigin, Result, RevertThread, SegmentInfo, SegmentPart, StoreError,
    ThreadLookup, ThreadReader, ThreadStore, WriterState,
};

use crate::PostgresThreadStore;

fn missing<T>(what: &str) -> Result<T> {
    Err(StoreError::Unsupported { what: what.to_owned() })
}

#[async_trait]
impl ThreadReader for PostgresThreadStore {
    async fn read_lines(&self, _query: &LineQuery) -> Result<LinePage> {
        missing("read_lines")
    }
    async fn wait_for_lines(&self, _thread_id: ThreadId, _after: &LinePosition) -> Result<()> {
        missing("wait_for_lines")
    }
    async fn list_changes(&self, _after: Option<&Cursor>, _limit: usize) -> Result<ChangePage> {
        missing("list_changes")
    }
    async fn wait_for_changes(&self, _after: &Cursor) -> Result<()> {
        missing("wait_for_changes")
    }
    async fn list_segments(&self, _thread_id: ThreadId) -> Result<Vec<SegmentInfo>> {
        missing("list_segments")
    }
    async fn read_segment(
        &self,
        _thread_id: ThreadId,
        _segment: SegmentId,
        _at: u64,
        _max_bytes: usize,
    ) -> Result<Vec<u8>> {
        missing("read_segment")
    }
    async fn load_model_context(&self, _thread_id: ThreadId) -> Result<ModelContext> {
        missing("load_model_context")
    }
    async fn read_thread(&self, _thread_id: ThreadId) -> Result<StoredThread> {
        missing("read_thread")
    }
    async fn read_session_meta(&self, _thread_id: ThreadId) -> Result<Option<SessionMeta>> {
        missing("read_session_meta")
    }
    async fn find_threads(&self, _lookup: &ThreadLookup) -> Result<Vec<ThreadId>> {
        missing("find_threads")
    }
    async fn distinct_prefix_len(&self, _thread_ids: &[ThreadId]) -> Result<usize> {
        missing("distinct_prefix_len")
    }
    async fn thread_stats(&self, _query: &StatsQuery) -> Result<ThreadStats> {
        missing("thread_stats")
    }
    async fn list_threads(&self, _query: &ThreadQuery) -> Result<Page<StoredThread>> {
        missing("list_threads")
    }
    async fn search_threads(&self, _query: &SearchQuery) -> Result<Page<SearchHit>> {
        missing("search_threads")
    }
    async fn list_turns(&self, _query: &TurnQuery) -> Result<Page<Turn>> {
        missing("list_turns")
    }
    async fn list_items(&self, _query: &ItemQuery) -> Result<Page<TurnItemEntry>> {
        missing("list_items")
    }
}

#[async_trait]
impl ThreadStore for PostgresThreadStore {
    async fn create_thread(&self, _meta: SessionMeta) -> Result<()> {
        missing("create_thread")
    }
    async fn resume_thread(&self, _thread_id: ThreadId) -> Result<()> {
        missing("resume_thread")
    }
    async fn append_items(&self, _thread_id: ThreadId, _batch: BatchId, _items: &[RolloutItem]) -> Result<Appended> {
        missing("append_items")
    }
    async fn writer_state(&self, _thread_id: ThreadId) -> Result<WriterState> {
        missing("writer_state")
    }
    async fn persist_thread(&self, _thread_id: ThreadId) -> Result<()> {
        missing("persist_thread")
    }
    async fn flush_thread(&self, _thread_id: ThreadId) -> Result<()> {
        missing("flush_thread")
    }
    async fn sync_thread(&self, _thread_id: ThreadId) -> Result<()> {
        missing("sync_thread")
    }
    async fn shutdown_thread(&self, _thread_id: ThreadId) -> Result<()> {
        missing("shutdown_thread")
    }
    async fn discard_thread(&self, _thread_id: ThreadId) -> Result<()> {
        missing("discard_thread")
    }
    async fn update_thread_metadata(
        &self,
        _thread_id: ThreadId,
        _patch: &ThreadMetadataPatch,
        _origin: MetadataOrigin,
    ) -> Result<StoredThread> {
        missing("update_thread_metadata")
    }
    async fn archive_thread(&self, _thread_id: ThreadId) -> Result<StoredThread> {
        missing("archive_thread")
    }
    async fn unarchive_thread(&self, _thread_id: ThreadId) -> Result<StoredThread> {
        missing("unarchive_thread")
    }
    async fn delete_thread(&self, _thread_id: ThreadId) -> Result<()> {
        missing("delete_thread")
    }
    async fn detach_thread(&self, _thread_id: ThreadId) -> Result<StoredThread> {
        missing("detach_thread")
    }
    async fn fork_thread(&self, _request: ForkThread) -> Result<ThreadId> {
        missing("fork_thread")
    }
    async fn revert_thread(&self, _request: RevertThread) -> Result<usize> {
        missing("revert_thread")
    }
    async fn import_segment(&self, _part: SegmentPart<'_>) -> Result<u64> {
        missing("import_segment")
    }
    async fn maintain(
        &self,
        _request: &MaintenanceRequest,
        _progress: &mut (dyn FnMut(MaintenanceProgress) + Send),
    ) -> Result<MaintenanceReport> {
        missing("maintain")
    }
}
