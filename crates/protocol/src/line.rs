//! One line of a log, as it was written.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::open::Extra;
use crate::{RolloutItem, Timestamp};

/// Why a text is no line of a log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a JSON object: {reason}")]
pub struct LineError {
    /// What the JSON parser says.
    pub reason: String,
}

/// How a line is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineFormat {
    /// `{"timestamp", "type", "payload", …}`: every line since September 2025.
    Envelope,
    /// The payload alone, as programs wrote it before.
    Bare,
}

/// One line of a log: its text, and where in it the parts are.
///
/// The text is never rewritten: [`RolloutLine::text`] gives what was read, to the byte. [`RolloutLine::item`] parses
/// the typed view anew each time it is asked for. A clone shares the text.
#[derive(Clone, PartialEq)]
pub struct RolloutLine {
    text: Arc<str>,
    format: LineFormat,
    timestamp: Option<Timestamp>,
    ordinal: Option<u64>,
    kind: Cow<'static, str>,
    payload: Range<usize>,
}

impl RolloutLine {
    /// The line that this text is. White space around it is dropped.
    ///
    /// # Errors
    /// [`LineError`] when the text is not one JSON object. An object of any shape is a line: what is not understood is
    /// carried along.
    pub fn parse(text: &str) -> Result<Self, LineError> {
        let text = text.trim_matches([' ', '\t', '\r', '\n']);
        let envelope: Envelope<'_> =
            serde_json::from_str(text).map_err(|error| LineError { reason: error.to_string() })?;
        Ok(envelope.into_line(text))
    }

    /// A new line.
    #[must_use]
    pub fn new(timestamp: Timestamp, ordinal: Option<u64>, item: &RolloutItem) -> Self {
        let mut text = Vec::with_capacity(256);
        let payload = encode(&mut text, timestamp, ordinal, item);
        let text = String::from_utf8(text).unwrap_or_default();
        Self {
            text: Arc::from(text.trim_end_matches('\n')),
            format: LineFormat::Envelope,
            timestamp: Some(timestamp),
            ordinal,
            kind: known_kind(item.kind()),
            payload,
        }
    }

    /// Writes the line that says `item` to `out`, with its newline.
    pub fn encode(out: &mut Vec<u8>, timestamp: Timestamp, ordinal: Option<u64>, item: &RolloutItem) {
        encode(out, timestamp, ordinal, item);
    }

    /// The line's text, without its newline.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// How the line is laid out.
    #[must_use]
    pub fn format(&self) -> LineFormat {
        self.format
    }

    /// When the line was written.
    #[must_use]
    pub fn timestamp(&self) -> Option<Timestamp> {
        self.timestamp
    }

    /// The line's number in its thread (paginated mode).
    #[must_use]
    pub fn ordinal(&self) -> Option<u64> {
        self.ordinal
    }

    /// The item's kind, as the line spells it. For bare lines, what it would be spelt as today; for copied heads
    /// ([`Self::as_copied_head`]), `session_meta`.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The text of a `session_meta` line as it stands within a paginated file, where lines were copied that begin with it:
    /// the same but for the spelling of its kind, `copied_session_meta`. Codex reads such a file from its end and takes any
    /// line that it knows as a `session_meta` for the beginning.
    #[must_use]
    pub fn as_copied_head(&self) -> String {
        let (before, rest) = self.text.split_at(self.payload.start);
        let (payload, after) = rest.split_at(self.payload.len());
        let copied = format!("\"{COPIED_HEAD}\"");
        if before.contains(HEAD) {
            return format!("{}{rest}", before.replacen(HEAD, &copied, 1));
        }
        format!("{before}{payload}{}", after.replacen(HEAD, &copied, 1))
    }

    /// The payload's JSON text; `null` for a line that has none.
    #[must_use]
    pub fn payload(&self) -> &str {
        if self.payload.is_empty() { "null" } else { &self.text[self.payload.clone()] }
    }

    /// What the line says. Parsed at every call.
    #[must_use]
    pub fn item(&self) -> RolloutItem {
        match serde_json::from_str::<&RawValue>(self.payload()) {
            Ok(payload) => RolloutItem::from_json(&self.kind, payload),
            // The payload was a JSON value when the line was parsed.
            Err(_) => RolloutItem::from_json(&self.kind, RawValue::NULL),
        }
    }

