//! Sums of what happened in threads, in groups.

use std::collections::BTreeMap;

use selvedge_protocol::{
    StatsCounts, StatsGroup, StatsKey, StatsQuery, StoredThread, ThreadStats, Timestamp, day_text,
};

use crate::activity::{ThreadActivity, quarter_start};

/// Sums what happened in threads, in the groups that a query asks for.
#[derive(Debug)]
pub struct StatsFold<'a> {
    query: &'a StatsQuery,
    groups: BTreeMap<GroupKey, StatsCounts>,
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
            StatsKey::Day => GroupKey::Day(self.query.day_of(created_at)),
            _ => GroupKey::Text(group),
        };
        let mut sums: BTreeMap<GroupKey, StatsCounts> = BTreeMap::new();
        // The bytes are there since the thread is. A thread that was only created is in its group as well.
        if self.query.covers(quarter_start(created_at)) {
            *sums.entry(own.clone()).or_default() += StatsCounts { bytes, ..StatsCounts::default() };
        }
        for entry in activity.entries().filter(|entry| self.query.covers(entry.at)) {
            let key = match by {
                StatsKey::Day => GroupKey::Day(self.query.day_of(entry.at)),
                // A line without a turn is no use of a model.
                StatsKey::Model if entry.counts == StatsCounts::default() => own.clone(),
                StatsKey::Model => GroupKey::Text(entry.model.map(str::to_owned)),
                StatsKey::Project | StatsKey::Source => own.clone(),
            };
            *sums.entry(key).or_default() += entry.counts;
        }
        self.threads += u64::from(!sums.is_empty());
        for (key, counts) in sums {
            *self.groups.entry(key).or_default() += StatsCounts { threads: 1, ..counts };
        }
    }

    /// Returns the sums, in the order that the query asks for.
    #[must_use]
    pub fn finish(self) -> ThreadStats {
        let StatsQuery { by, threads, .. } = self.query;
        let mut total = StatsCounts::default();
        self.groups.values().for_each(|counts| total += *counts);
        // A thread that is in several groups is one thread.
        total.threads = self.threads;
        // The map yields ascending keys, and the sort is stable: groups with equal counts stay in the order of their keys.
        let mut groups: Vec<_> = self.groups.into_iter().collect();
        groups.sort_by(|(one_key, one), (other_key, other)| {
            threads.direction.order(match by {
                StatsKey::Day => one_key.cmp(other_key),
                _ => (one.threads, one.turns).cmp(&(other.threads, other.turns)),
            })
        });
        let groups = groups.into_iter().map(|(key, counts)| StatsGroup { key: key.into_text(), counts }).collect();
        ThreadStats { by: *by, groups, total }
    }
}

impl GroupKey {
    fn into_text(self) -> Option<String> {
        match self {
            Self::Day(day) => Some(day_text(day)),
            Self::Text(text) => text,
        }
    }
}
