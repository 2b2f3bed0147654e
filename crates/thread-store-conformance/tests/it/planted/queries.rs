//! Faults of queries: lookups, lists, turns, items and searches.

use async_trait::async_trait;
use selvedge_protocol::{
    CwdFilter, ItemOrigin, ItemQuery, ItemsView, Page, SearchHit, SearchOrder, SearchQuery, SessionMeta, StatsCounts,
    StatsGroup, StatsKey, StatsQuery, StoredThread, ThreadId, ThreadQuery, ThreadSortKey, ThreadStats, Turn,
    TurnItemEntry, TurnQuery, TurnSelector, TurnStatus,
};
use selvedge_thread_store::{Result, ThreadLookup};
use selvedge_thread_store_conformance::{StoreWrapper, Wrapped};

use super::fault::{Fault, FaultyHost, faults};

faults! {
    FindsNoArchivedThreadsByName caught by ["find.by-name"] also [] {
        async fn find_threads(&self, lookup: &ThreadLookup) -> Result<Vec<ThreadId>> {
            let mut found = Vec::new();
            for id in self.store.find_threads(lookup).await? {
                let is_named = matches!(lookup, ThreadLookup::Name(_));
                if !(is_named && self.store.read_thread(id).await?.archived) {
                    found.push(id);
                }
            }
            Ok(found)
        }
    }

    FindsNoUpperCasePrefixes caught by ["find.by-id-prefix"] also [] {
        async fn find_threads(&self, lookup: &ThreadLookup) -> Result<Vec<ThreadId>> {
            match lookup {
                ThreadLookup::IdPrefix(prefix) if prefix.to_lowercase() != *prefix => Ok(Vec::new()),
                lookup => self.store.find_threads(lookup).await,
            }
        }
    }

    ReturnsAPrefixOneTooShort caught by ["find.distinct-prefix-len"] also [] {
        async fn distinct_prefix_len(&self, thread_ids: &[ThreadId]) -> Result<usize> {
            Ok(self.store.distinct_prefix_len(thread_ids).await?.saturating_sub(1))
        }
    }

    ReturnsNoSessionMeta caught by ["find.session-meta"] also [] {
        async fn read_session_meta(&self, thread_id: ThreadId) -> Result<Option<SessionMeta>> {
            self.store.read_session_meta(thread_id).await.map(|_| None)
        }
    }

    CountsThreadsTwice caught by ["find.stats"] also ["readers.lists-are-fresh"] {
        async fn thread_stats(&self, query: &StatsQuery) -> Result<ThreadStats> {
            let mut stats = self.store.thread_stats(query).await?;
            stats.total.threads *= 2;
            Ok(stats)
        }
    }

    AddsRepeatedCounts caught by ["find.stats-of-tokens"] also ["find.stats-after-a-rewind", "find.stats-of-forks", "find.stats-by-day", "find.stats-by-model"] {
        async fn thread_stats(&self, query: &StatsQuery) -> Result<ThreadStats> {
            let mut stats = self.store.thread_stats(query).await?;
            let counts = stats.groups.iter_mut().map(|group| &mut group.counts).chain([&mut stats.total]);
            counts.for_each(|counts| counts.total_tokens += counts.total_tokens / 3);
            Ok(stats)
        }
    }

    GivesUndoneTurnsBack caught by ["find.stats-after-a-rewind"] also [] {
        async fn thread_stats(&self, query: &StatsQuery) -> Result<ThreadStats> {
            let mut stats = self.store.thread_stats(query).await?;
            let mut shown = 0;
            for thread in self.store.list_threads(&query.threads).await?.items {
                shown += self.store.list_turns(&TurnQuery::all(thread.id)).await?.items.len() as u64;
            }
            stats.total.turns = stats.total.turns.min(shown);
            Ok(stats)
        }
    }

    CountsInheritedTurnsAgain caught by ["find.stats-of-forks"] also [] {
        async fn thread_stats(&self, query: &StatsQuery) -> Result<ThreadStats> {
            let mut stats = self.store.thread_stats(query).await?;
            for thread in self.store.list_threads(&query.threads).await?.items {
                if thread.forked_from_id.is_some() {
                    let shown = self.store.list_turns(&TurnQuery::all(thread.id)).await?.items.len() as u64;
                    stats.total.turns += shown.saturating_sub(1);
                }
            }
            Ok(stats)
        }
    }

    CountsForTheDayOfTheThread caught by ["find.stats-by-day"] also [] {
        async fn thread_stats(&self, query: &StatsQuery) -> Result<ThreadStats> {
            let mut stats = self.store.thread_stats(query).await?;
            if query.by == StatsKey::Day && query.offsets.is_empty() {
                stats.groups.truncate(1);
                stats.groups.iter_mut().for_each(|group| group.counts = stats.total);
            }
            Ok(stats)
        }
    }

    CountsForTheLastModel caught by ["find.stats-by-model"] also [] {
        async fn thread_stats(&self, query: &StatsQuery) -> Result<ThreadStats> {
            let mut stats = self.store.thread_stats(query).await?;
            if query.by == StatsKey::Model {
                stats.groups.truncate(1);
                stats.groups.iter_mut().for_each(|group| group.counts = stats.total);
            }
            Ok(stats)
        }
    }

    ReturnsAWrongExportLength caught by ["find.export"] also ["find.stats"] {
        async fn export(&self, thread_id: ThreadId, out: &mut (dyn std::io::Write + Send)) -> Result<u64> {
            self.store.export(thread_id, out).await.map(|bytes| bytes.saturating_sub(1))
        }
    }

    ReversesTies caught by ["list.ties-are-sorted-by-id"] also ["list.equals-a-filter-and-sort"] {
        async fn list_threads(&self, query: &ThreadQuery) -> Result<Page<StoredThread>> {
            let mut page = self.store.list_threads(query).await?;
            if page.items.windows(2).any(|pair| pair[0].created_at == pair[1].created_at)
                && query.sort == ThreadSortKey::CreatedAt
            {
                page.items.reverse();
            }
            Ok(page)
        }
    }

    AcceptsAListLimitOfZero caught by ["list.refusals"] also ["errors.give-up"] {
        async fn list_threads(&self, query: &ThreadQuery) -> Result<Page<StoredThread>> {
            self.store.list_threads(&ThreadQuery { limit: query.limit.max(1), ..query.clone() }).await
        }
    }

    IgnoresTheBranchFilter caught by ["list.filters"] also [] {
        async fn list_threads(&self, query: &ThreadQuery) -> Result<Page<StoredThread>> {
            self.store.list_threads(&ThreadQuery { git_branch: None, ..query.clone() }).await
        }
    }

    ComparesDirectoriesAsTexts caught by ["list.directories"] also ["list.filters"] {
        async fn list_threads(&self, query: &ThreadQuery) -> Result<Page<StoredThread>> {
            let is_wanted = |cwd: &str| {
                query.cwd.iter().any(|filter| match filter {
                    CwdFilter::Exactly(path) => cwd == path,
                    CwdFilter::Under(path) => cwd.starts_with(path),
                })
            };
            let mut page = self.store.list_threads(query).await?;
            page.items.retain(|thread| query.cwd.is_empty() || thread.cwd.as_deref().is_some_and(is_wanted));
            Ok(page)
        }
    }

    SplitsProjectsBySpelling caught by ["find.stats-by-project"] also [] {
        async fn thread_stats(&self, query: &StatsQuery) -> Result<ThreadStats> {
            let mut stats = self.store.thread_stats(query).await?;
            if query.by == StatsKey::Project {
                let threads = self.store.list_threads(&ThreadQuery { limit: usize::MAX, ..query.threads.clone() }).await?;
                let directories: std::collections::BTreeSet<_> =
                    threads.items.into_iter().map(|thread| thread.cwd).collect();
                let counts = StatsCounts { threads: 1, ..StatsCounts::default() };
                stats.groups = directories.into_iter().map(|key| StatsGroup { key, counts }).collect();
            }
            Ok(stats)
        }
    }

    IgnoresTheRelationFilter caught by ["list.descendants"] also ["list.equals-a-filter-and-sort", "list.filters"] {
        async fn list_threads(&self, query: &ThreadQuery) -> Result<Page<StoredThread>> {
            self.store.list_threads(&ThreadQuery { relation: None, ..query.clone() }).await
        }
    }

    IgnoresTheItemsView caught by ["turns.views"] also [] {
        async fn list_turns(&self, query: &TurnQuery) -> Result<Page<Turn>> {
            self.store.list_turns(&TurnQuery { items_view: ItemsView::Full, ..query.clone() }).await
        }
    }

    OmitsWhatNoEventTells caught by ["turns.of-items-of-the-model"] also ["revert.to-between-turns"] {
        async fn list_turns(&self, query: &TurnQuery) -> Result<Page<Turn>> {
            let mut page = self.store.list_turns(query).await?;
            for turn in &mut page.items {
                turn.items.retain(|item| item.origin == ItemOrigin::Event);
            }
            Ok(page)
        }
    }

    AcceptsATurnLimitOfZero caught by ["turns.refusals"] also [] {
        async fn list_turns(&self, query: &TurnQuery) -> Result<Page<Turn>> {
            self.store.list_turns(&TurnQuery { limit: query.limit.max(1), ..query.clone() }).await
        }
    }

    ReportsOpenTurnsAsInterrupted caught by ["turns.in-progress"] also ["turns.in-progress-elsewhere"] {
        async fn list_turns(&self, query: &TurnQuery) -> Result<Page<Turn>> {
            let mut page = self.store.list_turns(query).await?;
            for turn in page.items.iter_mut().filter(|turn| turn.status == TurnStatus::InProgress) {
                turn.status = TurnStatus::Interrupted;
            }
            Ok(page)
        }
    }

    ReturnsNoTurnCursor caught by ["turns.pages"] also ["turns.cursors-while-the-thread-grows"] {
        async fn list_turns(&self, query: &TurnQuery) -> Result<Page<Turn>> {
            let mut page = self.store.list_turns(query).await?;
            page.next_cursor = None;
            Ok(page)
        }
    }

    AcceptsAnItemLimitOfZero caught by ["items.refusals"] also [] {
        async fn list_items(&self, query: &ItemQuery) -> Result<Page<TurnItemEntry>> {
            self.store.list_items(&ItemQuery { limit: query.limit.max(1), ..query.clone() }).await
        }
    }

    ReturnsNoItemCursor caught by ["items.pages"] also ["items.cursors-while-the-thread-grows", "items.of-one-turn"] {
        async fn list_items(&self, query: &ItemQuery) -> Result<Page<TurnItemEntry>> {
            let mut page = self.store.list_items(query).await?;
            page.next_cursor = None;
            Ok(page)
        }
    }

    DoesNotSearchNames
        caught by ["search.in-names-and-items"]
        also ["search.best-match-first", "search.language", "search.positions"]
    {
        async fn search_threads(&self, query: &SearchQuery) -> Result<Page<SearchHit>> {
            let mut page = self.store.search_threads(query).await?;
            page.items.retain(|hit| hit.turn_id.is_some());
            Ok(page)
        }
    }

    ReturnsNoHighlights
        caught by ["search.unicode"]
        also ["search.in-names-and-items", "search.language", "search.terms-match-one-item"]
    {
        async fn search_threads(&self, query: &SearchQuery) -> Result<Page<SearchHit>> {
            let mut page = self.store.search_threads(query).await?;
            page.items.iter_mut().for_each(|hit| hit.highlights.clear());
            Ok(page)
        }
    }

    ReturnsNoHitPositions caught by ["search.positions"] also [] {
        async fn search_threads(&self, query: &SearchQuery) -> Result<Page<SearchHit>> {
            let mut page = self.store.search_threads(query).await?;
            page.items.iter_mut().for_each(|hit| hit.position = None);
            Ok(page)
        }
    }

    IgnoresTheRanking caught by ["search.best-match-first"] also ["search.refusals"] {
        async fn search_threads(&self, query: &SearchQuery) -> Result<Page<SearchHit>> {
            self.store.search_threads(&SearchQuery { order: SearchOrder::Sorted, ..query.clone() }).await
        }
    }

    AcceptsAHitLimitOfZero caught by ["search.refusals"] also [] {
        async fn search_threads(&self, query: &SearchQuery) -> Result<Page<SearchHit>> {
            let hits_per_thread = query.hits_per_thread.max(1);
            self.store.search_threads(&SearchQuery { hits_per_thread, ..query.clone() }).await
        }
    }

    SkipsAThreadBetweenPages
        caught by ["list.pages-by-every-size", "list.pages-while-others-write"]
        also ["list.equals-a-filter-and-sort", "list.filters", "list.ties-are-sorted-by-id"]
    {
        async fn list_threads(&self, query: &ThreadQuery) -> Result<Page<StoredThread>> {
            let mut page = self.store.list_threads(query).await?;
            if query.cursor.is_some() && page.items.len() > 1 && page.next_cursor.is_some() {
                page.items.remove(0);
            }
            Ok(page)
        }
    }

    ReturnsNoHitCursor caught by ["search.pages"] also ["search.best-match-first", "search.refusals"] {
        async fn search_threads(&self, query: &SearchQuery) -> Result<Page<SearchHit>> {
            let mut page = self.store.search_threads(query).await?;
            page.next_cursor = None;
            Ok(page)
        }
    }

    IgnoresTheRelationInSearches caught by ["search.obeys-the-thread-query"] also [] {
        async fn search_threads(&self, query: &SearchQuery) -> Result<Page<SearchHit>> {
            let threads = ThreadQuery { relation: None, ..query.threads.clone() };
            self.store.search_threads(&SearchQuery { threads, ..query.clone() }).await
        }
    }

    CountsTurnsFromTheOtherEnd caught by ["items.one-turn-by-number"] also [] {
        async fn list_turns(&self, query: &TurnQuery) -> Result<Page<Turn>> {
            let turn = query.turn.clone().map(|turn| match turn {
                TurnSelector::Number(number) => TurnSelector::NumberFromEnd(number),
                TurnSelector::NumberFromEnd(number) => TurnSelector::Number(number),
                TurnSelector::Id(turn_id) => TurnSelector::Id(turn_id),
            });
            self.store.list_turns(&TurnQuery { turn, ..query.clone() }).await
        }
    }
}
