//! Replay: folds the items of a thread into what the model sees next.

mod model_context;
mod model_history;
mod replay_options;
mod restorable_state;
mod undone_compactions;

use std::convert::Infallible;
use std::sync::Arc;

use selvedge_protocol::{
    Compacted, ContextWindow, EventMsg, InterAgentCommunication, ResponseItem, ResponseItemKind, RolloutItem,
    RolloutLine, SessionMeta, ThreadId, TurnContext, TurnId, WorldState, WorldStatePatch, WorldStateRecord,
};

use crate::context_fragments::is_user_message;
use crate::payload_fields::payload_type;
use crate::turn_events::{is_turn_end, is_turn_start};
use crate::user_turns::UserTurns;
use crate::world_journal::WorldJournal;
pub use model_context::ModelContext;
use model_history::ModelHistory;
pub use replay_options::ReplayOptions;
use restorable_state::RestorableState;
use undone_compactions::UndoneCompactions;

/// Replays items that are in memory.
pub fn replay<'a, I>(items: I) -> ModelContext
where
    I: IntoIterator<Item = &'a RolloutItem, IntoIter: Clone>,
{
    let items = items.into_iter();
    replay_in_memory(|replay| items.clone().for_each(|item| replay.push(item)))
}

/// Replays lines that are in memory. Lines of kinds that do not matter are not parsed.
pub fn replay_lines<'a, I>(lines: I) -> ModelContext
where
    I: IntoIterator<Item = &'a RolloutLine, IntoIter: Clone>,
{
    let lines = lines.into_iter();
    replay_in_memory(|replay| lines.clone().for_each(|line| replay.push_line(line)))
}

fn replay_in_memory(feed: impl Fn(&mut Replay)) -> ModelContext {
    let replayed = Replay::whole(ReplayOptions::default(), |replay| {
        feed(replay);
        Ok::<_, Infallible>(())
    });
    replayed.unwrap_or_else(|never| match never {})
}

/// Folds the items of a thread into what the model sees next.
///
/// `history_base` must be resolved before: a replay takes all items of a thread in order, inherited ones first.
///
/// # Rollbacks
///
/// A `thread_rolled_back` event names a number n of turns to undo. Three things follow:
///
/// 1. *Compactions*: a compaction after the beginning of the n-th newest turn of the user is undone. The history is again what
///    it replaced, with the items since then. A compaction without a replacement history (before 2026) is never undone.
/// 2. *History*: it is cut at the n-th newest message of the user in it, or at the oldest if there are fewer. The summary of a
///    compaction has role `user` and counts as such a message. [`TurnProjection`](crate::TurnProjection) counts the same
///    messages, so a client shows what the model keeps.
/// 3. *Everything else* (world state, settings, window) is restored to the state before the n-th newest turn. If a summary was
///    among the messages, or messages that steered a turn, this reaches further back than the cut of the history.
///
/// # Two passes
///
/// The history that a compaction replaced is not kept in memory for the rare case that the compaction is undone. Instead, a
/// function provides the items and can be called again. If a compaction was undone, it is called once more, and the second pass
/// skips that compaction.
#[derive(Debug, Default)]
pub struct Replay {
    options: ReplayOptions,
    history: ModelHistory,
    state: RestorableState,
    world: WorldJournal,
    /// The turns of the user, with the state before each.
    turns: UserTurns<RestorableState>,
    heads: SessionHeads,
    warnings: Vec<String>,
    /// Compactions that rollbacks undo, found in this pass.
    undone: UndoneCompactions,
    /// Compactions that the pass before found. They replace nothing in this pass.
    skipped: UndoneCompactions,
    /// What a replay of the tail of a history covers; `None` for a replay of a whole history.
    tail: Option<TailCoverage>,
}

/// Whether a replay of the tail of a history gives the same result as a replay of the whole.
#[derive(Debug, Default)]
struct TailCoverage {
    /// Whether a compaction replaced the history from before the tail.
    has_history: bool,
    /// Whether an item depends on lines before the tail.
    needs_earlier_lines: bool,
}

/// State from the `session_meta` lines.
#[derive(Debug, Default)]
struct SessionHeads {
    /// Id in the newest head that begins a thread or a fork.
    newest: Option<ThreadId>,
    /// First ordinal after the lines that a detached thread copied, if such a head came last.
    copied_to: Option<u64>,
    /// The window that the thread starts in.
    window: ContextWindow,
    /// Ordinal at which the own lines of a sub-agent begin. 0 for other threads.
    own_lines_start: u64,
}

impl Replay {
    /// Replays a whole history. Each call of `feed` pushes all its items, in order.
    ///
    /// # Errors
    /// Returns the errors of `feed`.
    pub fn whole<E>(options: ReplayOptions, feed: impl FnMut(&mut Self) -> Result<(), E>) -> Result<ModelContext, E> {
        Ok(Self::run(|| Self { options, ..Self::default() }, feed)?.finish())
    }

