//! Searching without an index: every thread in question is scanned; in a sorted search, until the page is full.

use std::sync::Arc;

use selvedge_history::TextSearch;
use selvedge_protocol::{Page, SearchHit, SearchQuery, ThreadId, Turn};
use selvedge_rollout::HomeFiles;
use selvedge_thread_store::Result;
use selvedge_thread_store::implement::page_hits;

use crate::store::Inner;

impl Inner {
    pub(crate) fn search_threads(&self, query: &SearchQuery) -> Result<Page<SearchHit>> {
        let search = TextSearch::new(&query.text)?;
        let files = self.files()?;
        let rows = self.rows_for(&query.threads, &files, &self.names());
        page_hits(query, rows, |thread| {
            let turns = self.turns_in(&files, thread.id);
            Ok(search.hits(thread, &turns, query.order, query.hits_per_thread))
        })
    }

    /// The turns of a thread; none when its files are gone or cannot be read, which must not hide other threads.
    fn turns_in(&self, files: &Arc<HomeFiles>, thread_id: ThreadId) -> Vec<Turn> {
        let found = self.read_found(files, thread_id, |_, resolved| Ok(self.turns_of(resolved)?.0.finish()));
        found.unwrap_or_else(|error| {
            tracing::warn!(%thread_id, %error, "thread left out of a search");
            Vec::new()
        })
    }
}
