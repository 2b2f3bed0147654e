//! Resolves a turn boundary to a position in a history, and determines what a revert to it undoes.

use std::fmt;

use selvedge_protocol::{
    EventMsg, ItemContent, RolloutLine, ThreadId, ThreadRolledBackEvent, Turn, TurnBoundary, TurnId,
};

use crate::TurnProjection;

/// Error for a turn that a thread does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownTurn {
    /// The thread.
    pub thread_id: ThreadId,
    /// The turn.
    pub turn_id: TurnId,
}

impl fmt::Display for UnknownTurn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "turn {} not found in thread {}", self.turn_id, self.thread_id)
    }
}

impl std::error::Error for UnknownTurn {}

/// Error for turns of a legacy thread without messages of the user: no event can undo them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoUserMessages;

impl fmt::Display for NoUserMessages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a legacy thread can be rewound by user messages only, and these turns contain none")
    }
}

impl std::error::Error for NoUserMessages {}

/// A [`TurnBoundary`] that was resolved among the turns of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResolvedBoundary {
    /// Number of lines before the boundary, of those that the turns were projected from.
    pub position: u64,
    /// Number of turns after the boundary, those included that [only compact](only_compacts).
    pub undone_turns: usize,
    /// Number of messages of the user and of other agents after the boundary. A `thread_rolled_back` event with this number
    /// reverts to the boundary.
    pub undone_messages: u64,
}

impl ResolvedBoundary {
    /// Returns the event that reverts a legacy thread to this boundary.
    ///
    /// # Errors
    /// [`NoUserMessages`] if the undone turns contain no message of the user, for example only a compaction: the event counts
    /// messages and cannot express such turns.
    pub fn rollback(&self) -> Result<EventMsg, NoUserMessages> {
        if self.undone_messages == 0 {
            return Err(NoUserMessages);
        }
        Ok(ThreadRolledBackEvent { num_turns: Some(self.undone_messages), ..Default::default() }.into())
    }
}

/// Returns whether a turn only compacts the context: it shows a compaction, and no message of the user or of another agent. A
/// compaction of an old program that wrote no event of it shows nothing, so its turn counts like any other.
///
/// A rewind by a number of turns does not count such turns ([`TurnBoundary::BeforeNewest`]). It goes with the counted turn
/// before it. So does Codex when it undoes turns; see `docs/rollout-format.md`.
#[must_use]
pub fn only_compacts(turn: &Turn) -> bool {
    let is_message = |content: &ItemContent| {
        matches!(content, ItemContent::UserMessage { .. } | ItemContent::InterAgentMessage { .. })
    };
    let has = |is_kind: &dyn Fn(&ItemContent) -> bool| turn.items.iter().any(|item| is_kind(&item.content));
    has(&|content| *content == ItemContent::ContextCompaction) && !has(&is_message)
}

/// Returns how many turns there are before the newest `count` of them, not counting those that [only compact](only_compacts).
/// If there are fewer, it is how many there are before all that count; if there is none that counts, all of them.
#[must_use]
pub fn turns_before_newest(turns: &[Turn], count: u64) -> usize {
    let counted = turns.iter().enumerate().rev().filter(|(_, turn)| !only_compacts(turn));
    let newest = counted.take(usize::try_from(count).unwrap_or(usize::MAX));
    newest.last().map_or(turns.len(), |(index, _)| index)
}

/// Resolves a boundary among the turns of a thread. `lines` is the number of lines that the turns were projected from. The caller
/// may leave out earlier turns that the boundary does not depend on, together with their lines.
///
/// # Errors
/// [`UnknownTurn`] if no turn has the id that the boundary names.
pub fn resolve_boundary(
    thread_id: ThreadId,
    turns: TurnProjection,
    lines: u64,
    boundary: &TurnBoundary,
) -> Result<ResolvedBoundary, UnknownTurn> {
    let messages: Vec<u64> = turns.message_positions().collect();
    let turns = turns.finish();
    // Several turns can have the same id. The newest one counts, as in the projection.
    let index_of = |turn_id: &TurnId| {
        let index = turns.iter().rposition(|turn| turn.id == *turn_id);
        index.ok_or_else(|| UnknownTurn { thread_id, turn_id: turn_id.clone() })
    };
    let (position, kept) = match boundary {
        TurnBoundary::Latest => (lines, turns.len()),
        TurnBoundary::After(turn_id) => index_of(turn_id).map(|index| (turns[index].lines.end, index + 1))?,
        TurnBoundary::Before(turn_id) => index_of(turn_id).map(|index| (turns[index].lines.start, index))?,
        TurnBoundary::BeforeNewest(count) => {
            let kept = turns_before_newest(&turns, *count);
            (turns.get(kept).map_or(lines, |turn| turn.lines.start), kept)
        }
    };
    Ok(ResolvedBoundary {
        position: position.min(lines),
        undone_turns: turns.len() - kept,
        undone_messages: messages.iter().filter(|message| **message >= position).count() as u64,
    })
}

/// Returns how many lines of a history a new segment inherits that begins at `position`: all lines before it, or none if they
/// are only heads. A segment that inherits none has no base and begins at ordinal 0.
#[must_use]
pub fn base_length(lines: &[RolloutLine], position: u64) -> usize {
    let length = usize::try_from(position).map_or(lines.len(), |position| position.min(lines.len()));
    if lines[..length].iter().all(|line| line.kind() == "session_meta") { 0 } else { length }
}
