//! Searching without an index: every candidate thread is scanned; in a sorted search, until the page is full.

use std::sync::Arc;

use selvedge_history::TextSearch;
use selvedge_history::ranking::HitRanking;
use selvedge_protocol::{Page, SearchHit, SearchOrder, SearchQuery, ThreadId, Turn};
use selvedge_rollout::HomeFiles;
use selvedge_thread_store::Result;
use selvedge_thread_store::implement::page_hits;

use super::directories::with_links_resolved;
use super::list::directories;
use crate::store_core::StoreCore;

impl StoreCore {
    pub(crate) fn search_threads(&self, query: &SearchQuery) -> Result<Page<SearchHit>> {
        let search = TextSearch::new(&query.text)?;
        let files = self.files()?;
        let records = self.candidate_records(&query.threads, &files, &self.names());
        let threads = with_links_resolved(&query.threads, directories(&records)).into_owned();
        let query = &SearchQuery { threads, ..query.clone() };
        // In the order in which the index would give them.
        let mut ranking = HitRanking::new(&search).filter(|_| query.order == SearchOrder::Best);
        page_hits(query, records, |thread| {
            let turns = self.turns_or_none(&files, thread.id);
            Ok(match &mut ranking {
                Some(ranking) => ranking.hits(thread, &turns, query.hits_per_thread),
                None => search.hits(thread, &turns, query.order, query.hits_per_thread),
            })
        })
    }

    /// Returns the turns of a thread. None if its files are gone or cannot be read, which must not hide other threads.
    fn turns_or_none(&self, files: &Arc<HomeFiles>, thread_id: ThreadId) -> Vec<Turn> {
        let turns = self.read_found(files, thread_id, |_, resolved| Ok(self.project_turns(resolved)?.turns.finish()));
        turns.unwrap_or_else(|error| {
            if !self.report_unreadable(files, thread_id) {
                tracing::warn!(%thread_id, %error, "thread left out of a search");
            }
            Vec::new()
        })
    }
}
