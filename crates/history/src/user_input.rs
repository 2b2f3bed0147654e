//! The input of the user, from either of the two events that contain it, or from a message of role `user`.

use selvedge_protocol::{CompletedItem, ResponseItem, UserMessageEvent};
use serde_json::Value;

use crate::context_fragments::{without_known_fragments, without_leading_fragments};
use crate::payload_fields;

/// One input of the user: text, images and other parts.
#[derive(Debug, Default)]
pub(crate) struct UserInput {
    pub(crate) text: String,
    pub(crate) images: Vec<Value>,
    /// The parts that are neither text nor image.
    pub(crate) attachments: Vec<Value>,
    /// Whether it comes from an item of the model.
    is_of_model: bool,
}

impl UserInput {
    /// Reads a `user_message` event (legacy mode).
    pub(crate) fn from_event(event: &UserMessageEvent) -> Self {
        let images = event.images.iter().chain(&event.local_images).flatten().cloned().collect();
        Self { text: event.message.clone().unwrap_or_default(), images, ..Self::default() }
    }

    /// Reads a completed `UserMessage` (paginated mode).
    pub(crate) fn from_item(item: &CompletedItem) -> Self {
        let item: Value = serde_json::from_str(item.json().get()).unwrap_or_default();
        Self::from_content(&item["content"])
    }

    /// Reads a message of role `user`.
    pub(crate) fn from_response(item: &ResponseItem) -> Self {
        let item: Value = payload_fields::parse(item.json().get()).unwrap_or_default();
        let input = match &item["content"] {
            Value::String(text) => Self { text: text.clone(), ..Self::default() },
            Value::Array(parts) => Self::from_parts(&typed_parts(parts)),
            _ => Self::default(),
        };
        Self { is_of_model: true, ..input }
    }

    /// Reads the content of a completed `UserMessage`: its texts, every part of a kind that names an image, and the other parts.
    pub(crate) fn from_content(content: &Value) -> Self {
        Self::from_parts(&content.as_array().into_iter().flatten().collect::<Vec<_>>())
    }

    fn from_parts(parts: &[&Value]) -> Self {
        let mut input = Self::default();
        for part in parts {
            // There are several kinds of images, for example `image` and `local_image`.
            if let Some(text) = part["text"].as_str() {
                input.text.push_str(text);
            } else if is_image(part) {
                input.images.push((*part).clone());
            } else {
                input.attachments.push((*part).clone());
            }
        }
        input
    }

    /// Returns the text that a listing shows for this input: the words of the user, or a placeholder if there are only other parts.
    /// `None` if the input is empty.
    pub(crate) fn summary(&self) -> Option<String> {
        // Events contain what the user wrote. In an item of the model, unknown fragments may stand before it.
        let text =
            if self.is_of_model { without_leading_fragments(&self.text) } else { without_known_fragments(&self.text) };
        match typed_text(text) {
            "" if !self.images.is_empty() => Some("[Image]".to_owned()),
            "" if !self.attachments.is_empty() => Some("[Attachment]".to_owned()),
            "" => None,
            text => Some(text.to_owned()),
        }
    }
}

fn is_image(part: &Value) -> bool {
    part["type"].as_str().is_some_and(|kind| kind.to_ascii_lowercase().contains("image"))
}

/// Returns the parts of a message to the model without the tags that the program puts directly before and after an image, to tell the
/// model its name.
fn typed_parts(parts: &[Value]) -> Vec<&Value> {
    let is_at = |index: Option<usize>| index.and_then(|index| parts.get(index)).is_some_and(is_image);
    let is_tag = |index: usize, part: &Value| {
        let text = part["text"].as_str().unwrap_or_default().trim();
        let begins = text == "<image>" || (text.starts_with("<image ") && text.ends_with('>') && !text.contains('\n'));
        (begins && is_at(Some(index + 1))) || (text == "</image>" && is_at(index.checked_sub(1)))
    };
    parts.iter().enumerate().filter(|(index, part)| !is_tag(*index, part)).map(|(_, part)| part).collect()
}

/// Returns the words of the user, without the context that an editor puts before them.
pub(crate) fn typed_text(text: &str) -> &str {
    const REQUEST: &str = "## My request for Codex:";
    text.find(REQUEST).map_or(text, |offset| &text[offset + REQUEST.len()..]).trim()
}
