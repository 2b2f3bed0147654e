//! A line of a thread's log as one short line for people.

use std::collections::VecDeque;

use selvedge_protocol::{EventMsg, ResponseItem, RolloutItem, RolloutLine};
use serde_json::Value;

use super::context::label_and_text;
use super::style::Paint;
use super::text::{keep_start, one_line};
use super::time::date_time;

/// How many columns a line has where nobody says how many there are.
const WIDTH: usize = 200;
/// How many columns the word for what a line is has at least.
const LABEL: usize = 9;
/// How many things that were said are remembered, to be known when they are told again.
const REMEMBERED: usize = 8;

/// Writes lines one after another.
///
/// Most logs tell twice what was said: for the model and for the client. It is shown once.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    said: VecDeque<(Form, String, String)>,
}

/// Whom a line is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Model,
    Client,
}

impl Lines {
    /// The line as it is shown; none if it shows nothing, or what another showed already.
    pub(crate) fn show(&mut self, line: &RolloutLine, paint: Paint, width: Option<usize>) -> Option<String> {
        let (form, shown) = shown(line)?;
        if self.is_told_again(form, &shown) {
            return None;
        }
        let time = line.timestamp().map_or_else(|| " ".repeat(19), date_time);
        let label = format!("{:<LABEL$}", one_line(&shown.label));
        let room = width.unwrap_or(WIDTH).saturating_sub(time.len() + label.len() + 2).max(20);
        let text = keep_start(&one_line(&shown.text), room);
        let label = match shown.label.as_str() {
            "user" => paint.user(label),
            "agent" => paint.agent(label),
            "error" => paint.bad(label),
            "thinking" => paint.dim(label),
            _ => paint.tool(label),
        };
        Some(format!("{} {label} {text}", paint.dim(time)).trim_end().to_owned())
    }

    /// Forgets what was said: what follows stands somewhere else.
    pub(crate) fn forget(&mut self) {
        self.said.clear();
    }

    fn is_told_again(&mut self, form: Form, shown: &Shown) -> bool {
        if !matches!(shown.label.as_str(), "user" | "agent" | "thinking") {
            return false;
        }
        let is_it = |(other, label, text): &(Form, String, String)| {
            *other != form && *label == shown.label && text.trim() == shown.text.trim()
        };
        if let Some(at) = self.said.iter().position(is_it) {
            self.said.remove(at);
            return true;
        }
        if self.said.len() == REMEMBERED {
            self.said.pop_front();
        }
        self.said.push_back((form, shown.label.clone(), shown.text.clone()));
        false
    }
}

struct Shown {
    label: String,
    text: String,
}

impl Shown {
    fn new(label: impl Into<String>, text: impl Into<String>) -> Self {
        Self { label: label.into(), text: text.into() }
    }
}

/// What a line shows; none for the books that are kept of tokens, settings and surroundings.
fn shown(line: &RolloutLine) -> Option<(Form, Shown)> {
    let payload = || serde_json::from_str::<Value>(line.payload()).unwrap_or_default();
    let shown = match line.item() {
        RolloutItem::ResponseItem(item) => return Some((Form::Model, response(&item, &payload()))),
        RolloutItem::EventMsg(event) => event_shown(&event, &payload())?,
        RolloutItem::SessionMeta(meta) => Shown::new("log", format!("begins, in {}", meta.cwd.unwrap_or_default())),
        RolloutItem::Compacted(compacted) => Shown::new("compacted", compacted.message.unwrap_or_default()),
        RolloutItem::InterAgentCommunication(_) => {
            let payload = payload();
            let [author, recipient, content] = ["author", "recipient", "content"].map(|name| field(&payload, name));
            Shown::new("message", format!("{author} to {recipient}: {content}"))
        }
        RolloutItem::ThreadMetadata(_) => {
            Shown::new("metadata", fields(&payload().get("patch").cloned().unwrap_or_default()))
        }
        RolloutItem::TurnContext(_) | RolloutItem::WorldState(_) => return None,
        _ if matches!(line.kind(), "token_usage_record") => return None,
        _ => Shown::new(words(line.kind()), fields(&payload())),
    };
    Some((Form::Client, shown))
}

