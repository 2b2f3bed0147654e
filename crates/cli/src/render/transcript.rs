//! Transcripts: the facts about a thread, and its turns, for people.

use selvedge_protocol::{ItemContent, OtherTurnItem, StoredThread, Timestamp, Turn, TurnItem};
use selvedge_transcript::item_facts::{self, duration, message_of, turn_status, unusual_status};
use serde_json::Value;

use super::paint::Paint;
use super::sanitize::sanitize;
use super::text::{self, TextLimits, single_line};
use super::thread_title::NO_MESSAGE;
use super::time::{ago, date_time};

/// The most columns of a title, a preview or a list of arguments.
const MAX_TITLE_WIDTH: usize = 100;
const MAX_ARGUMENTS_WIDTH: usize = 120;
const MAX_PART_WIDTH: usize = 80;

/// How to write a transcript.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TranscriptStyle {
    /// Colours.
    pub(crate) paint: Paint,
    /// Whether long texts are printed in full.
    pub(crate) full: bool,
    /// The current time.
    pub(crate) now: Timestamp,
}

/// Renders the facts about a thread, one on each line.
pub(crate) fn facts(thread: &StoredThread, style: TranscriptStyle) -> String {
    let paint = style.paint;
    let title = thread.name.as_deref().or(thread.preview.as_deref()).unwrap_or(NO_MESSAGE);
    let mut writer = TranscriptWriter::new(style);
    writer.line(&paint.heading(text::keep_start(&single_line(title), MAX_TITLE_WIDTH)));
    writer.fact("id", &paint.id(thread.id));
    if thread.name.is_some() {
        writer.fact_if_known(
            "about",
            thread.preview.as_deref().map(|preview| text::keep_start(&single_line(preview), MAX_TITLE_WIDTH)),
        );
    }
    writer.fact("updated", &format!("{} ({})", date_time(thread.updated_at), ago(thread.updated_at, style.now)));
    writer.fact("created", &date_time(thread.created_at));
    writer.fact_if_known("where", location(thread));
    writer.fact_if_known("model", model(thread));
    if thread.model.is_none() {
        writer.fact_if_known("provider", thread.model_provider.as_deref().map(single_line));
    }
    writer.fact("log", &format!("{}{}", thread.history_mode.as_str(), if thread.archived { ", archived" } else { "" }));
    writer.fact_if_known("tokens", tokens(thread));
    writer.fact_if_known("forked from", thread.forked_from_id.map(|id| id.to_string()));
    writer.fact_if_known("started by", thread.parent_thread_id.map(|id| id.to_string()));
    writer.fact_if_known("file", thread.location.as_deref().map(|location| sanitize(location).into_owned()));
    writer.out
}

fn location(thread: &StoredThread) -> Option<String> {
    let branch = thread.git.as_ref().and_then(|git| git.branch.as_deref());
    let cwd = thread.cwd.as_deref()?;
    Some(single_line(&branch.map_or_else(|| cwd.to_owned(), |branch| format!("{cwd} on {branch}"))))
}

fn model(thread: &StoredThread) -> Option<String> {
    let parts: Vec<&str> = [thread.model.as_deref()?].into_iter().chain(thread.model_provider.as_deref()).collect();
    Some(single_line(&parts.join(", ")))
}

fn tokens(thread: &StoredThread) -> Option<String> {
    let usage = serde_json::to_value(thread.token_usage.as_ref()?).ok()?;
    Some(usage.get("total_tokens")?.as_i64()?.to_string())
}

/// Renders turns with their numbers. The first of them has the number `first`.
pub(crate) fn turns(turns: &[Turn], first: usize, style: TranscriptStyle) -> String {
    let mut writer = TranscriptWriter::new(style);
    for (number, turn) in (first..).zip(turns) {
        writer.turn(&format!("turn {number}"), turn);
    }
    writer.out
}

/// Renders turns whose numbers are not known.
pub(crate) fn newest_turns(turns: &[Turn], style: TranscriptStyle) -> String {
    let mut writer = TranscriptWriter::new(style);
    turns.iter().for_each(|turn| writer.turn("turn", turn));
    writer.out
}

/// Collects the lines of a transcript.
struct TranscriptWriter {
    style: TranscriptStyle,
    out: String,
}

