//! Requests to a store and its results, as far as `protocol` does not define them.

use std::fmt;
use std::ops::Range;

use selvedge_protocol::{HistoryMode, RolloutLine, SessionMeta, ThreadId, TurnBoundary};
use serde::{Deserialize, Serialize};

use crate::{BatchId, LinePosition};

/// The result of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Appended {
    /// How many lines were written: one per item, plus the first line of the thread if this append made the thread
    /// visible.
    pub lines: u64,
    /// The ordinal of the last line (paginated mode).
    pub last_ordinal: Option<u64>,
}

/// A damaged range: stored bytes that could not be read. Everything outside the damaged ranges was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// Where it is: a path, a table.
    #[serde(rename = "place")]
    pub location: String,
    /// The damaged bytes.
    pub range: Range<u64>,
    /// The number of the line in which the range begins, counted from 1. 0 if lines were not counted.
    pub line: u64,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { location, range, line, reason } = self;
        f.write_str(location)?;
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
    /// Every intact line, in order. Of a segment that the thread builds on, only the inherited prefix is included.
    pub lines: Vec<RolloutLine>,
    /// How many of the lines, from the first one, are inherited by reference from other threads.
    pub inherited: usize,
    /// What could not be read.
    pub damage: Vec<Damage>,
}

/// What a person types to refer to a thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ThreadLookup {
    /// The full name of a thread, exactly as it was set.
    Name(String),
    /// The first characters of the text of an id, in upper or lower case.
    IdPrefix(String),
}

/// Request to fork a thread.
#[derive(Clone, Debug, PartialEq)]
pub struct ForkThread {
    /// The thread to fork.
    pub source: ThreadId,
    /// The turn boundary at which the fork begins.
    pub at: TurnBoundary,
    /// The head of the new thread. Its id and its timestamp are required. The store sets where the history comes from,
    /// and the mode, which is that of the source.
    pub meta: SessionMeta,
}

impl ForkThread {
    /// Creates the request to fork a thread at its end. A manager gives the fork its id and its time.
    #[must_use]
    pub fn of(source: ThreadId) -> Self {
        Self { source, at: TurnBoundary::Latest, meta: SessionMeta::default() }
    }

    /// Sets the turn boundary at which the fork begins.
    #[must_use]
    pub fn at(mut self, boundary: TurnBoundary) -> Self {
        self.at = boundary;
        self
    }
}

/// Request to undo the newest turns of a thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevertThread {
    /// The thread.
    pub thread_id: ThreadId,
    /// The turn boundary to return to.
    pub to: TurnBoundary,
    /// Identifies the change: repeating the request undoes nothing more.
    pub batch: BatchId,
}

/// The state of a live thread's writer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriterState {
    /// Where the thread ends. `None` while the thread is lazy.
    pub end: Option<LinePosition>,
    /// The newest change with a batch id that took effect.
    pub last_batch: Option<BatchId>,
    /// The number of the claim. A later claim of the same thread has a higher number, so it can serve as a fencing
    /// token.
    pub epoch: u64,
}

/// The origin of a metadata patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetadataOrigin {
    /// Derived from the log of the thread. The log has these facts already, so the patch is not written to it.
    Derived,
    /// Set explicitly by a user. The store keeps it.
    Explicit,
}
