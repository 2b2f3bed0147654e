//! Sums of counts over threads, in groups.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use selvedge_protocol::{StatsCounts, StatsGroup, StatsKey, StatsQuery, StoredThread, ThreadStats};

/// Sums counts of threads in the groups that a query asks for.
#[derive(Debug)]
pub struct StatsFold<'a> {
    query: &'a StatsQuery,
    /// The groups by the texts by which they are compared.
    groups: BTreeMap<Option<String>, StatsGroup>,
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
    pub fn group(&mut self, name: Option<String>, counts: StatsCounts) {
        let key = name.as_deref().map(|name| self.query.group_key(name));
        self.group_as(key, StatsGroup { key: name, counts });
    }

    /// Adds a group to the one that has this key. The least name of its parts is that of the whole, in any order in which
    /// they are added.
    pub fn group_as(&mut self, key: Option<String>, group: StatsGroup) {
        match self.groups.entry(key) {
            Entry::Vacant(entry) => _ = entry.insert(group),
            Entry::Occupied(mut entry) => {
                let sum = entry.get_mut();
                sum.counts += group.counts;
                sum.key = sum.key.take().min(group.key);
            }
        }
    }

    /// Returns the sums, in the order that the query asks for.
    #[must_use]
    pub fn finish(self) -> ThreadStats {
        let StatsQuery { by, threads, .. } = self.query;
        let mut total = StatsCounts::default();
        self.groups.values().for_each(|group| total += group.counts);
        let mut groups: Vec<StatsGroup> = self.groups.into_values().collect();
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
