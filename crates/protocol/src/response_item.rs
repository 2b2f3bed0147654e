//! The items of the model's input and output, kept as the JSON that was exchanged.
//!
//! A program that resumes a thread sends these items to the model again. So they must be exactly what they were, and a
//! typed model of them is not needed: [`ResponseItem`] parses on request the few fields that a rule of this workspace
//! uses.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::lazy_json::LazyJson;
use crate::lone_surrogates::readable;
use crate::open_item::kind_of;

/// Declares [`ResponseItemKind`]: each kind with the text that is written, and the aliases that are also read.
macro_rules! response_item_kinds {
    ($( $(#[$meta:meta])* $name:ident = $text:literal $(| $alias:literal)* ),* $(,)?) => {
        /// The kind of a response item, which is the `type` of its JSON.
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ResponseItemKind {
            $( $(#[$meta])* $name, )*
            /// A kind that this version does not know.
            Other(String),
        }

        impl ResponseItemKind {
            /// Returns the kind as the log spells it.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $( Self::$name => $text, )*
                    Self::Other(kind) => kind,
                }
            }

            /// Returns the kind of a `type`.
            pub(crate) fn parse(kind: &str) -> Self {
                match kind {
                    $( $text $(| $alias)* => Self::$name, )*
                    other => Self::Other(other.to_owned()),
                }
            }
        }
    };
}

response_item_kinds! {
    /// A message with the role of the user, the assistant, the developer or the system.
    Message = "message",
    /// A message of another agent.
    AgentMessage = "agent_message",
    /// Reasoning of the model.
    Reasoning = "reasoning",
    /// A call of the built-in shell tool.
    LocalShellCall = "local_shell_call",
    /// A call of a function.
    FunctionCall = "function_call",
    /// The answer of a function.
    FunctionCallOutput = "function_call_output",
    /// A call of a free-form tool.
    CustomToolCall = "custom_tool_call",
    /// The answer of a free-form tool.
    CustomToolCallOutput = "custom_tool_call_output",
    /// A search for tools.
    ToolSearchCall = "tool_search_call",
    /// The tools that a search found.
    ToolSearchOutput = "tool_search_output",
    /// A web search.
    WebSearchCall = "web_search_call",
    /// A generated image.
    ImageGenerationCall = "image_generation_call",
    /// A compaction that the model's provider made.
    Compaction = "compaction" | "compaction_summary",
    /// A compaction of the context.
    ContextCompaction = "context_compaction",
    /// A change of the model's settings, such as the reasoning effort, from here on.
    ConfigurationUpdate = "configuration_update",
    /// A snapshot of the working tree, in files of late 2025. The model does not see it.
    GhostSnapshot = "ghost_snapshot",
    /// Tools that were added for one request. They are not kept in the log.
    AdditionalTools = "additional_tools",
    /// A request to compact the context. It is not kept in the log.
    CompactionTrigger = "compaction_trigger",
}

/// One item of the model's input or output: its JSON text, or a message of which the text is made when it is needed.
///
/// A clone shares the text. Two items are equal if their texts are.
#[derive(Clone)]
pub struct ResponseItem {
    kind: ResponseItemKind,
    json: Arc<LazyJson<WrittenMessage>>,
}

/// The fields of an item that are parsed on request. Their values are raw, so that one of an unexpected shape does not
/// hide the other.
#[derive(Deserialize)]
struct View<'a> {
    #[serde(borrow, default)]
    role: Option<&'a RawValue>,
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
}

/// A message that is written.
#[derive(Debug)]
struct WrittenMessage {
    id: Option<String>,
    role: Cow<'static, str>,
    text: String,
    phase: Option<String>,
}

impl Serialize for WrittenMessage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct WrittenPart<'a> {
            #[serde(rename = "type")]
            kind: &'static str,
            text: &'a str,
        }
        // The model's own messages have another type of part than all others.
        let kind = if self.role == "assistant" { "output_text" } else { "input_text" };
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", "message")?;
        if let Some(id) = &self.id {
            map.serialize_entry("id", id)?;
        }
        map.serialize_entry("role", &self.role)?;
        map.serialize_entry("content", &[WrittenPart { kind, text: &self.text }])?;
        if let Some(phase) = &self.phase {
            map.serialize_entry("phase", phase)?;
        }
        map.end()
    }
}

