//! Makes recordings fit for publication: without paths of the machine and without prose of the recorded program.
//!
//! Each removed text is replaced by the same number of bytes, as counted in the file, so that offsets into files stay valid.

use std::path::Path;

use anyhow::{Result, ensure};
use serde_json::Value;

/// Replaces prose, repeated as often as necessary.
const STAND_IN: &str = "Words of the recording program stand here in the original; this stand-in has the same length. ";

/// A text of at least this number of words is prose, unless it belongs to the story.
const PROSE: usize = 12;

/// Marks where the words of the story begin after prose of the program.
const OWN: [&str; 1] = ["\nSUMMARY "];

/// Beginnings of texts of the story, its model and its tools, and of fragments that contain only facts.
const KNOWN: [&str; 10] = [
    "<environment_context>",
    "<realtime_delegation>\n  <input>",
    "Message Type: ",
    "<user_shell_command>\n<command>",
    "<token_budget>",
    "<context_window>",
    "\nAgent name: ",
    "Answer ",
    "SUMMARY ",
    "Tool finished",
];

/// Ends the heading of a fragment that does not begin with a tag.
const INSTRUCTIONS: &str = "<INSTRUCTIONS>\n";

/// Fields of tool output in which long texts are facts.
const OUTPUTS: [&str; 6] =
    ["output", "aggregated_output", "aggregatedOutput", "formatted_output", "stdout", "arguments"];

/// The texts of one stage and their replacements.
pub(super) struct Scrubber {
    home: String,
    /// The directory above home and project, and its replacement of the same length.
    ground: (String, String),
}

impl Scrubber {
    pub(super) fn new(home: &Path, ground: &Path) -> Self {
        let ground = ground.to_string_lossy().into_owned();
        let stand_in: String = "/home/".chars().chain("dev".chars().cycle()).take(ground.len()).collect();
        Self { home: home.to_string_lossy().into_owned(), ground: (ground, stand_in) }
    }

    /// Scrubs a file of JSON lines. In a torn last line only paths are replaced.
    pub(super) fn lines(&self, text: &str) -> Result<String> {
        let lines: Result<String> = text.split_inclusive('\n').map(|line| self.line(line)).collect();
        let scrubbed = lines?.replace(&self.ground.0, &self.ground.1);
        ensure!(scrubbed.len() == text.len(), "scrubbing moves bytes");
        Ok(scrubbed)
    }

    fn line(&self, line: &str) -> Result<String> {
        let Ok(value) = serde_json::from_str::<Value>(line) else { return Ok(line.to_owned()) };
        let mut prose = Vec::new();
        gather(&value, &mut prose);
        // A text that contains another one is replaced first.
        prose.sort_by_key(|text| (std::cmp::Reverse(text.len()), *text));
        prose.dedup();
        let mut line = line.to_owned();
        for text in prose {
            let raw = inside_quotes(text);
            ensure!(line.contains(&raw), "a text is written in an unknown way: {raw}");
            line = line.replace(&raw, &inside_quotes(&replaced(text)));
        }
        Ok(line)
    }

    /// Scrubs a JSON value and replaces the home by `{HOME}`.
    pub(super) fn value(&self, value: Value) -> Value {
        match value {
            Value::String(text) => {
                let text = if is_prose(&text) { replaced(&text) } else { text };
                Value::String(text.replace(&self.home, "{HOME}").replace(&self.ground.0, &self.ground.1))
            }
            Value::Array(values) => values.into_iter().map(|value| self.value(value)).collect(),
            Value::Object(fields) => {
                let fields = fields.into_iter();
                let value =
                    |key: &str, value| if OUTPUTS.contains(&key) { self.paths(value) } else { self.value(value) };
                Value::Object(fields.map(|(key, field)| (key.clone(), value(&key, field))).collect())
            }
            other => other,
        }
    }

    /// Replaces only paths in a value.
    fn paths(&self, value: Value) -> Value {
        let text = value.to_string().replace(&self.ground.0, &self.ground.1);
        serde_json::from_str(&text).unwrap_or(value)
    }
}

