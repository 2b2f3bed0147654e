//! What a store is asked and what it answers, where `protocol` has no word for it.

use std::fmt;
use std::ops::Range;

use selvedge_protocol::{HistoryMode, RolloutLine, SessionMeta, ThreadId, TurnBoundary};
use serde::{Deserialize, Serialize};

use crate::{BatchId, LinePosition};

/// What an append came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Appended {
    /// How many lines were written: the items, and the thread's first line where this append made the thread visible.
    pub lines: u64,
    /// The ordinal of the last line (paginated mode).
    pub last_ordinal: Option<u64>,
}

/// A stretch of what is stored that could not be read. Everything outside such stretches was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// Where: a path, a table.
    pub place: String,
    /// Which bytes of it.
    pub range: Range<u64>,
    /// Number of the line that the stretch begins in, counted from 1; 0 where it was not counted.
    pub line: u64,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, range, line, reason } = self;
        f.write_str(place)?;
        if *line > 0 {
            write!(f, ", line {line}")?;
        }
        write!(f, ", bytes {}..{}: {reason}", range.start, range.end)
    }
}

/// A thread's whole history, inherited lines first.
#[derive(Clone, Debug, PartialEq)]
pub struct ThreadHistory {
    /// The thread.
    pub thread_id: ThreadId,
    /// How its log is kept.
    pub mode: HistoryMode,
    /// Every intact line in order; what a base holds beyond the point where it was left is not part of it.
    pub lines: Vec<RolloutLine>,
    /// How many of the lines, from the first, were inherited by reference from other threads.
    pub inherited: usize,
    /// What could not be read.
    pub damage: Vec<Damage>,
}

/// What a person types to mean a thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ThreadLookup {
    /// The whole name of a thread, as it was given.
    Name(String),
    /// The first characters of an id's text, in any case.
    IdPrefix(String),
}

/// A wish for a fork.
#[derive(Clone, Debug, PartialEq)]
pub struct ForkThread {
    /// The thread to fork.
    pub source: ThreadId,
    /// Where to leave it.
    pub at: TurnBoundary,
    /// Head of the new thread. Its id and timestamp are required; the store sets where the history comes from and its
    /// mode, which is the source's.
    pub meta: SessionMeta,
}

/// A wish to undo the newest turns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevertThread {
    /// The thread.
    pub thread_id: ThreadId,
    /// What to go back to.
    pub to: TurnBoundary,
    /// Names the change: the same request again undoes nothing more.
    pub batch: BatchId,
}

/// What a writer has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriterState {
    /// Where the thread ends. `None` while it is lazy.
    pub end: Option<LinePosition>,
    /// The newest change that took effect, of those that have a batch id.
    pub last_batch: Option<BatchId>,
    /// The number of the claim: a later claim of the same thread has a higher one.
    pub epoch: u64,
}

/// Where a metadata patch comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetadataOrigin {
    /// It says what the thread's log says already, so that a log keeps nothing of it.
    Derived,
    /// Somebody set it. The store keeps it.
    Explicit,
}
