//! Positions between two turns, at which a thread is forked or rewound.

use crate::TurnId;

/// A position between two turns of a thread: where a fork leaves its source, or to where a thread is rewound.
///
/// For a thread with the turns `a`, `b` and `c`:
///
/// ```text
///           a           b           c
///     ▲           ▲           ▲           ▲
///     │           │           │           └ Latest, After(c), BeforeNewest(0)
///     │           │           └ Before(c), After(b), BeforeNewest(1)
///     │           └ Before(b), After(a), BeforeNewest(2)
///     └ Before(a), BeforeNewest(3), BeforeNewest(4)
/// ```
///
/// If several turns have the same id, the newest of them is used. A boundary names a turn and not a line, so a client
/// needs no knowledge of the log. The `history` crate resolves it to a position in the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TurnBoundary {
    /// The end of the history.
    Latest,
    /// Just after the turn with this id.
    After(TurnId),
    /// Just before the turn with this id.
    Before(TurnId),
    /// Just before this many of the newest turns. A turn that only compacts the context does not count: it goes with the
    /// turn before it.
    ///
    /// If fewer turns count, this is the position before all that count. For 0, and if none counts, it is the end of the
    /// history.
    BeforeNewest(u64),
}
