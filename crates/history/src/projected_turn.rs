//! Where the log tells a turn, so that it can be told again from its own lines.

use std::ops::Range;

use selvedge_protocol::{HistoryMode, Turn};

/// A place where a [`TurnProjection`](crate::TurnProjection) can begin, with what it has to know of the lines before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TurnRestart {
    /// Position of the first line to push, in the thread's whole history.
    pub position: u64,
    /// How many turns stand before it.
    pub turns: u64,
    /// The number of the next item that the log gives no id.
    pub next_item: u64,
    /// How the thread is kept, as far as the lines before say.
    pub mode: HistoryMode,
    /// Where the messages begin that lead up to the place, if some do.
    pub lead_in: Option<u64>,
}

/// A turn with the place of its lines.
#[derive(Clone, Debug, PartialEq)]
pub struct ProjectedTurn {
    /// The turn.
    pub turn: Turn,
    /// Where its first line stands. A projection that begins there and takes the turn's lines gives the turn, if it is
    /// self-contained.
    pub restart: TurnRestart,
    /// Whether its lines tell the turn, and nothing of another one. A late item makes those of two turns depend on each
    /// other, and a rollback may leave the beginning of a turn.
    pub is_self_contained: bool,
    /// For each item the lines from the first to the last that tell it, if it can be told from them alone, and none
    /// otherwise. Lines of other items may stand between.
    pub item_lines: Vec<Range<u64>>,
}

/// Whether a line is one of those that make up most of a log and say nothing to a client, by the first bytes of its envelope.
/// When in doubt it may say something. The turns of a self-contained turn's lines are the same without them, but for the
/// positions of lines.
#[must_use]
pub fn is_never_shown(line: &[u8]) -> bool {
    const TIME: &[u8] = b"{\"timestamp\":\"";
    const TYPE: &[u8] = b"\"type\":\"";
    const SILENT: [&[u8]; 4] =
        [b"response_item\",\"payload\":", b"turn_context\",", b"world_state\",", b"token_usage_record\","];
    let Some(rest) = line.strip_prefix(TIME) else { return false };
    // Behind the time, nothing but an ordinal may stand before the type.
    let Some(time_end) = rest.iter().take(40).position(|byte| *byte == b'"') else { return false };
    let Some(rest) = rest[time_end + 1..].strip_prefix(b",") else { return false };
    let rest = match rest.strip_prefix(b"\"ordinal\":") {
        Some(number) => {
            let digits = number.iter().take_while(|byte| byte.is_ascii_digit()).count();
            number[digits..].strip_prefix(b",").unwrap_or_default()
        }
        None => rest,
    };
    rest.strip_prefix(TYPE).is_some_and(|kind| SILENT.iter().any(|silent| kind.starts_with(silent)))
}
