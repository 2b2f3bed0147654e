//! Reading: histories, rows, turns and items.

use selvedge_history::{ModelContext, StatsFold, TextSearch, replay_lines};
use selvedge_protocol::{
    ItemQuery, Page, SearchHit, SearchQuery, SessionMeta, StatsQuery, StoredThread, ThreadFilter, ThreadId, ThreadLink,
    ThreadQuery, ThreadStats, Turn, TurnItemEntry, TurnQuery,
};

use super::state::State;
use crate::implement::{page_hits, page_items, page_threads, page_turns};
use crate::{Result, ThreadHistory, ThreadLookup};

impl State {
    pub(super) fn load_history(&self, thread_id: ThreadId) -> Result<ThreadHistory> {
        let mode = self.thread(thread_id)?.mode();
        let history = self.history(thread_id)?;
        Ok(ThreadHistory {
            thread_id,
            mode,
            lines: history.lines,
            inherited: history.inherited,
            damage: history.damage,
        })
    }

    pub(super) fn model_context(&self, thread_id: ThreadId) -> Result<ModelContext> {
        Ok(replay_lines(&self.history(thread_id)?.lines))
    }

    pub(super) fn session_meta(&self, thread_id: ThreadId) -> Result<Option<SessionMeta>> {
        Ok(self.newest_segment(thread_id)?.head())
    }

    pub(super) fn find_threads(&self, lookup: &ThreadLookup) -> Vec<ThreadId> {
        let is_meant = |thread: &StoredThread| match lookup {
            ThreadLookup::Name(name) => thread.name.as_ref() == Some(name),
            ThreadLookup::IdPrefix(prefix) => thread.id.to_string().starts_with(&prefix.to_ascii_lowercase()),
        };
        let mut found: Vec<ThreadId> = self.rows().filter(is_meant).map(|thread| thread.id).collect();
        found.sort_unstable();
        found
    }

    pub(super) fn stats(&self, query: &StatsQuery) -> Result<ThreadStats> {
        let rows: Vec<StoredThread> = self.rows().collect();
        let filter = ThreadFilter::new(&query.threads, || rows.iter().map(ThreadLink::of));
        let mut fold = StatsFold::new(query);
        for thread in rows.iter().filter(|thread| filter.matches(thread)) {
            fold.thread(thread, self.all_turns(thread.id)?.len() as u64, self.own_bytes(thread.id));
        }
        Ok(fold.finish())
    }

    pub(super) fn list_threads(&self, query: &ThreadQuery) -> Result<Page<StoredThread>> {
        page_threads(query, self.rows())
    }

    pub(super) fn search_threads(&self, query: &SearchQuery) -> Result<Page<SearchHit>> {
        let search = TextSearch::new(&query.text)?;
        page_hits(query, self.rows(), |thread| {
            let turns = self.all_turns(thread.id)?;
            Ok(search.hits(thread, &turns, query.order, query.hits_per_thread))
        })
    }

    pub(super) fn list_turns(&self, query: &TurnQuery) -> Result<Page<Turn>> {
        page_turns(query, self.all_turns(query.thread_id)?)
    }

    pub(super) fn list_items(&self, query: &ItemQuery) -> Result<Page<TurnItemEntry>> {
        page_items(query, self.all_turns(query.thread_id)?)
    }

    fn all_turns(&self, thread_id: ThreadId) -> Result<Vec<Turn>> {
        let history = self.history(thread_id)?;
        Ok(self.turns(thread_id, &history.lines)?.finish())
    }
}
