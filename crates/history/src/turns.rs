//! What a client shows of a thread: its turns.

mod closed;
mod draft;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use selvedge_protocol::{
    ErrorEvent, EventMsg, HistoryMode, ItemCompletedEvent, ItemId, ItemsView, LineFormat, OpenItem, RolloutItem,
    RolloutLine, TaskCompleteEvent, TaskStartedEvent, Timestamp, Turn, TurnAbortedEvent, TurnId, TurnItem, TurnStatus,
};
use serde_json::{Map, Value, json};

use crate::markers::is_user_message;
use crate::peek::{message_role, payload_type};
use crate::projected_turn::{ProjectedTurn, TurnRestart};
use crate::rollback_ledger::{Cut, RollbackLedger};
use crate::turn_events::{is_turn_abort, is_turn_end, is_turn_start, synthetic_turn_id};
use crate::turn_item;
use crate::user_input::UserInput;
use crate::user_turns::UserTurns;
use closed::ClosedTurns;
use draft::{At, Draft};

/// Folds the lines of a thread into its turns.
///
/// Turns come from events alone. What the model sees (`response_item`), what it was told (`world_state`) and settings do
/// not show. The exception are lines from before the envelope (mid 2025): their files hold no events, so there the
/// messages of the user and the assistant are taken from the response items.
///
/// A rollback takes away what it takes from the model: it undoes the compactions and counts the messages of the user that
/// [`Replay`](crate::Replay) says, and whatever shows from the oldest of these messages on goes. Where that is the summary of
/// a compaction or a message that steered, the beginning of its turn stays. What a compaction dropped goes on showing until it
/// is undone itself.
#[derive(Debug, Default)]
pub struct TurnProjection {
    live: bool,
    mode: HistoryMode,
    closed: ClosedTurns,
    open: Option<Draft>,
    /// How many items the turns here have.
    items: usize,
    /// The number of the next item that the log gives no id.
    next_item: u64,
    /// What rollbacks count: messages, and turns of the user with the number of compactions before each.
    heard: RollbackLedger,
    user_turns: UserTurns<u64>,
    /// Where the messages begin that lead up to this point: the user's own, and the context told before it.
    lead_in: Option<u64>,
    /// Just past the last line.
    end: u64,
    /// Position of the first line.
    begins_at: u64,
    /// How many turns stand before those here.
    turns_before: u64,
    /// What `next_item` was before the current line.
    next_item_before: u64,
    /// Turns that events named and that are not here. With turns before these they may be among those.
    unresolved_turn_ids: BTreeSet<TurnId>,
    /// Whether a rollback may have undone what stands before the turns here.
    affects_earlier_turns: bool,
}

impl TurnProjection {
    /// No line has been read.
    #[must_use]
    pub fn new() -> Self {
        Self { next_item: 1, ..Self::default() }
    }

    /// Goes on where another projection could begin, without what stands before: turns that are there are not given again.
    /// Lines that speak of those are told by [`Self::affects_earlier_turns`] and [`Self::unresolved_turn_ids`]; what is given then is not
    /// to be trusted.
    #[must_use]
    pub fn resume(restart: TurnRestart) -> Self {
        Self {
            mode: restart.mode,
            next_item: restart.next_item,
            lead_in: restart.lead_in,
            end: restart.position,
            begins_at: restart.position,
            turns_before: restart.turns,
            ..Self::default()
        }
    }

    /// Begins at a line that tells the first of an item, within the turn of that item. The first item of the first turn is
    /// that one, but for the number in its id.
    #[must_use]
    pub fn at_item(turn_id: TurnId, restart: TurnRestart) -> Self {
        let mut open = Draft::new(turn_id, restart, None);
        open.is_explicit = true;
        Self { open: Some(open), ..Self::resume(restart) }
    }

    /// Whether the thread is live: an open last turn is in progress then, and was broken off otherwise.
    #[must_use]
    pub fn live(mut self, live: bool) -> Self {
        self.live = live;
        self
    }