/// The text of one part of a content. Parts such as images have none.
#[derive(Deserialize)]
struct ContentPart<'a> {
    #[serde(borrow, default)]
    text: Option<Cow<'a, str>>,
}

impl ResponseItem {
    /// Creates an item from its JSON text. `None` if the text is not an object.
    ///
    /// U+FFFD replaces each lone surrogate escape ([`without_lone_surrogates`](crate::without_lone_surrogates)).
    #[must_use]
    pub fn from_json(json: Box<RawValue>) -> Option<Self> {
        // A raw value has no white space around it, so its first byte determines its type.
        if !json.get().starts_with('{') {
            return None;
        }
        let json = readable(json);
        let kind = ResponseItemKind::parse(&kind_of(&json).unwrap_or_default());
        Some(Self { kind, json: Arc::new(LazyJson::of_text(json)) })
    }

    /// Creates an item from a JSON value. `None` if the value is not an object.
    #[must_use]
    pub fn from_value(value: &Value) -> Option<Self> {
        Self::from_json(serde_json::value::to_raw_value(value).ok()?)
    }

    /// Creates an item from a value that is known to be an object with a `type`.
    fn from_object(value: &Value) -> Self {
        let json = serde_json::value::to_raw_value(value).unwrap_or_default();
        let kind = ResponseItemKind::parse(value["type"].as_str().unwrap_or_default());
        Self { kind, json: Arc::new(LazyJson::of_text(json)) }
    }

    /// Creates a message of `role` with one part of text.
    #[must_use]
    pub fn message(role: &str, text: &str) -> Self {
        let role = match role {
            "assistant" => Cow::Borrowed("assistant"),
            "user" => Cow::Borrowed("user"),
            other => Cow::Owned(other.to_owned()),
        };
        Self::written(WrittenMessage { id: None, role, text: text.to_owned(), phase: None })
    }

    /// Creates a message of the assistant with the id that the provider of the model gave it, and the phase of the answer
    /// to which it belongs.
    #[must_use]
    pub fn assistant_message(id: &str, text: &str, phase: Option<&str>) -> Self {
        let (id, phase) = (Some(id.to_owned()), phase.map(str::to_owned));
        Self::written(WrittenMessage { id, role: Cow::Borrowed("assistant"), text: text.to_owned(), phase })
    }

    fn written(message: WrittenMessage) -> Self {
        Self { kind: ResponseItemKind::Message, json: Arc::new(LazyJson::of_value(message)) }
    }

    /// Creates a message of the user.
    #[must_use]
    pub fn user_text(text: &str) -> Self {
        Self::message("user", text)
    }

    /// Creates a message of the assistant.
    #[must_use]
    pub fn assistant_text(text: &str) -> Self {
        Self::message("assistant", text)
    }

    /// Creates a message from one agent to another.
    #[must_use]
    pub fn agent_message(author: &str, recipient: &str, text: &str) -> Self {
        Self::from_object(&json!({
            "type": "agent_message", "author": author, "recipient": recipient,
            "content": [{"type": "input_text", "text": text}],
        }))
    }

    /// Creates a call of function `name`. `arguments` is JSON text, as the model writes it.
    #[must_use]
    pub fn function_call(call_id: &str, name: &str, arguments: &str) -> Self {
        Self::from_object(&json!({
            "type": "function_call", "name": name, "arguments": arguments, "call_id": call_id,
        }))
    }

    /// Creates the answer of the function that was called as `call_id`.
    #[must_use]
    pub fn function_call_output(call_id: &str, output: &str) -> Self {
        Self::from_object(&json!({
            "type": "function_call_output", "call_id": call_id, "output": output,
        }))
    }

    /// Creates a call of the free-form tool `name`. `input` is its text.
    #[must_use]
    pub fn custom_tool_call(call_id: &str, name: &str, input: &str) -> Self {
        Self::from_object(&json!({
            "type": "custom_tool_call", "name": name, "input": input, "call_id": call_id, "status": "completed",
        }))
    }

