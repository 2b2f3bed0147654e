//! Summaries of log lines: each line of a log as one short line for people.

use std::collections::VecDeque;

use selvedge_protocol::{EventMsg, ResponseItem, RolloutItem, RolloutLine, without_lone_surrogates};
use serde_json::Value;

use super::context::label_and_text;
use super::paint::Paint;
use super::text::{keep_start, single_line};
use super::time::date_time;

/// The width of a line if the width of the output is not known.
const DEFAULT_WIDTH: usize = 200;
/// The least width of the label that names the kind of a line.
const MIN_LABEL_WIDTH: usize = 9;
/// The least width of the text, even if the line gets too wide.
const MIN_TEXT_WIDTH: usize = 20;
/// The width of a time.
const TIME_WIDTH: usize = 19;
/// How many recent messages are remembered to recognize their duplicates. A duplicate follows its original within a few
/// lines.
const MAX_REMEMBERED: usize = 8;
/// The most images of a message that are shown one by one.
const MAX_IMAGES: usize = 9;

/// Summarizes the lines of a log one after another.
///
/// Most logs hold each message twice: as an item for the model and as an event for the client. Only the first of the
/// two gets a summary.
#[derive(Debug, Default)]
pub(crate) struct LineSummarizer {
    /// Messages whose duplicate has not come yet, oldest first.
    unpaired: VecDeque<(Audience, LineSummary)>,
}

/// The audience of a line: the model or the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Audience {
    Model,
    Client,
}

impl LineSummarizer {
    /// Returns the summary of a line, or `None` if there is nothing to show, or if the line duplicates an earlier one.
    pub(crate) fn summarize(&mut self, line: &RolloutLine, paint: Paint, width: Option<usize>) -> Option<String> {
        let (audience, summary) = summary(line)?;
        if self.is_duplicate(audience, &summary) {
            return None;
        }
        let time = line.timestamp().map_or_else(|| " ".repeat(TIME_WIDTH), date_time);
        let label = format!("{:<MIN_LABEL_WIDTH$}", single_line(&summary.label));
        let room = width.unwrap_or(DEFAULT_WIDTH).saturating_sub(time.len() + label.len() + 2).max(MIN_TEXT_WIDTH);
        let text = keep_start(&single_line(&summary.text), room);
        let label = match summary.label.as_str() {
            "user" => paint.user(label),
            "agent" => paint.agent(label),
            "error" => paint.bad(label),
            "thinking" => paint.dim(label),
            _ => paint.tool(label),
        };
        Some(format!("{} {label} {text}", paint.dim(time)).trim_end().to_owned())
    }

    /// Forgets the earlier lines. To be called when the next line does not follow them.
    pub(crate) fn forget(&mut self) {
        self.unpaired.clear();
    }

    /// Returns whether a message duplicates an earlier one, and remembers it if not.
    fn is_duplicate(&mut self, audience: Audience, summary: &LineSummary) -> bool {
        // A pair is one message for the model and one for the client with the same text. A matched original is
        // forgotten, so that a user who sends the same message twice sees it twice:
        //
        //     client "continue"   shown, remembered
        //     model  "continue"   duplicate of the first, which is forgotten
        //     client "continue"   shown, remembered
        //
        // Other kinds of lines are written once, or differ between the two.
        if !matches!(summary.label.as_str(), "user" | "agent" | "thinking") {
            return false;
        }
        let is_original = |(other, earlier): &(Audience, LineSummary)| {
            *other != audience && earlier.label == summary.label && earlier.text.trim() == summary.text.trim()
        };
        if let Some(original) = self.unpaired.iter().position(is_original) {
            self.unpaired.remove(original);
            return true;
        }
        if self.unpaired.len() == MAX_REMEMBERED {
            self.unpaired.pop_front();
        }
        self.unpaired.push_back((audience, summary.clone()));
        false
    }
}

/// The parts of a summary.
#[derive(Clone, Debug)]
struct LineSummary {
    label: String,
    text: String,
}

impl LineSummary {
    fn new(label: impl Into<String>, text: impl Into<String>) -> Self {
        Self { label: label.into(), text: text.into() }
    }
}

/// Returns the summary of a line, or `None` for bookkeeping: tokens, settings and world state.
fn summary(line: &RolloutLine) -> Option<(Audience, LineSummary)> {
    let payload = || serde_json::from_str::<Value>(&without_lone_surrogates(line.payload())).unwrap_or_default();
    let summary = match line.item() {
        RolloutItem::ResponseItem(item) => return Some((Audience::Model, response(&item, &payload()))),
        RolloutItem::EventMsg(event) => event_summary(&event, &payload())?,
        RolloutItem::SessionMeta(meta) => {
            LineSummary::new("log", format!("begins, in {}", meta.cwd.unwrap_or_default()))
        }
        RolloutItem::Compacted(compacted) => LineSummary::new("compacted", compacted.message.unwrap_or_default()),
        RolloutItem::InterAgentCommunication(_) => {
            let payload = payload();
            let [author, recipient, content] = ["author", "recipient", "content"].map(|name| field(&payload, name));
            LineSummary::new("message", format!("{author} to {recipient}: {content}"))
        }
        // The typed patch contains no credentials.
        RolloutItem::ThreadMetadata(record) => {
            LineSummary::new("metadata", fields(&serde_json::to_value(&record.patch).unwrap_or_default()))
        }
        RolloutItem::RealtimeItem(item) => match item.transcript() {
            Some(("assistant", text)) => LineSummary::new("agent", text),
            Some((role, text)) => LineSummary::new(role, text),
            None => LineSummary::new(to_words(line.kind()), fields(&payload())),
        },
        RolloutItem::TurnContext(_)
        | RolloutItem::WorldState(_)
        | RolloutItem::TokenUsageRecord(_)
        | RolloutItem::InterAgentCommunicationMetadata(_) => return None,
        _ => LineSummary::new(to_words(line.kind()), fields(&payload())),
    };
    Some((Audience::Client, summary))
}

