//! Truncates long texts in the middle as Codex does: the beginning and the end are kept, with a note between them.

use std::fmt;
use std::str::FromStr;

use selvedge_protocol::{ResponseItem, ResponseItemKind};
use serde_json::{Value, json};

/// How many bytes count as a token. Codex estimates tokens in this way, too.
const BYTES_PER_TOKEN: usize = 4;

/// How much of a tool's output the model gets, as the description of a model in Codex says it.
///
/// Codex 0.169 and 0.171 use 10,000 tokens for every model that they know, and 10,000 bytes for all others. They add a fifth to
/// the limit when they read a thread. A list of parts shares one limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputLimit {
    /// A number of bytes.
    Bytes(usize),
    /// A number of tokens, of four bytes each.
    Tokens(usize),
}

/// A text is no limit of outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidOutputLimit;

impl fmt::Display for InvalidOutputLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected `tokens=NUMBER` or `bytes=NUMBER`")
    }
}

impl std::error::Error for InvalidOutputLimit {}

/// A text that was truncated: its beginning, the note, and its end.
pub(crate) type TruncatedText = [String; 3];

impl OutputLimit {
    /// Returns the limit with the fifth that is added.
    fn with_allowance(self) -> Self {
        let add = |limit: usize| limit.saturating_add(limit.div_ceil(5));
        match self {
            Self::Bytes(limit) => Self::Bytes(add(limit)),
            Self::Tokens(limit) => Self::Tokens(add(limit)),
        }
    }

    /// Returns what is left of the limit after `text`. `None` if the text is longer than the limit.
    fn after(self, text: &str) -> Option<Self> {
        Some(match self {
            Self::Bytes(left) => Self::Bytes(left.checked_sub(text.len())?),
            Self::Tokens(left) => Self::Tokens(left.checked_sub(text.len().div_ceil(BYTES_PER_TOKEN))?),
        })
    }

    const fn is_used_up(self) -> bool {
        matches!(self, Self::Bytes(0) | Self::Tokens(0))
    }

    /// Truncates a text that is longer than the limit.
    pub(crate) fn truncate(self, text: &str) -> Option<TruncatedText> {
        let limit = match self {
            Self::Bytes(limit) => limit,
            Self::Tokens(limit) => limit.saturating_mul(BYTES_PER_TOKEN),
        };
        let excess = text.len().checked_sub(limit).filter(|excess| *excess > 0)?;
        let head = &text[..floor_char_boundary(text, limit / 2)];
        let tail_start = ceil_char_boundary(text, text.len() - (limit - limit / 2));
        let note = match self {
            Self::Bytes(_) => format!("…{} chars truncated…", text[head.len()..tail_start].chars().count()),
            Self::Tokens(_) => format!("…{} tokens truncated…", excess.div_ceil(BYTES_PER_TOKEN)),
        };
        Some([head.to_owned(), note, text[tail_start..].to_owned()])
    }
}

impl fmt::Display for OutputLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(limit) => write!(f, "bytes={limit}"),
            Self::Tokens(limit) => write!(f, "tokens={limit}"),
        }
    }
}

impl FromStr for OutputLimit {
    type Err = InvalidOutputLimit;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (unit, number) = text.split_once('=').ok_or(InvalidOutputLimit)?;
        let number = number.parse().map_err(|_| InvalidOutputLimit)?;
        match unit {
            "bytes" => Ok(Self::Bytes(number)),
            "tokens" => Ok(Self::Tokens(number)),
            _ => Err(InvalidOutputLimit),
        }
    }
}

/// Returns the item, with the texts of a tool output truncated. Other items are returned as they are.
pub(crate) fn truncate_output(item: ResponseItem, limit: OutputLimit) -> ResponseItem {
    if !is_output(item.kind()) {
        return item;
    }
    let Ok(mut value) = serde_json::from_str::<Value>(item.json().get()) else {
        return item;
    };
    let is_changed = value.get_mut("output").is_some_and(|output| truncate_value(output, limit.with_allowance()));
    if is_changed { ResponseItem::from_value(&value).unwrap_or(item) } else { item }
}

const fn is_output(kind: &ResponseItemKind) -> bool {
    matches!(kind, ResponseItemKind::FunctionCallOutput | ResponseItemKind::CustomToolCallOutput)
}

/// Truncates an output: a text, a list of parts, or an object with a text. Returns whether it has changed.
fn truncate_value(output: &mut Value, limit: OutputLimit) -> bool {
    match output {
        Value::String(text) => match limit.truncate(text) {
            Some(truncated) => {
                *text = truncated.concat();
                true
            }
            None => false,
        },
        Value::Array(parts) => truncate_parts(parts, limit),
        Value::Object(fields) => {
            let texts = ["text", "content", "body"];
            let fields = fields.iter_mut().filter(|(name, _)| texts.contains(&name.as_str()));
            fields.fold(false, |is_changed, (_, field)| truncate_value(field, limit) || is_changed)
        }
        _ => false,
    }
}

/// Truncates a list of parts, which share the limit. Parts without a text, such as images, are kept. Empty texts are left out.
fn truncate_parts(parts: &mut Vec<Value>, mut left: OutputLimit) -> bool {
    let mut is_changed = false;
    let mut omitted = 0;
    parts.retain_mut(|part| {
        let Some(Value::String(text)) = part.get_mut("text") else { return true };
        if text.is_empty() || left.is_used_up() {
            omitted += usize::from(!text.is_empty());
            is_changed = true;
            return false;
        }
        match left.after(text) {
            Some(rest) => left = rest,
            None => {
                if let Some(truncated) = left.truncate(text) {
                    *text = truncated.concat();
                }
                left = OutputLimit::Bytes(0);
                is_changed = true;
            }
        }
        true
    });
    if omitted > 0 {
        parts.push(json!({"type": "input_text", "text": format!("[omitted {omitted} text items ...]")}));
    }
    is_changed
}

fn floor_char_boundary(text: &str, offset: usize) -> usize {
    (0..=offset).rev().find(|offset| text.is_char_boundary(*offset)).unwrap_or(0)
}

fn ceil_char_boundary(text: &str, offset: usize) -> usize {
    (offset..text.len()).find(|offset| text.is_char_boundary(*offset)).unwrap_or(text.len())
}
