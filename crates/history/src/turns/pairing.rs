//! Pairs what the model said and did with the events that show the same.

use std::collections::hash_map::DefaultHasher;
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{Hash, Hasher};

use selvedge_protocol::ItemId;

/// Which texts can be the same: those of the same kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum SaidBy {
    /// A message of the user, in one item with a context fragment before it.
    User,
    /// A message of the agent.
    Agent,
    /// A part of a message of the agent that has several. Old programs wrote an event for each part.
    AgentPart,
    /// A part of a summary of its reasoning.
    Reasoning,
    /// A part of its reasoning in full.
    RawReasoning,
    /// A command that the user ran in the client.
    UserCommand,
    /// The text of a web search without an id.
    WebSearch,
}

/// Kind and hash of a text.
type TextKey = (SaidBy, u64);

/// Pairs what the model said and did in one turn with the events that show the same.
///
/// Most of it has two lines: a `response_item`, which the model gets again, and an event, which a client shows. Either may come
/// first, and either may be missing. Each is shown once:
///
/// ```text
/// event "a"           shown; it waits for its item
/// response_item "a"   an event waits: nothing to show
/// response_item "b"   shown, marked as taken from the model's items; it waits for its event
/// event "b"           an item waits: the event takes its place
/// ```
///
/// Calls and their events have ids; texts are compared. Messages of the user are paired elsewhere, because rollbacks count them
/// ([`RollbackLedger`](crate::rollback_ledger::RollbackLedger)), except those that stand in one item with a context fragment, which
/// rollbacks do not count.
#[derive(Debug, Default)]
pub(super) struct Pairing {
    /// Number of the turn, which is the newest one.
    turn: u64,
    /// How many events with a text wait for their items.
    events: HashMap<TextKey, u32>,
    /// Indexes of the items of the turn with a text that wait for their events, oldest first.
    items: HashMap<TextKey, VecDeque<usize>>,
    /// Indexes of the items for which an item of the model with an id was read, oldest first. Some models use an id again.
    calls: HashMap<ItemId, Vec<usize>>,
    /// Indexes of the messages of the agent whose parts wait for events of their own.
    messages_with_parts: HashSet<usize>,
    /// Index of the newest message of the agent with a plan that no event showed so far.
    message_with_plan: Option<usize>,
    /// Whether `events` or `items` contains messages of the user.
    has_messages_of_user: bool,
    /// Ids of items that events of this turn added to other turns.
    shown_elsewhere: HashSet<ItemId>,
}

impl Pairing {
    /// Begins with the turn with this number, unless it is the turn so far.
    pub(super) fn begin_turn(&mut self, turn: u64) {
        if self.turn != turn {
            *self = Self { turn, ..Self::default() };
        }
    }

    /// Records an event with a text. Returns the index of the item that waits for it.
    pub(super) fn event(&mut self, by: SaidBy, text: &str) -> Option<usize> {
        let item = self.take_item(by, text);
        if item.is_none() {
            self.add_event(by, text);
        }
        item
    }

    /// Pairs an event with an item of the model before it, and returns the index of that item.
    pub(super) fn take_item(&mut self, by: SaidBy, text: &str) -> Option<usize> {
        self.items.get_mut(&text_key(by, text))?.pop_front()
    }

    /// Records an event with a text, which waits for its item.
    pub(super) fn add_event(&mut self, by: SaidBy, text: &str) {
        self.has_messages_of_user |= by == SaidBy::User;
        *self.events.entry(text_key(by, text)).or_default() += 1;
    }

    /// Pairs a text of the model with an event before it. Returns whether there is one.
    pub(super) fn take_event(&mut self, by: SaidBy, text: &str) -> bool {
        match self.events.get_mut(&text_key(by, text)) {
            Some(waiting) if *waiting > 0 => {
                *waiting -= 1;
                true
            }
            _ => false,
        }
    }

