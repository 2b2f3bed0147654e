//! Pages out of whole lists, cut the same way by every store.
//!
//! A store that has no index loads the rows or turns in question and lets these functions sort, filter and cut them. One
//! that has an index asks it instead and must come to the same pages.

use std::cmp::Ordering;

use selvedge_history::apply_view;
use selvedge_protocol::{
    Cursor, ItemQuery, Page, SearchHit, SearchQuery, SortDirection, StoredThread, ThreadCursor, ThreadQuery, Turn,
    TurnItemEntry, TurnQuery,
};

use crate::{Result, StoreError};

/// Refuses a page that could hold nothing.
///
/// # Errors
/// `InvalidRequest` for a limit of 0.
pub fn check_limit(limit: usize) -> Result<()> {
    if limit == 0 {
        return Err(StoreError::invalid("a page must have room for at least one entry"));
    }
    Ok(())
}

/// The place in a listing that a query's cursor means; nothing when it asks for the first page.
///
/// # Errors
/// `InvalidRequest` for a limit of 0, or a cursor that is malformed or of another sort key or direction.
pub fn start_of(query: &ThreadQuery) -> Result<Option<ThreadCursor>> {
    check_limit(query.limit)?;
    let cursor = query.cursor.as_ref();
    Ok(cursor.map(|cursor| ThreadCursor::decode(cursor, query.sort, query.direction)).transpose()?)
}

/// The page of `threads` that a query asks for. The threads may come in any order.
///
/// # Errors
/// As [`start_of`].
pub fn page_threads(
    query: &ThreadQuery,
    threads: impl IntoIterator<Item = StoredThread>,
) -> Result<Page<StoredThread>> {
    let mut items = candidates(query, threads)?;
    let is_last = items.len() <= query.limit;
    items.truncate(query.limit);
    let next_cursor = if is_last { None } else { items.last().map(|thread| cursor_after(thread, query)) };
    Ok(Page { items, next_cursor })
}

/// The page of hits that a search asks for: those of the first `query.threads.limit` threads that have any.
///
/// `hits` gives the hits of one thread. It is asked for no more threads than the page needs, and one with a hit
/// beyond it to know whether another page follows.
///
/// # Errors
/// As [`start_of`]; `InvalidRequest` for no hits per thread; whatever `hits` fails with.
pub fn page_hits(
    query: &SearchQuery,
    threads: impl IntoIterator<Item = StoredThread>,
    mut hits: impl FnMut(&StoredThread) -> Result<Vec<SearchHit>>,
) -> Result<Page<SearchHit>> {
    check_limit(query.hits_per_thread)?;
    let mut items = Vec::new();
    let mut on_page = 0;
    let mut next_cursor = None;
    for thread in candidates(&query.threads, threads)? {
        let found = hits(&thread)?;
        if found.is_empty() {
            continue;
        }
        if on_page == query.threads.limit {
            return Ok(Page { items, next_cursor });
        }
        on_page += 1;
        next_cursor = Some(cursor_after(&thread, &query.threads));
        items.extend(found);
    }
    Ok(Page { items, next_cursor: None })
}

/// The page of a thread's turns, given oldest first, that a query asks for.
///
/// The cursor counts turns from the oldest, so that turns which are added meanwhile move no page.
///
/// # Errors
/// `InvalidRequest` for a limit of 0 or a malformed cursor.
pub fn page_turns(query: &TurnQuery, turns: Vec<Turn>) -> Result<Page<Turn>> {
    let turns = (0_u64..).zip(turns).collect();
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
    if let Some(turn_id) = &query.turn_id
        && !turns.iter().any(|turn| turn.id == *turn_id)
    {
        return Err(StoreError::TurnNotFound { thread_id: query.thread_id, turn_id: turn_id.clone() });
    }
    let mut entries = Vec::new();
    for (turn_index, turn) in (0_u64..).zip(turns) {
        if query.turn_id.as_ref().is_none_or(|turn_id| turn.id == *turn_id) {
            let positions = (turn_index << ITEM_BITS..).zip(turn.items);
            entries
                .extend(positions.map(|(position, item)| (position, TurnItemEntry { turn_id: turn.id.clone(), item })));
        }
    }
    page_by_position(query.direction, query.limit, query.cursor.as_ref(), entries)
}

/// How many bits of an item's position count items within a turn; the others count turns.
const ITEM_BITS: u32 = 32;

/// What answers the query and comes after its cursor, in its order.
fn candidates(query: &ThreadQuery, threads: impl IntoIterator<Item = StoredThread>) -> Result<Vec<StoredThread>> {
    let start = start_of(query)?;
    let mut threads: Vec<_> = threads
        .into_iter()
        .filter(|thread| query.matches(thread) && start.is_none_or(|start| comes_after(thread, &start, query)))
        .collect();
    threads.sort_by(|one, other| {
        ThreadCursor::of(one, query.sort).cmp(&ThreadCursor::of(other, query.sort), query.direction)
    });
    Ok(threads)
}

fn comes_after(thread: &StoredThread, start: &ThreadCursor, query: &ThreadQuery) -> bool {
    start.cmp(&ThreadCursor::of(thread, query.sort), query.direction) == Ordering::Less
}

fn cursor_after(thread: &StoredThread, query: &ThreadQuery) -> Cursor {
    ThreadCursor::of(thread, query.sort).encode(query.sort, query.direction)
}

/// A page of entries that stand at ascending positions. An ascending cursor is the first position that was not given
/// yet, a descending one the last that was.
fn page_by_position<T>(
    direction: SortDirection,
    limit: usize,
    cursor: Option<&Cursor>,
    mut entries: Vec<(u64, T)>,
) -> Result<Page<T>> {
    check_limit(limit)?;
    let bound = cursor.map(Cursor::position).transpose()?;
    if direction == SortDirection::Descending {
        entries.reverse();
    }
    entries.retain(|(position, _)| {
        bound.is_none_or(|bound| match direction {
            SortDirection::Ascending => *position >= bound,
            SortDirection::Descending => *position < bound,
        })
    });
    let is_last = entries.len() <= limit;
    entries.truncate(limit);
    let next_cursor = entries.last().filter(|_| !is_last).map(|(position, _)| {
        Cursor::at_position(match direction {
            SortDirection::Ascending => position + 1,
            SortDirection::Descending => *position,
        })
    });
    Ok(Page { items: entries.into_iter().map(|(_, entry)| entry).collect(), next_cursor })
}
