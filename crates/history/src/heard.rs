//! The user's messages that the model sees, by the places where they show: what a rollback counts, and where it cuts.

use selvedge_protocol::{Compacted, ResponseItem, ResponseItemKind};

use crate::compaction::{rebuilt_history, replaces_summary};
use crate::markers::is_user_message;

/// A place in the turns where a rollback can cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cut {
    /// How many turns stand before it.
    pub(crate) turn: usize,
    /// How many items of the next turn stand before it. None: the whole turn goes.
    pub(crate) item: usize,
}

/// The user's messages in the order in which the model sees them.
///
/// It is the history of [`Replay`](crate::Replay) without all that no rollback counts, so that turns are undone as the
/// history is. A compaction replaces the messages here as it does there; those that it leaves out go on showing, and only a
/// rollback that reaches behind all that the model sees counts them.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    messages: Vec<Message>,
    /// Where those begin that the model sees.
    seen_from: usize,
    /// The newest messages that the model was told and no event has shown yet.
    unshown: Vec<usize>,
    /// How many messages the newest events showed that the model was not told yet.
    untold: usize,
}

#[derive(Clone, Debug)]
struct Message {
    text: String,
    speaker: Speaker,
    cut: Cut,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speaker {
    User,
    /// Another agent.
    Agent,
    /// The program: what was left of the history that it compacted.
    Summary,
}

impl Heard {
    /// The model is told a message. An event that shows it may follow and knows better where it shows.
    pub(crate) fn told(&mut self, item: &ResponseItem, cut: Cut) {
        let text = item.texts().concat();
        if *item.kind() == ResponseItemKind::AgentMessage {
            self.told_by_agent(text, cut);
        } else if self.untold > 0 {
            self.untold -= 1;
        } else {
            self.unshown.push(self.messages.len());
            self.messages.push(Message { text, speaker: Speaker::User, cut });
        }
    }

    /// The model is told a message of another agent. None of them shows.
    pub(crate) fn told_by_agent(&mut self, text: String, cut: Cut) {
        self.messages.push(Message { text, speaker: Speaker::Agent, cut });
    }

    /// An event shows a message, as a rule one that the model was told right before. Lines that were recorded without what
    /// the model sees have events alone, which count all the same.
    pub(crate) fn shown(&mut self, text: &str, cut: Cut) {
        let same = self.unshown.iter().position(|at| self.messages[*at].text == text);
        if self.unshown.is_empty() {
            self.untold += 1;
            self.messages.push(Message { text: text.to_owned(), speaker: Speaker::User, cut });
        } else {
            let at = self.unshown.remove(same.unwrap_or(0));
            self.messages[at].cut = cut;
        }
    }

    /// Something else shows: what was told and shown before belongs together no further.
    pub(crate) fn settle(&mut self) {
        self.unshown.clear();
        self.untold = 0;
    }

    /// A compaction replaces what the model sees. Its summary stands at `cut`.
    pub(crate) fn compact(&mut self, compacted: &Compacted, cut: Cut) {
        self.settle();
        let seen = self.messages.split_off(self.seen_from);
        let summary = compacted.message.as_deref().unwrap_or_default();
        let left = match &compacted.replacement_history {
            Some(history) => history.clone(),
            None => rebuilt_history(own_words(&seen, summary), summary),
        };
        let left: Vec<ResponseItem> = left.into_iter().filter(is_user_message).collect();
        let (kept, left_out) = matched(&left, seen, summary, cut);
        self.messages.extend(left_out);
        self.seen_from = self.messages.len();
        self.messages.extend(kept);
    }

    /// Undoes the newest `count` messages: whatever shows from this place on goes.
    pub(crate) fn roll_back(&mut self, count: usize) -> Option<Cut> {
        self.settle();
        let standing = self.messages.len().saturating_sub(count);
        self.seen_from = self.seen_from.min(standing);
        self.messages.drain(standing..).map(|message| message.cut).min()
    }
}

/// What a compaction that leaves it to its reader keeps of the user's words.
fn own_words(seen: &[Message], summary: &str) -> Vec<String> {
    let messages = seen.iter().filter(|message| message.speaker != Speaker::Agent);
    messages.filter(|message| !replaces_summary(summary, &message.text)).map(|message| message.text.clone()).collect()
}

/// The messages that are left after a compaction, with the places of the messages they were, and those that are not left.
fn matched(left: &[ResponseItem], mut seen: Vec<Message>, summary: &str, own: Cut) -> (Vec<Message>, Vec<Message>) {
    let texts: Vec<String> = left.iter().map(|item| item.texts().concat()).collect();
    let mut is_found = !summary.is_empty() && texts.iter().any(|text| text == summary);
    let mut kept = Vec::new();
    let mut left_out = Vec::new();
    for (text, item) in texts.into_iter().zip(left).rev() {
        let found = seen.iter().rposition(|message| message.text == text);
        let message = if text == summary || (found.is_none() && !is_found) {
            Message { text, speaker: Speaker::Summary, cut: own }
        } else {
            // A message that is not found was cut short: it is the one before those that were not.
            let at = found.or(seen.len().checked_sub(1));
            let newer = at.map(|at| seen.split_off(at)).unwrap_or_default();
            let mut newer = newer.into_iter();
            let known = newer.next();
            left_out.splice(..0, newer);
            is_found = true;
            let is_agent = *item.kind() == ResponseItemKind::AgentMessage;
            let speaker = known.as_ref().map(|message| message.speaker);
            let speaker = speaker.unwrap_or(if is_agent { Speaker::Agent } else { Speaker::User });
            Message { text, speaker, cut: known.map_or(own, |message| message.cut) }
        };
        kept.push(message);
    }
    kept.reverse();
    left_out.splice(..0, seen);
    // A summary that another one replaces stands for nothing any more.
    left_out.retain(|message| message.speaker != Speaker::Summary);
    (kept, left_out)
}
