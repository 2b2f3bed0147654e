//! Folds the lines of a thread's segments into what happened in it.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use selvedge_protocol::{EventMsg, RolloutItem, RolloutLine, ThreadId, Timestamp, TurnId};
use serde::{Deserialize, Serialize};

use crate::activity::{ThreadActivity, quarter_of};
use crate::context_fragments::is_typed_message;
use crate::copied_lines::CopiedLines;
use crate::payload_fields::{message_role, payload_type};
use crate::token_meter::{TokenMeter, TokenNumbers};
use crate::turn_events::{EventHeader, is_turn_abort, is_turn_end, is_turn_start};

/// Folds the lines of a thread's segments into what happened in it.
///
/// Every segment of the thread counts, also one that a revert has abandoned: its turns did happen, and were paid. Of each, only
/// its own lines count, and the lines before it only say where its counter of tokens was:
///
/// ```text
/// segment A   0 1 2 3 4 5 6 7          count: 0 to 7
/// segment B      base: A before 4  4 5 count: 4 and 5; the counter begins where it was at line 3 of A
/// ```
///
/// So what two threads share is counted once, in the thread that wrote it. Copies of lines are counted nowhere:
/// those of a fork by full copy, of a sub-agent, and of a detached thread.
///
/// A turn begins with its event, or in older files with a message of the user. It belongs to the model that its settings name.
#[derive(Debug)]
pub struct ActivityFold {
    thread_id: ThreadId,
    created_at: Timestamp,
    activity: ThreadActivity,
    /// The lines on which the current segment builds, until its first own line.
    base: Option<BaseState>,
    segment: ActivityFoldState,
    /// Hashes of the lines that counted something, if the thread has several segments: one that was detached holds copies of
    /// lines of the others.
    counted: Option<CountedLines>,
}

/// What a segment takes over from the lines on which it builds.
#[derive(Debug, Default)]
struct BaseState {
    /// The newest total of the counter.
    total: Option<TokenNumbers>,
    /// The newest model.
    model: Option<String>,
    /// Whether there are such lines, or some are missing. Then nobody knows for sure where the counter begins: a program that was
    /// not started again goes on from what was undone.
    exists: bool,
}

#[derive(Debug, Default)]
struct CountedLines {
    hashes: HashSet<u64>,
    hasher: RandomState,
}

/// What the fold has to know of the lines of a segment so far, to go on with lines that are appended to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActivityFoldState {
    copied: CopiedLines,
    meter: TokenMeter,
    /// Whether the newest line is a copy.
    is_copying: bool,
    /// The model of the current turn.
    model: Option<String>,
    /// The byte after the newest line.
    end: u64,
    /// The time of the newest line that has one.
    newest_at: Timestamp,
    /// The turn that an event opened, until an event closes it.
    open_turn: Option<Option<TurnId>>,
    /// The quarter of the newest turn, until something says which model it has.
    turn_without_model: Option<i64>,
    /// Whether a turn of the segment was counted.
    has_turn: bool,
    /// What can still follow the message that began a turn, and tells the same.
    expected: Expected,
    /// Whether the segment was detached, so that it holds copies of lines of other segments of the thread.
    is_detached: bool,
    /// The quarter of the newest line that counts as activity.
    touched: Option<i64>,
}

/// A second line about a message of the user: programs write an event and an item of the model, in either order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Expected {
    Nothing,
    Event,
    Item,
}

impl ActivityFoldState {
    fn new(thread_id: ThreadId, created_at: Timestamp) -> Self {
        Self {
            copied: CopiedLines::new(thread_id, created_at),
            meter: TokenMeter::default(),
            is_copying: false,
            model: None,
            end: 0,
            newest_at: created_at,
            open_turn: None,
            turn_without_model: None,
            has_turn: false,
            expected: Expected::Nothing,
            is_detached: false,
            touched: None,
        }
    }
}

impl ActivityFold {
    /// Creates a fold for a thread. `created_at` is the time of lines that have none, until a line has one. `segments` is how many
    /// segments the thread has.
    #[must_use]
    pub fn new(thread_id: ThreadId, created_at: Timestamp, segments: usize) -> Self {
        let segment = ActivityFoldState::new(thread_id, created_at);
        let counted = (segments > 1).then(CountedLines::default);
        let base = Some(BaseState::default());
        Self { thread_id, created_at, activity: ThreadActivity::default(), base, segment, counted }
    }

    /// Creates a fold that goes on with lines that were appended to the segment that it had last.
    #[must_use]
    pub fn resume(thread_id: ThreadId, activity: ThreadActivity, state: ActivityFoldState) -> Self {
        let created_at = state.copied.created_at();
        Self { thread_id, created_at, activity, base: None, segment: state, counted: None }
    }

    /// Begins the next segment of the thread. A segment comes after those of which it can hold copies, which are older.
    pub fn begin_segment(&mut self) {
        self.base = Some(BaseState::default());
        self.segment = ActivityFoldState::new(self.thread_id, self.created_at);
    }

