//! What a fork and a revert write, given the whole history that they begin in.

use std::borrow::Borrow;
use std::time::Duration;

use selvedge_history::{CarriedMetadata, base_length, fork_head, head_identity, inherit_head, revert_items};
use selvedge_protocol::{HistoryMode, RolloutItem, SegmentId, SessionMeta, ThreadId, Timestamp, TurnBoundary};

use super::{Segment, SegmentChain, WholeHistory};
use crate::Result;

/// Makes the first segment of a fork: `meta` is the head that was asked for, and `now` stamps its line.
///
/// A fork of a paginated thread is a head that names the place where the source is left. A fork of a legacy thread is a head and
/// a copy of the bytes before that place, damage and all.
///
/// # Errors
/// `TurnNotFound`; `InvalidRequest` for a head without an id or a time.
pub fn fork_segment<S: Borrow<Segment>>(
    source: &SegmentChain<S>,
    at: &TurnBoundary,
    mut meta: SessionMeta,
    now: Timestamp,
) -> Result<Segment> {
    let (thread_id, _) = head_identity(&meta)?;
    let history = source.history();
    let cut = history.cut(at)?;
    if let Some(head) = history.newest_head() {
        inherit_head(&mut meta, &head);
    }
    let length = base_length(&history.lines, cut.position);
    let base = (history.mode == HistoryMode::Paginated).then(|| history.base(length)).flatten();
    let head = fork_head(meta, source.thread_id(), history.mode, base);
    let mut segment = Segment::begin(thread_id.into(), thread_id, now, &[head.into()]);
    if history.mode == HistoryMode::Legacy {
        let end = match at {
            TurnBoundary::Latest => source.newest().bytes().len(),
            _ => end_before(&history, cut.position),
        };
        copy(&mut segment, &source.newest().bytes()[..end]);
    }
    Ok(segment)
}

/// The byte that the line before a position ends at.
fn end_before(history: &WholeHistory, position: u64) -> usize {
    let last = usize::try_from(position).unwrap_or(usize::MAX).checked_sub(1);
    let end = last.and_then(|last| history.ends.get(last)).map_or(0, |(_, byte)| *byte);
    usize::try_from(end).unwrap_or(usize::MAX)
}

/// Appends copied bytes, and a newline where they lack the last one.
fn copy(segment: &mut Segment, bytes: &[u8]) {
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
    /// Nothing: there is nothing behind the place.
    Nothing,
    /// These items behind the history (legacy mode).
    Items(Vec<RolloutItem>),
    /// A new segment that begins with these items (paginated mode).
    Segment(Vec<RolloutItem>),
}

/// Finds out what a revert to `to` writes at the time `now`, and how many turns it undoes. `created_at` is when the thread was
/// created, should no line say so.
///
/// # Errors
/// `TurnNotFound`; `InvalidRequest` in legacy mode when nobody spoke in the turns to undo.
pub fn plan_revert(
    history: &WholeHistory,
    to: &TurnBoundary,
    created_at: Timestamp,
    now: Timestamp,
) -> Result<(usize, RevertWrite)> {
    let cut = history.cut(to)?;
    let write = match history.mode {
        _ if cut.undone_turns == 0 => RevertWrite::Nothing,
        HistoryMode::Legacy => RevertWrite::Items(vec![cut.rollback()?.into()]),
        HistoryMode::Paginated => {
            let kept = base_length(&history.lines, cut.position);
            let mut labels = CarriedMetadata::new(history.thread_id, created_at);
            for (place, line) in history.lines.iter().enumerate().skip(history.inherited) {
                labels.take(line, place >= kept);
            }
            RevertWrite::Segment(revert_items(labels, now, history.base(kept)))
        }
    };
    Ok((cut.undone_turns, write))
}

/// Returns the id for a further segment of a thread: newer than those of all its others, also when the clock went back meanwhile.
#[must_use]
pub fn next_segment_id(thread_id: ThreadId, others: impl IntoIterator<Item = SegmentId>, now: Timestamp) -> SegmentId {
    let later = others.into_iter().filter(|id| *id != SegmentId::from(thread_id));
    let newest = later.filter_map(|id| id.made_at()).max();
    let after = newest.map(|newest| newest.saturating_add(Duration::from_millis(1)));
    SegmentId::new(after.map_or(now, |after| after.max(now)))
}

/// Returns what the segments of a thread are sorted by, oldest first: the first one has the thread's id, the others tell by
/// their ids when they were made, and those that do not, were begun in the order of their creation.
#[must_use]
pub fn segment_order(thread_id: ThreadId, id: SegmentId, created: Timestamp) -> impl Ord + use<> {
    (id != SegmentId::from(thread_id), id.made_at(), created, id)
}
