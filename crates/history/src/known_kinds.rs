//! Which kinds of items are known, and which fields each one needs: an item without them is likely misspelt, and no reader shows it.
//!
//! Fields that are not listed are optional, and a field that is not known is kept.
//!
//! | line | needs |
//! | --- | --- |
//! | `response_item` | a `type` of the second table |
//! | `event_msg` | a `type` of the third table |
//! | `compacted` | `message` |
//! | `world_state` | `state`; it is a patch unless `full` is `true` |
//! | `thread_metadata` | `patch` |
//! | `session_meta` | `id` |
//! | `turn_context`, `inter_agent_communication`, `inter_agent_communication_metadata`, `dynamic_tools_updated`, `token_usage_record`, `retained_context`, `realtime_item`, `security_risk_score` | – |
//!
//! What the model sees, a `response_item`:
//!
//! | type | needs |
//! | --- | --- |
//! | `message` | `role`, `content` |
//! | `agent_message` | `author`, `recipient`, `content` |
//! | `reasoning` | `summary` |
//! | `function_call` | `name`, `arguments`, `call_id` |
//! | `custom_tool_call` | `name`, `input`, `call_id` |
//! | `function_call_output` | `output`; Codex also writes outputs that answer no call and have a `name` |
//! | `custom_tool_call_output` | `call_id`, `output` |
//! | `local_shell_call` | `action` |
//! | all others of [`ResponseItemKind`] | – |
//!
//! What a client sees, an `event_msg`. `item_completed` is for paginated threads, and those of the second row are for legacy threads:
//!
//! | type | needs |
//! | --- | --- |
//! | `item_completed` | `item`, with a `type` of the fourth table |
//! | `user_message`, `agent_message` | `message` |
//! | `agent_reasoning`, `agent_reasoning_raw_content` | `text` |
//! | `thread_rolled_back` | `num_turns` |
//! | `error` | `message` |
//! | `task_started`, `task_complete`, `turn_aborted`, `token_count` and all others of [`EventMsg`] | – |
//!
//! The `item` of an `item_completed` event:
//!
//! | type | needs |
//! | --- | --- |
//! | `UserMessage`, `AgentMessage` | `content` |
//! | `Reasoning` | `summary_text` |
//! | `CommandExecution` | `command` |
//! | `FileChange` | `changes` |
//! | `McpToolCall` | `server`, `tool` |
//! | `DynamicToolCall` | `tool` |
//! | `WebSearch` | `query` |
//! | `Plan` | `text` |
//! | `ImageGeneration`, `ContextCompaction`, `EnteredReviewMode`, `ExitedReviewMode`, `HookPrompt`, `CollabAgentToolCall`, `SubAgentActivity`, `ImageView`, `Sleep` | – |

use std::fmt;

use selvedge_protocol::{CompletedItem, EventMsg, ResponseItem, ResponseItemKind, RolloutItem};
use serde::Deserializer;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::persistence_policy::is_transient;
use crate::turn_item::is_step;

/// Events without a typed view that programs write.
const OTHER_EVENTS: [&str; 5] =
    ["item_started", "thread_name_updated", "sub_agent_activity", "undo_completed", "thread_memory_mode_updated"];

/// The kinds of the items of an `item_completed` event, each with the fields that it needs.
const COMPLETED_ITEMS: [(&str, &[&str]); 18] = [
    ("UserMessage", &["content"]),
    ("AgentMessage", &["content"]),
    ("Reasoning", &["summary_text"]),
    ("CommandExecution", &["command"]),
    ("FileChange", &["changes"]),
    ("McpToolCall", &["server", "tool"]),
    ("DynamicToolCall", &["tool"]),
    ("WebSearch", &["query"]),
    ("ImageGeneration", &[]),
    ("Plan", &["text"]),
    ("ContextCompaction", &[]),
    ("EnteredReviewMode", &[]),
    ("ExitedReviewMode", &[]),
    ("HookPrompt", &[]),
    ("CollabAgentToolCall", &[]),
    ("SubAgentActivity", &[]),
    ("ImageView", &[]),
    ("Sleep", &[]),
];

