//! Sums of counts over threads, in groups.

use std::collections::BTreeMap;

use selvedge_protocol::{StatsCounts, StatsGroup, StatsKey, StatsQuery, StoredThread, ThreadStats};

/// Sums counts of threads in the groups that a query asks for.
#[derive(Debug)]
pub struct StatsFold<'a> {
    query: &'a StatsQuery,
    groups: BTreeMap<Option<String>, StatsCounts>,
}

impl<'a> StatsFold<'a> {
    /// Creates a fold without threads.
    #[must_use]
    pub fn new(query: &'a StatsQuery) -> Self {
        Self { query, groups: BTreeMap::new() }
    }

    /// Adds a thread, which must match the query, with the number of its turns and the bytes of its files.
    pub fn thread(&mut self, thread: &StoredThread, turns: u64, bytes: u64) {
        self.group(self.query.group_of(thread), StatsCounts::of(thread, turns, bytes));
    }

    /// Adds the counts of threads that were grouped elsewhere.
    pub fn group(&mut self, key: Option<String>, counts: StatsCounts) {
        *self.groups.entry(key).or_default() += counts;
    }

    /// Returns the sums, in the order that the query asks for.
    #[must_use]
    pub fn finish(self) -> ThreadStats {
        let StatsQuery { by, threads, .. } = self.query;
        let mut total = StatsCounts::default();
        self.groups.values().for_each(|counts| total += *counts);
        let mut groups: Vec<_> = self.groups.into_iter().map(|(key, counts)| StatsGroup { key, counts }).collect();
        // The map yields ascending keys, and the sort is stable: groups with equal counts stay in the order of their keys.
        groups.sort_by(|one, other| {
            threads.direction.order(match by {
                StatsKey::Day => one.key.cmp(&other.key),
                _ => (one.counts.threads, one.counts.turns).cmp(&(other.counts.threads, other.counts.turns)),
            })
        });
        ThreadStats { by: *by, groups, total }
    }
}