    /// Takes the next line. `position` is its number in the thread's whole history, counted from 0 over intact lines.
    pub fn push(&mut self, position: u64, line: &RolloutLine) {
        let at = At { position, time: line.timestamp() };
        self.end = position + 1;
        self.next_item_before = self.next_item;
        if line.ordinal().is_some() {
            self.mode = HistoryMode::Paginated;
        }
        match line.kind() {
            "event_msg" => self.event_line(at, line),
            "response_item" => self.response_line(at, line),
            "session_meta" => self.head_line(line),
            "compacted" => self.compacted(at, line),
            "inter_agent_communication" => self.told_between_agents(at, line),
            _ => {}
        }
        // Settings and surroundings are written between the messages that lead up to the user's; anything else ends them.
        if !matches!(line.kind(), "response_item" | "turn_context" | "world_state") {
            self.lead_in = None;
        }
    }

    /// For each message that stands, of the user or of another agent, the position of the line that shows it: of these messages
    /// a `thread_rolled_back` event says how many it undoes. A message need not show: where the event of its line was lost,
    /// it is the position of the line that tells it to the model, which may stand between two turns.
    pub fn message_positions(&self) -> impl Iterator<Item = u64> {
        self.heard.positions()
    }

    /// The turns.
    #[must_use]
    pub fn finish(self) -> Vec<Turn> {
        self.finish_projected().into_iter().map(|told| told.turn).collect()
    }

    /// The turns with the places of their lines.
    #[must_use]
    pub fn finish_projected(mut self) -> Vec<ProjectedTurn> {
        let is_open = self.open.is_some();
        self.close(None);
        let end = self.end;
        self.end_last(end);
        let last = self.closed.len();
        let running = if self.live && is_open { last } else { 0 };
        let turns = self.closed.into_turns().into_iter().zip(1..);
        turns.map(|(draft, number)| draft.finish(number == running)).collect()
    }

    /// Takes the turns away that lines to come change only by speaking of turns that stand before those here: all that are
    /// closed but the last one.
    pub fn drain_closed(&mut self) -> Vec<ProjectedTurn> {
        let count = self.closed.len().saturating_sub(1);
        self.turns_before += count as u64;
        let taken = self.closed.take_first(count);
        self.items -= taken.iter().map(|draft| draft.turn.items.len()).sum::<usize>();
        taken.into_iter().map(|draft| draft.finish(false)).collect()
    }

    /// Where another projection can go on with the lines to come and give the turns that they change; nothing when those
    /// depend on turns before.
    #[must_use]
    pub fn restart(&self) -> Option<TurnRestart> {
        let unended = self.open.as_ref().or_else(|| self.closed.last().filter(|last| last.end.is_none()));
        match unended {
            Some(draft) => (!draft.has_cross_turn_edits).then_some(draft.restart),
            None => Some(TurnRestart {
                position: self.end,
                turns: self.turns_before + self.closed.len() as u64,
                next_item: self.next_item,
                mode: self.mode,
                lead_in: self.lead_in,
            }),
        }
    }

    /// How the thread is kept, as far as the lines say.
    #[must_use]
    pub fn mode(&self) -> HistoryMode {
        self.mode
    }

    /// Whether the turns before those here may have been changed, by a rollback.
    #[must_use]
    pub fn affects_earlier_turns(&self) -> bool {
        self.affects_earlier_turns
    }

    /// The turns that lines named and that are not here. If one of them is among the turns before, it was meant.
    #[must_use]
    pub fn unresolved_turn_ids(&self) -> &BTreeSet<TurnId> {
        &self.unresolved_turn_ids
    }

    fn head_line(&mut self, line: &RolloutLine) {
        if let RolloutItem::SessionMeta(meta) = line.item()
            && meta.mode() == HistoryMode::Paginated
        {
            self.mode = HistoryMode::Paginated;
        }
    }

    fn event_line(&mut self, at: At, line: &RolloutLine) {
        if !event_shows(&payload_type(line)) {
            return;
        }
        if let RolloutItem::EventMsg(event) = line.item() {
            self.event(at, &event);
        }
    }

