//! One line of a log, kept as it was written.
//!
//! ```text
//! {"timestamp":"2026-11-21T09:08:56.705Z","ordinal":7,"type":"event_msg","payload":{"type":"task_started"},"metadata":{}}
//!              └ timestamp                          └ ordinal└ kind                └ payload               └ extra
//! ```
//!
//! Parsing a line finds these parts and nothing more: time, ordinal and kind are read, the payload is only located. A
//! reader that skips most lines therefore never builds their items. See
//! `docs/decisions/0002-lines-keep-their-bytes.md`.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde_json::value::RawValue;

use crate::line_parts::{COPIED_HEAD, LineFormat, LineParts, known_kind};
use crate::lone_surrogates::without_lone_surrogates;
use crate::open_object::{Extra, RawFields};
use crate::{RolloutItem, Timestamp};

/// The kind of a head, as JSON text.
const HEAD: &str = "\"session_meta\"";

/// The text is not a line of a log, because it is not a JSON object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a JSON object: {reason}")]
#[non_exhaustive]
pub struct LineError {
    /// The message of the JSON parser.
    pub reason: String,
}

/// One line of a log: its text, and the locations of the parts in it.
///
/// The text is never rewritten: [`RolloutLine::text`] returns what was read, byte by byte. [`RolloutLine::item`] parses
/// the typed view again at every call. A clone shares the text.
#[derive(Clone, PartialEq)]
pub struct RolloutLine {
    text: Arc<str>,
    parts: LineParts,
}

impl RolloutLine {
    /// Parses a line. White space around the text is removed.
    ///
    /// An object of any shape is a line; what this version does not understand is kept.
    ///
    /// # Errors
    /// [`LineError`] if the text is not exactly one JSON object.
    pub fn parse(text: &str) -> Result<Self, LineError> {
        let text = text.trim_matches([' ', '\t', '\r', '\n']);
        let parts = LineParts::find(text).map_err(|error| LineError { reason: error.to_string() })?;
        Ok(Self { text: Arc::from(text), parts })
    }

    /// Creates a new line. `ordinal` is its number in the history of a paginated thread, and `None` in a legacy one.
    #[must_use]
    pub fn new(timestamp: Timestamp, ordinal: Option<u64>, item: &RolloutItem) -> Self {
        let mut text = Vec::with_capacity(256);
        let payload = encode(&mut text, timestamp, ordinal, item);
        let text = String::from_utf8(text).unwrap_or_default();
        let format = LineFormat::Envelope;
        let parts = LineParts { format, timestamp: Some(timestamp), ordinal, kind: known_kind(item.kind()), payload };
        Self { text: Arc::from(text.trim_end_matches('\n')), parts }
    }

    /// Appends the text of a new line with this item to `out`, with its newline. This is [`Self::new`] without the line
    /// object.
    pub fn encode(out: &mut Vec<u8>, timestamp: Timestamp, ordinal: Option<u64>, item: &RolloutItem) {
        encode(out, timestamp, ordinal, item);
    }

    /// Returns the text of the line, without its newline.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the layout of the line.
    #[must_use]
    pub fn format(&self) -> LineFormat {
        self.parts.format
    }

    /// Returns the time at which the line was written. `None` if the line has none or it cannot be read.
    #[must_use]
    pub fn timestamp(&self) -> Option<Timestamp> {
        self.parts.timestamp
    }

    /// Returns the ordinal: the number of the line in the history of a paginated thread, counted from 0. `None` on
    /// legacy lines.
    #[must_use]
    pub fn ordinal(&self) -> Option<u64> {
        self.parts.ordinal
    }

