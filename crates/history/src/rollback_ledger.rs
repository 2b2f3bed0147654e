//! The user's messages that the model sees, by the places where they show: what a rollback counts, and where it cuts.

mod recent;
mod rope;
mod standing;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;

use selvedge_protocol::{Compacted, ResponseItem, ResponseItemKind};

use crate::markers::is_user_message;
use recent::Recent;
use rope::MessageRope;
use standing::{LeftMessage, Standing};

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
/// rollback that reaches behind all that the model sees counts them. A compaction that is undone has replaced nothing.
///
/// What stood before each compaction is kept, in ropes that share their messages: so memory grows with the messages and
/// the compactions, and not with their product.
#[derive(Debug, Default)]
pub(crate) struct RollbackLedger {
    /// The messages that stand, but for the recent ones.
    standing: Standing,
    /// Those that came since something else showed.
    recent: Recent,
    /// How many compactions have said what they left.
    compactions: u64,
    /// Those of them that can still be undone.
    undoable: Vec<Checkpoint>,
}

/// A compaction that can be undone.
#[derive(Debug)]
struct Checkpoint {
    /// How many compactions came before.
    number: u64,
    before: Standing,
    /// What happened between it and the next one, as it has to be repeated when it is undone.
    since: Vec<Step>,
}

/// Something that happened to the messages.
#[derive(Clone, Debug)]
enum Step {
    Said(MessageRope),
    /// A compaction that leaves it to its reader what is left.
    Compacted {
        summary: String,
        cut: Cut,
    },
    RolledBack(usize),
}

/// A message that a rollback can count.
#[derive(Clone, Debug)]
struct Message {
    /// What it says, shared by all copies.
    text: Arc<str>,
    speaker: Speaker,
    cut: Cut,
    /// Position of the line that shows it, or else of the one that tells it to the model; nothing when it stands but in what
    /// a compaction left.
    position: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speaker {
    User,
    /// Another agent.
    Agent,
    /// The program: what was left of the history that it compacted.
    Summary,
}

impl AsRef<str> for &Message {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

impl RollbackLedger {
    /// The model is told a message. An event that shows it may follow and knows better where it shows.
    pub(crate) fn told(&mut self, item: &ResponseItem, cut: Cut, position: u64) {
        let text = item.texts().concat();
        if *item.kind() == ResponseItemKind::AgentMessage {
            self.told_by_agent(text, cut, position);
        } else {
            self.recent.told(text, cut, position);
        }
    }

    /// The model is told a message of another agent. None of them shows.
    pub(crate) fn told_by_agent(&mut self, text: String, cut: Cut, position: u64) {
        self.recent.told_by_agent(text, cut, position);
    }

    /// An event shows a message, as a rule one that the model was told right before. Lines that were recorded without what
    /// the model sees have events alone, which count all the same.
    pub(crate) fn shown(&mut self, text: &str, cut: Cut, position: u64) {
        self.recent.shown(text, cut, position);
    }

    /// For each message that has a line of its own, the position of the line that shows it, or else of the one that tells it.
    pub(crate) fn positions(&self) -> impl Iterator<Item = u64> {
        let messages = self.standing.messages().chain(self.recent.messages());
        messages.filter_map(|message| message.position)
    }

    /// Something else shows: what was told and shown before belongs together no further.
    pub(crate) fn settle(&mut self) {
        let said = self.recent.take_all();
        if !said.is_empty() {
            self.take(Step::Said(said));
        }
    }

    /// A compaction replaces what the model sees. Its summary stands at `cut`.
    pub(crate) fn compact(&mut self, compacted: &Compacted, cut: Cut) {
        self.settle();
        let summary = compacted.message.as_deref().unwrap_or_default();
        let Some(left) = &compacted.replacement_history else {
            self.take(Step::Compacted { summary: summary.to_owned(), cut });
            return;
        };
        let (number, before) = (self.compactions, self.standing.clone());
        self.undoable.push(Checkpoint { number, before, since: Vec::new() });
        self.compactions += 1;
        let left: Vec<_> = left.iter().filter(|item| is_user_message(item)).map(left_message).collect();
        self.standing.replace_seen(&left, summary, cut);
    }

    /// How many compactions have said what they left, undone ones included.
    pub(crate) fn compactions(&self) -> u64 {
        self.compactions
    }

    /// Undoes the newest `count` messages, and all compactions behind the first `compactions`. Whatever shows from this
    /// place on goes.
    pub(crate) fn roll_back(&mut self, count: usize, compactions: u64) -> Option<Cut> {
        self.settle();
        let first = self.undoable.partition_point(|checkpoint| checkpoint.number < compactions);
        let mut undone = self.undoable.split_off(first).into_iter();
        if let Some(oldest) = undone.next() {
            self.standing = oldest.before;
            let since = undone.flat_map(|checkpoint| checkpoint.since);
            oldest.since.into_iter().chain(since).for_each(|step| _ = self.take(step));
        }
        self.take(Step::RolledBack(count))
    }

    /// Lets a step happen and gives what it takes away, from where it shows.
    fn take(&mut self, step: Step) -> Option<Cut> {
        let mut undone = None;
        match &step {
            Step::Said(messages) => self.standing.say(messages.clone()),
            Step::Compacted { summary, cut } => self.standing.compact(summary, *cut),
            Step::RolledBack(count) => undone = self.standing.roll_back(*count),
        }
        if let Some(checkpoint) = self.undoable.last_mut() {
            checkpoint.record(step);
        }
        undone
    }
}

impl Checkpoint {
    /// Keeps a step in mind. Messages that a rollback takes away at once are as good as not said, so that however many come
    /// and go, no more is kept than stands.
    fn record(&mut self, step: Step) {
        match (self.since.last_mut(), step) {
            (Some(Step::Said(said)), Step::Said(more)) => said.append(more),
            (Some(Step::RolledBack(earlier)), Step::RolledBack(count)) => *earlier = earlier.saturating_add(count),
            (Some(Step::Said(said)), Step::RolledBack(count)) => {
                let taken = said.take_newest(count).len();
                if said.is_empty() {
                    self.since.pop();
                }
                if taken < count {
                    self.record(Step::RolledBack(count - taken));
                }
            }
            (_, step) => self.since.push(step),
        }
    }
}

fn left_message(item: &ResponseItem) -> LeftMessage<'_> {
    let text = Cow::Owned(item.texts().concat());
    LeftMessage { text, is_of_agent: *item.kind() == ResponseItemKind::AgentMessage }
}
