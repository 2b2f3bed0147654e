//! A thread as a person reads it.

use selvedge_protocol::{ItemStatus, OtherTurnItem, StoredThread, Timestamp, Turn, TurnItem, TurnStatus};
use serde_json::Value;

use super::style::Paint;
use super::text::{self, Limits, clean, one_line};
use super::time::{ago, date_time, duration};

/// How to write a transcript.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    /// Colours.
    pub(crate) paint: Paint,
    /// Whether long texts are printed whole.
    pub(crate) full: bool,
    /// What the time is.
    pub(crate) now: Timestamp,
}

/// What is known of the thread, a line for each thing.
pub(crate) fn head(thread: &StoredThread, style: Style) -> String {
    let paint = style.paint;
    let title = thread.name.as_deref().or(thread.preview.as_deref()).unwrap_or("(nothing said yet)");
    let mut page = Page::new(style);
    page.line(&paint.heading(text::keep_start(&one_line(title), 100)));
    page.fact("id", &paint.id(thread.id));
    if thread.name.is_some() {
        page.maybe("about", thread.preview.as_deref().map(|preview| text::keep_start(&one_line(preview), 100)));
    }
    page.fact("updated", &format!("{} ({})", date_time(thread.updated_at), ago(thread.updated_at, style.now)));
    page.fact("created", &date_time(thread.created_at));
    page.maybe("where", place(thread));
    page.maybe("model", model(thread));
    page.fact("log", &format!("{}{}", thread.history_mode.as_str(), if thread.archived { ", archived" } else { "" }));
    page.maybe("tokens", tokens(thread));
    page.maybe("forked from", thread.forked_from_id.map(|id| id.to_string()));
    page.maybe("started by", thread.parent_thread_id.map(|id| id.to_string()));
    page.maybe("file", thread.location.as_deref().map(|location| clean(location).into_owned()));
    page.out
}

fn place(thread: &StoredThread) -> Option<String> {
    let branch = thread.git.as_ref().and_then(|git| git.branch.as_deref());
    let cwd = thread.cwd.as_deref()?;
    Some(one_line(&branch.map_or_else(|| cwd.to_owned(), |branch| format!("{cwd} on {branch}"))))
}

fn model(thread: &StoredThread) -> Option<String> {
    let model = thread.model.as_deref();
    let parts: Vec<&str> = [model, thread.model_provider.as_deref()].into_iter().flatten().collect();
    (!parts.is_empty()).then(|| one_line(&parts.join(", ")))
}

fn tokens(thread: &StoredThread) -> Option<String> {
    let usage = serde_json::to_value(thread.token_usage.as_ref()?).ok()?;
    Some(usage.get("total_tokens")?.as_i64()?.to_string())
}

/// The turns, the first of them with number `first`.
pub(crate) fn turns(turns: &[Turn], first: usize, style: Style) -> String {
    let mut page = Page::new(style);
    for (number, turn) in (first..).zip(turns) {
        page.turn(&format!("turn {number}"), turn);
    }
    page.out
}

/// Turns whose numbers are not known.
pub(crate) fn newest_turns(turns: &[Turn], style: Style) -> String {
    let mut page = Page::new(style);
    turns.iter().for_each(|turn| page.turn("turn", turn));
    page.out
}

/// Text under way.
struct Page {
    style: Style,
    out: String,
}

impl Page {
    fn new(style: Style) -> Self {
        Self { style, out: String::new() }
    }

    fn line(&mut self, text: &str) {
        self.out.push_str(text.trim_end());
        self.out.push('\n');
    }

    fn fact(&mut self, name: &str, value: &str) {
        let name = self.style.paint.dim(format!("{name:<12}"));
        self.line(&format!("{name}{value}"));
    }

    fn maybe(&mut self, name: &str, value: Option<String>) {
        if let Some(value) = value {
            self.fact(name, &value);
        }
    }

    fn turn(&mut self, name: &str, turn: &Turn) {
        let paint = self.style.paint;
        let mut about = vec![status(turn.status).to_owned()];
        about.extend(turn.started_at.map(date_time));
        about.extend(turn.duration_ms.map(duration));
        let heading = paint.heading(format!("── {name}"));
        let about = format!("{} · {}", about.join(" · "), one_line(turn.id.as_str()));
        self.out.push('\n');
        self.line(&format!("{heading} {}", paint.dim(format!("· {about}"))));
        for item in &turn.items {
            self.item(item);
        }
        if let Some(error) = &turn.error {
            self.block(&paint.bad("error"), &message_of(error), Limits::SPEECH);
        }
    }