    /// Replays the tail of a history, from a line that opens a turn. Each call of `feed` pushes all items from there on, in
    /// order. `head` is the `session_meta` at the beginning of the segment with that line.
    ///
    /// A compaction replaces everything that the model saw before it, so earlier lines need not be read. The context equals
    /// that of a replay of the whole history, except for the warnings, which are those of the tail. `None` if an item depends on
    /// lines before the tail: then the replay must begin earlier.
    ///
    /// # Errors
    /// Returns the errors of `feed`.
    pub fn from_tail<E>(
        head: Option<&SessionMeta>,
        feed: impl FnMut(&mut Self) -> Result<(), E>,
    ) -> Result<Option<ModelContext>, E> {
        let begin = || {
            let mut replay = Self { tail: Some(TailCoverage::default()), ..Self::default() };
            if let Some(head) = head {
                replay.push_head(head);
            }
            replay.state.is_unknown = true;
            replay.state.has_unknown_settings = true;
            replay
        };
        let replay = Self::run(begin, feed)?;
        Ok(replay.is_complete().then(|| replay.finish()))
    }

    /// Runs one pass over the items, and a second one if a rollback undid compactions.
    fn run<E>(begin: impl Fn() -> Self, mut feed: impl FnMut(&mut Self) -> Result<(), E>) -> Result<Self, E> {
        let mut replay = begin();
        feed(&mut replay)?;
        // Turns do not depend on compactions. So the second pass finds the same undone compactions, and no third is needed.
        if !replay.undone.is_empty() {
            let skipped = std::mem::take(&mut replay.undone);
            replay = Self { skipped, ..begin() };
            feed(&mut replay)?;
        }
        Ok(replay)
    }

    /// Returns whether this replay gives the result of a replay of the whole history.
    fn is_complete(&self) -> bool {
        let is_known = !self.state.is_unknown && !self.state.has_unknown_settings;
        self.tail.as_ref().is_none_or(|tail| tail.has_history && !tail.needs_earlier_lines && is_known)
    }

    /// Takes the next item.
    pub fn push(&mut self, item: &RolloutItem) {
        match item {
            RolloutItem::SessionMeta(meta) => self.push_head(meta),
            RolloutItem::ResponseItem(item) => self.push_response_item(item),
            RolloutItem::EventMsg(event) => self.push_event(event),
            RolloutItem::TurnContext(context) => self.push_turn_context(context),
            RolloutItem::Compacted(compacted) => self.push_compaction(compacted),
            RolloutItem::WorldState(record) => self.push_world_state(record),
            RolloutItem::InterAgentCommunication(message) => self.push_agent_message(message),
            _ => {}
        }
    }

    /// Takes the next line, and parses it only if its kind matters.
    pub fn push_line(&mut self, line: &RolloutLine) {
        let matters = match line.kind() {
            "session_meta" | "response_item" | "turn_context" | "compacted" | "world_state" => true,
            "inter_agent_communication" => true,
            "event_msg" => event_matters(&payload_type(line)),
            _ => false,
        };
        // The model of a sub-agent sees what was copied from the parent, but the heads among these lines begin no thread.
        let is_copied_head =
            line.kind() == "session_meta" && line.ordinal().is_some_and(|ordinal| ordinal < self.heads.own_lines_start);
        if matters && !is_copied_head {
            self.push(&line.item());
        }
    }

    fn finish(self) -> ModelContext {
        let window = self.window();
        let RestorableState { world_state, turn_context, previous_settings, .. } = self.state;
        // The copies in `turns` share the settings. Without them, `unwrap_or_clone` below moves instead of cloning.
        drop(self.turns);
        let compacted_items = self.history.compacted_items();
        let context = ModelContext {
            history: self.history.into_items(),
            compacted_items,
            world_state: self.world.into_state(&world_state),
            window,
            turn_context: turn_context.map(Arc::unwrap_or_clone),
            previous_settings: previous_settings.map(Arc::unwrap_or_clone),
            warnings: self.warnings,
        };
        context.with_options(self.options)
    }