    /// Records that the item at `index` shows a text of the model. An event may follow.
    pub(super) fn show(&mut self, by: SaidBy, text: &str, index: usize) {
        self.has_messages_of_user |= by == SaidBy::User;
        self.items.entry(text_key(by, text)).or_default().push_back(index);
    }

    /// Records that the message at `index` contains a plan, of which an event may follow.
    pub(super) fn show_plan(&mut self, index: usize) {
        self.message_with_plan = Some(index);
    }

    /// Pairs a plan with the newest message that contains one, and returns the index of the message.
    pub(super) fn take_plan(&mut self) -> Option<usize> {
        self.message_with_plan.take()
    }

    /// Records that the message at `index` shows these parts, of which events may follow.
    pub(super) fn show_parts(&mut self, parts: &[String], index: usize) {
        self.messages_with_parts.insert(index);
        parts.iter().for_each(|part| self.show(SaidBy::AgentPart, &shown_text(part), index));
    }

    /// Ends the waiting of the parts of the message at `index`. Few messages have several, and only these cost a search.
    pub(super) fn forget_parts(&mut self, index: usize) {
        if self.messages_with_parts.remove(&index) {
            self.items.retain(|(by, _), waiting| {
                waiting.retain(|item| *by != SaidBy::AgentPart || *item != index);
                !waiting.is_empty()
            });
        }
    }

    /// Returns the indexes of the items of the calls with an id, oldest first.
    pub(super) fn calls(&self, id: &ItemId) -> &[usize] {
        self.calls.get(id).map_or(&[], Vec::as_slice)
    }

    /// Returns whether an item of the model with this id was read.
    pub(super) fn has_call(&self, id: &ItemId) -> bool {
        self.calls.contains_key(id)
    }

    /// Records that a call was read, which the item at `index` shows.
    pub(super) fn record_call(&mut self, id: ItemId, index: usize) {
        self.calls.entry(id).or_default().push(index);
    }

    /// Ends the waiting of messages of the user.
    pub(super) fn end_messages_of_user(&mut self) {
        if std::mem::take(&mut self.has_messages_of_user) {
            self.events.retain(|(by, _), _| *by != SaidBy::User);
            self.items.retain(|(by, _), _| *by != SaidBy::User);
        }
    }

    /// Records that an event of this turn added an item to another turn.
    pub(super) fn show_elsewhere(&mut self, id: ItemId) {
        self.shown_elsewhere.insert(id);
    }

    pub(super) fn is_shown_elsewhere(&self, id: &ItemId) -> bool {
        self.shown_elsewhere.contains(id)
    }
}

fn text_key(by: SaidBy, text: &str) -> TextKey {
    let mut hasher = DefaultHasher::new();
    text.trim().hash(&mut hasher);
    (by, hasher.finish())
}

/// Beginning and end of the block in which the agent names the memories that it used.
const CITATION: [&str; 2] = ["<oai-mem-citation>", "</oai-mem-citation>"];

/// Beginning and end of a plan that the agent proposes.
const PLAN: [&str; 2] = ["<proposed_plan>", "</proposed_plan>"];

/// Returns a message of the agent as its event has it: without the blocks that programs remove before they show it, and trimmed. A
/// plan is an item of its own then.
pub(super) fn shown_text(text: &str) -> String {
    without_blocks(&without_blocks(text, CITATION), PLAN).trim().to_owned()
}

/// Returns whether a message of the agent contains a plan.
pub(super) fn contains_plan(text: &str) -> bool {
    text.contains(PLAN[0])
}

/// Returns a message of the agent without the names of the memories that it used.
pub(super) fn without_citations(text: &str) -> String {
    without_blocks(text, CITATION)
}

fn without_blocks(text: &str, [begin, end]: [&str; 2]) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, block)) = rest.split_once(begin) {
        kept.push_str(before);
        rest = block.split_once(end).map_or("", |(_, after)| after);
    }
    kept.push_str(rest);
    kept
}
