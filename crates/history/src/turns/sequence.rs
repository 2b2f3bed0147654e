//! The turns so far: the closed ones, and the open one if there is one.

use std::collections::BTreeSet;

use selvedge_protocol::{HistoryMode, ItemContent, ItemId, Timestamp, TurnId, TurnItem, TurnStatus};

use super::closed::ClosedTurns;
use super::draft::{LineStamp, TurnDraft, Upserted};
use crate::projected_turn::{ProjectedTurn, TurnRestart};
use crate::rollback_ledger::{ItemPlace, RollbackPoint};
use crate::turn_events::synthetic_turn_id;

// The open turn
//
// An *explicit* turn begins with `task_started`. An *implicit* one begins with the first line that needs a turn while none is
// open: old programs wrote no `task_started`.
//
//                            task_started
//        +--------------+ ----------------------------> +----------------+
//   ---> | no turn open |                               | open, explicit | --+ task_started: close it, open another
//        |              | <---------------------------- |                | <-+ turn_aborted: it stays open, so
//        +--------------+  task_complete,               +----------------+     late lines still belong to it
//            |      ^      thread_rolled_back                   ^
//   item, or |      | task_complete, thread_rolled_back         | task_started: close it, open another
// compaction v      |                                           |
//        +----------------+                                     |
//        | open, implicit | ------------------------------------+
//        +----------------+
//            |        ^
//            +--------+ message of the user, by a legacy event or an item of the model: close it, open another
//                       (a turn that holds only a compaction continues instead)
//
// An implicit turn without items and without a compaction is discarded when it is closed. A `task_complete` that names a
// closed turn changes that turn and leaves the open one open.
//
// A closed turn
//
//                                           next turn begins,
//        +---------------------+            or the log ends           +-------------------+
//   ---> | closed, end unknown | -----------------------------------> | closed, end known | --+ item that names the last
//        +---------------------+                                      +-------------------+ <-+ turn, none open: `end` grows
//          implicit turns, and explicit ones                             |
//          that were neither completed nor aborted                       | thread_rolled_back
//                                                                        v
//                                            removed; or truncated, if the oldest undone message is not its first
//
// Turns that depend on each other
//
// A reader can rebuild a turn from its own lines only if no line outside of them changes it, and none of them changes another
// turn. `has_cross_turn_edits` marks the turns for which this is false:
//
// - A line within the open turn changes a closed turn: both are marked.
// - A line after the last closed turn changes an older one. The last turn can still grow past that line, through a late
//   item, and would then contain it. So it is *sealed*: it is marked as soon as it grows. If its end is unknown, it already
//   contains the line and is marked now.
// - A rollback truncates a turn: that turn is marked. It also seals the last turn that remains.

/// The turns so far, with the rules by which lines open, change and close them.
#[derive(Debug, Default)]
pub(super) struct TurnSequence {
    /// History mode, as far as the lines determine it.
    pub(super) mode: HistoryMode,
    pub(super) closed: ClosedTurns,
    pub(super) open: Option<TurnDraft>,
    /// Number of turns before those in `closed`: drained ones, and those before the start of a resumed projection.
    pub(super) turns_before: u64,
    /// Ids that lines name and that no turn here has. A turn before those here may have them.
    pub(super) unresolved_turn_ids: BTreeSet<TurnId>,
    /// Number of counted items in `closed` and `open`.
    item_count: usize,
    /// Number of the next item that has no id in the log.
    next_item: u64,
    /// Value of `next_item` before the current line. A turn that the current line opens begins with this number.
    next_item_before: u64,
}

/// The turn that a line changes.
pub(super) struct ChangedTurn<'a> {
    pub(super) draft: &'a mut TurnDraft,
    pub(super) is_open: bool,
}

impl TurnSequence {
    /// Creates a sequence that begins at `restart`, without the turns before.
    pub(super) fn new(restart: TurnRestart) -> Self {
        Self { mode: restart.mode, turns_before: restart.turns, next_item: restart.next_item, ..Self::default() }
    }

    /// Announces the next line.
    pub(super) fn begin_line(&mut self) {
        self.next_item_before = self.next_item;
    }