    fn push_head(&mut self, meta: &SessionMeta) {
        self.heads.own_lines_start = meta.subagent_history_start_ordinal.unwrap_or(self.heads.own_lines_start);
        let is_first = self.heads.newest.is_none();
        // Heads after the first one have four origins, and only the first two begin a fork:
        // - the head of a fork by reference: it has a base and another id than the head before;
        // - the same head in a detached thread: a copy of it, without a base, is the first line, and the head itself comes
        //   where the copied lines end;
        // - a head without a base: a fork by full copy took it along from its source;
        // - a head with a base and the same id: a later segment of the thread, which a rewind began.
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
            self.state.forget_windows();
            // A later rollback of inherited turns must not restore a window of the source.
            self.turns.states_mut().for_each(RestorableState::forget_windows);
        }
    }

    fn push_response_item(&mut self, item: &ResponseItem) {
        // Notes about the state of the work tree, from late 2025. The model never saw them.
        if *item.kind() == ResponseItemKind::GhostSnapshot {
            return;
        }
        let is_message = is_user_message(item);
        if is_message {
            self.count_user_message();
        }
        self.history.push(item.clone(), is_message);
    }

    fn push_agent_message(&mut self, message: &InterAgentCommunication) {
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let (author, recipient) = (text(&message.author), text(&message.recipient));
        self.push_response_item(&ResponseItem::agent_message(&author, &recipient, &text(&message.content)));
    }

    /// Makes the open turn one of the user, or counts the message as a turn of its own.
    fn count_user_message(&mut self) {
        let state = &mut self.state;
        if let Some(before) = self.turns.record_message(|| state.clone()) {
            state.adopt_turn_settings(before);
        }
    }

    fn push_event(&mut self, event: &EventMsg) {
        match event {
            EventMsg::TaskStarted(event) => self.turns.open(event.turn_id.clone(), self.state.clone()),
            EventMsg::TaskComplete(event) => self.end_turn(event.turn_id.as_ref()),
            EventMsg::UserMessage(_) if self.turns.is_open() => self.count_user_message(),
            EventMsg::ThreadRolledBack(event) => self.roll_back(event.num_turns.unwrap_or(0)),
            _ => {}
        }
    }

    fn end_turn(&mut self, id: Option<&TurnId>) {
        if let (Some(tail), Some(id)) = (&mut self.tail, id) {
            // A turn that the tail did not open may have been opened before it.
            tail.needs_earlier_lines |= !self.turns.has_seen(id);
        }
        self.turns.end(id);
    }

    fn push_turn_context(&mut self, context: &TurnContext) {
        let context = Arc::new(context.clone());
        // In a turn without a message of the user, the settings wait: see `adopt_turn_settings`.
        if !self.turns.is_silent() {
            self.state.previous_settings = Some(Arc::clone(&context));
            self.state.has_unknown_settings = false;
        }
        self.state.turn_context = Some(context);
    }

    fn push_compaction(&mut self, compacted: &Compacted) {
        let has_replacement = compacted.replacement_history.is_some();
        let is_skipped = has_replacement && self.skipped.contains(self.state.read_compactions);
        self.state.read_compactions += u64::from(has_replacement);
        match &compacted.replacement_history {
            Some(_) if is_skipped => {}
            Some(history) => {
                let history = history.iter().filter(|item| *item.kind() != ResponseItemKind::GhostSnapshot);
                self.history.replace(history.cloned().collect());
            }
            None => self.history.compact_legacy(compacted.message.as_deref().unwrap_or_default()),
        }
        // Also for a skipped compaction: the rollback that undoes it restores the state from before it.
        self.state.compact(compacted);
        // A fork by full copy contains compactions of its source, which opened windows of the source.
        let own = self.heads.window.first_window_id;
        if own.is_some() && compacted.first_window_id.is_some() && compacted.first_window_id != own {
            self.state.forget_windows();
        }
        if let Some(tail) = &mut self.tail {
            // Without a replacement history or a window number, the result depends on all lines before.
            let is_self_contained = has_replacement && compacted.window_number.is_some();
            tail.needs_earlier_lines |= !is_self_contained;
            tail.has_history |= is_self_contained && !is_skipped;
            self.state.is_unknown = false;
        }
    }

    fn push_world_state(&mut self, record: &WorldStateRecord) {
        let state = record.state.clone().unwrap_or_default();
        let RestorableState { world_state: world, is_unknown, .. } = &mut self.state;
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
                    self.warnings.push(format!("the world state was dropped: its patch is malformed: {error}"));
                    world.clear();
                }
            }
        } else if !*is_unknown {
            // In a replay of the tail, the snapshot may be before the tail: no warning then.
            self.warnings.push("a world state patch was ignored: there is no snapshot to patch".to_owned());
        }
    }

    /// Undoes the newest `turns` turns of the user; see [`Replay`] for the three steps.
    fn roll_back(&mut self, turns: u64) {
        let turns = usize::try_from(turns).unwrap_or(usize::MAX);
        if turns == 0 {
            return;
        }
        self.history.cut_newest(turns);
        if let Some(tail) = &mut self.tail {
            tail.needs_earlier_lines |= turns > self.turns.len();
        }
        if let Some(before) = self.turns.roll_back(turns) {
            // In this pass undone compactions have already replaced the history. The next pass skips them.
            let read_compactions = self.state.read_compactions;
            self.undone.add_newest(before.read_compactions..read_compactions);
            self.state = RestorableState { read_compactions, ..before };
        }
    }

    fn window(&self) -> ContextWindow {
        match self.state.window {
            Some(window) => window,
            // Old compactions have no window number: their count is the number.
            None if self.state.has_unnumbered => {
                ContextWindow { number: self.state.compactions, ..ContextWindow::default() }
            }
            None => self.heads.window,
        }
    }
}

/// Returns whether an event of this kind changes what the model sees.
fn event_matters(kind: &str) -> bool {
    matches!(kind, "user_message" | "thread_rolled_back") || is_turn_start(kind) || is_turn_end(kind)
}