    fn event(&mut self, at: At, event: &EventMsg) {
        if !shows_user_message(event) {
            self.heard.settle();
        }
        match event {
            EventMsg::TaskStarted(event) => self.user_turns.open(event.turn_id.clone(), self.heard.compactions()),
            EventMsg::TaskComplete(event) => self.user_turns.end(event.turn_id.as_ref()),
            EventMsg::UserMessage(_) if self.user_turns.is_open() => self.user_speaks(),
            _ => {}
        }
        match event {
            EventMsg::TaskStarted(event) => self.started(at, event),
            EventMsg::TaskComplete(event) => self.completed(at, event),
            EventMsg::TurnAborted(event) => self.aborted(at, event),
            EventMsg::ThreadRolledBack(event) => self.rolled_back(at, event.num_turns.unwrap_or(0)),
            EventMsg::ItemCompleted(event) => self.item_completed(at, event),
            EventMsg::Error(event) => self.failed(at, event),
            EventMsg::Other(event) if event.kind() == "item_started" => self.item_started(at, event),
            EventMsg::Other(event) if turn_item::is_step(event.kind()) => self.step(at, event),
            _ if self.mode == HistoryMode::Legacy => self.legacy_event(at, event),
            _ => {}
        }
    }

    /// Events that say in a legacy thread what completed items say in a paginated one.
    fn legacy_event(&mut self, at: At, event: &EventMsg) {
        match event {
            EventMsg::UserMessage(event) => self.user_message(at, UserInput::from_event(event)),
            EventMsg::AgentMessage(event) => self.agent_message(at, event.message.as_deref(), event.phase.clone()),
            EventMsg::AgentReasoning(event) => self.reasoning(at, event.text.clone(), None),
            EventMsg::AgentReasoningRawContent(event) => self.reasoning(at, None, event.text.clone()),
            event => {
                if let Some(item) = turn_item::from_legacy(event, |id| self.id_or_number(id)) {
                    self.put(at, turn_item::turn_of(event).as_ref(), item);
                }
            }
        }
    }

    fn started(&mut self, at: At, event: &TaskStartedEvent) {
        let started_at = event.started_at.map(Timestamp::from_seconds).or(at.time);
        let draft = self.begin(event.turn_id.clone(), at.position, started_at);
        draft.is_explicit = true;
        draft.turn.status = TurnStatus::InProgress;
    }

    fn completed(&mut self, at: At, event: &TaskCompleteEvent) {
        let Some((draft, is_open)) = self.named_or_open(event.turn_id.as_ref()) else {
            return;
        };
        draft.set_times(event.started_at, event.completed_at, event.duration_ms, at.time);
        match &event.error {
            Some(error) => draft.fail(error.clone()),
            None if draft.turn.status == TurnStatus::InProgress => draft.turn.status = TurnStatus::Completed,
            None => {}
        }
        if is_open {
            self.close(Some(at.position + 1));
        }
    }

    fn aborted(&mut self, at: At, event: &TurnAbortedEvent) {
        let Some((draft, is_open)) = self.named_or_open(event.turn_id.as_ref()) else {
            return;
        };
        draft.turn.status = TurnStatus::Interrupted;
        draft.set_times(event.started_at, event.completed_at, event.duration_ms, at.time);
        if is_open {
            draft.reaches(at.position);
        }
    }

    fn failed(&mut self, at: At, event: &ErrorEvent) {
        let info = event.extra.get("codex_error_info").and_then(|info| serde_json::from_str::<Value>(info.get()).ok());
        if let Some(open) = &mut self.open
            && info.as_ref().is_none_or(ends_turn)
        {
            let message = event.message.clone().unwrap_or_default();
            open.fail(json!({"message": message, "codex_error_info": info}));
            open.changes_at(at.position);
        }
    }

