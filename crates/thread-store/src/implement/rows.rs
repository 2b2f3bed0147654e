//! Answers out of all rows of a store, for one that has no index over them.

use selvedge_history::StatsFold;
use selvedge_protocol::{StatsQuery, StoredThread, ThreadFilter, ThreadId, ThreadLink, ThreadStats};

use crate::{Result, ThreadLookup};

/// Returns the threads that a person means by what was typed, in the order of their ids.
pub fn find_threads(lookup: &ThreadLookup, threads: impl IntoIterator<Item = StoredThread>) -> Vec<ThreadId> {
    let is_meant = |thread: &StoredThread| match lookup {
        ThreadLookup::Name(name) => thread.name.as_ref() == Some(name),
        ThreadLookup::IdPrefix(prefix) => thread.id.to_string().starts_with(&prefix.to_ascii_lowercase()),
    };
    let mut found: Vec<ThreadId> = threads.into_iter().filter(is_meant).map(|thread| thread.id).collect();
    found.sort_unstable();
    found
}

/// Sums over those of a store's threads that a query asks for. `measure` returns how many turns a thread has, and how many bytes
/// its own segments have together; a thread that it fails for is left out.
pub fn sum_threads(
    query: &StatsQuery,
    threads: &[StoredThread],
    mut measure: impl FnMut(&StoredThread) -> Result<(u64, u64)>,
) -> ThreadStats {
    let filter = ThreadFilter::new(&query.threads, || threads.iter().map(ThreadLink::of));
    let mut fold = StatsFold::new(query);
    for thread in threads.iter().filter(|thread| filter.matches(thread)) {
        if let Ok((turns, bytes)) = measure(thread) {
            fold.thread(thread, turns, bytes);
        }
    }
    fold.finish()
}
