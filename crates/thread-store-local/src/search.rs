//! Searching without an index: every thread in question is scanned, newest first, until the page is full.

use selvedge_protocol::{Page, SearchHit, SearchQuery};
use selvedge_rollout::ResolvedHistory;
use selvedge_thread_store::Result;
use selvedge_thread_store::paging::page_hits;
use selvedge_thread_store::search::TextSearch;

use crate::error::store_error;
use crate::store::Inner;

impl Inner {
    pub(crate) fn search_threads(&self, query: &SearchQuery) -> Result<Page<SearchHit>> {
        let search = TextSearch::new(&query.text)?;
        let files = self.files()?;
        let rows = self.all_rows(&files, &self.names(), query.threads.archived);
        page_hits(query, rows, |thread| {
            let turns = match ResolvedHistory::resolve(&files, thread.id).map_err(store_error)? {
                Some(resolved) => self.turns_of(&resolved)?.0,
                None => Vec::new(),
            };
            Ok(search.hits(thread, &turns, query.hits_per_thread))
        })
    }
}