    /// Undoes the newest messages of the user, and whatever came after the oldest of them. The event counts turns, and the
    /// model's history is cut by messages: they differ where the user steered a turn or a compaction left a summary, and the
    /// history counts.
    fn rolled_back(&mut self, at: At, messages: u64) {
        if messages == 0 {
            return;
        }
        self.close(None);
        // What is counted may stand before the turns here.
        self.affects_earlier_turns |= self.turns_before > 0 || self.begins_at > 0;
        let messages = usize::try_from(messages).unwrap_or(usize::MAX);
        let compactions = self.user_turns.roll_back(messages).unwrap_or(u64::MAX);
        if let Some(cut) = self.heard.roll_back(messages, compactions) {
            self.cut(at, cut);
        }
        self.seal_last();
        // Numbers go on behind the items that stand, as the programs that made them count.
        self.next_item = u64::try_from(self.items).unwrap_or(u64::MAX).saturating_add(1);
    }

    fn cut(&mut self, at: At, cut: Cut) {
        let keeps_beginning = cut.item > 0 && cut.turn < self.closed.len();
        self.items -= self.closed.truncate(cut.turn + usize::from(keeps_beginning));
        if let Some(draft) = self.closed.last_mut().filter(|_| keeps_beginning) {
            // Something later in the turn is undone, and what the turn was before it stays. Whoever takes the turn has to take
            // the undoing along.
            self.items -= draft.turn.items.len().saturating_sub(cut.item);
            draft.truncate_items(cut.item);
            draft.has_cross_turn_edits = true;
            draft.reaches(at.position);
        }
    }

    fn item_completed(&mut self, at: At, event: &ItemCompletedEvent) {
        let Some(item) = &event.item else { return };
        if self.mode == HistoryMode::Legacy && has_legacy_event(item.kind()) {
            return;
        }
        let (id, fields) = self.taken_apart(serde_json::from_str(item.json().get()).unwrap_or_default(), "id");
        let turn = self.closed_place(event.turn_id.as_ref()).unwrap_or(self.closed.len());
        let item = turn_item::from_completed(item.kind(), id, fields);
        let said = if let TurnItem::UserMessage { text, .. } = &item { Some(text.clone()) } else { None };
        let draft = self.turn_for(event.turn_id.as_ref(), at);
        let Some(place) = draft.put(at, item) else { return };
        let said = said.map(|text| {
            draft.is_of_user = true;
            (text, draft.cut(turn, place))
        });
        self.items += 1;
        if let Some((text, cut)) = said {
            self.heard.shown(&text, cut, at.position);
        }
    }

    /// A step of the agent that was recorded when it began. Its end takes its place, where there is one.
    fn item_started(&mut self, at: At, event: &OpenItem) {
        let mut event: Map<String, Value> = serde_json::from_str(event.json().get()).unwrap_or_default();
        let Some(Value::Object(item)) = event.remove("item") else { return };
        let kind = item.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
        if is_said_when_done(&kind) || (self.mode == HistoryMode::Legacy && has_legacy_event(&kind)) {
            return;
        }
        let turn_id = event.get("turn_id").and_then(Value::as_str).map(TurnId::from);
        let (id, fields) = self.taken_apart(item, "id");
        self.put(at, turn_id.as_ref(), turn_item::from_started(&kind, id, fields));
    }

    /// A step of the agent in a thread that was recorded with more than the usual events.
    fn step(&mut self, at: At, event: &OpenItem) {
        let (id, fields) = self.taken_apart(serde_json::from_str(event.json().get()).unwrap_or_default(), "call_id");
        let turn_id = fields.get("turn_id").and_then(Value::as_str).map(TurnId::from);
        if let Some(item) = turn_item::from_step(event.kind(), id, fields) {
            self.put(at, turn_id.as_ref(), item);
        }
    }

    /// The fields of an item but for its kind, and its id, which stands in field `id_field`.
    fn taken_apart(&mut self, mut fields: Map<String, Value>, id_field: &str) -> (ItemId, Map<String, Value>) {
        fields.remove("type");
        let id = fields.remove(id_field);
        (self.id_or_number(id.as_ref().and_then(Value::as_str)), fields)
    }

