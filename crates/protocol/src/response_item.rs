//! What the model sees, verbatim.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::open::kind_of;

macro_rules! response_item_kinds {
    ($( $(#[$meta:meta])* $name:ident = $text:literal $(| $alias:literal)* ),* $(,)?) => {
        /// The kind of a response item, its `type`.
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ResponseItemKind {
            $( $(#[$meta])* $name, )*
            /// A kind that this version does not know.
            Other(String),
        }

        impl ResponseItemKind {
            /// The kind as the log spells it.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $( Self::$name => $text, )*
                    Self::Other(kind) => kind,
                }
            }

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
    /// A message of the user, the assistant, the developer or the system.
    Message = "message",
    /// A message of another agent.
    AgentMessage = "agent_message",
    /// The model's reasoning.
    Reasoning = "reasoning",
    /// A call of the built-in shell.
    LocalShellCall = "local_shell_call",
    /// A call of a function.
    FunctionCall = "function_call",
    /// What a function answered.
    FunctionCallOutput = "function_call_output",
    /// A call of a free-form tool.
    CustomToolCall = "custom_tool_call",
    /// What a free-form tool answered.
    CustomToolCallOutput = "custom_tool_call_output",
    /// A search for tools.
    ToolSearchCall = "tool_search_call",
    /// The tools that were found.
    ToolSearchOutput = "tool_search_output",
    /// A web search.
    WebSearchCall = "web_search_call",
    /// A generated image.
    ImageGenerationCall = "image_generation_call",
    /// A compaction made by the model's side.
    Compaction = "compaction" | "compaction_summary",
    /// A compaction of the context.
    ContextCompaction = "context_compaction",
    /// A snapshot of the work tree in files of late 2025; no part of what the model sees.
    GhostSnapshot = "ghost_snapshot",
    /// Tools that were added for one request; not kept in the log.
    AdditionalTools = "additional_tools",
    /// A request to compact; not kept in the log.
    CompactionTrigger = "compaction_trigger",
}

/// One item of the model's input or output, kept as the JSON text that it is.
///
/// A clone shares the text. Items are equal when their texts are.
#[derive(Clone)]
pub struct ResponseItem {
    kind: ResponseItemKind,
    json: Arc<RawValue>,
}

#[derive(Deserialize)]
struct View<'a> {
    #[serde(borrow, default)]
    role: Option<&'a RawValue>,
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ContentPart<'a> {
    #[serde(borrow, default)]
    text: Option<Cow<'a, str>>,
}

impl ResponseItem {
    /// The item with this JSON text; nothing when it is no object.
    #[must_use]
    pub fn from_json(json: Box<RawValue>) -> Option<Self> {
        if !json.get().starts_with('{') {
            return None;
        }
        let kind = ResponseItemKind::parse(&kind_of(&json).unwrap_or_default());
        Some(Self { kind, json: Arc::from(json) })
    }

    /// The item that `value` describes; nothing when it is no object.
    #[must_use]
    pub fn from_value(value: &Value) -> Option<Self> {
        Self::from_json(serde_json::value::to_raw_value(value).ok()?)
    }

    fn from_object(value: &Value) -> Self {
        let json = serde_json::value::to_raw_value(value).unwrap_or_default();
        let kind = ResponseItemKind::parse(value["type"].as_str().unwrap_or_default());
        Self { kind, json: Arc::from(json) }
    }

    /// A message of `role` with one part of text.
    #[must_use]
    pub fn message(role: &str, text: &str) -> Self {
        let part = if role == "assistant" { "output_text" } else { "input_text" };
        Self::from_object(&json!({
            "type": "message", "role": role, "content": [{"type": part, "text": text}],
        }))
    }

    /// A message of the user.
    #[must_use]
    pub fn user_text(text: &str) -> Self {
        Self::message("user", text)
    }

    /// A message of the assistant.
    #[must_use]
    pub fn assistant_text(text: &str) -> Self {
        Self::message("assistant", text)
    }

    /// A message from one agent to another.
    #[must_use]
    pub fn agent_message(author: &str, recipient: &str, text: &str) -> Self {
        Self::from_object(&json!({
            "type": "agent_message", "author": author, "recipient": recipient,
            "content": [{"type": "input_text", "text": text}],
        }))
    }

    /// A call of function `name`; `arguments` is JSON text, as the model writes it.
    #[must_use]
    pub fn function_call(call_id: &str, name: &str, arguments: &str) -> Self {
        Self::from_object(&json!({
            "type": "function_call", "name": name, "arguments": arguments, "call_id": call_id,
        }))
    }

    /// What the function that was called as `call_id` answered.
    #[must_use]
    pub fn function_call_output(call_id: &str, output: &str) -> Self {
        Self::from_object(&json!({
            "type": "function_call_output", "call_id": call_id, "output": output,
        }))
    }

    /// The item's kind.
    #[must_use]
    pub fn kind(&self) -> &ResponseItemKind {
        &self.kind
    }

    /// The item's JSON text.
    #[must_use]
    pub fn json(&self) -> &RawValue {
        &self.json
    }

    /// The role of a message.
    #[must_use]
    pub fn role(&self) -> Option<String> {
        serde_json::from_str(self.view()?.role?.get()).ok()
    }

    /// The texts of the item's content, one for each part that has any; a content that is a plain string is one text.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        let Some(content) = self.view().and_then(|view| view.content) else {
            return Vec::new();
        };
        if let Ok(parts) = serde_json::from_str::<Vec<&RawValue>>(content.get()) {
            // A part of an odd shape has no text, and takes none from the others.
            let text =
                |part: &RawValue| Some(serde_json::from_str::<ContentPart<'_>>(part.get()).ok()?.text?.into_owned());
            return parts.into_iter().filter_map(text).collect();
        }
        serde_json::from_str::<String>(content.get()).map(|text| vec![text]).unwrap_or_default()
    }

    fn view(&self) -> Option<View<'_>> {
        serde_json::from_str(self.json.get()).ok()
    }
}

impl PartialEq for ResponseItem {
    fn eq(&self, other: &Self) -> bool {
        self.json.get() == other.json.get()
    }
}

impl fmt::Debug for ResponseItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ResponseItem").field(&self.json.get()).finish()
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
