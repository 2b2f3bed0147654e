//! Folds the lines of a thread into its turns.

use std::collections::BTreeSet;

use selvedge_protocol::{
    ErrorEvent, EventMsg, HistoryMode, ItemCompletedEvent, ItemId, LineFormat, OpenItem, RolloutItem, RolloutLine,
    TaskCompleteEvent, TaskStartedEvent, Timestamp, Turn, TurnAbortedEvent, TurnId, TurnItem, TurnStatus,
};
use serde_json::{Map, Value, json};

use super::draft::{LineStamp, TurnDraft};
use super::event_kinds::{can_change_turns, fails_turn, has_legacy_event, is_shown_when_completed, shows_user_message};
use super::sequence::{ChangedTurn, TurnSequence};
use crate::context_fragments::{is_shown_user_message, is_user_message};
use crate::payload_fields::{message_role, payload_type};
use crate::projected_turn::{ProjectedTurn, TurnRestart};
use crate::rollback_ledger::{RollbackLedger, RollbackPoint};
use crate::turn_item;
use crate::user_input::UserInput;
use crate::user_turns::UserTurns;

/// Folds the lines of a thread into its turns.
///
/// Turns are derived from events alone. What the model sees (`response_item`, `world_state`) and settings are not shown. Lines
/// from before the envelope (mid 2025) are the exception: their files contain no events, so messages of the user and the
/// assistant are taken from the response items.
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
            _ => {}
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
        self.turns.drain_closed()
    }

    /// Returns where another projection can resume, so that it takes the lines to come and returns the turns that they change.
    /// `None` if these turns depend on earlier ones.
    #[must_use]
    pub fn restart(&self) -> Option<TurnRestart> {
        match self.turns.unended() {
            Some(draft) => (!draft.has_cross_turn_edits).then_some(draft.restart),
            None => Some(self.turns.restart_at(self.end, self.lead_in)),
        }
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
        if let RolloutItem::SessionMeta(meta) = line.item()
            && meta.mode() == HistoryMode::Paginated
        {
            self.turns.mode = HistoryMode::Paginated;
        }
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
        if !shows_user_message(event) {
            self.ledger.commit_pending();
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
            _ if self.turns.mode == HistoryMode::Legacy => self.push_legacy_event(stamp, event),
            _ => {}
        }
    }

    /// Takes an event that a paginated thread does not have: there, completed items contain the same.
    fn push_legacy_event(&mut self, stamp: LineStamp, event: &EventMsg) {
        match event {
            EventMsg::UserMessage(event) => self.push_user_message(stamp, UserInput::from_event(event)),
            EventMsg::AgentMessage(event) => {
                self.push_agent_message(stamp, event.message.as_deref(), event.phase.clone());
            }
            EventMsg::AgentReasoning(event) => self.push_reasoning(stamp, event.text.clone(), None),
            EventMsg::AgentReasoningRawContent(event) => self.push_reasoning(stamp, None, event.text.clone()),
            event => {
                if let Some(item) = turn_item::from_legacy(event, |id| self.turns.id_or_number(id)) {
                    self.turns.upsert_item(stamp, turn_item::turn_of(event).as_ref(), item);
                }
            }
        }
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
        // The index is determined before the item is added: adding it can open the turn, but never closes one.
        let turn = self.turns.index_for(turn_id);
        let item = turn_item::from_completed(item.kind(), id, fields);
        let message = if let TurnItem::UserMessage { text, .. } = &item { Some(text.clone()) } else { None };
        // An update of a known message is no further message.
        let Some(item) = self.turns.upsert_item(stamp, turn_id, item) else { return };
        if let Some(text) = message
            && let Some(draft) = self.turns.turn_at(turn)
        {
            draft.is_of_user = true;
            let point = draft.rollback_point(turn, item);
            self.ledger.record_event(&text, point, stamp.position);
        }
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
        self.turns.upsert_item(stamp, turn_id.as_ref(), turn_item::from_started(&kind, id, fields));
    }

    /// Takes a step of the agent from a thread that was recorded with more than the usual events.
    fn push_step(&mut self, stamp: LineStamp, event: &OpenItem) {
        let (id, fields) = self.split_fields(serde_json::from_str(event.json().get()).unwrap_or_default(), "call_id");
        let turn_id = fields.get("turn_id").and_then(Value::as_str).map(TurnId::from);
        if let Some(item) = turn_item::from_step(event.kind(), id, fields) {
            self.turns.upsert_item(stamp, turn_id.as_ref(), item);
        }
    }

    /// Returns the id of an item, which is in field `id_field`, and its other fields except the kind.
    fn split_fields(&mut self, mut fields: Map<String, Value>, id_field: &str) -> (ItemId, Map<String, Value>) {
        fields.remove("type");
        let id = fields.remove(id_field);
        (self.turns.id_or_number(id.as_ref().and_then(Value::as_str)), fields)
    }

    /// Adds a message of the user: to the open turn if that is explicit, else to a new turn.
    fn push_user_message(&mut self, stamp: LineStamp, input: UserInput) {
        // An implicit turn that holds only a compaction continues with the message that follows it.
        let continues = |open: &TurnDraft| open.is_explicit || (open.is_compaction && open.turn.items.is_empty());
        if !self.turns.open.as_ref().is_some_and(continues) {
            let start = self.lead_in.unwrap_or(stamp.position);
            self.turns.open(None, start, stamp.time);
        }
        let turn = self.turns.closed.len();
        let draft = self.turns.turn_for(None, stamp);
        let point = draft.rollback_point(turn, draft.turn.items.len());
        draft.is_of_user = true;
        self.ledger.record_event(&input.text, point, stamp.position);
        self.turns.push_numbered_item(stamp, |id| turn_item::user_message(id, input));
    }

    /// Takes a compaction. A rollback that undoes its summary cuts at this line.
    fn push_compaction(&mut self, stamp: LineStamp, line: &RolloutLine) {
        let turn = self.turns.closed.len();
        let draft = self.turns.turn_for(None, stamp);
        draft.is_compaction = true;
        // At least 1 if the turn has a message of the user, although the event that shows it may still follow: undoing the
        // summary must not undo that message, too.
        let point = RollbackPoint { turn, item: draft.turn.items.len().max(usize::from(draft.is_of_user)) };
        if let RolloutItem::Compacted(compacted) = line.item() {
            self.ledger.compact(&compacted, point);
        }
    }

    fn push_agent_message(&mut self, stamp: LineStamp, text: Option<&str>, phase: Option<String>) {
        let Some(text) = text.filter(|text| !text.is_empty()) else { return };
        let text = text.to_owned();
        self.turns.push_numbered_item(stamp, |id| TurnItem::AgentMessage { id, text, phase });
    }

    /// Adds a part to the reasoning that is the last item, or begins a new one.
    fn push_reasoning(&mut self, stamp: LineStamp, summary_part: Option<String>, content_part: Option<String>) {
        let is_empty = |part: &Option<String>| part.as_deref().unwrap_or_default().is_empty();
        if is_empty(&summary_part) && is_empty(&content_part) {
            return;
        }
        // Programs write each part of a reasoning as an event of its own, without an id.
        let draft = self.turns.turn_for(None, stamp);
        if let Some(TurnItem::Reasoning { summary, content, .. }) = draft.turn.items.last_mut() {
            summary.extend(summary_part);
            content.extend(content_part);
            draft.extend_last_item(stamp.position);
            return;
        }
        let (summary, content) = (summary_part.into_iter().collect(), content_part.into_iter().collect());
        self.turns.push_numbered_item(stamp, |id| TurnItem::Reasoning { id, summary, content });
    }

    fn push_response_line(&mut self, stamp: LineStamp, line: &RolloutLine) {
        if line.format() == LineFormat::Bare && self.push_bare_message(stamp, line) {
            self.lead_in = None;
            return;
        }
        let kind = payload_type(line);
        let role = message_role(&kind, line.payload());
        self.update_lead_in(stamp.position, &kind, role.as_deref());
        if matches!(role.as_deref(), Some("user" | "agent"))
            && let RolloutItem::ResponseItem(item) = line.item()
            && is_user_message(&item)
        {
            self.count_user_message();
            let point = self.message_point();
            self.ledger.record_item(&item, point, stamp.position);
        }
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
            self.count_user_message();
            let point = self.message_point();
            self.ledger.record_agent_message(message.content.unwrap_or_default(), point, stamp.position);
        }
    }

    /// Makes the open turn one of the user, or counts the message as a turn of its own.
    fn count_user_message(&mut self) {
        self.user_turns.record_message(|| self.ledger.compactions());
    }

    /// Returns where a rollback cuts that undoes the message of the current `response_item` line.
    ///
    /// The message belongs to the open turn if that is explicit, even if no event shows it. Otherwise it leads up to the next
    /// turn.
    fn message_point(&mut self) -> RollbackPoint {
        let turn = self.turns.closed.len();
        // The event that shows the message closes an open implicit turn, as a rule. So the message belongs to the turn after it.
        match &mut self.turns.open {
            Some(open) if open.is_explicit => {
                let point = open.rollback_point(turn, open.turn.items.len());
                open.is_of_user = true;
                point
            }
            open => RollbackPoint { turn: turn + usize::from(open.is_some()), item: 0 },
        }
    }

    /// Takes a message from before the envelope, when there were no events. Returns whether the line is such a message.
    fn push_bare_message(&mut self, stamp: LineStamp, line: &RolloutLine) -> bool {
        let RolloutItem::ResponseItem(item) = line.item() else { return false };
        let (is_user, is_assistant) = (is_shown_user_message(&item), item.role().as_deref() == Some("assistant"));
        // No event follows that shows the message: this line is both item and event.
        if is_user {
            self.count_user_message();
            self.push_user_message(stamp, UserInput { text: item.texts().concat(), images: Vec::new() });
        } else if is_assistant {
            self.push_agent_message(stamp, Some(&item.texts().concat()), None);
        }
        is_user || is_assistant
    }
}
