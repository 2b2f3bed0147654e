//! Queries for statistics of threads, and their answers.

use serde::{Deserialize, Serialize};

use super::directory::DirectoryPath;
use super::repository::repository_name;
use super::thread_query::ThreadQuery;
use crate::{StoredThread, Timestamp};

/// The length of a day in milliseconds.
const DAY: i64 = 86_400_000;

/// The property by which threads are grouped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StatsKey {
    /// The day on which the thread was created, such as `2026-11-21`.
    #[default]
    Day,
    /// The git repository of the thread under its normalized name ([`repository_name`]), or the working directory if
    /// there is no repository. Spellings of one directory are one group, under the least of them in byte order.
    Project,
    /// The last model of the thread.
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

/// Request for statistics of threads. The default requests those of all active threads, by days in UTC.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StatsQuery {
    /// The threads to count. Its direction is the order of the groups. Its limit and cursor are ignored: the answer
    /// covers all matching threads.
    pub threads: ThreadQuery,
    /// The property by which the threads are grouped.
    pub by: StatsKey,
    /// The offsets that determine where days begin, sorted by `since`. Each is valid until the next one. Before the
    /// first one, and if there is none, days are days in UTC.
    pub offsets: Vec<UtcOffset>,
}

impl StatsQuery {
    /// Returns the group of a thread. `None` if the property is unknown.
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
/// A fork by reference counts the turns and tokens that it inherited, because its record and its transcript show them
/// as well. It does not count the bytes of the inherited lines, because they are in the files of other threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StatsCounts {
    /// The number of threads.
    pub threads: u64,
    /// The number of turns that the threads show.
    pub turns: u64,
    /// The size of the threads' own rollout files on disk, in bytes.
    pub bytes: u64,
    /// Tokens that the models read, as recorded in the threads.
    pub input_tokens: u64,
    /// The part of `input_tokens` that came from a cache.
    pub cached_input_tokens: u64,
    /// Tokens that the models wrote.
    pub output_tokens: u64,
    /// The part of `output_tokens` that is reasoning.
    pub reasoning_output_tokens: u64,
    /// Tokens read and written, as recorded in the threads.
    pub total_tokens: u64,
}

impl StatsCounts {
    /// The maximal number of tokens of one kind that a thread can add. A log that records more is not plausible, and
    /// the limit keeps the sums within 64 bits.
    pub const MAX_TOKENS_PER_THREAD: u64 = 1 << 48;

    /// Returns the counts of one thread, which has `turns` turns and files of `bytes` bytes.
    #[must_use]
    pub fn of(thread: &StoredThread, turns: u64, bytes: u64) -> Self {
        let usage = thread.token_usage.clone().unwrap_or_default();
        let tokens = |count: Option<u64>| count.unwrap_or(0).min(Self::MAX_TOKENS_PER_THREAD);
        Self {
            threads: 1,
            turns,
            bytes,
            input_tokens: tokens(usage.input_tokens),
            cached_input_tokens: tokens(usage.cached_input_tokens),
            output_tokens: tokens(usage.output_tokens),
            reasoning_output_tokens: tokens(usage.reasoning_output_tokens),
            total_tokens: tokens(usage.total_tokens),
        }
    }
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
