//! Pages of whole lists, the same in every store.
//!
//! A store without an index loads the thread records or turns, and these functions filter, sort and cut them. A store
//! with an index queries the index and must return the same pages.

use std::cmp::{Ordering, Reverse};

use selvedge_history::{SearchRank, ThreadHits, apply_view};
use selvedge_protocol::{
    Cursor, CursorError, ItemPosition, ItemQuery, Page, PageWindow, SearchHit, SearchOrder, SearchQuery, SortDirection,
    StoredThread, ThreadCursor, ThreadFilter, ThreadId, ThreadLink, ThreadQuery, ThreadSortKey, Turn, TurnItemEntry,
    TurnQuery, TurnSelector, check_limit,
};

use crate::{Result, StoreError};

/// Decodes the cursor of a query. `None` if the query requests the first page.
///
/// # Errors
/// - `InvalidRequest` if the limit is 0, or if the cursor is malformed or belongs to another sort key or direction.
pub fn decode_thread_cursor(query: &ThreadQuery) -> Result<Option<ThreadCursor>> {
    check_limit(query.limit)?;
    Ok(query.start()?)
}

/// Returns the page of `threads` that a query requests.
///
/// The threads may come in any order. If [`ThreadQuery::needs_links`] returns true, they must be all threads of the
/// store.
///
/// # Errors
/// The errors of [`decode_thread_cursor`].
pub fn page_threads(
    query: &ThreadQuery,
    threads: impl IntoIterator<Item = StoredThread>,
) -> Result<Page<StoredThread>> {
    Ok(Page::first_of(sorted(query, threads)?, query.limit, |last| query.cursor_after(last)))
}

/// Returns the page of hits that a search requests: the hits of the first `query.threads.limit` threads that have any.
///
/// The threads are the same as for [`page_threads`]. `hits` returns the hits in one thread, in the order of the query.
///
/// - In a sorted search, `hits` is called for no more threads than the page needs, and until one more thread with a hit
///   is found. That one shows that another page follows.
/// - In a search for the best threads, `hits` is called for all threads, for each page again: the order depends on the
///   hits. It is called in the order of the sort key, newest first.
///
/// # Errors
/// - `InvalidRequest` if the page has no room, if the number of hits per thread is 0, or if the cursor is malformed or
///   belongs to another order.
/// - The errors of `hits`.
pub fn page_hits(
    query: &SearchQuery,
    threads: impl IntoIterator<Item = StoredThread>,
    hits: impl FnMut(&StoredThread) -> Result<ThreadHits>,
) -> Result<Page<SearchHit>> {
    check_limit(query.hits_per_thread)?;
    match query.order {
        SearchOrder::Sorted => page_sorted_hits(query, sorted(&query.threads, threads)?, hits),
        SearchOrder::Best => page_best_hits(query, threads, hits),
    }
}

fn page_sorted_hits(
    query: &SearchQuery,
    threads: Vec<StoredThread>,
    mut hits: impl FnMut(&StoredThread) -> Result<ThreadHits>,
) -> Result<Page<SearchHit>> {
    // The cursor after the last thread on the page. It is returned only if one more thread has a hit, so the last page
    // has none.
    let mut items = Vec::new();
    let mut on_page = 0;
    let mut next_cursor = None;
    for thread in threads {
        let found = hits(&thread)?.hits;
        if found.is_empty() {
            continue;
        }
        if on_page == query.threads.limit {
            return Ok(Page { items, next_cursor });
        }
        on_page += 1;
        next_cursor = Some(query.threads.cursor_after(&thread));
        items.extend(found);
    }
    Ok(Page { items, next_cursor: None })
}