    /// Notes that lines on which the current segment builds are missing.
    pub fn miss_base_lines(&mut self) {
        self.base.get_or_insert_default().exists = true;
    }

    /// Takes a line on which the current segment builds. They come in their order.
    pub fn observe_base(&mut self, line: &RolloutLine) {
        let (total, model) = total_and_model(line);
        let base = self.base.get_or_insert_default();
        base.exists = true;
        base.total = total.or(base.total);
        base.model = model.or(base.model.take());
    }

    /// Takes a line on which the current segment builds. They come in reverse order. Returns whether no earlier one matters.
    pub fn observe_base_back(&mut self, line: &RolloutLine) -> bool {
        let (total, model) = total_and_model(line);
        let base = self.base.get_or_insert_default();
        base.exists = true;
        base.total = base.total.or(total);
        base.model = base.model.take().or(model);
        base.total.is_some() && base.model.is_some()
    }

    /// Returns whether a line names a total of the counter, and whether it names a model.
    #[must_use]
    pub fn tells(line: &RolloutLine) -> (bool, bool) {
        let (total, model) = total_and_model(line);
        (total.is_some(), model.is_some())
    }

    /// Takes a line of the current segment. `end` is the byte after it, in the uncompressed segment.
    pub fn observe(&mut self, line: &RolloutLine, end: u64) {
        self.segment.end = end;
        if let Some(base) = self.base.take() {
            self.segment.meter = TokenMeter::new(base.total, base.exists);
            self.segment.model = base.model;
        }
        self.segment.newest_at = line.timestamp().unwrap_or(self.segment.newest_at);
        match line.kind() {
            "session_meta" => self.head(line),
            "event_msg" => self.event(line),
            "turn_context" => self.turn_context(line),
            "response_item" => self.response(line),
            "token_usage_record" => self.token_usage_record(line),
            _ => {}
        }
    }

    /// Returns what happened in the thread, and the state after the last line.
    #[must_use]
    pub fn finish(self) -> (ThreadActivity, ActivityFoldState) {
        (self.activity, self.segment)
    }

    fn head(&mut self, line: &RolloutLine) {
        if let RolloutItem::SessionMeta(head) = line.item() {
            self.segment.is_detached |= head.copied_base.is_some();
            self.segment.copied.head(&head, line, self.segment.end);
            if line.timestamp().is_none() {
                self.segment.newest_at = self.segment.newest_at.max(self.segment.copied.created_at());
            }
        }
    }

    fn event(&mut self, line: &RolloutLine) {
        let kind = payload_type(line);
        if is_turn_start(&kind) {
            return self.turn_start(line);
        }
        match &*kind {
            "token_count" => self.token_count(line),
            "thread_settings_applied" => self.settings(line),
            "user_message" => self.user_message(line),
            "item_completed" if line.payload().contains("\"UserMessage\"") => self.user_message(line),
            kind => {
                if self.is_own(line, None, false) && (is_turn_end(kind) || is_turn_abort(kind)) {
                    self.segment.open_turn = None;
                    self.segment.turn_without_model = None;
                }
            }
        }
    }

    fn turn_start(&mut self, line: &RolloutLine) {
        let turn_id = EventHeader::of(line).and_then(|header| header.turn_id).map(|id| TurnId::from(&*id));
        if !self.is_own(line, turn_id.as_ref(), true) {
            return;
        }
        // The same turn once more is no other one.
        let is_repeated = turn_id.is_some() && self.segment.open_turn.as_ref() == Some(&turn_id);
        self.segment.open_turn = Some(turn_id);
        if !is_repeated {
            self.count_turn(line);
        }
    }

    /// An event that shows a message of the user. Without an open turn it begins one, unless the message to the model did.
    fn user_message(&mut self, line: &RolloutLine) {
        let is_counted = self.segment.open_turn.is_some() || self.segment.expected == Expected::Event;
        if !self.is_own(line, None, !is_counted) {
            return;
        }
        self.segment.expected = if is_counted { Expected::Nothing } else { Expected::Item };
        if !is_counted {
            self.count_turn(line);
        }
    }

    /// An item of the model. In files without events, messages of the user begin turns.
    fn response(&mut self, line: &RolloutLine) {
        self.segment.meter.see_item();
        if self.segment.open_turn.is_some() {
            self.is_own(line, None, false);
            return;
        }
        let kind = payload_type(line);
        let role = message_role(&kind, line.payload());
        let is_user = role.as_deref() == Some("user")
            && matches!(line.item(), RolloutItem::ResponseItem(item) if is_typed_message(&item));
        // What the agent does before anybody wrote to it is a turn as well. Nobody sees what it thinks.
        let is_agent = role.as_deref().map_or(kind != "reasoning", |role| role == "assistant");
        let begins_turn = match self.segment.expected {
            Expected::Item => false,
            _ => is_user || (is_agent && !self.segment.has_turn),
        };
        if !self.is_own(line, None, begins_turn) {
            return;
        }
        if is_user || is_agent {
            self.segment.expected = if is_user && begins_turn { Expected::Event } else { Expected::Nothing };
        }
        if begins_turn {
            self.count_turn(line);
        }
    }

