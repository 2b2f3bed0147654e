//! The turns behind which another one stands, or none.

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};

use selvedge_protocol::TurnId;

use super::draft::Draft;

/// How many of the newest turns are looked through for one before all are kept by their ids: late lines mostly speak of the
/// turn that was closed last.
pub(super) const NEWEST: usize = 16;

/// The closed turns, with an index by id.
///
/// The index grows when it is asked, so that a thread in which no line speaks of an older turn has none.
#[derive(Debug, Default)]
pub(super) struct ClosedTurns {
    turns: Vec<Draft>,
    /// How many turns were taken from the front. The number of a turn counts them, so that it stays.
    taken: u64,
    /// For each id the number of the newest turn that has it, of the first `indexed` ones.
    numbers: HashMap<TurnId, u64>,
    indexed: usize,
}

impl Deref for ClosedTurns {
    type Target = [Draft];

    fn deref(&self) -> &[Draft] {
        &self.turns
    }
}

impl DerefMut for ClosedTurns {
    fn deref_mut(&mut self) -> &mut [Draft] {
        &mut self.turns
    }
}

impl ClosedTurns {
    pub(super) fn push(&mut self, turn: Draft) {
        self.turns.push(turn);
    }

    pub(super) fn into_turns(self) -> Vec<Draft> {
        self.turns
    }

    /// Finds the newest turn of an id.
    pub(super) fn place_of(&mut self, id: &TurnId) -> Option<usize> {
        let newest = self.turns.len().saturating_sub(NEWEST);
        let found = self.turns[newest..].iter().rposition(|turn| turn.turn.id == *id);
        if found.is_some() || newest == 0 {
            return found.map(|place| newest + place);
        }
        let first = self.taken + self.indexed as u64;
        for (number, turn) in (first..).zip(&mut self.turns[self.indexed..]) {
            turn.earlier_namesake = self.numbers.insert(turn.turn.id.clone(), number);
        }
        self.indexed = self.turns.len();
        let number = self.numbers.get(id)?;
        usize::try_from(number - self.taken).ok()
    }

    /// Takes away the turns behind the first `len`, and gives the number of their items.
    pub(super) fn truncate(&mut self, len: usize) -> usize {
        let mut items = 0;
        while self.turns.len() > len
            && let Some(turn) = self.turns.pop()
        {
            items += turn.turn.items.len();
            if self.indexed > self.turns.len() {
                self.indexed = self.turns.len();
                // An earlier turn of the same id is the newest again.
                match turn.earlier_namesake.filter(|number| *number >= self.taken) {
                    Some(number) => _ = self.numbers.insert(turn.turn.id, number),
                    None => _ = self.numbers.remove(&turn.turn.id),
                }
            }
        }
        items
    }

    /// Takes the first `count` turns.
    pub(super) fn take_first(&mut self, count: usize) -> Vec<Draft> {
        let first: Vec<_> = self.turns.drain(..count.min(self.turns.len())).collect();
        for (number, turn) in (self.taken..).zip(&first).take(self.indexed) {
            if self.numbers.get(&turn.turn.id) == Some(&number) {
                self.numbers.remove(&turn.turn.id);
            }
        }
        self.indexed = self.indexed.saturating_sub(first.len());
        self.taken += first.len() as u64;
        first
    }
}
