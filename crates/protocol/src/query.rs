//! Questions and answers: queries, cursors and pages, the same for every layer.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{ItemsView, StoredThread, ThreadId, Timestamp, TurnId};

/// One page of an answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Page<T> {
    /// What is on the page.
    pub items: Vec<T>,
    /// Where the next page begins; nothing after the last.
    pub next_cursor: Option<Cursor>,
}

impl<T> Page<T> {
    /// The page with every item made into another.
    pub fn map<U>(self, make: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(make).collect(), next_cursor: self.next_cursor }
    }
}

/// Where a page begins. Opaque: made by a store, given back to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cursor(String);

/// A text that is no cursor of this query.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor of this query: {text:?}")]
pub struct CursorError {
    /// What was given.
    pub text: String,
}

impl Cursor {
    /// The cursor as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A cursor at a position in a thread's turns or items.
    #[must_use]
    pub fn at_position(position: u64) -> Self {
        Self(format!("p1.{position}"))
    }

    /// The position of a cursor that [`Cursor::at_position`] made.
    ///
    /// # Errors
    /// [`CursorError`] for any other.
    pub fn position(&self) -> Result<u64, CursorError> {
        self.0.strip_prefix("p1.").and_then(|position| position.parse().ok()).ok_or_else(|| self.malformed())
    }

    fn malformed(&self) -> CursorError {
        CursorError { text: self.0.clone() }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<String> for Cursor {
    fn from(text: String) -> Self {
        Self(text)
    }
}

/// What a listing of threads is sorted by. Equal times are sorted by id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ThreadSortKey {
    /// When the thread was created.
    CreatedAt,
    /// When its log last grew.
    #[default]
    UpdatedAt,
    /// When its newest turn began.
    RecencyAt,
}

impl ThreadSortKey {
    /// The time that a thread is sorted by.
    #[must_use]
    pub fn of(self, thread: &StoredThread) -> Timestamp {
        match self {
            Self::CreatedAt => thread.created_at,
            Self::UpdatedAt => thread.updated_at,
            Self::RecencyAt => thread.recency_at,
        }
    }

    const fn letter(self) -> &'static str {
        match self {
            Self::CreatedAt => "c",
            Self::UpdatedAt => "u",
            Self::RecencyAt => "r",
        }
    }
}

/// Which end comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SortDirection {
    /// Oldest first.
    Ascending,
    /// Newest first.
    Descending,
}

impl SortDirection {
    /// Turns an ascending ordering the way of this direction.
    #[must_use]
    pub fn order(self, ascending: std::cmp::Ordering) -> std::cmp::Ordering {
        match self {
            Self::Ascending => ascending,
            Self::Descending => ascending.reverse(),
        }
    }
}

/// The place of a thread in a listing, as a keyset cursor: the next page is what comes after it, whatever was added or
/// removed meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadCursor {
    /// The time that the listing is sorted by.
    pub at: Timestamp,
    /// The thread.
    pub id: ThreadId,
}

impl ThreadCursor {
    /// The place of `thread` in a listing by `sort`.
    #[must_use]
    pub fn of(thread: &StoredThread, sort: ThreadSortKey) -> Self {
        Self { at: sort.of(thread), id: thread.id }
    }

    /// The cursor's opaque form. It holds sort key and direction, so that it cannot be taken for another listing's.
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

    /// The place that an opaque cursor of a listing by `sort` and `direction` means.
    ///
    /// # Errors
    /// [`CursorError`] for anything else.
    pub fn decode(cursor: &Cursor, sort: ThreadSortKey, direction: SortDirection) -> Result<Self, CursorError> {
        let mut parts = cursor.0.split('.');
        let place = match (parts.next(), parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some("t1"), Some(order), Some(at), Some(id), None)
                if order == format!("{}{}", sort.letter(), letter(direction)) =>
            {
                at.parse().ok().zip(ThreadId::from_str(id).ok())
            }
            _ => None,
        };
        let (at, id) = place.ok_or_else(|| cursor.malformed())?;
        Ok(Self { at: Timestamp::from_millis(at), id })
    }

    /// Whether `self` comes before `other` in a listing of this direction.
    #[must_use]
    pub fn cmp(&self, other: &Self, direction: SortDirection) -> std::cmp::Ordering {
        direction.order((self.at, self.id).cmp(&(other.at, other.id)))
    }
}

