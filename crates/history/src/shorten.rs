//! Texts that are too long: the head and the tail are kept.

use std::borrow::Cow;

use selvedge_protocol::{ResponseItem, ResponseItemKind};
use serde_json::Value;

/// `text` in at most `limit` bytes of its own, plus a word on what is missing in the middle.
pub(crate) fn shorten(text: &str, limit: usize) -> Cow<'_, str> {
    if text.len() <= limit {
        return Cow::Borrowed(text);
    }
    let head = &text[..floor_char_boundary(text, limit / 2)];
    let tail = &text[ceil_char_boundary(text, text.len() - (limit - limit / 2))..];
    let left_out = text.len() - head.len() - tail.len();
    Cow::Owned(format!("{head}…{left_out} bytes left out…{tail}"))
}

/// The item with what a tool answered in at most `limit` bytes a text; any other item as it is.
pub(crate) fn shorten_output(item: &ResponseItem, limit: usize) -> ResponseItem {
    if !is_output(item.kind()) || item.json().get().len() <= limit {
        return item.clone();
    }
    let Ok(mut value) = serde_json::from_str::<Value>(item.json().get()) else {
        return item.clone();
    };
    if let Some(output) = value.get_mut("output") {
        shorten_texts(output, limit);
    }
    ResponseItem::from_value(&value).unwrap_or_else(|| item.clone())
}

const fn is_output(kind: &ResponseItemKind) -> bool {
    matches!(kind, ResponseItemKind::FunctionCallOutput | ResponseItemKind::CustomToolCallOutput)
}

/// An output is a text, an object around one, or a list of parts. Images in it are left alone: half an image is none.
fn shorten_texts(output: &mut Value, limit: usize) {
    match output {
        Value::String(text) if text.len() > limit => *text = shorten(text, limit).into_owned(),
        Value::Array(parts) => parts.iter_mut().for_each(|part| shorten_texts(part, limit)),
        Value::Object(fields) => {
            for name in ["text", "content", "body"] {
                if let Some(field) = fields.get_mut(name) {
                    shorten_texts(field, limit);
                }
            }
        }
        _ => {}
    }
}

fn floor_char_boundary(text: &str, at: usize) -> usize {
    (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

fn ceil_char_boundary(text: &str, at: usize) -> usize {
    (at..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len())
}
