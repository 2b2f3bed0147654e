//! Long texts shortened, for pages that must stay small.

use selvedge_protocol::ItemContent;
use selvedge_protocol::log::{bytes_left_out, shorten_text};
use serde_json::Value;

use crate::size_text::size_text;

/// The longest image, as the text of its URL in bytes, that stays in a content that is shortened.
pub const MAX_IMAGE_BYTES: usize = 2 << 20;

/// Shortens each text of an item of more than `max_bytes` to its beginning and its end, and replaces images of more than
/// [`MAX_IMAGE_BYTES`] with words. Returns how many bytes are left out, those included that a store has left out before.
///
/// A list or an object in a value of the log keeps all its members: of values, only their texts become shorter.
pub fn cut_content(content: &mut ItemContent, max_bytes: usize) -> u64 {
    let mut cut = Cut { max_bytes, removed: 0 };
    match content {
        ItemContent::UserMessage { text, images, attachments, .. } => {
            cut.text(text);
            images.iter_mut().for_each(|image| cut.image(image));
            attachments.iter_mut().for_each(|value| cut.value(value));
        }
        ItemContent::AgentMessage { text, .. }
        | ItemContent::Plan { text }
        | ItemContent::EnteredReviewMode { review: text }
        | ItemContent::ExitedReviewMode { review: text }
        | ItemContent::Transcript { text, .. }
        | ItemContent::InterAgentMessage { text, .. } => cut.text(text),
        ItemContent::Reasoning { summary, content } => {
            summary.iter_mut().chain(content).for_each(|text| cut.text(text));
        }
        ItemContent::CommandExecution { command, output, .. } => {
            cut.text(command);
            output.iter_mut().for_each(|text| cut.text(text));
        }
        ItemContent::FileChange { changes, .. } => cut.value(changes),
        ItemContent::ToolCall { arguments, result, error, .. } => {
            cut.value(arguments);
            result.iter_mut().chain(error).for_each(|value| cut.value(value));
        }
        ItemContent::WebSearch { query, results, .. } => {
            cut.text(query);
            results.iter_mut().for_each(|value| cut.value(value));
        }
        ItemContent::ImageGeneration { revised_prompt, .. } => {
            revised_prompt.iter_mut().for_each(|text| cut.text(text))
        }
        ItemContent::Other(other) => other.fields.values_mut().for_each(|value| cut.value(value)),
        _ => {}
    }
    cut.removed
}

struct Cut {
    max_bytes: usize,
    removed: u64,
}

impl Cut {
    fn text(&mut self, text: &mut String) {
        self.removed += shorten_text(text, self.max_bytes);
    }

    fn value(&mut self, value: &mut Value) {
        match value {
            Value::String(text) => self.text(text),
            Value::Array(values) => values.iter_mut().for_each(|value| self.value(value)),
            Value::Object(members) => members.values_mut().for_each(|value| self.value(value)),
            _ => {}
        }
    }

    fn image(&mut self, image: &mut Value) {
        let longest = longest_text(image).unwrap_or_default();
        let bytes = longest.len() as u64 + bytes_left_out(longest).unwrap_or_default();
        if longest.len() > MAX_IMAGE_BYTES || bytes > longest.len() as u64 {
            self.removed += bytes;
            *image = Value::String(format!("of {}", size_text(bytes)));
        }
    }
}

fn longest_text(value: &Value) -> Option<&str> {
    match value {
        Value::String(text) => Some(text),
        Value::Array(values) => values.iter().filter_map(longest_text).max_by_key(|text| text.len()),
        Value::Object(members) => members.values().filter_map(longest_text).max_by_key(|text| text.len()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use selvedge_protocol::{ItemContent, ItemStatus};
    use serde_json::json;

    use super::{MAX_IMAGE_BYTES, cut_content};

    #[test]
    fn long_texts_are_cut_between_letters() {
        let mut content = ItemContent::Plan { text: "é".repeat(10) };
        assert_eq!(cut_content(&mut content, 5), 16);
        assert_eq!(content, ItemContent::Plan { text: "é\n\n[… 16 bytes are not shown here …]\n\né".to_owned() });
        // What was shortened once stays, and counts.
        let mut content =
            ItemContent::Plan { text: format!("{}\n\n[… 16 bytes are not shown here …]\n\n", "é".repeat(20)) };
        let before = content.clone();
        assert_eq!((cut_content(&mut content, 50), content), (16, before));

        let mut content = ItemContent::FileChange {
            status: ItemStatus::Completed,
            changes: json!({"/p": {"type": "add", "content": "x".repeat(100)}}),
        };
        assert_eq!(cut_content(&mut content, 40), 60);
        assert_eq!(cut_content(&mut content, 43), 60);
    }

    #[test]
    fn a_large_image_becomes_words() {
        let image = json!({"image_url": "x".repeat(MAX_IMAGE_BYTES + 1)});
        let images = vec![json!("data:image/png;base64,AAAA"), image];
        let mut content =
            ItemContent::UserMessage { text: String::new(), images, attachments: Vec::new(), client_id: None };
        assert_eq!(cut_content(&mut content, 5), MAX_IMAGE_BYTES as u64 + 1);
        let ItemContent::UserMessage { images, .. } = content else { return };
        assert_eq!(images, [json!("data:image/png;base64,AAAA"), json!("of 2.00 MiB")]);
    }
}
