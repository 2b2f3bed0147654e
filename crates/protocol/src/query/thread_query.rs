//! Queries for threads.

use serde::{Deserialize, Serialize};

use super::cursor::{Cursor, CursorError};
use super::sort_direction::SortDirection;
use super::thread_cursor::{ThreadCursor, ThreadSortKey};
use crate::{StoredThread, ThreadId, Timestamp};

/// Whether a listing contains archived threads, active ones, or both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArchivedFilter {
    /// Threads that are not archived.
    #[default]
    Active,
    /// Archived threads.
    Archived,
    /// Both.
    All,
}

/// A working directory that a thread can have, in any spelling: paths are compared by their
/// [`DirectoryPath::key`](crate::DirectoryPath::key). The path is absolute: a store does not know where a relative one begins.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CwdFilter {
    /// Exactly this directory.
    Exactly(String),
    /// This directory or one below it. `/srv/app` matches `/srv/app/a`, but not `/srv/apple`.
    Under(String),
}

/// A relation that a thread must have to another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Relation {
    /// The thread was forked from this one, or this one started it as a sub-agent.
    ChildOf(ThreadId),
    /// The thread comes from this one through any number of such steps, also through archived threads. A thread is
    /// never its own descendant, even if the links form a circle.
    DescendantOf(ThreadId),
}

/// Request to list threads. A thread must meet all conditions.
///
/// The default requests the 50 active threads that were updated last.
#[derive(Clone, Debug, PartialEq)]
pub struct ThreadQuery {
    // The page: its order, its size and where it begins.
    /// The time by which the threads are sorted.
    pub sort: ThreadSortKey,
    /// Whether the oldest or the newest thread comes first.
    pub direction: SortDirection,
    /// The maximum number of threads on a page. At least 1.
    pub limit: usize,
    /// The cursor at which the page begins. `None` for the first page.
    pub cursor: Option<Cursor>,
    // The conditions that a thread must meet.
    /// Whether archived threads, active ones or both are listed.
    pub archived: ArchivedFilter,
    /// The allowed sources, compared with [`StoredThread::source_name`]. Any source if empty.
    pub sources: Vec<String>,
    /// The allowed model providers. Any provider if empty.
    pub model_providers: Vec<String>,
    /// The allowed models. Any model if empty.
    pub models: Vec<String>,
    /// The allowed working directories, of which the thread must have one. Any directory, or none, if empty.
    ///
    /// A store compares paths lexically, and lists a thread at least if the paths name the same directory. A store on the
    /// machine of the directories also lists a thread whose directory is the same one through symbolic links.
    pub cwd: Vec<CwdFilter>,
    /// The git branch that is checked out.
    pub git_branch: Option<String>,
    /// The git repository: a URL in any spelling, or the end of one, such as `owner/name` or `name`. See
    /// [`RepositoryFilter`](crate::RepositoryFilter).
    pub git_repository: Option<String>,
    /// Whether the thread must have a name (`true`) or must have none (`false`).
    pub named: Option<bool>,
    /// The earliest time, inclusive. It is compared with the time by which the threads are sorted.
    pub since: Option<Timestamp>,
    /// The latest time, exclusive. It is compared with the time by which the threads are sorted.
    pub until: Option<Timestamp>,
    /// The relation that the thread must have to another one.
    pub relation: Option<Relation>,
    /// Text that the name or the preview must contain. Upper and lower case are equal.
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
            cwd: Vec::new(),
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
    /// Returns whether the query needs the links between all threads of the store. The record of a thread alone does
    /// not determine whether it is a descendant. See [`ThreadFilter`](crate::ThreadFilter).
    #[must_use]
    pub const fn needs_links(&self) -> bool {
        matches!(self.relation, Some(Relation::DescendantOf(_)))
    }

    /// Decodes the cursor of the query: the page begins after this position. `None` for the first page.
    ///
    /// # Errors
    /// [`CursorError`] if the cursor is malformed, or belongs to another sort key or direction.
    pub fn start(&self) -> Result<Option<ThreadCursor>, CursorError> {
        self.cursor.as_ref().map(|cursor| ThreadCursor::decode(cursor, self.sort, self.direction)).transpose()
    }

    /// Returns the cursor of the page that begins after a thread.
    #[must_use]
    pub fn cursor_after(&self, thread: &StoredThread) -> Cursor {
        ThreadCursor::of(thread, self.sort).encode(self.sort, self.direction)
    }
}
