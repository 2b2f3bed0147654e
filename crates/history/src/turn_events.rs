//! The events that open and end turns. No other file knows their names.

use std::borrow::Cow;

use selvedge_protocol::{EventMsg, RolloutItem, RolloutLine, without_lone_surrogates};
use serde::Deserialize;

use crate::payload_fields::payload_type;

/// Returns whether a line opens a turn, which closes the turn that was open before.
#[must_use]
pub fn opens_turn(line: &RolloutLine) -> bool {
    line.kind() == "event_msg"
        && is_turn_start(&payload_type(line))
        // An event of this kind with fields that do not parse opens no turn.
        && matches!(line.item(), RolloutItem::EventMsg(EventMsg::TaskStarted(_)))
}

/// Returns whether a line says something that a user would miss: it opens a turn, or it is an item of the model, a message, a
/// compaction or what was spoken. All other lines only describe how the thread runs: settings, counts, the end of a turn.
#[must_use]
pub fn is_conversation(line: &RolloutLine) -> bool {
    match line.kind() {
        "response_item" | "compacted" | "inter_agent_communication" | "realtime_item" => true,
        "event_msg" => {
            let kind = payload_type(line);
            is_turn_start(&kind) || matches!(&*kind, "user_message" | "agent_message" | "item_completed")
        }
        _ => false,
    }
}

/// Returns whether an event of this kind opens a turn. Programs use two names for it.
pub(crate) fn is_turn_start(kind: &str) -> bool {
    matches!(kind, "task_started" | "turn_started")
}

/// Returns whether an event of this kind completes a turn. Programs use two names for it.
pub(crate) fn is_turn_end(kind: &str) -> bool {
    matches!(kind, "task_complete" | "turn_complete")
}

/// Returns whether an event of this kind aborts a turn.
pub(crate) fn is_turn_abort(kind: &str) -> bool {
    kind == "turn_aborted"
}

/// The fields of an event that matter for turn boundaries.
#[derive(Deserialize)]
pub(crate) struct EventHeader<'a> {
    /// Kind of the event.
    #[serde(rename = "type", borrow, default)]
    pub(crate) kind: Cow<'a, str>,
    /// Id of the turn that it names.
    #[serde(borrow, default)]
    pub(crate) turn_id: Option<Cow<'a, str>>,
}

impl<'a> EventHeader<'a> {
    /// Returns the header of an event. `None` if the line is no event, or if these fields have an unexpected type.
    pub(crate) fn of(line: &'a RolloutLine) -> Option<Self> {
        if line.kind() != "event_msg" {
            return None;
        }
        let payload = line.payload();
        serde_json::from_str(payload).ok().or_else(|| {
            // A key, or one of these fields, can contain a lone surrogate.
            let clean = without_lone_surrogates(payload);
            let header: EventHeader<'_> = serde_json::from_str(&clean).ok()?;
            let turn_id = header.turn_id.map(|id| Cow::Owned(id.into_owned()));
            Some(EventHeader { kind: Cow::Owned(header.kind.into_owned()), turn_id })
        })
    }
}

/// Returns the id of a turn that has none in the log: its number in the thread, counted from 1.
pub(crate) fn synthetic_turn_id(number: u64) -> String {
    format!("turn-{number}")
}

/// Returns whether this id has the form of [`synthetic_turn_id`].
pub(crate) fn is_synthetic_turn_id(turn_id: &str) -> bool {
    turn_id.strip_prefix("turn-").is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
}