fn response(item: &ResponseItem, payload: &Value) -> LineSummary {
    let (label, text) = label_and_text(item, payload);
    // The labels of a context are those of the model's protocol. The lines of a log use the words of the events, so
    // that both forms of a message look the same.
    match label.split_once(' ') {
        Some(("call", name)) => LineSummary::new("call", format!("{name} {text}")),
        _ if label == "assistant" => LineSummary::new("agent", text),
        _ if label == "reasoning" => LineSummary::new("thinking", text),
        _ => LineSummary::new(label, text),
    }
}

fn event_summary(event: &EventMsg, payload: &Value) -> Option<LineSummary> {
    let summary = match event.kind() {
        // Bookkeeping: it follows nearly every message, and would hide what happens.
        "token_count" | "thread_settings_applied" => return None,
        "user_message" => LineSummary::new("user", with_images(field(payload, "message"), payload)),
        "agent_message" => LineSummary::new("agent", field(payload, "message")),
        "agent_reasoning" | "agent_reasoning_raw_content" => LineSummary::new("thinking", field(payload, "text")),
        "task_started" => LineSummary::new("turn", "begins"),
        "task_complete" => LineSummary::new("turn", failure_text(payload).unwrap_or_else(|| "is done".to_owned())),
        "turn_aborted" => LineSummary::new("turn", format!("was aborted: {}", field(payload, "reason"))),
        "thread_rolled_back" => {
            let turns = payload.get("num_turns").and_then(Value::as_u64).unwrap_or_default();
            let turns = if turns == 1 { "turn was".to_owned() } else { format!("{turns} turns were") };
            LineSummary::new("rewound", format!("the newest {turns} taken back"))
        }
        "context_compacted" => LineSummary::new("compacted", ""),
        "error" => LineSummary::new("error", field(payload, "message")),
        "item_completed" => completed_item(payload.get("item")?),
        // Kinds that a later version adds get a summary of whatever they contain.
        kind => LineSummary::new(to_words(kind), fields(payload)),
    };
    Some(summary)
}

fn completed_item(item: &Value) -> LineSummary {
    match field(item, "type") {
        "UserMessage" => LineSummary::new("user", parts(item, "content")),
        "AgentMessage" => LineSummary::new("agent", parts(item, "content")),
        "Reasoning" => LineSummary::new("thinking", parts(item, "summary_text")),
        "Plan" => LineSummary::new("plan", field(item, "text")),
        "CommandExecution" => {
            let code = item.get("exit_code").and_then(Value::as_i64);
            let ended = code.map_or_else(|| field(item, "status").to_owned(), |code| format!("exit {code}"));
            LineSummary::new("command", format!("{} ({ended})", parts(item, "command")))
        }
        "FileChange" => {
            let paths = item.get("changes").and_then(Value::as_object).into_iter().flatten();
            LineSummary::new("files", paths.map(|(path, _)| path.as_str()).collect::<Vec<_>>().join(", "))
        }
        "WebSearch" => LineSummary::new("search", field(item, "query")),
        "ContextCompaction" => LineSummary::new("compacted", ""),
        kind => LineSummary::new(if kind.is_empty() { "item" } else { kind }, fields(item)),
    }
}

/// Returns the text of a field, or the texts of a list. For a part that has no text, its kind.
fn parts(value: &Value, name: &str) -> String {
    let text = |part: &Value| match part.as_str().or_else(|| part.get("text")?.as_str()) {
        Some(text) => text.to_owned(),
        None => format!("[{}]", part.get("type").and_then(Value::as_str).unwrap_or("unknown")),
    };
    match value.get(name) {
        Some(Value::Array(parts)) => parts.iter().map(text).collect::<Vec<_>>().join(" "),
        Some(Value::Null) | None => String::new(),
        Some(other) => text(other),
    }
}

fn with_images(text: &str, payload: &Value) -> String {
    let count = |name: &str| payload.get(name).and_then(Value::as_array).map_or(0, Vec::len);
    let images = count("images") + count("local_images");
    format!("{text}{}", " [image]".repeat(images.min(MAX_IMAGES)))
}

fn failure_text(payload: &Value) -> Option<String> {
    let error = payload.get("error").filter(|error| !error.is_null())?;
    let message = error.get("message").and_then(Value::as_str).map_or_else(|| error.to_string(), str::to_owned);
    Some(format!("failed: {message}"))
}

fn field<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Returns the fields of an object, without the ids and the type that every one has.
fn fields(value: &Value) -> String {
    let Value::Object(all) = value else {
        return if value.is_null() { String::new() } else { value.to_string() };
    };
    let own =
        all.iter().filter(|(name, _)| !matches!(name.as_str(), "type" | "id" | "call_id" | "turn_id" | "thread_id"));
    let texts = own.filter(|(_, value)| !value.is_null()).map(|(name, value)| match value {
        Value::String(text) => format!("{name}: {text}"),
        other => format!("{name}: {other}"),
    });
    texts.collect::<Vec<_>>().join(", ")
}

fn to_words(kind: &str) -> String {
    kind.replace('_', " ")
}
