//! What a client says of an item beside its text: how it ended, which files it changed, which images it has.

use std::borrow::Cow;

use selvedge_protocol::{ItemContent, ItemStatus, ResponseItem, TurnStatus};
use serde_json::Value;

/// Returns the state of a turn in words.
#[must_use]
pub const fn turn_status(status: TurnStatus) -> &'static str {
    match status {
        TurnStatus::Completed => "completed",
        TurnStatus::Interrupted => "interrupted",
        TurnStatus::Failed => "failed",
        TurnStatus::InProgress => "in progress",
    }
}

/// Returns the state of an item in words. Empty if it completed as expected.
#[must_use]
pub const fn unusual_status(status: ItemStatus) -> &'static str {
    match status {
        ItemStatus::Completed => "",
        ItemStatus::Failed => "failed",
        ItemStatus::Declined => "declined",
        ItemStatus::InProgress => "no end recorded",
    }
}

/// Returns how a command or a call of a tool ended and how long it took: `exit 1, 3.2 s`. Empty if nothing is known but that it
/// completed.
#[must_use]
pub fn outcome(content: &ItemContent) -> String {
    let (status, exit_code, millis) = match content {
        ItemContent::CommandExecution { status, exit_code, duration_ms, .. } => (*status, *exit_code, *duration_ms),
        ItemContent::ToolCall { status, duration_ms, .. } => (*status, None, *duration_ms),
        ItemContent::FileChange { status, .. } => (*status, None, None),
        _ => return String::new(),
    };
    let mut parts = Vec::new();
    // An exit code is more precise than a status, and replaces it.
    match exit_code {
        Some(code) => parts.push(format!("exit {code}")),
        None => parts.extend(Some(unusual_status(status).to_owned()).filter(|status| !status.is_empty())),
    }
    parts.extend(millis.map(duration));
    parts.join(", ")
}

/// A part of what the model gets or returns as one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessagePart {
    /// A text.
    Text(String),
    /// The kind of a part that has no text, such as an image.
    Other(String),
}

/// Returns the parts of the content of an item of the model, in their order. Empty if it has no content.
#[must_use]
pub fn message_parts(item: &ResponseItem) -> Vec<MessagePart> {
    let value: Value = serde_json::from_str(item.json().get()).unwrap_or_default();
    let Some(parts) = value.get("content").and_then(Value::as_array) else {
        return item.texts().into_iter().map(MessagePart::Text).collect();
    };
    let part = |part: &Value| match part.get("text").and_then(Value::as_str) {
        Some(text) => MessagePart::Text(text.to_owned()),
        None => MessagePart::Other(part.get("type").and_then(Value::as_str).unwrap_or("unknown").to_owned()),
    };
    parts.iter().map(part).collect()
}

/// Returns a duration in words, with two significant units at most: `250 ms`, `3.2 s`, `4 min 10 s`, `2 h 5 min`.
#[must_use]
pub fn duration(millis: i64) -> String {
    match millis {
        ..1_000 => format!("{} ms", millis.max(0)),
        1_000..60_000 => format!("{}.{} s", millis / 1_000, millis % 1_000 / 100),
        60_000..3_600_000 => format!("{} min {} s", millis / 60_000, millis % 60_000 / 1_000),
        _ => format!("{} h {} min", millis / 3_600_000, millis % 3_600_000 / 60_000),
    }
}

/// Returns whether a command or a call failed, was declined, or ended with an exit code other than 0.
#[must_use]
pub fn has_failed(content: &ItemContent) -> bool {
    match content {
        ItemContent::CommandExecution { status, exit_code, .. } => {
            exit_code.is_some_and(|code| code != 0) || matches!(status, ItemStatus::Failed | ItemStatus::Declined)
        }
        ItemContent::ToolCall { status, error, .. } => {
            error.is_some() || matches!(status, ItemStatus::Failed | ItemStatus::Declined)
        }
        ItemContent::FileChange { status, .. } => matches!(status, ItemStatus::Failed | ItemStatus::Declined),
        _ => false,
    }
}

/// Returns the text of a value: a text itself, its `message`, or the texts of its parts (an answer of an MCP server is a list of
/// parts). If it has none of these, the value as JSON.
#[must_use]
pub fn message_of(value: &Value) -> String {
    if let Some(text) = value.as_str().or_else(|| value.get("message")?.as_str()) {
        return text.to_owned();
    }
    let parts = value.as_array().or_else(|| value.get("content")?.as_array());
    let texts: Option<Vec<&str>> =
        parts.map(|parts| parts.iter().map(|part| part["text"].as_str()).collect()).unwrap_or_default();
    match texts {
        Some(texts) if !texts.is_empty() => texts.join("\n"),
        _ => value.to_string(),
    }
}