fn response(item: &ResponseItem, payload: &Value) -> Shown {
    let (label, text) = label_and_text(item, payload);
    match label.split_once(' ') {
        Some(("call", name)) => Shown::new("call", format!("{name} {text}")),
        _ if label == "assistant" => Shown::new("agent", text),
        _ if label == "reasoning" => Shown::new("thinking", text),
        _ => Shown::new(label, text),
    }
}

fn event_shown(event: &EventMsg, payload: &Value) -> Option<Shown> {
    let shown = match event.kind() {
        "token_count" | "thread_settings_applied" => return None,
        "user_message" => Shown::new("user", with_images(field(payload, "message"), payload)),
        "agent_message" => Shown::new("agent", field(payload, "message")),
        "agent_reasoning" | "agent_reasoning_raw_content" => Shown::new("thinking", field(payload, "text")),
        "task_started" => Shown::new("turn", "begins"),
        "task_complete" => Shown::new("turn", failed(payload).unwrap_or_else(|| "is done".to_owned())),
        "turn_aborted" => Shown::new("turn", format!("was broken off: {}", field(payload, "reason"))),
        "thread_rolled_back" => {
            let turns = payload.get("num_turns").and_then(Value::as_u64).unwrap_or_default();
            let turns = if turns == 1 { "turn was".to_owned() } else { format!("{turns} turns were") };
            Shown::new("rewound", format!("the newest {turns} taken back"))
        }
        "context_compacted" => Shown::new("compacted", ""),
        "error" => Shown::new("error", field(payload, "message")),
        "item_completed" => completed(payload.get("item")?),
        kind => Shown::new(words(kind), fields(payload)),
    };
    Some(shown)
}

fn completed(item: &Value) -> Shown {
    match field(item, "type") {
        "UserMessage" => Shown::new("user", parts(item, "content")),
        "AgentMessage" => Shown::new("agent", parts(item, "content")),
        "Reasoning" => Shown::new("thinking", parts(item, "summary_text")),
        "Plan" => Shown::new("plan", field(item, "text")),
        "CommandExecution" => {
            let code = item.get("exit_code").and_then(Value::as_i64);
            let ended = code.map_or_else(|| field(item, "status").to_owned(), |code| format!("exit {code}"));
            Shown::new("command", format!("{} ({ended})", parts(item, "command")))
        }
        "FileChange" => {
            let paths = item.get("changes").and_then(Value::as_object).into_iter().flatten();
            Shown::new("files", paths.map(|(path, _)| path.as_str()).collect::<Vec<_>>().join(", "))
        }
        "WebSearch" => Shown::new("search", field(item, "query")),
        "ContextCompaction" => Shown::new("compacted", ""),
        kind => Shown::new(if kind.is_empty() { "item" } else { kind }, fields(item)),
    }
}

/// The texts of a list, or a text; of a part that is none, its kind.
fn parts(value: &Value, name: &str) -> String {
    let text = |part: &Value| match part.as_str().or_else(|| part.get("text")?.as_str()) {
        Some(text) => text.to_owned(),
        None => format!("[{}]", part.get("type").and_then(Value::as_str).unwrap_or("something")),
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
    format!("{text}{}", " [image]".repeat(images.min(9)))
}

fn failed(payload: &Value) -> Option<String> {
    let error = payload.get("error").filter(|error| !error.is_null())?;
    let message = error.get("message").and_then(Value::as_str).map_or_else(|| error.to_string(), str::to_owned);
    Some(format!("failed: {message}"))
}

fn field<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// The fields of an object but for those that every one has.
fn fields(value: &Value) -> String {
    let Value::Object(all) = value else {
        return if value.is_null() { String::new() } else { value.to_string() };
    };
    let said =
        all.iter().filter(|(name, _)| !matches!(name.as_str(), "type" | "id" | "call_id" | "turn_id" | "thread_id"));
    let told = said.filter(|(_, value)| !value.is_null()).map(|(name, value)| match value {
        Value::String(text) => format!("{name}: {text}"),
        other => format!("{name}: {other}"),
    });
    told.collect::<Vec<_>>().join(", ")
}

fn words(kind: &str) -> String {
    kind.replace('_', " ")
}
