//! Reading: histories, lines, thread records, turns, items and changes.

use std::hash::{DefaultHasher, Hash, Hasher};

use selvedge_history::{ModelContext, TextSearch};
use selvedge_protocol::{
    Cursor, ItemQuery, Page, SearchHit, SearchQuery, SessionMeta, StatsQuery, StoredThread, ThreadId, ThreadQuery,
    ThreadStats, Turn, TurnItemEntry, TurnQuery,
};

use super::threads::MemoryState;
use crate::implement::{
    Segment, activity_of, find_threads, page_hits, page_items, page_threads, page_turns, sum_threads,
};
use crate::{ChangePage, LinePage, LinePosition, LineQuery, LineStart, Result, ThreadHistory, ThreadLookup};

impl MemoryState {
    pub(super) fn load_history(&self, thread_id: ThreadId) -> Result<ThreadHistory> {
        Ok(self.history(thread_id)?.into())
    }

    pub(super) fn read_lines(&self, query: &LineQuery) -> Result<LinePage> {
        self.chain(query.thread_id)?.read_lines(query, |id| Ok(self.segment(id)))
    }

    /// Returns the position at the end of a thread.
    pub(super) fn end_position(&self, thread_id: ThreadId) -> Result<LinePosition> {
        Ok(self.read_lines(&LineQuery::from(thread_id, LineStart::End))?.next)
    }

    pub(super) fn model_context(&self, thread_id: ThreadId) -> Result<ModelContext> {
        Ok(self.history(thread_id)?.model_context())
    }

    pub(super) fn session_meta(&self, thread_id: ThreadId) -> Result<Option<SessionMeta>> {
        Ok(self.newest_segment(thread_id)?.head())
    }

    pub(super) fn find_threads(&self, lookup: &ThreadLookup) -> Vec<ThreadId> {
        find_threads(lookup, self.records())
    }

    pub(super) fn stats(&self, query: &StatsQuery) -> ThreadStats {
        let records: Vec<StoredThread> = self.records().collect();
        sum_threads(query, &records, |thread| {
            Ok((activity_of(thread, &self.own_chains(thread.id)?), self.own_bytes(thread.id)))
        })
    }

    pub(super) fn list_threads(&self, query: &ThreadQuery) -> Result<Page<StoredThread>> {
        page_threads(query, self.records())
    }

    pub(super) fn search_threads(&self, query: &SearchQuery) -> Result<Page<SearchHit>> {
        // Every thread is read for every page. A store that must not do that needs an index of words, but finds the
        // same hits.
        let search = TextSearch::new(&query.text)?;
        page_hits(query, self.records(), |thread| {
            let turns = self.turns(thread.id)?;
            Ok(search.hits(thread, &turns, query.order, query.hits_per_thread))
        })
    }

    pub(super) fn list_turns(&self, query: &TurnQuery) -> Result<Page<Turn>> {
        page_turns(query, self.turns(query.thread_id)?)
    }

    pub(super) fn list_items(&self, query: &ItemQuery) -> Result<Page<TurnItemEntry>> {
        page_items(query, self.turns(query.thread_id)?)
    }

    pub(super) fn list_changes(&mut self, after: Option<&Cursor>, limit: usize) -> Result<ChangePage> {
        // The log compares versions when a page is requested, so a change does not notify the log.
        let versions: Vec<_> = self.thread_ids().into_iter().map(|id| (id, self.version(id))).collect();
        self.change_log_mut().update(versions);
        self.change_log().page(after, limit, |thread_id| self.end_position(thread_id))
    }

    /// Returns the version of a thread. It differs if anything of the thread that readers see differs.
    fn version(&self, thread_id: ThreadId) -> String {
        let mut hasher = DefaultHasher::new();
        if let Ok(record) = self.record(thread_id) {
            (record.name, record.archived).hash(&mut hasher);
        }
        // Segments only grow, so their sizes identify their content.
        for segment_id in self.segment_ids(thread_id).unwrap_or_default() {
            (segment_id, self.segment(*segment_id).map_or(0, Segment::size)).hash(&mut hasher);
        }
        format!("{:x}", hasher.finish())
    }

    fn turns(&self, thread_id: ThreadId) -> Result<Vec<Turn>> {
        Ok(self.history(thread_id)?.turns())
    }
}
