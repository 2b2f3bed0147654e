//! What happened in a thread, and when: its turns and the tokens that they cost, by quarter of an hour and model.

use std::collections::BTreeMap;

use selvedge_protocol::{StatsCounts, Timestamp};
use serde::{Deserialize, Serialize};

use crate::token_meter::TokenNumbers;

/// The length of a quarter of an hour in milliseconds. In every time zone days begin at such a quarter.
const QUARTER: i64 = 900_000;

/// What happened in a thread, and when: its turns and the tokens that they cost, by quarter of an hour and model.
///
/// It holds what the thread itself did, and what nobody can take back: a turn that was undone did happen. What it inherited
/// happened in another thread.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "PackedActivity", into = "PackedActivity")]
pub struct ThreadActivity {
    /// By the number of the quarter since 1970, and the model. Quarters in which lines were written count even if no turn began
    /// and no token was spent.
    counts: BTreeMap<(i64, Option<String>), ActivityCounts>,
}

/// What happened in a quarter of an hour with one model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct ActivityCounts {
    turns: u64,
    tokens: TokenNumbers,
}

/// What happened in a quarter of an hour with one model, for a sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActivityEntry<'a> {
    /// When the quarter began.
    pub at: Timestamp,
    /// The model of the turns. `None` if their lines do not name it.
    pub model: Option<&'a str>,
    /// The turns that began, and the tokens that were spent. No threads and no bytes.
    pub counts: StatsCounts,
}

impl ThreadActivity {
    /// Returns what happened, by time.
    pub fn entries(&self) -> impl Iterator<Item = ActivityEntry<'_>> {
        self.counts.iter().map(|((quarter, model), counts)| {
            let [input, cached, output, reasoning, total] = counts.tokens.0;
            let counts = StatsCounts {
                turns: counts.turns,
                input_tokens: input,
                cached_input_tokens: cached,
                output_tokens: output,
                reasoning_output_tokens: reasoning,
                total_tokens: total,
                ..StatsCounts::default()
            };
            ActivityEntry { at: start_of(*quarter), model: model.as_deref(), counts }
        })
    }

    /// Returns the sums of all entries.
    #[must_use]
    pub fn total(&self) -> StatsCounts {
        let mut total = StatsCounts::default();
        self.entries().for_each(|entry| total += entry.counts);
        total
    }

    /// Notes that something happened in a quarter.
    pub(crate) fn touch(&mut self, quarter: i64, model: Option<&String>) {
        let mut known = self.counts.range((quarter, None)..);
        if known.next().is_none_or(|((next, _), _)| *next != quarter) {
            self.counts.entry((quarter, model.cloned())).or_default();
        }
    }

    /// Counts a turn.
    pub(crate) fn add_turn(&mut self, quarter: i64, model: Option<&String>) {
        let turns = &mut self.counts.entry((quarter, model.cloned())).or_default().turns;
        *turns = turns.saturating_add(1);
    }

    /// Takes back a turn that was counted for the wrong model.
    pub(crate) fn remove_turn(&mut self, quarter: i64, model: Option<&String>) {
        let key = (quarter, model.cloned());
        if let Some(counts) = self.counts.get_mut(&key) {
            counts.turns = counts.turns.saturating_sub(1);
            if *counts == ActivityCounts::default() {
                self.counts.remove(&key);
            }
        }
    }

    /// Adds tokens that were spent.
    pub(crate) fn spend(&mut self, quarter: i64, model: Option<&String>, spent: TokenNumbers) {
        let tokens = &mut self.counts.entry((quarter, model.cloned())).or_default().tokens;
        for (sum, more) in tokens.0.iter_mut().zip(spent.0) {
            // Saturating, because sums over hostile logs must not panic.
            *sum = sum.saturating_add(more);
        }
    }
}

/// Returns the quarter in which a time is.
pub(crate) fn quarter_of(at: Timestamp) -> i64 {
    at.as_millis().div_euclid(QUARTER)
}

/// Returns the time at which the quarter of a time began. What happens in a quarter is counted as one.
pub(crate) fn quarter_start(at: Timestamp) -> Timestamp {
    start_of(quarter_of(at))
}

fn start_of(quarter: i64) -> Timestamp {
    Timestamp::from_millis(quarter.saturating_mul(QUARTER))
}

/// The form in which an activity is stored: short, because an index reads those of all threads for one answer.
#[derive(Serialize, Deserialize)]
struct PackedActivity {
    models: Vec<String>,
    /// Quarter, number of the model counted from 1 (0 is none), turns, tokens.
    entries: Vec<(i64, usize, u64, TokenNumbers)>,
}

impl From<ThreadActivity> for PackedActivity {
    fn from(activity: ThreadActivity) -> Self {
        let mut models: Vec<String> = Vec::new();
        let mut entries = Vec::with_capacity(activity.counts.len());
        for ((quarter, model), counts) in activity.counts {
            let number = model.map_or(0, |model| match models.iter().position(|known| *known == model) {
                Some(index) => index + 1,
                None => {
                    models.push(model);
                    models.len()
                }
            });
            entries.push((quarter, number, counts.turns, counts.tokens));
        }
        Self { models, entries }
    }
}

impl From<PackedActivity> for ThreadActivity {
    fn from(packed: PackedActivity) -> Self {
        let model = |number: usize| packed.models.get(number.checked_sub(1)?).cloned();
        let entries = packed.entries.into_iter();
        let counts = entries.map(|(quarter, number, turns, tokens)| {
            let counts = ActivityCounts { turns, tokens };
            ((quarter, model(number)), counts)
        });
        Self { counts: counts.collect() }
    }
}