/// The change of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileChangePart<'a> {
    /// The path, as the log contains it.
    pub path: &'a str,
    /// `add`, `update`, `delete`, or what the log says.
    pub kind: &'a str,
    /// The path to which the file was moved.
    pub moved_to: Option<&'a str>,
    /// The change, as lines of a unified diff. Empty if the log does not contain it.
    pub diff: Cow<'a, str>,
}

/// Returns the changes of a `FileChange`. `None` if they have a form that is not known: then they should be shown as JSON.
#[must_use]
pub fn changed_files(changes: &Value) -> Option<Vec<FileChangePart<'_>>> {
    changes.as_object()?.iter().map(|(path, change)| changed_file(path, change)).collect()
}

fn changed_file<'a>(path: &'a str, change: &'a Value) -> Option<FileChangePart<'a>> {
    // The kind is a tag, or (2025) the name of the only member.
    let (kind, fields) = match change.get("type").and_then(Value::as_str) {
        Some(kind) => (kind, change),
        None => {
            let (kind, fields) = change.as_object()?.iter().next()?;
            (kind.as_str(), fields)
        }
    };
    let text = |name: &str| fields.get(name).and_then(Value::as_str);
    let diff = match (text("unified_diff"), text("content")) {
        (Some(diff), _) => Cow::Borrowed(diff),
        (None, Some(content)) => Cow::Owned(with_sign(content, if kind == "delete" { '-' } else { '+' })),
        (None, None) => Cow::Borrowed(""),
    };
    Some(FileChangePart { path, kind, moved_to: text("move_path"), diff })
}

fn with_sign(content: &str, sign: char) -> String {
    content.lines().map(|line| format!("{sign}{line}\n")).collect()
}

/// An image of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageSource<'a> {
    /// The image itself, as a `data:` URL of a format that cannot contain script.
    Embedded(&'a str),
    /// Where the image is: a path or a URL.
    Elsewhere(&'a str),
}

/// The formats of images that are shown. SVG is not among them, because it can contain script.
const IMAGE_FORMATS: [&str; 4] =
    ["data:image/png;base64,", "data:image/jpeg;base64,", "data:image/gif;base64,", "data:image/webp;base64,"];

/// Returns the source of an image. `None` if the log contains none.
#[must_use]
pub fn image_source(image: &Value) -> Option<ImageSource<'_>> {
    let member = |name: &str| image.get(name).and_then(|value| value.as_str().or_else(|| value.get("url")?.as_str()));
    let source = image.as_str().or_else(|| ["image_url", "url", "path"].into_iter().find_map(member))?;
    let is_base64 = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte));
    let embedded = IMAGE_FORMATS.iter().find_map(|format| source.strip_prefix(format)).is_some_and(is_base64);
    Some(if embedded { ImageSource::Embedded(source) } else { ImageSource::Elsewhere(source) })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{ImageSource, changed_files, duration, image_source, message_of};

    #[test]
    fn changes_of_every_era_are_known() {
        let changes = json!({
            "/p/a": {"type": "add", "content": "x\ny\n"},
            "/p/b": {"type": "update", "unified_diff": "@@ -1 +1 @@\n-a\n+b\n", "move_path": "/p/c"},
            "/p/d": {"delete": {"content": "gone"}},
        });
        let files = changed_files(&changes).unwrap_or_default();
        let of = |number: usize| (files[number].kind, files[number].diff.as_ref(), files[number].moved_to);
        assert_eq!(of(0), ("add", "+x\n+y\n", None));
        assert_eq!(of(1), ("update", "@@ -1 +1 @@\n-a\n+b\n", Some("/p/c")));
        assert_eq!(of(2), ("delete", "-gone\n", None));
        assert_eq!(changed_files(&json!([1, 2])), None);
    }

    #[test]
    fn only_images_without_script_are_shown() {
        let png = "data:image/png;base64,iVBORw0KGgo=";
        let shown = [json!(png), json!({"image_url": png}), json!({"type": "x", "image_url": {"url": png}})];
        assert!(shown.iter().all(|image| image_source(image) == Some(ImageSource::Embedded(png))));
        for other in [
            "https://example.org/x.png",
            "data:image/svg+xml;base64,AAAA",
            "data:image/png;base64,A\"onerror=1",
            "/p/x.png",
        ] {
            assert_eq!(image_source(&json!(other)), Some(ImageSource::Elsewhere(other)));
        }
        assert_eq!(image_source(&json!({"detail": "low"})), None);
    }

    #[test]
    fn texts_of_answers() {
        assert_eq!(message_of(&json!("text")), "text");
        assert_eq!(message_of(&json!({"message": "m"})), "m");
        assert_eq!(message_of(&json!({"content": [{"type": "text", "text": "a"}, {"text": "b"}]})), "a\nb");
        assert_eq!(message_of(&json!({"ok": true})), "{\"ok\":true}");
        assert_eq!(
            [duration(7), duration(3_250), duration(250_000), duration(7_500_000)],
            ["7 ms", "3.2 s", "4 min 10 s", "2 h 5 min"]
        );
    }
}
