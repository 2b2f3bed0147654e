//! A history as Codex sends it: every call has an output, every output has a call, and nothing is unknown.
//!
//! Observed in Codex 0.169.0 and 0.171.0, which do the same: threads with such items were resumed, and the request to the model was
//! read. `cargo xtask interop` repeats this (`docs/interop.md`, "input as it is sent").
//!
//! The programs also replace images that they cannot decode, and repeat their base instructions at the beginning. Both depend on
//! the program and its model, not on the thread, and are not done here.

use std::collections::HashSet;

use selvedge_protocol::{ResponseItem, ResponseItemKind};
use serde_json::{Value, json};

/// The output of a call that has none.
const ABORTED: &str = "aborted";

/// Types of the parts of a message that can be sent.
const MESSAGE_PARTS: [&str; 4] = ["input_text", "output_text", "input_image", "input_audio"];

/// Types of the parts of an output that can be sent.
const OUTPUT_PARTS: [&str; 3] = ["input_text", "input_image", "encrypted_content"];

/// The tools whose calls and outputs belong together.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum ToolClass {
    /// Functions, and the built-in shell.
    Function,
    Custom,
    Search,
}

/// Returns the history as it is sent. The first `replaced` items stand in the replacement history of a compaction.
pub(crate) fn sent_history(history: Vec<ResponseItem>, replaced: usize) -> Vec<ResponseItem> {
    let items: Vec<ResponseItem> = history
        .into_iter()
        .enumerate()
        .filter_map(|(index, item)| if index < replaced { Some(sent_replacement(item)) } else { sendable(item) })
        .collect();
    // An output answers a call wherever it stands, also before the call.
    let ids = |id_of: fn(&ResponseItem) -> Option<ToolId>| items.iter().filter_map(id_of).collect::<HashSet<_>>();
    let (called, answered) = (ids(call_id), ids(output_id));
    let mut sent = Vec::with_capacity(items.len());
    for item in items {
        if output_id(&item).is_some_and(|id| !called.contains(&id)) {
            continue;
        }
        let aborted = call_id(&item).filter(|id| !answered.contains(id)).and_then(output_aborted);
        sent.push(item);
        sent.extend(aborted);
    }
    sent
}

/// Returns the calls of a history without an output, oldest first.
#[must_use]
pub fn unanswered_calls(history: &[ResponseItem]) -> Vec<ResponseItem> {
    let answered: HashSet<ToolId> = history.iter().filter_map(output_id).collect();
    let is_unanswered = |item: &&ResponseItem| call_id(item).is_some_and(|id| !answered.contains(&id));
    history.iter().filter(is_unanswered).cloned().collect()
}

/// Returns the output that Codex sends for a call without one: `aborted`. `None` if the item is no call that needs an output.
#[must_use]
pub fn aborted_output(call: &ResponseItem) -> Option<ResponseItem> {
    call_id(call).and_then(output_aborted)
}

/// The id of a call, which is unique in its class.
type ToolId = (ToolClass, String);

/// Returns the id of a call that needs an output.
fn call_id(item: &ResponseItem) -> Option<ToolId> {
    let class = match item.kind() {
        ResponseItemKind::FunctionCall | ResponseItemKind::LocalShellCall => ToolClass::Function,
        ResponseItemKind::CustomToolCall => ToolClass::Custom,
        ResponseItemKind::ToolSearchCall => ToolClass::Search,
        _ => return None,
    };
    id_in(class, &value_of(item))
}

/// Returns the id of the call that an output needs. The tools that a server found need none.
fn output_id(item: &ResponseItem) -> Option<ToolId> {
    let class = match item.kind() {
        ResponseItemKind::FunctionCallOutput => ToolClass::Function,
        ResponseItemKind::CustomToolCallOutput => ToolClass::Custom,
        ResponseItemKind::ToolSearchOutput => ToolClass::Search,
        _ => return None,
    };
    let value = value_of(item);
    let is_of_server = class == ToolClass::Search && value["execution"] == "server";
    if is_of_server { None } else { id_in(class, &value) }
}

fn id_in(class: ToolClass, value: &Value) -> Option<ToolId> {
    Some((class, value["call_id"].as_str()?.to_owned()))
}

/// Returns the output of a call that has none.
fn output_aborted((class, call_id): ToolId) -> Option<ResponseItem> {
    ResponseItem::from_value(&match class {
        ToolClass::Function => json!({"type": "function_call_output", "call_id": call_id, "output": ABORTED}),
        ToolClass::Custom => json!({"type": "custom_tool_call_output", "call_id": call_id, "output": ABORTED}),
        ToolClass::Search => json!({
            "type": "tool_search_output", "call_id": call_id, "status": "completed", "execution": "client", "tools": [],
        }),
    })
}

/// Returns an item of a replacement history as it is sent. Codex keeps the place of an unknown one.
fn sent_replacement(item: ResponseItem) -> ResponseItem {
    match item.kind() {
        ResponseItemKind::Other(_) => ResponseItem::from_value(&json!({"type": "other"})).unwrap_or(item),
        _ => item,
    }
}

/// Returns an item of a `response_item` line, unless Codex skips the line: it does not know the kind or a part, a field is missing,
/// or the message is of the system.
fn sendable(item: ResponseItem) -> Option<ResponseItem> {
    let value = value_of(&item);
    let has_texts = |names: &[&str]| names.iter().all(|name| value[*name].is_string());
    let is_sent = match item.kind() {
        ResponseItemKind::Message => {
            has_texts(&["role"]) && value["role"] != "system" && are_parts(&value["content"], &MESSAGE_PARTS)
        }
        ResponseItemKind::AgentMessage => has_texts(&["author", "recipient"]) && value["content"].is_array(),
        ResponseItemKind::Reasoning => value["summary"].is_array(),
        ResponseItemKind::FunctionCall => has_texts(&["name", "arguments", "call_id"]),
        ResponseItemKind::CustomToolCall => has_texts(&["name", "input", "call_id"]),
        ResponseItemKind::FunctionCallOutput | ResponseItemKind::CustomToolCallOutput => {
            let output = &value["output"];
            has_texts(&["call_id"]) && (output.is_string() || are_parts(output, &OUTPUT_PARTS))
        }
        ResponseItemKind::LocalShellCall => has_texts(&["status"]) && value["action"].is_object(),
        ResponseItemKind::ToolSearchCall => has_texts(&["execution"]) && value.get("arguments").is_some(),
        ResponseItemKind::ToolSearchOutput => has_texts(&["status", "execution"]) && value["tools"].is_array(),
        ResponseItemKind::ImageGenerationCall => has_texts(&["status", "result"]),
        ResponseItemKind::Compaction => has_texts(&["encrypted_content"]),
        ResponseItemKind::WebSearchCall | ResponseItemKind::ContextCompaction | ResponseItemKind::AdditionalTools => {
            true
        }
        _ => false,
    };
    is_sent.then_some(item)
}

/// Returns whether a value is a list of parts of these types.
fn are_parts(value: &Value, types: &[&str]) -> bool {
    let is_part = |part: &Value| part["type"].as_str().is_some_and(|kind| types.contains(&kind));
    value.as_array().is_some_and(|parts| parts.iter().all(is_part))
}

fn value_of(item: &ResponseItem) -> Value {
    serde_json::from_str(item.json().get()).unwrap_or_default()
}
