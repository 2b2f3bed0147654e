//! Turns and items as fragments of HTML.
//!
//! Every text goes through the escaping of the template. The id of an element is made of the id of its turn: `turn-ID` and, for the
//! second item of that turn, `turn-ID-item-2`. So a link to one stays valid while the thread grows.

use std::collections::HashSet;

use maud::{Markup, html};
use selvedge_protocol::{ItemContent, StoredThread, Timestamp, Turn, TurnId, TurnItem};
use serde_json::Value;

use crate::highlight::highlighted;
use crate::item_facts::{
    FileChangePart, ImageSource, changed_files, duration, has_failed, image_source, message_of, outcome, turn_status,
};
use crate::parts::TranscriptParts;
use crate::plain_text::{plain_text, without_controls};
use crate::rich_text::rich_text;

/// Outputs with more lines are folded, and so many of them stay visible.
const VISIBLE_LINES: usize = 12;

/// The title of a thread without a name and without a message.
pub const NO_MESSAGE: &str = "(no message yet)";

/// Returns the text of a page or of a part of one. Control characters, which texts of a thread can contain and HTML forbids, become
/// visible symbols.
#[must_use]
pub fn html_text(markup: Markup) -> String {
    without_controls(markup.into_string())
}

/// Returns the name of a thread, or else the beginning of its first message.
#[must_use]
pub fn title(thread: &StoredThread) -> &str {
    let title = thread.name.as_deref().or(thread.preview.as_deref()).unwrap_or_default().trim();
    if title.is_empty() { NO_MESSAGE } else { title }
}

/// Renders a time in UTC. Its element has the exact time, so that a page can show it in the time of its reader.
#[must_use]
pub fn time(at: Timestamp) -> Markup {
    let exact = at.to_string();
    // `2026-11-21T09:08:56.680Z`: everything before the seconds.
    let shown = exact.get(..16).map_or_else(|| exact.clone(), |minutes| format!("{} UTC", minutes.replace('T', " ")));
    html! { time datetime=(exact) { (shown) } }
}

/// Returns a number with a comma between groups of three digits.
#[must_use]
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Renders the facts about a thread as a list of terms.
#[must_use]
pub fn facts(thread: &StoredThread) -> Markup {
    let branch = thread.git.as_ref().and_then(|git| git.branch.as_deref());
    let provider = thread.model_provider.as_deref();
    let tokens = thread.token_usage.as_ref().and_then(|usage| usage.total_tokens);
    html! {
        dl.facts {
            dt { "thread" } dd { code { (thread.id) } }
            dt { "updated" } dd { (time(thread.updated_at)) }
            dt { "created" } dd { (time(thread.created_at)) }
            @if let Some(cwd) = &thread.cwd { dt { "directory" } dd { code { (cwd) } } }
            @if let Some(branch) = branch { dt { "branch" } dd { code { (branch) } } }
            @match (thread.model.as_deref(), provider) {
                (Some(model), Some(provider)) => { dt { "model" } dd { (model) ", " (provider) } },
                (Some(model), None) => { dt { "model" } dd { (model) } },
                (None, Some(provider)) => { dt { "provider" } dd { (provider) } },
                (None, None) => {},
            }
            @if let Some(tokens) = tokens { dt { "tokens" } dd { (thousands(tokens)) } }
            @if thread.archived { dt { "archived" } dd { "yes" } }
        }
    }
}

/// Returns the id of the element of the turn with this id.
#[must_use]
pub fn anchor(turn: &TurnId) -> String {
    let id = turn.as_str();
    let is_plain = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if is_plain {
        return format!("turn-{id}");
    }
    // The underscore keeps these apart from plain ids.
    let hex: String = id.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("turn_{hex}")
}

/// Ids of the elements of turns on one page. Several turns can have one id.
#[derive(Debug, Default)]
pub struct TurnAnchors {
    known: HashSet<String>,
}

impl TurnAnchors {
    /// Returns the id of the element of the next turn on the page: [`anchor`], unless another turn has that one. Then the position of
    /// its first line distinguishes it.
    pub fn next(&mut self, turn: &Turn) -> String {
        let first = anchor(&turn.id);
        let second = format!("{first}-start-{}", turn.lines.start);
        let others = (2..).map(|number| format!("{second}-{number}"));
        let mut all = [first, second.clone()].into_iter().chain(others);
        all.find(|anchor| self.known.insert(anchor.clone())).unwrap_or(second)
    }
}

/// What a page adds to a turn.
#[derive(Debug)]
pub struct TurnExtras<'a, F> {
    /// The id of the element of the turn, from [`TurnAnchors`].
    pub anchor: &'a str,
    /// How many items of the turn are before the first one that is here.
    pub first_item: u64,
    /// What stands before the first item.
    pub before_items: &'a Markup,
    /// What stands at the end of the item with this index among those that are here.
    pub after_item: F,
    /// What stands after the last item.
    pub after_items: &'a Markup,
}

