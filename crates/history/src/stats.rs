//! Sums of what happened in threads, in groups.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use selvedge_protocol::{
    StatsCounts, StatsGroup, StatsKey, StatsQuery, StoredThread, ThreadStats, Timestamp, day_text,
};

use crate::activity::{ThreadActivity, quarter_start};

/// Sums what happened in threads, in the groups that a query asks for.
#[derive(Debug)]
pub struct StatsFold<'a> {
    query: &'a StatsQuery,
    /// The groups by the texts by which they are compared, each with its name.
    groups: BTreeMap<GroupKey, StatsGroup>,
    threads: u64,
}

/// The key of a group, by which groups are sorted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum GroupKey {
    /// The number of a day since 1970-01-01.
    Day(i64),
    Text(Option<String>),
}

impl<'a> StatsFold<'a> {
    /// Creates a fold without threads.
    #[must_use]
    pub fn new(query: &'a StatsQuery) -> Self {
        Self { query, groups: BTreeMap::new(), threads: 0 }
    }

    /// Adds a thread, which must match the query, with what happened in it and the bytes of its files.
    pub fn thread(&mut self, thread: &StoredThread, activity: &ThreadActivity, bytes: u64) {
        self.add(thread.created_at, self.query.group_of(thread), activity, bytes);
    }

    /// Adds a thread that was created at this time. `group` is its group ([`StatsQuery::group_of`]), which only days do not need.
    pub fn add(&mut self, created_at: Timestamp, group: Option<String>, activity: &ThreadActivity, bytes: u64) {
        let by = self.query.by;
        let own = match by {
            StatsKey::Day => self.day_group(created_at),
            _ => self.text_group(group),
        };
        let mut sums: BTreeMap<GroupKey, StatsGroup> = BTreeMap::new();
        let mut add = |(key, name): (GroupKey, Option<String>), counts: StatsCounts| {
            let sum = sums.entry(key).or_insert(StatsGroup { key: name, counts: StatsCounts::default() });
            sum.counts += counts;
        };
        // The bytes are there since the thread is. A thread that was only created is in its group as well.
        if self.query.covers(quarter_start(created_at)) {
            add(own.clone(), StatsCounts { bytes, ..StatsCounts::default() });
        }
        for entry in activity.entries().filter(|entry| self.query.covers(entry.at)) {
            let group = match by {
                StatsKey::Day => self.day_group(entry.at),
                // A line without a turn is no use of a model.
                StatsKey::Model if entry.counts == StatsCounts::default() => own.clone(),
                StatsKey::Model => self.text_group(entry.model.map(str::to_owned)),
                StatsKey::Project | StatsKey::Source => own.clone(),
            };
            add(group, entry.counts);
        }
        self.threads += u64::from(!sums.is_empty());
        for (key, mut group) in sums {
            group.counts.threads = 1;
            self.add_group(key, group);
        }
    }

    /// Adds a group of threads to the one that has this key. Each thread is in one group.
    pub fn group_as(&mut self, key: Option<String>, group: StatsGroup) {
        self.threads += group.counts.threads;
        self.add_group(GroupKey::Text(key), group);
    }

    /// Adds a group. The least name of its parts is that of the whole, in any order in which they are added.
    fn add_group(&mut self, key: GroupKey, group: StatsGroup) {
        match self.groups.entry(key) {
            Entry::Vacant(entry) => _ = entry.insert(group),
            Entry::Occupied(mut entry) => {
                let sum = entry.get_mut();
                sum.counts += group.counts;
                sum.key = sum.key.take().min(group.key);
            }
        }
    }

    fn day_group(&self, at: Timestamp) -> (GroupKey, Option<String>) {
        let day = self.query.day_of(at);
        (GroupKey::Day(day), Some(day_text(day)))
    }

    fn text_group(&self, name: Option<String>) -> (GroupKey, Option<String>) {
        (GroupKey::Text(name.as_deref().map(|name| self.query.group_key(name))), name)
    }

    /// Returns the sums, in the order that the query asks for.
    #[must_use]
    pub fn finish(self) -> ThreadStats {
        let StatsQuery { by, threads, .. } = self.query;
        let mut total = StatsCounts::default();
        self.groups.values().for_each(|group| total += group.counts);
        // A thread that is in several groups is one thread.
        total.threads = self.threads;
        // The map yields ascending keys, and the sort is stable: groups with equal counts stay in the order of their keys.
        let mut groups: Vec<_> = self.groups.into_iter().collect();
        groups.sort_by(|(one_key, one), (other_key, other)| {
            threads.direction.order(match by {
                StatsKey::Day => one_key.cmp(other_key),
                _ => (one.counts.threads, one.counts.turns).cmp(&(other.counts.threads, other.counts.turns)),
            })
        });
        let groups = groups.into_iter().map(|(_, group)| group).collect();
        ThreadStats { by: *by, groups, total }
    }
}
