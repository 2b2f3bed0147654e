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
/// rollback that reaches behind all that the model sees counts them. A compaction that is undone has replaced nothing.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// Every message there was.
    said: Vec<Message>,
    /// Those that stand, by their places in `said`.
    standing: Standing,
    /// The newest messages that the model was told and no event has shown yet.
    unshown: Vec<usize>,
    /// How many messages the newest events showed that the model was not told yet.
    untold: usize,
    /// How many compactions have said what they left.
    compactions: u64,
    /// Those of them that can still be undone, and what happened since the first.
    undoable: Vec<Checkpoint>,
    steps: Vec<Step>,
}

/// Which messages stand.
#[derive(Clone, Debug, Default)]
struct Standing {
    messages: Vec<usize>,
    /// Where those begin that the model sees.
    seen_from: usize,
}

/// What stood before a compaction.
#[derive(Debug)]
struct Checkpoint {
    /// How many compactions came before.
    number: u64,
    before: Standing,
    /// How many steps came before.
    steps: usize,
}

/// Something that happened to the messages, as it has to be repeated when a compaction before it is undone.
#[derive(Debug)]
enum Step {
    Said(usize),
    /// A compaction that leaves it to its reader what is left.
    Compacted {
        summary: String,
        cut: Cut,
    },
    RolledBack(usize),
}

#[derive(Clone, Debug)]
struct Message {
    text: String,
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

impl Heard {
    /// The model is told a message. An event that shows it may follow and knows better where it shows.
    pub(crate) fn told(&mut self, item: &ResponseItem, cut: Cut, position: u64) {
        let text = item.texts().concat();
        if *item.kind() == ResponseItemKind::AgentMessage {
            self.told_by_agent(text, cut, position);
        } else if self.untold > 0 {
            self.untold -= 1;
        } else {
            self.unshown.push(self.said.len());
            self.say(Message { text, speaker: Speaker::User, cut, position: Some(position) });
        }
    }

    /// The model is told a message of another agent. None of them shows.
    pub(crate) fn told_by_agent(&mut self, text: String, cut: Cut, position: u64) {
        self.say(Message { text, speaker: Speaker::Agent, cut, position: Some(position) });
    }

    /// An event shows a message, as a rule one that the model was told right before. Lines that were recorded without what
    /// the model sees have events alone, which count all the same.
    pub(crate) fn shown(&mut self, text: &str, cut: Cut, position: u64) {
        let same = self.unshown.iter().position(|at| self.said[*at].text == text);
        if self.unshown.is_empty() {
            self.untold += 1;
            self.say(Message { text: text.to_owned(), speaker: Speaker::User, cut, position: Some(position) });
        } else {
            let at = self.unshown.remove(same.unwrap_or(0));
            let message = &mut self.said[at];
            (message.cut, message.position) = (cut, Some(position));
        }
    }

    /// For each message that has a line of its own, the position of the line that shows it, or else of the one that tells it.
    pub(crate) fn positions(&self) -> impl Iterator<Item = u64> {
        let messages = self.standing.messages.iter().map(|message| &self.said[*message]);
        messages.filter_map(|message| message.position)
    }

    fn say(&mut self, message: Message) {
        let at = self.said.len();
        self.said.push(message);
        self.take(Step::Said(at));
    }

    /// Something else shows: what was told and shown before belongs together no further.
    pub(crate) fn settle(&mut self) {
        self.unshown.clear();
        self.untold = 0;
    }

    /// A compaction replaces what the model sees. Its summary stands at `cut`.
    pub(crate) fn compact(&mut self, compacted: &Compacted, cut: Cut) {
        self.settle();
        let summary = compacted.message.clone().unwrap_or_default();
        let Some(left) = &compacted.replacement_history else {
            self.take(Step::Compacted { summary, cut });
            return;
        };
        self.undoable.push(Checkpoint {
            number: self.compactions,
            before: self.standing.clone(),
            steps: self.steps.len(),
        });
        self.compactions += 1;
        self.leave(left, &summary, cut);
    }