/// Returns what of an item is likely misspelt: its kind, or the name of a field that it needs. `None` if both are known.
///
/// Such an item is kept as it is, also by readers: programs of tomorrow write kinds that are not known today. But no reader of today
/// shows it, so that a writer has to say that it means it. The tables of this module have the kinds and fields.
///
/// ```
/// use selvedge_history::known_kinds::misspelling;
/// use selvedge_protocol::RolloutItem;
///
/// let line = r#"{"type": "event_msg", "payload": {"type": "user_message", "mesage": "hello"}}"#;
/// let item: RolloutItem = serde_json::from_str(line)?;
/// assert_eq!(misspelling(&item).as_deref(), Some("an event of type `user_message` without its field `message`"));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[must_use]
pub fn misspelling(item: &RolloutItem) -> Option<String> {
    match item {
        RolloutItem::ResponseItem(item) => of_response_item(item),
        RolloutItem::EventMsg(event) => of_event(event),
        RolloutItem::Compacted(compacted) => without("a `compacted` line", "message", compacted.message.is_none()),
        RolloutItem::WorldState(record) => without("a `world_state` line", "state", record.state.is_none()),
        RolloutItem::ThreadMetadata(record) => without("a `thread_metadata` line", "patch", record.patch.is_none()),
        RolloutItem::SessionMeta(meta) => without("a `session_meta` line", "id", meta.id.is_none()),
        RolloutItem::Other(item) => Some(named("a line", item.kind())),
        _ => None,
    }
}

fn of_response_item(item: &ResponseItem) -> Option<String> {
    let needed: &[&str] = match item.kind() {
        ResponseItemKind::Message => &["role", "content"],
        ResponseItemKind::AgentMessage => &["author", "recipient", "content"],
        ResponseItemKind::Reasoning => &["summary"],
        ResponseItemKind::FunctionCall => &["name", "arguments", "call_id"],
        ResponseItemKind::CustomToolCall => &["name", "input", "call_id"],
        // Codex also writes outputs that answer no call.
        ResponseItemKind::FunctionCallOutput => &["output"],
        ResponseItemKind::CustomToolCallOutput => &["call_id", "output"],
        ResponseItemKind::LocalShellCall => &["action"],
        ResponseItemKind::Other(kind) => return Some(named("a response item", kind)),
        _ => return None,
    };
    let missing = missing_field(item.json(), needed)?;
    without(&named("a response item", item.kind().as_str()), missing, true)
}

fn of_event(event: &EventMsg) -> Option<String> {
    let (field, is_missing) = match event {
        EventMsg::ItemCompleted(event) => match &event.item {
            Some(item) => return of_completed_item(item),
            None => ("item", true),
        },
        EventMsg::UserMessage(event) => ("message", event.message.is_none()),
        EventMsg::AgentMessage(event) => ("message", event.message.is_none()),
        EventMsg::AgentReasoning(event) => ("text", event.text.is_none()),
        EventMsg::AgentReasoningRawContent(event) => ("text", event.text.is_none()),
        EventMsg::ThreadRolledBack(event) => ("num_turns", event.num_turns.is_none()),
        EventMsg::Error(event) => ("message", event.message.is_none()),
        EventMsg::Other(event) => {
            let kind = event.kind();
            let is_known = is_transient(kind) || is_step(kind) || OTHER_EVENTS.contains(&kind);
            return (!is_known).then(|| named("an event", kind));
        }
        _ => return None,
    };
    without(&named("an event", event.kind()), field, is_missing)
}

fn of_completed_item(item: &CompletedItem) -> Option<String> {
    let Some((kind, needed)) = COMPLETED_ITEMS.iter().find(|(kind, _)| *kind == item.kind()) else {
        return Some(named("a completed item", item.kind()));
    };
    let missing = missing_field(item.json(), needed)?;
    without(&named("a completed item", kind), missing, true)
}

/// Names an item by what it is and its kind.
fn named(what: &str, kind: &str) -> String {
    match kind {
        "" => format!("{what} without a type"),
        kind => format!("{what} of type `{kind}`"),
    }
}

fn without(what: &str, field: &str, is_missing: bool) -> Option<String> {
    is_missing.then(|| format!("{what} without its field `{field}`"))
}

/// Returns the first of these fields that an object does not have. The fields are looked at by name only, and no further than to the
/// last one that is needed: the content of a message usually stays unread.
fn missing_field<'a>(json: &RawValue, needed: &[&'a str]) -> Option<&'a str> {
    let mut missing = needed.to_vec();
    // The reading ends early with an error if every field was found before the end.
    let _ = serde_json::Deserializer::from_str(json.get()).deserialize_map(FieldsToFind(&mut missing));
    missing.first().copied()
}

/// Reads the keys of an object, and removes each one that is found.
struct FieldsToFind<'m, 'a>(&'m mut Vec<&'a str>);

impl<'de> Visitor<'de> for FieldsToFind<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while !self.0.is_empty() && map.next_key_seed(KeyToFind(self.0))?.is_some() {
            if !self.0.is_empty() {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

/// Reads one key, without a copy of it.
struct KeyToFind<'m, 'a>(&'m mut Vec<&'a str>);

impl<'de> DeserializeSeed<'de> for KeyToFind<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeyToFind<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<(), E> {
        self.0.retain(|name| *name != key);
        Ok(())
    }
}