    /// Returns where a projection of the lines from position `end` on can begin, with no turn open.
    pub(super) fn restart_at(&self, end: u64, lead_in: Option<u64>) -> TurnRestart {
        TurnRestart {
            position: end,
            turns: self.turns_before + self.closed.len() as u64,
            next_item: self.next_item,
            mode: self.mode,
            lead_in,
        }
    }

    /// Returns where a projection can begin that takes the turn with this number and all after it. `None` if it is not here, or if these
    /// turns depend on earlier ones.
    pub(super) fn restart_of(&self, turn: u64) -> Option<TurnRestart> {
        let index = usize::try_from(turn.checked_sub(self.turns_before)?).ok()?;
        let mut turns = self.closed.iter().chain(&self.open).skip(index).peekable();
        let restart = turns.peek()?.restart;
        turns.all(|draft| !draft.has_cross_turn_edits).then_some(restart)
    }

    /// Returns the turn that has no known end: the open one, else the last closed one.
    pub(super) fn unended(&self) -> Option<&TurnDraft> {
        self.open.as_ref().or_else(|| self.closed.last().filter(|last| last.end.is_none()))
    }

    /// Closes the open turn and returns all turns. `end` is just past the last line. If the thread is live (`is_live`), the turn
    /// that was open is still running.
    pub(super) fn finish(mut self, end: u64, is_live: bool) -> Vec<ProjectedTurn> {
        let is_open = self.open.is_some();
        self.close(None);
        self.end_last(end);
        let last = self.closed.len();
        let running = if is_live && is_open { last } else { 0 };
        let turns = self.closed.into_turns().into_iter().zip(1..);
        turns.map(|(draft, number)| draft.finish(number == running)).collect()
    }

    /// Removes and returns the first `count` closed turns.
    pub(super) fn drain_closed(&mut self, count: usize) -> Vec<ProjectedTurn> {
        self.turns_before += count as u64;
        let drained = self.closed.drain_first(count);
        self.item_count -= drained.iter().map(TurnDraft::counted_items).sum::<usize>();
        drained.into_iter().map(|draft| draft.finish(false)).collect()
    }

    /// Returns whether a line changed or removed an item that was released.
    pub(super) fn have_changed_released(&self) -> bool {
        self.closed.have_changed_released() || self.open.as_ref().is_some_and(|open| open.has_changed_released)
    }

    /// Closes the open turn and opens one that begins at position `start`.
    pub(super) fn open(&mut self, id: Option<TurnId>, start: u64, started_at: Option<Timestamp>) -> &mut TurnDraft {
        self.close(None);
        let draft = self.next_draft(id, start, started_at);
        self.open.insert(draft)
    }

    /// Closes the open turn, or discards it if it is implicit and empty.
    pub(super) fn close(&mut self, end: Option<u64>) {
        let Some(mut open) = self.open.take() else { return };
        if open.is_explicit || open.is_compaction || !open.turn.items.is_empty() {
            // The lines of an implicit turn reach to the next turn, even after an event that ends it.
            open.end = if open.is_explicit { end.or(open.end) } else { None };
            self.closed.push(open);
        }
    }

    /// Returns the turn with this id, else the open one, else a new implicit one. The line at `stamp` adds to it.
    pub(super) fn turn_for(&mut self, turn_id: Option<&TurnId>, stamp: LineStamp) -> &mut TurnDraft {
        if let Some(index) = self.closed_index(turn_id) {
            // The range of a turn covers its late items, as long as no other turn has begun.
            let is_last = index + 1 == self.closed.len() && self.open.is_none();
            if !is_last {
                self.mark_cross_turn_edit(index);
            }
            let draft = &mut self.closed[index];
            if is_last {
                draft.has_cross_turn_edits |= draft.is_sealed;
                draft.extend_to(stamp.position);
            }
            return draft;
        }
        let open = match self.open {
            Some(ref mut open) => open,
            None => {
                let draft = self.next_draft(turn_id.cloned(), stamp.position, stamp.time);
                self.open.insert(draft)
            }
        };
        // An aborted turn has an end, which grows with each late line.
        if open.turn.status == TurnStatus::Interrupted {
            open.extend_to(stamp.position);
        }
        open.mark_change_at(stamp.position);
        open
    }