    /// How many compactions have said what they left, undone ones included.
    pub(crate) fn compactions(&self) -> u64 {
        self.compactions
    }

    /// Undoes the newest `count` messages, and all compactions behind the first `compactions`. Whatever shows from this
    /// place on goes.
    pub(crate) fn roll_back(&mut self, count: usize, compactions: u64) -> Option<Cut> {
        self.settle();
        let first = self.undoable.iter().position(|checkpoint| checkpoint.number >= compactions);
        if let Some(first) = first {
            let checkpoint = self.undoable.drain(first..).next();
            let since = checkpoint.map(|checkpoint| {
                self.standing = checkpoint.before;
                self.steps.split_off(checkpoint.steps)
            });
            since.into_iter().flatten().for_each(|step| _ = self.take(step));
        }
        self.take(Step::RolledBack(count))
    }

    /// Lets a step happen and gives what it takes away, from where it shows.
    fn take(&mut self, step: Step) -> Option<Cut> {
        let mut undone = None;
        match &step {
            Step::Said(message) => self.standing.messages.push(*message),
            Step::Compacted { summary, cut } => {
                let left = rebuilt_history(self.own_words(summary), summary);
                self.leave(&left, summary, *cut);
            }
            Step::RolledBack(count) => {
                let Standing { messages, seen_from } = &mut self.standing;
                let standing = messages.len().saturating_sub(*count);
                *seen_from = standing.min(*seen_from);
                undone = messages.drain(standing..).map(|message| self.said[message].cut).min();
            }
        }
        if !self.undoable.is_empty() {
            self.steps.push(step);
        }
        undone
    }

    /// What a compaction that leaves it to its reader keeps of the user's words.
    fn own_words(&self, summary: &str) -> Vec<String> {
        let seen = self.standing.messages[self.standing.seen_from..].iter().map(|message| &self.said[*message]);
        let messages = seen.filter(|message| message.speaker != Speaker::Agent);
        messages
            .filter(|message| !replaces_summary(summary, &message.text))
            .map(|message| message.text.clone())
            .collect()
    }

    /// Lets nothing stand of what the model saw but this, with the places of the messages that it was. Those that are not left
    /// go on showing.
    fn leave(&mut self, left: &[ResponseItem], summary: &str, own: Cut) {
        let mut seen = self.standing.messages.split_off(self.standing.seen_from);
        let left: Vec<&ResponseItem> = left.iter().filter(|item| is_user_message(item)).collect();
        let texts: Vec<String> = left.iter().map(|item| item.texts().concat()).collect();
        let mut is_found = !summary.is_empty() && texts.iter().any(|text| text == summary);
        let mut kept = Vec::new();
        let mut left_out = Vec::new();
        for (text, item) in texts.into_iter().zip(left).rev() {
            let found = seen.iter().rposition(|message| self.said[*message].text == text);
            let message = if text == summary || (found.is_none() && !is_found) {
                Message { text, speaker: Speaker::Summary, cut: own, position: None }
            } else {
                // A message that is not found was cut short: it is the one before those that were not.
                let at = found.or(seen.len().checked_sub(1));
                let newer = at.map(|at| seen.split_off(at)).unwrap_or_default();
                let mut newer = newer.into_iter();
                let known = newer.next().map(|known| &self.said[known]);
                left_out.splice(..0, newer);
                is_found = true;
                let is_agent = *item.kind() == ResponseItemKind::AgentMessage;
                let speaker = known.map(|message| message.speaker);
                let speaker = speaker.unwrap_or(if is_agent { Speaker::Agent } else { Speaker::User });
                let (cut, position) = known.map_or((own, None), |message| (message.cut, message.position));
                Message { text, speaker, cut, position }
            };
            kept.push(self.said.len());
            self.said.push(message);
        }
        kept.reverse();
        left_out.splice(..0, seen);
        // A summary that another one replaces stands for nothing any more.
        left_out.retain(|message| self.said[*message].speaker != Speaker::Summary);
        self.standing.messages.extend(left_out);
        self.standing.seen_from = self.standing.messages.len();
        self.standing.messages.extend(kept);
    }
}
