//! Queries, cursors and pages: the requests to a store, and the shape of its answers.
//!
//! Every layer uses these types, from the index up to the command line.

mod cursor;
mod directory;
mod page;
mod page_window;
mod repository;
mod search;
mod sort_direction;
mod stats;
mod thread_cursor;
mod thread_filter;
mod thread_query;
mod turn_query;

pub use self::cursor::{Cursor, CursorError};
pub use self::directory::{DirectoryFilter, DirectoryPath};
pub use self::page::{Page, ZeroLimit, check_limit};
pub use self::page_window::{ItemPosition, PageWindow};
pub use self::repository::{RepositoryFilter, repository_name};
pub use self::search::{SearchHit, SearchOrder, SearchQuery};
pub use self::sort_direction::SortDirection;
pub use self::stats::{StatsCounts, StatsGroup, StatsKey, StatsQuery, ThreadStats, UtcOffset, day_text};
pub use self::thread_cursor::{ThreadCursor, ThreadSortKey};
pub use self::thread_filter::{ThreadFilter, ThreadLink, descendants};
pub use self::thread_query::{ArchivedFilter, CwdFilter, Relation, ThreadQuery};
pub use self::turn_query::{ItemQuery, TurnQuery, TurnSelector};
