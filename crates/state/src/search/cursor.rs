//! The start of a page of a search, and its cursor.

use std::cmp::Reverse;

use selvedge_protocol::{
    Cursor, CursorError, SearchOrder, SearchQuery, SortDirection, ThreadCursor, ThreadQuery, ThreadSortKey,
};

use crate::error::Result;
use crate::search::rank::RankPosition;

/// The prefix of a cursor of the index's ranking. A search that reads all logs ranks otherwise, and has other cursors.
pub(super) const RANKING_PREFIX: &str = "x1";

/// Where a page of a ranking begins: after a position, within a window.
///
/// A cursor is its fields with slashes between: `x1/FIRST/LAST/UNNAMED/DISTANCE/THREAD`. FIRST, LAST and THREAD are cursors of a
/// list of threads, UNNAMED is 0 or 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RankStart {
    /// The newest thread of the window.
    pub(super) first: ThreadCursor,
    /// The oldest thread of the window.
    pub(super) last: ThreadCursor,
    pub(super) position: RankPosition,
}

impl RankStart {
    pub(super) fn encode(&self, sort: ThreadSortKey) -> Cursor {
        let encode = |thread: ThreadCursor| thread.encode(sort, SortDirection::Descending);
        let (at, id) = self.position.age.0;
        let thread = encode(ThreadCursor { at, id });
        let RankPosition { is_unnamed, distance, .. } = self.position;
        let (first, last) = (encode(self.first), encode(self.last));
        format!("{RANKING_PREFIX}/{first}/{last}/{}/{distance}/{thread}", u8::from(is_unnamed)).into()
    }

    fn decode(cursor: &Cursor, sort: ThreadSortKey) -> Result<Self, CursorError> {
        let malformed = || CursorError { text: cursor.to_string() };
        let parts: Vec<&str> = cursor.as_str().split('/').collect();
        let [RANKING_PREFIX, first, last, unnamed, distance, thread] = parts[..] else { return Err(malformed()) };
        let decode = |text: &str| {
            let cursor = Cursor::from(text.to_owned());
            ThreadCursor::decode(&cursor, sort, SortDirection::Descending).map_err(|_| malformed())
        };
        let is_unnamed = match unnamed {
            "0" => false,
            "1" => true,
            _ => return Err(malformed()),
        };
        let distance = distance.parse().map_err(|_| malformed())?;
        let ThreadCursor { at, id } = decode(thread)?;
        let position = RankPosition { is_unnamed, distance, age: Reverse((at, id)) };
        Ok(Self { first: decode(first)?, last: decode(last)?, position })
    }
}

/// Where a page of a search begins. Without a cursor it is the first page.
pub(super) enum SearchStart {
    Sorted(Option<ThreadCursor>),
    Ranked(Option<RankStart>),
}

impl SearchStart {
    /// Returns where the page of a query begins. `None` if its cursor belongs to another ranking.
    pub(super) fn of(query: &SearchQuery) -> Result<Option<Self>> {
        let ThreadQuery { sort, cursor, .. } = &query.threads;
        let cursor = cursor.as_ref();
        let is_ours = cursor.is_none_or(|cursor| cursor.as_str().starts_with(RANKING_PREFIX));
        Ok(match query.order {
            SearchOrder::Best if !is_ours => None,
            SearchOrder::Sorted => Some(Self::Sorted(query.threads.start()?)),
            SearchOrder::Best => {
                let start = cursor.map(|cursor| RankStart::decode(cursor, *sort));
                Some(Self::Ranked(start.transpose()?))
            }
        })
    }
}
