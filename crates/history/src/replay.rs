//! What the model sees next.

use std::convert::Infallible;
use std::ops::Range;
use std::sync::Arc;

use selvedge_protocol::{
    Compacted, ContextWindow, EventMsg, InterAgentCommunication, ResponseItem, ResponseItemKind, RolloutItem,
    RolloutLine, SessionMeta, ThreadId, TurnContext, TurnId, WorldState, WorldStatePatch, WorldStateRecord,
};
use serde::Serialize;

use crate::compaction::{kept_messages, summary_text};
use crate::markers::{is_context_fragment, is_user_fragment, is_user_message};
use crate::peek::payload_type;
use crate::shorten::shorten_output;
use crate::turn_events::{is_turn_end, is_turn_start};
use crate::user_turns::UserTurns;
use crate::world_journal::{JournaledWorld, WorldJournal};

/// What a thread's items come to: all that is needed to go on with it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ModelContext {
    /// What the model sees, verbatim and in order.
    pub history: Vec<ResponseItem>,
    /// What the model has been told about its surroundings: the baseline for the next patch. Nothing where the next
    /// record has to be a whole snapshot.
    pub world_state: Option<WorldState>,
    /// The context window that the thread is in.
    pub window: ContextWindow,
    /// The settings that the model's context was last written for. Nothing after a compaction, until they are written
    /// again.
    pub turn_context: Option<TurnContext>,
    /// The settings of the newest user turn, whatever was compacted since.
    pub previous_settings: Option<TurnContext>,
    /// What was odd about the items. None of it makes a thread unreadable.
    pub warnings: Vec<String>,
}

/// How to replay. By default everything is kept verbatim.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReplayOptions {
    /// Keep head and tail of each tool output that is longer than this, in bytes.
    pub max_output_bytes: Option<usize>,
}

/// Replays items that are at hand.
pub fn replay<'a, I>(items: I) -> ModelContext
where
    I: IntoIterator<Item = &'a RolloutItem, IntoIter: Clone>,
{
    let items = items.into_iter();
    at_hand(|replay| items.clone().for_each(|item| replay.push(item)))
}

/// Replays lines that are at hand; those that do not matter are not parsed.
pub fn replay_lines<'a, I>(lines: I) -> ModelContext
where
    I: IntoIterator<Item = &'a RolloutLine, IntoIter: Clone>,
{
    let lines = lines.into_iter();
    at_hand(|replay| lines.clone().for_each(|line| replay.push_line(line)))
}

fn at_hand(feed: impl Fn(&mut Replay)) -> ModelContext {
    let replayed = Replay::whole(ReplayOptions::default(), |replay| {
        feed(replay);
        Ok::<_, Infallible>(())
    });
    replayed.unwrap_or_else(|never| match never {})
}

/// Folds the items of a thread into what the model sees next.
///
/// `history_base` has to be resolved before: a replay takes all items of a thread in order, inherited ones first.
///
/// # Rollbacks
///
/// The event says how many turns to undo. A compaction that stands behind the beginning of the n-th newest turn in which the
/// user spoke is undone with it: the history is again what it replaced, with what was said since. (Unless it is an old one
/// that left it to its reader what to keep: it stays.)
///
/// The *history* is then cut at the n-th newest message of the user that is in it, or at the oldest when there are fewer.
/// The summary of a compaction that stands is in the user's name and is one of them. [`TurnProjection`](crate::TurnProjection)
/// counts the same messages, so that what shows is what is kept.
///
/// *Everything else* (world state, settings, window) is what it was before that turn, as if nothing had been written since.
/// Where a summary was among the messages, or messages that steered a turn, this reaches further back than the history does.
///
/// # Two passes
///
/// What a compaction replaced is not kept in memory for the rare case that it is undone. So the items are given by a function
/// that can be called again: it is, once, when a compaction was undone, and the second pass passes over it.
#[derive(Debug, Default)]
pub struct Replay {
    options: ReplayOptions,
    history: Vec<ResponseItem>,
    /// The user's messages in `history`, for rollbacks and old compactions.
    user_messages: Vec<UserMessage>,
    surroundings: Surroundings,
    world: WorldJournal,
    /// The user turns, with what the surroundings were before each.
    turns: UserTurns<Surroundings>,
    heads: Heads,
    warnings: Vec<String>,
    /// The compactions that rollbacks undo, by how many came before each.
    undone: UndoneCompactions,
    /// Those of them that were known from the beginning, so that they replaced nothing.
    passed_over: UndoneCompactions,
    /// What is missing of a replay that began in the middle; nothing for one that began at the start.
    middle: Option<Middle>,
}