const fn letter(direction: SortDirection) -> &'static str {
    match direction {
        SortDirection::Ascending => "a",
        SortDirection::Descending => "d",
    }
}

/// Archived threads, active ones, or both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArchivedFilter {
    /// Threads that are not archived.
    #[default]
    Active,
    /// Threads that are.
    Archived,
    /// Both.
    All,
}

/// Which working directory a thread must have.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CwdFilter {
    /// This one.
    Exactly(String),
    /// This one or one below it.
    Under(String),
}

/// Of which thread a thread must be kin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Relation {
    /// Forked from it, or started by it as a sub-agent.
    ChildOf(ThreadId),
    /// So through any number of threads, archived ones too. Where links go in a circle, a thread is not its own descendant.
    DescendantOf(ThreadId),
}

/// A question for threads. The default asks for the 50 active threads that were updated last.
#[derive(Clone, Debug, PartialEq)]
pub struct ThreadQuery {
    /// What to sort by.
    pub sort: ThreadSortKey,
    /// Which end comes first.
    pub direction: SortDirection,
    /// How many threads a page holds at most. At least 1.
    pub limit: usize,
    /// Where the page begins; the start when missing.
    pub cursor: Option<Cursor>,
    /// Archived threads, active ones, or both.
    pub archived: ArchivedFilter,
    /// Sources of which a thread must have one; any when empty. An object counts by its first key (`subagent`).
    pub sources: Vec<String>,
    /// Model providers of which a thread must have one; any when empty.
    pub model_providers: Vec<String>,
    /// Models of which a thread must have one; any when empty.
    pub models: Vec<String>,
    /// Working directory.
    pub cwd: Option<CwdFilter>,
    /// Branch that is checked out.
    pub git_branch: Option<String>,
    /// Git repository: a URL in any spelling, or `owner/name` or `name`, with which its URL ends. See
    /// [`RepositoryFilter`](crate::RepositoryFilter).
    pub git_repository: Option<String>,
    /// Whether the thread has a name.
    pub named: Option<bool>,
    /// Earliest time by the sort key.
    pub since: Option<Timestamp>,
    /// Latest time by the sort key, exclusive.
    pub until: Option<Timestamp>,
    /// Kinship.
    pub relation: Option<Relation>,
    /// Text that name or preview must hold, in any case.
    pub search_term: Option<String>,
}

impl Default for ThreadQuery {
    fn default() -> Self {
        Self {
            sort: ThreadSortKey::default(),
            direction: SortDirection::Descending,
            limit: 50,
            cursor: None,
            archived: ArchivedFilter::default(),
            sources: Vec::new(),
            model_providers: Vec::new(),
            models: Vec::new(),
            cwd: None,
            git_branch: None,
            git_repository: None,
            named: None,
            since: None,
            until: None,
            relation: None,
            search_term: None,
        }
    }
}

impl ThreadQuery {
    /// Whether a row alone does not tell if the thread answers: the links between all threads of the store are needed. See
    /// [`ThreadFilter`](crate::ThreadFilter).
    #[must_use]
    pub const fn needs_links(&self) -> bool {
        matches!(self.relation, Some(Relation::DescendantOf(_)))
    }
}

/// In which order the threads come in which a text was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SearchOrder {
    /// Those first that have most to do with the text, and of each thread the places that have. How much that is, each store
    /// tells in its own way; where it comes to the same, the newest by the sort key of the query is first.
    #[default]
    Best,
    /// As the query for threads sorts them, with the places of a thread in the order in which they stand in it.
    Sorted,
}

