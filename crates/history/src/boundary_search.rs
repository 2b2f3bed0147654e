//! Finds a turn boundary from the end of a history, without reading its beginning.
//!
//! A `task_started` line closes every open turn. So the turns from such a line on do not depend on lines before it, as long as
//! no later line names an earlier turn. A search reads backwards to the first such line that is far enough back. Two things
//! need a forward read of the whole history: rollbacks, and turns without an id in the log.

use std::collections::HashSet;

use memchr::memmem;
use selvedge_protocol::{
    CompletedItem, EventMsg, HistoryMode, LineFormat, RolloutItem, RolloutLine, TurnBoundary, TurnId,
};

use crate::TurnProjection;
use crate::payload_fields::payload_type;
use crate::turn_events::{EventHeader, is_synthetic_turn_id, is_turn_abort, is_turn_end, is_turn_start};

/// Result of a backward read so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackwardRead {
    /// The line before is needed.
    NeedsMore,
    /// The lines determine the boundary.
    Sufficient,
    /// Only a forward read of the whole history determines the boundary.
    NeedsForwardRead,
}

/// State of a backward search for a turn boundary, which reads a history from its end.
#[derive(Clone, Debug)]
pub struct BoundarySearch<'a> {
    mode: HistoryMode,
    boundary: &'a TurnBoundary,
    /// Turns that lines name and whose `task_started` was not found yet.
    unstarted: HashSet<String>,
    /// Number of `task_started` lines found from which on there is one more turn that counts
    /// ([`only_compacts`](crate::only_compacts)).
    counted: u64,
    /// The messages of the user since the last `task_started` line that was found: the turns that they name.
    messages: Vec<Option<String>>,
    /// Whether a compaction was found.
    has_compaction: bool,
    /// Whether the turn that the boundary names was found.
    is_found: bool,
}

impl<'a> BoundarySearch<'a> {
    /// Creates a search in a history with this mode. `None` if the boundary cannot be found from the end: it names a turn by its
    /// number, because the log has no id for it.
    #[must_use]
    pub fn new(mode: HistoryMode, boundary: &'a TurnBoundary) -> Option<Self> {
        if let TurnBoundary::After(turn_id) | TurnBoundary::Before(turn_id) = boundary
            && is_synthetic_turn_id(turn_id.as_str())
        {
            return None;
        }
        let (unstarted, messages) = (HashSet::new(), Vec::new());
        Some(Self { mode, boundary, unstarted, counted: 0, messages, has_compaction: false, is_found: false })
    }

    /// Takes the line before those that were taken, and returns whether the lines from it on determine the boundary.
    pub fn take(&mut self, line: &RolloutLine) -> BackwardRead {
        // A line of the other mode may change what the lines after it mean.
        if line.ordinal().is_some() != (self.mode == HistoryMode::Paginated) {
            return BackwardRead::NeedsForwardRead;
        }
        if line.kind() != "event_msg" {
            self.has_compaction |= line.kind() == "compacted";
            return BackwardRead::NeedsMore;
        }
        let Some(event) = EventHeader::of(line) else { return BackwardRead::NeedsForwardRead };
        // A rollback counts messages from before, and a synthetic id counts turns from the start.
        if event.turn_id.as_deref().is_some_and(is_synthetic_turn_id) || event.kind == "thread_rolled_back" {
            return BackwardRead::NeedsForwardRead;
        }
        if is_turn_start(&event.kind) {
            return self.take_turn_start(line);
        }
        self.take_shown(&event, line);
        if let Some(turn_id) = event.turn_id.filter(|turn_id| !self.unstarted.contains(&**turn_id)) {
            self.unstarted.insert(turn_id.into_owned());
        }
        BackwardRead::NeedsMore
    }

