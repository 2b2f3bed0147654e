//! Truncates long texts in the middle: the beginning and the end are kept.

use std::borrow::Cow;

use selvedge_protocol::{ResponseItem, ResponseItemKind};
use serde_json::Value;

/// Returns at most `limit` bytes of `text`, plus a note in the middle with the number of omitted bytes.
pub(crate) fn truncate_middle(text: &str, limit: usize) -> Cow<'_, str> {
    if text.len() <= limit {
        return Cow::Borrowed(text);
    }
    let head = &text[..floor_char_boundary(text, limit / 2)];
    let tail = &text[ceil_char_boundary(text, text.len() - (limit - limit / 2))..];
    let omitted = text.len() - head.len() - tail.len();
    Cow::Owned(format!("{head}…{omitted} bytes left out…{tail}"))
}

/// Returns the item, with each text of a tool output truncated to `limit` bytes. Other items are returned as they are.
pub(crate) fn truncate_output(item: &ResponseItem, limit: usize) -> ResponseItem {
    if !is_output(item.kind()) || item.json().get().len() <= limit {
        return item.clone();
    }
    let Ok(mut value) = serde_json::from_str::<Value>(item.json().get()) else {
        return item.clone();
    };
    if let Some(output) = value.get_mut("output") {
        truncate_texts(output, limit);
    }
    ResponseItem::from_value(&value).unwrap_or_else(|| item.clone())
}

const fn is_output(kind: &ResponseItemKind) -> bool {
    matches!(kind, ResponseItemKind::FunctionCallOutput | ResponseItemKind::CustomToolCallOutput)
}

fn truncate_texts(output: &mut Value, limit: usize) {
    // An output is a text, an object with a text, or a list of parts. Images are kept: half an image is useless.
    match output {
        Value::String(text) if text.len() > limit => *text = truncate_middle(text, limit).into_owned(),
        Value::Array(parts) => parts.iter_mut().for_each(|part| truncate_texts(part, limit)),
        Value::Object(fields) => {
            for name in ["text", "content", "body"] {
                if let Some(field) = fields.get_mut(name) {
                    truncate_texts(field, limit);
                }
            }
        }
        _ => {}
    }
}

fn floor_char_boundary(text: &str, offset: usize) -> usize {
    (0..=offset).rev().find(|offset| text.is_char_boundary(*offset)).unwrap_or(0)
}

fn ceil_char_boundary(text: &str, offset: usize) -> usize {
    (offset..text.len()).find(|offset| text.is_char_boundary(*offset)).unwrap_or(text.len())
}
