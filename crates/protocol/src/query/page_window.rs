//! Positions of turns and items, and the arithmetic of their pages.

use super::cursor::{Cursor, CursorError};
use super::sort_direction::SortDirection;

/// The positions that a page of turns or items can hold, and their order.
///
/// A position is the index of a turn in its thread, counted from 0, or the number of an item as [`ItemPosition`] packs
/// it. A window is open at its far end: how many entries fit on a page is the limit of the query.
///
/// ```text
/// Ascending,  bound 3:             [3  4  5  …     `bound` is the first position of the page
/// Descending, bound 3:   …  0  1  2)               `bound` is just behind the first position of the page
/// no bound:              everything, from the oldest or from the newest
/// ```
///
/// So in both directions a bound separates what earlier pages held from what follows. It stays correct while new turns
/// are appended: an ascending listing finds them at its end, and a descending one does not return any turn twice.
///
/// ```
/// use selvedge_protocol::{PageWindow, SortDirection};
///
/// let first = PageWindow::new(SortDirection::Descending, None)?;
/// // The first page held the turns 9, 8 and 7. The next one begins after 7.
/// let cursor = first.cursor_after(7);
/// let second = PageWindow::new(SortDirection::Descending, Some(&cursor))?;
/// assert!(second.holds(6) && !second.holds(7));
/// # Ok::<(), selvedge_protocol::CursorError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageWindow {
    /// Whether the page begins with its oldest or its newest position.
    pub direction: SortDirection,
    /// If ascending, the first position of the page. If descending, the position just above the first one. `None` for
    /// the first page.
    pub bound: Option<u64>,
}

impl PageWindow {
    /// Creates the window of the page that begins at a cursor, or of the first page.
    ///
    /// # Errors
    /// [`CursorError`] if the cursor is not one of a position.
    pub fn new(direction: SortDirection, cursor: Option<&Cursor>) -> Result<Self, CursorError> {
        Ok(Self { direction, bound: cursor.map(Cursor::position).transpose()? })
    }

    /// Returns whether the page can hold this position.
    #[must_use]
    pub fn holds(&self, position: u64) -> bool {
        self.bound.is_none_or(|bound| match self.direction {
            SortDirection::Ascending => position >= bound,
            SortDirection::Descending => position < bound,
        })
    }

    /// Returns the window of the positions that follow `position` in this direction.
    #[must_use]
    pub fn behind(&self, position: u64) -> Self {
        let bound = match self.direction {
            SortDirection::Ascending => position + 1,
            SortDirection::Descending => position,
        };
        Self { bound: Some(bound), ..*self }
    }

    /// Returns the cursor of the page that begins after `position`.
    #[must_use]
    pub fn cursor_after(&self, position: u64) -> Cursor {
        Cursor::at_position(self.behind(position).bound.unwrap_or_default())
    }

    /// Converts a window of items to the window of the turns that can contain such items.
    #[must_use]
    pub fn to_turn_window(&self) -> Self {
        let bound = self.bound.map(|bound| {
            let ItemPosition { turn, item } = ItemPosition::of(bound);
            match self.direction {
                SortDirection::Ascending => turn,
                // The items below (turn, 0) are in earlier turns only. Below (turn, 1) there is one in this turn, so
                // the turn itself must be in the window, and its bound is exclusive.
                SortDirection::Descending => turn + u64::from(item > 0),
            }
        });
        Self { bound, ..*self }
    }

    /// Collects values that come in ascending order, in the order of the window.
    pub fn in_order<T>(&self, ascending: impl Iterator<Item = T>) -> Vec<T> {
        let mut found: Vec<T> = ascending.collect();
        if self.direction == SortDirection::Descending {
            found.reverse();
        }
        found
    }
}

/// The number of bits for the index of an item in its turn. The other bits of a position are the index of the turn.
const ITEM_BITS: u32 = 32;

/// The position of an item among all items of a thread, as the index of its turn and its index in the turn.
///
/// It is not a running number of all items: a turn can get an item late, after newer turns have begun. A running number
/// would then move every later item, and pages that were already read would overlap with the next ones.
///
/// As the position of a [`PageWindow`], both indexes are packed into one number, which sorts in the same order:
///
/// ```text
/// bit 63            32 31             0
///     ┌───────────────┬───────────────┐
///     │ turn          │ item          │
///     └───────────────┴───────────────┘
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ItemPosition {
    /// The index of the turn in the thread, counted from 0 at the oldest.
    pub turn: u64,
    /// The index of the item in the turn, counted from 0.
    pub item: u64,
}

impl ItemPosition {
    /// Unpacks the position of a [`PageWindow`] of items.
    #[must_use]
    pub const fn of(position: u64) -> Self {
        Self { turn: position >> ITEM_BITS, item: position & ((1 << ITEM_BITS) - 1) }
    }

    /// Returns the packed position, for a [`PageWindow`] of items.
    #[must_use]
    pub const fn position(self) -> u64 {
        // A turn has far fewer than 2^32 items, so the two parts do not overlap.
        (self.turn << ITEM_BITS) + self.item
    }
}
