//! A thread's history, line by line: what is asked and what is answered.

use std::fmt;

use selvedge_protocol::{RolloutLine, SegmentId, SortDirection, ThreadId, TurnId};
use serde::{Deserialize, Serialize};

/// A place between two entries of a thread's history.
///
/// It is opaque, and only equality means anything. It is valid in its own thread and stays so while the thread grows, is
/// archived, compressed, detached or rewound; a repair or a redaction before it ends it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LinePosition(String);

impl LinePosition {
    /// Returns the position as text, by which it can be kept.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LinePosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<String> for LinePosition {
    fn from(text: String) -> Self {
        Self(text)
    }
}

/// Where reading begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LineStart {
    /// Before everything.
    Beginning,
    /// Behind everything that there is.
    End,
    /// Where a page ended, or an entry begins.
    At(LinePosition),
    /// Before the first line whose ordinal is not smaller; behind everything if there is none.
    Ordinal(u64),
    /// Before the first line of a turn.
    Turn(TurnId),
}

/// Which entries are returned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LineSelect {
    /// All of them: the bytes of the entries of a segment are the segment's share of the history.
    #[default]
    All,
    /// Damage and what is missing.
    DamageOnly,
}

/// Request for a page of a thread's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineQuery {
    /// The thread.
    pub thread_id: ThreadId,
    /// Where to begin.
    pub start: LineStart,
    /// Ascending: what stands behind the start. Descending: what stands before it, the newest first.
    pub direction: SortDirection,
    /// Which entries to return.
    pub select: LineSelect,
    /// How many entries a page holds at most. At least 1.
    pub max_lines: usize,
    /// How many bytes its entries have at most together. One entry fits in any case.
    pub max_bytes: usize,
}

impl LineQuery {
    /// Requests what stands behind `start`, on pages of at most 10,000 entries and about 1 MiB.
    #[must_use]
    pub const fn from(thread_id: ThreadId, start: LineStart) -> Self {
        Self {
            thread_id,
            start,
            direction: SortDirection::Ascending,
            select: LineSelect::All,
            max_lines: 10_000,
            max_bytes: 1 << 20,
        }
    }
}

/// A page of a thread's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinePage {
    /// The entries, in the order of the query.
    pub entries: Vec<LineEntry>,
    /// Where the next page begins.
    pub next: LinePosition,
    /// Whether there is nothing beyond the page now. A thread that is written has more later.
    pub is_end: bool,
    /// If the place that the query began at was undone by a rewind: the last place before it that is still part of the
    /// history. The entries go on from there; what was read behind it is not part of the thread any more. A rewind of a legacy
    /// thread undoes no lines: it is a line itself.
    pub rewound_to: Option<LinePosition>,
}

/// A stretch of a thread's history: a line, or what is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineEntry {
    /// Where it begins.
    pub at: LinePosition,
    /// The segment that holds it.
    pub segment: SegmentId,
    /// Whether the segment is one of another thread.
    pub inherited: bool,
    /// Its bytes as they are stored, with the newline.
    pub bytes: Vec<u8>,
    /// What it is.
    pub kind: EntryKind,
}

impl LineEntry {
    /// Returns the line that the entry is. `None` if it is no intact line.
    #[must_use]
    pub fn line(&self) -> Option<RolloutLine> {
        let text = std::str::from_utf8(&self.bytes).ok().filter(|_| self.kind == EntryKind::Line)?;
        // The first line of a file may stand behind a byte order mark, which is an entry of its own.
        RolloutLine::parse(text).ok()
    }
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// An intact line.
    Line,
    /// White space between lines.
    Blank,
    /// A stretch that holds no intact line.
    Damage {
        /// What is wrong with it.
        reason: String,
        /// Whether the damaged stretch ends here. It goes on in the next entry otherwise: a line too long to be read at once.
        is_complete: bool,
    },
    /// Part of the history that cannot be had: a segment that is gone, or the end of one.
    Missing {
        /// How many bytes it had, if that is known.
        bytes: Option<u64>,
        /// Why.
        reason: String,
    },
}
