//! What the user and the agent say in a turn.

use selvedge_protocol::{ItemContent, ResponseItem};
use serde_json::{Value, json};

/// A message of the user: a text, and images.
///
/// ```
/// use selvedge_thread_manager::Prompt;
///
/// let prompt = Prompt::from("what is in this picture?").image("https://example.com/loom.png");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Prompt {
    text: String,
    images: Vec<String>,
    client_id: Option<String>,
}

impl Prompt {
    /// Adds an image, as a URL. A `data:` URL contains the image itself.
    #[must_use]
    pub fn image(mut self, url: impl Into<String>) -> Self {
        self.images.push(url.into());
        self
    }

    /// Sets the id that the client gave to the message.
    #[must_use]
    pub fn client_id(mut self, id: impl Into<String>) -> Self {
        self.client_id = Some(id.into());
        self
    }

    pub(crate) fn content(&self) -> ItemContent {
        let image = |url: &String| json!({"type": "image", "image_url": url});
        ItemContent::UserMessage {
            text: self.text.clone(),
            images: self.images.iter().map(image).collect(),
            attachments: Vec::new(),
            client_id: self.client_id.clone(),
        }
    }

    pub(crate) fn response_item(&self) -> ResponseItem {
        if self.images.is_empty() {
            return ResponseItem::user_text(&self.text);
        }
        let text = (!self.text.is_empty()).then(|| json!({"type": "input_text", "text": self.text}));
        let images = self.images.iter().map(|url| json!({"type": "input_image", "image_url": url}));
        let content: Vec<Value> = text.into_iter().chain(images).collect();
        let message = json!({"type": "message", "role": "user", "content": content});
        ResponseItem::from_value(&message).unwrap_or_else(|| ResponseItem::user_text(&self.text))
    }
}

impl<T: Into<String>> From<T> for Prompt {
    fn from(text: T) -> Self {
        Self { text: text.into(), ..Self::default() }
    }
}

/// A message of the agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct AgentText {
    pub(crate) text: String,
    pub(crate) id: Option<String>,
    phase: Option<String>,
}

impl AgentText {
    /// Sets the id that the provider of the model gave to the message.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Sets the phase of the answer to which the message belongs, such as `commentary` or `final_answer`.
    #[must_use]
    pub fn phase(mut self, phase: impl Into<String>) -> Self {
        self.phase = Some(phase.into());
        self
    }

    pub(crate) fn content(&self) -> ItemContent {
        ItemContent::AgentMessage { text: self.text.clone(), phase: self.phase.clone(), memory_citation: None }
    }

    pub(crate) fn response_item(&self, id: &str) -> ResponseItem {
        ResponseItem::assistant_message(id, &self.text, self.phase.as_deref())
    }
}

impl<T: Into<String>> From<T> for AgentText {
    fn from(text: T) -> Self {
        Self { text: text.into(), ..Self::default() }
    }
}
