//! The closed turns, with an index by id.

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};

use selvedge_protocol::TurnId;

use super::draft::TurnDraft;

/// Up to this many of the newest turns are scanned for an id before an index is built. Late lines mostly name the turn that was
/// closed last.
pub(super) const SCANNED_TURNS: usize = 16;

/// The closed turns, with an index by id.
///
/// The index is built and extended by lookups, so a thread whose lines name no older turn has none.
#[derive(Debug, Default)]
pub(super) struct ClosedTurns {
    turns: Vec<TurnDraft>,
    /// Number of turns that were drained from the front. The number of a turn counts them, so it never changes.
    drained: u64,
    /// Number of the newest turn of each id, among the first `indexed` ones. Turns with the same id form a linked list through
    /// [`TurnDraft::earlier_namesake`], so that the one before can become the newest again.
    numbers: HashMap<TurnId, u64>,
    indexed: usize,
    /// Whether an item that was released was changed, or removed with its turn, in a turn that is not here any more.
    has_changed_released: bool,
}

impl Deref for ClosedTurns {
    type Target = [TurnDraft];

    fn deref(&self) -> &[TurnDraft] {
        &self.turns
    }
}

impl DerefMut for ClosedTurns {
    fn deref_mut(&mut self) -> &mut [TurnDraft] {
        &mut self.turns
    }
}

impl ClosedTurns {
    pub(super) fn push(&mut self, turn: TurnDraft) {
        self.turns.push(turn);
    }

    pub(super) fn into_turns(self) -> Vec<TurnDraft> {
        self.turns
    }

    /// Returns whether a line changed or removed an item that was released.
    pub(super) fn have_changed_released(&self) -> bool {
        self.has_changed_released || self.turns.iter().any(|turn| turn.has_changed_released)
    }

    /// Returns the index of the newest turn with this id.
    pub(super) fn newest_index_of(&mut self, id: &TurnId) -> Option<usize> {
        let scan_start = self.turns.len().saturating_sub(SCANNED_TURNS);
        let found = self.turns[scan_start..].iter().rposition(|turn| turn.turn.id == *id);
        if found.is_some() || scan_start == 0 {
            return found.map(|index| scan_start + index);
        }
        let first = self.drained + self.indexed as u64;
        for (number, turn) in (first..).zip(&mut self.turns[self.indexed..]) {
            turn.earlier_namesake = self.numbers.insert(turn.turn.id.clone(), number);
        }
        self.indexed = self.turns.len();
        let number = self.numbers.get(id)?;
        usize::try_from(number - self.drained).ok()
    }

    /// Removes all turns except the first `len`, and returns the number of their counted items.
    pub(super) fn truncate(&mut self, len: usize) -> usize {
        let mut items = 0;
        while self.turns.len() > len
            && let Some(turn) = self.turns.pop()
        {
            items += turn.counted_items();
            self.has_changed_released |= turn.released > 0 || turn.has_changed_released;
            if self.indexed > self.turns.len() {
                self.indexed = self.turns.len();
                // An earlier turn with the same id is the newest again, unless it was drained.
                match turn.earlier_namesake.filter(|number| *number >= self.drained) {
                    Some(number) => _ = self.numbers.insert(turn.turn.id, number),
                    None => _ = self.numbers.remove(&turn.turn.id),
                }
            }
        }
        items
    }

    /// Removes and returns the first `count` turns.
    pub(super) fn drain_first(&mut self, count: usize) -> Vec<TurnDraft> {
        let first: Vec<_> = self.turns.drain(..count.min(self.turns.len())).collect();
        self.has_changed_released |= first.iter().any(|turn| turn.has_changed_released);
        for (number, turn) in (self.drained..).zip(&first).take(self.indexed) {
            // A newer turn with the same id keeps its entry.
            if self.numbers.get(&turn.turn.id) == Some(&number) {
                self.numbers.remove(&turn.turn.id);
            }
        }
        self.indexed = self.indexed.saturating_sub(first.len());
        self.drained += first.len() as u64;
        first
    }
}
