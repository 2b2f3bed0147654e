//! The model context of a thread, for people.

use selvedge_history::ModelContext;
use selvedge_protocol::{ContextWindow, ResponseItem};
use selvedge_transcript::item_facts::{MessagePart, message_parts};
use serde_json::Value;

use super::paint::Paint;
use super::sanitize::sanitize;
use super::text::{self, TextLimits, single_line};

use crate::render::counted::counted;

/// Renders the context. Unless `full`, long texts are shortened.
pub(crate) fn render(context: &ModelContext, full: bool, paint: Paint) -> String {
    let mut out = String::new();
    let mut fact = |name: &str, value: String| {
        out.push_str(&format!("{}{value}\n", paint.dim(format!("{name:<13}"))));
    };
    fact("window", window(&context.window));
    if let Some(settings) = &context.turn_context {
        let parts = [settings.model.as_deref(), settings.effort.as_deref(), settings.cwd.as_deref()];
        fact("settings", single_line(&parts.into_iter().flatten().collect::<Vec<_>>().join(", ")));
    }
    fact("world state", world_state(context, full));
    fact("history", counted(context.history.len(), "item"));
    for (number, item) in (1..).zip(&context.history) {
        out.push('\n');
        out.push_str(&self::item(number, item, full, paint));
    }
    out
}

/// Renders one item of the model's input.
pub(crate) fn item(number: usize, item: &ResponseItem, full: bool, paint: Paint) -> String {
    // The item itself, and not its typed view: that has only the fields that this version knows.
    let value: Value = serde_json::from_str(item.json().get()).unwrap_or_default();
    let (label, text) = label_and_text(item, &value);
    let label = match item.role().as_deref() {
        Some("user") => paint.user(&label),
        Some("assistant") => paint.agent(&label),
        _ => paint.tool(&label),
    };
    let mut out = format!("{} {label}\n", paint.dim(format!("{number:>3}")));
    for line in text::lines(&text, (!full).then_some(TextLimits::SUMMARY)) {
        out.push_str(format!("    {line}").trim_end());
        out.push('\n');
    }
    out
}

/// Returns a label for the kind of an item, on one line, and the text of the item.
pub(crate) fn label_and_text(item: &ResponseItem, value: &Value) -> (String, String) {
    let field = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default();
    let kind = item.kind().as_str();
    match kind {
        "message" | "agent_message" => {
            (single_line(&item.role().unwrap_or_else(|| kind.to_owned())), message_text(item))
        }
        "function_call" => (format!("call {}", single_line(field("name"))), field("arguments").to_owned()),
        "custom_tool_call" => (format!("call {}", single_line(field("name"))), field("input").to_owned()),
        "function_call_output" | "custom_tool_call_output" => ("output".to_owned(), text_or_json(value.get("output"))),
        "reasoning" => ("reasoning".to_owned(), summary(value)),
        _ => (single_line(&kind.replace('_', " ")), value.to_string()),
    }
}

/// Returns the texts of a message. For a part that has no text, such as an image, its kind.
fn message_text(item: &ResponseItem) -> String {
    let part = |part| match part {
        MessagePart::Text(text) => text,
        MessagePart::Other(kind) => format!("[{kind}]"),
    };
    message_parts(item).into_iter().map(part).collect::<Vec<_>>().join("\n")
}

fn summary(value: &Value) -> String {
    let parts = value.get("summary").and_then(Value::as_array).into_iter().flatten();
    parts.filter_map(|part| part.get("text")?.as_str()).collect::<Vec<_>>().join("\n")
}

fn text_or_json(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    }
}

fn window(window: &ContextWindow) -> String {
    let id = window.window_id.map_or_else(|| "without an id".to_owned(), |id| id.to_string());
    match window.previous_window_id {
        Some(previous) => format!("number {}, {id}, after {previous}", window.number),
        None => format!("number {}, {id}", window.number),
    }
}

fn world_state(context: &ModelContext, full: bool) -> String {
    let Some(state) = &context.world_state else {
        return "none; the next record has to be a complete snapshot".to_owned();
    };
    let value = serde_json::to_value(state).unwrap_or_default();
    match &value {
        Value::Object(sections) if !full => single_line(&sections.keys().cloned().collect::<Vec<_>>().join(", ")),
        other => sanitize(&serde_json::to_string_pretty(other).unwrap_or_default()).into_owned(),
    }
}
