//! The turns of a thread, as a client shows them.
//!
//! Turns are derived from the lines of a log. They are not stored in it: the `history` crate projects them.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Timestamp, TurnId, TurnItem};

/// The state of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TurnStatus {
    /// The turn ended normally.
    Completed,
    /// The turn was interrupted, or the log contains no end of it and it is not running.
    Interrupted,
    /// An error ended the turn.
    Failed,
    /// The turn is running. Only the last turn of a live thread can be in this state.
    InProgress,
}

/// Selects the items of a turn that are returned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemsView {
    /// No items.
    None,
    /// Only the first user message and the last agent message.
    Summary,
    /// All items.
    #[default]
    Full,
}

/// One turn: a request of the user, and everything that the agent did for it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Turn {
    /// The id of the turn.
    pub id: TurnId,
    /// The state of the turn.
    pub status: TurnStatus,
    /// The time at which the turn began.
    pub started_at: Option<Timestamp>,
    /// The time at which the turn ended.
    pub completed_at: Option<Timestamp>,
    /// The duration of the turn, in milliseconds.
    pub duration_ms: Option<i64>,
    /// The error that ended the turn, as the log contains it.
    pub error: Option<Value>,
    /// Which items of the turn are in `items`.
    pub items_view: ItemsView,
    /// The items of the turn, in their order.
    pub items: Vec<TurnItem>,
    /// The lines of the turn, as positions in the whole history of the thread: intact lines are counted from 0,
    /// inherited ones first.
    ///
    /// A fork just after the turn inherits the lines before `lines.end`, and a fork just before it those before
    /// `lines.start`.
    #[serde(skip)]
    pub lines: Range<u64>,
    /// For each item in `items`, the line with which it begins, as a position like those of `lines`.
    #[serde(skip)]
    pub item_positions: Vec<u64>,
}
