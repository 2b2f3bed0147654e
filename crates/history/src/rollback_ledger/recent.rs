//! The newest messages, of which a line to come may still say where they show.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use super::rope::MessageRope;
use super::{Cut, Message, Speaker};

/// How many messages are looked through for a text before they are put in order by their texts.
const FEW: usize = 16;

/// The messages since something else than a message showed.
#[derive(Debug, Default)]
pub(super) struct Recent {
    messages: Vec<Message>,
    /// Those that the model was told and no event has shown yet.
    unshown: BTreeSet<usize>,
    /// How many messages events showed that the model was not told yet.
    untold: usize,
    /// The messages that the model was told, by text, when there are many: those among the first `ordered`.
    by_text: HashMap<Arc<str>, VecDeque<usize>>,
    ordered: usize,
}

impl Recent {
    /// The messages, in order.
    pub(super) fn messages(&self) -> impl Iterator<Item = &Message> {
        self.messages.iter()
    }

    /// The model is told a message of the user, unless an event has shown it before.
    pub(super) fn told(&mut self, text: String, cut: Cut, position: u64) {
        if self.untold > 0 {
            self.untold -= 1;
            return;
        }
        self.unshown.insert(self.messages.len());
        self.say(text.into(), Speaker::User, cut, position);
    }

    /// The model is told a message of another agent.
    pub(super) fn told_by_agent(&mut self, text: String, cut: Cut, position: u64) {
        self.say(text.into(), Speaker::Agent, cut, position);
    }

    /// An event shows the oldest message of this text that was told, else the oldest of all, else one that was not told.
    pub(super) fn shown(&mut self, text: &str, cut: Cut, position: u64) {
        let told = self.unshown_of(text).or(self.unshown.first().copied());
        if let Some(at) = told
            && let Some(message) = self.messages.get_mut(at)
        {
            (message.cut, message.position) = (cut, Some(position));
            self.unshown.remove(&at);
        } else {
            self.untold += 1;
            self.say(text.into(), Speaker::User, cut, position);
        }
    }

    /// Takes all messages. What comes later belongs to none of them.
    pub(super) fn take_all(&mut self) -> MessageRope {
        let mut taken = MessageRope::default();
        taken.extend(self.messages.drain(..));
        self.unshown.clear();
        self.untold = 0;
        self.by_text.clear();
        self.ordered = 0;
        taken
    }

    fn say(&mut self, text: Arc<str>, speaker: Speaker, cut: Cut, position: u64) {
        self.messages.push(Message { text, speaker, cut, position: Some(position) });
    }

    fn unshown_of(&mut self, text: &str) -> Option<usize> {
        let mut oldest = self.unshown.iter().copied().take(FEW);
        let found = oldest.find(|at| self.messages.get(*at).is_some_and(|message| *message.text == *text));
        if found.is_some() || self.unshown.len() <= FEW {
            return found;
        }
        for at in self.unshown.range(self.ordered..) {
            if let Some(message) = self.messages.get(*at) {
                self.by_text.entry(Arc::clone(&message.text)).or_default().push_back(*at);
            }
        }
        self.ordered = self.messages.len();
        let places = self.by_text.get_mut(text)?;
        // Some may have been taken as the oldest ones.
        while places.front().is_some_and(|at| !self.unshown.contains(at)) {
            places.pop_front();
        }
        places.front().copied()
    }
}
