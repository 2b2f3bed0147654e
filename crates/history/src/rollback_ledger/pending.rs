//! The newest messages: a later line can still pair with one of them and correct where it is shown.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use super::message::{CountedMessage, ItemPlace, MessageAuthor, RollbackPoint};
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
/// event "b"           pairs with "b", which an event shows now
/// event "c"           no text matches: pairs with the oldest that waits, "a" (a client may have rewritten the text)
/// event "d"           nothing waits: a new message "d", and one event that waits for its item
/// response_item "d"   its event waits: the item is that message, nothing is added
/// ```
#[derive(Debug, Default)]
pub(super) struct PendingMessages {
    messages: Vec<CountedMessage>,
    /// Indexes of messages that came as an item and have no event yet.
    without_event: BTreeSet<usize>,
    /// Index of the first message that an event with another text may show: the model answered those before.
    first_unanswered: usize,
    /// Where the messages that came as an item are shown, by index.
    places: HashMap<usize, ItemPlace>,
    /// The messages that came as an event and have no item yet, by text: numbers of the turns that show them, oldest first.
    without_item: HashMap<Arc<str>, VecDeque<u64>>,
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

    /// Pairs the item of a message of the user with an earlier event, and returns the number of the turn that shows it. The text of
    /// the event is the same, or a part of it if only one event waits: programs can add context to what they give to the model.
    pub(super) fn pair_item(&mut self, text: &str) -> Option<u64> {
        let only = if self.without_item.len() == 1 { self.without_item.keys().next() } else { None };
        let only = only.filter(|only| !only.is_empty() && text.contains(&***only)).cloned();
        let key = if self.without_item.contains_key(text) { Arc::from(text) } else { only? };
        let turns = self.without_item.get_mut(&key)?;
        let turn = turns.pop_front();
        if turns.is_empty() {
            self.without_item.remove(&key);
        }
        turn
    }

    /// Adds a message of the user that came as an item, which is shown at `place` as long as no event pairs with it.
    pub(super) fn add_item(&mut self, text: String, place: ItemPlace, point: RollbackPoint, position: u64) {
        self.without_event.insert(self.messages.len());
        self.places.insert(self.messages.len(), place);
        self.push(text.into(), MessageAuthor::User, point, position);
    }

    /// Returns the number of the first turn that shows a message that waits for its event, or an event that waits for its message.
    pub(super) fn oldest_waiting_turn(&self) -> Option<u64> {
        self.places.values().map(|place| place.turn).chain(self.without_item.values().flatten().copied()).min()
    }

    /// Ends the waiting of all messages and events that are shown before the turn with this number.
    pub(super) fn forget_waiting_before(&mut self, turn: u64) {
        if self.oldest_waiting_turn().is_none_or(|oldest| oldest >= turn) {
            return;
        }
        self.places.retain(|index, place| {
            let is_kept = place.turn >= turn;
            if !is_kept {
                self.without_event.remove(index);
            }
            is_kept
        });
        self.without_item.retain(|_, turns| {
            turns.retain(|of| *of >= turn);
            !turns.is_empty()
        });
    }

    /// Adds a message of role `user` that came as an item and has no event.
    pub(super) fn add_unshown_item(&mut self, text: String, point: RollbackPoint, position: u64) {
        self.push(text.into(), MessageAuthor::User, point, position);
    }

    /// Adds a message of another agent. It has no event.
    pub(super) fn add_agent_message(&mut self, text: String, point: RollbackPoint, position: u64) {
        self.push(text.into(), MessageAuthor::Agent, point, position);
    }

    /// Records that the model answered. An event that comes now shows an earlier message only if it has the same text.
    pub(super) fn answer(&mut self) {
        self.first_unanswered = self.messages.len();
    }

    /// Pairs the event of a message with the oldest waiting item of the same text, else with the oldest waiting item that the model
    /// did not answer yet. Returns where that item is shown, or `None` if none waits.
    pub(super) fn pair_event(&mut self, text: &str, position: u64) -> Option<ItemPlace> {
        let same = self.find_without_event(text);
        let index = same.or_else(|| self.without_event.range(self.first_unanswered..).next().copied())?;
        self.without_event.remove(&index);
        // The event is what a client shows, so its position replaces that of the item.
        self.messages.get_mut(index)?.position = Some(position);
        self.places.remove(&index)
    }

    /// Adds a message that came as an event, with which no item pairs yet. `turn` is the number of the turn that shows it.
    pub(super) fn add_event(&mut self, text: &str, turn: u64, point: RollbackPoint, position: u64) {
        let text: Arc<str> = text.into();
        self.without_item.entry(Arc::clone(&text)).or_default().push_back(turn);
        self.push(text, MessageAuthor::User, point, position);
    }

    /// Takes all messages. Later lines pair with none of them.
    pub(super) fn take_all(&mut self) -> MessageRope {
        let mut taken = MessageRope::default();
        // A new value instead of `clear`, which would keep the capacity of the longest list so far.
        taken.extend(std::mem::take(self).messages);
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