    fn take_turn_start(&mut self, line: &RolloutLine) -> BackwardRead {
        // An event of this kind with fields that do not parse opens no turn.
        let RolloutItem::EventMsg(EventMsg::TaskStarted(event)) = line.item() else {
            return BackwardRead::NeedsForwardRead;
        };
        if let Some(turn_id) = &event.turn_id {
            self.unstarted.remove(turn_id.as_str());
            self.is_found |= self.is_named(turn_id);
        }
        // A message is in a turn that begins here or later, unless it names an earlier one. Without a message, the turn counts if
        // it has no compaction: it has none if there is none up to the end, because a late line may belong to it. To count too
        // few only costs more lines.
        let id = event.turn_id.as_ref().map(TurnId::as_str);
        let has_message = self.messages.iter().any(|named| named.is_none() || named.as_deref() == id);
        self.counted += u64::from(has_message || !self.has_compaction);
        self.messages.clear();
        let is_far_enough = match self.boundary {
            TurnBoundary::Latest => true,
            TurnBoundary::After(_) | TurnBoundary::Before(_) => self.is_found,
            TurnBoundary::BeforeNewest(count) => self.counted >= *count,
        };
        // A turn that a line named and that has not started yet is an earlier one: that line changes it.
        if is_far_enough && self.unstarted.is_empty() { BackwardRead::Sufficient } else { BackwardRead::NeedsMore }
    }

    /// Takes what an event shows, as far as it determines which turns count.
    fn take_shown(&mut self, event: &EventHeader<'_>, line: &RolloutLine) {
        match (&*event.kind, self.mode) {
            ("context_compacted", _) => self.has_compaction = true,
            ("user_message", HistoryMode::Legacy) => self.messages.push(None),
            ("item_completed", mode) if shows_message_or_compaction(line) => {
                let RolloutItem::EventMsg(EventMsg::ItemCompleted(completed)) = line.item() else { return };
                match completed.item.as_ref().map(CompletedItem::kind) {
                    Some("ContextCompaction") => self.has_compaction = true,
                    Some("UserMessage") if mode == HistoryMode::Paginated => {
                        self.messages.push(event.turn_id.as_deref().map(str::to_owned));
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }

    fn is_named(&self, turn_id: &TurnId) -> bool {
        matches!(self.boundary, TurnBoundary::After(named) | TurnBoundary::Before(named) if named == turn_id)
    }
}

/// Projects the last lines of a history, in their order, to resolve a boundary among their turns. Positions count from the first
/// of these lines.
///
/// In paginated mode the turns lack most items and messages. Only those are there that determine which turns
/// [only compact](crate::only_compacts); the others do not move boundaries. So
/// [`undone_messages`](crate::ResolvedBoundary::undone_messages) is not valid there, and a paginated thread does not need it.
#[must_use]
pub fn turns_to_boundary<'a>(
    mode: HistoryMode,
    lines: impl ExactSizeIterator<Item = &'a RolloutLine>,
) -> TurnProjection {
    let mut turns = TurnProjection::new();
    let mut filter = BoundaryFilter::default();
    let count = lines.len() as u64;
    for (position, line) in (0..).zip(lines) {
        // The last line is always pushed, so that the projection knows where the lines end.
        let is_last = position + 1 == count;
        if mode == HistoryMode::Legacy || filter.can_move_boundaries(line) || is_last {
            turns.push(position, line);
        }
    }
    turns
}

/// Returns whether an `item_completed` line may show a message of the user or a compaction. Does not parse it.
fn shows_message_or_compaction(line: &RolloutLine) -> bool {
    let payload = line.payload().as_bytes();
    ["\"UserMessage\"", "\"ContextCompaction\""].iter().any(|kind| memmem::find(payload, kind.as_bytes()).is_some())
}

/// Recognizes the lines of a paginated thread, taken in order, that can move turn boundaries or determine which turns count. Response items and
/// most completed items do neither while an explicit turn is open. Outside of one, they begin a turn or belong to the one before.
#[derive(Default)]
struct BoundaryFilter {
    /// Whether an explicit turn is open.
    is_turn_open: bool,
}

impl BoundaryFilter {
    fn can_move_boundaries(&mut self, line: &RolloutLine) -> bool {
        if line.kind() == "response_item" && line.format() == LineFormat::Envelope {
            return !self.is_turn_open || payload_type(line) == "agent_message";
        }
        let Some(event) = EventHeader::of(line) else { return true };
        match &*event.kind {
            "item_completed" => return !self.is_turn_open || shows_message_or_compaction(line),
            kind if is_turn_start(kind) => self.is_turn_open = true,
            kind if is_turn_end(kind) || is_turn_abort(kind) => self.is_turn_open = false,
            _ => {}
        }
        true
    }
}
