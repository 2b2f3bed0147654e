//! A thread as a Markdown document.
//!
//! The turns are headings of level 2, and what was said stands below them as it is, because it is Markdown already. Everything else is
//! in fences that are longer than any fence within. A message that would swallow what comes after it (an open fence, an open comment)
//! is quoted: a quotation ends where its lines end, whatever is open in it.

use std::fmt::Write;

use pulldown_cmark::{Event, Parser, Tag};
use selvedge_protocol::{ItemContent, StoredThread, Turn};
use serde_json::Value;

use crate::html::title;
use crate::item_facts::{ImageSource, changed_files, duration, image_source, message_of, outcome, turn_status};
use crate::parts::TranscriptParts;
use crate::plain_text::plain_text;

/// Renders a thread as Markdown (CommonMark). `first` is the number of the first turn, and 1 if the transcript is whole.
#[must_use]
pub fn markdown_document(thread: &StoredThread, turns: &[Turn], first: u64, parts: TranscriptParts) -> String {
    let mut writer = MarkdownWriter { out: String::new(), parts };
    writer.paragraph(&format!("# {}", inline(title(thread))));
    writer.facts(thread);
    for (number, turn) in (first..).zip(turns) {
        writer.turn(number, turn);
    }
    writer.out
}

struct MarkdownWriter {
    out: String,
    parts: TranscriptParts,
}

impl MarkdownWriter {
    fn paragraph(&mut self, text: &str) {
        if !self.out.is_empty() {
            self.out.push('\n');
        }
        self.out.push_str(text.trim_end_matches('\n'));
        self.out.push('\n');
    }

    fn facts(&mut self, thread: &StoredThread) {
        let mut facts =
            format!("- Thread `{}`\n- Updated {}\n- Created {}\n", thread.id, thread.updated_at, thread.created_at);
        let known = [("Directory", &thread.cwd), ("Model", &thread.model)];
        for (name, value) in known.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))) {
            _ = writeln!(facts, "- {name} {}", code(value));
        }
        self.paragraph(&facts);
    }

    fn turn(&mut self, number: u64, turn: &Turn) {
        let mut about = vec![turn_status(turn.status).to_owned()];
        about.extend(turn.started_at.map(|at| at.to_string()));
        about.extend(turn.duration_ms.map(duration));
        self.paragraph(&format!("## Turn {number}"));
        self.paragraph(&format!("*{}*", about.join(", ")));
        let parts = self.parts;
        for item in turn.items.iter().filter(|item| parts.contain(&item.content)) {
            self.item(&item.content);
        }
        if let Some(error) = &turn.error {
            self.fenced("Error", "", &message_of(error));
        }
    }

    fn item(&mut self, content: &ItemContent) {
        match content {
            ItemContent::UserMessage { text, images, attachments, .. } => {
                self.said("User", text);
                images.iter().for_each(|value| self.image(value));
                attachments
                    .iter()
                    .for_each(|value| self.paragraph(&format!("Attachment {}", code(&value.to_string()))));
            }
            ItemContent::AgentMessage { text, .. } => self.said("Agent", text),
            ItemContent::Plan { text } => self.said("Plan", text),
            ItemContent::EnteredReviewMode { review } => self.said("Review begins", review),
            ItemContent::ExitedReviewMode { review } => self.said("Review ends", review),
            ItemContent::Transcript { role, text } => self.said(&format!("{}, spoken", inline(role)), text),
            ItemContent::InterAgentMessage { author, recipient, text } => {
                self.said(&format!("{} to {}", inline(author), inline(recipient)), text);
            }
            ItemContent::Reasoning { summary, content } => {
                let texts = if summary.is_empty() { content } else { summary };
                self.paragraph("**Thinking**");
                self.paragraph(&quoted(&texts.join("\n\n")));
            }
            ItemContent::CommandExecution { command, output, .. } => {
                let text = format!("$ {command}\n{}", output.as_deref().unwrap_or_default());
                self.fenced(&with_outcome("Command", content), "console", &text);
            }
            ItemContent::FileChange { changes, .. } => {
                let label = with_outcome("Files changed", content);
                let Some(files) = changed_files(changes) else {
                    return self.fenced(&label, "json", &pretty(changes));
                };
                self.paragraph(&format!("**{label}**"));
                for file in files {
                    let to = file.moved_to.map(|path| format!(" → {}", code(path))).unwrap_or_default();
                    self.paragraph(&format!("{} {}{to}", inline(file.kind), code(file.path)));
                    if !file.diff.is_empty() {
                        self.fence("diff", &file.diff);
                    }
                }
            }
            ItemContent::ToolCall { server, tool, arguments, result, error, .. } => {
                let name = server.as_ref().map_or_else(|| tool.clone(), |server| format!("{server}.{tool}"));
                self.fenced(&with_outcome(&format!("Tool {}", code(&name)), content), "json", &pretty(arguments));
                for answer in [result, error].into_iter().flatten() {
                    self.fence("", &message_of(answer));
                }
            }
            ItemContent::WebSearch { query, .. } => self.paragraph(&format!("**Web search** {}", code(query))),
            ItemContent::ImageGeneration { status, revised_prompt, saved_path } => {
                self.paragraph(&format!("**Image**, {}", inline(status)));
                revised_prompt.iter().for_each(|prompt| self.paragraph(&quoted(prompt)));
                saved_path.iter().for_each(|path| self.paragraph(&code(path)));
            }
            ItemContent::ContextCompaction => self.paragraph("*The context was compacted here.*"),
            ItemContent::Other(other) => {
                self.fenced(
                    &inline(&other.kind.replace('_', " ")),
                    "json",
                    &pretty(&Value::Object(other.fields.clone())),
                );
            }
            _ => {
                let text = serde_json::to_string_pretty(content).unwrap_or_default();
                self.fenced(&inline(&content.kind().replace('_', " ")), "json", &text);
            }
        }
    }

    fn said(&mut self, who: &str, text: &str) {
        self.paragraph(&format!("**{who}**"));
        let text = plain_text(text);
        if is_closed(&text) { self.paragraph(&text) } else { self.paragraph(&quoted(&text)) }
    }

    fn image(&mut self, value: &Value) {
        match image_source(value) {
            Some(ImageSource::Embedded(url)) if self.parts.images => self.paragraph(&format!("![image]({url})")),
            Some(ImageSource::Elsewhere(place)) => self.paragraph(&format!("Image {}", code(place))),
            Some(ImageSource::Embedded(_)) | None => self.paragraph("*(image)*"),
        }
    }

    fn fenced(&mut self, label: &str, language: &str, text: &str) {
        self.paragraph(&format!("**{label}**"));
        self.fence(language, text);
    }

    fn fence(&mut self, language: &str, text: &str) {
        let text = plain_text(text);
        let fence = "`".repeat(longest_run(&text).max(2) + 1);
        self.paragraph(&format!("{fence}{language}\n{}\n{fence}", text.trim_end_matches('\n')));
    }
}

