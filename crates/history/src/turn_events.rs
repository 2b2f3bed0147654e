//! Which events open turns and end them.

use selvedge_protocol::{EventMsg, RolloutItem, RolloutLine};

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
