//! How relevant an item and a thread are in a search, by the words of their texts.
//!
//! An item is relevant if the terms are often in it, and if it is short:
//!
//! ```text
//! weight of an item  =  Σ over patterns  times / (times + 1.2)  ×  400 / (200 + words of the item)
//!                       repetitions count less and less            2 for a very short item, 1 for one of 200 words
//! ```
//!
//! A thread is as relevant as its best item, and a little more if it has many: `best + ln(1 + n) / 4`. The logarithm keeps a long
//! thread from winning by its length; ten items add 0.6, a thousand add 1.7.
//!
//! Threads whose names match come before all others. Equally relevant threads are sorted by age, the newest first.
//!
//! Unlike BM25, rare terms weigh no more than frequent ones. That would need the frequency of a term in all threads, and a hit has
//! all terms anyway.
//!
//! An index of words has the numbers of this formula without reading the texts. [`HitRanking`] takes them from the texts: a search
//! without an index, or of a thread that the index cannot serve, must find the same hits in the same order.

pub mod keys;
pub mod words;

use std::cmp::Reverse;

use selvedge_protocol::{StoredThread, Turn, TurnItem};

use self::words::{WordPattern, for_each_word, patterns};
use crate::search::{ItemLocation, SearchRank, TextSearch, ThreadHits, fold_text, item_texts};

/// How many items are ranked together. The newest threads that have this many items come before all others.
pub const WINDOW_ITEMS: usize = 2_000;

/// How soon repetitions count less. A word that is in an item `n` times adds `n / (n + 1.2)` to its weight: once adds 0.45, three
/// times 0.71, and no number reaches 1. This is the saturation of the ranking function BM25, with its usual constant.
const SATURATION: f32 = 1.2;

/// The number of words of an item whose length does not change its weight.
const ORDINARY_WORDS: f32 = 200.0;

/// Ranks threads, which come newest first, by their texts.
#[derive(Clone, Debug)]
pub struct HitRanking {
    search: TextSearch,
    patterns: Vec<WordPattern>,
    /// The number of the window, and how many items it has so far.
    window: u32,
    items_in_window: usize,
}

impl HitRanking {
    /// Creates the ranking of a search. `None` if its terms determine too little of any word, so that there
    /// is no order to agree with.
    #[must_use]
    pub fn new(search: &TextSearch) -> Option<Self> {
        let patterns = patterns(search.terms())?;
        Some(Self { search: search.clone(), patterns, window: 0, items_in_window: 0 })
    }

    /// Returns at most `limit` hits in the next thread, the most relevant first, and the rank of the thread.
    pub fn hits(&mut self, thread: &StoredThread, turns: &[Turn], limit: usize) -> ThreadHits {
        let mut buffer = Vec::new();
        let mut weighed: Vec<(f32, ItemLocation<'_>)> = Vec::new();
        for (turn_number, turn) in (1..).zip(turns) {
            for (index, item) in turn.items.iter().enumerate() {
                if let Some(weight) = weigh(item, &self.patterns, &mut buffer) {
                    let position = turn.item_positions.get(index).copied();
                    weighed.push((weight, ItemLocation { turn_id: &turn.id, turn_number, position, item }));
                }
            }
        }
        // The sort is stable: items with the same weight keep the order of the thread.
        weighed.sort_by(|(one, _), (other, _)| other.total_cmp(one));
        let in_name = self.may_match_name(thread);
        if weighed.is_empty() && !in_name {
            return ThreadHits::default();
        }
        let level = relevance(weighed.first().map(|(weight, _)| *weight), weighed.len());
        let rank = SearchRank { window: Reverse(self.next_window(weighed.len())), in_name, level };
        let in_items = weighed.iter().filter_map(|(_, location)| self.search.item_hit(thread, location));
        let hits = self.search.name_hit(thread).into_iter().chain(in_items).take(limit).collect();
        ThreadHits { hits, rank }
    }

    /// Returns whether the name of a thread counts among those that match.
    fn may_match_name(&self, thread: &StoredThread) -> bool {
        let Some(name) = thread.name.as_deref().map(fold_text) else { return false };
        self.search.terms().iter().all(|term| name.contains(term.text()))
    }

    /// Returns the window of the next thread, which has this many items.
    fn next_window(&mut self, items: usize) -> u32 {
        if self.items_in_window >= WINDOW_ITEMS {
            self.window = self.window.saturating_add(1);
            self.items_in_window = 0;
        }
        self.items_in_window += items.max(1);
        self.window
    }
}

/// Returns the relevance of a thread, by the weight of its best item and the number of its items. It is a whole number of
/// thousandths, so that a cursor can contain it exactly.
#[must_use]
pub fn relevance(best: Option<f32>, items: usize) -> u32 {
    let count = f32::from(u16::try_from(items).unwrap_or(u16::MAX));
    ((best.unwrap_or(0.0) + count.ln_1p() / 4.0) * 1_000.0) as u32
}

/// Returns the factor by which the length of an item changes its weight: a term is more significant in a short item.
#[must_use]
pub fn shortness(words: u64) -> f32 {
    let words = f32::from(u16::try_from(words).unwrap_or(u16::MAX));
    2.0 * ORDINARY_WORDS / (ORDINARY_WORDS + words)
}

/// Returns what a word adds to the weight of an item in which it is this often.
#[must_use]
pub fn repetitions(times: u32) -> f32 {
    let times = f32::from(u16::try_from(times).unwrap_or(u16::MAX));
    times / (times + SATURATION)
}

/// Returns the weight of an item. `None` if a pattern matches none of its words.
fn weigh(item: &TurnItem, patterns: &[WordPattern], buffer: &mut Vec<u8>) -> Option<f32> {
    let mut times = vec![0_u32; patterns.len()];
    let mut words: u64 = 0;
    for text in item_texts(item) {
        for_each_word(text, buffer, |word| {
            words += 1;
            for (pattern, times) in patterns.iter().zip(&mut times) {
                *times = times.saturating_add(u32::from(pattern.matches(word)));
            }
        });
    }
    if times.contains(&0) {
        return None;
    }
    Some(times.into_iter().map(repetitions).sum::<f32>() * shortness(words))
}
