//! Listing without an index.
//!
//! Every thread waits in a heap by a *bound*: a time that its sort time cannot come before in the listing. The first of
//! the heap is read, which gives its true time, and put back; when the first of the heap has been read already, it is the
//! next of the listing. So only threads that could be on the page are read.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

use selvedge_protocol::{
    ArchivedFilter, Page, SortDirection, StoredThread, ThreadCursor, ThreadFilter, ThreadId, ThreadQuery,
    ThreadSortKey, Timestamp,
};
use selvedge_rollout::{HomeFiles, NameIndex, RolloutFile};
use selvedge_thread_store::Result;
use selvedge_thread_store::implement::{page_threads, start_of};

use crate::row::modified_at;
use crate::store::Inner;

/// How much earlier a file's time of last change may be than its last line: clocks of file systems tick coarsely.
const MTIME_SLACK: Duration = Duration::from_secs(2);

/// How far the local time in a file's name can be from UTC, with some to spare.
const ZONE_SLACK: Duration = Duration::from_secs(26 * 3600);

impl Inner {
    pub(crate) fn list_threads(&self, query: &ThreadQuery) -> Result<Page<StoredThread>> {
        let files = self.files()?;
        let names = self.names();
        if query.direction == SortDirection::Descending
            && !query.needs_links()
            && let Some(page) = self.newest_first(query, &files, &names)?
        {
            return Ok(page);
        }
        page_threads(query, self.rows_for(query, &files, &names))
    }

    /// The rows that a query is about, in no order: those of the part of the home that it asks for, or of all of it.
    pub(crate) fn rows_for(&self, query: &ThreadQuery, files: &Arc<HomeFiles>, names: &NameIndex) -> Vec<StoredThread> {
        let archived = if query.needs_links() { ArchivedFilter::All } else { query.archived };
        let in_part = files.threads().filter(|(_, segments)| is_in(archived, segments));
        in_part.filter_map(|(thread_id, _)| self.try_read_record(files, names, thread_id)).collect()
    }

    /// The page of a newest-first listing; nothing when a log contradicts the bounds, so that all have to be read.
    fn newest_first(
        &self,
        query: &ThreadQuery,
        files: &Arc<HomeFiles>,
        names: &NameIndex,
    ) -> Result<Option<Page<StoredThread>>> {
        let start = start_of(query)?;
        let filter = ThreadFilter::new(query, Vec::new);
        let mut waiting: BinaryHeap<Waiting> = files
            .threads()
            .filter(|(_, segments)| is_in(query.archived, segments))
            .filter_map(|(id, _)| {
                // Nothing when its files went away meanwhile, or cannot be looked at.
                let at = self.with_found(files, |files| bound(query.sort, files.segments(id))).ok()??;
                Some(Waiting { place: ThreadCursor { at, id }, row: None })
            })
            .collect();
        let mut items: Vec<StoredThread> = Vec::new();
        while let Some(Waiting { place, row }) = waiting.pop() {
            if let Some(row) = row {
                if items.len() == query.limit {
                    let next_cursor = items.last().map(|last| query.cursor_after(last));
                    return Ok(Some(Page { items, next_cursor }));
                }
                items.push(*row);
                continue;
            }
            if query.since.is_some_and(|since| place.at < since) {
                break;
            }
            let Some(row) = self.try_read_record(files, names, place.id) else { continue };
            let exact = ThreadCursor::of(&row, query.sort);
            if exact.at > place.at {
                return Ok(None);
            }
            let comes_after = start.is_none_or(|start| start.cmp(&exact, query.direction) == Ordering::Less);
            if comes_after && filter.matches(&row) {
                waiting.push(Waiting { place: exact, row: Some(Box::new(row)) });
            }
        }
        Ok(Some(Page { items, next_cursor: None }))
    }
}

fn is_in(archived: ArchivedFilter, segments: &[RolloutFile]) -> bool {
    let is_archived = segments.last().is_some_and(|newest| newest.archived);
    match archived {
        ArchivedFilter::Active => !is_archived,
        ArchivedFilter::Archived => is_archived,
        ArchivedFilter::All => true,
    }
}

/// A thread on its way into the listing.
struct Waiting {
    place: ThreadCursor,
    /// The thread's row, once it was read; `place` is exact then, and a bound before.
    row: Option<Box<StoredThread>>,
}

impl Waiting {
    /// Newest first; of equal places the unread one, which may turn out to come first.
    fn key(&self) -> (Timestamp, ThreadId, bool) {
        (self.place.at, self.place.id, self.row.is_none())
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Waiting {}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

/// A time that the thread's sort time is not after; nothing when it has no files.
fn bound(sort: ThreadSortKey, segments: &[RolloutFile]) -> Result<Option<Timestamp>> {
    Ok(match sort {
        ThreadSortKey::CreatedAt => segments.first().map(|first| first.name.created_utc().saturating_add(ZONE_SLACK)),
        ThreadSortKey::UpdatedAt | ThreadSortKey::RecencyAt => {
            let mut newest = None;
            for segment in segments {
                newest = newest.max(Some(modified_at(&segment.path)?));
            }
            newest.map(|newest| newest.saturating_add(MTIME_SLACK))
        }
    })
}