    /// Returns the kind of the item, as the line spells it, with two exceptions. A bare line has the kind that its
    /// payload has in an envelope. A copied head ([`Self::as_copied_head`]) has the kind `session_meta`.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.parts.kind
    }

    /// Returns the text of a `session_meta` line as a detached segment contains it: the same text with the kind
    /// `copied_session_meta`.
    ///
    /// A detached segment contains copies of whole segments, heads included. Codex reads a paginated file from its end
    /// and takes any `session_meta` line for the beginning, so it would miss everything before a copied head. It skips
    /// a kind that it does not know.
    #[must_use]
    pub fn as_copied_head(&self) -> String {
        let (before, rest) = self.text.split_at(self.parts.payload.start);
        let (payload, after) = rest.split_at(self.parts.payload.len());
        // The payload can contain the text `"session_meta"` as well. So only the text before or after it is replaced.
        let copied = format!("\"{COPIED_HEAD}\"");
        if before.contains(HEAD) {
            return format!("{}{rest}", before.replacen(HEAD, &copied, 1));
        }
        format!("{before}{payload}{}", after.replacen(HEAD, &copied, 1))
    }

    /// Returns the JSON text of the payload, as the line spells it. `null` if the line has none.
    ///
    /// A parser that needs the strings in it must be able to read lone surrogate escapes ([`without_lone_surrogates`]).
    #[must_use]
    pub fn payload(&self) -> &str {
        if self.parts.payload.is_empty() { "null" } else { &self.text[self.parts.payload.clone()] }
    }

    /// Parses the item of the line. Each call parses it again.
    ///
    /// U+FFFD replaces each lone surrogate escape; the text of the line keeps it ([`without_lone_surrogates`]).
    #[must_use]
    pub fn item(&self) -> RolloutItem {
        match serde_json::from_str::<&RawValue>(self.payload()) {
            Ok(payload) => RolloutItem::from_json(&self.parts.kind, payload),
            // Cannot happen: the payload was a JSON value when the line was parsed.
            Err(_) => RolloutItem::from_json(&self.parts.kind, RawValue::NULL),
        }
    }

    /// Returns the fields beside the payload that the envelope does not name, such as `metadata`. A bare line has none.
    #[must_use]
    pub fn extra(&self) -> Extra {
        let mut extra = Extra::default();
        // The fields are found by parsing the line once more: callers rarely need them, and keeping their ranges would
        // make every line larger.
        if self.parts.format == LineFormat::Envelope
            && let Ok(fields) = serde_json::from_str::<RawFields>(&self.text)
                .or_else(|_| serde_json::from_str::<RawFields>(&without_lone_surrogates(&self.text)))
        {
            for (key, value) in fields.0 {
                if !matches!(key.as_str(), "timestamp" | "ordinal" | "type" | "payload") {
                    extra.push(key, value);
                }
            }
        }
        extra
    }

    /// Returns a line with another item and the same time, ordinal and unknown fields.
    #[must_use]
    pub fn with_item(&self, item: &RolloutItem) -> Self {
        // `new` writes an envelope without unknown fields. They are added to its text, because they have to keep their
        // spelling.
        let extra = self.extra();
        let timestamp = self.parts.timestamp.unwrap_or_default();
        let mut line = Self::new(timestamp, self.parts.ordinal, item);
        if !extra.is_empty() {
            // The unknown fields are written after the payload, before the closing brace of the envelope.
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

/// Appends a line to `out` and returns the range of its payload in `out`.
fn encode(out: &mut Vec<u8>, timestamp: Timestamp, ordinal: Option<u64>, item: &RolloutItem) -> Range<usize> {
    use std::io::Write as _;
    // The envelope is written by hand, because its keys have a fixed order and the payload is often JSON text already.
    // Errors can be ignored: writing to memory does not fail, and all items can be written as JSON.
    let _ = match ordinal {
        Some(ordinal) => write!(out, r#"{{"timestamp":"{timestamp}","ordinal":{ordinal},"type":"#),
        None => write!(out, r#"{{"timestamp":"{timestamp}","type":"#),
    };
    let _ = serde_json::to_writer(&mut *out, item.kind());
    out.extend_from_slice(br#","payload":"#);
    let start = out.len();
    let _ = item.write_payload(&mut *out);
    let end = out.len();
    // A payload that came from elsewhere as JSON text can contain newlines, but only between its tokens: in a JSON
    // string a newline is escaped. A space between tokens means the same.
    if memchr::memchr2(b'\n', b'\r', &out[start..]).is_some() {
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
