//! Searching through the index, and the further pages of its rankings.

use selvedge_protocol::{Page, SearchHit, SearchQuery};
use selvedge_state::{IndexError, StateIndex};
use selvedge_thread_store::StoreError;

use super::directories::resolve_links;
use super::handle::HomeIndex;
use super::runtime::with_timers;

impl HomeIndex {
    /// Returns the page of a search. `None` if the logs have to answer.
    ///
    /// # Errors
    /// `CursorExpired` for a further page of the index's own ranking, if the index does not answer.
    pub(crate) async fn search_threads(&self, query: &SearchQuery) -> Result<Option<Page<SearchHit>>, StoreError> {
        with_timers(self.page_of_search(query)).await
    }

    async fn page_of_search(&self, query: &SearchQuery) -> Result<Option<Page<SearchHit>>, StoreError> {
        if StateIndex::is_ranked_here(query) {
            return self.next_page_of_ranking(query).await;
        }
        let Some(fresh) = self.fresh_for_page(query.threads.cursor.as_ref()).await else { return Ok(None) };
        let outcome = match with_links(&fresh.index, query).await {
            Ok(query) => fresh.index.search_threads(&query).await,
            Err(error) => Err(error),
        };
        Ok(self.answer(&fresh, outcome).await.flatten())
    }

    /// Returns the next page of a ranking, from the index as it is. Only the index knows how it ranked the pages before, so the
    /// logs cannot answer. It is not refreshed: that could make the page wait for writers, and the hits are read from the logs
    /// anyway.
    async fn next_page_of_ranking(&self, query: &SearchQuery) -> Result<Option<Page<SearchHit>>, StoreError> {
        if let Some(index) = self.open().await {
            let page = match with_links(&index, query).await {
                Ok(query) => index.continue_ranking(&query).await,
                Err(error) => Err(error),
            };
            match page {
                Ok(Some(page)) => return Ok(Some(page)),
                // The ranking is gone: the index was cleared.
                Ok(None) => {}
                // The query itself is invalid. The logs report the same error to the caller.
                Err(IndexError::Cursor(_) | IndexError::ZeroLimit) => return Ok(None),
                Err(error) => self.give_up(error).await,
            }
        }
        let reason = "the index that ranked the pages before it does not answer now".to_owned();
        Err(StoreError::CursorExpired { reason })
    }
}

/// Returns the search with the links of its directories resolved.
async fn with_links(index: &StateIndex, query: &SearchQuery) -> Result<SearchQuery, IndexError> {
    let threads = resolve_links(index, &query.threads).await?.into_owned();
    Ok(SearchQuery { threads, ..query.clone() })
}
