//! Lookups and sums over all thread records, for a store without an index.

use selvedge_history::StatsFold;
use selvedge_protocol::{StatsQuery, StoredThread, ThreadFilter, ThreadId, ThreadLink, ThreadStats};

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
/// `measure` returns how many turns a thread has, and how many bytes its own segments have together. A thread for which
/// it fails is left out.
pub fn sum_threads(
    query: &StatsQuery,
    threads: &[StoredThread],
    mut measure: impl FnMut(&StoredThread) -> Result<(u64, u64)>,
) -> ThreadStats {
    let filter = ThreadFilter::new(&query.threads, || threads.iter().map(ThreadLink::of));
    let mut fold = StatsFold::new(query);
    // A damaged thread must not make the sums of all others unavailable.
    for thread in threads.iter().filter(|thread| filter.matches(thread)) {
        if let Ok((turns, bytes)) = measure(thread) {
            fold.thread(thread, turns, bytes);
        }
    }
    fold.finish()
}
