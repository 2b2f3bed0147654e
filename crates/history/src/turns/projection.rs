//! Folds the lines of a thread into its turns.

use std::collections::BTreeSet;
use std::ops::Range;

use selvedge_protocol::{
    ErrorEvent, EventMsg, HistoryMode, ItemCompletedEvent, ItemContent, ItemId, ItemOrigin, ItemStatus, LineFormat,
    OpenItem, ResponseItem, RolloutItem, RolloutLine, TaskCompleteEvent, TaskStartedEvent, Timestamp, Turn,
    TurnAbortedEvent, TurnId, TurnItem, TurnStatus,
};
use serde_json::{Map, Value, json};

use super::draft::{LineStamp, TurnDraft, Upserted};
use super::event_kinds::{
    can_change_turns, fails_turn, has_legacy_event, is_shown_when_completed, is_silent_line, is_silent_start,
    shows_user_message,
};
use super::pairing::{Pairing, SaidBy, contains_plan, shown_text, without_citations};
use super::sequence::{ChangedTurn, TurnSequence};
use crate::context_fragments::{is_typed_message, is_user_message, without_leading_fragments};
use crate::model_item;
use crate::payload_fields::{self, call_id, item_id, message_role, payload_type};
use crate::projected_turn::{ProjectedTurn, TurnRestart};
use crate::rollback_ledger::{ItemPlace, RollbackLedger, RollbackPoint};
use crate::turn_item;
use crate::user_input::UserInput;
use crate::user_turns::UserTurns;

/// In how many implicit turns a message of the user can wait for its event, or an event for its message. A projection of the lines to
/// come begins with the first of these turns.
const MAX_WAITING_TURNS: u64 = 8;

/// Folds the lines of a thread into its turns.
///
/// Turns and their items come from events, which are written for clients. What the model said and did and no event shows comes from
/// the model's own items ([`ItemOrigin::Model`]): calls and their outputs, messages and reasoning. Many programs write no event for
/// a call, files before the envelope (mid 2025) contain no events at all, and a program that appends items may write none. The rule
/// is that whatever was said or done is shown once. What both an event and an item tell is shown as the event tells it: calls are
/// recognized by their ids, messages by their texts.
///
/// Items outside of a turn belong to the turn before; a message of the user begins an implicit turn. Lines of unknown kinds are
/// shown with their kind. Context fragments, world state and settings are not shown.
///
/// A rollback undoes the same messages and compactions as in [`Replay`](crate::Replay). Everything that is shown from the oldest
/// of these messages on is undone. If that message is the summary of a compaction, or steered a running turn, the beginning of
/// its turn remains. Messages that a compaction dropped are shown until they are undone themselves.
#[derive(Debug, Default)]
pub struct TurnProjection {
    turns: TurnSequence,
    is_live: bool,
    /// The messages that rollbacks count.
    ledger: RollbackLedger,
    /// What the newest turn shows, to show it once.
    pairing: Pairing,
    /// The turns of the user that rollbacks count. Each holds the number of compactions before it.
    user_turns: UserTurns<u64>,
    /// Position of the first of the lines that lead up to the next message of the user: context fragments and the
    /// `response_item` of that message. An implicit turn begins there. `None` if the last line is no such line.
    lead_in: Option<u64>,
    /// Position of the first line.
    start: u64,
    /// Just past the last line.
    end: u64,
    /// Whether a rollback may have undone turns before those here.
    affects_earlier_turns: bool,
    /// Ordinal at which the own lines of a sub-agent begin ([`SessionMeta::subagent_history_start_ordinal`](selvedge_protocol::SessionMeta)). 0 for other threads.
    own_lines_start: u64,
    /// The ordinal after that of the last line.
    next_ordinal: Option<u64>,
}

impl TurnProjection {
    /// Creates a projection without lines.
    #[must_use]
    pub fn new() -> Self {
        Self::resume(TurnRestart { next_item: 1, ..TurnRestart::default() })
    }

    /// Creates a projection that begins in the middle of a history, without the turns before.
    ///
    /// The lines may depend on those turns; [`Self::affects_earlier_turns`] and [`Self::unresolved_turn_ids`] report that. The
    /// turns that this projection returns may be wrong then.
    #[must_use]
    pub fn resume(restart: TurnRestart) -> Self {
        Self {
            turns: TurnSequence::new(restart),
            lead_in: restart.lead_in,
            start: restart.position,
            end: restart.position,
            ..Self::default()
        }
    }

    /// Creates a projection that begins within a turn, at the first line of an item. The first item of the first turn is that
    /// item. Its id differs if it is a number.
    #[must_use]
    pub fn at_item(turn_id: TurnId, restart: TurnRestart) -> Self {
        let mut open = TurnDraft::new(turn_id, restart, None);
        open.is_explicit = true;
        let mut projection = Self::resume(restart);
        projection.turns.open = Some(open);
        projection
    }

    /// Sets whether the thread is live. If it is, an open last turn is in progress; otherwise it is interrupted.
    #[must_use]
    pub fn live(mut self, live: bool) -> Self {
        self.is_live = live;
        self
    }

    /// Takes the next line. `position` is its number in the whole history of the thread, counted from 0 over intact lines.
    pub fn push(&mut self, position: u64, line: &RolloutLine) {
        let stamp = LineStamp { position, time: line.timestamp() };
        self.end = position + 1;
        // What a sub-agent copied from its parent is shown in the parent.
        self.next_ordinal = line.ordinal().map(|ordinal| ordinal.saturating_add(1));
        if line.ordinal().is_some_and(|ordinal| ordinal < self.own_lines_start) {
            return;
        }
        // This comes before the line takes an item number: a turn that the line opens restarts at that number.
        self.turns.begin_line();
        // Only paginated threads have ordinals.
        if line.ordinal().is_some() {
            self.turns.mode = HistoryMode::Paginated;
        }
        match line.kind() {
            "event_msg" => self.push_event_line(stamp, line),
            "response_item" => self.push_response_line(stamp, line),
            "session_meta" => self.push_head(line),
            "compacted" => self.push_compaction(stamp, line),
            "inter_agent_communication" => self.push_agent_communication(stamp, line),
            "realtime_item" => self.push_realtime_item(stamp, line),
            "retained_context" => self.push_retained_context(stamp, line),
            // Bare lines of mid 2025 without a kind contain the state of the program.
            "" if line.format() == LineFormat::Bare && line.payload().contains("\"record_type\"") => {}
            kind if is_silent_line(kind) => {}
            kind => self.push_unknown(stamp, kind, line.payload()),
        }
        // Settings and world state are written between the lines that lead up to a message. Any other line ends them.
        if !matches!(line.kind(), "response_item" | "turn_context" | "world_state") {
            self.lead_in = None;
        }
    }

    /// Returns the positions of the messages of the user and of other agents that are not undone. A `thread_rolled_back` event
    /// counts these messages.
    ///
    /// The position is that of the event that shows the message. If that event is missing, it is the position of the line that
    /// gives the message to the model, which can be between two turns.
    pub fn message_positions(&self) -> impl Iterator<Item = u64> {
        self.ledger.positions()
    }

