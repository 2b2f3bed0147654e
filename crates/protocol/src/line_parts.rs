//! Finds the parts of a line in its text: time, ordinal and kind, and the range of the payload.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::Timestamp;
use crate::lone_surrogates::without_lone_surrogates;

/// The layout of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineFormat {
    /// `{"timestamp", "type", "payload", …}`. Every program since September 2025 writes this layout.
    Envelope,
    /// The payload alone, as programs wrote it before September 2025.
    Bare,
}

/// The parts of a line.
#[derive(Clone, PartialEq)]
pub(crate) struct LineParts {
    pub(crate) format: LineFormat,
    pub(crate) timestamp: Option<Timestamp>,
    pub(crate) ordinal: Option<u64>,
    pub(crate) kind: Cow<'static, str>,
    /// The bytes of the payload in the text of the line. Empty if there is no payload.
    pub(crate) payload: Range<usize>,
}

impl LineParts {
    /// Finds the parts of a line. `text` has no white space around it.
    ///
    /// # Errors
    /// If the text is not exactly one JSON object.
    pub(crate) fn find(text: &str) -> serde_json::Result<Self> {
        let parse = |text: &str| serde_json::from_str::<Envelope<'_>>(text).map(|envelope| envelope.into_parts(text));
        parse(text).or_else(|error| match without_lone_surrogates(text) {
            // A key contains a lone surrogate. The replaced text has the same length, so the ranges are right for both.
            Cow::Owned(clean) => parse(&clean),
            Cow::Borrowed(_) => Err(error),
        })
    }
}

/// The kind of a head that was copied into a detached segment, see [`RolloutLine::as_copied_head`](crate::RolloutLine::as_copied_head).
pub(crate) const COPIED_HEAD: &str = "copied_session_meta";

/// Returns the kind of a line without an allocation, if it is a known one. A log can have millions of lines. The most
/// frequent kinds come first.
pub(crate) fn known_kind(kind: &str) -> Cow<'static, str> {
    if kind == COPIED_HEAD {
        return Cow::Borrowed("session_meta");
    }
    const KNOWN: [&str; 14] = [
        "response_item",
        "event_msg",
        "turn_context",
        "token_usage_record",
        "world_state",
        "compacted",
        "session_meta",
        "inter_agent_communication",
        "inter_agent_communication_metadata",
        "thread_metadata",
        "realtime_item",
        "retained_context",
        "dynamic_tools_updated",
        "security_risk_score",
    ];
    match KNOWN.iter().find(|known| **known == kind) {
        Some(known) => Cow::Borrowed(known),
        None => Cow::Owned(kind.to_owned()),
    }
}

/// The fields at the top level of a line, before its layout is known.
#[derive(Default)]
struct Envelope<'a> {
    timestamp: Option<Timestamp>,
    ordinal: Option<u64>,
    kind: Option<Cow<'a, str>>,
    /// The addresses of the payload's text in memory. It is part of the text that is parsed.
    payload: Option<Range<usize>>,
    /// Whether there is an `id`, as in a bare head.
    has_id: bool,
}

impl Envelope<'_> {
    /// Determines the layout and the parts. `text` is the text from which these fields were parsed.
    ///
    /// | payload | `type` | layout | kind |
    /// | --- | --- | --- | --- |
    /// | yes | any | envelope | `type`, or empty if it is missing |
    /// | no | one of a response item | bare | `response_item` |
    /// | no | another one | envelope without a payload | `type` |
    /// | no | missing; the line has `id` and `timestamp` | bare | `session_meta` |
    /// | no | missing | bare | empty: a line of state in the format before the envelope |
    fn into_parts(self, text: &str) -> LineParts {
        // The payload borrows from `text`. So the difference of the addresses is its offset, and no search is needed.
        let base = text.as_ptr().addr();
        let kind = self.kind.as_deref();
        // The layout follows from the fields that exist, so a line that lost a field can still be read.
        let (format, kind, payload) = match (self.payload, kind) {
            (Some(payload), kind) => {
                (LineFormat::Envelope, known_kind(kind.unwrap_or_default()), payload.start - base..payload.end - base)
            }
            (None, Some(kind)) if is_bare_response_item(kind) => {
                (LineFormat::Bare, known_kind("response_item"), 0..text.len())
            }
            (None, None) if self.has_id && self.timestamp.is_some() => {
                (LineFormat::Bare, known_kind("session_meta"), 0..text.len())
            }
            (None, Some(kind)) => (LineFormat::Envelope, known_kind(kind), 0..0),
            (None, None) => (LineFormat::Bare, known_kind(""), 0..text.len()),
        };
        LineParts { format, timestamp: self.timestamp, ordinal: self.ordinal, kind, payload }
    }
}

/// Returns whether a kind is one of the response items that the programs of mid 2025 wrote without an envelope.
fn is_bare_response_item(kind: &str) -> bool {
    matches!(
        kind,
        "message"
            | "reasoning"
            | "function_call"
            | "function_call_output"
            | "local_shell_call"
            | "custom_tool_call"
            | "custom_tool_call_output"
            | "web_search_call"
    )
}

impl<'de: 'a, 'a> Deserialize<'de> for Envelope<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EnvelopeVisitor)
    }
}

/// Reads the top level of a line in one pass. A derived `Deserialize` would fail for a field of an unexpected shape,
/// and for a key that occurs twice.
struct EnvelopeVisitor;

impl<'de> Visitor<'de> for EnvelopeVisitor {
    type Value = Envelope<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut envelope = Envelope::default();
        while let Some(Text(key)) = map.next_key::<Text<'de>>()? {
            match &*key {
                // A key that occurs twice has its last value, as in most JSON parsers.
                "timestamp" => envelope.timestamp = parse_raw(map.next_value()?),
                "ordinal" => envelope.ordinal = parse_raw(map.next_value()?),
                "type" => envelope.kind = parse_kind(map.next_value()?),
                "payload" => {
                    // A raw value is checked to be JSON but not parsed into a tree.
                    let payload: &'de RawValue = map.next_value()?;
                    let start = payload.get().as_ptr().addr();
                    envelope.payload = Some(start..start + payload.get().len());
                }
                key => {
                    envelope.has_id |= key == "id";
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(envelope)
    }
}

/// Parses a field of the envelope. A field of an unexpected shape counts as missing; it remains in the text.
fn parse_raw<'de, T: Deserialize<'de>>(value: &'de RawValue) -> Option<T> {
    serde_json::from_str(value.get()).ok()
}

/// Parses the kind of a line.
fn parse_kind(value: &RawValue) -> Option<Cow<'_, str>> {
    let kind = parse_raw(value).map(|Text(kind)| kind);
    kind.or_else(|| serde_json::from_str(&without_lone_surrogates(value.get())).ok().map(Cow::Owned))
}

/// A string that is borrowed from the line, unless it contains escapes.
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            // A string without escapes is a part of the line and is borrowed. One with escapes is decoded into a
            // temporary, which has to be copied.
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}
