//! Where in a history a place between two turns is, and what going back to it undoes.

use std::fmt;

use selvedge_protocol::{EventMsg, RolloutLine, ThreadId, ThreadRolledBackEvent, TurnBoundary, TurnId};

use crate::TurnProjection;

/// A turn that is not among those of a thread.
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

/// Turns of a legacy thread in which nobody spoke, so that no event undoes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoUserMessages;

impl fmt::Display for NoUserMessages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a legacy thread goes back by user messages, and these turns have none")
    }
}

impl std::error::Error for NoUserMessages {}

/// A [`TurnBoundary`] that was looked up in a thread's turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResolvedBoundary {
    /// How many lines stand before it, of those that the turns were made of.
    pub position: u64,
    /// How many turns come after it.
    pub undone_turns: usize,
    /// How many messages of the user and of other agents come after it: what a `thread_rolled_back` event has to undo to go
    /// back to it.
    pub undone_messages: u64,
}

impl ResolvedBoundary {
    /// The event that takes a legacy thread back to this place.
    ///
    /// # Errors
    /// [`NoUserMessages`] when nobody spoke in the undone turns (one that holds but a compaction, for instance): the event
    /// counts what was said and cannot mean them.
    pub fn rollback(&self) -> Result<EventMsg, NoUserMessages> {
        if self.undone_messages == 0 {
            return Err(NoUserMessages);
        }
        Ok(ThreadRolledBackEvent { num_turns: Some(self.undone_messages), ..Default::default() }.into())
    }
}

/// Looks a cut up in a thread's turns; `lines` is the number of lines that they were made of. Turns that come before those in
/// question may be left out, with their lines.
///
/// # Errors
/// [`UnknownTurn`] when the turn is not among them.
pub fn resolve_boundary(
    thread_id: ThreadId,
    turns: TurnProjection,
    lines: u64,
    cut: &TurnBoundary,
) -> Result<ResolvedBoundary, UnknownTurn> {
    let messages: Vec<u64> = turns.message_positions().collect();
    let turns = turns.finish();
    let index_of = |turn_id: &TurnId| {
        let index = turns.iter().rposition(|turn| turn.id == *turn_id);
        index.ok_or_else(|| UnknownTurn { thread_id, turn_id: turn_id.clone() })
    };
    let (position, kept) = match cut {
        TurnBoundary::Latest => (lines, turns.len()),
        TurnBoundary::After(turn_id) => index_of(turn_id).map(|index| (turns[index].lines.end, index + 1))?,
        TurnBoundary::Before(turn_id) => index_of(turn_id).map(|index| (turns[index].lines.start, index))?,
        TurnBoundary::BeforeNewest(count) => {
            let kept = turns.len().saturating_sub(usize::try_from(*count).unwrap_or(usize::MAX));
            (turns.get(kept).map_or(lines, |turn| turn.lines.start), kept)
        }
    };
    Ok(ResolvedBoundary {
        position: position.min(lines),
        undone_turns: turns.len() - kept,
        undone_messages: messages.iter().filter(|message| **message >= position).count() as u64,
    })
}

/// How many of a history's first lines a new segment takes over when it begins at `position`: all of them, or none when
/// they are but headers. A segment that takes over none has no base and begins at ordinal 0.
#[must_use]
pub fn base_length(lines: &[RolloutLine], position: u64) -> usize {
    let length = usize::try_from(position).map_or(lines.len(), |position| position.min(lines.len()));
    if lines[..length].iter().all(|line| line.kind() == "session_meta") { 0 } else { length }
}