/// A message of the user in the history.
#[derive(Debug)]
struct UserMessage {
    /// Which item it is.
    at: usize,
    /// What it says, if an old compaction told it: that text is all of the item.
    retold: Option<Arc<str>>,
}

/// Compactions that were undone, by how many came before each: ranges in ascending order that do not touch.
#[derive(Debug, Default)]
struct UndoneCompactions(Vec<Range<u64>>);

/// How far a replay that began in the middle of a history has come to say what a whole one would.
#[derive(Debug, Default)]
struct Middle {
    /// Whether a compaction has replaced what stood before the beginning.
    has_history: bool,
    /// Whether something reached back to before the beginning.
    reached_back: bool,
}

/// All that a rollback sets back besides the history. A copy costs a few counts, whatever the thread's size.
#[derive(Clone, Debug, Default)]
struct Surroundings {
    world_state: JournaledWorld,
    turn_context: Option<Arc<TurnContext>>,
    previous_settings: Option<Arc<TurnContext>>,
    /// The newest window that a compaction named.
    window: Option<ContextWindow>,
    /// How many compactions stand.
    compactions: u64,
    /// Whether one of them named no window.
    has_unnumbered: bool,
    /// How many compactions have said what they left, undone ones included: not set back.
    read_compactions: u64,
    /// Whether they come from before the beginning of a replay that began in the middle, so that they are not what they
    /// seem: the world state and the settings of the context, and the previous settings.
    is_unknown: bool,
    has_unknown_settings: bool,
}

/// What the `session_meta` lines say.
#[derive(Debug, Default)]
struct Heads {
    newest: Option<ThreadId>,
    /// Where the lines end that a detached thread copied, behind the head that says so.
    copied_to: Option<u64>,
    /// The window that the thread starts in.
    window: ContextWindow,
}

impl Replay {
    /// Replays a whole history: `feed` pushes all its items, in order, each time that it is called.
    ///
    /// # Errors
    /// What `feed` fails with.
    pub fn whole<E>(options: ReplayOptions, feed: impl FnMut(&mut Self) -> Result<(), E>) -> Result<ModelContext, E> {
        Ok(Self::run(|| Self { options, ..Self::default() }, feed)?.finish())
    }

    /// Replays the end of a history, from a line that opens a turn: `feed` pushes all its items from there on, in order, each
    /// time that it is called. `head` is the `session_meta` that the segment of that line begins with.
    ///
    /// A compaction says anew what the model sees, so that what stands before it need not be read. The context is the one that
    /// a replay of the whole history would say, the warnings aside, which are those of these items. Nothing when something in
    /// them reaches back to before the beginning: then the replay has to begin earlier.
    ///
    /// # Errors
    /// What `feed` fails with.
    pub fn from_middle<E>(
        head: Option<&SessionMeta>,
        feed: impl FnMut(&mut Self) -> Result<(), E>,
    ) -> Result<Option<ModelContext>, E> {
        let begin = || {
            let mut replay = Self { middle: Some(Middle::default()), ..Self::default() };
            if let Some(head) = head {
                replay.head(head);
            }
            replay.surroundings.is_unknown = true;
            replay.surroundings.has_unknown_settings = true;
            replay
        };
        let replay = Self::run(begin, feed)?;
        Ok(replay.can_tell().then(|| replay.finish()))
    }

    /// One pass over the items, or a second one that knows which compactions are undone.
    fn run<E>(begin: impl Fn() -> Self, mut feed: impl FnMut(&mut Self) -> Result<(), E>) -> Result<Self, E> {
        let mut replay = begin();
        feed(&mut replay)?;
        // Which turns there are does not depend on what was compacted, so the second pass undoes the same ones.
        if !replay.undone.0.is_empty() {
            let passed_over = std::mem::take(&mut replay.undone);
            replay = Self { passed_over, ..begin() };
            feed(&mut replay)?;
        }
        Ok(replay)
    }

