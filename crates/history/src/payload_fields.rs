//! Reads single fields of a payload without parsing all of it.

use std::borrow::Cow;

use selvedge_protocol::RolloutLine;
use serde::Deserialize;

/// Returns the `type` field of a line's payload. Empty if there is none.
pub(crate) fn payload_type(line: &RolloutLine) -> Cow<'_, str> {
    // Writers put the field first, so its value is found without a JSON parser. This runs for most lines of a log.
    leading_type(line.payload()).map_or_else(|| parsed_type(line.payload()), Cow::Borrowed)
}

/// Returns the role of the author of a response item of this kind: the role of a message, or `agent` for a message of another
/// agent.
pub(crate) fn message_role<'a>(kind: &str, payload: &'a str) -> Option<Cow<'a, str>> {
    match kind {
        "message" => serde_json::from_str::<MessageRole<'a>>(payload).ok().map(|message| message.role),
        "agent_message" => Some(Cow::Borrowed("agent")),
        _ => None,
    }
}

/// Returns the id of an item from its payload.
pub(crate) fn item_id(payload: &str) -> Option<Cow<'_, str>> {
    serde_json::from_str::<ItemIds<'_>>(payload).ok()?.id.filter(|id| !id.is_empty())
}

/// Returns the id of the call to which an output belongs.
pub(crate) fn call_id(payload: &str) -> Option<Cow<'_, str>> {
    serde_json::from_str::<ItemIds<'_>>(payload).ok()?.call_id.filter(|id| !id.is_empty())
}

#[derive(Deserialize)]
struct ItemIds<'a> {
    #[serde(borrow, default)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    call_id: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct MessageRole<'a> {
    #[serde(borrow)]
    role: Cow<'a, str>,
}

fn leading_type(payload: &str) -> Option<&str> {
    let rest = payload.strip_prefix(r#"{"type":""#)?;
    let kind = &rest[..rest.find('"')?];
    // A backslash begins an escape, which only the parser resolves.
    (!kind.contains('\\')).then_some(kind)
}

#[derive(Deserialize)]
struct PayloadTag<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
}

fn parsed_type(payload: &str) -> Cow<'_, str> {
    serde_json::from_str::<PayloadTag<'_>>(payload).map(|tag| tag.kind).unwrap_or_default()
}
