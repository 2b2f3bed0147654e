//! Looks into a line's payload without parsing all of it.

use std::borrow::Cow;

use selvedge_protocol::RolloutLine;
use serde::Deserialize;

/// The `type` of a line's payload. Writers put it first, so that a glance is enough; elsewhere it is searched for.
pub(crate) fn payload_type(line: &RolloutLine) -> Cow<'_, str> {
    first_field(line.payload()).map_or_else(|| searched(line.payload()), Cow::Borrowed)
}

/// Who speaks in a response item of this kind: the role of a message, `agent` for a message of another agent.
pub(crate) fn message_role<'a>(kind: &str, payload: &'a str) -> Option<Cow<'a, str>> {
    match kind {
        "message" => serde_json::from_str::<Spoken<'a>>(payload).ok().map(|spoken| spoken.role),
        "agent_message" => Some(Cow::Borrowed("agent")),
        _ => None,
    }
}

#[derive(Deserialize)]
struct Spoken<'a> {
    #[serde(borrow)]
    role: Cow<'a, str>,
}

fn first_field(payload: &str) -> Option<&str> {
    let rest = payload.strip_prefix(r#"{"type":""#)?;
    let kind = &rest[..rest.find('"')?];
    (!kind.contains('\\')).then_some(kind)
}

#[derive(Deserialize)]
struct Tagged<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
}

fn searched(payload: &str) -> Cow<'_, str> {
    serde_json::from_str::<Tagged<'_>>(payload).map(|tagged| tagged.kind).unwrap_or_default()
}