    /// Whether a replay that began in the middle tells what a whole one would.
    fn can_tell(&self) -> bool {
        let surroundings = &self.surroundings;
        let is_known = !surroundings.is_unknown && !surroundings.has_unknown_settings;
        self.middle.as_ref().is_none_or(|middle| middle.has_history && !middle.reached_back && is_known)
    }

    /// Takes the next item.
    pub fn push(&mut self, item: &RolloutItem) {
        match item {
            RolloutItem::SessionMeta(meta) => self.head(meta),
            RolloutItem::ResponseItem(item) => self.response_item(item),
            RolloutItem::EventMsg(event) => self.event(event),
            RolloutItem::TurnContext(context) => self.turn_context(context),
            RolloutItem::Compacted(compacted) => self.compacted(compacted),
            RolloutItem::WorldState(record) => self.world_state(record),
            RolloutItem::InterAgentCommunication(message) => self.inter_agent(message),
            _ => {}
        }
    }

    /// Takes the next line, parsing it only if its kind matters here.
    pub fn push_line(&mut self, line: &RolloutLine) {
        let matters = match line.kind() {
            "session_meta" | "response_item" | "turn_context" | "compacted" | "world_state" => true,
            "inter_agent_communication" => true,
            "event_msg" => event_matters(&payload_type(line)),
            _ => false,
        };
        if matters {
            self.push(&line.item());
        }
    }

    fn finish(self) -> ModelContext {
        let window = self.window();
        let Surroundings { world_state, turn_context, previous_settings, .. } = self.surroundings;
        // What is left of the snapshots for rollbacks would only make the values below be copied.
        drop(self.turns);
        ModelContext {
            history: self.history,
            world_state: self.world.into_state(&world_state),
            window,
            turn_context: turn_context.map(Arc::unwrap_or_clone),
            previous_settings: previous_settings.map(Arc::unwrap_or_clone),
            warnings: self.warnings,
        }
    }

    fn head(&mut self, meta: &SessionMeta) {
        let is_first = self.heads.newest.is_none();
        // The head of a fork by reference follows what it inherits. A head with no base behind the first one is history
        // that a full copy took along, and one of the same thread a later segment.
        // In a detached segment the thread's own head comes first, and once more where its own lines begin.
        let is_fork = meta.history_base.as_ref().is_some_and(|base| {
            let end = base.end_ordinal_exclusive;
            self.heads.newest != meta.id
                || self.heads.copied_to.is_some_and(|copied| end.is_some_and(|end| end <= copied))
        });
        if is_first || is_fork {
            self.heads.newest = meta.id;
            self.heads.copied_to = meta.copied_base.as_ref().and_then(|base| base.end_ordinal_exclusive);
            self.heads.window = ContextWindow::first(meta.window_id());
        }
        if is_fork {
            self.surroundings.leave_window();
            // Nor does a rollback of what was inherited go back to the windows of the source.
            self.turns.all_before().for_each(Surroundings::leave_window);
        }
    }

    fn response_item(&mut self, item: &ResponseItem) {
        // Notes of late 2025 about the state of the work tree; the model never saw them.
        if *item.kind() == ResponseItemKind::GhostSnapshot {
            return;
        }
        if is_user_message(item) {
            self.user_speaks();
            self.user_messages.push(UserMessage { at: self.history.len(), retold: None });
        }
        self.history.push(self.kept(item));
    }

    fn kept(&self, item: &ResponseItem) -> ResponseItem {
        match self.options.max_output_bytes {
            Some(limit) => shorten_output(item, limit),
            None => item.clone(),
        }
    }

    fn inter_agent(&mut self, message: &InterAgentCommunication) {
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let (author, recipient) = (text(&message.author), text(&message.recipient));
        self.response_item(&ResponseItem::agent_message(&author, &recipient, &text(&message.content)));
    }

    fn user_speaks(&mut self) {
        let surroundings = &mut self.surroundings;
        if let Some(before) = self.turns.speak(|| surroundings.clone()) {
            surroundings.settle_settings(before);
        }
    }

    fn event(&mut self, event: &EventMsg) {
        match event {
            EventMsg::TaskStarted(event) => self.turns.open(event.turn_id.clone(), self.surroundings.clone()),
            EventMsg::TaskComplete(event) => self.end_turn(event.turn_id.as_ref()),
            EventMsg::UserMessage(_) if self.turns.is_open() => self.user_speaks(),
            EventMsg::ThreadRolledBack(event) => self.roll_back(event.num_turns.unwrap_or(0)),
            _ => {}
        }
    }

