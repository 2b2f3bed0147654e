//! Finding a text in names and in what users and agents said, thought and ran.
//!
//! Upper and lower case count as the same in every script, and so do their longer spellings (`STRASSE` finds `straße`).
//! What is found is told in bytes of the original text, always at whole characters.

use std::ops::Range;

use selvedge_protocol::{OtherTurnItem, SearchHit, StoredThread, Turn, TurnId, TurnItem};
use serde_json::Value;

use crate::{Result, StoreError};

/// How many characters of what stands around a hit a snippet shows on either side.
const CONTEXT: usize = 60;

/// A text to look for.
#[derive(Clone, Debug)]
pub struct TextSearch {
    /// The text, folded.
    needle: String,
}

/// A piece of a text with what was looked for in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snippet {
    /// The piece, on one line. `…` stands where the text goes on.
    pub text: String,
    /// Where in the piece it is, in bytes.
    pub highlight: Range<usize>,
}

impl TextSearch {
    /// A search for `text`.
    ///
    /// # Errors
    /// `InvalidRequest` for an empty text.
    pub fn new(text: &str) -> Result<Self> {
        if text.is_empty() {
            return Err(StoreError::invalid("there is no text to search for"));
        }
        Ok(Self { needle: fold(text) })
    }

    /// The first place in `text` where it stands, in bytes.
    #[must_use]
    pub fn find(&self, text: &str) -> Option<Range<usize>> {
        let start = fold(text).find(&self.needle)?;
        Some(unfold(text, start..start + self.needle.len()))
    }

    /// The first place in `text` where it stands, with what stands around it.
    #[must_use]
    pub fn snippet(&self, text: &str) -> Option<Snippet> {
        self.find(text).map(|found| snippet(text, found))
    }

    /// The hits of one thread, `limit` at most: its name's first, then those of its turns in their order. An item in which
    /// the text stands more than once is one hit.
    #[must_use]
    pub fn hits(&self, thread: &StoredThread, turns: &[Turn], limit: usize) -> Vec<SearchHit> {
        let items = turns.iter().flat_map(|turn| turn.items.iter().map(move |item| (turn, item)));
        let in_items = items.filter_map(|(turn, item)| {
            let snippet = texts(item).into_iter().find_map(|text| self.snippet(text))?;
            Some(hit(thread, Some(&turn.id), item.kind(), snippet))
        });
        self.name_hit(thread).into_iter().chain(in_items).take(limit).collect()
    }

    /// The hit in a thread's name.
    #[must_use]
    pub fn name_hit(&self, thread: &StoredThread) -> Option<SearchHit> {
        let snippet = self.snippet(thread.name.as_deref()?)?;
        Some(hit(thread, None, "name", snippet))
    }
}

fn hit(thread: &StoredThread, turn_id: Option<&TurnId>, kind: &str, snippet: Snippet) -> SearchHit {
    SearchHit {
        thread: thread.clone(),
        turn_id: turn_id.cloned(),
        kind: kind.to_owned(),
        snippet: snippet.text,
        highlight: (snippet.highlight.start, snippet.highlight.end),
    }
}

/// The texts of an item that are searched.
fn texts(item: &TurnItem) -> Vec<&str> {
    match item {
        TurnItem::UserMessage { text, .. } | TurnItem::AgentMessage { text, .. } | TurnItem::Plan { text, .. } => {
            vec![text]
        }
        TurnItem::Reasoning { summary, content, .. } => summary.iter().chain(content).map(String::as_str).collect(),
        TurnItem::CommandExecution { command, output, .. } => {
            std::iter::once(command).chain(output).map(String::as_str).collect()
        }
        TurnItem::FileChange { changes, .. } => leaves([changes]),
        TurnItem::ToolCall { tool, arguments, result, error, .. } => {
            let mut found = vec![tool.as_str()];
            found.extend(leaves(std::iter::once(arguments).chain(result).chain(error)));
            found
        }
        TurnItem::WebSearch { query, action, .. } => {
            let mut found = vec![query.as_str()];
            found.extend(leaves(action));
            found
        }
        TurnItem::ImageGeneration { revised_prompt, .. } => revised_prompt.iter().map(String::as_str).collect(),
        TurnItem::EnteredReviewMode { review, .. } | TurnItem::ExitedReviewMode { review, .. } => vec![review],
        TurnItem::Other(OtherTurnItem { fields, .. }) => leaves(fields.values()),
        _ => Vec::new(),
    }
}

/// Every string in these values, and every key of their objects: the changes of files are kept by path.
fn leaves<'a>(values: impl IntoIterator<Item = &'a Value>) -> Vec<&'a str> {
    let mut found = Vec::new();
    for value in values {
        collect_leaves(value, &mut found);
    }
    found
}

