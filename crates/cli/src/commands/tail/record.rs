//! The JSON objects that `selvedge tail --json` prints.

use selvedge_protocol::SegmentId;
use selvedge_thread_store::LinePosition;
use serde::Serialize;
use serde_json::value::RawValue;

/// One object of the output. The help of the verb documents the fields.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum TailRecord<'a> {
    /// An intact line.
    Line { at: &'a LinePosition, segment: SegmentId, inherited: bool, line: Box<RawValue> },
    /// A range without an intact line.
    Damage { at: &'a LinePosition, segment: SegmentId, inherited: bool, reason: &'a str, complete: bool },
    /// A part of the history that does not exist any more.
    Missing { at: &'a LinePosition, segment: SegmentId, inherited: bool, reason: &'a str },
    /// A rewind undid the entry at this position and everything after it.
    Rewound { to: &'a LinePosition },
    /// A repair rewrote the history.
    Rewritten { follows: &'static str },
}