    fn end_turn(&mut self, id: Option<&TurnId>) {
        if let (Some(middle), Some(id)) = (&mut self.middle, id) {
            // It may have been opened before the beginning.
            middle.reached_back |= !self.turns.has_seen(id);
        }
        self.turns.end(id);
    }

    fn turn_context(&mut self, context: &TurnContext) {
        let context = Arc::new(context.clone());
        if !self.turns.is_silent() {
            self.surroundings.previous_settings = Some(Arc::clone(&context));
            self.surroundings.has_unknown_settings = false;
        }
        self.surroundings.turn_context = Some(context);
    }

    fn compacted(&mut self, compacted: &Compacted) {
        let is_passed_over =
            compacted.replacement_history.is_some() && self.passed_over.contains(self.surroundings.read_compactions);
        self.surroundings.read_compactions += u64::from(compacted.replacement_history.is_some());
        match &compacted.replacement_history {
            Some(_) if is_passed_over => {}
            Some(history) => {
                let history = history.iter().filter(|item| *item.kind() != ResponseItemKind::GhostSnapshot);
                self.replace_history(history.cloned().collect());
            }
            None => self.rebuild_history(compacted.message.as_deref().unwrap_or_default()),
        }
        self.surroundings.compact(compacted);
        // A compaction that a full copy took along opened a window of the source.
        let own = self.heads.window.first_window_id;
        if own.is_some() && compacted.first_window_id.is_some() && compacted.first_window_id != own {
            self.surroundings.leave_window();
        }
        if let Some(middle) = &mut self.middle {
            let says_all = compacted.replacement_history.is_some() && compacted.window_number.is_some();
            // One that leaves something to be found out by the reader looks back to all that came before.
            middle.reached_back |= !says_all;
            middle.has_history |= says_all && !is_passed_over;
            self.surroundings.is_unknown = false;
        }
    }

    fn replace_history(&mut self, history: Vec<ResponseItem>) {
        let messages = history.iter().enumerate().filter(|(_, item)| is_user_message(item));
        self.user_messages = messages.map(|(at, _)| UserMessage { at, retold: None }).collect();
        self.history = history;
    }

    /// Lets nothing stand but what an old compaction kept of the user's own messages, and its summary. Of messages that one
    /// before told, the items stay as they are: a thread may hold thousands of both.
    fn rebuild_history(&mut self, summary: &str) {
        let own = self.user_messages.iter().rev().filter_map(|message| self.own_words(message));
        let kept = kept_messages(own, summary);
        let mut items = (0..).zip(std::mem::take(&mut self.history));
        self.user_messages.clear();
        for (words, cut) in kept {
            let is_cut = cut.is_some();
            let text = cut.map_or(words.text, Arc::from);
            let known = if words.is_item && !is_cut { items.by_ref().find(|(at, _)| *at == words.at) } else { None };
            let item = known.map_or_else(|| ResponseItem::user_text(&text), |(_, item)| item);
            self.retell(item, text);
        }
        let summary = summary_text(summary);
        self.retell(ResponseItem::user_text(summary), summary.into());
    }

    /// Adds a message that is told in the user's name. It is one of the user unless it looks like one of the program.
    fn retell(&mut self, item: ResponseItem, text: Arc<str>) {
        if !is_user_fragment(&text) {
            self.user_messages.push(UserMessage { at: self.history.len(), retold: Some(text) });
        }
        self.history.push(item);
    }

    /// What the user said in a message; nothing for one of another agent.
    fn own_words(&self, message: &UserMessage) -> Option<OwnWords> {
        if let Some(text) = &message.retold {
            return Some(OwnWords { at: message.at, text: Arc::clone(text), is_item: true });
        }
        let item = self.history.get(message.at).filter(|item| *item.kind() == ResponseItemKind::Message)?;
        Some(OwnWords { at: message.at, text: item.texts().concat().into(), is_item: false })
    }