/// Returns the length of the longest run of backticks.
fn longest_run(text: &str) -> usize {
    text.split(|character| character != '`').map(str::len).max().unwrap_or(0)
}

/// Returns whether a text ends everything that it begins: a heading after it is a heading of the document, and it has none of that
/// level itself.
fn is_closed(text: &str) -> bool {
    const MARK: &str = "selvedge-mark";
    let document = format!("{text}\n\n## {MARK}\n");
    let (mut depth, mut headings, mut is_marked) = (0_usize, 0, false);
    for event in Parser::new(&document) {
        match event {
            Event::Start(tag) => {
                if matches!(&tag, Tag::Heading { level, .. } if *level as u8 <= 2) && depth == 0 {
                    headings += 1;
                }
                depth += 1;
            }
            Event::End(_) => depth -= 1,
            Event::Text(text) => is_marked |= depth == 1 && headings == 1 && &*text == MARK,
            _ => {}
        }
    }
    is_marked
}

fn quoted(text: &str) -> String {
    text.lines().map(|line| format!("> {line}\n")).collect()
}

/// Returns a text as code within a line.
fn code(text: &str) -> String {
    let text: String = text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect();
    let fence = "`".repeat(longest_run(&text) + 1);
    let space = if text.starts_with('`') || text.ends_with('`') || text.is_empty() { " " } else { "" };
    format!("{fence}{space}{text}{space}{fence}")
}

/// Returns a text on one line, in which no character has a meaning of Markdown.
fn inline(text: &str) -> String {
    let mut out = String::new();
    for character in text.split_whitespace().collect::<Vec<_>>().join(" ").chars() {
        if character.is_ascii_punctuation()
            && !matches!(character, ',' | '.' | ':' | ';' | '\'' | '"' | '/' | '?' | '(' | ')' | '-')
        {
            out.push('\\');
        }
        out.push(if character.is_control() { ' ' } else { character });
    }
    out
}

fn with_outcome(label: &str, content: &ItemContent) -> String {
    let outcome = outcome(content);
    if outcome.is_empty() { label.to_owned() } else { format!("{label} ({outcome})") }
}

fn pretty(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => serde_json::to_string_pretty(other).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::{code, inline, is_closed};

    #[test]
    fn what_is_open_is_noticed() {
        for closed in ["plain", "```\ncode\n```", "- list\n- more", "### low heading", "a <b>bold</b> word", ""] {
            assert!(is_closed(closed), "{closed:?}");
        }
        for open in
            ["```\ncode", "~~~~\n```", "<!-- comment", "<script>", "<pre>", "## heading", "# Turn 5", "Turn 5\n---"]
        {
            assert!(!is_closed(open), "{open:?}");
        }
    }

    #[test]
    fn code_in_a_line_keeps_its_backticks() {
        assert_eq!(code("a`b"), "``a`b``");
        assert_eq!(code("`"), "`` ` ``");
        assert_eq!(code("a\nb"), "`a b`");
        assert_eq!(inline("a\n*b* <c>"), "a \\*b\\* \\<c\\>");
    }
}
