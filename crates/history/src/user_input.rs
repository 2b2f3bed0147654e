//! What the user typed and attached, from either of the two events that tell it.

use selvedge_protocol::{CompletedItem, UserMessageEvent};
use serde_json::Value;

/// One input of the user.
#[derive(Debug, Default)]
pub(crate) struct UserInput {
    pub(crate) text: String,
    pub(crate) images: Vec<Value>,
}

impl UserInput {
    /// From a `user_message` event (legacy mode).
    pub(crate) fn from_event(event: &UserMessageEvent) -> Self {
        let images = event.images.iter().chain(&event.local_images).flatten().cloned().collect();
        Self { text: event.message.clone().unwrap_or_default(), images }
    }

    /// From a completed `UserMessage` (paginated mode).
    pub(crate) fn from_item(item: &CompletedItem) -> Self {
        let item: Value = serde_json::from_str(item.json().get()).unwrap_or_default();
        Self::from_content(&item["content"])
    }

    /// From the content of a completed `UserMessage`: its texts, and whatever names an image.
    pub(crate) fn from_content(content: &Value) -> Self {
        let mut input = Self::default();
        for part in content.as_array().into_iter().flatten() {
            if let Some(text) = part["text"].as_str() {
                input.text.push_str(text);
            } else if part["type"].as_str().is_some_and(|kind| kind.to_ascii_lowercase().contains("image")) {
                input.images.push(part.clone());
            }
        }
        input
    }

    /// What a listing shows of the input: the words that the user typed, or that there was an image. Nothing for an empty
    /// input.
    pub(crate) fn summary(&self) -> Option<String> {
        match typed_text(&self.text) {
            "" if self.images.is_empty() => None,
            "" => Some("[Image]".to_owned()),
            text => Some(text.to_owned()),
        }
    }
}

/// The text without the surroundings that an editor puts before it.
pub(crate) fn typed_text(text: &str) -> &str {
    const REQUEST: &str = "## My request for Codex:";
    text.find(REQUEST).map_or(text, |at| &text[at + REQUEST.len()..]).trim()
}
