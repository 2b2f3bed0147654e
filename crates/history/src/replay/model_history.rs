//! The items that the model sees, and which of them are messages that a rollback counts.

use std::sync::Arc;

use selvedge_protocol::{ResponseItem, ResponseItemKind};
use serde_json::json;

use crate::context_fragments::{is_context_fragment, is_counted_text, is_user_message};
use crate::legacy_compaction::{RetainedMessage, retained_messages, summary_text};
use crate::truncation::TruncatedText;

/// The items that the model sees.
#[derive(Debug, Default)]
pub(super) struct ModelHistory {
    items: Vec<ResponseItem>,
    /// The messages of users and other agents in `items`, in order.
    messages: Vec<HistoryMessage>,
    /// Number of items at the beginning that a compaction put there.
    compacted: usize,
}

/// A message of a user or of another agent in the history.
#[derive(Debug)]
struct HistoryMessage {
    /// Index of its item.
    index: usize,
    /// The text, if a legacy compaction wrote the item. The item contains this text and nothing else.
    rewritten: Option<Arc<str>>,
}

/// A message of the user in the history, as a legacy compaction reads it.
struct OwnMessage {
    /// Index of its item.
    index: usize,
    text: Arc<str>,
    /// Whether the item contains the text and nothing else, so it can be retained as it is.
    is_text_only: bool,
}

impl AsRef<str> for OwnMessage {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

impl ModelHistory {
    pub(super) fn into_items(self) -> Vec<ResponseItem> {
        self.items
    }

    /// Returns the number of items at the beginning that a compaction put there.
    pub(super) fn compacted_items(&self) -> usize {
        self.compacted
    }

    /// Adds an item. `is_message` is whether a rollback counts it.
    pub(super) fn push(&mut self, item: ResponseItem, is_message: bool) {
        if is_message {
            self.messages.push(HistoryMessage { index: self.items.len(), rewritten: None });
        }
        self.items.push(item);
    }

    /// Replaces everything by the replacement history of a compaction.
    pub(super) fn replace(&mut self, items: Vec<ResponseItem>) {
        let messages = items.iter().enumerate().filter(|(_, item)| is_user_message(item));
        self.messages = messages.map(|(index, _)| HistoryMessage { index, rewritten: None }).collect();
        self.compacted = items.len();
        self.items = items;
    }

    /// Applies a compaction without a replacement history: retains the newest of the user's own messages and adds the summary.
    ///
    /// An item that an earlier compaction of this kind wrote is moved and not written again: a thread can have thousands of
    /// both, and writing each item at each compaction took quadratic time.
    pub(super) fn compact_legacy(&mut self, summary: &str) {
        let own = self.messages.iter().rev().filter_map(|message| self.own_message(message));
        let retained = retained_messages(own, summary);
        // Retained messages come in the order of their items, so one pass over the items finds all of them.
        let mut items = (0..).zip(std::mem::take(&mut self.items));
        self.messages.clear();
        for RetainedMessage { message, truncated } in retained {
            if let Some(truncated) = truncated {
                self.push_rewritten(truncated_message(&truncated), truncated.concat().into());
                continue;
            }
            let known =
                message.is_text_only.then(|| items.by_ref().find(|(index, _)| *index == message.index)).flatten();
            let item = known.map_or_else(|| ResponseItem::user_text(&message.text), |(_, item)| item);
            self.push_rewritten(item, message.text);
        }
        let summary = summary_text(summary);
        self.push_rewritten(ResponseItem::user_text(summary), summary.into());
        self.compacted = self.items.len();
    }

    /// Removes everything from the `count`-th newest message on; from the oldest message on if there are fewer.
    pub(super) fn cut_newest(&mut self, count: usize) {
        let remaining = self.messages.len().saturating_sub(count);
        let Some(index) = self.messages.get(remaining).map(|message| message.index) else {
            return;
        };
        self.messages.truncate(remaining);
        self.items.truncate(index);
        // Context fragments just before a message belong to its turn and are removed with it. Those before the first message
        // of all belong to the thread and stay.
        if remaining > 0 {
            while self.items.last().is_some_and(is_context_fragment) {
                self.items.pop();
            }
        }
        self.compacted = self.compacted.min(self.items.len());
    }

    /// Adds a message of role `user` that a compaction wrote. If its text looks like a context fragment or a summary of the
    /// program, rollbacks do not count it, regardless of its first author.
    fn push_rewritten(&mut self, item: ResponseItem, text: Arc<str>) {
        if is_counted_text(&text) {
            self.messages.push(HistoryMessage { index: self.items.len(), rewritten: Some(text) });
        }
        self.items.push(item);
    }

    /// Returns a message of the user with its text. `None` for a message of another agent.
    fn own_message(&self, message: &HistoryMessage) -> Option<OwnMessage> {
        if let Some(text) = &message.rewritten {
            return Some(OwnMessage { index: message.index, text: Arc::clone(text), is_text_only: true });
        }
        let item = self.items.get(message.index).filter(|item| *item.kind() == ResponseItemKind::Message)?;
        Some(OwnMessage { index: message.index, text: item.texts().concat().into(), is_text_only: false })
    }
}

/// Returns a message of the user that a compaction truncated. Codex 0.169 sends the beginning, the note and the end as parts.
fn truncated_message(text: &TruncatedText) -> ResponseItem {
    let parts = text.each_ref().map(|text| json!({"type": "input_text", "text": text}));
    let message = json!({"type": "message", "role": "user", "content": parts});
    ResponseItem::from_value(&message).unwrap_or_else(|| ResponseItem::user_text(&text.concat()))
}
