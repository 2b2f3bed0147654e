//! Windows of a ranking: threads that are ranked together.
//!
//! To rank all candidates would mean to load every item that may be a hit, and a frequent word is in most items. Therefore threads
//! are taken from the newest on until they have [`WINDOW_ITEMS`] items together. The best of these come first, before any thread of
//! the next window:
//!
//! ```text
//!   newest ◀───────────────── threads by age ──────────────────▶ oldest
//!   ├───────── window 1 ─────────┼──────── window 2 ────────┼─ …
//!    by relevance                 by relevance
//! ```
//!
//! A search with few candidates is ranked as a whole. One with many prefers new threads.

use std::collections::{HashSet, VecDeque};

use selvedge_history::ranking::WINDOW_ITEMS;
use selvedge_protocol::{ThreadCursor, ThreadId, ThreadQuery};
use sqlx::SqliteConnection;

use crate::error::Result;
use crate::search::candidates::SearchCandidates;
use crate::search::cursor::RankStart;
use crate::search::proposal::ProposedThread;
use crate::search::rank::{RankPosition, rank};
use crate::search::walk::{ROWS, ThreadWalk};

/// Threads that are ranked together.
pub(super) struct RankWindow {
    /// The newest thread.
    pub(super) first: ThreadCursor,
    /// The oldest thread.
    pub(super) last: ThreadCursor,
    /// Whether no window follows, for sure.
    pub(super) is_last: bool,
    /// The threads, by age.
    ranked: Vec<(RankPosition, ProposedThread)>,
}

impl RankWindow {
    /// Loads the window that begins after a thread. `None` if there are no more threads. `newest_first` is the query in the order
    /// of windows.
    pub(super) async fn load(
        connection: &mut SqliteConnection,
        newest_first: &ThreadQuery,
        candidates: &SearchCandidates,
        after: Option<ThreadCursor>,
    ) -> Result<Option<Self>> {
        let mut walk = ThreadWalk::after(newest_first, candidates, after);
        let mut threads: Vec<ThreadCursor> = Vec::new();
        let mut items = 0;
        while items < WINDOW_ITEMS {
            let Some(thread) = walk.next(connection, 1).await?.pop() else { break };
            // A thread of which only the name matches counts as one item: its record is loaded, too.
            items += candidates.items.get(&thread.id).map_or(0, Vec::len).max(1);
            threads.push(thread);
        }
        let (Some(first), Some(last)) = (threads.first().copied(), threads.last().copied()) else { return Ok(None) };
        let is_last = walk.is_at_end();
        Ok(Some(Self { first, last, is_last, ranked: rank(connection, candidates, threads).await? }))
    }

    /// Loads the window of a cursor again. Its limits stay those of the cursor, whatever was indexed since, so that no thread
    /// moves from one page to another because the window grew.
    pub(super) async fn reload(
        connection: &mut SqliteConnection,
        newest_first: &ThreadQuery,
        candidates: &SearchCandidates,
        start: &RankStart,
    ) -> Result<Self> {
        let (first, last) = (start.first, start.last);
        let mut walk = ThreadWalk::between(newest_first, candidates, first, last);
        let mut threads = Vec::new();
        loop {
            let more = walk.next(connection, ROWS).await?;
            if more.is_empty() {
                break;
            }
            threads.extend(more);
        }
        Ok(Self { first, last, is_last: false, ranked: rank(connection, candidates, threads).await? })
    }
    /// Returns the threads that are not on this page or on earlier ones, the most relevant first. `start` is where the search
    /// continues, `is_read` the threads of this page.
    pub(super) fn into_unread(
        self,
        start: Option<&RankStart>,
        is_read: &HashSet<ThreadId>,
    ) -> VecDeque<(RankPosition, ProposedThread)> {
        let mut ranked = self.ranked;
        ranked.sort_by_key(|(position, _)| *position);
        // In the window of the cursor, the threads up to its position were on earlier pages. In later windows none was.
        if let Some(start) = start.filter(|start| (start.first, start.last) == (self.first, self.last)) {
            ranked.retain(|(position, _)| *position > start.position);
        }
        // Positions change when threads are written, so that the position alone does not determine what this page has.
        ranked.retain(|(_, proposed)| !is_read.contains(&proposed.id));
        VecDeque::from(ranked)
    }
}
