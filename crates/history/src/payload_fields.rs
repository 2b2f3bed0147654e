//! Reads single fields of a payload without parsing all of it.
//!
//! A payload that does not parse is tried once more without its lone surrogate escapes: a key can contain one.

use std::borrow::Cow;

use selvedge_protocol::{RolloutLine, without_lone_surrogates};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Returns the `type` field of a line's payload. Empty if there is none.
pub(crate) fn payload_type(line: &RolloutLine) -> Cow<'_, str> {
    // Writers put the field first, so its value is found without a JSON parser. This runs for most lines of a log.
    leading_type(line.payload()).map_or_else(|| parsed_type(line.payload()), Cow::Borrowed)
}

/// Returns the role of the author of a response item of this kind: the role of a message, or `agent` for a message of another
/// agent.
pub(crate) fn message_role<'a>(kind: &str, payload: &'a str) -> Option<Cow<'a, str>> {
    match kind {
        "message" => MessageRole::parse(payload).or_else(|| {
            let clean = without_lone_surrogates(payload);
            MessageRole::parse(&clean).map(|role| Cow::Owned(role.into_owned()))
        }),
        "agent_message" => Some(Cow::Borrowed("agent")),
        _ => None,
    }
}

/// Parses a payload. `None` if it has another shape.
pub(crate) fn parse<T: DeserializeOwned>(payload: &str) -> Option<T> {
    serde_json::from_str(payload).or_else(|_| serde_json::from_str(&without_lone_surrogates(payload))).ok()
}

/// Returns the id of an item from its payload.
pub(crate) fn item_id(payload: &str) -> Option<String> {
    parse::<ItemIds>(payload)?.id.filter(|id| !id.is_empty())
}

/// Returns the id of the call to which an output belongs.
pub(crate) fn call_id(payload: &str) -> Option<String> {
    parse::<ItemIds>(payload)?.call_id.filter(|id| !id.is_empty())
}

#[derive(Deserialize)]
struct ItemIds {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    call_id: Option<String>,
}

#[derive(Deserialize)]
struct MessageRole<'a> {
    #[serde(borrow)]
    role: Cow<'a, str>,
}

impl<'a> MessageRole<'a> {
    fn parse(payload: &'a str) -> Option<Cow<'a, str>> {
        serde_json::from_str::<Self>(payload).ok().map(|message| message.role)
    }
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

impl<'a> PayloadTag<'a> {
    fn parse(payload: &'a str) -> Option<Cow<'a, str>> {
        serde_json::from_str::<Self>(payload).ok().map(|tag| tag.kind)
    }
}

fn parsed_type(payload: &str) -> Cow<'_, str> {
    let kind = PayloadTag::parse(payload).or_else(|| {
        let clean = without_lone_surrogates(payload);
        PayloadTag::parse(&clean).map(|kind| Cow::Owned(kind.into_owned()))
    });
    kind.unwrap_or_default()
}
