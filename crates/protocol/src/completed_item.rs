//! The items of paginated logs: what an `item_completed` event contains.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::lazy_json::LazyJson;
use crate::lone_surrogates::readable;
use crate::open_item::kind_of;
use crate::{ItemContent, ItemId, ItemStatus, TurnItem};

/// The item of an [`ItemCompletedEvent`](crate::ItemCompletedEvent): its JSON text, or a message of which the text is made when it is
/// needed.
///
/// Its kinds are spelt in camel case (`UserMessage`, `CommandExecution`), unlike those of a [`TurnItem`]. A turn item
/// converts to one, so that a program need not know the fields:
///
/// | kind | fields |
/// | --- | --- |
/// | `UserMessage` | `id`, `client_id`, `content`: parts of type `text`, `image`, `local_image`, … |
/// | `AgentMessage` | `id`, `content`: parts of type `Text`; `phase`, `memory_citation` |
/// | `Reasoning` | `id`, `summary_text`, `raw_content`: lists of texts |
/// | `CommandExecution` | `id`, `command`: a list of words; `cwd`, `parsed_cmd`, `source`, `status`, `aggregated_output`, `exit_code`, `duration` |
/// | `FileChange` | `id`, `changes`: an object with a member for each path; `status`, `stdout`, `stderr` |
/// | `McpToolCall` | `id`, `server`, `tool`, `arguments`, `status`, `result`, `error`, `duration` |
/// | `DynamicToolCall` | `id`, `tool`, `arguments`, `status`, `content_items`, `success`, `duration` |
/// | `WebSearch` | `id`, `query`, `action`, `results` |
/// | `ImageGeneration` | `id`, `status`, `revised_prompt`, `result`, `saved_path` |
/// | `Plan` | `id`, `text` |
/// | `ContextCompaction` | `id` |
/// | `EnteredReviewMode`, `ExitedReviewMode` | `id`, `review` |
///
/// A `status` is `in_progress`, `completed`, `failed` or `declined`. A `duration` is `{"secs": 1, "nanos": 500000000}`.
#[derive(Clone)]
pub struct CompletedItem {
    kind: Cow<'static, str>,
    json: Arc<LazyJson<SpokenItem>>,
}

impl CompletedItem {
    /// Creates an item from a JSON value. `None` if the value is not an object.
    #[must_use]
    pub fn from_value(value: &Value) -> Option<Self> {
        Self::from_json(serde_json::value::to_raw_value(value).ok()?)
    }

    fn from_json(json: Box<RawValue>) -> Option<Self> {
        json.get().starts_with('{').then(|| Self::with_text(kind_of(&json).unwrap_or_default(), json))
    }

    fn with_text(kind: String, json: Box<RawValue>) -> Self {
        Self { kind: Cow::Owned(kind), json: Arc::new(LazyJson::of_text(readable(json))) }
    }

    /// Returns the kind of the item, as the log spells it. Empty if the log has none.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Returns the JSON text of the item.
    #[must_use]
    pub fn json(&self) -> &RawValue {
        self.json.text()
    }
}

impl PartialEq for CompletedItem {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind && self.json().get() == other.json().get()
    }
}

impl fmt::Debug for CompletedItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompletedItem").field("kind", &self.kind).field("json", &self.json().get()).finish()
    }
}

impl Serialize for CompletedItem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.json.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for CompletedItem {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Box::<RawValue>::deserialize(deserializer)?;
        Self::from_json(json).ok_or_else(|| serde::de::Error::custom("a completed item is a JSON object"))
    }
}

impl From<&TurnItem> for CompletedItem {
    /// Returns the item as a paginated log records it. Its times are fields of the event, and so are not in it.
    fn from(item: &TurnItem) -> Self {
        // The kinds that a thread has most of are written without a value in between.
        let spoken = match &item.content {
            ItemContent::AgentMessage { text, phase, memory_citation } => SpokenItem {
                by_user: false,
                id: item.id.clone(),
                client_id: None,
                text: text.clone(),
                phase: phase.clone(),
                memory_citation: memory_citation.clone(),
            },
            ItemContent::UserMessage { text, images, attachments, client_id }
                if images.is_empty() && attachments.is_empty() =>
            {
                SpokenItem {
                    by_user: true,
                    id: item.id.clone(),
                    client_id: client_id.clone(),
                    text: text.clone(),
                    phase: None,
                    memory_citation: None,
                }
            }
            _ => return Self::of_any_kind(item),
        };
        Self { kind: Cow::Borrowed(spoken.kind()), json: Arc::new(LazyJson::of_value(spoken)) }
    }
}