    /// Creates reasoning of the model: the id that its provider gave it, the parts of its summary, and its text in the
    /// encrypted form that the provider needs to continue it.
    #[must_use]
    pub fn reasoning(id: &str, summary: &[String], encrypted: Option<&str>) -> Self {
        let summary: Vec<Value> = summary.iter().map(|text| json!({"type": "summary_text", "text": text})).collect();
        Self::from_object(&json!({
            "type": "reasoning", "id": id, "summary": summary, "encrypted_content": encrypted,
        }))
    }

    /// Returns the kind of the item.
    #[must_use]
    pub fn kind(&self) -> &ResponseItemKind {
        &self.kind
    }

    /// Returns the JSON text of the item.
    #[must_use]
    pub fn json(&self) -> &RawValue {
        self.json.text()
    }

    /// Returns about how many bytes the JSON text of the item has. Unlike [`json`](Self::json), it never makes the text.
    #[must_use]
    pub fn approximate_len(&self) -> usize {
        /// For what is around the text of a message: the names of fields, an id, a phase.
        const AROUND_TEXT: usize = 200;
        match (self.json.made_text(), self.json.value()) {
            (Some(text), _) => text.get().len(),
            (None, message) => message.map_or(0, |message| message.text.len()) + AROUND_TEXT,
        }
    }

    /// Returns the role of a message. `None` if the item has none.
    #[must_use]
    pub fn role(&self) -> Option<String> {
        if let Some(message) = self.json.value() {
            return Some(message.role.clone().into_owned());
        }
        serde_json::from_str(self.view()?.role?.get()).ok()
    }

    /// Returns the texts of the item's content, one for each part that has a text. A content that is a plain string is
    /// one text.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        if let Some(message) = self.json.value() {
            return vec![message.text.clone()];
        }
        let Some(content) = self.view().and_then(|view| view.content) else {
            return Vec::new();
        };
        if let Ok(parts) = serde_json::from_str::<Vec<&RawValue>>(content.get()) {
            // Each part is parsed on its own: one of an unexpected shape has no text, and the others keep theirs.
            let text =
                |part: &RawValue| Some(serde_json::from_str::<ContentPart<'_>>(part.get()).ok()?.text?.into_owned());
            return parts.into_iter().filter_map(text).collect();
        }
        serde_json::from_str::<String>(content.get()).map(|text| vec![text]).unwrap_or_default()
    }

    /// Returns the text of the item's content: all [`texts`](Self::texts) together. Empty if there is none.
    #[must_use]
    pub fn text(&self) -> String {
        self.texts().concat()
    }

    /// Returns the id of the call that the item is, or that it answers. `None` if the item has none.
    #[must_use]
    pub fn call_id(&self) -> Option<String> {
        self.string_field("call_id")
    }

    /// Returns the name of the tool that the item calls. `None` if the item has none.
    #[must_use]
    pub fn name(&self) -> Option<String> {
        self.string_field("name")
    }

    /// Returns what the item gives the tool that it calls: JSON text for a function, any text for a free-form tool.
    /// `None` if the item is no such call.
    #[must_use]
    pub fn arguments(&self) -> Option<String> {
        self.string_field("arguments").or_else(|| self.string_field("input"))
    }

    fn string_field(&self, name: &str) -> Option<String> {
        let fields: std::collections::HashMap<Cow<'_, str>, &RawValue> =
            serde_json::from_str(self.json().get()).ok()?;
        serde_json::from_str(fields.get(name)?.get()).ok()
    }

    fn view(&self) -> Option<View<'_>> {
        serde_json::from_str(self.json().get()).ok()
    }
}

impl PartialEq for ResponseItem {
    fn eq(&self, other: &Self) -> bool {
        self.json().get() == other.json().get()
    }
}

impl fmt::Debug for ResponseItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ResponseItem").field(&self.json().get()).finish()
    }
}

impl Serialize for ResponseItem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.json.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ResponseItem {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Box::<RawValue>::deserialize(deserializer)?;
        Self::from_json(json).ok_or_else(|| serde::de::Error::custom("a response item is a JSON object"))
    }
}
