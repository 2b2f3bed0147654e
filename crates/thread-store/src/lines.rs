//! Reading a thread's history line by line: queries, pages, entries and positions.

use std::fmt;

use selvedge_protocol::{RolloutLine, SegmentId, SortDirection, ThreadId, TurnId};
use serde::{Deserialize, Serialize};

/// A position between two entries of a thread's history.
///
/// A position is opaque; the only meaningful comparison is equality. It is valid in its own thread only. It stays valid
/// when the thread grows, or is archived, compressed, detached or rewound. A repair or a redaction of the line before
/// it invalidates it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LinePosition(String);

impl LinePosition {
    /// Returns the position as text, which a caller can store.
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

/// Where a page begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LineStart {
    /// At the beginning of the history.
    Beginning,
    /// At the end of the history.
    End,
    /// At a position: the end of a page, or the beginning of an entry.
    At(LinePosition),
    /// Before the first line with this ordinal or a higher one. At the end of the history if there is none.
    Ordinal(u64),
    /// Before the first line of a turn.
    Turn(TurnId),
}

/// Which entries are returned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LineSelect {
    /// All entries. The entries of a segment together contain exactly the prefix of the segment that belongs to the
    /// history.
    #[default]
    All,
    /// Damaged and missing parts only.
    DamageOnly,
}

/// Request for a page of a thread's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineQuery {
    /// The thread.
    pub thread_id: ThreadId,
    /// Where to begin.
    pub start: LineStart,
    /// Ascending: the entries after the start. Descending: the entries before it, the newest first.
    pub direction: SortDirection,
    /// Which entries to return.
    pub select: LineSelect,
    /// The maximum number of entries. At least 1.
    pub max_lines: usize,
    /// The maximum number of bytes of all entries together. The first entry fits in any case.
    pub max_bytes: usize,
    /// If the caller does not need longer texts: the bytes of a text within a line from which on it may be shortened, as [`ShortTexts`]
    /// does, so that memory does not depend on the length of a line. It is a permission: a store may return everything.
    ///
    /// [`ShortTexts`]: selvedge_protocol::log::ShortTexts
    pub max_text: Option<usize>,
}

impl LineQuery {
    /// Creates a query for the entries after `start`, with pages of at most 10,000 entries and about 1 MiB.
    #[must_use]
    pub const fn from(thread_id: ThreadId, start: LineStart) -> Self {
        Self {
            thread_id,
            start,
            direction: SortDirection::Ascending,
            select: LineSelect::All,
            max_lines: 10_000,
            max_bytes: 1 << 20,
            max_text: None,
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
    /// Whether there is nothing after the page now. A thread that has a writer may grow later.
    pub is_end: bool,
    /// If a rewind has undone the position at which the query begins: the last position before it that is still part of
    /// the history.
    ///
    /// The entries continue from there. What was read after it earlier is no longer part of the thread. In a legacy
    /// thread this never happens, because a rewind is a line itself and removes none.
    pub rewound_to: Option<LinePosition>,
}

/// A part of a thread's history: a line, white space, damage, or a gap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineEntry {
    /// Where it begins.
    pub at: LinePosition,
    /// The segment that holds it.
    pub segment: SegmentId,
    /// Whether the segment is one of another thread.
    pub inherited: bool,
    /// Its bytes as they are stored, including the newline. If texts were shortened, they are still a line, and not the bytes that are
    /// stored.
    pub bytes: Vec<u8>,
    /// How many bytes are not in `bytes`, because texts were shortened ([`LineQuery::max_text`]).
    pub left_out: u64,
    /// What it is.
    pub kind: EntryKind,
}

impl LineEntry {
    /// Returns how many bytes the entry has in the store.
    #[must_use]
    pub fn stored_len(&self) -> u64 {
        self.left_out + self.bytes.len() as u64
    }

    /// Returns the line that the entry contains. `None` if it is not an intact line.
    #[must_use]
    pub fn line(&self) -> Option<RolloutLine> {
        // A byte order mark before the first line is an entry of its own, so the bytes of a line entry are the line
        // alone.
        let text = std::str::from_utf8(&self.bytes).ok().filter(|_| self.kind == EntryKind::Line)?;
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
    /// A damaged range: bytes that are no intact line.
    Damage {
        /// What is wrong with it.
        reason: String,
        /// Whether the damaged range ends here. Otherwise it continues in the next entry: a line can be too long for
        /// one read.
        is_complete: bool,
    },
    /// A gap: a part of the history that does not exist in the store. A segment is missing, or the end of one.
    Missing {
        /// How many bytes are missing. `None` if that is unknown.
        bytes: Option<u64>,
        /// Why they are missing.
        reason: String,
    },
}
