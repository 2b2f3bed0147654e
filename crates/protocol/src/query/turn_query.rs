//! Queries for the turns and items of one thread.

use std::fmt;

use super::cursor::Cursor;
use super::sort_direction::SortDirection;
use crate::{ItemsView, ThreadId, TurnId};

/// Selects one turn of a thread.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TurnSelector {
    /// The turn with this id. If several turns have it, all of them are selected.
    Id(TurnId),
    /// The turn with this number, counted from the oldest turn, which is 1.
    Number(u64),
    /// The turn with this number, counted from the newest turn, which is 1.
    NumberFromEnd(u64),
}

impl TurnSelector {
    /// Returns the index of the turn in a thread of `count` turns, counted from 0 at the oldest. `None` if no turn has
    /// this number, or if the turn is selected by its id.
    ///
    /// ```
    /// use selvedge_protocol::TurnSelector;
    ///
    /// assert_eq!(TurnSelector::Number(1).turn_index(5), Some(0));
    /// assert_eq!(TurnSelector::NumberFromEnd(1).turn_index(5), Some(4));
    /// assert_eq!(TurnSelector::NumberFromEnd(6).turn_index(5), None);
    /// ```
    #[must_use]
    pub fn turn_index(&self, count: u64) -> Option<u64> {
        let index = match self {
            Self::Id(_) => None,
            Self::Number(number) => number.checked_sub(1),
            // Number 0 from the end would otherwise be `count`, the index just behind the newest turn.
            Self::NumberFromEnd(number) => number.checked_sub(1).and_then(|_| count.checked_sub(*number)),
        };
        // Numbers come from a client, so one behind the newest turn is possible, too.
        index.filter(|index| *index < count)
    }
}

impl From<TurnId> for TurnSelector {
    fn from(turn_id: TurnId) -> Self {
        Self::Id(turn_id)
    }
}

impl fmt::Display for TurnSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(turn_id) => fmt::Display::fmt(turn_id, f),
            Self::Number(number) => write!(f, "number {number}"),
            Self::NumberFromEnd(number) => write!(f, "number {number} from the end"),
        }
    }
}

/// Request to list turns of one thread.
#[derive(Clone, Debug, PartialEq)]
pub struct TurnQuery {
    /// The thread.
    pub thread_id: ThreadId,
    /// The turn to return. `None` for all turns.
    pub turn: Option<TurnSelector>,
    /// Whether the oldest or the newest turn comes first.
    pub direction: SortDirection,
    /// The maximal number of turns on a page. At least 1.
    pub limit: usize,
    /// The cursor at which the page begins. `None` for the first page.
    pub cursor: Option<Cursor>,
    /// Which items of each turn are returned.
    pub items_view: ItemsView,
    /// How long a text has to be, in bytes, so that a reader does not need the whole of it. `None` if it needs everything.
    ///
    /// A store may shorten longer texts of items to their beginning and their end, and those of turns with very many items to less
    /// ([`shorten_text`](crate::log::shorten_text)). So the memory of a page does not depend on the length of texts. A store that has a
    /// text in memory anyway may return the whole.
    pub max_text: Option<usize>,
}

impl TurnQuery {
    /// Creates a query for all turns of a thread on one page, oldest first, with all their items.
    #[must_use]
    pub fn all(thread_id: ThreadId) -> Self {
        Self {
            thread_id,
            turn: None,
            direction: SortDirection::Ascending,
            limit: usize::MAX,
            cursor: None,
            items_view: ItemsView::Full,
            max_text: None,
        }
    }
}

/// Request to list items of one thread.
#[derive(Clone, Debug, PartialEq)]
pub struct ItemQuery {
    /// The thread.
    pub thread_id: ThreadId,
    /// The turn whose items are returned. `None` for all turns.
    pub turn: Option<TurnSelector>,
    /// Whether the oldest or the newest item comes first.
    pub direction: SortDirection,
    /// The maximal number of items on a page. At least 1.
    pub limit: usize,
    /// The cursor at which the page begins. `None` for the first page.
    pub cursor: Option<Cursor>,
    /// As [`TurnQuery::max_text`].
    pub max_text: Option<usize>,
}

impl ItemQuery {
    /// Creates a query for all items of a thread on one page, oldest first.
    #[must_use]
    pub fn all(thread_id: ThreadId) -> Self {
        Self {
            thread_id,
            turn: None,
            direction: SortDirection::Ascending,
            limit: usize::MAX,
            cursor: None,
            max_text: None,
        }
    }
}
