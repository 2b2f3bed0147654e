//! One turn while it is built.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use selvedge_protocol::{ItemContent, ItemId, ItemsView, Timestamp, Turn, TurnId, TurnItem, TurnStatus};
use serde_json::Value;

use crate::projected_turn::{ProjectedTurn, TurnRestart};
use crate::rollback_ledger::RollbackPoint;
use crate::turn_item;

/// Up to this many items are scanned for an id. A turn with more items gets an index by id; most turns need none.
pub(super) const SCANNED_ITEMS: usize = 128;

/// A turn while it is built.
#[derive(Debug)]
pub(super) struct TurnDraft {
    pub(super) turn: Turn,
    /// Whether a `task_started` event opened it.
    pub(super) is_explicit: bool,
    /// Whether it has a message of the user or of another agent.
    pub(super) is_of_user: bool,
    /// Whether it has, or had, a plan among its items.
    pub(super) has_plan: bool,
    /// Whether it contains a `compacted` line.
    pub(super) is_compaction: bool,
    /// Just past its last line, if that is known.
    pub(super) end: Option<u64>,
    /// Where a projection of its lines begins.
    pub(super) restart: TurnRestart,
    /// Whether lines of other turns change it, or its own lines change another turn.
    pub(super) has_cross_turn_edits: bool,
    /// Whether `has_cross_turn_edits` becomes true as soon as the turn grows; see
    /// [`TurnSequence`](super::sequence::TurnSequence).
    pub(super) is_sealed: bool,
    /// Facts about each item.
    facts: Vec<ItemFacts>,
    /// Number of items so far to which no line gave an id, except those that are numbered through the whole thread.
    unnamed_items: u64,
    /// Position of the newest line that updated an existing item.
    last_update: u64,
    /// Indexes of the items that are messages of the user.
    user_messages: BTreeSet<usize>,
    /// Indexes of the first `indexed` items by id. Empty for turns with few items.
    index_by_id: HashMap<ItemId, usize>,
    indexed: usize,
    /// How many of the first items were released: their texts are gone.
    pub(super) released: usize,
    /// Whether a line changed or removed an item that was released.
    pub(super) has_changed_released: bool,
    /// Number of the earlier turn with the same id; for [`ClosedTurns`](super::closed::ClosedTurns).
    pub(super) earlier_namesake: Option<u64>,
}

/// What a draft knows about one of its items.
#[derive(Debug)]
struct ItemFacts {
    /// Range of lines. Empty if the item also depends on lines of other items.
    lines: Range<u64>,
    /// Whether the programs that wrote the log count the item when they number items.
    is_counted: bool,
}

/// What an event did to the items of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Upserted {
    /// It added an item, which has this index.
    New(usize),
    /// It told of an item that was taken from the model's items before.
    Confirmed,
    /// It updated an item of an earlier event.
    Updated,
}

/// Position and time of a line.
#[derive(Clone, Copy)]
pub(super) struct LineStamp {
    pub(super) position: u64,
    pub(super) time: Option<Timestamp>,
}

