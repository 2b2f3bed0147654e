//! Searching without an index: every thread in question is scanned; in a sorted search, until the page is full.

use selvedge_history::TextSearch;
use selvedge_protocol::{Page, SearchHit, SearchQuery};
use selvedge_rollout::ResolvedHistory;
use selvedge_thread_store::Result;
use selvedge_thread_store::paging::page_hits;

use crate::error::store_error;
use crate::store::Inner;

impl Inner {
    pub(crate) fn search_threads(&self, query: &SearchQuery) -> Result<Page<SearchHit>> {
        let search = TextSearch::new(&query.text)?;
        let files = self.files()?;
        let rows = self.rows_for(&query.threads, &files, &self.names());
        page_hits(query, rows, |thread| {
            let turns = match ResolvedHistory::resolve(&files, thread.id).map_err(store_error)? {
                Some(resolved) => self.turns_of(&resolved)?.0,
                None => Vec::new(),
            };
            Ok(search.hits(thread, &turns, query.order, query.hits_per_thread))
        })
    }
}
