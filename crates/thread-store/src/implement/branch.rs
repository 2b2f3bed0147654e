//! What a fork and a revert write, for a store that has the whole history in memory or has found the boundary by itself.

use std::borrow::Borrow;
use std::time::Duration;

use selvedge_history::{CarriedMetadata, base_length, fork_head, head_identity, inherit_head, revert_items};
use selvedge_protocol::{
    HistoryBase, HistoryMode, RolloutItem, SegmentId, SessionMeta, ThreadId, Timestamp, TurnBoundary,
};

use super::{Segment, SegmentChain, WholeHistory};
use crate::Result;

/// Creates the first segment of a fork. `meta` is the requested head, and `now` is the time of its line.
///
/// A fork of a paginated thread is a head that names the position at which the fork begins. A fork of a legacy thread
/// is a head and a copy of all bytes before that position, damage included.
///
/// # Errors
/// - `TurnNotFound` if the source has no such turn.
/// - `InvalidRequest` if the id or the time is missing in the head.
pub fn fork_segment<S: Borrow<Segment>>(
    source: &SegmentChain<S>,
    at: &TurnBoundary,
    mut meta: SessionMeta,
    now: Timestamp,
) -> Result<Segment> {
    let (thread_id, _) = head_identity(&meta)?;
    let history = source.history();
    let boundary = history.resolve(at)?;
    let source_head = history.newest_head();
    if history.mode == HistoryMode::Paginated {
        // A fork before the first real line inherits nothing. Then it has no base, and its ordinals begin with 0.
        let base = history.base(base_length(&history.lines, boundary.position));
        return fork_at_base(source.thread_id(), source_head.as_ref(), base, meta, now);
    }
    if let Some(head) = &source_head {
        inherit_head(&mut meta, head);
    }
    // Readers of legacy logs do not know bases, so a legacy fork is a copy. A legacy history is always a single segment.
    // A fork at the end copies everything, also damage after the last line. A fork at a boundary copies up to the line
    // before it.
    let end = match at {
        TurnBoundary::Latest => source.newest().bytes().len(),
        _ => end_before(&history, boundary.position),
    };
    let copy = &source.newest().bytes()[..end];
    let mut head = fork_head(meta, source.thread_id(), HistoryMode::Legacy, None);
    // A torn last line gets its newline.
    let is_torn = !copy.is_empty() && !copy.ends_with(b"\n");
    head.copied_bytes = Some(copy.len() as u64 + u64::from(is_torn));
    let mut segment = Segment::begin(thread_id.into(), thread_id, now, &[head.into()]);
    append_copy(&mut segment, copy);
    Ok(segment)
}

/// Creates the first segment of a fork of a paginated thread, for a store that has found the base by itself. `source_head` is
/// the newest head of the source, and `base` is `None` if the fork inherits no line except heads.
///
/// # Errors
/// - `InvalidRequest` if the id or the time is missing in the head `meta`.
pub fn fork_at_base(
    source: ThreadId,
    source_head: Option<&SessionMeta>,
    base: Option<HistoryBase>,
    mut meta: SessionMeta,
    now: Timestamp,
) -> Result<Segment> {
    let (thread_id, _) = head_identity(&meta)?;
    if let Some(head) = source_head {
        inherit_head(&mut meta, head);
    }
    let head = fork_head(meta, source, HistoryMode::Paginated, base);
    Ok(Segment::begin(thread_id.into(), thread_id, now, &[head.into()]))
}

/// Returns the byte at which the line before a position ends. A position counts lines from the beginning of the
/// history.
fn end_before(history: &WholeHistory, position: u64) -> usize {
    let last = usize::try_from(position).unwrap_or(usize::MAX).checked_sub(1);
    let end = last.and_then(|last| history.ends.get(last)).map_or(0, |(_, byte)| *byte);
    usize::try_from(end).unwrap_or(usize::MAX)
}

/// Appends copied bytes, and a newline if the last one is missing.
fn append_copy(segment: &mut Segment, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    segment.extend(bytes);
    if !bytes.ends_with(b"\n") {
        segment.extend(b"\n");
    }
}

/// What a revert writes.
#[derive(Clone, Debug, PartialEq)]
pub enum RevertWrite {
    /// Nothing: no turn is after the boundary.
    Nothing,
    /// These items, appended to the history (legacy mode).
    Items(Vec<RolloutItem>),
    /// A new segment that begins with these items (paginated mode).
    Segment(Vec<RolloutItem>),
}

/// Returns how many turns a revert to `to` undoes, and what it writes at the time `now`.
///
/// `created_at` is the creation time of the thread. It is used if no line has it.
///
/// # Errors
/// - `TurnNotFound` if the thread has no such turn.
/// - `InvalidRequest` in legacy mode, if no user message is in the turns to undo.
pub fn plan_revert(
    history: &WholeHistory,
    to: &TurnBoundary,
    created_at: Timestamp,
    now: Timestamp,
) -> Result<(usize, RevertWrite)> {
    let boundary = history.resolve(to)?;
    let write = match history.mode {
        _ if boundary.undone_turns == 0 => RevertWrite::Nothing,
        // Readers of legacy logs do not know segments either. There an event in the same file undoes the turns.
        HistoryMode::Legacy => RevertWrite::Items(vec![boundary.rollback()?.into()]),
        HistoryMode::Paginated => {
            // The new segment inherits the first `kept` lines. Explicit metadata of the lines after them must not be
            // undone, so it is carried over. Inherited lines belong to other threads and have no metadata of this one.
            let kept = base_length(&history.lines, boundary.position);
            let mut carried = CarriedMetadata::new(history.thread_id, created_at);
            for (number, line) in history.lines.iter().enumerate().skip(history.inherited) {
                carried.take(line, number >= kept);
            }
            RevertWrite::Segment(revert_items(carried, now, history.base(kept)))
        }
    };
    Ok((boundary.undone_turns, write))
}

/// Returns the id for a new segment of a thread. It is newer than the ids of all other segments of the thread, even if
/// the clock was set back meanwhile.
#[must_use]
pub fn next_segment_id(thread_id: ThreadId, others: impl IntoIterator<Item = SegmentId>, now: Timestamp) -> SegmentId {
    // The first segment has the id of the thread, which may come from another clock: a caller creates it.
    let later = others.into_iter().filter(|id| *id != SegmentId::from(thread_id));
    let newest = later.filter_map(|id| id.made_at()).max();
    let after = newest.map(|newest| newest.saturating_add(Duration::from_millis(1)));
    SegmentId::new(after.map_or(now, |after| after.max(now)))
}

/// Returns the sort key of a thread's segments, oldest first.
///
/// The first segment has the id of the thread. The others follow in the order of the times in their ids. Segments whose
/// ids have no time are ordered by their creation times.
#[must_use]
pub fn segment_order(thread_id: ThreadId, id: SegmentId, created: Timestamp) -> impl Ord + use<> {
    // `false` sorts before `true`, and an id without a time before one with a time.
    (id != SegmentId::from(thread_id), id.made_at(), created, id)
}