/// Returns the prose in a value.
fn gather<'a>(value: &'a Value, prose: &mut Vec<&'a str>) {
    match value {
        Value::String(text) if is_prose(text) => prose.push(text),
        Value::Array(values) => values.iter().for_each(|value| gather(value, prose)),
        Value::Object(fields) => {
            fields
                .iter()
                .filter(|(key, _)| !OUTPUTS.contains(&key.as_str()))
                .for_each(|(_, value)| gather(value, prose));
        }
        _ => {}
    }
}

fn is_prose(text: &str) -> bool {
    text.split_whitespace().count() >= PROSE && !KNOWN.iter().any(|known| text.starts_with(known))
}

/// Replaces the prose of a text. Tags around it and words of the story after it remain.
fn replaced(text: &str) -> String {
    let own = OWN.iter().filter_map(|own| text.find(own)).min().unwrap_or(text.len());
    let (prose, own) = text.split_at(own);
    let (open, prose) = prose.split_at(opening_tag(prose));
    let (prose, close) = prose.split_at(closing_tag(prose));
    let length = inside_quotes(prose).len();
    let stand_in: String = STAND_IN.chars().cycle().take(length).collect();
    format!("{open}{stand_in}{close}{own}")
}

/// Returns the length of the tag at the beginning, including the line break after it.
fn opening_tag(text: &str) -> usize {
    if text.starts_with("# ")
        && let Some(head) = text.find(INSTRUCTIONS)
    {
        return head + INSTRUCTIONS.len();
    }
    match text.find('>') {
        Some(end) if text.starts_with('<') && end < 60 => end + 1 + usize::from(text[end + 1..].starts_with('\n')),
        _ => 0,
    }
}

/// Returns the position of the tag at the end, including the line break before it.
fn closing_tag(text: &str) -> usize {
    match text.rfind("</") {
        Some(start) if text.ends_with('>') && text.len() - start < 60 => {
            start - usize::from(text[..start].ends_with('\n'))
        }
        _ => text.len(),
    }
}

/// Returns a text as it is written between quotes in JSON.
fn inside_quotes(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn scrubber() -> Scrubber {
        Scrubber::new(Path::new("/tmp/abcd/codex"), Path::new("/tmp/abcd"))
    }

    #[test]
    fn prose_and_paths_are_replaced_by_the_same_number_of_bytes() {
        let prose = "One \"two\" three\nfour five six seven eight nine ten eleven twelve thirteen.";
        let line = json!({"text": format!("<rules>\n{prose}\n</rules>"), "cwd": "/tmp/abcd/proj1", "said": "Answer 1"});
        let text = format!("{line}\n");
        let scrubbed = scrubber().lines(&text).unwrap();
        assert_eq!(scrubbed.len(), text.len());
        let value: Value = serde_json::from_str(&scrubbed).unwrap();
        assert_eq!((&value["cwd"], &value["said"]), (&json!("/home/dev/proj1"), &json!("Answer 1")));
        let kept = value["text"].as_str().unwrap();
        assert!(kept.starts_with("<rules>\nWords of the") && kept.ends_with("\n</rules>"), "{kept}");
        assert_eq!(scrubber().value(line)["text"], kept);
    }

    #[test]
    fn the_summary_of_the_model_stays_after_the_prose_of_the_program() {
        let text = "a b c d e f g h i j k l m n o p\nSUMMARY 3: the work so far.";
        let scrubbed = replaced(text);
        assert!(scrubbed.ends_with("\nSUMMARY 3: the work so far.") && scrubbed.len() == text.len(), "{scrubbed}");
    }

    #[test]
    fn the_home_is_replaced_by_its_placeholder_in_values() {
        let value = scrubber().value(json!({"path": "/tmp/abcd/codex/sessions/x", "output": "in /tmp/abcd/proj1"}));
        assert_eq!(value, json!({"path": "{HOME}/sessions/x", "output": "in /home/dev/proj1"}));
    }
}
