//! Pages of hits.
//!
//! A sorted search walks through the candidate threads in the order of the query. A ranked search takes them by
//! [windows](super::window).

use std::collections::HashSet;
use std::time::Instant;

use selvedge_history::TextSearch;
use selvedge_protocol::{
    Page, SearchHit, SearchOrder, SearchQuery, SortDirection, ThreadCursor, ThreadId, ThreadQuery, check_limit,
};
use selvedge_rollout::Backoff;
use sqlx::{Connection, SqliteConnection};

use crate::error::{IndexError, Result};
use crate::index::StateIndex;
use crate::limits::RANKING_TIMEOUT;
use crate::search::candidates::runs;
use crate::search::cursor::{RANKING_PREFIX, RankStart, SearchStart};
use crate::search::proposal::ProposedThread;
use crate::search::rank::{RankPosition, load_docs};
use crate::search::walk::ThreadWalk;
use crate::search::window::RankWindow;
use selvedge_history::ranking::words::{WordPattern, patterns};

/// A search, with its text parsed.
struct SearchRequest<'a> {
    query: &'a SearchQuery,
    search: &'a TextSearch,
    patterns: &'a [WordPattern],
}

// Both kinds of pages are filled in steps:
//
//   1. In a transaction, all that the index knows of the next threads is loaded: words, turns and records of one moment.
//   2. The transaction ends, and the hits are read from the logs. Files can take any time, and no transaction may be open then.
//   3. If the page is not full, the next transaction continues where this one ended. If the search runs are the same, so are the
//      candidates. Otherwise other threads were indexed meanwhile, and the page continues as the next page would: with new
//      candidates, after the last thread that was read.

impl StateIndex {
    /// Returns whether the query asks for a further page of a ranking that only an index knows.
    #[must_use]
    pub fn is_ranked_here(query: &SearchQuery) -> bool {
        let cursor = query.threads.cursor.as_ref();
        query.order == SearchOrder::Best && cursor.is_some_and(|cursor| cursor.as_str().starts_with(RANKING_PREFIX))
    }

    /// Returns the page of hits that a query asks for. The index of words proposes items, and the hits are read from the logs.
    ///
    /// What is not in the log any more is no hit. In a sorted search, pages and cursors are those of a search that reads all
    /// logs. In a ranked search, threads are ranked by how often the terms are in their items and by how short these are. A
    /// cursor of that ranking belongs to no other one ([`is_ranked_here`](Self::is_ranked_here)).
    ///
    /// `None` if the index cannot search for the terms, because they determine too little of any word (`->`), or if the cursor
    /// belongs to another ranking.
    ///
    /// # Errors
    /// If the limit is 0, no hits per thread are wanted, or the cursor belongs to another query; if the database or a log cannot
    /// be read.
    pub async fn search_threads(&self, query: &SearchQuery) -> Result<Option<Page<SearchHit>>> {
        check_limit(query.threads.limit.min(query.hits_per_thread))?;
        let Ok(search) = TextSearch::new(&query.text) else { return Ok(None) };
        let Some(patterns) = patterns(search.terms()) else { return Ok(None) };
        let Some(start) = SearchStart::of(query)? else { return Ok(None) };
        let mut connection = self.database.readers.acquire().await?;
        let request = SearchRequest { query, search: &search, patterns: &patterns };
        let page = match start {
            SearchStart::Sorted(start) => self.sorted_page(&mut connection, &request, start).await?,
            SearchStart::Ranked(start) => self.ranked_page(&mut connection, &request, start).await?,
        };
        Ok(Some(page))
    }

    /// Returns a further page of a ranking of the index ([`is_ranked_here`](Self::is_ranked_here)), as
    /// [`search_threads`](Self::search_threads) does. Nothing else can compute that page, so that this retries while the index is
    /// busy. The index need not be fresh: what is shown is read from the logs.
    ///
    /// `None` if the ranking is gone, because the index is not filled any more or was filled again meanwhile. The search has to
    /// start over then.
    ///
    /// # Errors
    /// As [`search_threads`](Self::search_threads); [`IndexError::Busy`] if other processes hold the database for 2 s.
    pub async fn continue_ranking(&self, query: &SearchQuery) -> Result<Option<Page<SearchHit>>> {
        let begun = Instant::now();
        for pause in Backoff::new(RANKING_TIMEOUT) {
            match self.page_of_one_generation(query).await {
                // The backoff counts its pauses only, but an attempt can take as long to wait for a connection.
                Err(IndexError::Busy(_)) if begun.elapsed() < RANKING_TIMEOUT && !self.database.readers.is_closed() => {
                    tokio::time::sleep(pause).await;
                }
                outcome => return outcome,
            }
        }
        self.page_of_one_generation(query).await
    }

    async fn page_of_one_generation(&self, query: &SearchQuery) -> Result<Option<Page<SearchHit>>> {
        let Some(generation) = self.generation().await? else { return Ok(None) };
        let page = self.search_threads(query).await?;
        let is_same = self.generation().await? == Some(generation);
        Ok(page.filter(|_| is_same))
    }