    /// Returns the turns.
    #[must_use]
    pub fn finish(self) -> Vec<Turn> {
        self.finish_projected().into_iter().map(|projected| projected.turn).collect()
    }

    /// Returns the turns with the positions of their lines.
    #[must_use]
    pub fn finish_projected(self) -> Vec<ProjectedTurn> {
        self.turns.finish(self.end, self.is_live)
    }

    /// Removes and returns all closed turns except the last. If later lines change them,
    /// [`Self::affects_earlier_turns`] or [`Self::unresolved_turn_ids`] reports it.
    pub fn drain_closed(&mut self) -> Vec<ProjectedTurn> {
        self.turns.drain_closed(self.turns.closed.len().saturating_sub(1))
    }

    /// Returns the open turn, if a projection can resume where it begins: no line to come needs an earlier turn then, as far as the
    /// lines so far tell.
    pub(crate) fn independent_open_turn(&self) -> Option<OpenTurnView<'_>> {
        let (draft, restart) = (self.turns.open.as_ref()?, self.restart_of_open_turn()?);
        // As if the turn ended with the last line.
        let end = if draft.is_explicit { draft.end.unwrap_or(self.end) } else { self.end };
        Some(OpenTurnView {
            turn: &draft.turn,
            first_line: draft.restart,
            restart,
            lines: draft.restart.position..end.max(draft.restart.position),
            released_items: draft.released,
            is_self_contained: !draft.has_cross_turn_edits,
            item_lines: draft.item_lines().collect(),
        })
    }

    /// Returns where a projection can begin with the open turn.
    fn restart_of_open_turn(&self) -> Option<TurnRestart> {
        let open = self.turns.open.as_ref()?;
        self.restart().filter(|restart| restart.turns == open.restart.turns)
    }

    /// Removes and returns all closed turns if a turn is open, and a projection could begin with it. Late lines are reported as by
    /// [`Self::drain_closed`].
    pub fn drain_before_open(&mut self) -> Vec<ProjectedTurn> {
        let count = if self.restart_of_open_turn().is_some() { self.turns.closed.len() } else { 0 };
        self.turns.drain_closed(count)
    }

    /// Releases items of the open turn, which bounds memory if that is long: `take` gets them, with the index of their turn and that of
    /// the first of them among its items, and then their texts are dropped. It does nothing unless the open turn is the only one here.
    ///
    /// `kept` says how many of the newest items stay, because a line may still change them. If a line changes an item that was released,
    /// [`Self::have_released_items_changed`] reports it.
    pub fn release_items(&mut self, kept: &KeptItems, take: impl FnOnce(u64, u64, &[TurnItem])) {
        let Some(open) = self.turns.open.as_mut().filter(|_| self.turns.closed.is_empty()) else { return };
        let items = &open.turn.items;
        let before = |position: u64| open.turn.item_positions.partition_point(|start| *start < position);
        let end = before(kept.from).max(items.len().saturating_sub(kept.items));
        let waiting = before(kept.waiting_from).max(items.len().saturating_sub(kept.waiting_items));
        let waiting = (waiting.max(open.released)..end).find(|index| items.get(*index).is_some_and(waits));
        // The last item stays: the next line may continue it.
        let (turn, end) = (open.restart.turns, waiting.unwrap_or(end).min(items.len().saturating_sub(1)));
        open.release(end, |first, items| take(turn, first as u64, items));
    }

    /// Returns whether a line changed or removed an item that was [released](Self::release_items). What was handed over is wrong then.
    #[must_use]
    pub fn have_released_items_changed(&self) -> bool {
        self.turns.have_changed_released()
    }

    /// Returns where another projection can resume, so that it takes the lines to come and returns the turns that they change.
    /// `None` if these turns depend on earlier ones, or if more lines may follow that a sub-agent copied from its parent: only the
    /// head tells which ones these are.
    #[must_use]
    pub fn restart(&self) -> Option<TurnRestart> {
        if self.next_ordinal.is_some_and(|next| next < self.own_lines_start) {
            return None;
        }
        let unended = self.turns.unended().map(|draft| draft.restart.turns);
        // A message may still get its event, or an event its message.
        let Some(first) = unended.into_iter().chain(self.ledger.oldest_waiting_turn()).min() else {
            return Some(self.turns.restart_at(self.end, self.lead_in));
        };
        self.turns.restart_of(first)
    }

    /// Returns the history mode of the thread, as far as the lines determine it.
    #[must_use]
    pub fn mode(&self) -> HistoryMode {
        self.turns.mode
    }

    /// Returns whether a rollback may have changed turns before those here.
    #[must_use]
    pub fn affects_earlier_turns(&self) -> bool {
        self.affects_earlier_turns
    }

    /// Returns the ids that lines name and that no turn here has. A line changes an earlier turn if that has such an id.
    #[must_use]
    pub fn unresolved_turn_ids(&self) -> &BTreeSet<TurnId> {
        &self.turns.unresolved_turn_ids
    }

    fn push_head(&mut self, line: &RolloutLine) {
        let RolloutItem::SessionMeta(meta) = line.item() else { return };
        if meta.mode() == HistoryMode::Paginated {
            self.turns.mode = HistoryMode::Paginated;
        }
        self.own_lines_start = meta.subagent_history_start_ordinal.unwrap_or(self.own_lines_start);
    }

    fn push_event_line(&mut self, stamp: LineStamp, line: &RolloutLine) {
        if !can_change_turns(&payload_type(line)) {
            return;
        }
        if let RolloutItem::EventMsg(event) = line.item() {
            self.count_event(&event);
            self.push_event(stamp, &event);
        }
    }

    /// Updates what rollbacks count. `Replay` counts the same turns and messages by the same rules.
    fn count_event(&mut self, event: &EventMsg) {
        if !shows_user_message(event) && !is_silent_start(event) {
            self.ledger.commit_pending();
            self.pairing.end_messages_of_user();
        }
        match event {
            EventMsg::TaskStarted(event) => self.user_turns.open(event.turn_id.clone(), self.ledger.compactions()),
            EventMsg::TaskComplete(event) => self.user_turns.end(event.turn_id.as_ref()),
            EventMsg::UserMessage(_) if self.user_turns.is_open() => self.count_user_message(),
            _ => {}
        }
    }

    fn push_event(&mut self, stamp: LineStamp, event: &EventMsg) {
        match event {
            EventMsg::TaskStarted(event) => self.start_turn(stamp, event),
            EventMsg::TaskComplete(event) => self.complete_turn(stamp, event),
            EventMsg::TurnAborted(event) => self.abort_turn(stamp, event),
            EventMsg::ThreadRolledBack(event) => self.roll_back(stamp, event.num_turns.unwrap_or(0)),
            EventMsg::ItemCompleted(event) => self.push_completed_item(stamp, event),
            EventMsg::Error(event) => self.push_error(stamp, event),
            EventMsg::Other(event) if event.kind() == "item_started" => self.push_started_item(stamp, event),
            EventMsg::Other(event) if turn_item::is_step(event.kind()) => self.push_step(stamp, event),
            EventMsg::Other(event) => self.push_unknown_event(stamp, event),
            _ if self.turns.mode == HistoryMode::Legacy => self.push_legacy_event(stamp, event),
            _ => {}
        }
    }

    /// Takes an event that a paginated thread does not have: there, completed items contain the same.
    fn push_legacy_event(&mut self, stamp: LineStamp, event: &EventMsg) {
        match event {
            EventMsg::UserMessage(event) => {
                let client_id = event.extra.get("client_id").and_then(|id| serde_json::from_str(id.get()).ok());
                self.push_user_message(stamp, UserInput::from_event(event), client_id);
            }
            EventMsg::AgentMessage(event) => {
                let Some(text) = event.message.clone().filter(|text| !text.is_empty()) else { return };
                let citation = event.extra.get("memory_citation").filter(|citation| citation.get() != "null");
                let memory_citation = citation.and_then(|citation| serde_json::from_str(citation.get()).ok());
                self.push_agent_message(stamp, text, event.phase.clone(), memory_citation);
            }
            EventMsg::AgentReasoning(event) => self.push_reasoning(stamp, SaidBy::Reasoning, event.text.as_deref()),
            EventMsg::AgentReasoningRawContent(event) => {
                self.push_reasoning(stamp, SaidBy::RawReasoning, event.text.as_deref());
            }
            event => {
                if let Some((id, content)) = turn_item::from_legacy(event) {
                    let id = self.turns.id_or_number(id);
                    self.upsert_event_item(stamp, turn_item::turn_of(event).as_ref(), TurnItem::new(id, content));
                }
            }
        }
    }

    /// Adds the item of an event to its turn, or updates an earlier item with the same id.
    fn upsert_event_item(&mut self, stamp: LineStamp, turn_id: Option<&TurnId>, item: TurnItem) -> Upserted {
        let (index, id) = (self.turns.index_for(turn_id), item.id.clone());
        if let ItemContent::WebSearch { query, action, .. } = &item.content
            && self.turns.newest_index().is_none_or(|newest| newest <= index)
            && let Some(waiting) = self.pairing_of(index).event(SaidBy::WebSearch, &search_text(query, action.as_ref()))
            && let Some(place) = self.place_in_newest_turn(waiting)
            && self.turns.update_item(stamp, place, item.clone())
        {
            return Upserted::Confirmed;
        }
        let upserted = self.turns.upsert_item(stamp, turn_id, item);
        if self.turns.newest_index() != Some(index) {
            self.pairing().show_elsewhere(id);
        }
        upserted
    }

    /// Takes an event of a kind that is not known.
    fn push_unknown_event(&mut self, stamp: LineStamp, event: &OpenItem) {
        let content = model_item::unknown(event.kind(), event.json().get());
        let ItemContent::Other(item) = &content else { return };
        let turn_id = item.fields.get("turn_id").and_then(Value::as_str).filter(|id| !id.is_empty()).map(TurnId::from);
        // It gets a number, also if it names an item or a call: it is not known to tell the same.
        let draft = match turn_id {
            Some(turn_id) => self.turns.turn_for(Some(&turn_id), stamp),
            None => self.newest_turn_for(stamp),
        };
        let id = draft.next_unnamed_id();
        draft.push(stamp, TurnItem::new(id, content), false);
    }

    fn start_turn(&mut self, stamp: LineStamp, event: &TaskStartedEvent) {
        let started_at = event.started_at.map(Timestamp::from_seconds).or(stamp.time);
        let draft = self.turns.open(event.turn_id.clone(), stamp.position, started_at);
        draft.is_explicit = true;
        draft.turn.status = TurnStatus::InProgress;
    }

    fn complete_turn(&mut self, stamp: LineStamp, event: &TaskCompleteEvent) {
        let Some(ChangedTurn { draft, is_open }) = self.turns.turn_to_end(event.turn_id.as_ref()) else {
            return;
        };
        draft.set_times(event.started_at, event.completed_at, event.duration_ms, stamp.time);
        match &event.error {
            Some(error) => draft.fail(error.clone()),
            None if draft.turn.status == TurnStatus::InProgress => draft.turn.status = TurnStatus::Completed,
            None => {}
        }
        if is_open {
            self.turns.close(Some(stamp.position + 1));
        }
    }

    fn abort_turn(&mut self, stamp: LineStamp, event: &TurnAbortedEvent) {
        let Some(ChangedTurn { draft, is_open }) = self.turns.turn_to_end(event.turn_id.as_ref()) else {
            return;
        };
        draft.turn.status = TurnStatus::Interrupted;
        draft.set_times(event.started_at, event.completed_at, event.duration_ms, stamp.time);
        // The turn stays open: programs write the last items of an aborted turn after this event.
        if is_open {
            draft.extend_to(stamp.position);
        }
    }

    fn push_error(&mut self, stamp: LineStamp, event: &ErrorEvent) {
        let info = event.extra.get("codex_error_info").and_then(|info| serde_json::from_str::<Value>(info.get()).ok());
        if let Some(open) = &mut self.turns.open
            && info.as_ref().is_none_or(fails_turn)
        {
            let message = event.message.clone().unwrap_or_default();
            open.fail(json!({"message": message, "codex_error_info": info}));
            open.mark_change_at(stamp.position);
        }
    }

    /// Undoes the newest `count` messages of the user and everything after the oldest of them.
    ///
    /// The event names a number of turns, but the model's history is cut at that number of messages. The two differ if the user
    /// steered a turn, or if a compaction left a summary. The turns follow the history.
    fn roll_back(&mut self, stamp: LineStamp, count: u64) {
        if count == 0 {
            return;
        }
        self.turns.close(None);
        self.pairing = Pairing::default();
        // Some of the counted messages may be before the turns here.
        self.affects_earlier_turns |= self.turns.turns_before > 0 || self.start > 0;
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        // A rollback of more turns than the user has also undoes turns that were interrupted before their message was recorded.
        let silent = count.saturating_sub(self.user_turns.len());
        // First the turns of the user determine which compactions are undone, then the ledger counts messages.
        let compactions = self.user_turns.roll_back(count).unwrap_or(u64::MAX);
        if let Some(point) = self.ledger.roll_back(count, compactions) {
            self.turns.cut_at(stamp, point);
        }
        self.turns.remove_empty(silent);
        self.turns.end_rollback();
    }

    fn push_completed_item(&mut self, stamp: LineStamp, event: &ItemCompletedEvent) {
        let Some(item) = &event.item else { return };
        if self.turns.mode == HistoryMode::Legacy && has_legacy_event(item.kind()) {
            return;
        }
        let (id, fields) = self.split_fields(serde_json::from_str(item.json().get()).unwrap_or_default(), "id");
        let turn_id = event.turn_id.as_ref();
        let command = turn_item::command_of_user(&fields);
        let item = TurnItem {
            started_at: event.started_at_ms.map(Timestamp::from_millis),
            completed_at: event.completed_at_ms.map(Timestamp::from_millis),
            ..TurnItem::new(id, turn_item::from_completed(item.kind(), fields))
        };
        match &item.content {
            ItemContent::UserMessage { .. } => self.complete_user_message(stamp, turn_id, item),
            ItemContent::AgentMessage { text, .. } => {
                let text = (SaidBy::Agent, shown_text(text));
                self.complete_texts(stamp, turn_id, item, &[text]);
            }
            ItemContent::Reasoning { summary, content } => {
                let summary = summary.iter().map(|part| (SaidBy::Reasoning, part.clone()));
                let texts: Vec<_> =
                    summary.chain(content.iter().map(|part| (SaidBy::RawReasoning, part.clone()))).collect();
                self.complete_texts(stamp, turn_id, item, &texts);
            }
            ItemContent::CommandExecution { .. } if let Some(command) = command => {
                self.complete_texts(stamp, turn_id, item, &[(SaidBy::UserCommand, command)]);
            }
            ItemContent::Plan { .. } => self.complete_plan(stamp, turn_id, item),
            _ => _ = self.upsert_event_item(stamp, turn_id, item),
        }
    }

    fn complete_user_message(&mut self, stamp: LineStamp, turn_id: Option<&TurnId>, item: TurnItem) {
        let ItemContent::UserMessage { text, .. } = &item.content else { return };
        let text = text.clone();
        // The index is determined before the item is added: adding it can open the turn, but never closes one.
        let turn = self.turns.index_for(turn_id);
        // An update of a known message is no further message.
        if self.turns.turn_at(turn).is_none_or(|draft| draft.index_of(&item.id).is_none())
            && let Some(place) = self.place_of_message(stamp, &text)
        {
            self.affects_earlier_turns |= !self.turns.update_item(stamp, place, item);
            return;
        }
        let Upserted::New(index) = self.turns.upsert_item(stamp, turn_id, item) else { return };
        if let Some(draft) = self.turns.turn_at(turn) {
            draft.is_of_user = true;
            let (number, point) = (draft.restart.turns, draft.rollback_point(turn, index));
            self.ledger.record_event(&text, number, point, stamp.position);
            self.pairing_of(turn).add_event(SaidBy::User, without_leading_fragments(&text));
        }
    }

    /// Takes an item with these texts. The same may have come as an item of the model under another id.
    fn complete_texts(
        &mut self,
        stamp: LineStamp,
        turn_id: Option<&TurnId>,
        item: TurnItem,
        texts: &[(SaidBy, String)],
    ) {
        let turn = self.turns.index_for(turn_id);
        let is_known = self.turns.turn_at(turn).is_some_and(|draft| draft.index_of(&item.id).is_some());
        let is_newest = self.turns.newest_index().is_none_or(|newest| newest <= turn);
        if is_newest {
            let waiting =
                texts.iter().filter_map(|(by, text)| self.pairing_of(turn).event(*by, text)).collect::<Vec<_>>();
            if !is_known
                && let Some(index) = waiting.first()
                && let Some(place) = self.place_in_newest_turn(*index)
                && self.turns.update_item(stamp, place, item.clone())
            {
                self.pairing().forget_parts(*index);
                return;
            }
        }
        self.upsert_event_item(stamp, turn_id, item);
    }

    /// Takes a plan. A message of the agent before it that was taken from the model's items, and contains the plan, is shown without
    /// it. If nothing else is in the message, the plan takes its place.
    fn complete_plan(&mut self, stamp: LineStamp, turn_id: Option<&TurnId>, plan: TurnItem) {
        if !self.takes_place_of_message(stamp, turn_id, &plan) {
            self.upsert_event_item(stamp, turn_id, plan);
        }
    }

    fn takes_place_of_message(&mut self, stamp: LineStamp, turn_id: Option<&TurnId>, plan: &TurnItem) -> bool {
        let turn = self.turns.index_for(turn_id);
        if self.turns.newest_index() != Some(turn) || self.index_in_newest_turn(&plan.id).is_some() {
            return false;
        }
        let Some(index) = self.pairing().take_plan() else { return false };
        let rest = match self.turns.newest_item(index) {
            Some(TurnItem { content: ItemContent::AgentMessage { text, .. }, origin: ItemOrigin::Model, .. }) => {
                shown_text(text)
            }
            // An event showed the message, without the plan.
            _ => return false,
        };
        if rest.is_empty() {
            let place = self.place_in_newest_turn(index);
            return place.is_some_and(|place| self.turns.update_item(stamp, place, plan.clone()));
        }
        self.turns.edit_newest(index, stamp.position, |item| {
            if let ItemContent::AgentMessage { text, .. } = &mut item.content {
                *text = rest;
            }
        });
        self.turns.mark_dependent(index);
        false
    }

    /// Takes a step of the agent that was recorded when it began. The completed item replaces it, if there is one.
    fn push_started_item(&mut self, stamp: LineStamp, event: &OpenItem) {
        let mut event: Map<String, Value> = serde_json::from_str(event.json().get()).unwrap_or_default();
        let Some(Value::Object(item)) = event.remove("item") else { return };
        let kind = item.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
        if is_shown_when_completed(&kind) || (self.turns.mode == HistoryMode::Legacy && has_legacy_event(&kind)) {
            return;
        }
        let turn_id = event.get("turn_id").and_then(Value::as_str).map(TurnId::from);
        let (id, fields) = self.split_fields(item, "id");
        let started_at = event.get("started_at_ms").and_then(Value::as_i64).map(Timestamp::from_millis);
        let item = TurnItem { started_at, ..TurnItem::new(id, turn_item::from_started(&kind, fields)) };
        self.upsert_event_item(stamp, turn_id.as_ref(), item);
    }

    /// Takes a step of the agent from a thread that was recorded with more than the usual events.
    fn push_step(&mut self, stamp: LineStamp, event: &OpenItem) {
        let (id, fields) = self.split_fields(serde_json::from_str(event.json().get()).unwrap_or_default(), "call_id");
        let turn_id = fields.get("turn_id").and_then(Value::as_str).map(TurnId::from);
        let command = turn_item::command_of_user(&fields).filter(|_| event.kind() == "exec_command_end");
        if let Some(content) = turn_item::from_step(event.kind(), fields) {
            if let Some(command) = command {
                let item = TurnItem::new(id, content);
                self.complete_texts(stamp, turn_id.as_ref(), item, &[(SaidBy::UserCommand, command)]);
                return;
            }
            self.upsert_event_item(stamp, turn_id.as_ref(), TurnItem::new(id, content));
        }
    }

    /// Returns the id of an item, which is in field `id_field`, and its other fields except the kind.
    fn split_fields(&mut self, mut fields: Map<String, Value>, id_field: &str) -> (ItemId, Map<String, Value>) {
        fields.remove("type");
        let id = fields.remove(id_field);
        (self.turns.id_or_number(id.as_ref().and_then(Value::as_str)), fields)
    }

    /// Adds a message of the user from an event: to the open turn if that is explicit, else to a new turn.
    fn push_user_message(&mut self, stamp: LineStamp, input: UserInput, client_id: Option<String>) {
        if let Some(place) = self.place_of_message(stamp, &input.text) {
            let content = turn_item::user_message(input, client_id);
            let item = TurnItem::new(self.turns.next_item_id(), content);
            self.affects_earlier_turns |= !self.turns.update_item(stamp, place, item);
            return;
        }
        let lead_in = self.lead_in.take();
        self.open_turn_of_user(stamp, lead_in);
        let turn = self.turns.closed.len();
        let draft = self.turns.turn_for(None, stamp);
        let point = draft.rollback_point(turn, draft.turn.items.len());
        draft.is_of_user = true;
        self.ledger.record_event(&input.text, draft.restart.turns, point, stamp.position);
        self.pairing_of(turn).add_event(SaidBy::User, without_leading_fragments(&input.text));
        self.turns.push_numbered_item(stamp, turn_item::user_message(input, client_id));
    }

    /// Returns where the message of an event is shown so far, if it came as an item of the model before.
    fn place_of_message(&mut self, stamp: LineStamp, text: &str) -> Option<ItemPlace> {
        if let Some(place) = self.ledger.pair_event(text, stamp.position) {
            return Some(place);
        }
        // A message behind a context fragment in one item: rollbacks count it only because an event shows it.
        let newest = self.turns.newest_index()?;
        let index = self.pairing_of(newest).take_item(SaidBy::User, without_leading_fragments(text))?;
        let draft = self.turns.turn_at(newest)?;
        let (turn, point) = (draft.restart.turns, draft.rollback_point(newest, index));
        self.ledger.record_event(text, turn, point, stamp.position);
        Some(ItemPlace { turn, item: index })
    }

    /// Opens the turn of a message of the user, unless the open turn takes it. `lead_in` is the position of the lines before it.
    fn open_turn_of_user(&mut self, stamp: LineStamp, lead_in: Option<u64>) {
        // An implicit turn that holds only a compaction continues with the message that follows it.
        let continues = |open: &TurnDraft| open.is_explicit || (open.is_compaction && open.turn.items.is_empty());
        if !self.turns.open.as_ref().is_some_and(continues) {
            let turn = self.turns.open(None, lead_in.unwrap_or(stamp.position), stamp.time).restart.turns;
            self.ledger.forget_waiting_before(turn.saturating_sub(MAX_WAITING_TURNS));
        }
    }

    /// Takes a compaction. A rollback that undoes its summary cuts at this line.
    fn push_compaction(&mut self, stamp: LineStamp, line: &RolloutLine) {
        let turn = self.turns.closed.len();
        // In a paginated thread, turns are opened explicitly. A compaction outside of them is what remains of an undone turn in a
        // file that was migrated from a legacy one.
        let is_outside = self.turns.mode == HistoryMode::Paginated && self.turns.open.is_none();
        let point = if is_outside {
            RollbackPoint { turn, item: 0 }
        } else {
            let draft = self.turns.turn_for(None, stamp);
            draft.is_compaction = true;
            // At least 1 if the turn has a message of the user, although the event that shows it may still follow: undoing the
            // summary must not undo that message, too.
            RollbackPoint { turn, item: draft.turn.items.len().max(usize::from(draft.is_of_user)) }
        };
        if let RolloutItem::Compacted(compacted) = line.item() {
            self.ledger.compact(&compacted, point);
        }
    }

    fn push_agent_message(
        &mut self,
        stamp: LineStamp,
        text: String,
        phase: Option<String>,
        memory_citation: Option<Value>,
    ) {
        let turn = self.turns.index_for(None);
        let pairing = self.pairing_of(turn);
        let shown = shown_text(&text);
        let waiting = pairing.take_item(SaidBy::Agent, &shown);
        match waiting {
            Some(index) => pairing.forget_parts(index),
            None => {
                if let Some(index) = pairing.take_item(SaidBy::AgentPart, &shown) {
                    self.confirm_item(stamp, index);
                    return;
                }
                pairing.add_event(SaidBy::Agent, &shown);
            }
        }
        let content = ItemContent::AgentMessage { text, phase, memory_citation };
        match waiting.and_then(|index| self.place_in_newest_turn(index)) {
            Some(place) => {
                let item = TurnItem::new(self.turns.next_item_id(), content);
                self.turns.update_item(stamp, place, item);
            }
            None => self.turns.push_numbered_item(stamp, content),
        }
    }

    /// Adds a part to the reasoning that is the last item, or begins a new one.
    fn push_reasoning(&mut self, stamp: LineStamp, by: SaidBy, part: Option<&str>) {
        let Some(part) = part.filter(|part| !part.is_empty()) else { return };
        let turn = self.turns.index_for(None);
        if let Some(index) = self.pairing_of(turn).event(by, part) {
            self.confirm_item(stamp, index);
            return;
        }
        // Programs write each part of a reasoning as an event of its own, without an id.
        let draft = self.turns.turn_for(None, stamp);
        if let Some(TurnItem {
            content: ItemContent::Reasoning { summary, content }, origin: ItemOrigin::Event, ..
        }) = draft.turn.items.last_mut()
        {
            let parts = if by == SaidBy::Reasoning { summary } else { content };
            parts.push(part.to_owned());
            draft.extend_last_item(stamp.position);
            return;
        }
        let (mut summary, mut content) = (Vec::new(), Vec::new());
        if by == SaidBy::Reasoning { &mut summary } else { &mut content }.push(part.to_owned());
        let content = ItemContent::Reasoning { summary, content };
        // The programs that wrote the log did not show what the model's items tell. Where only such items are between two parts,
        // they saw one reasoning, and so the second part takes no number.
        let is_continued = draft.turn.items.iter().rev().find(|item| item.origin == ItemOrigin::Event);
        if is_continued.is_some_and(|item| matches!(item.content, ItemContent::Reasoning { .. })) {
            let item = TurnItem::new(draft.next_unnamed_id(), content);
            draft.push(stamp, item, false);
        } else {
            self.turns.push_numbered_item(stamp, content);
        }
    }

    /// An event shows a part of the item at `index`, which was taken from the model's items.
    fn confirm_item(&mut self, stamp: LineStamp, index: usize) {
        let Some(place) = self.place_in_newest_turn(index) else { return };
        match self.turns.newest_item(index) {
            Some(item) if item.origin == ItemOrigin::Model => {
                // Each part arrives once, but the item is copied for the first one only.
                let item = TurnItem { origin: ItemOrigin::Event, ..item.clone() };
                let id = self.turns.next_item_id();
                self.turns.update_item(stamp, place, TurnItem { id, ..item });
            }
            _ => self.turns.edit_newest(index, stamp.position, |_| {}),
        }
    }

    fn push_response_line(&mut self, stamp: LineStamp, line: &RolloutLine) {
        let kind = payload_type(line);
        let role = message_role(&kind, line.payload());
        self.update_lead_in(stamp.position, &kind, role.as_deref());
        match (&*kind, role.as_deref()) {
            ("message", Some("user")) => self.push_model_user_message(stamp, line),
            ("message", Some("assistant")) => self.push_model_agent_message(stamp, line),
            // Messages of the developer and the system are context.
            ("message", Some("developer" | "system")) => {}
            ("agent_message", _) => {
                if let RolloutItem::ResponseItem(item) = line.item() {
                    self.push_model_message_between_agents(stamp, &item);
                }
            }
            ("reasoning", _) => self.push_model_reasoning(stamp, line),
            (kind, _) if model_item::is_call(kind) => self.push_model_call(stamp, kind, line.payload()),
            (kind, _) if model_item::is_output(kind) => self.push_model_output(stamp, kind, line.payload()),
            (kind, _) if model_item::is_silent(kind) => {}
            (kind, _) => self.push_unknown(stamp, kind, line.payload()),
        }
    }

    /// Takes a message of role `user`. If no event shows it, before or after, it is shown as it is.
    fn push_model_user_message(&mut self, stamp: LineStamp, line: &RolloutLine) {
        let RolloutItem::ResponseItem(item) = line.item() else { return };
        let (text, is_counted) = (item.texts().concat(), is_user_message(&item));
        let mut input = UserInput::from_response(&item);
        if !is_typed_message(&item) {
            if is_counted {
                // Codex counts instructions of a directory that programs of 2025 wrote, but nobody typed them.
                self.count_user_message();
                let point = self.next_message_point();
                self.ledger.record_unshown_item(text, point, stamp.position);
            } else if let Some((command, content)) = model_item::user_command(&text) {
                self.lead_in = None;
                if !self.pairing().take_event(SaidBy::UserCommand, &command) {
                    let index = self.push_model_item(stamp, item_id(line.payload()).as_deref(), content);
                    self.pairing().show(SaidBy::UserCommand, &command, index);
                }
            }
            return;
        }
        // The line belongs to the turn that shows it.
        let lead_in = self.lead_in.take();
        if is_counted {
            self.count_user_message();
            if let Some(turn) = self.ledger.pair_item(&input.text) {
                // Alone, the lines of the open turn would show the message again.
                let is_elsewhere = self.turns.newest_turn() != Some(turn);
                if let Some(open) = &mut self.turns.open {
                    open.is_of_user |= open.is_explicit;
                    open.has_cross_turn_edits |= is_elsewhere;
                }
                return;
            }
        } else if self.pairing().take_event(SaidBy::User, without_leading_fragments(&text)) {
            return;
        }
        // After an answer of the model, no event follows that shows the message before it.
        let newest = self.turns.newest_index().and_then(|newest| self.turns.turn_at(newest));
        if newest.is_some_and(|draft| !draft.is_explicit && !draft.ends_with_message_of_user()) {
            self.ledger.commit_pending();
        }
        self.open_turn_of_user(stamp, lead_in);
        let turn = self.turns.closed.len();
        let draft = self.turns.turn_for(None, stamp);
        let index = draft.turn.items.len();
        let point = draft.rollback_point(turn, index);
        if !is_counted {
            input.text = without_leading_fragments(&text).to_owned();
        }
        let content = turn_item::user_message(input, None);
        let item = model_turn_item(draft, item_id(line.payload()).as_deref(), content);
        draft.push(stamp, item, false);
        if is_counted {
            draft.is_of_user = true;
            let place = ItemPlace { turn: draft.restart.turns, item: index };
            self.ledger.record_item(text, place, point, stamp.position);
        } else {
            self.pairing().show(SaidBy::User, without_leading_fragments(&text), index);
        }
    }

    /// Returns where a rollback cuts that undoes a message that is not shown: in the open turn if that is explicit, else before the
    /// next turn.
    fn next_message_point(&mut self) -> RollbackPoint {
        let turn = self.turns.closed.len();
        match &mut self.turns.open {
            Some(open) if open.is_explicit => {
                let point = open.rollback_point(turn, open.turn.items.len());
                open.is_of_user = true;
                point
            }
            open => RollbackPoint { turn: turn + usize::from(open.is_some()), item: 0 },
        }
    }

    fn push_model_agent_message(&mut self, stamp: LineStamp, line: &RolloutLine) {
        let Some(fields) = payload_fields::parse::<Map<String, Value>>(line.payload()) else { return };
        let parts = spoken_parts(fields.get("content"));
        let text = parts.concat();
        if text.is_empty() {
            return;
        }
        let id = fields.get("id").and_then(Value::as_str).filter(|id| !id.is_empty());
        let is_told = self.is_told_by_id(id);
        if self.pairing().take_event(SaidBy::Agent, &shown_text(&text)) || is_told {
            return;
        }
        let mut untold: Vec<String> = Vec::new();
        for part in &parts {
            if !self.pairing().take_event(SaidBy::Agent, &shown_text(part)) {
                untold.push(part.clone());
            }
        }
        // A plan in a message can be an item of its own.
        let has_plan = self.turns.newest_draft().is_some_and(|draft| draft.has_plan);
        let depends_on_earlier = has_plan || untold.len() < parts.len();
        let text = untold.concat();
        let text = if has_plan { shown_text(&text) } else { without_citations(&text) };
        if text.is_empty() {
            return;
        }
        let phase = fields.get("phase").and_then(Value::as_str).map(str::to_owned);
        let index = self.show_agent_message(stamp, id, text, phase);
        if untold.len() > 1 {
            self.pairing().show_parts(&untold, index);
        }
        if depends_on_earlier {
            self.turns.mark_dependent(index);
        }
    }

    /// Adds a message of the agent that no event shows so far, and returns its index in the newest turn.
    fn show_agent_message(&mut self, stamp: LineStamp, id: Option<&str>, text: String, phase: Option<String>) -> usize {
        let (shown, has_plan) = (shown_text(&text), contains_plan(&text));
        let content = ItemContent::AgentMessage { text, phase, memory_citation: None };
        let index = self.push_model_item(stamp, id, content);
        if has_plan {
            self.pairing().show_plan(index);
        }
        self.pairing().show(SaidBy::Agent, &shown, index);
        index
    }

    fn push_model_reasoning(&mut self, stamp: LineStamp, line: &RolloutLine) {
        let Some(fields) = payload_fields::parse::<Map<String, Value>>(line.payload()) else { return };
        let texts = |name: &str| {
            let parts = fields.get(name).and_then(Value::as_array).into_iter().flatten();
            let parts = parts.filter_map(|part| part.as_str().or_else(|| part["text"].as_str()));
            parts.filter(|part| !part.trim().is_empty()).map(str::to_owned).collect::<Vec<_>>()
        };
        let (mut summary, mut content) = (texts("summary"), texts("content"));
        let id = fields.get("id").and_then(Value::as_str).filter(|id| !id.is_empty());
        let is_told = self.is_told_by_id(id);
        let parts = summary.len() + content.len();
        let pairing = self.pairing();
        summary.retain(|part| !pairing.take_event(SaidBy::Reasoning, part));
        content.retain(|part| !pairing.take_event(SaidBy::RawReasoning, part));
        if is_told || (summary.is_empty() && content.is_empty()) {
            return;
        }
        let reasoning = ItemContent::Reasoning { summary: summary.clone(), content: content.clone() };
        let index = self.push_model_item(stamp, id, reasoning);
        if summary.len() + content.len() < parts {
            self.turns.mark_dependent(index);
        }
        let pairing = self.pairing();
        summary.iter().for_each(|part| pairing.show(SaidBy::Reasoning, part, index));
        content.iter().for_each(|part| pairing.show(SaidBy::RawReasoning, part, index));
    }

    /// Takes a call. An event with its id shows it, before or after; until then it is in progress.
    fn push_model_call(&mut self, stamp: LineStamp, kind: &str, payload: &str) {
        let Some(fields) = payload_fields::parse::<Map<String, Value>>(payload) else { return };
        let call = model_item::call(kind, &fields);
        let Some(id) = call.id.map(ItemId::from) else {
            if let ItemContent::WebSearch { query, action, .. } = &call.content {
                let text = search_text(query, action.as_ref());
                if self.pairing().take_event(SaidBy::WebSearch, &text) {
                    return;
                }
                let index = self.push_model_item(stamp, None, call.content);
                self.pairing().show(SaidBy::WebSearch, &text, index);
            } else {
                self.push_model_item(stamp, None, call.content);
            }
            return;
        };
        if self.pairing().is_shown_elsewhere(&id) {
            return;
        }
        let is_repeated = self.pairing().has_call(&id);
        let index = match self.index_in_newest_turn(&id).filter(|_| !is_repeated) {
            Some(index) => {
                self.complete_event_item(stamp, index, &call.content);
                index
            }
            None => {
                let index = self.push_model_item(stamp, Some(id.as_str()), call.content);
                self.turns.edit_newest(index, stamp.position, |item| item.started_at = stamp.time);
                index
            }
        };
        self.pairing().record_call(id, index);
    }

    /// Adds what a call said to the item of an event with its id, if that does not tell it.
    fn complete_event_item(&mut self, stamp: LineStamp, index: usize, call: &ItemContent) {
        let ItemContent::ToolCall { tool, arguments, .. } = call else { return };
        if !self.turns.newest_item(index).is_some_and(|item| matches!(item.content, ItemContent::Other(_))) {
            return;
        }
        self.turns.edit_newest(index, stamp.position, |item| {
            if let ItemContent::Other(item) = &mut item.content {
                turn_item::add_call(item, tool, arguments);
            }
        });
    }

    /// Takes the output of a call, if no event shows it.
    fn push_model_output(&mut self, stamp: LineStamp, kind: &str, payload: &str) {
        let id = call_id(payload).map(ItemId::from);
        let mut index = None;
        if let Some(id) = &id {
            let calls = self.pairing().calls(id).to_vec();
            let known = if calls.is_empty() { self.index_in_newest_turn(id).into_iter().collect() } else { calls };
            // If an id was used several times, the oldest call without an output gets it.
            let item = |index: &usize| self.turns.newest_item(*index);
            index = known.iter().copied().find(|index| item(index).is_some_and(lacks_output));
            let is_told = known.iter().any(|index| item(index).is_some_and(|item| item.origin == ItemOrigin::Event));
            if index.is_none() && (is_told || self.pairing().is_shown_elsewhere(id)) {
                return;
            }
        }
        let Some(mut fields) = payload_fields::parse::<Map<String, Value>>(payload) else { return };
        match index {
            Some(index) => self.turns.edit_newest(index, stamp.position, |item| {
                model_item::answer(&mut item.content, &mut fields);
                if item.origin == ItemOrigin::Model {
                    item.completed_at = stamp.time;
                }
            }),
            None => _ = self.push_model_item(stamp, None, model_item::orphan_output(kind, fields)),
        }
    }

    /// Takes a line about a voice conversation. The words that were spoken stand in no other line.
    fn push_realtime_item(&mut self, stamp: LineStamp, line: &RolloutLine) {
        const WITHOUT_SPEECH: [&str; 6] = [
            "frame",
            "realtime_session_started",
            "realtime_session_closed",
            "bem_item_promoted",
            // What became a prompt, which a message shows.
            "turn_input_accepted",
            "session_end_input_saved",
        ];
        let RolloutItem::RealtimeItem(item) = line.item() else {
            return self.push_unknown(stamp, line.kind(), line.payload());
        };
        match item.transcript() {
            Some((_, text)) if text.trim().is_empty() => {}
            Some((role, text)) => {
                let content = ItemContent::Transcript { role: role.to_owned(), text: text.to_owned() };
                self.push_model_item(stamp, item.id.as_deref(), content);
            }
            None if WITHOUT_SPEECH.contains(&&*payload_type(line)) => {}
            None => self.push_unknown(stamp, line.kind(), line.payload()),
        }
    }

    /// Takes a line about what must survive compactions. Only messages that were delivered to the user may stand in no other line.
    fn push_retained_context(&mut self, stamp: LineStamp, line: &RolloutLine) {
        let fields: Value = payload_fields::parse(line.payload()).unwrap_or_default();
        match (fields["type"].as_str(), fields["text"].as_str()) {
            (Some("delivered_assistant_message"), Some(text)) => {
                let id = fields["message_id"].as_str();
                let is_known = id.is_some_and(|id| self.index_in_newest_turn(&id.into()).is_some());
                if !is_known && !self.pairing().take_event(SaidBy::Agent, &shown_text(text)) {
                    self.show_agent_message(stamp, id, text.to_owned(), None);
                }
            }
            (Some("verified_answer" | "accepted_file_audio"), _) => {}
            _ => self.push_unknown(stamp, line.kind(), line.payload()),
        }
    }

    /// Takes a line or a response item of a kind that is not known.
    fn push_unknown(&mut self, stamp: LineStamp, kind: &str, payload: &str) {
        let kind = if kind.is_empty() { "unknown" } else { kind };
        self.push_model_item(stamp, item_id(payload).as_deref(), model_item::unknown(kind, payload));
    }

    /// Adds an item that no event tells to the newest turn, and returns its index there.
    fn push_model_item(&mut self, stamp: LineStamp, id: Option<&str>, content: ItemContent) -> usize {
        self.ledger.answer();
        let draft = self.newest_turn_for(stamp);
        // Some models use an id again within a turn. The second item gets a number, which it would not get alone.
        let is_repeated = id.is_some_and(|id| draft.index_of(&id.into()).is_some());
        let item = model_turn_item(draft, id.filter(|_| !is_repeated), content);
        draft.push(stamp, item, false);
        let index = draft.turn.items.len() - 1;
        if is_repeated {
            draft.mark_dependent(index);
        }
        index
    }

    /// Returns the turn to which an item belongs that names none.
    fn newest_turn_for(&mut self, stamp: LineStamp) -> &mut TurnDraft {
        // A turn before those here may have to take it.
        self.affects_earlier_turns |= self.turns.newest_turn().is_none() && self.turns.turns_before > 0;
        self.turns.newest_turn_for(stamp)
    }

    /// Returns whether an event of the newest turn tells of the item of the model with this id, which is the first with it.
    fn is_told_by_id(&mut self, id: Option<&str>) -> bool {
        let Some(id) = id.map(ItemId::from).filter(|id| !self.pairing().has_call(id)) else { return false };
        if self.pairing().is_shown_elsewhere(&id) {
            return true;
        }
        let index = self.index_in_newest_turn(&id);
        let is_event =
            |index: &usize| self.turns.newest_item(*index).is_some_and(|item| item.origin == ItemOrigin::Event);
        let told = index.filter(is_event);
        if let Some(index) = told {
            self.pairing().record_call(id, index);
        }
        told.is_some()
    }

    /// Returns the pairing of the newest turn.
    fn pairing(&mut self) -> &mut Pairing {
        self.pairing.begin_turn(self.turns.newest_turn().unwrap_or(self.turns.turns_before));
        &mut self.pairing
    }

    /// Returns the pairing of the turn with this index, which is the newest one or will be.
    fn pairing_of(&mut self, turn: usize) -> &mut Pairing {
        self.pairing.begin_turn(self.turns.turns_before + turn as u64);
        &mut self.pairing
    }

    fn place_in_newest_turn(&self, item: usize) -> Option<ItemPlace> {
        Some(ItemPlace { turn: self.turns.newest_turn()?, item })
    }

    fn index_in_newest_turn(&mut self, id: &ItemId) -> Option<usize> {
        let newest = self.turns.newest_index()?;
        self.turns.turn_at(newest)?.index_of(id)
    }

    /// Begins, continues or ends the lines that lead up to the next message of the user.
    fn update_lead_in(&mut self, position: u64, kind: &str, role: Option<&str>) {
        // An explicit turn that has a message of the user keeps further messages, so nothing leads up to a new turn.
        if self.turns.open.as_ref().is_some_and(|open| open.is_explicit && open.is_of_user) {
            return;
        }
        match role {
            Some("user" | "developer") => _ = self.lead_in.get_or_insert(position),
            Some("agent") => {}
            _ if kind == "ghost_snapshot" => {}
            _ => self.lead_in = None,
        }
    }

    fn push_agent_communication(&mut self, stamp: LineStamp, line: &RolloutLine) {
        if let RolloutItem::InterAgentCommunication(message) = line.item() {
            let text = |field: Option<String>| field.unwrap_or_default();
            let (author, recipient) = (text(message.author), text(message.recipient));
            self.push_message_between_agents(stamp, author, recipient, text(message.content));
        }
    }

    fn push_model_message_between_agents(&mut self, stamp: LineStamp, item: &ResponseItem) {
        let fields: Map<String, Value> = payload_fields::parse(item.json().get()).unwrap_or_default();
        let field = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        self.push_message_between_agents(stamp, field("author"), field("recipient"), item.texts().concat());
    }

    /// Takes a message of another agent, which rollbacks count as one of the user. No event shows it.
    fn push_message_between_agents(&mut self, stamp: LineStamp, author: String, recipient: String, text: String) {
        self.count_user_message();
        let content = ItemContent::InterAgentMessage { author, recipient, text: text.clone() };
        let index = self.push_model_item(stamp, None, content);
        let Some(turn) = self.turns.newest_index() else { return };
        let is_open = self.turns.open.is_some();
        let Some(draft) = self.turns.turn_at(turn) else { return };
        let point = if is_open { draft.rollback_point(turn, index) } else { RollbackPoint { turn, item: index } };
        draft.is_of_user |= is_open && draft.is_explicit;
        self.ledger.record_agent_message(text, point, stamp.position);
    }

    /// Makes the open turn one of the user, or counts the message as a turn of its own.
    fn count_user_message(&mut self) {
        self.user_turns.record_message(|| self.ledger.compactions());
    }
}