impl TranscriptWriter {
    fn new(style: TranscriptStyle) -> Self {
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

    fn fact_if_known(&mut self, name: &str, value: Option<String>) {
        if let Some(value) = value {
            self.fact(name, &value);
        }
    }

    fn turn(&mut self, name: &str, turn: &Turn) {
        let paint = self.style.paint;
        let mut about = vec![turn_status(turn.status).to_owned()];
        about.extend(turn.started_at.map(date_time));
        about.extend(turn.duration_ms.map(duration));
        let heading = paint.heading(format!("── {name}"));
        let about = format!("{} · {}", about.join(" · "), single_line(turn.id.as_str()));
        self.out.push('\n');
        self.line(&format!("{heading} {}", paint.dim(format!("· {about}"))));
        for item in &turn.items {
            self.item(item);
        }
        if let Some(error) = &turn.error {
            self.block(&paint.bad("error"), &message_of(error), TextLimits::SPEECH);
        }
    }

    fn item(&mut self, item: &TurnItem) {
        let paint = self.style.paint;
        match &item.content {
            ItemContent::UserMessage { text, images, attachments, .. } => self.user_message(text, images, attachments),
            ItemContent::AgentMessage { text, .. } => self.block(&paint.agent("agent"), text, TextLimits::SPEECH),
            ItemContent::Reasoning { summary, content, .. } => self.reasoning(summary, content),
            ItemContent::CommandExecution { command, output, .. } => {
                let about = outcome(item);
                let command = single_line(command);
                let label = format!("{} {}", paint.tool(format!("$ {command}")), paint.dim(about));
                self.block(&label, output.as_deref().unwrap_or_default(), TextLimits::OUTPUT);
            }
            ItemContent::FileChange { changes, status, .. } => {
                let label = format!("{} {}", paint.tool("files changed"), paint.dim(unusual_status(*status)));
                self.block(&label, &self.changes(changes), TextLimits::OUTPUT);
            }
            ItemContent::ToolCall { .. } => self.tool_call(item),
            ItemContent::WebSearch { query, .. } => self.block(&paint.tool("web search"), query, TextLimits::OUTPUT),
            ItemContent::ImageGeneration { status, revised_prompt, saved_path, .. } => {
                let parts = [Some(status), revised_prompt.as_ref(), saved_path.as_ref()];
                let text: Vec<&str> = parts.into_iter().flatten().map(String::as_str).collect();
                self.block(&paint.tool("image"), &text.join("\n"), TextLimits::OUTPUT);
            }
            ItemContent::ContextCompaction => {
                self.block(&paint.dim("(the context was compacted here)"), "", TextLimits::SUMMARY)
            }
            ItemContent::Plan { text } => self.block(&paint.agent("plan"), text, TextLimits::SPEECH),
            ItemContent::EnteredReviewMode { review } => {
                self.block(&paint.tool("review begins"), review, TextLimits::SPEECH)
            }
            ItemContent::ExitedReviewMode { review } => {
                self.block(&paint.tool("review ends"), review, TextLimits::SPEECH)
            }
            ItemContent::Transcript { role, text } => {
                self.block(&paint.user(format!("{}, spoken", single_line(role))), text, TextLimits::SPEECH);
            }
            ItemContent::InterAgentMessage { author, recipient, text } => {
                let label = format!("{} to {}", single_line(author), single_line(recipient));
                self.block(&paint.agent(label), text, TextLimits::SPEECH);
            }
            ItemContent::Other(item) => self.other(item),
            _ => self.block(&paint.tool(single_line(item.kind())), &json(item), TextLimits::OUTPUT),
        }
    }

    fn user_message(&mut self, text: &str, images: &[Value], attachments: &[Value]) {
        let mut text = text.to_owned();
        let parts = images.iter().map(|image| ("image", image));
        for (kind, part) in parts.chain(attachments.iter().map(|part| ("attachment", part))) {
            text.push_str(&format!("\n[{kind} {}]", text::keep_start(&single_line(&json(part)), MAX_PART_WIDTH)));
        }
        self.block(&self.style.paint.user("user"), &text, TextLimits::SPEECH);
    }

    fn reasoning(&mut self, summary: &[String], content: &[String]) {
        // A summary is what the client showed. The content is longer, and there only if the model returns it.
        let parts = if summary.is_empty() { content } else { summary };
        self.block(&self.style.paint.dim("thinking"), &parts.join("\n\n"), TextLimits::SPEECH);
    }

    fn tool_call(&mut self, item: &TurnItem) {
        let ItemContent::ToolCall { server, tool, arguments, result, error, .. } = &item.content else { return };
        let paint = self.style.paint;
        let name = server.as_ref().map_or_else(|| tool.clone(), |server| format!("{server}.{tool}"));
        let arguments = text::keep_start(&single_line(&json(arguments)), MAX_ARGUMENTS_WIDTH);
        let label =
            format!("{} {}", paint.tool(format!("{}({arguments})", single_line(&name))), paint.dim(outcome(item)));
        let answer = error.as_ref().or(result.as_ref()).map(message_of).unwrap_or_default();
        self.block(&label, &answer, TextLimits::OUTPUT);
    }

    fn other(&mut self, item: &OtherTurnItem) {
        let label = self.style.paint.tool(single_line(&item.kind.replace('_', " ")));
        let fields = if item.fields.is_empty() { String::new() } else { json(&item.fields) };
        self.block(&label, &fields, TextLimits::OUTPUT);
    }

    /// Returns the changed paths, or the changes themselves if everything is printed in full.
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

    /// Writes a label, and below it a text, indented and shortened.
    fn block(&mut self, label: &str, text: &str, limits: TextLimits) {
        self.line(label);
        for line in text::lines(text, (!self.style.full).then_some(limits)) {
            self.line(&format!("  {line}"));
        }
    }
}

/// Returns how a step ended, in parentheses. Empty for a step that completed and has no exit code.
fn outcome(item: &TurnItem) -> String {
    let outcome = item_facts::outcome(&item.content);
    if outcome.is_empty() { outcome } else { format!("({outcome})") }
}

fn change_kind(change: &Value) -> &str {
    let tagged = change.get("type").and_then(Value::as_str);
    tagged.or_else(|| change.as_object()?.keys().next().map(String::as_str)).unwrap_or("change")
}

fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