/// Renders a turn. `number` is its number in the thread, counted from 1, if it is known.
#[must_use]
pub fn turn(number: Option<u64>, turn: &Turn, parts: TranscriptParts) -> Markup {
    turn_at(&anchor(&turn.id), number, turn, parts)
}

/// Renders a turn whose element has this id.
pub(crate) fn turn_at(anchor: &str, number: Option<u64>, turn: &Turn, parts: TranscriptParts) -> Markup {
    let nothing = html! {};
    let extras =
        TurnExtras { anchor, first_item: 0, before_items: &nothing, after_item: |_| html! {}, after_items: &nothing };
    turn_with(number, turn, parts, &extras)
}

/// Renders a turn with what a page adds to it. Its element has the position of its first line in the thread as `data-start`, which
/// distinguishes turns with the same id, its number as `data-number`, and as `data-first` how many items before those here are not here.
#[must_use]
pub fn turn_with<F: Fn(usize) -> Markup>(
    number: Option<u64>,
    turn: &Turn,
    parts: TranscriptParts,
    extras: &TurnExtras<'_, F>,
) -> Markup {
    let anchor = extras.anchor;
    let first_item = (extras.first_item > 0).then_some(extras.first_item);
    html! {
        section.turn id=(anchor) data-start=(turn.lines.start) data-number=[number] data-first=[first_item] aria-labelledby={ (anchor) "-title" } {
            header.turn-head {
                h2 id={ (anchor) "-title" } { a href={ "#" (anchor) } { "Turn" @if let Some(number) = number { " " (number) } } }
                @let state = turn_status(turn.status);
                span.state.(state.replace(' ', "-")) { (state) }
                @if let Some(at) = turn.started_at { (time(at)) }
                @if let Some(millis) = turn.duration_ms { span.duration { (duration(millis)) } }
            }
            (extras.before_items)
            @for (index, item) in turn.items.iter().enumerate() {
                @if parts.contain(&item.content) {
                    (self::item(&item_anchor(anchor, extras.first_item + index as u64), item, parts, &(extras.after_item)(index)))
                }
            }
            (extras.after_items)
            @if let Some(error) = &turn.error {
                article.item.error { p.label { "error" } (output(&message_of(error), "")) }
            }
        }
    }
}

/// Returns the id of the element of an item. `turn` is the id of the element of its turn, and `index` counts its items from 0.
#[must_use]
pub fn item_anchor(turn: &str, index: u64) -> String {
    format!("{turn}-item-{}", index + 1)
}

/// Renders an item, with something at its end. `anchor` is the id of its element.
#[must_use]
pub fn item(anchor: &str, item: &TurnItem, parts: TranscriptParts, end: &Markup) -> Markup {
    article(anchor, item, &content(&item.content, parts, false), end)
}

/// Renders an item for a page of its own: unfolded and with everything.
#[must_use]
pub fn unfolded_item(anchor: &str, item: &TurnItem) -> Markup {
    article(anchor, item, &content(&item.content, TranscriptParts::default(), true), &html! {})
}

fn article(anchor: &str, item: &TurnItem, content: &Markup, end: &Markup) -> Markup {
    let kind = item.kind().replace('_', "-");
    let kind =
        if kind.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') { kind } else { "other".to_owned() };
    html! {
        article.item.(kind) id=(anchor) {
            a.anchor href={ "#" (anchor) } aria-label="link to this item" { "#" }
            (content)
            (end)
        }
    }
}