    fn turn_context(&mut self, line: &RolloutLine) {
        let RolloutItem::TurnContext(context) = line.item() else { return };
        let is_own = self.is_own(line, context.turn_id.as_ref(), false);
        if context.model.is_some() {
            self.set_model(context.model, is_own);
        }
    }

    /// New settings, which hold from the next turn on.
    fn settings(&mut self, line: &RolloutLine) {
        if self.segment.open_turn.is_none()
            && let RolloutItem::EventMsg(EventMsg::ThreadSettingsApplied(applied)) = line.item()
            && let Some(model) = applied.thread_settings.and_then(|settings| settings.model)
        {
            self.set_model(Some(model), true);
        }
    }

    fn token_count(&mut self, line: &RolloutLine) {
        let RolloutItem::EventMsg(EventMsg::TokenCount(event)) = line.item() else { return };
        let is_own = event.info.is_some() && self.is_own(line, None, true);
        let spent = self.segment.meter.event(&event);
        if is_own {
            self.spend(line, spent);
        }
    }

    fn token_usage_record(&mut self, line: &RolloutLine) {
        let RolloutItem::TokenUsageRecord(record) = line.item() else { return };
        // A record names the thread that spent the tokens.
        let is_of_thread = record.thread_id.is_none_or(|id| id == self.thread_id);
        let is_own = self.is_own(line, None, true) && is_of_thread;
        let spent = self.segment.meter.record(&record);
        if is_own {
            self.spend(line, spent);
        }
    }

    /// Returns whether the thread itself wrote a line, and if so, notes that something happened at its time.
    fn is_own(&mut self, line: &RolloutLine, turn_id: Option<&TurnId>, counts: bool) -> bool {
        let is_own = !self.segment.copied.is_copy(line, self.segment.end, turn_id, counts);
        if std::mem::replace(&mut self.segment.is_copying, !is_own) && is_own {
            self.segment.meter.leave_copies();
        }
        let quarter = quarter_of(self.segment.newest_at);
        if is_own && self.segment.touched != Some(quarter) {
            self.segment.touched = Some(quarter);
            self.activity.touch(quarter, self.segment.model.as_ref());
        }
        is_own
    }

    /// Returns whether another segment of the thread has the same line, so that it was counted there.
    fn is_known(&mut self, line: &RolloutLine) -> bool {
        let Some(CountedLines { hashes, hasher }) = &mut self.counted else { return false };
        let hash = hasher.hash_one(line.text());
        if self.segment.is_detached {
            return hashes.contains(&hash);
        }
        hashes.insert(hash);
        false
    }

    /// Counts the turn that a line begins.
    fn count_turn(&mut self, line: &RolloutLine) {
        self.segment.has_turn = true;
        if self.is_known(line) {
            return;
        }
        let quarter = quarter_of(self.segment.newest_at);
        self.segment.turn_without_model = Some(quarter);
        self.activity.add_turn(quarter, self.segment.model.as_ref());
    }

    /// Sets the model of the current turn, which was counted for the one before.
    fn set_model(&mut self, model: Option<String>, is_own: bool) {
        let before = std::mem::replace(&mut self.segment.model, model);
        let quarter = self.segment.turn_without_model.take().filter(|_| is_own && before != self.segment.model);
        if let Some(quarter) = quarter {
            self.activity.remove_turn(quarter, before.as_ref());
            self.activity.add_turn(quarter, self.segment.model.as_ref());
        }
    }

    /// Counts the tokens that were spent before a line.
    fn spend(&mut self, line: &RolloutLine, spent: TokenNumbers) {
        if spent.is_zero() || self.is_known(line) {
            return;
        }
        self.segment.turn_without_model = None;
        self.activity.spend(quarter_of(self.segment.newest_at), self.segment.model.as_ref(), spent);
    }
}

/// Returns the total of the counter and the model that a line names.
fn total_and_model(line: &RolloutLine) -> (Option<TokenNumbers>, Option<String>) {
    match line.kind() {
        "event_msg" if !matches!(&*payload_type(line), "token_count" | "thread_settings_applied") => {
            return (None, None);
        }
        "event_msg" | "turn_context" | "token_usage_record" => {}
        _ => return (None, None),
    }
    match line.item() {
        RolloutItem::EventMsg(EventMsg::TokenCount(event)) => (TokenMeter::total_of(&event), None),
        RolloutItem::TokenUsageRecord(record) => (TokenMeter::total_of_record(&record), None),
        RolloutItem::TurnContext(context) => (None, context.model),
        RolloutItem::EventMsg(EventMsg::ThreadSettingsApplied(applied)) => {
            (None, applied.thread_settings.and_then(|settings| settings.model))
        }
        _ => (None, None),
    }
}