    /// Says something in the user's name: within an open turn if that was opened explicitly, as a new turn otherwise.
    fn user_message(&mut self, at: At, input: UserInput) {
        // An implicit turn that holds nothing but a compaction goes on with the message that follows.
        let goes_on = |open: &Draft| open.is_explicit || (open.is_compaction && open.turn.items.is_empty());
        if !self.open.as_ref().is_some_and(goes_on) {
            let start = self.lead_in.unwrap_or(at.position);
            self.begin(None, start, at.time);
        }
        let turn = self.closed.len();
        let draft = self.turn_for(None, at);
        let cut = draft.cut(turn, draft.turn.items.len());
        draft.is_of_user = true;
        self.heard.shown(&input.text, cut, at.position);
        self.numbered(at, |id| turn_item::user_message(id, input));
    }

    /// What the model sees is replaced, and what is left of it stands at this place.
    fn compacted(&mut self, at: At, line: &RolloutLine) {
        let turn = self.closed.len();
        let draft = self.turn_for(None, at);
        draft.is_compaction = true;
        // What the user has said in the turn is kept, even where it is shown only afterwards.
        let cut = Cut { turn, item: draft.turn.items.len().max(usize::from(draft.is_of_user)) };
        if let RolloutItem::Compacted(compacted) = line.item() {
            self.heard.compact(&compacted, cut);
        }
    }

    fn agent_message(&mut self, at: At, text: Option<&str>, phase: Option<String>) {
        let Some(text) = text.filter(|text| !text.is_empty()) else { return };
        let text = text.to_owned();
        self.numbered(at, |id| TurnItem::AgentMessage { id, text, phase });
    }

    /// Adds to the reasoning that came last, or begins a new one.
    fn reasoning(&mut self, at: At, summary_part: Option<String>, content_part: Option<String>) {
        let is_empty = |part: &Option<String>| part.as_deref().unwrap_or_default().is_empty();
        if is_empty(&summary_part) && is_empty(&content_part) {
            return;
        }
        let draft = self.turn_for(None, at);
        if let Some(TurnItem::Reasoning { summary, content, .. }) = draft.turn.items.last_mut() {
            summary.extend(summary_part);
            content.extend(content_part);
            draft.last_item_goes_on(at.position);
            return;
        }
        let (summary, content) = (summary_part.into_iter().collect(), content_part.into_iter().collect());
        self.numbered(at, |id| TurnItem::Reasoning { id, summary, content });
    }

    fn response_line(&mut self, at: At, line: &RolloutLine) {
        if line.format() == LineFormat::Bare && self.bare_message(at, line) {
            self.lead_in = None;
            return;
        }
        let kind = payload_type(line);
        let role = message_role(&kind, line.payload());
        // Within an explicit turn that is the user's already, what leads up to it has been said.
        if !self.open.as_ref().is_some_and(|open| open.is_explicit && open.is_of_user) {
            match role.as_deref() {
                Some("user" | "developer") => _ = self.lead_in.get_or_insert(at.position),
                Some("agent") => {}
                _ if kind == "ghost_snapshot" => {}
                _ => self.lead_in = None,
            }
        }
        if matches!(role.as_deref(), Some("user" | "agent"))
            && let RolloutItem::ResponseItem(item) = line.item()
            && is_user_message(&item)
        {
            self.user_speaks();
            let cut = self.spoken_at();
            self.heard.told(&item, cut, at.position);
        }
    }

    fn told_between_agents(&mut self, at: At, line: &RolloutLine) {
        if let RolloutItem::InterAgentCommunication(message) = line.item() {
            self.user_speaks();
            let cut = self.spoken_at();
            self.heard.told_by_agent(message.content.unwrap_or_default(), cut, at.position);
        }
    }

    /// The model is told a message that rollbacks count.
    fn user_speaks(&mut self) {
        self.user_turns.speak(|| self.heard.compactions());
    }

    /// Where a message stands that the model is told now. The open explicit turn is the user's then, whether or not an
    /// event says so; without one, the message leads up to the next turn.
    fn spoken_at(&mut self) -> Cut {
        let turn = self.closed.len();
        match &mut self.open {
            Some(open) if open.is_explicit => {
                let cut = open.cut(turn, open.turn.items.len());
                open.is_of_user = true;
                cut
            }
            open => Cut { turn: turn + usize::from(open.is_some()), item: 0 },
        }
    }