/// Renders the content of an item. Its step and its reasoning are folded, unless `is_open`.
fn content(content: &ItemContent, parts: TranscriptParts, is_open: bool) -> Markup {
    match content {
        ItemContent::UserMessage { text, images, attachments, .. } => html! {
            p.label { "user" }
            div.text { (rich_text(text)) }
            @for value in images { (image(value, parts)) }
            @for value in attachments { p.attachment { "attachment " code { (value.to_string()) } } }
        },
        ItemContent::AgentMessage { text, .. } => said("agent", text),
        ItemContent::Plan { text } => said("plan", text),
        ItemContent::EnteredReviewMode { review } => said("review begins", review),
        ItemContent::ExitedReviewMode { review } => said("review ends", review),
        ItemContent::Transcript { role, text } => said(&format!("{role}, spoken"), text),
        ItemContent::InterAgentMessage { author, recipient, text } => said(&format!("{author} to {recipient}"), text),
        ItemContent::Reasoning { summary, content } => {
            // A summary is what the client showed. The content is longer, and there only if the model returns it.
            let texts = if summary.is_empty() { content } else { summary };
            html! { details open[is_open] { summary { "thinking" } div.text { (rich_text(&texts.join("\n\n"))) } } }
        }
        ItemContent::CommandExecution { command, cwd, output: text, .. } => step(
            content,
            is_open,
            html! { code.command { (command) } },
            html! {
                @if let Some(cwd) = cwd { p.cwd { "in " code { (cwd) } } }
                @if let Some(text) = text { (output(text, "")) }
            },
        ),
        ItemContent::FileChange { changes, .. } => match changed_files(changes) {
            Some(files) => step(
                content,
                is_open,
                html! { "files changed" },
                html! { @for file in &files { (changed_file(file)) } },
            ),
            None => step(content, is_open, html! { "files changed" }, output(&pretty(changes), "json")),
        },
        ItemContent::ToolCall { server, tool, arguments, result, error, .. } => {
            let name = server.as_ref().map_or_else(|| tool.clone(), |server| format!("{server}.{tool}"));
            step(
                content,
                is_open,
                html! { code.command { (name) } " " span.arguments { (shortened(&arguments.to_string())) } },
                html! {
                    @if !arguments.is_null() { p.part { "arguments" } (output(&pretty(arguments), "json")) }
                    @if let Some(result) = result { p.part { "result" } (output(&message_of(result), "")) }
                    @if let Some(error) = error { p.part { "error" } (output(&message_of(error), "")) }
                },
            )
        }
        ItemContent::WebSearch { query, results, .. } => step(
            content,
            is_open,
            html! { "web search " code.command { (query) } },
            html! { @if let Some(results) = results { (output(&pretty(results), "json")) } },
        ),
        ItemContent::ImageGeneration { status, revised_prompt, saved_path } => html! {
            p.label { "image, " (status) }
            @if let Some(prompt) = revised_prompt { p.text { (prompt) } }
            @if let Some(path) = saved_path { p { code { (path) } } }
        },
        ItemContent::ContextCompaction => html! { p.label { "the context was compacted here" } },
        ItemContent::Other(other) => {
            let fields = Value::Object(other.fields.clone());
            step(
                content,
                is_open,
                html! { (other.kind.replace('_', " ")) },
                html! {
                    @if !other.fields.is_empty() { (output(&pretty(&fields), "json")) }
                },
            )
        }
        _ => {
            html! { p.label { (content.kind().replace('_', " ")) } (output(&serde_json::to_string_pretty(content).unwrap_or_default(), "json")) }
        }
    }
}

fn said(who: &str, text: &str) -> Markup {
    html! { p.label { (who) } div.text { (rich_text(text)) } }
}

/// Renders a step of the agent: folded unless `is_open`, with how it ended in its line.
fn step(content: &ItemContent, is_open: bool, label: Markup, body: Markup) -> Markup {
    let outcome = outcome(content);
    html! {
        details.step.failed[has_failed(content)] open[is_open] {
            summary { (label) @if !outcome.is_empty() { " " span.outcome { (outcome) } } }
            (body)
        }
    }
}

/// Renders an output of a terminal or of a tool. The middle of a long one is folded.
fn output(text: &str, language: &str) -> Markup {
    let text = plain_text(text);
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    if lines.len() <= 2 * VISIBLE_LINES {
        return html! { pre.output tabindex="0" { (highlighted(&text, language)) } };
    }
    let (first, rest) = lines.split_at(VISIBLE_LINES);
    html! {
        pre.output tabindex="0" { (highlighted(&first.concat(), language)) }
        details.more {
            summary { (rest.len()) " more lines" }
            pre.output tabindex="0" { (highlighted(&rest.concat(), language)) }
        }
    }
}

fn changed_file(file: &FileChangePart<'_>) -> Markup {
    html! {
        p.path { span.change { (file.kind) } " " code { (file.path) } @if let Some(to) = file.moved_to { " → " code { (to) } } }
        @if !file.diff.is_empty() { (diff(&file.diff)) }
    }
}

/// Renders a unified diff, with a class for each line that was added or removed.
#[must_use]
pub fn diff(text: &str) -> Markup {
    let class = |line: &str| match line.as_bytes().first() {
        Some(b'+') => "added",
        Some(b'-') => "removed",
        Some(b'@') => "hunk",
        _ => "same",
    };
    html! {
        pre.diff tabindex="0" { @for line in plain_text(text).lines() { span.(class(line)) { (line) "\n" } } }
    }
}

fn image(value: &Value, parts: TranscriptParts) -> Markup {
    match image_source(value) {
        Some(ImageSource::Embedded(url)) if parts.images => {
            html! { img src=(url) alt="image of the message" loading="lazy"; }
        }
        Some(ImageSource::Elsewhere(place)) => html! { p.attachment { "image " code { (place) } } },
        Some(ImageSource::Embedded(_)) | None => html! { p.attachment { "image" } },
    }
}

fn pretty(value: &Value) -> String {
    // Arguments are often JSON within a text.
    let inner = value.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok()).filter(Value::is_object);
    match (inner, value) {
        (Some(inner), _) => serde_json::to_string_pretty(&inner).unwrap_or_default(),
        (None, Value::String(text)) => text.clone(),
        (None, other) => serde_json::to_string_pretty(other).unwrap_or_default(),
    }
}

fn shortened(text: &str) -> String {
    const MAX: usize = 100;
    match text.char_indices().nth(MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
