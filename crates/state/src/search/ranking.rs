//! The ranking of the index, computed from the texts of a thread.
//!
//! A search without an index, or of a thread that the index cannot serve, must find the same hits in the same order. So it weighs
//! items as [`candidates`](super::candidates) and [`rank`](super::rank) do, with the words of the texts in place of postings.

use std::cmp::Reverse;

use selvedge_history::{ItemLocation, SearchRank, TextSearch, ThreadHits, fold_text, item_texts};
use selvedge_protocol::{StoredThread, Turn, TurnItem};

use crate::search::candidates::repetitions;
use crate::search::rank::{relevance, shortness};
use crate::search::window::WINDOW_ITEMS;
use crate::search::words::{WordPattern, for_each_word, patterns};

/// Ranks threads, which come newest first, as the index does.
#[derive(Clone, Debug)]
pub struct HitRanking {
    search: TextSearch,
    patterns: Vec<WordPattern>,
    /// The number of the window, and how many items it has so far.
    window: u32,
    items_in_window: usize,
}

impl HitRanking {
    /// Creates the ranking of a search. `None` if the index does not answer it, so that there is no order to agree with.
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

    /// Returns whether the index counts the name of a thread among those that match.
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
