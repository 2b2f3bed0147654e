//! [`ThreadReader`]: each method by the operation that does it.
//!
//! | answered by | methods |
//! | --- | --- |
//! | the index, else the logs | lists, searches, thread records, statistics, pages of turns and items, id prefixes |
//! | the log of the thread | history, model context, lines, export, segments, the head |
//! | the file names and the name index | finding threads, changes |

use std::io::Write;

use async_trait::async_trait;
use selvedge_history::ModelContext;
use selvedge_protocol::{
    Cursor, ItemQuery, Page, SearchHit, SearchQuery, SegmentId, SessionMeta, StatsQuery, StoredThread, ThreadId,
    ThreadQuery, ThreadStats, Turn, TurnItemEntry, TurnQuery, distinct_prefix_len,
};
use selvedge_thread_store::implement::{page_items, page_turns};
use selvedge_thread_store::{
    ChangePage, LinePage, LinePosition, LineQuery, LineStart, Result, SegmentInfo, ThreadHistory, ThreadLookup,
    ThreadReader,
};

use super::LocalThreadStore;
use crate::read::export::export;
use crate::store_core::StoreCore;

#[async_trait]
impl ThreadReader for LocalThreadStore {
    async fn load_history(&self, thread_id: ThreadId) -> Result<ThreadHistory> {
        self.reading(move |core| core.load_history(thread_id)).await
    }

    async fn load_model_context(&self, thread_id: ThreadId) -> Result<ModelContext> {
        self.reading(move |core| core.load_model_context(thread_id)).await
    }

    async fn read_lines(&self, query: &LineQuery) -> Result<LinePage> {
        let query = query.clone();
        let turn_start = match &query.start {
            LineStart::Turn(turn_id) => self.core.index.turn_start(query.thread_id, turn_id).await,
            _ => None,
        };
        self.reading(move |core| core.read_lines_from(&query, turn_start.as_ref())).await
    }

    async fn wait_for_lines(&self, thread_id: ThreadId, after: &LinePosition) -> Result<()> {
        let start = LineStart::At(after.clone());
        self.wait_for_page(LineQuery { max_lines: 1, ..LineQuery::from(thread_id, start) }).await
    }

    async fn export(&self, thread_id: ThreadId, out: &mut (dyn Write + Send)) -> Result<u64> {
        export(&self.core, thread_id, out).await
    }

    async fn list_changes(&self, after: Option<&Cursor>, limit: usize) -> Result<ChangePage> {
        let after = after.cloned();
        self.reading(move |core| core.list_changes(after.as_ref(), limit)).await
    }

    async fn wait_for_changes(&self, after: &Cursor) -> Result<()> {
        self.wait_for_any_change(after).await
    }

    async fn list_segments(&self, thread_id: ThreadId) -> Result<Vec<SegmentInfo>> {
        self.reading(move |core| core.list_segments(thread_id)).await
    }

    async fn read_segment(
        &self,
        thread_id: ThreadId,
        segment: SegmentId,
        at: u64,
        max_bytes: usize,
    ) -> Result<Vec<u8>> {
        self.reading(move |core| core.read_segment(thread_id, segment, at, max_bytes)).await
    }

    // These two are `blocking` and not `reading`: the first repeats by itself, and the second reads no file of a thread.

    async fn read_session_meta(&self, thread_id: ThreadId) -> Result<Option<SessionMeta>> {
        self.blocking(move |core| core.newest_head(thread_id)).await
    }

    async fn find_threads(&self, lookup: &ThreadLookup) -> Result<Vec<ThreadId>> {
        let lookup = lookup.clone();
        self.blocking(move |core| core.find_threads(&lookup)).await
    }

    async fn distinct_prefix_len(&self, thread_ids: &[ThreadId]) -> Result<usize> {
        let shown = thread_ids.to_vec();
        let from_logs =
            move |core: &StoreCore| Ok(distinct_prefix_len(&shown, core.files()?.threads().map(|(id, _)| id)));
        self.answered(self.core.index.distinct_prefix_len(thread_ids), from_logs).await
    }

    async fn thread_stats(&self, query: &StatsQuery) -> Result<ThreadStats> {
        let wanted = query.clone();
        self.answered(self.core.index.thread_stats(query), move |core| core.stats(&wanted)).await
    }

    async fn read_thread(&self, thread_id: ThreadId) -> Result<StoredThread> {
        self.answered(self.core.index.read_thread(thread_id), move |core| core.read_thread(thread_id)).await
    }

    async fn list_threads(&self, query: &ThreadQuery) -> Result<Page<StoredThread>> {
        let wanted = query.clone();
        self.answered(self.core.index.list_threads(query), move |core| core.list_threads(&wanted)).await
    }

    async fn search_threads(&self, query: &SearchQuery) -> Result<Page<SearchHit>> {
        if let Some(page) = self.core.index.search_threads(query).await? {
            return Ok(page);
        }
        let query = query.clone();
        // Each thread repeats by itself while its files move. To repeat the whole search would cost far more.
        self.blocking(move |core| core.search_threads(&query)).await
    }

    async fn list_turns(&self, query: &TurnQuery) -> Result<Page<Turn>> {
        let wanted = query.clone();
        let is_live = self.is_live(query.thread_id).await?;
        let from_logs = move |core: &StoreCore| page_turns(&wanted, core.turns(wanted.thread_id)?);
        self.answered(self.core.index.list_turns(query, is_live), from_logs).await
    }

    async fn list_items(&self, query: &ItemQuery) -> Result<Page<TurnItemEntry>> {
        let wanted = query.clone();
        let is_live = self.is_live(query.thread_id).await?;
        let from_logs = move |core: &StoreCore| page_items(&wanted, core.turns(wanted.thread_id)?);
        self.answered(self.core.index.list_items(query, is_live), from_logs).await
    }
}