    /// A message from before there were events. Says whether the line is one that shows.
    fn bare_message(&mut self, at: At, line: &RolloutLine) -> bool {
        let RolloutItem::ResponseItem(item) = line.item() else { return false };
        let (is_user, is_assistant) = (is_user_message(&item), item.role().as_deref() == Some("assistant"));
        if is_user {
            self.user_speaks();
            self.user_message(at, UserInput { text: item.texts().concat(), images: Vec::new() });
        } else if is_assistant {
            self.agent_message(at, Some(&item.texts().concat()), None);
        }
        is_user || is_assistant
    }

    /// Adds an item that the log gives no id.
    fn numbered(&mut self, at: At, item: impl FnOnce(ItemId) -> TurnItem) {
        let item = item(self.number());
        self.turn_for(None, at).add(at, item);
        self.items += 1;
    }

    /// Adds an item to its turn, in the place of an earlier one of the same id.
    fn put(&mut self, at: At, turn_id: Option<&TurnId>, item: TurnItem) {
        if self.turn_for(turn_id, at).put(at, item).is_some() {
            self.items += 1;
        }
    }

    /// The turn of this id, else the open one, else a new implicit one.
    fn turn_for(&mut self, turn_id: Option<&TurnId>, at: At) -> &mut Draft {
        if let Some(place) = self.closed_place(turn_id) {
            // The lines of a turn reach to its late items, but not into the next turn.
            let is_last = place + 1 == self.closed.len() && self.open.is_none();
            if !is_last {
                self.entangle(place);
            }
            let draft = &mut self.closed[place];
            if is_last {
                draft.has_cross_turn_edits |= draft.is_sealed;
                draft.reaches(at.position);
            }
            return draft;
        }
        let open = match self.open {
            Some(ref mut open) => open,
            None => {
                let draft = self.next_draft(turn_id.cloned(), at.position, at.time);
                self.open.insert(draft)
            }
        };
        if open.turn.status == TurnStatus::Interrupted {
            open.reaches(at.position);
        }
        open.changes_at(at.position);
        open
    }

    /// The turn of this id, else the open one, and whether it is open.
    fn named_or_open(&mut self, turn_id: Option<&TurnId>) -> Option<(&mut Draft, bool)> {
        match self.closed_place(turn_id) {
            Some(place) => {
                self.entangle(place);
                Some((&mut self.closed[place], false))
            }
            None => Some((self.open.as_mut()?, true)),
        }
    }

    /// The current line, which is one of the newest turn or stands behind it, changes the closed turn at `place`.
    fn entangle(&mut self, place: usize) {
        self.closed[place].has_cross_turn_edits = true;
        match &mut self.open {
            Some(open) => open.has_cross_turn_edits = true,
            None => self.seal_last(),
        }
    }

    /// The current line speaks of more than the last closed turn, which may reach to it or beyond it.
    fn seal_last(&mut self) {
        if let Some(last) = self.closed.last_mut() {
            last.has_cross_turn_edits |= last.end.is_none();
            last.is_sealed = true;
        }
    }

    /// Where among the closed turns the one of this id is, unless it is the open one.
    fn closed_place(&mut self, turn_id: Option<&TurnId>) -> Option<usize> {
        let id = turn_id.filter(|id| self.open.as_ref().is_none_or(|open| open.turn.id != **id))?;
        let place = self.closed.place_of(id);
        if place.is_none() && self.turns_before > 0 {
            self.unresolved_turn_ids.insert(id.clone());
        }
        place
    }

    /// Opens a turn in the place of the open one.
    fn begin(&mut self, id: Option<TurnId>, start: u64, started_at: Option<Timestamp>) -> &mut Draft {
        self.close(None);
        let draft = self.next_draft(id, start, started_at);
        self.open.insert(draft)
    }

    /// A turn behind the closed ones, named by its place in the listing where the log gives it no id.
    fn next_draft(&mut self, id: Option<TurnId>, start: u64, started_at: Option<Timestamp>) -> Draft {
        self.end_last(start);
        let turns = self.turns_before + self.closed.len() as u64;
        let id = id.unwrap_or_else(|| synthetic_turn_id(turns + 1).into());
        let next_item = self.next_item_before;
        let restart = TurnRestart { position: start, turns, next_item, mode: self.mode, lead_in: None };
        Draft::new(id, restart, started_at)
    }

