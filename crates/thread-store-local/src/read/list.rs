//! Listing threads without an index.
//!
//! The newest page must not cost reading the whole home. So every thread waits in a heap under a *bound*: a time that its
//! sort time is not later than. Bounds come from file names and modification times, without opening a file. Then, as long as
//! the page is not full, take the first thread of the heap:
//!
//! - If it has only a bound, read its record, and put it back under its exact sort time.
//! - If it was read already, nothing in the heap can come before it. It is the next of the page.
//!
//! For example, with the bounds A 10:00, B 9:30, C 9:00: A is read and turns out to be of 9:45. It goes back, comes up again
//! before B, and is first on the page. B and C were not opened.

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
use selvedge_thread_store::implement::{decode_thread_cursor, page_threads};

use super::directories::{WantedDirectories, with_links_resolved};
use super::record::modified_at;
use crate::store_core::StoreCore;

// A bound that is too early would put threads in the wrong order. These two constants make bounds late enough. Smaller values
// would be wrong and not just slower, so they are here and not in `limits.rs`.

/// How much earlier the modification time of a file may be than the time of its last line. Clocks of file systems tick coarsely.
const MTIME_SLACK: Duration = Duration::from_secs(2);

/// How far the local time in a file name can be from UTC, and some more.
const ZONE_SLACK: Duration = Duration::from_secs(26 * 3600);

impl StoreCore {
    pub(crate) fn list_threads(&self, query: &ThreadQuery) -> Result<Page<StoredThread>> {
        let files = self.files()?;
        let names = self.names();
        // Links lead to threads anywhere in the home, and there are no bounds for the oldest first.
        if query.direction == SortDirection::Descending
            && !query.needs_links()
            && let Some(page) = self.newest_first(query, &files, &names)?
        {
            return Ok(page);
        }
        let records = self.candidate_records(query, &files, &names);
        page_threads(&with_links_resolved(query, directories(&records)), records)
    }

    /// Returns the records of the threads that a query may be about, in no order: those of the part of the home that it
    /// names, or all of them.
    pub(crate) fn candidate_records(
        &self,
        query: &ThreadQuery,
        files: &Arc<HomeFiles>,
        names: &NameIndex,
    ) -> Vec<StoredThread> {
        let archived = if query.needs_links() { ArchivedFilter::All } else { query.archived };
        let candidates = files.threads().filter(|(_, segments)| is_in(archived, segments));
        candidates.filter_map(|(thread_id, _)| self.try_read_record(files, names, thread_id)).collect()
    }

    /// Returns a page, newest threads first. `None` if a log contradicts its bound, so that all have to be read.
    fn newest_first(
        &self,
        query: &ThreadQuery,
        files: &Arc<HomeFiles>,
        names: &NameIndex,
    ) -> Result<Option<Page<StoredThread>>> {
        let start = decode_thread_cursor(query)?;
        // The directory is compared apart from the rest: the directories of all threads, which a query with resolved links would
        // name, are not known here.
        let mut wanted_directories = WantedDirectories::of(query);
        let query_of_rest = ThreadQuery { cwd: Vec::new(), ..query.clone() };
        let filter = ThreadFilter::new(&query_of_rest, Vec::new);
        let mut heap: BinaryHeap<ListCandidate> = files
            .threads()
            .filter(|(_, segments)| is_in(query.archived, segments))
            .filter_map(|(id, _)| {
                // A thread is skipped if its files are gone by now, or cannot be inspected.
                let at = self.with_found(files, |files| bound(query.sort, files.segments(id))).ok()??;
                Some(ListCandidate { position: ThreadCursor { at, id }, record: None })
            })
            .collect();
        let mut items: Vec<StoredThread> = Vec::new();
        while let Some(ListCandidate { position, record }) = heap.pop() {
            if let Some(record) = record {
                if items.len() == query.limit {
                    // There is at least one more, so the page gets a cursor.
                    let next_cursor = items.last().map(|last| query.cursor_after(last));
                    return Ok(Some(Page { items, next_cursor }));
                }
                items.push(*record);
                continue;
            }
            // All remaining threads have earlier bounds, so they are too old as well.
            if query.since.is_some_and(|since| position.at < since) {
                break;
            }
            let Some(record) = self.try_read_record(files, names, position.id) else { continue };
            let exact = ThreadCursor::of(&record, query.sort);
            // The bound was wrong: the file has lines from the future, or its modification time was set back. Threads that
            // come before this one may be on the page already.
            if exact.at > position.at {
                return Ok(None);
            }
            let comes_after = start.is_none_or(|start| start.cmp(&exact, query.direction) == Ordering::Less);
            let mut is_there = || {
                let Some(wanted) = &mut wanted_directories else { return true };
                record.cwd.as_ref().is_some_and(|cwd| wanted.matches(cwd))
            };
            if comes_after && filter.matches(&record) && is_there() {
                heap.push(ListCandidate { position: exact, record: Some(Box::new(record)) });
            }
        }
        Ok(Some(Page { items, next_cursor: None }))
    }
}

/// Returns the working directories of threads.
pub(super) fn directories(records: &[StoredThread]) -> impl Iterator<Item = String> {
    records.iter().filter_map(|record| record.cwd.clone())
}

fn is_in(archived: ArchivedFilter, segments: &[RolloutFile]) -> bool {
    let is_archived = segments.last().is_some_and(|newest| newest.archived);
    match archived {
        ArchivedFilter::Active => !is_archived,
        ArchivedFilter::Archived => is_archived,
        ArchivedFilter::All => true,
    }
}

/// A thread that may be on the page.
struct ListCandidate {
    /// The exact position once the record was read, and a bound before.
    position: ThreadCursor,
    record: Option<Box<StoredThread>>,
}

impl ListCandidate {
    /// Newest first. Of equal positions the one that was not read comes first: its exact position decides.
    fn key(&self) -> (Timestamp, ThreadId, bool) {
        (self.position.at, self.position.id, self.record.is_none())
    }
}

impl PartialEq for ListCandidate {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for ListCandidate {}

impl PartialOrd for ListCandidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ListCandidate {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

/// Returns a time that the thread's sort time is not later than. `None` if it has no files.
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