fn page_best_hits(
    query: &SearchQuery,
    threads: impl IntoIterator<Item = StoredThread>,
    mut hits: impl FnMut(&StoredThread) -> Result<ThreadHits>,
) -> Result<Page<SearchHit>> {
    let ThreadQuery { sort, limit, cursor, .. } = &query.threads;
    check_limit(*limit)?;
    let start = cursor.as_ref().map(|cursor| RankedCursor::decode(cursor, *sort)).transpose()?;
    // One more than the page holds shows whether another page follows.
    let wanted = limit.saturating_add(1);
    let mut found: Vec<(RankedCursor, Vec<SearchHit>)> = Vec::new();
    let mut threads = candidates(&query.threads, threads);
    threads.sort_by(|one, other| {
        ThreadCursor::of(one, *sort).cmp(&ThreadCursor::of(other, *sort), SortDirection::Descending)
    });
    for thread in threads {
        let ThreadHits { hits, rank } = hits(&thread)?;
        let position = RankedCursor { rank, at: ThreadCursor::of(&thread, *sort) };
        if hits.is_empty() || start.as_ref().is_some_and(|start| position.cmp(start) != Ordering::Greater) {
            continue;
        }
        found.push((position, hits));
        // Drop what is after the page now and then, so that memory stays at two pages.
        if found.len() >= wanted.saturating_mul(2) {
            keep_first(&mut found, wanted);
        }
    }
    keep_first(&mut found, wanted);
    let Page { items, next_cursor } = Page::first_of(found, *limit, |(last, _)| last.encode(*sort));
    Ok(Page { items: items.into_iter().flat_map(|(_, hits)| hits).collect(), next_cursor })
}

/// Sorts the threads and drops all but the first `wanted` ones.
fn keep_first(found: &mut Vec<(RankedCursor, Vec<SearchHit>)>, wanted: usize) {
    found.sort_by(|(one, _), (other, _)| one.cmp(other));
    found.truncate(wanted);
}

/// The position of a thread in a search for the best ones: by how well it matches, then by its time, newest first.
struct RankedCursor {
    rank: SearchRank,
    at: ThreadCursor,
}

impl RankedCursor {
    fn cmp(&self, other: &Self) -> Ordering {
        // Reversed: the best match comes first.
        other.rank.cmp(&self.rank).then_with(|| self.at.cmp(&other.at, SortDirection::Descending))
    }

    /// Returns the cursor after the thread: `b1.<window>.<in name>.<level>.<cursor of the thread>`.
    fn encode(&self, sort: ThreadSortKey) -> Cursor {
        let SearchRank { window: Reverse(window), in_name, level } = self.rank;
        let at = self.at.encode(sort, SortDirection::Descending);
        format!("b1.{window}.{}.{level}.{at}", u8::from(in_name)).into()
    }

    fn decode(cursor: &Cursor, sort: ThreadSortKey) -> Result<Self> {
        let malformed = || CursorError { text: cursor.to_string() };
        let parts: Vec<&str> = cursor.as_str().splitn(5, '.').collect();
        let ["b1", window, in_name, level, at] = parts[..] else { return Err(malformed().into()) };
        let in_name = match in_name {
            "0" => false,
            "1" => true,
            _ => return Err(malformed().into()),
        };
        let window = Reverse(window.parse().map_err(|_| malformed())?);
        let level = level.parse().map_err(|_| malformed())?;
        let at = ThreadCursor::decode(&at.to_owned().into(), sort, SortDirection::Descending);
        Ok(Self { rank: SearchRank { window, in_name, level }, at: at.map_err(|_| malformed())? })
    }
}

/// Returns the page of a thread's turns that a query requests. `turns` are all turns of the thread, oldest first.
///
/// The cursor counts turns from the oldest one, so turns that are added meanwhile do not move a page.
///
/// # Errors
/// - `TurnNotFound` if the thread does not have the requested turn.
/// - `InvalidRequest` if the limit is 0 or the cursor is malformed.
pub fn page_turns(query: &TurnQuery, turns: Vec<Turn>) -> Result<Page<Turn>> {
    let turns = selected(query.thread_id, query.turn.as_ref(), turns)?;
    let mut page = page_by_position(query.direction, query.limit, query.cursor.as_ref(), turns)?;
    for turn in &mut page.items {
        apply_view(turn, query.items_view);
    }
    Ok(page)
}