    /// Returns the closed turn with this id, else the open turn, for an event that ends it. `None` if neither exists.
    pub(super) fn turn_to_end(&mut self, turn_id: Option<&TurnId>) -> Option<ChangedTurn<'_>> {
        match self.closed_index(turn_id) {
            Some(index) => {
                self.mark_cross_turn_edit(index);
                Some(ChangedTurn { draft: &mut self.closed[index], is_open: false })
            }
            None => Some(ChangedTurn { draft: self.open.as_mut()?, is_open: true }),
        }
    }

    /// Returns the index that the turn with this id has among all turns here; that of the open turn if no closed one has it.
    pub(super) fn index_for(&mut self, turn_id: Option<&TurnId>) -> usize {
        self.closed_index(turn_id).unwrap_or(self.closed.len())
    }

    /// Returns the turn with this index among all turns here, see [`Self::index_for`].
    pub(super) fn turn_at(&mut self, index: usize) -> Option<&mut TurnDraft> {
        if index < self.closed.len() { self.closed.get_mut(index) } else { self.open.as_mut() }
    }

    /// Adds the item of an event to its turn, or updates an earlier item with the same id.
    pub(super) fn upsert_item(&mut self, stamp: LineStamp, turn_id: Option<&TurnId>, item: TurnItem) -> Upserted {
        let upserted = self.turn_for(turn_id, stamp).upsert(stamp, item);
        self.item_count += usize::from(upserted != Upserted::Updated);
        upserted
    }

    /// Updates the item at `place` by an event, and returns whether that is possible: its turn must be one of those here.
    pub(super) fn update_item(&mut self, stamp: LineStamp, place: ItemPlace, item: TurnItem) -> bool {
        let Some(index) = place.turn.checked_sub(self.turns_before).and_then(|index| usize::try_from(index).ok())
        else {
            return false;
        };
        if index < self.closed.len() {
            self.mark_cross_turn_edit(index);
        }
        let Some(draft) = self.turn_at(index) else { return false };
        let upserted = draft.update(place.item, stamp.position, item);
        // As in `turn_for`: an aborted turn has an end, which grows with each late line.
        if draft.turn.status == TurnStatus::Interrupted {
            draft.extend_to(stamp.position);
        }
        self.item_count += usize::from(upserted != Upserted::Updated);
        true
    }

    /// Adds an item that has no id in the log to the open turn.
    pub(super) fn push_numbered_item(&mut self, stamp: LineStamp, content: ItemContent) {
        let item = TurnItem::new(self.next_item_id(), content);
        self.turn_for(None, stamp).push(stamp, item, true);
        self.item_count += 1;
    }

    /// Returns the number of the newest turn, counted from 0. `None` if there is none here.
    pub(super) fn newest_turn(&self) -> Option<u64> {
        Some(self.turns_before + self.newest_index()? as u64)
    }

    /// Returns the index of the newest turn among the turns here.
    pub(super) fn newest_index(&self) -> Option<usize> {
        if self.open.is_some() { Some(self.closed.len()) } else { self.closed.len().checked_sub(1) }
    }

    /// Returns the item of the newest turn at `index`.
    pub(super) fn newest_item(&self, index: usize) -> Option<&TurnItem> {
        self.newest_draft()?.turn.items.get(index)
    }

    /// Returns the newest turn.
    pub(super) fn newest_draft(&self) -> Option<&TurnDraft> {
        self.open.as_ref().or(self.closed.last())
    }

    /// Records that the item at `index` of the newest turn cannot be rebuilt from its own lines.
    pub(super) fn mark_dependent(&mut self, index: usize) {
        if let Some(draft) = self.open.as_mut().or(self.closed.last_mut()) {
            draft.mark_dependent(index);
        }
    }

    /// Changes the item at `index` of the newest turn, by the line at `position`.
    pub(super) fn edit_newest(&mut self, index: usize, position: u64, edit: impl FnOnce(&mut TurnItem)) {
        let is_late = self.open.is_none();
        if let Some(draft) = self.open.as_mut().or(self.closed.last_mut()) {
            draft.edit(index, position, edit);
            if is_late {
                draft.has_cross_turn_edits |= draft.is_sealed;
                draft.extend_to(position);
            } else if draft.turn.status == TurnStatus::Interrupted {
                draft.extend_to(position);
            }
        }
    }

    /// Returns the turn to which an item belongs that names none: the open turn, else the last closed one, else a new implicit one.
    pub(super) fn newest_turn_for(&mut self, stamp: LineStamp) -> &mut TurnDraft {
        let last = if self.open.is_none() { self.closed.last().map(|last| last.turn.id.clone()) } else { None };
        self.turn_for(last.as_ref(), stamp)
    }

    /// Returns the id, or a new number as id if the log has none.
    pub(super) fn id_or_number(&mut self, id: Option<&str>) -> ItemId {
        id.filter(|id| !id.is_empty()).map_or_else(|| self.next_item_id(), ItemId::from)
    }

    /// Removes everything from `point` on, by the rollback at `stamp`. No turn is open.
    pub(super) fn cut_at(&mut self, stamp: LineStamp, point: RollbackPoint) {
        let is_truncated = point.item > 0 && point.turn < self.closed.len();
        self.item_count -= self.closed.truncate(point.turn + usize::from(is_truncated));
        if let Some(draft) = self.closed.last_mut().filter(|_| is_truncated) {
            self.item_count -= draft.counted_items();
            draft.truncate_items(point.item);
            self.item_count += draft.counted_items();
            // Without the rollback the lines of the turn would show the removed items. So its range reaches to the rollback,
            // and a reader needs everything between.
            draft.has_cross_turn_edits = true;
            draft.extend_to(stamp.position);
        }
    }

    /// Removes up to `count` turns from the end that show nothing. No turn is open.
    pub(super) fn remove_empty(&mut self, count: usize) {
        let is_empty = |draft: &TurnDraft| draft.turn.items.is_empty() && !draft.is_compaction;
        for _ in 0..count {
            if !self.closed.last().is_some_and(is_empty) {
                break;
            }
            self.closed.truncate(self.closed.len() - 1);
        }
    }

    /// Ends a rollback: the last turn is sealed, and numbers continue after the items that remain, as in the programs that wrote
    /// the log.
    pub(super) fn end_rollback(&mut self) {
        self.seal_last();
        self.next_item = u64::try_from(self.item_count).unwrap_or(u64::MAX).saturating_add(1);
    }

    /// The current line is in the open turn, or after the last closed one, and changes the closed turn at `index`.
    fn mark_cross_turn_edit(&mut self, index: usize) {
        self.closed[index].has_cross_turn_edits = true;
        match &mut self.open {
            Some(open) => open.has_cross_turn_edits = true,
            None => self.seal_last(),
        }
    }

    /// The current line is after the last closed turn and concerns others. See above for sealed turns.
    fn seal_last(&mut self) {
        if let Some(last) = self.closed.last_mut() {
            last.has_cross_turn_edits |= last.end.is_none();
            last.is_sealed = true;
        }
    }

    /// Returns the index of the newest closed turn with this id. `None` if the open turn has it, too: then the line
    /// names the open one.
    fn closed_index(&mut self, turn_id: Option<&TurnId>) -> Option<usize> {
        let id = turn_id.filter(|id| self.open.as_ref().is_none_or(|open| open.turn.id != **id))?;
        let index = self.closed.newest_index_of(id);
        if index.is_none() && self.turns_before > 0 {
            self.unresolved_turn_ids.insert(id.clone());
        }
        index
    }

    /// Creates a turn that follows the closed ones. Without an id in the log, its number in the thread becomes its id.
    fn next_draft(&mut self, id: Option<TurnId>, start: u64, started_at: Option<Timestamp>) -> TurnDraft {
        self.end_last(start);
        let turns = self.turns_before + self.closed.len() as u64;
        let id = id.unwrap_or_else(|| synthetic_turn_id(turns + 1).into());
        let next_item = self.next_item_before;
        let restart = TurnRestart { position: start, turns, next_item, mode: self.mode, lead_in: None };
        TurnDraft::new(id, restart, started_at)
    }

    /// Ends the last closed turn at `end` if its end is unknown.
    fn end_last(&mut self, end: u64) {
        if let Some(last) = self.closed.last_mut() {
            last.end.get_or_insert(end);
        }
    }

    pub(super) fn next_item_id(&mut self) -> ItemId {
        let number = self.next_item;
        self.next_item += 1;
        format!("item-{number}").into()
    }
}
