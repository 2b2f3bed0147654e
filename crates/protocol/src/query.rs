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
            named: None,
            since: None,
            until: None,
            relation: None,
            search_term: None,
        }
    }
}

impl ThreadQuery {
    /// Whether a thread answers the question, page aside.
    #[must_use]
    pub fn matches(&self, thread: &StoredThread) -> bool {
        let at = self.sort.of(thread);
        let archived = match self.archived {
            ArchivedFilter::Active => !thread.archived,
            ArchivedFilter::Archived => thread.archived,
            ArchivedFilter::All => true,
        };
        archived
            && one_of(&self.sources, thread.source_name())
            && one_of(&self.model_providers, thread.model_provider.as_deref())
            && one_of(&self.models, thread.model.as_deref())
            && self.cwd.as_ref().is_none_or(|filter| matches_cwd(filter, thread.cwd.as_deref()))
            && self
                .git_branch
                .as_ref()
                .is_none_or(|branch| thread.git.as_ref().and_then(|git| git.branch.as_ref()) == Some(branch))
            && self.named.is_none_or(|named| thread.name.is_some() == named)
            && self.since.is_none_or(|since| at >= since)
            && self.until.is_none_or(|until| at < until)
            && self.relation.is_none_or(|Relation::ChildOf(id)| {
                thread.forked_from_id == Some(id) || thread.parent_thread_id == Some(id)
            })
            && self.search_term.as_ref().is_none_or(|term| {
                let term = term.to_lowercase();
                [&thread.name, &thread.preview].into_iter().flatten().any(|text| text.to_lowercase().contains(&term))
            })
    }
}

fn one_of(wanted: &[String], found: Option<&str>) -> bool {
    wanted.is_empty() || found.is_some_and(|found| wanted.iter().any(|wanted| wanted == found))
}

fn matches_cwd(filter: &CwdFilter, cwd: Option<&str>) -> bool {
    let Some(cwd) = cwd else { return false };
    match filter {
        CwdFilter::Exactly(wanted) => trim_slash(cwd) == trim_slash(wanted),
        CwdFilter::Under(wanted) => trim_slash(cwd)
            .strip_prefix(trim_slash(wanted))
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
    }
}

fn trim_slash(path: &str) -> &str {
    path.trim_end_matches('/')
}

/// A question for places in threads where a text stands.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchQuery {
    /// The text, in any case.
    pub text: String,
    /// Which threads to look in, in which order, and how many of them a page holds at most.
    pub threads: ThreadQuery,
    /// How many places to give of one thread at most.
    pub hits_per_thread: usize,
}

impl SearchQuery {
    /// A search for `text` in all active threads.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), threads: ThreadQuery::default(), hits_per_thread: 3 }
    }
}

/// A place in a thread where a text stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SearchHit {
    /// The thread.
    pub thread: StoredThread,
    /// The turn; missing for a hit in the thread's name.
    pub turn_id: Option<TurnId>,
    /// What the text stands in: a turn item's kind, or `name`.
    pub kind: String,
    /// The text with some of what stands around it.
    pub snippet: String,
    /// Where in the snippet the text is, in bytes.
    pub highlight: (usize, usize),
}

/// A question for turns of one thread.
#[derive(Clone, Debug, PartialEq)]
pub struct TurnQuery {
    /// The thread.
    pub thread_id: ThreadId,
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
    pub turn_id: Option<TurnId>,
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
        Self { thread_id, turn_id: None, direction: SortDirection::Ascending, limit: usize::MAX, cursor: None }
    }
}