    /// The keys that stand beside the payload and that the envelope does not name, such as `metadata`.
    #[must_use]
    pub fn extra(&self) -> Extra {
        let mut extra = Extra::default();
        if self.format == LineFormat::Envelope
            && let Ok(fields) = serde_json::from_str::<crate::open::RawFields>(&self.text)
        {
            for (key, value) in fields.0 {
                if !matches!(key.as_str(), "timestamp" | "ordinal" | "type" | "payload") {
                    extra.push(key, value);
                }
            }
        }
        extra
    }

    /// The line with another item: same time, same ordinal, same unknown keys.
    #[must_use]
    pub fn with_item(&self, item: &RolloutItem) -> Self {
        let extra = self.extra();
        let timestamp = self.timestamp.unwrap_or_default();
        let mut line = Self::new(timestamp, self.ordinal, item);
        if !extra.is_empty() {
            let mut text = line.text[..line.text.len() - 1].to_owned();
            for (key, value) in extra.iter() {
                text.push(',');
                text.push_str(&serde_json::to_string(key).unwrap_or_default());
                text.push(':');
                text.push_str(value.get());
            }
            text.push('}');
            line.text = Arc::from(text);
        }
        line
    }
}

/// Writes a line to `out` and says where in `out` its payload stands.
fn encode(out: &mut Vec<u8>, timestamp: Timestamp, ordinal: Option<u64>, item: &RolloutItem) -> Range<usize> {
    use std::io::Write as _;
    // Writing to memory does not fail, and the types of this crate are all JSON.
    let _ = match ordinal {
        Some(ordinal) => write!(out, r#"{{"timestamp":"{timestamp}","ordinal":{ordinal},"type":"#),
        None => write!(out, r#"{{"timestamp":"{timestamp}","type":"#),
    };
    let _ = serde_json::to_writer(&mut *out, item.kind());
    out.extend_from_slice(br#","payload":"#);
    let start = out.len();
    let _ = item.write_payload(&mut *out);
    let end = out.len();
    // JSON text that came from elsewhere may be spread over lines. In its strings there are no raw newlines, and between
    // its tokens a space means the same.
    if out[start..].contains(&b'\n') || out[start..].contains(&b'\r') {
        out[start..].iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
    }
    out.extend_from_slice(b"}\n");
    start..end
}

impl fmt::Debug for RolloutLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RolloutLine").field(&self.text).finish()
    }
}

/// How the head of an inherited segment is spelt where its lines were copied into another file, see
/// [`RolloutLine::as_copied_head`].
const COPIED_HEAD: &str = "copied_session_meta";
const HEAD: &str = "\"session_meta\"";

/// The known kinds need no allocation of their own; a log holds millions of them.
fn known_kind(kind: &str) -> Cow<'static, str> {
    if kind == COPIED_HEAD {
        return Cow::Borrowed("session_meta");
    }
    const KNOWN: [&str; 9] = [
        "response_item",
        "event_msg",
        "turn_context",
        "token_usage_record",
        "world_state",
        "compacted",
        "session_meta",
        "inter_agent_communication",
        "thread_metadata",
    ];
    match KNOWN.iter().find(|known| **known == kind) {
        Some(known) => Cow::Borrowed(known),
        None => Cow::Owned(kind.to_owned()),
    }
}

/// The top level of a line, before it is known which of the two layouts it has.
#[derive(Default)]
struct Envelope<'a> {
    timestamp: Option<Timestamp>,
    ordinal: Option<u64>,
    kind: Option<Cow<'a, str>>,
    /// Where the payload's text is in memory.
    payload: Option<Range<usize>>,
    has_id: bool,
}

impl Envelope<'_> {
    /// The line of which this is the top level; `text` is what it was parsed from.
    fn into_line(self, text: &str) -> RolloutLine {
        let base = text.as_ptr().addr();
        let kind = self.kind.as_deref();
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
        RolloutLine { text: Arc::from(text), format, timestamp: self.timestamp, ordinal: self.ordinal, kind, payload }
    }
}

/// The items that the program of mid 2025 wrote without an envelope.
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
                "timestamp" => envelope.timestamp = parse_raw(map.next_value()?),
                "ordinal" => envelope.ordinal = parse_raw(map.next_value()?),
                "type" => envelope.kind = parse_raw(map.next_value()?).map(|Text(kind)| kind),
                "payload" => {
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

/// An envelope field of an odd shape counts as missing; it stays in the text.
fn parse_raw<'de, T: Deserialize<'de>>(value: &'de RawValue) -> Option<T> {
    serde_json::from_str(value.get()).ok()
}

/// A string that is borrowed from the line where it has no escapes.
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

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