/// A message that is written.
#[derive(Debug)]
struct SpokenItem {
    by_user: bool,
    id: ItemId,
    client_id: Option<String>,
    text: String,
    phase: Option<String>,
    memory_citation: Option<Value>,
}

impl SpokenItem {
    fn kind(&self) -> &'static str {
        if self.by_user { "UserMessage" } else { "AgentMessage" }
    }
}

impl Serialize for SpokenItem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct SpokenPart<'a> {
            #[serde(rename = "type")]
            kind: &'static str,
            text: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            text_elements: Option<[(); 0]>,
        }
        let part = if self.by_user {
            SpokenPart { kind: "text", text: &self.text, text_elements: Some([]) }
        } else {
            SpokenPart { kind: "Text", text: &self.text, text_elements: None }
        };
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", self.kind())?;
        map.serialize_entry("id", &self.id)?;
        if let Some(client_id) = &self.client_id {
            map.serialize_entry("client_id", client_id)?;
        }
        map.serialize_entry("content", &[part])?;
        if let Some(phase) = &self.phase {
            map.serialize_entry("phase", phase)?;
        }
        if let Some(citation) = &self.memory_citation {
            map.serialize_entry("memory_citation", citation)?;
        }
        map.end()
    }
}

impl CompletedItem {
    fn of_any_kind(item: &TurnItem) -> Self {
        let (kind, mut fields) = kind_and_fields(&item.content);
        let mut object = Map::from_iter([("type".to_owned(), kind.into()), ("id".to_owned(), item.id.as_str().into())]);
        object.append(&mut fields);
        let json = serde_json::value::to_raw_value(&object).unwrap_or_default();
        Self::with_text(object["type"].as_str().unwrap_or_default().to_owned(), json)
    }
}

fn kind_and_fields(content: &ItemContent) -> (String, Map<String, Value>) {
    let (kind, fields) = match content {
        ItemContent::UserMessage { text, images, attachments, client_id } => {
            let text = (!text.is_empty()).then(|| json!({"type": "text", "text": text, "text_elements": []}));
            let images = images.iter().map(image_part);
            let content: Vec<Value> = text.into_iter().chain(images).chain(attachments.iter().cloned()).collect();
            ("UserMessage", json!({"client_id": client_id, "content": content}))
        }
        ItemContent::AgentMessage { text, phase, memory_citation } => (
            "AgentMessage",
            json!({"content": [{"type": "Text", "text": text}], "phase": phase, "memory_citation": memory_citation}),
        ),
        ItemContent::Reasoning { summary, content } => {
            ("Reasoning", json!({"summary_text": summary, "raw_content": content}))
        }
        ItemContent::CommandExecution { command, cwd, command_actions, status, output, exit_code, duration_ms } => (
            "CommandExecution",
            json!({
                "command": command_words(command), "cwd": cwd, "parsed_cmd": command_actions, "source": "agent",
                "status": status, "aggregated_output": output, "exit_code": exit_code,
                "duration": duration_ms.map(duration),
            }),
        ),
        ItemContent::FileChange { status, changes } => {
            ("FileChange", json!({"changes": changes, "status": status, "stdout": "", "stderr": ""}))
        }
        ItemContent::ToolCall { server: Some(server), tool, arguments, status, result, error, duration_ms } => (
            "McpToolCall",
            json!({
                "server": server, "tool": tool, "arguments": arguments, "status": status, "result": result, "error": error,
                "duration": duration_ms.map(duration),
            }),
        ),
        ItemContent::ToolCall { server: None, tool, arguments, status, result, error, duration_ms } => (
            "DynamicToolCall",
            json!({
                "tool": tool, "arguments": arguments, "status": status,
                "content_items": result.as_ref().map(content_items), "success": *status == ItemStatus::Completed,
                "error": error, "duration": duration_ms.map(duration),
            }),
        ),
        ItemContent::WebSearch { query, action, results } => {
            ("WebSearch", json!({"query": query, "action": action, "results": results}))
        }
        ItemContent::ImageGeneration { status, revised_prompt, saved_path } => (
            "ImageGeneration",
            json!({"status": status, "revised_prompt": revised_prompt, "result": "", "saved_path": saved_path}),
        ),
        ItemContent::ContextCompaction => ("ContextCompaction", json!({})),
        ItemContent::Plan { text } => ("Plan", json!({"text": text})),
        ItemContent::EnteredReviewMode { review } => ("EnteredReviewMode", json!({"review": review})),
        ItemContent::ExitedReviewMode { review } => ("ExitedReviewMode", json!({"review": review})),
        ItemContent::Transcript { role, text } => ("Transcript", json!({"role": role, "text": text})),
        ItemContent::InterAgentMessage { author, recipient, text } => {
            ("InterAgentMessage", json!({"author": author, "recipient": recipient, "text": text}))
        }
        ItemContent::Other(other) => return (camel_case(&other.kind), other.fields.clone()),
    };
    let mut fields = if let Value::Object(fields) = fields { fields } else { Map::new() };
    // What is not known is not written.
    fields.retain(|_, value| !value.is_null());
    (kind.to_owned(), fields)
}

