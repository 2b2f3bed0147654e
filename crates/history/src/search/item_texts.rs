//! Which texts of an item are searched.

use selvedge_protocol::{ItemContent, OtherTurnItem, TurnItem};
use serde_json::Value;

/// Maximum number of bytes that are searched in one text of an item with long machine-made texts.
const MAX_TEXT_BYTES: usize = 4 << 10;

/// Maximum number of bytes that are searched in all such texts of an item together.
const MAX_ITEM_BYTES: usize = 16 << 10;

/// Returns the texts of an item that are searched.
///
/// Messages, reasoning, plans, commands, names of tools and paths of files are searched whole. Arguments and outputs of tools,
/// contents of file changes and items of unknown kinds are limited to their beginning: 4 KiB of each text, 16 KiB of all of
/// them. The limits keep an index small, and they give every store the same hits.
#[must_use]
pub fn item_texts(item: &TurnItem) -> Vec<&str> {
    match &item.content {
        ItemContent::UserMessage { text, .. }
        | ItemContent::AgentMessage { text, .. }
        | ItemContent::Transcript { text, .. }
        | ItemContent::InterAgentMessage { text, .. }
        | ItemContent::Plan { text } => vec![text],
        ItemContent::Reasoning { summary, content, .. } => summary.iter().chain(content).map(String::as_str).collect(),
        ItemContent::CommandExecution { command, output, .. } => {
            std::iter::once(command.as_str()).chain(limited(output.iter().map(String::as_str))).collect()
        }
        ItemContent::FileChange { changes: Value::Object(changes), .. } => {
            let paths = changes.keys().map(String::as_str);
            paths.chain(limited(strings(changes.values()))).collect()
        }
        ItemContent::FileChange { changes, .. } => limited(strings([changes])).collect(),
        ItemContent::ToolCall { tool, arguments, result, error, .. } => {
            let data = strings(std::iter::once(arguments).chain(result).chain(error));
            std::iter::once(tool.as_str()).chain(limited(data)).collect()
        }
        ItemContent::WebSearch { query, action, .. } => {
            std::iter::once(query.as_str()).chain(limited(strings(action))).collect()
        }
        ItemContent::ImageGeneration { revised_prompt, .. } => revised_prompt.iter().map(String::as_str).collect(),
        ItemContent::EnteredReviewMode { review, .. } | ItemContent::ExitedReviewMode { review, .. } => vec![review],
        ItemContent::Other(OtherTurnItem { fields, .. }) => limited(strings(fields.values())).collect(),
        _ => Vec::new(),
    }
}

/// Returns the beginnings of texts, within both limits.
fn limited<'a>(texts: impl IntoIterator<Item = &'a str>) -> impl Iterator<Item = &'a str> {
    let mut bytes_left = MAX_ITEM_BYTES;
    texts.into_iter().map(move |text| {
        let mut end = text.len().min(bytes_left).min(MAX_TEXT_BYTES);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        bytes_left -= end;
        &text[..end]
    })
}

/// Returns every string in these values, and every key of their objects: file changes have their paths as keys.
fn strings<'a>(values: impl IntoIterator<Item = &'a Value>) -> Vec<&'a str> {
    let mut found = Vec::new();
    for value in values {
        collect_strings(value, &mut found);
    }
    found
}

fn collect_strings<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => found.push(text),
        Value::Array(values) => values.iter().for_each(|value| collect_strings(value, found)),
        Value::Object(fields) => {
            for (key, value) in fields {
                found.push(key);
                collect_strings(value, found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