/// A question for places in threads where a text stands.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchQuery {
    /// What to find: terms with white space between them, all of which must stand in the same name or item, in any case.
    ///
    /// - A term of three characters or more stands anywhere, a shorter one at the beginning of a word only. A word is a run of
    ///   letters and digits. A term that begins with neither begins no word and stands anywhere.
    /// - `term*` stands at the beginning of a word only.
    /// - `"a phrase"` stands as it is written, with any white space where it has some. A quote within is doubled; a phrase
    ///   without an end goes on to the end of the text.
    pub text: String,
    /// Which threads to look in, in which order, and how many of them a page holds at most.
    pub threads: ThreadQuery,
    /// Whether that order counts, or how well the threads fit.
    pub order: SearchOrder,
    /// How many places to give of one thread at most.
    pub hits_per_thread: usize,
}

impl SearchQuery {
    /// A search for `text` in all active threads, those first that fit best.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), threads: ThreadQuery::default(), order: SearchOrder::default(), hits_per_thread: 3 }
    }
}

/// A place in a thread where a text stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SearchHit {
    /// The thread.
    pub thread: StoredThread,
    /// The turn; missing for a hit in the thread's name.
    pub turn_id: Option<TurnId>,
    /// Which turn of the thread that is, counted from 1.
    pub turn_number: Option<u64>,
    /// The line that the item began with, as its position in the thread's whole history: intact lines counted from 0, inherited
    /// ones first. In a paginated thread without damage that is the line's ordinal; legacy lines have none.
    pub position: Option<u64>,
    /// What the text stands in: a turn item's kind, or `name`.
    pub kind: String,
    /// What was found with some of what stands around it, on one line.
    pub snippet: String,
    /// Where in the snippet the terms are, in bytes: ascending, and no two of them touch.
    pub highlights: Vec<(usize, usize)>,
}

/// One turn of a thread.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TurnSelector {
    /// The turn of this id. If several have it, all of them are meant.
    Id(TurnId),
    /// The turn of this number, counted from the oldest one, which is 1.
    Number(u64),
    /// The turn of this number, counted from the newest one, which is 1.
    NumberFromEnd(u64),
}

impl TurnSelector {
    /// Returns at which place in a thread of `count` turns the turn stands, counted from 0. `None` if there is none of this number,
    /// or it is given by its id.
    #[must_use]
    pub fn place(&self, count: u64) -> Option<u64> {
        let place = match self {
            Self::Id(_) => None,
            Self::Number(number) => number.checked_sub(1),
            Self::NumberFromEnd(number) => number.checked_sub(1).and_then(|_| count.checked_sub(*number)),
        };
        place.filter(|place| *place < count)
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

/// A question for turns of one thread.
#[derive(Clone, Debug, PartialEq)]
pub struct TurnQuery {
    /// The thread.
    pub thread_id: ThreadId,
    /// The turn; all when missing.
    pub turn: Option<TurnSelector>,
    /// Which end comes first.
    pub direction: SortDirection,
    /// How many turns a page holds at most. At least 1.
    pub limit: usize,
    /// Where the page begins; the start when missing.
    pub cursor: Option<Cursor>,
    /// How much of the turns' items to give.
    pub items_view: ItemsView,
}

impl TurnQuery {
    /// All turns of a thread on one page, oldest first, with all items.
    #[must_use]
    pub fn all(thread_id: ThreadId) -> Self {
        Self {
            thread_id,
            turn: None,
            direction: SortDirection::Ascending,
            limit: usize::MAX,
            cursor: None,
            items_view: ItemsView::Full,
        }
    }
}

/// A question for items of one thread.
#[derive(Clone, Debug, PartialEq)]
pub struct ItemQuery {
    /// The thread.
    pub thread_id: ThreadId,
    /// The turn; all when missing.
    pub turn: Option<TurnSelector>,
    /// Which end comes first.
    pub direction: SortDirection,
    /// How many items a page holds at most. At least 1.
    pub limit: usize,
    /// Where the page begins; the start when missing.
    pub cursor: Option<Cursor>,
}

impl ItemQuery {
    /// All items of a thread on one page, oldest first.
    #[must_use]
    pub fn all(thread_id: ThreadId) -> Self {
        Self { thread_id, turn: None, direction: SortDirection::Ascending, limit: usize::MAX, cursor: None }
    }
}
