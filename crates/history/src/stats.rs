//! Sums over threads.

use std::collections::BTreeMap;

use selvedge_protocol::{StatsCounts, StatsGroup, StatsKey, StatsQuery, StoredThread, ThreadStats};

/// Puts threads together that have something in common.
#[derive(Debug)]
pub struct StatsFold<'a> {
    query: &'a StatsQuery,
    groups: BTreeMap<Option<String>, StatsCounts>,
}

impl<'a> StatsFold<'a> {
    /// No thread has been taken.
    #[must_use]
    pub fn new(query: &'a StatsQuery) -> Self {
        Self { query, groups: BTreeMap::new() }
    }

    /// Takes a thread, which must answer the query, with the number of its turns and the bytes of its files.
    pub fn thread(&mut self, thread: &StoredThread, turns: u64, bytes: u64) {
        self.group(self.query.group_of(thread), StatsCounts::of(thread, turns, bytes));
    }

    /// Takes threads that were put together elsewhere.
    pub fn group(&mut self, key: Option<String>, counts: StatsCounts) {
        *self.groups.entry(key).or_default() += counts;
    }

    /// The sums.
    #[must_use]
    pub fn finish(self) -> ThreadStats {
        let StatsQuery { by, threads, .. } = self.query;
        let mut total = StatsCounts::default();
        self.groups.values().for_each(|counts| total += *counts);
        let mut groups: Vec<_> = self.groups.into_iter().map(|(key, counts)| StatsGroup { key, counts }).collect();
        // They are sorted by key, and the sort is stable.
        groups.sort_by(|one, other| {
            threads.direction.order(match by {
                StatsKey::Day => one.key.cmp(&other.key),
                _ => (one.counts.threads, one.counts.turns).cmp(&(other.counts.threads, other.counts.turns)),
            })
        });
        ThreadStats { by: *by, groups, total }
    }
}
