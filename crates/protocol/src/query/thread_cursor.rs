//! Sort keys and cursors of a listing of threads.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::cursor::{Cursor, CursorError};
use super::sort_direction::SortDirection;
use crate::{StoredThread, ThreadId, Timestamp};

/// The time by which a listing of threads is sorted. Threads with equal times are sorted by id, so the order is total.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ThreadSortKey {
    /// The time at which the thread was created.
    CreatedAt,
    /// The time of the newest append to the log of the thread.
    #[default]
    UpdatedAt,
    /// The time at which the newest turn of the thread began.
    RecencyAt,
}

impl ThreadSortKey {
    /// Returns the time by which a thread is sorted.
    #[must_use]
    pub fn of(self, thread: &StoredThread) -> Timestamp {
        match self {
            Self::CreatedAt => thread.created_at,
            Self::UpdatedAt => thread.updated_at,
            Self::RecencyAt => thread.recency_at,
        }
    }

    /// The letter of the sort key in a cursor.
    const fn letter(self) -> &'static str {
        match self {
            Self::CreatedAt => "c",
            Self::UpdatedAt => "u",
            Self::RecencyAt => "r",
        }
    }
}

/// The position of a thread in a listing.
///
/// It is a keyset cursor: it holds the sort key of the last thread on a page, and the next page is what sorts after
/// that key. It therefore stays valid when threads are added or deleted in between, even when its own thread is. An
/// offset ("skip 50 threads") would repeat or skip threads then.
///
/// ```
/// use selvedge_protocol::{SortDirection, StoredThread, ThreadCursor, ThreadId, ThreadSortKey, Timestamp};
///
/// let id: ThreadId = "01a1fd5d-aacb-7641-837d-630af077ebd5".parse()?;
/// let thread = StoredThread::new(id, Timestamp::from_millis(7));
/// let (sort, direction) = (ThreadSortKey::UpdatedAt, SortDirection::Descending);
/// let position = ThreadCursor::of(&thread, sort);
/// let cursor = position.encode(sort, direction);
/// assert_eq!(cursor.as_str(), "t1.ud.7.01a1fd5daacb7641837d630af077ebd5");
/// assert_eq!(ThreadCursor::decode(&cursor, sort, direction)?, position);
/// // In a listing with another order the position means nothing.
/// assert!(ThreadCursor::decode(&cursor, sort, SortDirection::Ascending).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadCursor {
    /// The time of the thread by which the listing is sorted.
    pub at: Timestamp,
    /// The thread.
    pub id: ThreadId,
}

impl ThreadCursor {
    /// Returns the position of `thread` in a listing that is sorted by `sort`.
    #[must_use]
    pub fn of(thread: &StoredThread, sort: ThreadSortKey) -> Self {
        Self { at: sort.of(thread), id: thread.id }
    }

    /// Encodes the position as an opaque cursor. The text contains the sort key and the direction, so that a listing in
    /// another order refuses it.
    #[must_use]
    pub fn encode(&self, sort: ThreadSortKey, direction: SortDirection) -> Cursor {
        Cursor(format!(
            "t1.{}{}.{}.{}",
            sort.letter(),
            letter(direction),
            self.at.as_millis(),
            self.id.as_uuid().simple()
        ))
    }

    /// Decodes a cursor of a listing by `sort` and `direction`.
    ///
    /// # Errors
    /// [`CursorError`] if the cursor is malformed, or belongs to another sort key or direction.
    pub fn decode(cursor: &Cursor, sort: ThreadSortKey, direction: SortDirection) -> Result<Self, CursorError> {
        // Format and version, sort key with direction, milliseconds, id:
        //
        //     t1.ud.1795252136680.01a1fd5daacb7641837d630af077ebd5
        //
        // Everything is checked, because the text comes from a client.
        let mut parts = cursor.0.split('.');
        let position = match (parts.next(), parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some("t1"), Some(order), Some(at), Some(id), None)
                if order == format!("{}{}", sort.letter(), letter(direction)) =>
            {
                at.parse().ok().zip(ThreadId::from_str(id).ok())
            }
            _ => None,
        };
        let (at, id) = position.ok_or_else(|| cursor.malformed())?;
        Ok(Self { at: Timestamp::from_millis(at), id })
    }

    /// Compares two positions in the order of a listing in this direction.
    #[must_use]
    pub fn cmp(&self, other: &Self, direction: SortDirection) -> std::cmp::Ordering {
        // The id breaks ties. Without it, threads with equal times could be repeated or skipped at the end of a page.
        direction.order((self.at, self.id).cmp(&(other.at, other.id)))
    }
}

/// The letter of the direction in a cursor.
const fn letter(direction: SortDirection) -> &'static str {
    match direction {
        SortDirection::Ascending => "a",
        SortDirection::Descending => "d",
    }
}