    fn world_state(&mut self, record: &WorldStateRecord) {
        let state = record.state.clone().unwrap_or_default();
        let Surroundings { world_state: world, is_unknown, .. } = &mut self.surroundings;
        if record.is_full() {
            match WorldState::new(state) {
                Ok(snapshot) => self.world.set(world, snapshot),
                Err(error) => {
                    self.warnings.push(format!("a world state snapshot was dropped: {error}"));
                    world.clear();
                }
            }
        } else if world.is_known() {
            match WorldStatePatch::new(state) {
                Ok(patch) => self.world.patch(world, patch),
                Err(error) => {
                    self.warnings.push(format!("the world state was dropped: its patch is no patch: {error}"));
                    world.clear();
                }
            }
        } else if !*is_unknown {
            // Otherwise the snapshot may stand before the beginning.
            self.warnings.push("a world state patch was ignored: there is no snapshot to patch".to_owned());
        }
    }

    /// Undoes the newest `turns` user turns.
    ///
    /// The history counts messages of the user, everything else counts turns; see [`Replay`].
    fn roll_back(&mut self, turns: u64) {
        let turns = usize::try_from(turns).unwrap_or(usize::MAX);
        if turns == 0 {
            return;
        }
        self.cut_history(turns);
        if let Some(middle) = &mut self.middle {
            middle.reached_back |= turns > self.turns.len();
        }
        if let Some(before) = self.turns.roll_back(turns) {
            let read_compactions = self.surroundings.read_compactions;
            self.undone.add_newest(before.read_compactions..read_compactions);
            self.surroundings = Surroundings { read_compactions, ..before };
        }
    }

    fn cut_history(&mut self, turns: usize) {
        let standing = self.user_messages.len().saturating_sub(turns);
        let Some(message) = self.user_messages.get(standing).map(|message| message.at) else {
            return;
        };
        self.user_messages.truncate(standing);
        self.history.truncate(message);
        // What was told about the surroundings right before the message goes with it. What stands before the first message
        // of all was told for the thread, not for a turn.
        if standing > 0 {
            while self.history.last().is_some_and(is_context_fragment) {
                self.history.pop();
            }
        }
    }

    fn window(&self) -> ContextWindow {
        match self.surroundings.window {
            Some(window) => window,
            None if self.surroundings.has_unnumbered => {
                ContextWindow { number: self.surroundings.compactions, ..ContextWindow::default() }
            }
            None => self.heads.window,
        }
    }
}

/// What the user said in a message of the history.
struct OwnWords {
    /// Which item it is.
    at: usize,
    text: Arc<str>,
    /// Whether the item is the text and nothing else.
    is_item: bool,
}

impl AsRef<str> for OwnWords {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

impl UndoneCompactions {
    /// Adds a range, none of the others ends behind which. What it covers becomes part of it, so that going back time and
    /// again over the same compactions adds nothing.
    fn add_newest(&mut self, mut range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        while let Some(last) = self.0.pop_if(|last| last.end >= range.start) {
            range.start = range.start.min(last.start);
        }
        self.0.push(range);
    }

    fn contains(&self, number: u64) -> bool {
        let behind = self.0.partition_point(|range| range.end <= number);
        self.0.get(behind).is_some_and(|range| range.contains(&number))
    }
}

impl Surroundings {
    fn compact(&mut self, compacted: &Compacted) {
        self.world_state.clear();
        self.turn_context = None;
        self.compactions += 1;
        match compacted.window_number {
            Some(number) => {
                self.window = Some(ContextWindow {
                    number,
                    first_window_id: compacted.first_window_id,
                    previous_window_id: compacted.previous_window_id,
                    window_id: compacted.window_id,
                });
            }
            None => self.has_unnumbered = true,
        }
    }

    /// The turn turns out to be the user's: the settings that were written in it are those of a user turn.
    fn settle_settings(&mut self, before: &Self) {
        if let Some(settings) = &self.turn_context
            && !before.turn_context.as_ref().is_some_and(|old| Arc::ptr_eq(old, settings))
        {
            self.previous_settings = Some(Arc::clone(settings));
            self.has_unknown_settings = false;
        }
    }

    /// A fork counts its own windows; what the model sees and was told stays.
    fn leave_window(&mut self) {
        self.window = None;
        self.compactions = 0;
        self.has_unnumbered = false;
    }
}

fn event_matters(kind: &str) -> bool {
    matches!(kind, "user_message" | "thread_rolled_back") || is_turn_start(kind) || is_turn_end(kind)
}