    fn item(&mut self, item: &TurnItem) {
        let paint = self.style.paint;
        match item {
            TurnItem::UserMessage { text, images, .. } => self.user_message(text, images),
            TurnItem::AgentMessage { text, .. } => self.block(&paint.agent("agent"), text, Limits::SPEECH),
            TurnItem::Reasoning { summary, content, .. } => self.reasoning(summary, content),
            TurnItem::CommandExecution { command, output, .. } => {
                let about = outcome(item);
                let command = one_line(command);
                let label = format!("{} {}", paint.tool(format!("$ {command}")), paint.dim(about));
                self.block(&label, output.as_deref().unwrap_or_default(), Limits::OUTPUT);
            }
            TurnItem::FileChange { changes, status, .. } => {
                let label = format!("{} {}", paint.tool("files changed"), paint.dim(unless_done(*status)));
                self.block(&label, &self.changes(changes), Limits::OUTPUT);
            }
            TurnItem::ToolCall { .. } => self.tool_call(item),
            TurnItem::WebSearch { query, .. } => self.block(&paint.tool("web search"), query, Limits::OUTPUT),
            TurnItem::ImageGeneration { status, revised_prompt, saved_path, .. } => {
                let parts = [Some(status), revised_prompt.as_ref(), saved_path.as_ref()];
                let text: Vec<&str> = parts.into_iter().flatten().map(String::as_str).collect();
                self.block(&paint.tool("image"), &text.join("\n"), Limits::OUTPUT);
            }
            TurnItem::ContextCompaction { .. } => {
                self.block(&paint.dim("(the context was compacted here)"), "", Limits::GLANCE)
            }
            TurnItem::Plan { text, .. } => self.block(&paint.agent("plan"), text, Limits::SPEECH),
            TurnItem::EnteredReviewMode { review, .. } => {
                self.block(&paint.tool("review begins"), review, Limits::SPEECH)
            }
            TurnItem::ExitedReviewMode { review, .. } => self.block(&paint.tool("review ends"), review, Limits::SPEECH),
            TurnItem::Other(item) => self.other(item),
            _ => self.block(&paint.tool(one_line(item.kind())), &json(item), Limits::OUTPUT),
        }
    }

    fn user_message(&mut self, text: &str, images: &[Value]) {
        let mut text = text.to_owned();
        for image in images {
            text.push_str(&format!("\n[image {}]", text::keep_start(&one_line(&json(image)), 80)));
        }
        self.block(&self.style.paint.user("user"), &text, Limits::SPEECH);
    }

    fn reasoning(&mut self, summary: &[String], content: &[String]) {
        let parts = if summary.is_empty() { content } else { summary };
        self.block(&self.style.paint.dim("thinking"), &parts.join("\n\n"), Limits::SPEECH);
    }

    fn tool_call(&mut self, item: &TurnItem) {
        let TurnItem::ToolCall { server, tool, arguments, result, error, .. } = item else { return };
        let paint = self.style.paint;
        let name = server.as_ref().map_or_else(|| tool.clone(), |server| format!("{server}.{tool}"));
        let arguments = text::keep_start(&one_line(&json(arguments)), 120);
        let label = format!("{} {}", paint.tool(format!("{}({arguments})", one_line(&name))), paint.dim(outcome(item)));
        let answer = error.as_ref().or(result.as_ref()).map(message_of).unwrap_or_default();
        self.block(&label, &answer, Limits::OUTPUT);
    }

    fn other(&mut self, item: &OtherTurnItem) {
        let label = self.style.paint.tool(one_line(&item.kind.replace('_', " ")));
        let fields = if item.fields.is_empty() { String::new() } else { json(&item.fields) };
        self.block(&label, &fields, Limits::OUTPUT);
    }

    /// The paths; with everything wanted, what was changed in them too.
    fn changes(&self, changes: &Value) -> String {
        match changes {
            Value::Object(paths) if !self.style.full => paths
                .iter()
                .map(|(path, change)| format!("{} {path}", change_kind(change)))
                .collect::<Vec<_>>()
                .join("\n"),
            other => serde_json::to_string_pretty(other).unwrap_or_default(),
        }
    }

    /// A label, and below it a text, indented and shortened.
    fn block(&mut self, label: &str, text: &str, limits: Limits) {
        self.line(label);
        for line in text::lines(text, (!self.style.full).then_some(limits)) {
            self.line(&format!("  {line}"));
        }
    }
}

fn status(status: TurnStatus) -> &'static str {
    match status {
        TurnStatus::Completed => "completed",
        TurnStatus::Interrupted => "interrupted",
        TurnStatus::Failed => "failed",
        TurnStatus::InProgress => "in progress",
    }
}

/// How a step ended, as far as that is worth saying.
fn outcome(item: &TurnItem) -> String {
    let (status, exit_code, millis) = match item {
        TurnItem::CommandExecution { status, exit_code, duration_ms, .. } => (*status, *exit_code, *duration_ms),
        TurnItem::ToolCall { status, duration_ms, .. } => (*status, None, *duration_ms),
        _ => return String::new(),
    };
    let mut parts = Vec::new();
    match exit_code {
        Some(code) => parts.push(format!("exit {code}")),
        None => parts.extend(Some(unless_done(status).to_owned()).filter(|status| !status.is_empty())),
    }
    parts.extend(millis.map(duration));
    if parts.is_empty() { String::new() } else { format!("({})", parts.join(", ")) }
}

fn unless_done(status: ItemStatus) -> &'static str {
    match status {
        ItemStatus::Completed => "",
        ItemStatus::Failed => "failed",
        ItemStatus::Declined => "declined",
        ItemStatus::InProgress => "no end recorded",
    }
}

fn change_kind(change: &Value) -> &str {
    let tagged = change.get("type").and_then(Value::as_str);
    tagged.or_else(|| change.as_object()?.keys().next().map(String::as_str)).unwrap_or("change")
}

/// What a value says, for values that are or hold one text; else the value.
fn message_of(value: &Value) -> String {
    let text = value.as_str().or_else(|| value.get("message")?.as_str());
    text.map_or_else(|| json(value), str::to_owned)
}

fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
