//! Pages out of whole lists, cut the same way by every store.
//!
//! A store that has no index loads the rows or turns in question and lets these functions sort, filter and cut them. One
//! that has an index asks it instead and must come to the same pages.

use std::cmp::Ordering;

use selvedge_history::{SearchRank, ThreadHits, apply_view};
use selvedge_protocol::{
    Cursor, CursorError, ItemPosition, ItemQuery, Page, PageWindow, SearchHit, SearchOrder, SearchQuery, SortDirection,
    StoredThread, ThreadCursor, ThreadFilter, ThreadId, ThreadLink, ThreadQuery, ThreadSortKey, Turn, TurnItemEntry,
    TurnQuery, TurnSelector, check_limit,
};

use crate::{Result, StoreError};

/// The place in a listing that a query's cursor means; nothing when it asks for the first page.
///
/// # Errors
/// `InvalidRequest` for a limit of 0, or a cursor that is malformed or of another sort key or direction.
pub fn start_of(query: &ThreadQuery) -> Result<Option<ThreadCursor>> {
    check_limit(query.limit)?;
    Ok(query.start()?)
}

/// The page of `threads` that a query asks for. The threads may come in any order; if [`ThreadQuery::needs_links`], they must be
/// all that the store has.
///
/// # Errors
/// As [`start_of`].
pub fn page_threads(
    query: &ThreadQuery,
    threads: impl IntoIterator<Item = StoredThread>,
) -> Result<Page<StoredThread>> {
    Ok(Page::first_of(sorted(query, threads)?, query.limit, |last| query.cursor_after(last)))
}

/// The page of hits that a search asks for: those of the first `query.threads.limit` threads that have any.
///
/// The threads are those of [`page_threads`], and `hits` gives what is found in one, in the order of the query. In a sorted
/// search it is asked for no more threads than the page needs, and one with a hit beyond it to know whether another page
/// follows. For the best threads it is asked for all of them, page by page.
///
/// # Errors
/// `InvalidRequest` for a page without room, no hits per thread, or a cursor that is malformed or of another order; whatever
/// `hits` fails with.
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
    let start = cursor.as_ref().map(|cursor| BestPlace::decode(cursor, *sort)).transpose()?;
    let wanted = limit.saturating_add(1);
    let mut found: Vec<(BestPlace, Vec<SearchHit>)> = Vec::new();
    for thread in candidates(&query.threads, threads) {
        let ThreadHits { hits, rank } = hits(&thread)?;
        let place = BestPlace { rank, at: ThreadCursor::of(&thread, *sort) };
        if hits.is_empty() || start.as_ref().is_some_and(|start| place.cmp(start) != Ordering::Greater) {
            continue;
        }
        found.push((place, hits));
        // What is behind the page is not kept until the end.
        if found.len() >= wanted.saturating_mul(2) {
            keep_first(&mut found, wanted);
        }
    }
    keep_first(&mut found, wanted);
    let Page { items, next_cursor } = Page::first_of(found, *limit, |(last, _)| last.encode(*sort));
    Ok(Page { items: items.into_iter().flat_map(|(_, hits)| hits).collect(), next_cursor })
}

fn keep_first(found: &mut Vec<(BestPlace, Vec<SearchHit>)>, wanted: usize) {
    found.sort_by(|(one, _), (other, _)| one.cmp(other));
    found.truncate(wanted);
}

/// The place of a thread among the best: by how well it fits, then the newest first.
struct BestPlace {
    rank: SearchRank,
    at: ThreadCursor,
}

impl BestPlace {
    fn cmp(&self, other: &Self) -> Ordering {
        other.rank.cmp(&self.rank).then_with(|| self.at.cmp(&other.at, SortDirection::Descending))
    }

    fn encode(&self, sort: ThreadSortKey) -> Cursor {
        let SearchRank { in_name, level } = self.rank;
        let at = self.at.encode(sort, SortDirection::Descending);
        format!("b1.{}.{level}.{at}", u8::from(in_name)).into()
    }

