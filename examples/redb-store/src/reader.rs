//! The implementation of `ThreadReader`. Each method takes a snapshot and answers from it.

use async_trait::async_trait;
use selvedge_history::{ModelContext, TextSearch};
use selvedge_protocol::{
    Cursor, ItemQuery, Page, SearchHit, SearchQuery, SegmentId, SessionMeta, StatsQuery, StoredThread, ThreadId,
    ThreadQuery, ThreadStats, Turn, TurnItemEntry, TurnQuery, distinct_prefix_len,
};
use selvedge_thread_store::implement::{
    MAX_SEGMENT_READ, Segment, SegmentChain, WholeHistory, activity_of, find_threads, page_hits, page_items,
    page_threads, page_turns, sum_threads,
};
use selvedge_thread_store::{
    ChangePage, LinePage, LinePosition, LineQuery, LineStart, Result, SegmentInfo, StoreError, ThreadLookup,
    ThreadReader,
};

use crate::RedbThreadStore;
use crate::shared_file::locked;
use crate::tables::ReadTables;

impl ReadTables<'_> {
    /// Loads the segments of a thread's history.
    fn chain_of(&self, thread_id: ThreadId) -> Result<SegmentChain<Segment>> {
        self.chain(&self.thread(thread_id)?)
    }

    /// Loads a thread's history.
    fn whole_history(&self, thread_id: ThreadId) -> Result<WholeHistory> {
        Ok(self.chain_of(thread_id)?.history())
    }

    /// Returns a page of lines. A position can be in a segment that the thread has abandoned, so any segment can be
    /// asked for.
    fn lines(&self, query: &LineQuery) -> Result<LinePage> {
        self.chain_of(query.thread_id)?.read_lines(query, |id| self.segment(id))
    }

    /// Returns the position after the last line of a thread.
    pub(crate) fn end(&self, thread_id: ThreadId) -> Result<LinePosition> {
        Ok(self.lines(&LineQuery::from(thread_id, LineStart::End))?.next)
    }

    /// Returns the chains that end with a thread's own segments, abandoned ones too, the oldest first.
    fn own_chains(&self, thread_id: ThreadId) -> Result<Vec<SegmentChain<Segment>>> {
        let own = self.own_segments(&self.thread(thread_id)?)?;
        let own = own.iter().map(|segment| self.segment(segment.info.id)).filter_map(Result::transpose);
        own.map(|segment| SegmentChain::follow(segment?, false, |id| self.segment(id))).collect()
    }

    /// Returns the size of a thread's own segments.
    fn own_bytes(&self, thread_id: ThreadId) -> Result<u64> {
        let own = self.own_segments(&self.thread(thread_id)?)?;
        Ok(own.iter().map(|segment| segment.info.bytes).sum())
    }
}

#[async_trait]
impl ThreadReader for RedbThreadStore {
    async fn read_lines(&self, query: &LineQuery) -> Result<LinePage> {
        self.snapshot()?.lines(query)
    }

    async fn wait_for_lines(&self, thread_id: ThreadId, after: &LinePosition) -> Result<()> {
        self.handle.file.signal.wait_for_lines(self, thread_id, after).await
    }

    async fn list_changes(&self, after: Option<&Cursor>, limit: usize) -> Result<ChangePage> {
        // The log of changes is locked before the snapshot is taken, so that it never gets an older state after a newer
        // one.
        let mut changes = locked(&self.handle.file.changes);
        let snapshot = self.snapshot()?;
        let threads = snapshot.threads()?.into_iter();
        changes.update(threads.map(|thread| (thread.row.id, thread.version.to_string())));
        changes.page(after, limit, |thread_id| snapshot.end(thread_id))
    }

    async fn wait_for_changes(&self, after: &Cursor) -> Result<()> {
        self.handle.file.signal.wait_for_changes(self, after).await
    }

    async fn list_segments(&self, thread_id: ThreadId) -> Result<Vec<SegmentInfo>> {
        let snapshot = self.snapshot()?;
        let thread = snapshot.thread(thread_id)?;
        let route = snapshot.route(&thread)?;
        // A segment that the thread has abandoned is listed, too, so that a copy of the thread is complete.
        let own = snapshot.own_segments(&thread)?.into_iter().map(|segment| segment.info);
        let is_current = |id: SegmentId| route.iter().any(|segment| segment.id == id);
        Ok(own.map(|info| SegmentInfo { is_current: is_current(info.id), ..info }).collect())
    }

    async fn read_segment(
        &self,
        thread_id: ThreadId,
        segment: SegmentId,
        at: u64,
        max_bytes: usize,
    ) -> Result<Vec<u8>> {
        let snapshot = self.snapshot()?;
        // Bytes are returned as they are stored, damage included.
        if !snapshot.thread(thread_id)?.segments.contains(&segment) {
            return Err(StoreError::not_found(thread_id));
        }
        snapshot.bytes(segment, at..at.saturating_add(max_bytes.min(MAX_SEGMENT_READ) as u64))
    }

    async fn load_model_context(&self, thread_id: ThreadId) -> Result<ModelContext> {
        Ok(self.snapshot()?.whole_history(thread_id)?.model_context())
    }

    async fn read_thread(&self, thread_id: ThreadId) -> Result<StoredThread> {
        Ok(self.snapshot()?.thread(thread_id)?.row)
    }

    async fn read_session_meta(&self, thread_id: ThreadId) -> Result<Option<SessionMeta>> {
        Ok(self.snapshot()?.chain_of(thread_id)?.newest().head())
    }

    async fn find_threads(&self, lookup: &ThreadLookup) -> Result<Vec<ThreadId>> {
        Ok(find_threads(lookup, self.snapshot()?.rows()?))
    }

    async fn distinct_prefix_len(&self, thread_ids: &[ThreadId]) -> Result<usize> {
        let rows = self.snapshot()?.rows()?;
        Ok(distinct_prefix_len(thread_ids, rows.into_iter().map(|thread| thread.id)))
    }

    async fn thread_stats(&self, query: &StatsQuery) -> Result<ThreadStats> {
        let snapshot = self.snapshot()?;
        Ok(sum_threads(query, &snapshot.rows()?, |thread| {
            Ok((activity_of(thread, &snapshot.own_chains(thread.id)?), snapshot.own_bytes(thread.id)?))
        }))
    }

    async fn list_threads(&self, query: &ThreadQuery) -> Result<Page<StoredThread>> {
        page_threads(query, self.snapshot()?.rows()?)
    }

    async fn search_threads(&self, query: &SearchQuery) -> Result<Page<SearchHit>> {
        // The text is parsed before anything is read, so that an invalid one is refused immediately.
        let search = TextSearch::new(&query.text)?;
        let snapshot = self.snapshot()?;
        page_hits(query, snapshot.rows()?, |thread| {
            Ok(search.hits(thread, &snapshot.whole_history(thread.id)?.turns(), query.order, query.hits_per_thread))
        })
    }

    async fn list_turns(&self, query: &TurnQuery) -> Result<Page<Turn>> {
        page_turns(query, self.snapshot()?.whole_history(query.thread_id)?.turns())
    }

    async fn list_items(&self, query: &ItemQuery) -> Result<Page<TurnItemEntry>> {
        page_items(query, self.snapshot()?.whole_history(query.thread_id)?.turns())
    }
}