/// Returns a part for an image: a URL, a path, or a part already.
fn image_part(image: &Value) -> Value {
    match image.as_str() {
        Some(url) if url.contains(':') => json!({"type": "image", "image_url": url}),
        Some(path) => json!({"type": "local_image", "path": path}),
        None => image.clone(),
    }
}

/// Returns the result of a tool as the parts that a client shows.
fn content_items(result: &Value) -> Value {
    match result {
        Value::Array(_) => result.clone(),
        Value::String(text) => json!([{"type": "inputText", "text": text}]),
        other => json!([{"type": "inputText", "text": other.to_string()}]),
    }
}

/// Returns the words of a command. A command that needs a shell, such as `ls | wc`, becomes an argument of one.
fn command_words(command: &str) -> Vec<String> {
    let is_plain = |c: char| c.is_alphanumeric() || "_-./:=@%+, ".contains(c);
    // What stands within single quotes needs no shell, whatever it is.
    let has_plain_words =
        command.replace(r"'\''", "").split('\'').step_by(2).all(|outside| outside.chars().all(is_plain));
    match shlex::split(command).filter(|words| has_plain_words && !words.is_empty()) {
        Some(words) => words,
        None => vec!["bash".to_owned(), "-lc".to_owned(), command.to_owned()],
    }
}

fn duration(millis: i64) -> Value {
    let millis = millis.max(0);
    json!({"secs": millis / 1000, "nanos": millis % 1000 * 1_000_000})
}

/// Converts `sub_agent_activity` to `SubAgentActivity`.
fn camel_case(kind: &str) -> String {
    let words = kind.split('_').filter(|word| !word.is_empty());
    let capital = |word: &str| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str()).unwrap_or_default()
    };
    words.map(capital).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_commands_that_need_a_shell_get_one() {
        for (command, words) in [
            ("ls -l", vec!["ls", "-l"]),
            ("bash -lc 'ls | wc'", vec!["bash", "-lc", "ls | wc"]),
            (r"printf 'it'\''s'", vec!["printf", "it's"]),
            ("ls | wc", vec!["bash", "-lc", "ls | wc"]),
            ("echo $HOME", vec!["bash", "-lc", "echo $HOME"]),
            ("echo 'unclosed", vec!["bash", "-lc", "echo 'unclosed"]),
            ("", vec!["bash", "-lc", ""]),
        ] {
            assert_eq!(command_words(command), words, "{command}");
        }
    }

    #[test]
    fn kinds_are_spelt_in_camel_case() {
        assert_eq!(camel_case("sub_agent_activity"), "SubAgentActivity");
        assert_eq!(camel_case("sleep"), "Sleep");
        assert_eq!(duration(1500), json!({"secs": 1, "nanos": 500_000_000}));
    }
}
