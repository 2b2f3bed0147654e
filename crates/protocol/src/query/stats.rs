//! Queries for statistics of threads, and their answers.

use serde::{Deserialize, Serialize};

use super::directory::DirectoryPath;
use super::repository::repository_name;
use super::thread_query::ThreadQuery;
use crate::{StoredThread, Timestamp};

/// The length of a day in milliseconds.
const DAY: i64 = 86_400_000;

/// The length of a quarter of an hour in milliseconds.
const QUARTER: i64 = 900_000;

/// The property by which threads are grouped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StatsKey {
    /// The day on which something happened, such as `2026-11-21`. A thread is in the group of each day on which it was
    /// created or went on.
    #[default]
    Day,
    /// The git repository of the thread under its normalized name ([`repository_name`]), or the working directory if
    /// there is no repository. Spellings of one directory are one group, under the least of them in byte order.
    Project,
    /// The model of the turns. A thread is in the group of each model that it used, and in that of its last one.
    Model,
    /// The source of the thread, as [`StoredThread::source_name`] returns it.
    Source,
}

/// The offset of a local time zone from UTC, valid from a certain time. Daylight saving time makes two of them per
/// year.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UtcOffset {
    /// The time from which the offset is valid.
    pub since: Timestamp,
    /// Local time minus UTC, in seconds. Negative west of Greenwich.
    pub seconds: i32,
}

/// Request for statistics of threads: what happened in them. The default requests those of all active threads, by days in
/// UTC.
///
/// What happened is counted by quarters of an hour in UTC: a quarter belongs to the day, and to the time that the query asks
/// for, in which it begins. In every time zone of today days begin with a quarter.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StatsQuery {
    /// The threads to count. Its direction is the order of the groups. Its limit and cursor are ignored: the answer
    /// covers all matching threads. Its times are those at which something has to happen to be counted, whatever its sort
    /// key is: of a thread that went on for weeks, only what happened then.
    pub threads: ThreadQuery,
    /// The property by which the threads are grouped.
    pub by: StatsKey,
    /// The offsets that determine where days begin, sorted by `since`. Each is valid until the next one. Before the
    /// first one, and if there is none, days are days in UTC.
    pub offsets: Vec<UtcOffset>,
}

impl StatsQuery {
    /// Returns the query that selects the threads: without the times, which select what happened in them.
    #[must_use]
    pub fn selection(&self) -> ThreadQuery {
        ThreadQuery { since: None, until: None, ..self.threads.clone() }
    }

    /// Returns whether the quarter of an hour that begins at a time is counted.
    #[must_use]
    pub fn covers(&self, quarter: Timestamp) -> bool {
        let ThreadQuery { since, until, .. } = &self.threads;
        let end = quarter.as_millis().saturating_add(QUARTER);
        since.is_none_or(|since| since.as_millis() < end) && until.is_none_or(|until| quarter < until)
    }

    /// Returns the group of a thread: for its files, and for what happened in it if that has no other group. `None` if the
    /// property is unknown.
    #[must_use]
    pub fn group_of(&self, thread: &StoredThread) -> Option<String> {
        match self.by {
            StatsKey::Day => Some(day_text(self.day_of(thread.created_at))),
            StatsKey::Project => project_of(thread),
            StatsKey::Model => thread.model.clone(),
            StatsKey::Source => thread.source_name().map(str::to_owned),
        }
    }

    /// Returns the text by which a group is compared with others: that of a directory is its [key](DirectoryPath::key).
    #[must_use]
    pub fn group_key(&self, group: &str) -> String {
        match self.by {
            // The name of a repository is a path, too, and its own key.
            StatsKey::Project => DirectoryPath::new(group).map(|path| path.key()).unwrap_or_default(),
            StatsKey::Day | StatsKey::Model | StatsKey::Source => group.to_owned(),
        }
    }

    /// Returns the local day of a time, as the number of days since 1970-01-01.
    #[must_use]
    pub fn day_of(&self, at: Timestamp) -> i64 {
        // The last offset that is already valid at that time. `div_euclid` rounds down, so that a time before 1970 is
        // in the day that contains it and not in the next one.
        let offset = self.offsets.iter().rev().find(|offset| at >= offset.since).map_or(0, |offset| offset.seconds);
        at.as_millis().saturating_add(i64::from(offset) * 1000).div_euclid(DAY)
    }
}

/// Returns the date of the day `day` days after 1970-01-01, such as `2026-11-21`.
#[must_use]
pub fn day_text(day: i64) -> String {
    // The day is local, but no offset is applied here: it was applied when the number of the day was computed.
    let text = Timestamp::from_millis(day.saturating_mul(DAY)).to_string();
    text.split('T').next().unwrap_or_default().to_owned()
}

/// Returns the repository of a thread, or else its working directory in its shortest form.
fn project_of(thread: &StoredThread) -> Option<String> {
    let url = thread.git.as_ref().and_then(|git| git.repository_url.as_ref());
    url.and_then(|url| repository_name(url.as_str()))
        .or_else(|| Some(DirectoryPath::new(thread.cwd.as_deref()?)?.to_string()))
}

/// Sums over some threads.
///
/// Every thread counts what it did itself: a fork does not count what it inherited, and a sub-agent does not count the lines that
/// it copied from its parent. What was undone counts, because it happened and was paid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StatsCounts {
    /// The number of threads. A thread that is in several groups counts in each of them, and once in a total.
    pub threads: u64,
    /// The number of turns that began.
    pub turns: u64,
    /// The size of the threads' own rollout files on disk, in bytes. They count for the day on which the thread was created.
    pub bytes: u64,
    /// Tokens that the models read.
    pub input_tokens: u64,
    /// The part of `input_tokens` that came from a cache.
    pub cached_input_tokens: u64,
    /// Tokens that the models wrote.
    pub output_tokens: u64,
    /// The part of `output_tokens` that is reasoning.
    pub reasoning_output_tokens: u64,
    /// Tokens read and written. Like all sums it ends at 2^64-1.
    pub total_tokens: u64,
}

impl std::ops::AddAssign for StatsCounts {
    fn add_assign(&mut self, other: Self) {
        // Saturating, because sums over hostile logs must not panic.
        let Self { threads, turns, bytes, .. } = other;
        for (sum, more) in [
            (&mut self.threads, threads),
            (&mut self.turns, turns),
            (&mut self.bytes, bytes),
            (&mut self.input_tokens, other.input_tokens),
            (&mut self.cached_input_tokens, other.cached_input_tokens),
            (&mut self.output_tokens, other.output_tokens),
            (&mut self.reasoning_output_tokens, other.reasoning_output_tokens),
            (&mut self.total_tokens, other.total_tokens),
        ] {
            *sum = sum.saturating_add(more);
        }
    }
}

/// The statistics of the threads of one group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StatsGroup {
    /// The common property of the group, such as a day or a model. `None` for the threads of which it is unknown.
    pub key: Option<String>,
    /// The sums over the threads of the group.
    #[serde(flatten)]
    pub counts: StatsCounts,
}

/// Statistics of threads, in groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ThreadStats {
    /// The property by which the threads are grouped.
    pub by: StatsKey,
    /// The groups, none of which is empty. Groups by day are sorted by day, all others by their number of threads. The
    /// direction of the query applies: if descending, the newest day or the largest group is first.
    pub groups: Vec<StatsGroup>,
    /// The sums over all threads.
    pub total: StatsCounts,
}