/// Returns the page of a thread's items that a query requests. `turns` are all turns of the thread, oldest first.
///
/// The cursor names a turn and an item in it, so an item that is added to an early turn does not move the pages of
/// later turns.
///
/// # Errors
/// - `TurnNotFound` if the thread does not have the requested turn.
/// - `InvalidRequest` if the limit is 0 or the cursor is malformed.
pub fn page_items(query: &ItemQuery, turns: Vec<Turn>) -> Result<Page<TurnItemEntry>> {
    let mut entries = Vec::new();
    for (turn_index, turn) in selected(query.thread_id, query.turn.as_ref(), turns)? {
        let items = (0..).zip(turn.items).zip(turn.item_positions);
        entries.extend(items.map(|((index, item), line)| {
            let position = ItemPosition { turn: turn_index, item: index };
            (position.position(), TurnItemEntry { turn_id: turn.id.clone(), item, position, line })
        }));
    }
    page_by_position(query.direction, query.limit, query.cursor.as_ref(), entries)
}

/// Returns the requested turns with their indexes. `turns` are all turns of the thread, oldest first.
fn selected(thread_id: ThreadId, wanted: Option<&TurnSelector>, turns: Vec<Turn>) -> Result<Vec<(u64, Turn)>> {
    let index = wanted.and_then(|wanted| wanted.turn_index(turns.len() as u64));
    let mut turns: Vec<(u64, Turn)> = (0_u64..).zip(turns).collect();
    let Some(wanted) = wanted else { return Ok(turns) };
    // The index of a turn stays its index among all turns, so that cursors mean the same with and without a selection.
    turns.retain(|(at, turn)| match wanted {
        TurnSelector::Id(turn_id) => turn.id == *turn_id,
        TurnSelector::Number(_) | TurnSelector::NumberFromEnd(_) => Some(*at) == index,
    });
    if turns.is_empty() {
        return Err(StoreError::TurnNotFound { thread_id, turn: wanted.clone() });
    }
    Ok(turns)
}

/// Returns the threads that match the query and come after its cursor, in its order.
fn sorted(query: &ThreadQuery, threads: impl IntoIterator<Item = StoredThread>) -> Result<Vec<StoredThread>> {
    let start = decode_thread_cursor(query)?;
    let mut threads = candidates(query, threads);
    threads.retain(|thread| start.is_none_or(|start| comes_after(thread, &start, query)));
    threads.sort_by(|one, other| {
        ThreadCursor::of(one, query.sort).cmp(&ThreadCursor::of(other, query.sort), query.direction)
    });
    Ok(threads)
}

/// Returns the threads that match the query, in any order, without regard to its cursor and limit.
fn candidates(query: &ThreadQuery, threads: impl IntoIterator<Item = StoredThread>) -> Vec<StoredThread> {
    // A filter by descent needs the links of all threads, so it needs a list. Any other filter works on a stream.
    if !query.needs_links() {
        let filter = ThreadFilter::new(query, Vec::new);
        return threads.into_iter().filter(|thread| filter.matches(thread)).collect();
    }
    let mut threads: Vec<StoredThread> = threads.into_iter().collect();
    let filter = ThreadFilter::new(query, || threads.iter().map(ThreadLink::of));
    threads.retain(|thread| filter.matches(thread));
    threads
}

fn comes_after(thread: &StoredThread, start: &ThreadCursor, query: &ThreadQuery) -> bool {
    start.cmp(&ThreadCursor::of(thread, query.sort), query.direction) == Ordering::Less
}

/// Returns a page of entries at ascending positions.
fn page_by_position<T>(
    direction: SortDirection,
    limit: usize,
    cursor: Option<&Cursor>,
    entries: Vec<(u64, T)>,
) -> Result<Page<T>> {
    check_limit(limit)?;
    let window = PageWindow::new(direction, cursor)?;
    let entries = entries.into_iter().filter(|(position, _)| window.holds(*position));
    let page = Page::first_of(window.in_order(entries), limit, |(last, _)| window.cursor_after(*last));
    Ok(page.map(|(_, entry)| entry))
}
