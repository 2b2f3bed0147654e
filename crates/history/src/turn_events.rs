//! Which events open turns and end them: the one place that knows their names.

use std::borrow::Cow;

use selvedge_protocol::{EventMsg, RolloutItem, RolloutLine};
use serde::Deserialize;

use crate::peek::payload_type;

/// Whether a line opens a turn: whatever turn was open before it is closed by it.
#[must_use]
pub fn opens_turn(line: &RolloutLine) -> bool {
    line.kind() == "event_msg"
        && is_turn_start(&payload_type(line))
        // One of another shape opens none.
        && matches!(line.item(), RolloutItem::EventMsg(EventMsg::TaskStarted(_)))
}

/// Whether an event of this kind opens a turn. Programs have two names for it.
pub(crate) fn is_turn_start(kind: &str) -> bool {
    matches!(kind, "task_started" | "turn_started")
}

/// Whether an event of this kind ends a turn that came to its end. Programs have two names for it.
pub(crate) fn is_turn_end(kind: &str) -> bool {
    matches!(kind, "task_complete" | "turn_complete")
}

/// Whether an event of this kind ends a turn that was broken off.
pub(crate) fn is_turn_abort(kind: &str) -> bool {
    kind == "turn_aborted"
}

/// What an event has to do with where turns begin and end, without the rest of it.
#[derive(Deserialize)]
pub(crate) struct EventHeader<'a> {
    /// Its kind.
    #[serde(rename = "type", borrow, default)]
    pub(crate) kind: Cow<'a, str>,
    /// The turn that it names.
    #[serde(borrow, default)]
    pub(crate) turn_id: Option<Cow<'a, str>>,
}

impl<'a> EventHeader<'a> {
    /// Returns the header of an event. `None` if the line is no event, or has a shape that nobody writes.
    pub(crate) fn at(line: &'a RolloutLine) -> Option<Self> {
        (line.kind() == "event_msg").then(|| serde_json::from_str(line.payload()).ok())?
    }
}

/// The name of a turn that the log gives no id: its place among the turns from the first, counted from 1.
pub(crate) fn synthetic_turn_id(place: u64) -> String {
    format!("turn-{place}")
}

/// Whether this can be the name of a turn that the log gives no id.
pub(crate) fn is_synthetic_turn_id(turn_id: &str) -> bool {
    turn_id.strip_prefix("turn-").is_some_and(|place| place.bytes().all(|byte| byte.is_ascii_digit()))
}
