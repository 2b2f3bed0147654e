//! The arithmetic of pages and cursors, the same for whoever has rows in memory and whoever asks an index for them.

use crate::{Cursor, CursorError, Page, SortDirection, StoredThread, ThreadCursor, ThreadQuery};

/// A page was asked for that could hold nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a page must have room for at least one entry")]
pub struct EmptyPage;

/// Refuses a page that could hold nothing.
///
/// # Errors
/// [`EmptyPage`] for a limit of 0.
pub const fn check_limit(limit: usize) -> Result<(), EmptyPage> {
    if limit == 0 { Err(EmptyPage) } else { Ok(()) }
}

impl<T> Page<T> {
    /// The page of the first `limit` of these entries. Another page follows if there are more: whoever does not have all takes
    /// one more than the limit. `cursor_behind` is asked for the place behind the last entry on the page.
    #[must_use]
    pub fn first_of(mut entries: Vec<T>, limit: usize, cursor_behind: impl FnOnce(&T) -> Cursor) -> Self {
        let is_last = entries.len() <= limit;
        entries.truncate(limit);
        let next_cursor = if is_last { None } else { entries.last().map(cursor_behind) };
        Self { items: entries, next_cursor }
    }
}

impl ThreadQuery {
    /// The place in the listing behind which the page begins. `None` if it is the first page.
    ///
    /// # Errors
    /// [`CursorError`] for a cursor that is malformed or of another sort key or direction.
    pub fn start(&self) -> Result<Option<ThreadCursor>, CursorError> {
        self.cursor.as_ref().map(|cursor| ThreadCursor::decode(cursor, self.sort, self.direction)).transpose()
    }

    /// The cursor of the page that begins behind a thread.
    #[must_use]
    pub fn cursor_behind(&self, thread: &StoredThread) -> Cursor {
        ThreadCursor::of(thread, self.sort).encode(self.sort, self.direction)
    }
}

/// Which positions in a thread's turns or items a page may hold, and in which order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageWindow {
    /// Which end comes first.
    pub direction: SortDirection,
    /// Ascending the first position, descending the one behind the first. `None` if the page is the first one.
    pub bound: Option<u64>,
}

impl PageWindow {
    /// The window of the page that begins at a cursor: ascending, the first position that was not given yet, and descending the
    /// last that was.
    ///
    /// # Errors
    /// [`CursorError`] for one that is no cursor of positions.
    pub fn new(direction: SortDirection, cursor: Option<&Cursor>) -> Result<Self, CursorError> {
        Ok(Self { direction, bound: cursor.map(Cursor::position).transpose()? })
    }

    /// Whether a page may hold what stands at a position.
    #[must_use]
    pub fn holds(&self, position: u64) -> bool {
        self.bound.is_none_or(|bound| match self.direction {
            SortDirection::Ascending => position >= bound,
            SortDirection::Descending => position < bound,
        })
    }

    /// The window of what comes behind a position.
    #[must_use]
    pub fn behind(&self, position: u64) -> Self {
        let bound = match self.direction {
            SortDirection::Ascending => position + 1,
            SortDirection::Descending => position,
        };
        Self { bound: Some(bound), ..*self }
    }

    /// The cursor of the page that begins behind a position.
    #[must_use]
    pub fn cursor_behind(&self, position: u64) -> Cursor {
        Cursor::at_position(self.behind(position).bound.unwrap_or_default())
    }

    /// Of a window of items, the window of the turns that can hold such an item.
    #[must_use]
    pub fn of_turns(&self) -> Self {
        let bound = self.bound.map(|bound| {
            let ItemPosition { turn, item } = ItemPosition::of(bound);
            match self.direction {
                SortDirection::Ascending => turn,
                SortDirection::Descending => turn + u64::from(item > 0),
            }
        });
        Self { bound, ..*self }
    }

    /// What comes in ascending order, in the order of the window.
    pub fn in_order<T>(&self, ascending: impl Iterator<Item = T>) -> Vec<T> {
        let mut found: Vec<T> = ascending.collect();
        if self.direction == SortDirection::Descending {
            found.reverse();
        }
        found
    }
}

/// How many bits of an item's position count items within a turn; the others count turns.
const ITEM_BITS: u32 = 32;

/// The place of an item among all of a thread: its turn, counted from the oldest, and its place in the turn, so that a late item
/// of an early turn moves no page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ItemPosition {
    /// Which turn, counted from 0.
    pub turn: u64,
    /// Which item of it, counted from 0.
    pub item: u64,
}

impl ItemPosition {
    /// The place that is meant by a position of a [`PageWindow`].
    #[must_use]
    pub const fn of(position: u64) -> Self {
        Self { turn: position >> ITEM_BITS, item: position & ((1 << ITEM_BITS) - 1) }
    }

    /// The place as the position of a [`PageWindow`].
    #[must_use]
    pub const fn position(self) -> u64 {
        (self.turn << ITEM_BITS) + self.item
    }
}
