//! Questions for sums over threads, and the answers.

use serde::{Deserialize, Serialize};

use crate::{StoredThread, ThreadQuery, Timestamp, repository_name};

/// Milliseconds of a day.
const DAY: i64 = 86_400_000;

/// What threads are put together by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StatsKey {
    /// The day on which the thread was created, as `2026-11-21`.
    #[default]
    Day,
    /// Where the thread works: the git repository under its one name ([`repository_name`]), or without one the working
    /// directory.
    Project,
    /// The model that the thread had last.
    Model,
    /// The source: of an object its first key (`subagent`).
    Source,
}

/// How far the clocks of a place are ahead of UTC from a time on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UtcOffset {
    /// The time.
    pub since: Timestamp,
    /// Seconds; negative west of Greenwich.
    pub seconds: i32,
}

/// A question for sums over threads. The default asks for all active threads by days of UTC.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StatsQuery {
    /// Which threads. The direction is that of the groups; limit and cursor do not count: the answer is about all of them.
    pub threads: ThreadQuery,
    /// What to put them together by.
    pub by: StatsKey,
    /// Where days begin: the offsets from UTC that hold one after the other, the earliest first. Before the first, and without
    /// any, days are those of UTC.
    pub offsets: Vec<UtcOffset>,
}

impl StatsQuery {
    /// The group that a thread belongs to; none when it does not say.
    #[must_use]
    pub fn group_of(&self, thread: &StoredThread) -> Option<String> {
        match self.by {
            StatsKey::Day => Some(day_text(self.day_of(thread.created_at))),
            StatsKey::Project => project_of(thread),
            StatsKey::Model => thread.model.clone(),
            StatsKey::Source => thread.source_name().map(str::to_owned),
        }
    }

    /// The day of a time, as the number of days since 1970-01-01.
    #[must_use]
    pub fn day_of(&self, at: Timestamp) -> i64 {
        let offset = self.offsets.iter().rev().find(|offset| at >= offset.since).map_or(0, |offset| offset.seconds);
        at.as_millis().saturating_add(i64::from(offset) * 1000).div_euclid(DAY)
    }
}

/// The date of a day that is so many days after 1970-01-01, as `2026-11-21`.
#[must_use]
pub fn day_text(day: i64) -> String {
    let text = Timestamp::from_millis(day.saturating_mul(DAY)).to_string();
    text.split('T').next().unwrap_or_default().to_owned()
}

fn project_of(thread: &StoredThread) -> Option<String> {
    let url = thread.git.as_ref().and_then(|git| git.repository_url.as_deref());
    url.and_then(repository_name).or_else(|| {
        let cwd = thread.cwd.as_deref()?.trim_end_matches('/');
        Some(if cwd.is_empty() { "/" } else { cwd }.to_owned())
    })
}

/// Sums over some threads. A fork by reference has the turns and tokens that it inherited, as its own row and transcript have
/// them, but no bytes of other threads' files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StatsCounts {
    /// Threads.
    pub threads: u64,
    /// Turns that the threads show.
    pub turns: u64,
    /// Bytes of the threads' own rollout files, as they lie on disk.
    pub bytes: u64,
    /// Tokens that the models read, as the threads counted them.
    pub input_tokens: u64,
    /// Of these, tokens that came from a cache.
    pub cached_input_tokens: u64,
    /// Tokens that the models wrote.
    pub output_tokens: u64,
    /// Of these, tokens of reasoning.
    pub reasoning_output_tokens: u64,
    /// Read and written.
    pub total_tokens: u64,
}

impl StatsCounts {
    /// The most tokens of a kind that one thread counts for: a log that says more is not to be believed, and sums stay in
    /// range.
    pub const MOST_TOKENS: u64 = 1 << 48;

    /// The counts of one thread that has so many turns, in files of so many bytes.
    #[must_use]
    pub fn of(thread: &StoredThread, turns: u64, bytes: u64) -> Self {
        let usage = thread.token_usage.clone().unwrap_or_default();
        let tokens = |count: Option<u64>| count.unwrap_or(0).min(Self::MOST_TOKENS);
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

/// Threads that have something in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StatsGroup {
    /// What it is; none for threads that do not say.
    pub key: Option<String>,
    /// Their sums.
    #[serde(flatten)]
    pub counts: StatsCounts,
}

/// Sums over threads, in groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ThreadStats {
    /// What the threads were put together by.
    pub by: StatsKey,
    /// The groups: the newest day first, or that of most threads; ascending, the other way round. None is empty.
    pub groups: Vec<StatsGroup>,
    /// All of them together.
    pub total: StatsCounts,
}