/// Creates an item for a turn from what the model said or did. An item without an id in the log is numbered in its turn.
fn model_turn_item(draft: &mut TurnDraft, id: Option<&str>, content: ItemContent) -> TurnItem {
    let id = id.filter(|id| !id.is_empty()).map_or_else(|| draft.next_unnamed_id(), ItemId::from);
    TurnItem { origin: ItemOrigin::Model, ..TurnItem::new(id, content) }
}

/// Returns the texts of a message of the agent. A refusal is one, too; any other part without a text is shown as it is.
fn spoken_parts(content: Option<&Value>) -> Vec<String> {
    let text = |part: &Value| {
        let text = part["text"].as_str().or_else(|| part["refusal"].as_str());
        text.map_or_else(|| part.to_string(), str::to_owned)
    };
    match content {
        Some(Value::Array(parts)) => parts.iter().map(text).collect(),
        Some(Value::String(text)) => vec![text.clone()],
        _ => Vec::new(),
    }
}

/// Returns what a web search without an id is recognized by. An event spells the query in its own way, but repeats the action.
fn search_text(query: &str, action: Option<&Value>) -> String {
    action.filter(|action| !action.is_null()).map_or_else(|| query.to_owned(), Value::to_string)
}

/// The open turn of a projection, while that goes on.
#[derive(Debug)]
pub(crate) struct OpenTurnView<'a> {
    /// The turn as far as it is known, with empty texts in the items that were [released](TurnProjection::release_items).
    pub(crate) turn: &'a Turn,
    /// Where its first line is.
    pub(crate) first_line: TurnRestart,
    /// Where a projection of the turn and of the lines to come can begin.
    pub(crate) restart: TurnRestart,
    /// Its lines so far.
    pub(crate) lines: Range<u64>,
    /// How many of its first items were released.
    pub(crate) released_items: usize,
    /// Whether the turn depends only on its own lines so far, and no other turn on them.
    pub(crate) is_self_contained: bool,
    /// The ranges of lines of its items, as [`ProjectedTurn::item_lines`] has them.
    pub(crate) item_lines: Vec<&'a Range<u64>>,
}

