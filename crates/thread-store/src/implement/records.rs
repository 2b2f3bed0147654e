//! Lookups and sums over all thread records, for a store without an index.

use std::borrow::Borrow;

use selvedge_history::{ActivityFold, StatsFold, ThreadActivity};
use selvedge_protocol::{StatsQuery, StoredThread, ThreadFilter, ThreadId, ThreadLink, ThreadStats};

use super::{Segment, SegmentChain};
use crate::{Result, ThreadLookup};

/// Returns the threads that match what a person typed, in the order of their ids.
pub fn find_threads(lookup: &ThreadLookup, threads: impl IntoIterator<Item = StoredThread>) -> Vec<ThreadId> {
    // Ids are written in lower case, and a name is compared exactly: two threads may have names that differ in case
    // only.
    let matches = |thread: &StoredThread| match lookup {
        ThreadLookup::Name(name) => thread.name.as_ref() == Some(name),
        ThreadLookup::IdPrefix(prefix) => thread.id.to_string().starts_with(&prefix.to_ascii_lowercase()),
    };
    let mut found: Vec<ThreadId> = threads.into_iter().filter(matches).map(|thread| thread.id).collect();
    found.sort_unstable();
    found
}

/// Returns the sums over the threads that match a query.
///
/// `measure` returns what happened in a thread ([`activity_of`]), and how many bytes its own segments have together. A
/// thread for which it fails is left out.
pub fn sum_threads(
    query: &StatsQuery,
    threads: &[StoredThread],
    mut measure: impl FnMut(&StoredThread) -> Result<(ThreadActivity, u64)>,
) -> ThreadStats {
    let selection = query.selection();
    let filter = ThreadFilter::new(&selection, || threads.iter().map(ThreadLink::of));
    let mut fold = StatsFold::new(query);
    // A damaged thread must not make the sums of all others unavailable.
    for thread in threads.iter().filter(|thread| filter.matches(thread)) {
        if let Ok((activity, bytes)) = measure(thread) {
            fold.thread(thread, &activity, bytes);
        }
    }
    fold.finish()
}

/// Returns what happened in a thread. `chains` are those that end with its own segments, abandoned ones too, the oldest
/// first.
#[must_use]
pub fn activity_of<S: Borrow<Segment>>(thread: &StoredThread, chains: &[SegmentChain<S>]) -> ThreadActivity {
    let mut fold = ActivityFold::new(thread.id, thread.created_at, chains.len());
    for chain in chains {
        fold.begin_segment();
        let history = chain.history();
        if chain.lacks_lines() {
            fold.miss_base_lines();
        }
        for (line, (segment_id, end)) in history.lines.iter().zip(&history.ends) {
            // What is not in the segment itself is counted where it is, or is another thread's.
            if *segment_id == chain.newest().id { fold.observe(line, *end) } else { fold.observe_base(line) }
        }
    }
    fold.finish().0
}