impl TurnDraft {
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
            has_plan: false,
            is_compaction: false,
            end: None,
            restart,
            has_cross_turn_edits: false,
            is_sealed: false,
            facts: Vec::new(),
            unnamed_items: 0,
            last_update: 0,
            user_messages: BTreeSet::new(),
            index_by_id: HashMap::new(),
            indexed: 0,
            released: 0,
            has_changed_released: false,
            earlier_namesake: None,
        }
    }

    /// Returns where a rollback cuts that undoes a message at index `item` of this turn, which has index `turn`. Undoing the
    /// first message of a turn undoes the whole turn.
    pub(super) fn rollback_point(&self, turn: usize, item: usize) -> RollbackPoint {
        let is_steering = self.user_messages.first().is_some_and(|first| *first < item);
        RollbackPoint { turn, item: if is_steering { item } else { 0 } }
    }

    /// Adds the item of an event, or updates the earlier item with the same id.
    pub(super) fn upsert(&mut self, stamp: LineStamp, item: TurnItem) -> Upserted {
        match self.index_of(&item.id) {
            Some(index) => self.update(index, stamp.position, item),
            None => {
                self.push(stamp, item, true);
                Upserted::New(self.turn.items.len() - 1)
            }
        }
    }

    /// Adds an item, which begins with the line at `stamp`. `is_counted` is whether the programs that wrote the log count it when
    /// they number items.
    pub(super) fn push(&mut self, stamp: LineStamp, item: TurnItem, is_counted: bool) {
        if matches!(item.content, ItemContent::UserMessage { .. }) {
            self.user_messages.insert(self.turn.items.len());
        }
        self.has_plan |= matches!(item.content, ItemContent::Plan { .. });
        self.turn.items.push(item);
        self.turn.item_positions.push(stamp.position);
        self.facts.push(ItemFacts { lines: stamp.position..stamp.position + 1, is_counted });
    }

    /// Releases the first `end` items: hands over those that were not released yet, with the index of the first of them, and drops their
    /// texts.
    pub(super) fn release(&mut self, end: usize, take: impl FnOnce(usize, &[TurnItem])) {
        let Some(items) = self.turn.items.get_mut(self.released..end).filter(|items| !items.is_empty()) else { return };
        take(self.released, items);
        items.iter_mut().for_each(turn_item::drop_texts);
        self.released = end;
    }

    /// Records that the line at `position` adds to the last item.
    pub(super) fn extend_last_item(&mut self, position: u64) {
        if let Some(facts) = self.facts.last_mut().filter(|facts| !facts.lines.is_empty()) {
            // Example: reasoning R begins at line 5, line 6 updates the earlier item X, and line 7 adds to R. A projection of
            // the lines from 5 on does not know X: line 6 creates it after R, and line 7 begins a second reasoning. So R
            // cannot be rebuilt from its own lines, and its range becomes empty.
            let is_alone = self.last_update <= facts.lines.start;
            facts.lines.end = if is_alone { position + 1 } else { facts.lines.start };
        }
    }

    /// Returns whether the last item is a message of the user.
    pub(super) fn ends_with_message_of_user(&self) -> bool {
        self.turn.items.last().is_some_and(|item| matches!(item.content, ItemContent::UserMessage { .. }))
    }

    /// Records that the item at `index` cannot be rebuilt from its own lines.
    pub(super) fn mark_dependent(&mut self, index: usize) {
        if let Some(facts) = self.facts.get_mut(index) {
            facts.lines.end = facts.lines.start;
        }
    }

    /// Changes an item by the line at `position`.
    pub(super) fn edit(&mut self, index: usize, position: u64, edit: impl FnOnce(&mut TurnItem)) {
        if let Some(item) = self.turn.items.get_mut(index) {
            self.has_changed_released |= index < self.released;
            edit(item);
            self.extend_item(index, position);
        }
    }

    /// Returns an id for an item of this turn that has none in the log, and that is not numbered through the whole thread.
    pub(super) fn next_unnamed_id(&mut self) -> ItemId {
        self.unnamed_items += 1;
        format!("item-{}-{}", self.restart.turns + 1, self.unnamed_items).into()
    }

    /// Returns the number of items that the programs that wrote the log count when they number items.
    pub(super) fn counted_items(&self) -> usize {
        self.facts.iter().filter(|facts| facts.is_counted).count()
    }

    /// Removes all items except the first `len`.
    pub(super) fn truncate_items(&mut self, len: usize) {
        for item in self.turn.items.iter().take(self.indexed).skip(len) {
            // Several items can have the same id. The index has the first of them, which may be one that stays.
            if self.index_by_id.get(&item.id).is_some_and(|index| *index >= len) {
                self.index_by_id.remove(&item.id);
            }
        }
        self.indexed = self.indexed.min(len);
        self.has_changed_released |= len < self.released;
        self.released = self.released.min(len);
        self.user_messages.split_off(&len);
        self.turn.items.truncate(len);
        self.turn.item_positions.truncate(len);
        self.facts.truncate(len);
    }

    pub(super) fn set_times(
        &mut self,
        started: Option<i64>,
        completed: Option<i64>,
        millis: Option<i64>,
        line_time: Option<Timestamp>,
    ) {
        if let Some(started) = started {
            self.turn.started_at = Some(Timestamp::from_seconds(started));
        }
        self.turn.completed_at = completed.map(Timestamp::from_seconds).or(line_time);
        self.turn.duration_ms = millis.or(self.turn.duration_ms);
    }

    pub(super) fn fail(&mut self, error: Value) {
        self.turn.status = TurnStatus::Failed;
        self.turn.error = Some(error);
    }

    /// Records that the line at `position` changes the turn, although it may be after its end.
    pub(super) fn mark_change_at(&mut self, position: u64) {
        self.has_cross_turn_edits |= self.end.is_some_and(|end| end <= position);
    }

    /// Records that the line at `position` is part of the turn.
    pub(super) fn extend_to(&mut self, position: u64) {
        self.end = self.end.max(Some(position + 1));
    }

    pub(super) fn finish(self, is_running: bool) -> ProjectedTurn {
        let mut turn = self.turn;
        turn.lines.end = self.end.unwrap_or(turn.lines.start).max(turn.lines.start);
        if turn.status == TurnStatus::InProgress && !is_running {
            turn.status = TurnStatus::Interrupted;
        }
        let (restart, item_lines) = (self.restart, self.facts.into_iter().map(|facts| facts.lines).collect());
        let (is_self_contained, released_items) = (!self.has_cross_turn_edits, self.released);
        ProjectedTurn { turn, restart, is_self_contained, item_lines, released_items }
    }

    /// Returns the ranges of lines of the items.
    pub(super) fn item_lines(&self) -> impl Iterator<Item = &Range<u64>> {
        self.facts.iter().map(|facts| &facts.lines)
    }

    /// Returns the index of the first item with this id.
    pub(super) fn index_of(&mut self, id: &ItemId) -> Option<usize> {
        let items = &self.turn.items;
        if items.len() <= SCANNED_ITEMS {
            return items.iter().position(|item| item.id == *id);
        }
        for (index, item) in items.iter().enumerate().skip(self.indexed) {
            self.index_by_id.entry(item.id.clone()).or_insert(index);
        }
        self.indexed = items.len();
        self.index_by_id.get(id).copied()
    }

    /// Updates an item by the event at `position`, which may give it another id.
    pub(super) fn update(&mut self, index: usize, position: u64, item: TurnItem) -> Upserted {
        let Some(earlier) = self.turn.items.get_mut(index) else { return Upserted::Updated };
        self.has_changed_released |= index < self.released;
        if matches!(item.content, ItemContent::UserMessage { .. }) {
            self.user_messages.insert(index);
        } else {
            self.user_messages.remove(&index);
        }
        if earlier.id != item.id && index < self.indexed {
            if self.index_by_id.get(&earlier.id) == Some(&index) {
                self.index_by_id.remove(&earlier.id);
            }
            self.index_by_id.entry(item.id.clone()).or_insert(index);
        }
        let previous = std::mem::replace(earlier, item);
        turn_item::fill_from(earlier, previous);
        self.extend_item(index, position);
        match self.facts.get_mut(index) {
            Some(facts) if !facts.is_counted => {
                facts.is_counted = true;
                Upserted::Confirmed
            }
            _ => Upserted::Updated,
        }
    }

    fn extend_item(&mut self, index: usize, position: u64) {
        self.last_update = position;
        if let Some(facts) = self.facts.get_mut(index).filter(|facts| !facts.lines.is_empty()) {
            facts.lines.end = position + 1;
        }
    }
}
