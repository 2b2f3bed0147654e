//! Tells how many tokens were spent from the counts that a program writes.
//!
//! A `token_count` event has two counts: the *total* of the thread so far, and the *last* one, that of one response of the
//! model. Neither of them alone says what was spent:
//!
//! ```text
//! total   last    spent   why
//!  1,000  1,000   1,000   the first response
//!  1,000  1,000       0   repeated: programs write the newest count again when a turn begins, and after a tool
//!  3,000  2,000   2,000   the counter goes on
//!  9,000  2,000   6,000   the counter goes on, and an event in between is missing
//!    300    300     300   restarted: the program was started again and counts from 0
//!  3,500    500     500   the writer before the restart goes on: 3,000 was a total not long ago
//! 258,400     0       0   filled: the window overflowed, and the program sets the total to the size of the window
//! 258,900   500     500   the counter goes on from there
//! ```
//!
//! So a total that is known is a repetition. Otherwise the last count is what was spent if the total before it is known, too
//! (or is 0, after a restart); if not, the difference to the newest total is. A count without input and without output is no
//! response: it is the size of a context, as the program estimates it after a compaction.

use std::collections::VecDeque;

use selvedge_protocol::{TokenCountEvent, TokenUsage, TokenUsageRecord};
use serde::{Deserialize, Serialize};

/// How many totals are remembered. Totals that come back are recent: those before an undo of some turns, or those of another
/// writer of the same file.
const REMEMBERED_TOTALS: usize = 16;

/// Numbers of tokens, by kind: input, cached input, output, reasoning output, total.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TokenNumbers(pub(crate) [u64; 5]);

impl TokenNumbers {
    const ZERO: Self = Self([0; 5]);

    /// Returns the numbers of a count. `None` if it has none. A number that is missing, or is no whole number from 0 to 2^64-1,
    /// is 0, except the total: that is input and output together.
    fn of(usage: &TokenUsage) -> Option<Self> {
        let TokenUsage { input_tokens: input, output_tokens: output, total_tokens: total, .. } = usage;
        let parts = [*input, usage.cached_input_tokens, *output, usage.reasoning_output_tokens, *total];
        if parts.iter().all(Option::is_none) {
            return None;
        }
        let [input, cached, output, reasoning, _] = parts.map(Option::unwrap_or_default);
        Some(Self([input, cached, output, reasoning, total.unwrap_or(input.saturating_add(output))]))
    }

    /// Returns whether a count names no input and no output, so that no response can be meant.
    fn is_estimate(usage: &TokenUsage) -> bool {
        (usage.input_tokens, usage.output_tokens) == (Some(0), Some(0))
    }

    pub(crate) fn is_zero(self) -> bool {
        self == Self::ZERO
    }

    /// Returns these numbers without others. `None` if one of them is smaller.
    fn minus(self, other: Self) -> Option<Self> {
        let mut difference = self;
        for (number, other) in difference.0.iter_mut().zip(other.0) {
            *number = number.checked_sub(other)?;
        }
        Some(difference)
    }
}

/// Tells for each count how many tokens were spent since the one before it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TokenMeter {
    /// The totals that the counter had lately, the newest one last.
    totals: VecDeque<TokenNumbers>,
    /// The response of a `token_usage_record` line that no event has shown yet.
    recorded: Option<TokenNumbers>,
    /// The last count of an event without total, while nothing of the model follows it.
    lone: Option<TokenNumbers>,
    /// Whether nobody knows where the counter is, until it counts: the lines before are those of another segment, or copies, of
    /// which some can be missing.
    is_start_unknown: bool,
}

impl TokenMeter {
    /// Creates a meter whose counter is at this total, as far as the lines before tell. `is_start_unknown` is whether it can be
    /// elsewhere.
    pub(crate) fn new(total: Option<TokenNumbers>, is_start_unknown: bool) -> Self {
        Self { totals: total.into_iter().collect(), is_start_unknown, ..Self::default() }
    }

    /// Notes that the lines before were copies.
    pub(crate) fn leave_copies(&mut self) {
        self.is_start_unknown = true;
    }

    /// Returns the total of the thread that an event names.
    pub(crate) fn total_of(event: &TokenCountEvent) -> Option<TokenNumbers> {
        TokenNumbers::of(event.info.as_ref()?.total_token_usage.as_ref()?)
    }

    /// Returns the total of the thread that a record names.
    pub(crate) fn total_of_record(record: &TokenUsageRecord) -> Option<TokenNumbers> {
        TokenNumbers::of(record.thread_token_usage.as_ref()?)
    }

    /// Notes that the model or the user did something: an equal count after it is another one.
    pub(crate) fn see_item(&mut self) {
        self.lone = None;
    }

    /// Returns how many tokens were spent, by an event.
    pub(crate) fn event(&mut self, event: &TokenCountEvent) -> TokenNumbers {
        let Some(info) = &event.info else { return TokenNumbers::ZERO };
        let response = |usage: &TokenUsage| {
            TokenNumbers::of(usage).filter(|numbers| !TokenNumbers::is_estimate(usage) && !numbers.is_zero())
        };
        let last = info.last_token_usage.as_ref().and_then(response);
        let Some(total) = Self::total_of(event) else { return self.without_total(last) };
        // The same response again: newer programs write a record of it first.
        if self.recorded.is_some() && self.recorded == last {
            self.recorded = None;
            self.remember(total);
            return TokenNumbers::ZERO;
        }
        if info.total_token_usage.as_ref().is_some_and(TokenNumbers::is_estimate) {
            self.remember(total);
            return TokenNumbers::ZERO;
        }
        self.total(total, last)
    }

    /// Returns how many tokens were spent, by a record of one response. A record without a total of the thread says nothing
    /// that the event beside it does not say.
    pub(crate) fn record(&mut self, record: &TokenUsageRecord) -> TokenNumbers {
        let Some(total) = Self::total_of_record(record) else { return TokenNumbers::ZERO };
        if self.totals.contains(&total) {
            return TokenNumbers::ZERO;
        }
        let usage = record.usage.as_ref().and_then(TokenNumbers::of);
        let spent = self.total(total, usage);
        self.recorded = usage;
        spent
    }

    fn without_total(&mut self, last: Option<TokenNumbers>) -> TokenNumbers {
        if last.is_none() || last == self.lone {
            return TokenNumbers::ZERO;
        }
        self.lone = last;
        last.unwrap_or_default()
    }

    fn total(&mut self, total: TokenNumbers, last: Option<TokenNumbers>) -> TokenNumbers {
        if self.totals.contains(&total) {
            self.remember(total);
            return TokenNumbers::ZERO;
        }
        let newest = self.totals.back().copied();
        let is_start_unknown = std::mem::take(&mut self.is_start_unknown);
        let is_known = |before: TokenNumbers| before.is_zero() || self.totals.contains(&before);
        let spent = match last {
            Some(last) if total.minus(last).is_some_and(is_known) => last,
            // The difference can hold what was inherited.
            Some(last) if is_start_unknown => last,
            _ => total.minus(newest.unwrap_or_default()).or(last).unwrap_or(total),
        };
        self.remember(total);
        spent
    }

    fn remember(&mut self, total: TokenNumbers) {
        // A known total becomes the newest one: the counter goes on from it.
        self.totals.retain(|known| *known != total);
        if self.totals.len() >= REMEMBERED_TOTALS {
            self.totals.pop_front();
        }
        self.totals.push_back(total);
    }
}
