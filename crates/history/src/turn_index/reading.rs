//! Makes a turn from its lines.

use selvedge_protocol::{RolloutLine, Turn};

use super::rows::TurnRow;
use crate::turns::TurnProjection;

/// Makes a turn from the lines between the bytes that its row names.
#[derive(Debug)]
pub struct TurnReading<'a> {
    row: &'a TurnRow,
    turns: TurnProjection,
    position: u64,
    /// Whether the lines of items are left out.
    is_without_items: bool,
}

impl<'a> TurnReading<'a> {
    /// Creates a reading without lines. `None` if the turn cannot be read from its lines alone. `is_live` is whether the last turn
    /// of the thread can still be running.
    #[must_use]
    pub fn new(row: &'a TurnRow, is_live: bool) -> Option<Self> {
        // Only the last turn of a thread can still be running.
        let turns = TurnProjection::resume(row.restart()).live(is_live && row.is_last);
        row.is_self_contained.then_some(Self { row, turns, position: row.lines.start, is_without_items: false })
    }

    /// Creates a reading of a turn without its items, which needs no line that [says nothing of its state](crate::has_no_turn_state).
    #[must_use]
    pub fn without_items(row: &'a TurnRow, is_live: bool) -> Option<Self> {
        Some(Self { is_without_items: true, ..Self::new(row, is_live)? })
    }

    /// Takes the next line. Lines that are [never shown](crate::is_never_shown) may be left out.
    pub fn push(&mut self, line: &RolloutLine) {
        self.turns.push(self.position, line);
        self.position += 1;
    }

    /// Returns how many lines were taken.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.position - self.row.lines.start
    }

    /// Returns the turn. `None` if the lines are not those of the row.
    #[must_use]
    pub fn finish(self) -> Option<Turn> {
        // The lines must result in this one turn, with as many items as the row has. Otherwise they changed since.
        let row = self.row;
        let mut turns = self.turns.finish();
        let has_items = |turn: &Turn| self.is_without_items || turn.items.len() == row.items.len();
        let mut turn = turns.pop().filter(|turn| turn.id == row.id && has_items(turn))?;
        if !turns.is_empty() {
            return None;
        }
        // If lines were left out, the positions that were counted are too small.
        turn.lines = row.lines.clone();
        if self.is_without_items {
            turn.items.clear();
            turn.item_positions.clear();
            return Some(turn);
        }
        turn.item_positions = row.items.iter().map(|item| row.lines.start + item.line).collect();
        Some(turn)
    }
}
