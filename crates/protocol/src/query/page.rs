//! One page of an answer.

use serde::Serialize;

use super::cursor::Cursor;

/// One page of an answer.
///
/// A client that wants all entries repeats its query with `next_cursor` until that is `None`. A page can be empty.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Page<T> {
    /// The entries of the page, in the order of the query.
    pub items: Vec<T>,
    /// The cursor of the next page. `None` if this is the last page.
    pub next_cursor: Option<Cursor>,
}

impl<T> Page<T> {
    /// Converts every entry of the page.
    pub fn map<U>(self, make: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(make).collect(), next_cursor: self.next_cursor }
    }

    /// Creates the page of the first `limit` entries. It has a next page if there are more.
    ///
    /// A caller that does not have all entries passes one more than `limit`, which is enough to know whether there are
    /// more. `cursor_after` returns the cursor of the page that begins after an entry; it is called for the last
    /// entry of the page, if there is a next page.
    #[must_use]
    pub fn first_of(mut entries: Vec<T>, limit: usize, cursor_after: impl FnOnce(&T) -> Cursor) -> Self {
        // The entry beyond the limit is only looked at here. The next page begins behind the last entry that is
        // returned, so that the extra one is its first.
        let is_last = entries.len() <= limit;
        entries.truncate(limit);
        let next_cursor = if is_last { None } else { entries.last().map(cursor_after) };
        Self { items: entries, next_cursor }
    }
}

/// The limit of a query is 0, so no page could hold an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a page must have room for at least one entry")]
pub struct ZeroLimit;

/// Checks the limit of a query.
///
/// A limit of 0 is refused: a cursor is made from the last entry of a page, so a page without entries would look like
/// the last one although more entries follow.
///
/// # Errors
/// [`ZeroLimit`] if the limit is 0.
pub const fn check_limit(limit: usize) -> Result<(), ZeroLimit> {
    if limit == 0 { Err(ZeroLimit) } else { Ok(()) }
}