fn collect_leaves<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => found.push(text),
        Value::Array(values) => values.iter().for_each(|value| collect_leaves(value, found)),
        Value::Object(fields) => {
            for (key, value) in fields {
                found.push(key);
                collect_leaves(value, found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn fold(text: &str) -> String {
    if text.is_ascii() { text.to_ascii_lowercase() } else { text.chars().flat_map(fold_char).collect() }
}

/// What a character is when case does not count. Lower, upper, lower: only so do `ẞ`, `ß` and `SS`, or `ς`, `σ` and `Σ`,
/// come to the same. It may be longer or shorter than the character.
fn fold_char(character: char) -> impl Iterator<Item = char> {
    character.to_lowercase().flat_map(char::to_uppercase).flat_map(char::to_lowercase)
}

/// The characters of `text` that a range of its folded form stands for.
fn unfold(text: &str, folded: Range<usize>) -> Range<usize> {
    if text.is_ascii() {
        return folded;
    }
    let mut position = 0;
    let mut start = None;
    for (at, character) in text.char_indices() {
        position += fold_char(character).map(char::len_utf8).sum::<usize>();
        if start.is_none() && position > folded.start {
            start = Some(at);
        }
        if position >= folded.end {
            let end = at + character.len_utf8();
            return start.unwrap_or(at)..end;
        }
    }
    start.unwrap_or(text.len())..text.len()
}

fn snippet(text: &str, found: Range<usize>) -> Snippet {
    let (before, after) = (&text[..found.start], &text[found.end..]);
    let from = before.char_indices().rev().take(CONTEXT).last().map_or(before.len(), |(at, _)| at);
    let to = after.char_indices().nth(CONTEXT).map_or(after.len(), |(at, _)| at);
    let mut piece = String::new();
    if from > 0 {
        piece.push('…');
    }
    push_plain(&mut piece, &before[from..]);
    let start = piece.len();
    push_plain(&mut piece, &text[found]);
    let end = piece.len();
    push_plain(&mut piece, &after[..to]);
    if to < after.len() {
        piece.push('…');
    }
    Snippet { text: piece, highlight: start..end }
}

/// Control characters become spaces: a snippet is one line, and a transcript must not steer a terminal.
fn push_plain(out: &mut String, text: &str) {
    out.extend(text.chars().map(|character| if character.is_control() { ' ' } else { character }));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found<'a>(needle: &str, text: &'a str) -> Option<&'a str> {
        TextSearch::new(needle).unwrap().find(text).map(|range| &text[range])
    }

    #[test]
    fn case_does_not_count_in_any_script() {
        assert_eq!(found("HELLO", "say hello"), Some("hello"));
        assert_eq!(found("STRASSE", "die straße"), Some("straße"));
        assert_eq!(found("straẞe", "DIE STRASSE"), Some("STRASSE"));
        assert_eq!(found("ΟΔΟΣ", "η οδος"), Some("οδος"));
        assert_eq!(found("привет", "ну ПРИВЕТ!"), Some("ПРИВЕТ"));
        assert_eq!(found("missing", "die straße"), None);
    }

    #[test]
    fn what_is_found_is_whole_characters_of_the_original() {
        // `İ` folds to two characters, the Kelvin sign to a shorter one.
        assert_eq!(found("stanbul", "İİ İstanbul"), Some("stanbul"));
        assert_eq!(found("istanbul", "\u{212a}\u{212a} istanbul"), Some("istanbul"));
        assert_eq!(found("k x", "\u{212a} x"), Some("\u{212a} x"));
        assert_eq!(found("s", "ß"), Some("ß"));
        assert_eq!(found("\u{307}", "aİb"), Some("İ"));
    }

    #[test]
    fn a_snippet_is_one_line_around_the_hit() {
        let text = format!("{}\n\u{1b}[1mNädel\u{1b}[0m\r\n{}", "é".repeat(100), "日".repeat(100));
        let snippet = TextSearch::new("nÄDEL").unwrap().snippet(&text).unwrap();
        assert_eq!(&snippet.text[snippet.highlight.clone()], "Nädel");
        assert!(snippet.text.starts_with('…') && snippet.text.ends_with('…'), "{}", snippet.text);
        assert!(!snippet.text.contains(char::is_control));
        assert_eq!(snippet.text.chars().count(), 1 + CONTEXT + 5 + CONTEXT + 1);
    }

    #[test]
    fn a_short_text_is_its_own_snippet() {
        let snippet = TextSearch::new("b").unwrap().snippet("abc").unwrap();
        assert_eq!(snippet, Snippet { text: "abc".into(), highlight: 1..2 });
    }
}
