//! Tells which lines of a segment a thread wrote itself, and which ones are copies of lines of another thread.
//!
//! ```text
//! fork by Selvedge      head (with `copied_bytes`) | head of the source | copied lines | its lines
//! fork by Codex         head of the fork | head of the source | copied lines | its lines
//! the same, migrated    head of the fork | copied lines | its lines
//! sub-agent             head (with `subagent_history_start_ordinal`) | copied lines | its lines
//! older sub-agent       as a fork by Codex
//! detached thread       head (with `copied_base`) | copied lines | head | its lines
//! ```
//!
//! In the forks of Codex nothing says where the copied lines end, and the copies have the time of the fork. These facts tell it, the
//! better ones first:
//!
//! 1. The id of a turn is a UUIDv7 in newer files. A turn is copied if its id is older than the thread. (A time after that of the
//!    line cannot be right and says nothing.)
//! 2. A line that is older than the thread is copied.
//! 3. A program writes the copies in one go: a pause of [`PAUSE`] ends them. This counts only after a second head.

use std::time::Duration;

use selvedge_protocol::{HistoryMode, RolloutLine, SessionMeta, ThreadId, Timestamp, TurnId};
use serde::{Deserialize, Serialize};

/// How long a program never pauses while it writes copies. A person needs longer for the first message to a fork.
const PAUSE: Duration = Duration::from_secs(1);

/// How much older a line may be than the turn to which it belongs. The clock can be set back.
const TOLERANCE: Duration = Duration::from_secs(1);

/// Tells for each line of a segment whether it is a copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CopiedLines {
    thread_id: ThreadId,
    /// When the thread was created.
    created_at: Timestamp,
    /// The first ordinal of the sub-agent's own lines. 0 for other threads.
    own_lines_start: u64,
    zone: Zone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Zone {
    /// No head was read yet.
    Unknown,
    /// Copies of a base, until the next head of the thread.
    CopiedBase,
    /// Copies up to this byte.
    CopiedUntil(u64),
    /// Copies may stand here.
    Undecided {
        hint: CopyHint,
        /// The time of the line before, if that is a copy.
        copied_at: Option<Timestamp>,
        /// Whether the id of the current turn says that it is copied.
        is_turn_copied: bool,
    },
    /// Lines of the thread itself.
    Own,
}

/// What the heads of a segment say about copies in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum CopyHint {
    /// Nothing. A head of another thread can still follow.
    None,
    /// The thread is a fork or a sub-agent, so that it can have some.
    Child,
    /// A head of another thread was copied, so that it has some.
    SourceHead,
}

impl CopiedLines {
    pub(crate) fn new(thread_id: ThreadId, created_at: Timestamp) -> Self {
        Self { thread_id, created_at, own_lines_start: 0, zone: Zone::Unknown }
    }

    /// Returns when the thread was created, as far as its lines say it.
    pub(crate) fn created_at(&self) -> Timestamp {
        self.created_at
    }

    /// Takes a head, with its line and the byte after it.
    pub(crate) fn head(&mut self, head: &SessionMeta, line: &RolloutLine, end: u64) {
        let at = line.timestamp();
        // The first line of a file is its head, whatever its id: the file may have been renamed.
        let is_first_line = end <= line.text().len() as u64 + 2;
        let is_own = is_first_line || head.id.is_none_or(|id| id == self.thread_id);
        match (is_own, self.zone) {
            (true, Zone::Unknown) => {
                self.created_at = head.timestamp.or(at).unwrap_or(self.created_at);
                self.own_lines_start = head.subagent_history_start_ordinal.unwrap_or(0);
                self.zone = self.zone_after(head, at, end);
            }
            (true, Zone::CopiedBase) => self.zone = Zone::Own,
            (false, Zone::Unknown | Zone::Undecided { .. }) => {
                self.zone = undecided(CopyHint::SourceHead, at);
            }
            (true, _) | (false, Zone::CopiedBase | Zone::CopiedUntil(_) | Zone::Own) => {}
        }
    }

    fn zone_after(&self, head: &SessionMeta, at: Option<Timestamp>, end: u64) -> Zone {
        // A program that makes a paginated file of it moves the bytes.
        if let Some(bytes) = head.copied_bytes.filter(|_| head.mode() == HistoryMode::Legacy) {
            return Zone::CopiedUntil(end.saturating_add(bytes));
        }
        if head.copied_base.is_some() {
            return Zone::CopiedBase;
        }
        // Ordinals say it, or the lines are in another file.
        if self.own_lines_start > 0 || head.history_base.is_some() {
            return Zone::Own;
        }
        let is_child = head.forked_from_id.or(head.parent_thread_id).is_some() || head.thread_spawn().is_some();
        undecided(if is_child { CopyHint::Child } else { CopyHint::None }, at)
    }

    /// Returns whether a line that is no head is a copy. `end` is the byte after it. `turn_id` is the turn that it opens or sets up.
    /// `counts` is whether the line counts something, so that it has to be decided now.
    pub(crate) fn is_copy(&mut self, line: &RolloutLine, end: u64, turn_id: Option<&TurnId>, counts: bool) -> bool {
        if line.ordinal().is_some_and(|ordinal| ordinal < self.own_lines_start) {
            return true;
        }
        let at = line.timestamp();
        let Zone::Undecided { hint, copied_at, is_turn_copied } = &mut self.zone else {
            return match self.zone {
                Zone::CopiedBase => true,
                Zone::CopiedUntil(until) => end <= until,
                _ => false,
            };
        };
        let begun_at = turn_id.and_then(TurnId::made_at);
        let begun_at = begun_at.filter(|begun| at.is_none_or(|at| *begun <= at.saturating_add(TOLERANCE)));
        let is_copy = match (*hint, begun_at) {
            (CopyHint::None, _) => false,
            (_, Some(begun)) => {
                *is_turn_copied = begun < self.created_at;
                *is_turn_copied
            }
            _ if at.is_some_and(|at| at < self.created_at) => true,
            // In these files each turn has an id, the next one too.
            _ if *is_turn_copied && turn_id.is_none() => true,
            _ => *hint == CopyHint::SourceHead && is_soon(at, *copied_at),
        };
        if is_copy {
            *copied_at = at.or(*copied_at);
        } else if *hint == CopyHint::SourceHead || counts || turn_id.is_some() {
            self.zone = Zone::Own;
        }
        is_copy
    }
}

fn undecided(hint: CopyHint, copied_at: Option<Timestamp>) -> Zone {
    Zone::Undecided { hint, copied_at, is_turn_copied: false }
}

/// Returns whether a line was written directly after a copy, or before it.
fn is_soon(at: Option<Timestamp>, copied_at: Option<Timestamp>) -> bool {
    match (at, copied_at) {
        (Some(at), Some(copied_at)) => at < copied_at.saturating_add(PAUSE),
        _ => true,
    }
}