    fn decode(cursor: &Cursor, sort: ThreadSortKey) -> Result<Self> {
        let malformed = || CursorError { text: cursor.to_string() };
        let parts: Vec<&str> = cursor.as_str().splitn(4, '.').collect();
        let ["b1", in_name, level, at] = parts[..] else { return Err(malformed().into()) };
        let in_name = match in_name {
            "0" => false,
            "1" => true,
            _ => return Err(malformed().into()),
        };
        let level = level.parse().map_err(|_| malformed())?;
        let at = ThreadCursor::decode(&at.to_owned().into(), sort, SortDirection::Descending);
        Ok(Self { rank: SearchRank { in_name, level }, at: at.map_err(|_| malformed())? })
    }
}

/// The page of a thread's turns, given oldest first, that a query asks for.
///
/// The cursor counts turns from the oldest, so that turns which are added meanwhile move no page.
///
/// # Errors
/// `TurnNotFound`; `InvalidRequest` for a limit of 0 or a malformed cursor.
pub fn page_turns(query: &TurnQuery, turns: Vec<Turn>) -> Result<Page<Turn>> {
    let turns = selected(query.thread_id, query.turn.as_ref(), turns)?;
    let mut page = page_by_position(query.direction, query.limit, query.cursor.as_ref(), turns)?;
    for turn in &mut page.items {
        apply_view(turn, query.items_view);
    }
    Ok(page)
}

/// The page of the items of a thread's turns, given oldest first, that a query asks for.
///
/// The cursor names a turn and an item in it, so that a late item of an early turn moves no page.
///
/// # Errors
/// `TurnNotFound`; `InvalidRequest` for a limit of 0 or a malformed cursor.
pub fn page_items(query: &ItemQuery, turns: Vec<Turn>) -> Result<Page<TurnItemEntry>> {
    let mut entries = Vec::new();
    for (turn_index, turn) in selected(query.thread_id, query.turn.as_ref(), turns)? {
        let positions = (ItemPosition { turn: turn_index, item: 0 }.position()..).zip(turn.items);
        entries.extend(positions.map(|(position, item)| (position, TurnItemEntry { turn_id: turn.id.clone(), item })));
    }
    page_by_position(query.direction, query.limit, query.cursor.as_ref(), entries)
}

/// The turns that are asked for, with their places, given all of them, oldest first.
fn selected(thread_id: ThreadId, wanted: Option<&TurnSelector>, turns: Vec<Turn>) -> Result<Vec<(u64, Turn)>> {
    let place = wanted.and_then(|wanted| wanted.place(turns.len() as u64));
    let mut turns: Vec<(u64, Turn)> = (0_u64..).zip(turns).collect();
    let Some(wanted) = wanted else { return Ok(turns) };
    turns.retain(|(at, turn)| match wanted {
        TurnSelector::Id(turn_id) => turn.id == *turn_id,
        TurnSelector::Number(_) | TurnSelector::NumberFromEnd(_) => Some(*at) == place,
    });
    if turns.is_empty() {
        return Err(StoreError::TurnNotFound { thread_id, turn: wanted.clone() });
    }
    Ok(turns)
}

/// What answers the query and comes after its cursor, in its order.
fn sorted(query: &ThreadQuery, threads: impl IntoIterator<Item = StoredThread>) -> Result<Vec<StoredThread>> {
    let start = start_of(query)?;
    let mut threads = candidates(query, threads);
    threads.retain(|thread| start.is_none_or(|start| comes_after(thread, &start, query)));
    threads.sort_by(|one, other| {
        ThreadCursor::of(one, query.sort).cmp(&ThreadCursor::of(other, query.sort), query.direction)
    });
    Ok(threads)
}

/// What answers the query, page aside.
fn candidates(query: &ThreadQuery, threads: impl IntoIterator<Item = StoredThread>) -> Vec<StoredThread> {
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

/// A page of entries that stand at ascending positions.
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
