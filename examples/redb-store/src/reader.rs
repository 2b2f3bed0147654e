//! The answers.

use async_trait::async_trait;
use selvedge_history::{ModelContext, TextSearch};
use selvedge_protocol::{
    Cursor, ItemQuery, Page, SearchHit, SearchQuery, SegmentId, SessionMeta, StatsQuery, StoredThread, ThreadId,
    ThreadQuery, ThreadStats, Turn, TurnItemEntry, TurnQuery, distinct_prefix_len,
};
use selvedge_thread_store::implement::{
    MAX_SEGMENT_READ, Segment, SegmentChain, WholeHistory, find_threads, page_hits, page_items, page_threads,
    page_turns, sum_threads,
};
use selvedge_thread_store::{
    ChangePage, LinePage, LinePosition, LineQuery, LineStart, Result, SegmentInfo, StoreError, ThreadLookup,
    ThreadReader,
};

use crate::tables::Look;
use crate::{RedbThreadStore, locked};

impl Look<'_> {
    fn chain_of(&self, thread_id: ThreadId) -> Result<SegmentChain<Segment>> {
        self.chain(&self.thread(thread_id)?)
    }

    fn history(&self, thread_id: ThreadId) -> Result<WholeHistory> {
        Ok(self.chain_of(thread_id)?.history())
    }

    fn lines(&self, query: &LineQuery) -> Result<LinePage> {
        self.chain_of(query.thread_id)?.read_lines(query, |id| self.segment(id))
    }

    /// Where a thread ends.
    pub(crate) fn end(&self, thread_id: ThreadId) -> Result<LinePosition> {
        Ok(self.lines(&LineQuery::from(thread_id, LineStart::End))?.next)
    }

    fn own_bytes(&self, thread_id: ThreadId) -> Result<u64> {
        let own = self.own_segments(&self.thread(thread_id)?)?;
        Ok(own.iter().map(|segment| segment.info.bytes).sum())
    }
}

#[async_trait]
impl ThreadReader for RedbThreadStore {
    async fn read_lines(&self, query: &LineQuery) -> Result<LinePage> {
        self.look()?.lines(query)
    }

    async fn wait_for_lines(&self, thread_id: ThreadId, after: &LinePosition) -> Result<()> {
        self.handle.file.signal.wait_for_lines(self, thread_id, after).await
    }

    async fn list_changes(&self, after: Option<&Cursor>, limit: usize) -> Result<ChangePage> {
        // The log is locked before the look, so that it is never shown an older state than the one before.
        let mut changes = locked(&self.handle.file.changes);
        let look = self.look()?;
        let threads = look.threads()?.into_iter();
        changes.update(threads.map(|thread| (thread.row.id, thread.version.to_string())));
        changes.page(after, limit, |thread_id| look.end(thread_id))
    }

    async fn wait_for_changes(&self, after: &Cursor) -> Result<()> {
        self.handle.file.signal.wait_for_changes(self, after).await
    }

    async fn list_segments(&self, thread_id: ThreadId) -> Result<Vec<SegmentInfo>> {
        let look = self.look()?;
        let thread = look.thread(thread_id)?;
        let route = look.route(&thread)?;
        let own = look.own_segments(&thread)?.into_iter().map(|segment| segment.info);
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
        let look = self.look()?;
        if !look.thread(thread_id)?.segments.contains(&segment) {
            return Err(StoreError::not_found(thread_id));
        }
        look.bytes(segment, at..at.saturating_add(max_bytes.min(MAX_SEGMENT_READ) as u64))
    }

    async fn load_model_context(&self, thread_id: ThreadId) -> Result<ModelContext> {
        Ok(self.look()?.history(thread_id)?.model_context())
    }

    async fn read_thread(&self, thread_id: ThreadId) -> Result<StoredThread> {
        Ok(self.look()?.thread(thread_id)?.row)
    }

    async fn read_session_meta(&self, thread_id: ThreadId) -> Result<Option<SessionMeta>> {
        Ok(self.look()?.chain_of(thread_id)?.newest().head())
    }

    async fn find_threads(&self, lookup: &ThreadLookup) -> Result<Vec<ThreadId>> {
        Ok(find_threads(lookup, self.look()?.rows()?))
    }

    async fn distinct_prefix_len(&self, thread_ids: &[ThreadId]) -> Result<usize> {
        let rows = self.look()?.rows()?;
        Ok(distinct_prefix_len(thread_ids, rows.into_iter().map(|thread| thread.id)))
    }

    async fn thread_stats(&self, query: &StatsQuery) -> Result<ThreadStats> {
        let look = self.look()?;
        Ok(sum_threads(query, &look.rows()?, |thread| {
            Ok((look.history(thread.id)?.turns().len() as u64, look.own_bytes(thread.id)?))
        }))
    }

    async fn list_threads(&self, query: &ThreadQuery) -> Result<Page<StoredThread>> {
        page_threads(query, self.look()?.rows()?)
    }

    async fn search_threads(&self, query: &SearchQuery) -> Result<Page<SearchHit>> {
        let search = TextSearch::new(&query.text)?;
        let look = self.look()?;
        page_hits(query, look.rows()?, |thread| {
            Ok(search.hits(thread, &look.history(thread.id)?.turns(), query.order, query.hits_per_thread))
        })
    }

    async fn list_turns(&self, query: &TurnQuery) -> Result<Page<Turn>> {
        page_turns(query, self.look()?.history(query.thread_id)?.turns())
    }

    async fn list_items(&self, query: &ItemQuery) -> Result<Page<TurnItemEntry>> {
        page_items(query, self.look()?.history(query.thread_id)?.turns())
    }
}
