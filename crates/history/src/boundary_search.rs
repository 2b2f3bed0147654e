//! How far back from the end of a history a cut is told.
//!
//! A `task_started` closes whatever was open. So the turns from there on are the same whatever came before, as long as no
//! line behind it speaks of a turn before it, and the lines are needed back to the first such place that is far enough. What
//! cannot be told that way needs the whole history: rollbacks, and turns that the log gives no id.

use std::collections::HashSet;

use selvedge_protocol::{EventMsg, HistoryMode, LineFormat, RolloutItem, RolloutLine, TurnBoundary, TurnId};

use crate::TurnProjection;
use crate::turn_events::{EventHeader, is_synthetic_turn_id, is_turn_abort, is_turn_end, is_turn_start};

/// What the lines come to that were taken on the way back to a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackwardRead {
    /// The line before is needed.
    NeedsMore,
    /// They tell the cut.
    Sufficient,
    /// The cut is told by the whole history only.
    NeedsForwardRead,
}

/// What is known of the end of a history on the way back to a cut.
#[derive(Clone, Debug)]
pub struct BoundarySearch<'a> {
    mode: HistoryMode,
    at: &'a TurnBoundary,
    /// Turns that lines speak of and that were not seen to begin.
    unbegun: HashSet<String>,
    /// How many turns begin.
    begun: u64,
    /// Whether the turn that is meant begins.
    is_found: bool,
}

impl<'a> BoundarySearch<'a> {
    /// A search in a history that is kept in `mode`. `None` if the cut is one that the end of a history cannot tell.
    #[must_use]
    pub fn new(mode: HistoryMode, at: &'a TurnBoundary) -> Option<Self> {
        if let TurnBoundary::After(turn_id) | TurnBoundary::Before(turn_id) = at
            && is_synthetic_turn_id(turn_id.as_str())
        {
            return None;
        }
        Some(Self { mode, at, unbegun: HashSet::new(), begun: 0, is_found: false })
    }

    /// Takes the line before those that were taken, and says whether the lines from it on tell the cut.
    pub fn take(&mut self, line: &RolloutLine) -> BackwardRead {
        if line.ordinal().is_some() != (self.mode == HistoryMode::Paginated) {
            return BackwardRead::NeedsForwardRead;
        }
        if line.kind() != "event_msg" {
            return BackwardRead::NeedsMore;
        }
        let Some(event) = EventHeader::at(line) else { return BackwardRead::NeedsForwardRead };
        if event.turn_id.as_deref().is_some_and(is_synthetic_turn_id) || event.kind == "thread_rolled_back" {
            return BackwardRead::NeedsForwardRead;
        }
        if is_turn_start(&event.kind) {
            return self.take_beginning(line);
        }
        if let Some(turn_id) = event.turn_id.filter(|turn_id| !self.unbegun.contains(&**turn_id)) {
            self.unbegun.insert(turn_id.into_owned());
        }
        BackwardRead::NeedsMore
    }

    fn take_beginning(&mut self, line: &RolloutLine) -> BackwardRead {
        // One of another shape opens no turn.
        let RolloutItem::EventMsg(EventMsg::TaskStarted(event)) = line.item() else {
            return BackwardRead::NeedsForwardRead;
        };
        if let Some(turn_id) = &event.turn_id {
            self.unbegun.remove(turn_id.as_str());
            self.is_found |= self.is_meant(turn_id);
        }
        self.begun += 1;
        let is_far_enough = match self.at {
            TurnBoundary::Latest => true,
            TurnBoundary::After(_) | TurnBoundary::Before(_) => self.is_found,
            TurnBoundary::BeforeNewest(count) => self.begun >= *count,
        };
        if is_far_enough && self.unbegun.is_empty() { BackwardRead::Sufficient } else { BackwardRead::NeedsMore }
    }

    fn is_meant(&self, turn_id: &TurnId) -> bool {
        matches!(self.at, TurnBoundary::After(meant) | TurnBoundary::Before(meant) if meant == turn_id)
    }
}

/// The turns of the last lines of a history, given in their order, to look a cut up in. Lines are counted from the first of
/// these. In paginated mode the turns lack items and messages, which say nothing of where turns begin and end: nobody asks there
/// for [`undone_messages`](crate::ResolvedBoundary::undone_messages).
#[must_use]
pub fn turns_to_boundary<'a>(
    mode: HistoryMode,
    lines: impl ExactSizeIterator<Item = &'a RolloutLine>,
) -> TurnProjection {
    let mut turns = TurnProjection::new();
    let mut boundaries = Boundaries::default();
    let count = lines.len() as u64;
    for (position, line) in (0..).zip(lines) {
        let is_last = position + 1 == count;
        if mode == HistoryMode::Legacy || boundaries.may_move_by(line) || is_last {
            turns.push(position, line);
        }
    }
    turns
}

/// Says of the lines of a paginated thread, in their order, which ones may have a say in where turns begin and end. Messages
/// to the model have none, and neither have items while a turn runs.
#[derive(Default)]
struct Boundaries {
    /// Whether a turn was opened explicitly and goes on.
    is_running: bool,
}

impl Boundaries {
    fn may_move_by(&mut self, line: &RolloutLine) -> bool {
        if line.kind() == "response_item" && line.format() == LineFormat::Envelope {
            return false;
        }
        let Some(event) = EventHeader::at(line) else { return true };
        match &*event.kind {
            "item_completed" => return !self.is_running,
            kind if is_turn_start(kind) => self.is_running = true,
            kind if is_turn_end(kind) || is_turn_abort(kind) => self.is_running = false,
            _ => {}
        }
        true
    }
}
