//! The newest messages: a later line can still pair with one of them and correct where it is shown.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use super::message::{CountedMessage, MessageAuthor, RollbackPoint};
use super::rope::MessageRope;

/// How many unpaired messages are compared one by one before an index by text is built.
const SCAN_LIMIT: usize = 16;

/// The messages since the last event that shows anything other than a message.
///
/// A message of the user has up to two lines: a `response_item`, which the model gets, and an event, which a client shows.
/// Either may come first, and either may be missing. This type pairs the two: a message counts once.
///
/// ```text
/// response_item "a"   a new message "a", which waits for its event
/// response_item "b"   a new message "b", which waits for its event
/// event "b"           pairs with "b", which is now shown at this line
/// event "c"           no text matches: pairs with the oldest that waits, "a" (a client may have rewritten the text)
/// event "d"           nothing waits: a new message "d", and one event that waits for its item
/// response_item "d"   an event waits: the item is that message, nothing is added
/// ```
#[derive(Debug, Default)]
pub(super) struct PendingMessages {
    messages: Vec<CountedMessage>,
    /// Indexes of messages that came as an item and have no event yet.
    without_event: BTreeSet<usize>,
    /// Number of messages that came as an event and have no item yet.
    without_item: usize,
    /// Indexes of the messages in `without_event` by text, oldest first; it covers the first `indexed` messages. Filled only
    /// if there are many.
    by_text: HashMap<Arc<str>, VecDeque<usize>>,
    indexed: usize,
}

impl PendingMessages {
    /// Returns the messages in order.
    pub(super) fn messages(&self) -> impl Iterator<Item = &CountedMessage> {
        self.messages.iter()
    }

    /// Adds the item of a message of the user, or pairs it with an earlier event.
    pub(super) fn add_item(&mut self, text: String, point: RollbackPoint, position: u64) {
        if self.without_item > 0 {
            self.without_item -= 1;
            return;
        }
        self.without_event.insert(self.messages.len());
        self.push(text.into(), MessageAuthor::User, point, position);
    }

    /// Adds a message of another agent. It has no event.
    pub(super) fn add_agent_message(&mut self, text: String, point: RollbackPoint, position: u64) {
        self.push(text.into(), MessageAuthor::Agent, point, position);
    }

    /// Pairs the event of a message with the oldest waiting item of the same text, else with the oldest waiting item. If no
    /// item waits, it adds a message.
    pub(super) fn add_event(&mut self, text: &str, point: RollbackPoint, position: u64) {
        let paired = self.find_without_event(text).or(self.without_event.first().copied());
        if let Some(index) = paired
            && let Some(message) = self.messages.get_mut(index)
        {
            // The event is what a client shows, so its position replaces that of the item.
            (message.point, message.position) = (point, Some(position));
            self.without_event.remove(&index);
        } else {
            self.without_item += 1;
            self.push(text.into(), MessageAuthor::User, point, position);
        }
    }

    /// Takes all messages. Later lines pair with none of them.
    pub(super) fn take_all(&mut self) -> MessageRope {
        let mut taken = MessageRope::default();
        taken.extend(self.messages.drain(..));
        self.without_event.clear();
        self.without_item = 0;
        self.by_text.clear();
        self.indexed = 0;
        taken
    }

    fn push(&mut self, text: Arc<str>, author: MessageAuthor, point: RollbackPoint, position: u64) {
        self.messages.push(CountedMessage { text, author, point, position: Some(position) });
    }

    /// Returns the index of the oldest message of this text that has no event.
    fn find_without_event(&mut self, text: &str) -> Option<usize> {
        // Almost always one message waits, so a short scan finds it. The index by text keeps the cost linear for logs
        // with thousands of items before their events.
        let mut oldest = self.without_event.iter().copied().take(SCAN_LIMIT);
        let found = oldest.find(|index| self.messages.get(*index).is_some_and(|message| *message.text == *text));
        if found.is_some() || self.without_event.len() <= SCAN_LIMIT {
            return found;
        }
        for index in self.without_event.range(self.indexed..) {
            if let Some(message) = self.messages.get(*index) {
                self.by_text.entry(Arc::clone(&message.text)).or_default().push_back(*index);
            }
        }
        self.indexed = self.messages.len();
        let indexes = self.by_text.get_mut(text)?;
        // Entries are removed lazily: the scan above and the pairing without a text do not update the index.
        while indexes.front().is_some_and(|index| !self.without_event.contains(index)) {
            indexes.pop_front();
        }
        indexes.front().copied()
    }
}