    async fn sorted_page(
        &self,
        connection: &mut SqliteConnection,
        request: &SearchRequest<'_>,
        mut start: Option<ThreadCursor>,
    ) -> Result<Page<SearchHit>> {
        let SearchRequest { query, search, patterns } = *request;
        let limit = query.threads.limit;
        let mut page: Vec<(ThreadCursor, Vec<SearchHit>)> = Vec::new();
        // A thread that is written meanwhile can move in the order, and would be found twice.
        let mut is_read: HashSet<ThreadId> = HashSet::new();
        let mut transaction = connection.begin().await?;
        'snapshots: loop {
            let candidates = self.find_candidates(&mut transaction, search.terms(), patterns).await?;
            let mut walk = ThreadWalk::after(&query.threads, &candidates, start);
            loop {
                // One thread more than the page has, to know whether another page follows.
                let missing = limit.saturating_add(1) - page.len();
                let mut threads = walk.next(&mut transaction, missing).await?;
                let Some(last) = threads.last().copied() else { break 'snapshots };
                threads.retain(|thread| is_read.insert(thread.id));
                let order: Vec<ThreadId> = threads.iter().map(|thread| thread.id).collect();
                let mut docs = load_docs(&mut transaction, &candidates, order.iter().copied()).await?;
                let proposed = order.iter().map(|id| {
                    let mut items = docs.remove(id).unwrap_or_default();
                    items.sort_by_key(|(doc, _)| (doc.turn, doc.item));
                    ProposedThread { id: *id, items: items.into_iter().map(|(doc, _)| doc).collect() }
                });
                let batch = self.load_batch(&mut transaction, query, search, proposed.collect()).await?;
                drop(transaction);
                let hits = self.read_hits(connection, query, search, &order, batch).await?;
                // A proposal can turn out to be no hit, so that the page may need more threads.
                page.extend(threads.into_iter().zip(hits).filter(|(_, hits)| !hits.is_empty()));
                if page.len() > limit || walk.is_at_end() {
                    break 'snapshots;
                }
                // From here on, the page continues after the last thread that was read, in a new snapshot.
                start = Some(last);
                transaction = connection.begin().await?;
                if runs(&mut transaction).await? != candidates.runs {
                    continue 'snapshots;
                }
            }
        }
        let ThreadQuery { sort, direction, .. } = query.threads;
        let Page { items, next_cursor } = Page::first_of(page, limit, |(last, _)| last.encode(sort, direction));
        Ok(Page { items: items.into_iter().flat_map(|(_, hits)| hits).collect(), next_cursor })
    }

    async fn ranked_page(
        &self,
        connection: &mut SqliteConnection,
        request: &SearchRequest<'_>,
        mut start: Option<RankStart>,
    ) -> Result<Page<SearchHit>> {
        let SearchRequest { query, search, patterns } = *request;
        let limit = query.threads.limit;
        let newest_first = ThreadQuery { direction: SortDirection::Descending, ..query.threads.clone() };
        let mut page: Vec<(RankStart, Vec<SearchHit>)> = Vec::new();
        let mut is_read: HashSet<ThreadId> = HashSet::new();
        let mut transaction = connection.begin().await?;
        'snapshots: loop {
            let candidates = self.find_candidates(&mut transaction, search.terms(), patterns).await?;
            let mut window = match &start {
                Some(start) => Some(RankWindow::reload(&mut transaction, &newest_first, &candidates, start).await?),
                None => RankWindow::load(&mut transaction, &newest_first, &candidates, None).await?,
            };
            while let Some(next) = window.take() {
                let (first, last, is_last) = (next.first, next.last, next.is_last);
                let mut ranked = next.into_unread(start.as_ref(), &is_read);
                while !ranked.is_empty() {
                    let missing = (limit.saturating_add(1) - page.len()).min(ranked.len());
                    let (positions, proposed): (Vec<RankPosition>, Vec<ProposedThread>) =
                        ranked.drain(..missing).unzip();
                    let order: Vec<ThreadId> = proposed.iter().map(|proposed| proposed.id).collect();
                    let batch = self.load_batch(&mut transaction, query, search, proposed).await?;
                    drop(transaction);
                    let hits = self.read_hits(connection, query, search, &order, batch).await?;
                    let starts = positions.into_iter().map(|position| RankStart { first, last, position });
                    // Every thread that was read moves the start, also one without hits: it need not be read again.
                    start = starts.clone().next_back();
                    is_read.extend(order);
                    page.extend(starts.zip(hits).filter(|(_, hits)| !hits.is_empty()));
                    if page.len() > limit || (is_last && ranked.is_empty()) {
                        break 'snapshots;
                    }
                    transaction = connection.begin().await?;
                    if runs(&mut transaction).await? != candidates.runs {
                        continue 'snapshots;
                    }
                }
                window = RankWindow::load(&mut transaction, &newest_first, &candidates, Some(last)).await?;
            }
            break;
        }
        let Page { items, next_cursor } = Page::first_of(page, limit, |(last, _)| last.encode(query.threads.sort));
        Ok(Page { items: items.into_iter().flat_map(|(_, hits)| hits).collect(), next_cursor })
    }
}