    /// Closes the open turn; an implicit one that came to nothing was none.
    fn close(&mut self, end: Option<u64>) {
        let Some(mut open) = self.open.take() else { return };
        if open.is_explicit || open.is_compaction || !open.turn.items.is_empty() {
            // An implicit turn has no end of its own, whatever is said to end it.
            open.end = if open.is_explicit { end.or(open.end) } else { None };
            self.closed.push(open);
        }
    }

    /// A turn whose end is not known ends where the next one begins.
    fn end_last(&mut self, end: u64) {
        if let Some(last) = self.closed.last_mut() {
            last.end.get_or_insert(end);
        }
    }

    fn number(&mut self) -> ItemId {
        let number = self.next_item;
        self.next_item += 1;
        format!("item-{number}").into()
    }

    fn id_or_number(&mut self, id: Option<&str>) -> ItemId {
        id.filter(|id| !id.is_empty()).map_or_else(|| self.number(), ItemId::from)
    }
}

/// Takes away from a full turn the items that `view` leaves out.
pub fn apply_view(turn: &mut Turn, view: ItemsView) {
    match view {
        ItemsView::Full => return,
        ItemsView::None => {
            turn.items.clear();
            turn.item_positions.clear();
        }
        ItemsView::Summary => {
            let first = turn.items.iter().position(|item| matches!(item, TurnItem::UserMessage { .. }));
            let last = turn.items.iter().rposition(|item| matches!(item, TurnItem::AgentMessage { .. }));
            retain_places(&mut turn.items, [first, last]);
            retain_places(&mut turn.item_positions, [first, last]);
        }
    }
    turn.items_view = view;
}

fn retain_places<T>(entries: &mut Vec<T>, places: [Option<usize>; 2]) {
    let mut place = 0..;
    entries.retain(|_| {
        let place = place.next();
        place.is_some() && places.contains(&place)
    });
}

fn shows_user_message(event: &EventMsg) -> bool {
    match event {
        EventMsg::UserMessage(_) => true,
        EventMsg::ItemCompleted(event) => event.item.as_ref().is_some_and(|item| item.kind() == "UserMessage"),
        _ => false,
    }
}

/// Whether an error breaks its turn off. These two only refuse what was asked meanwhile.
fn ends_turn(info: &Value) -> bool {
    let name = info.as_str().or_else(|| info.as_object()?.keys().next().map(String::as_str));
    !matches!(name, Some("thread_rollback_failed" | "active_turn_not_steerable"))
}

/// Whether a legacy thread says this by an event of its own, so that a completed item would say it twice.
fn has_legacy_event(kind: &str) -> bool {
    matches!(
        kind,
        "UserMessage"
            | "AgentMessage"
            | "Reasoning"
            | "ContextCompaction"
            | "FileChange"
            | "McpToolCall"
            | "WebSearch"
            | "ImageGeneration"
            | "EnteredReviewMode"
            | "ExitedReviewMode"
    )
}

/// Whether an item of this kind is nothing before it is done.
fn is_said_when_done(kind: &str) -> bool {
    matches!(kind, "UserMessage" | "AgentMessage" | "Reasoning" | "Plan" | "ContextCompaction" | "HookPrompt")
}

/// Whether an event of this kind can change what a client shows.
fn event_shows(kind: &str) -> bool {
    is_turn_start(kind)
        || is_turn_end(kind)
        || is_turn_abort(kind)
        || turn_item::is_step(kind)
        || matches!(
            kind,
            "thread_rolled_back"
                | "item_completed"
                | "error"
                | "item_started"
                | "user_message"
                | "agent_message"
                | "agent_reasoning"
                | "agent_reasoning_raw_content"
                | "context_compacted"
                | "entered_review_mode"
                | "exited_review_mode"
                | "patch_apply_end"
                | "mcp_tool_call_end"
                | "web_search_end"
                | "image_generation_end"
        )
}
