//! What an append of a live thread did.

use selvedge_thread_store::Appended;

/// The result of an append.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recorded {
    /// How many lines were written: one per item that is kept, plus the first line of the thread if this append made
    /// the thread visible.
    pub lines: u64,
    /// The ordinal of the last line (paginated mode).
    pub last_ordinal: Option<u64>,
    /// How many of the items were left out, because the persistence policy keeps them out of the log
    /// ([`is_persisted`](selvedge_history::is_persisted)): deltas, warnings, and events of the other history mode.
    pub dropped: usize,
}

impl Recorded {
    pub(crate) fn new(appended: Appended, dropped: usize) -> Self {
        Self { lines: appended.lines, last_ordinal: appended.last_ordinal, dropped }
    }
}