/// Which of the newest items of a turn are [kept](TurnProjection::release_items).
#[derive(Clone, Copy, Debug)]
pub struct KeptItems {
    /// At most so many items are kept, unless one waits.
    pub items: usize,
    /// Only items that begin at this line or later are kept.
    pub from: u64,
    /// An item that waits, for example for the output of its call, is kept with all after it, but at most so many.
    pub waiting_items: usize,
    /// The same limit as a position: no item that waits is kept if it begins before this line.
    pub waiting_from: u64,
}

/// Returns whether a line to come is expected to change the item: it is in progress, or lacks its output.
fn waits(item: &TurnItem) -> bool {
    let status = match &item.content {
        ItemContent::CommandExecution { status, .. }
        | ItemContent::FileChange { status, .. }
        | ItemContent::ToolCall { status, .. } => *status,
        // Most items of other kinds get no output, although they could.
        _ => return false,
    };
    status == ItemStatus::InProgress || lacks_output(item)
}

/// Returns whether the output of its call adds something to an item: if no event tells it.
fn lacks_output(item: &TurnItem) -> bool {
    if let ItemContent::Other(other) = &item.content {
        return !other.fields.contains_key("result");
    }
    let status = match &item.content {
        ItemContent::CommandExecution { status, output: None, .. }
        | ItemContent::ToolCall { status, result: None, .. } => status,
        _ => return false,
    };
    item.origin == ItemOrigin::Model || *status == ItemStatus::InProgress
}
