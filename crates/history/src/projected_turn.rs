//! A turn with the positions of its lines, from which it can be rebuilt.

use std::ops::Range;

use selvedge_protocol::{HistoryMode, Turn};

/// A position at which a [`TurnProjection`](crate::TurnProjection) can begin, with what it needs from the lines before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TurnRestart {
    /// Position of the first line to push, in the thread's whole history.
    pub position: u64,
    /// Number of turns before it.
    pub turns: u64,
    /// Number of the next item that has no id in the log.
    pub next_item: u64,
    /// History mode of the thread, as far as the lines before determine it.
    pub mode: HistoryMode,
    /// Position of the first of the lines that lead up to the next message of the user, if such lines are just before.
    pub lead_in: Option<u64>,
}

/// A turn with the positions of its lines.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ProjectedTurn {
    /// The turn.
    pub turn: Turn,
    /// Where its first line is. A projection that begins there and takes the lines of the turn returns this turn, if it is
    /// self-contained.
    pub restart: TurnRestart,
    /// Whether the turn depends only on its own lines, and no other turn depends on them. A late item connects two turns, and a
    /// rollback can leave the beginning of a turn.
    pub is_self_contained: bool,
    /// For each item the range from its first line to its last, if it can be rebuilt from that range alone; otherwise empty.
    /// Lines of other items may be in between.
    pub item_lines: Vec<Range<u64>>,
    /// How many of the first items were released ([`TurnProjection::release_items`](crate::TurnProjection::release_items)), so that
    /// their texts are gone.
    pub released_items: usize,
}
