//! Forks and reverts of paginated threads by the rows of turns: what they write, without the lines before the boundary.
//!
//! ```text
//!   lines of the history   … │ read back to a line with an ordinal │ boundary │ undone: a revert reads them │ end
//! ```
//!
//! The heads of the thread are in the rows of its segments. Where the rows do not suffice, the whole history decides, as for pages of
//! turns. So it does for legacy threads: a fork copies their bytes, and a revert counts their messages.

use selvedge_history::turn_index::BytePosition;
use selvedge_history::{BaseFinder, CarriedMetadata, revert_items};
use selvedge_protocol::log::{LineRecord, RawContent};
use selvedge_protocol::{HistoryBase, HistoryMode, SessionMeta, ThreadId, Timestamp, TurnBoundary};
use selvedge_thread_store::Result;
use selvedge_thread_store::implement::{LineSource, RevertWrite};

use crate::stored_lines::StoredLines;
use crate::turns::ThreadTurns;

/// Where a fork leaves its source.
pub(crate) struct ForkPoint {
    /// The base of the fork and the thread of that segment. `None` if the fork inherits nothing.
    pub(crate) base: Option<(HistoryBase, ThreadId)>,
    /// The newest head of the source.
    pub(crate) source_head: Option<SessionMeta>,
    /// The threads that the history of the source goes through.
    pub(crate) owners: Vec<ThreadId>,
}

/// A boundary, and how many turns are after it.
struct TurnCut {
    at: BytePosition,
    undone_turns: u64,
}

/// Finds where a fork of a thread begins.
pub(crate) fn fork_point(lines: &StoredLines, at: &TurnBoundary) -> Result<ForkPoint> {
    let turns = load_turns(lines)?;
    let before = lines_before(lines, locate(&turns, at)?.at)?;
    let mut base_part = 0;
    let base = before.base(|part| {
        base_part = part;
        lines.parts()[part].segment_id
    });
    let parts = 0..lines.parts().len();
    let is_own = |head: &&SessionMeta| head.id == Some(lines.thread_id());
    let own = parts.clone().rev().filter(|part| !lines.parts()[*part].inherited);
    let source_head = { own }.find_map(|part| lines.head(part).filter(is_own)).cloned();
    let owners = parts.map(|part| lines.owner(part)).collect();
    Ok(ForkPoint { base: base.map(|base| (base, lines.owner(base_part))), source_head, owners })
}

/// Returns how many turns a revert undoes and what it writes, as [`plan_revert`](selvedge_thread_store::implement::plan_revert) does.
pub(crate) fn plan_stored_revert(
    lines: &StoredLines,
    to: &TurnBoundary,
    now: Timestamp,
) -> Result<(usize, RevertWrite)> {
    let turns = load_turns(lines)?;
    let TurnCut { at, undone_turns } = locate(&turns, to)?;
    if undone_turns == 0 {
        return Ok((0, RevertWrite::Nothing));
    }
    let base = lines_before(lines, at)?.base(|part| lines.parts()[part].segment_id);
    // Without a base the new segment begins the history and carries everything over, so all lines count.
    let Some(base) = base else { return Err(lines.need_all()) };
    let items = revert_items(carried_metadata(lines, at)?, now, Some(base));
    Ok((usize::try_from(undone_turns).unwrap_or(usize::MAX), RevertWrite::Segment(items)))
}

/// Loads what is known of the turns, if forks and reverts can be made by it.
fn load_turns(lines: &StoredLines) -> Result<ThreadTurns<'_>> {
    if !lines.is_paginated() {
        return Err(lines.need_all());
    }
    let turns = ThreadTurns::load(lines)?;
    if turns.may_have_later_heads() { Err(lines.need_all()) } else { Ok(turns) }
}

/// Finds a boundary, as [`resolve_boundary`](selvedge_history::resolve_boundary) does among turns in memory.
fn locate(turns: &ThreadTurns<'_>, at: &TurnBoundary) -> Result<TurnCut> {
    let count = turns.count();
    let (at, kept) = match at {
        TurnBoundary::Latest => (turns.history_end(), count),
        TurnBoundary::After(turn_id) => {
            let index = turns.newest_with_id(turn_id)?;
            (turns.end(index)?, index + 1)
        }
        TurnBoundary::Before(turn_id) => {
            let index = turns.newest_with_id(turn_id)?;
            (turns.start(index)?, index)
        }
        TurnBoundary::BeforeNewest(newest) => match turns.before_newest(*newest)? {
            kept if kept < count => (turns.start(kept)?, kept),
            kept => (turns.history_end(), kept),
        },
    };
    Ok(TurnCut { at, undone_turns: count - kept })
}

/// Collects the lines before a position, until older ones make no difference.
fn lines_before(lines: &StoredLines, at: BytePosition) -> Result<BaseFinder> {
    let mut before = BaseFinder::default();
    let BytePosition { mut part, mut byte } = at;
    loop {
        for entry in lines.entries_back(part, byte, None)? {
            let entry = entry?;
            if let RawContent::Line(line) = entry.content {
                before.push_front(part, &LineRecord { line, range: entry.range, number: 0 });
                if before.is_settled(HistoryMode::Paginated) {
                    return Ok(before);
                }
            }
        }
        let Some(earlier) = part.checked_sub(1) else { return Ok(before) };
        (part, byte) = (earlier, lines.prefix(earlier)?.end);
    }
}

/// Returns the metadata that a revert to a position carries over: from the heads before it, and from all lines after it. Other lines
/// before it have nothing that counts.
fn carried_metadata(lines: &StoredLines, at: BytePosition) -> Result<CarriedMetadata> {
    let thread = lines.thread();
    let mut carried = CarriedMetadata::new(thread.id, thread.created_at);
    for part in (0..lines.parts().len()).filter(|part| !lines.parts()[*part].inherited) {
        let end = lines.prefix(part)?.end;
        let undone_from = match part.cmp(&at.part) {
            std::cmp::Ordering::Less => end,
            std::cmp::Ordering::Equal => at.byte,
            std::cmp::Ordering::Greater => 0,
        };
        if undone_from > 0 {
            // Its first line. If that is no head, the lines before the boundary may have the creation time.
            let head = lines.head(part).filter(|head| head.id == Some(thread.id));
            carried.take_head(head.cloned().ok_or_else(|| lines.need_all())?, false);
        }
        if undone_from >= end {
            continue;
        }
        for entry in lines.entries(part, undone_from, None)? {
            let entry = entry?;
            if entry.range.start >= end {
                break;
            }
            if let RawContent::Line(line) = &entry.content {
                carried.take(line, true);
            }
        }
    }
    Ok(carried)
}
