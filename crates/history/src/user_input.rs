//! The input of the user, from either of the two events that contain it.

use selvedge_protocol::{CompletedItem, ResponseItem, UserMessageEvent};
use serde_json::Value;

use crate::context_fragments::without_leading_fragments;
use crate::payload_fields;

/// One input of the user: text and images.
#[derive(Debug, Default)]
pub(crate) struct UserInput {
    pub(crate) text: String,
    pub(crate) images: Vec<Value>,
}

impl UserInput {
    /// Reads a `user_message` event (legacy mode).
    pub(crate) fn from_event(event: &UserMessageEvent) -> Self {
        let images = event.images.iter().chain(&event.local_images).flatten().cloned().collect();
        Self { text: event.message.clone().unwrap_or_default(), images }
    }

    /// Reads a completed `UserMessage` (paginated mode).
    pub(crate) fn from_item(item: &CompletedItem) -> Self {
        let item: Value = serde_json::from_str(item.json().get()).unwrap_or_default();
        Self::from_content(&item["content"])
    }

    /// Reads a message of role `user`.
    pub(crate) fn from_response(item: &ResponseItem) -> Self {
        let item: Value = payload_fields::parse(item.json().get()).unwrap_or_default();
        match &item["content"] {
            Value::String(text) => Self { text: text.clone(), images: Vec::new() },
            content => Self::from_parts(content, |text| !is_image_tag(text)),
        }
    }

    /// Reads the content of a completed `UserMessage`: its texts, and every part of a kind that names an image.
    pub(crate) fn from_content(content: &Value) -> Self {
        Self::from_parts(content, |_| true)
    }

    fn from_parts(content: &Value, is_typed: impl Fn(&str) -> bool) -> Self {
        let mut input = Self::default();
        for part in content.as_array().into_iter().flatten() {
            // There are several kinds of images, for example `image` and `local_image`.
            if let Some(text) = part["text"].as_str() {
                input.text.push_str(if is_typed(text) { text } else { "" });
            } else if part["type"].as_str().is_some_and(|kind| kind.to_ascii_lowercase().contains("image")) {
                input.images.push(part.clone());
            }
        }
        input
    }

    /// Returns the text that a listing shows for this input: the words of the user, or a placeholder if there are only images.
    /// `None` if the input is empty.
    pub(crate) fn summary(&self) -> Option<String> {
        match typed_text(&self.text) {
            "" if self.images.is_empty() => None,
            "" => Some("[Image]".to_owned()),
            text => Some(text.to_owned()),
        }
    }
}

/// Returns whether a part of a message is a tag that the program puts before or after an image, to tell the model its name.
fn is_image_tag(text: &str) -> bool {
    let text = text.trim();
    text == "</image>" || (text.starts_with("<image") && text.ends_with('>') && !text.contains('\n'))
}

/// Returns the words of the user, without the context that an editor or the program puts before them.
pub(crate) fn typed_text(text: &str) -> &str {
    const REQUEST: &str = "## My request for Codex:";
    let text = without_leading_fragments(text);
    text.find(REQUEST).map_or(text, |offset| &text[offset + REQUEST.len()..]).trim()
}
