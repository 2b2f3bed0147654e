//! A turn in the making.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use selvedge_protocol::{ItemId, ItemsView, Timestamp, Turn, TurnId, TurnItem, TurnStatus};
use serde_json::Value;

use crate::projected_turn::{ProjectedTurn, TurnRestart};
use crate::rollback_ledger::Cut;
use crate::turn_item;

/// How many items are looked through for one before their places are kept by their ids: most turns have fewer, and need no
/// map.
pub(super) const FEW_ITEMS: usize = 128;

/// A turn in the making.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) turn: Turn,
    /// Whether a `task_started` opened it.
    pub(super) is_explicit: bool,
    /// Whether the user, or another agent, has spoken in it.
    pub(super) is_of_user: bool,
    /// Whether it holds a `compacted` line.
    pub(super) is_compaction: bool,
    /// Just past its last line, where that is known.
    pub(super) end: Option<u64>,
    /// Where a projection of its lines begins.
    pub(super) restart: TurnRestart,
    /// Whether other lines than its own change it, or its own change another turn.
    pub(super) has_cross_turn_edits: bool,
    /// Whether a line stands behind it that would entangle it if it were one of its own.
    pub(super) is_sealed: bool,
    /// The lines of each item; none for one that needs the lines of others.
    item_lines: Vec<Range<u64>>,
    /// Position of the newest line that told more of an item which was there.
    updated_at: u64,
    /// Which items are messages of the user.
    user_messages: BTreeSet<usize>,
    /// The places of the first `indexed` items by their ids, when there are many.
    places: HashMap<ItemId, usize>,
    indexed: usize,
    /// The number of the turn before it that has the same id, for [`ClosedTurns`](super::closed::ClosedTurns).
    pub(super) earlier_namesake: Option<u64>,
}

/// Where a line stands and when it was written.
#[derive(Clone, Copy)]
pub(super) struct At {
    pub(super) position: u64,
    pub(super) time: Option<Timestamp>,
}

impl Draft {
    /// Where a rollback cuts that undoes a message at item `item` of this turn, which has `turn` turns before it. The first
    /// message takes the whole turn away.
    pub(super) fn cut(&self, turn: usize, item: usize) -> Cut {
        let is_steering = self.user_messages.first().is_some_and(|first| *first < item);
        Cut { turn, item: if is_steering { item } else { 0 } }
    }

    pub(super) fn new(id: TurnId, restart: TurnRestart, started_at: Option<Timestamp>) -> Self {
        let start = restart.position;
        let turn = Turn {
            id,
            status: TurnStatus::Completed,
            started_at,
            completed_at: None,
            duration_ms: None,
            error: None,
            items_view: ItemsView::Full,
            items: Vec::new(),
            lines: Range { start, end: start },
            item_positions: Vec::new(),
        };
        Self {
            turn,
            is_explicit: false,
            is_of_user: false,
            is_compaction: false,
            end: None,
            restart,
            has_cross_turn_edits: false,
            is_sealed: false,
            item_lines: Vec::new(),
            updated_at: 0,
            user_messages: BTreeSet::new(),
            places: HashMap::new(),
            indexed: 0,
            earlier_namesake: None,
        }
    }

    /// The line at `position` tells more of the last item.
    pub(super) fn last_item_goes_on(&mut self, position: u64) {
        if let Some(lines) = self.item_lines.last_mut().filter(|lines| !lines.is_empty()) {
            // Without the item that was told more of in between, that line would begin one.
            let is_alone = self.updated_at <= lines.start;
            lines.end = if is_alone { position + 1 } else { lines.start };
        }
    }

    /// Adds an item, or tells more of an earlier one of the same id. Gives the place of one that is new.
    pub(super) fn put(&mut self, at: At, item: TurnItem) -> Option<usize> {
        match self.place_of(item.id()) {
            Some(place) => {
                self.tell_more(place, at.position, item);
                None
            }
            None => {
                self.add(at, item);
                Some(self.turn.items.len() - 1)
            }
        }
    }

    /// Takes away the items behind the first `len`.
    pub(super) fn truncate_items(&mut self, len: usize) {
        for item in self.turn.items.iter().take(self.indexed).skip(len) {
            // Of items with the same id, the first is the one that counts, and it may stay.
            if self.places.get(item.id()).is_some_and(|place| *place >= len) {
                self.places.remove(item.id());
            }
        }
        self.indexed = self.indexed.min(len);
        self.user_messages.split_off(&len);
        self.turn.items.truncate(len);
        self.turn.item_positions.truncate(len);
        self.item_lines.truncate(len);
    }

    /// The place of the first item of this id.
    fn place_of(&mut self, id: &ItemId) -> Option<usize> {
        let items = &self.turn.items;
        if items.len() <= FEW_ITEMS {
            return items.iter().position(|item| item.id() == id);
        }
        for (place, item) in items.iter().enumerate().skip(self.indexed) {
            self.places.entry(item.id().clone()).or_insert(place);
        }
        self.indexed = items.len();
        self.places.get(id).copied()
    }

    /// The line at `position` tells more of an item.
    fn tell_more(&mut self, place: usize, position: u64, item: TurnItem) {
        let Some(earlier) = self.turn.items.get_mut(place) else { return };
        if matches!(item, TurnItem::UserMessage { .. }) {
            self.user_messages.insert(place);
        } else {
            self.user_messages.remove(&place);
        }
        *earlier = turn_item::after(earlier, item);
        self.updated_at = position;
        if let Some(lines) = self.item_lines.get_mut(place).filter(|lines| !lines.is_empty()) {
            lines.end = position + 1;
        }
    }

    /// Adds an item, which begins with the line at `at`.
    pub(super) fn add(&mut self, at: At, item: TurnItem) {
        if matches!(item, TurnItem::UserMessage { .. }) {
            self.user_messages.insert(self.turn.items.len());
        }
        self.turn.items.push(item);
        self.turn.item_positions.push(at.position);
        self.item_lines.push(at.position..at.position + 1);
    }

    pub(super) fn set_times(
        &mut self,
        started: Option<i64>,
        completed: Option<i64>,
        millis: Option<i64>,
        at: Option<Timestamp>,
    ) {
        if let Some(started) = started {
            self.turn.started_at = Some(Timestamp::from_seconds(started));
        }
        self.turn.completed_at = completed.map(Timestamp::from_seconds).or(at);
        self.turn.duration_ms = millis.or(self.turn.duration_ms);
    }

    pub(super) fn fail(&mut self, error: Value) {
        self.turn.status = TurnStatus::Failed;
        self.turn.error = Some(error);
    }

    /// The line at `position` changes the turn, of which it need not be a part.
    pub(super) fn changes_at(&mut self, position: u64) {
        self.has_cross_turn_edits |= self.end.is_some_and(|end| end <= position);
    }

    /// The line at `position` is part of the turn.
    pub(super) fn reaches(&mut self, position: u64) {
        self.end = self.end.max(Some(position + 1));
    }

    pub(super) fn finish(self, is_running: bool) -> ProjectedTurn {
        let mut turn = self.turn;
        turn.lines.end = self.end.unwrap_or(turn.lines.start).max(turn.lines.start);
        if turn.status == TurnStatus::InProgress && !is_running {
            turn.status = TurnStatus::Interrupted;
        }
        let (restart, item_lines) = (self.restart, self.item_lines);
        ProjectedTurn { turn, restart, is_self_contained: !self.has_cross_turn_edits, item_lines }
    }
}
