//! Finds a turn boundary in the files of a thread.
//!
//! The search reads the history from its end, back to the turn in question and no further, so its cost does not depend on what
//! is before that turn. [`BoundarySearch`] decides how far back is enough.
//!
//! ```text
//!   lines.next() ──▶ search.take(line) ──▶ NeedsMore ────────▶ read on
//!                                     ├──▶ Sufficient ───────▶ resolve the boundary among the lines that were read
//!                                     └──▶ NeedsForwardRead ─▶ read the whole history forward
//! ```
//!
//! The history is also read forward if a file on the way is compressed, or if the turn is more than [`MAX_TAIL_BYTES`] back.
//! Both ways return the same boundary; `tests/it/boundaries.rs` compares them.

use selvedge_history::{
    BackwardRead, BaseFinder, BoundarySearch, CarriedMetadata, ResolvedBoundary, TurnProjection, has_no_later_metadata,
    resolve_boundary, turns_to_boundary,
};
use selvedge_protocol::log::{Entry, LineRecord};
use selvedge_protocol::{HistoryBase, HistoryMode, TurnBoundary};
use selvedge_rollout::{
    BackwardEntry, BackwardReader, HistoryEntry, ResolvedHistory, ReverseReader, RolloutReader, read_head,
};
use selvedge_thread_store::Result;

use super::history::{ProjectedHistory, for_each_line};
use crate::error::store_error;
use crate::limits::MAX_TAIL_BYTES;
use crate::store_core::StoreCore;

/// A boundary that was found in the files.
#[derive(Debug)]
pub(crate) struct LocatedBoundary {
    /// The boundary, as a position among the lines that were read.
    pub(crate) resolved: ResolvedBoundary,
    /// The lines before it, as far as they matter to a segment that begins there.
    pub(crate) before: BaseFinder,
    /// The lines that were read to find it. `None` if the whole history was read.
    tail: Option<HistoryTail>,
}

impl StoreCore {
    /// Finds a boundary in a history of the given mode.
    ///
    /// # Errors
    /// `TurnNotFound`.
    pub(crate) fn locate_boundary(
        &self,
        resolved: &ResolvedHistory,
        mode: HistoryMode,
        at: &TurnBoundary,
    ) -> Result<LocatedBoundary> {
        match locate_from_end(resolved, mode, at)? {
            Some(found) => Ok(found),
            None => self.locate_from_beginning(resolved, at),
        }
    }

    fn locate_from_beginning(&self, resolved: &ResolvedHistory, at: &TurnBoundary) -> Result<LocatedBoundary> {
        // Two passes over the files instead of one that keeps every line in memory: the boundary is known only when all turns are.
        let ProjectedHistory { turns, lines } = self.project_turns(resolved)?;
        let boundary = resolve_boundary(resolved.thread_id, turns, lines, at)?;
        let mut before = BaseFinder::default();
        let mut position = 0;
        for_each_line(resolved, |part, record| {
            if position < boundary.position {
                before.push_back(part, &record);
            }
            position += 1;
        })?;
        Ok(LocatedBoundary { resolved: boundary, before, tail: None })
    }
}

/// Returns the base of a segment that begins after these lines. `None` if they are heads only.
pub(crate) fn base_after(before: &BaseFinder, resolved: &ResolvedHistory) -> Option<HistoryBase> {
    before.base(|part| resolved.parts[part].file.name.segment_id())
}

/// Returns the end of a paginated history. Reads the last lines of the newest segment; all of it if it is compressed.
pub(crate) fn end_of_history(resolved: &ResolvedHistory) -> Result<BaseFinder> {
    let newest = resolved.newest();
    let part = resolved.parts.len() - 1;
    // Only the newest segment is read. Of what it builds on, all that matters is that there are lines before its own.
    let has_base = part > 0 || resolved.missing.is_some();
    let mut before = if has_base { BaseFinder::with_earlier_lines() } else { BaseFinder::default() };
    if newest.name.compressed {
        for entry in RolloutReader::open(&newest.path).map_err(store_error)? {
            if let Entry::Line(record) = entry.map_err(store_error)? {
                before.push_back(part, &record);
            }
        }
        return Ok(before);
    }
    for entry in ReverseReader::open(&newest.path).map_err(store_error)? {
        if let Entry::Line(record) = entry.map_err(store_error)? {
            before.push_front(part, &record);
            if before.is_settled(HistoryMode::Paginated) {
                break;
            }
        }
    }
    Ok(before)
}

/// The last lines of a history, newest first.
#[derive(Debug)]
struct HistoryTail {
    /// Each line with the number of its part.
    lines: Vec<(usize, LineRecord)>,
    /// Whether they are the whole history.
    is_whole: bool,
}

impl HistoryTail {
    /// Projects the turns of the lines.
    fn turns(&self, mode: HistoryMode) -> TurnProjection {
        turns_to_boundary(mode, self.lines.iter().rev().map(|(_, record)| &record.line))
    }

    /// Returns whether the tail has lines that a sub-agent copied from its parent. They are not among its turns, and only a
    /// projection that has seen the head knows them.
    fn has_copied_lines(&self, resolved: &ResolvedHistory) -> Result<bool> {
        // Such lines are at the beginning of a history.
        let Some((0, oldest)) = self.lines.last() else { return Ok(false) };
        let head = read_head(&resolved.parts[0].file).map_err(store_error)?;
        let start = head.and_then(|head| head.subagent_history_start_ordinal);
        Ok(start.is_some_and(|start| oldest.line.ordinal().is_some_and(|ordinal| ordinal < start)))
    }

    /// Returns the lines oldest first, each with its position in the tail and its part.
    fn oldest_first(&self) -> impl Iterator<Item = (u64, usize, &LineRecord)> {
        (0..).zip(self.lines.iter().rev()).map(|(position, (part, record))| (position, *part, record))
    }
}

/// Finds a boundary from the end of a history. `None` if the history has to be read forward.
fn locate_from_end(
    resolved: &ResolvedHistory,
    mode: HistoryMode,
    at: &TurnBoundary,
) -> Result<Option<LocatedBoundary>> {
    let Some(search) = BoundarySearch::new(mode, at) else { return Ok(None) };
    let mut lines = resolved.backwards();
    let Some(tail) = read_tail(&mut lines, search)? else { return Ok(None) };
    if tail.has_copied_lines(resolved)? {
        return Ok(None);
    }
    let boundary = resolve_boundary(resolved.thread_id, tail.turns(mode), tail.lines.len() as u64, at)?;
    let Some(before) = lines_before(&tail, &boundary, mode, &mut lines)? else { return Ok(None) };
    Ok(Some(LocatedBoundary { resolved: boundary, before, tail: Some(tail) }))
}

/// First phase: reads lines until the search has enough of them.
fn read_tail(lines: &mut BackwardReader<'_>, mut search: BoundarySearch) -> Result<Option<HistoryTail>> {
    let mut tail = HistoryTail { lines: Vec::new(), is_whole: false };
    let mut bytes = 0;
    loop {
        match lines.next().transpose().map_err(store_error)? {
            Some(BackwardEntry::Line { part, record }) => {
                bytes += record.line.text().len();
                if bytes > MAX_TAIL_BYTES {
                    return Ok(None);
                }
                let read = search.take(&record.line);
                tail.lines.push((part, record));
                match read {
                    BackwardRead::NeedsMore => {}
                    BackwardRead::Sufficient => return Ok(Some(tail)),
                    BackwardRead::NeedsForwardRead => return Ok(None),
                }
            }
            Some(BackwardEntry::Damage { .. }) => {}
            Some(BackwardEntry::NeedsForwardRead) => return Ok(None),
            None => {
                tail.is_whole = true;
                return Ok(Some(tail));
            }
        }
    }
}

/// Second phase: collects the lines before the boundary, until older ones make no difference. They are in the tail first, and
/// then in what comes before the tail, where the reader stopped.
///
/// ```text
///   history   │ … read on if needed … │  tail: kept   │  tail: undone  │
///                                     ▲               ▲                ▲
///                            end of the first phase   boundary         end of the history
/// ```
fn lines_before(
    tail: &HistoryTail,
    boundary: &ResolvedBoundary,
    mode: HistoryMode,
    lines: &mut BackwardReader<'_>,
) -> Result<Option<BaseFinder>> {
    let mut before = BaseFinder::default();
    // The tail is newest first: the undone lines come before the kept ones.
    let undone = tail.lines.len() - usize::try_from(boundary.position).unwrap_or(tail.lines.len());
    let mut kept = tail.lines[undone..].iter();
    while !before.is_settled(mode) {
        // Lines are taken backward on both ways, so `before` sees one sequence without a gap.
        if let Some((part, record)) = kept.next() {
            before.push_front(*part, record);
            continue;
        }
        match lines.next().transpose().map_err(store_error)? {
            Some(BackwardEntry::Line { part, record }) => before.push_front(part, &record),
            Some(BackwardEntry::Damage { .. }) => {}
            Some(BackwardEntry::NeedsForwardRead) => return Ok(None),
            None => break,
        }
    }
    Ok(Some(before))
}

impl LocatedBoundary {
    /// Returns the metadata that a revert to this boundary carries over, in paginated mode.
    pub(crate) fn carried_metadata(&self, resolved: &ResolvedHistory) -> Result<CarriedMetadata> {
        let from_end = match &self.tail {
            Some(tail) => self.carried_from_end(resolved, tail)?,
            None => None,
        };
        match from_end {
            Some(carried) => Ok(carried),
            None => self.carried_from_beginning(resolved),
        }
    }

    /// Returns the carried metadata from the tail and from one head. `None` if older lines could matter.
    ///
    /// What was set in the undone lines is in the tail. Before the tail only the newest head of the thread counts. In a paginated
    /// file that is the first line of its newest own segment, unless the segment is a detached copy: then later heads may be
    /// among its lines.
    fn carried_from_end(&self, resolved: &ResolvedHistory, tail: &HistoryTail) -> Result<Option<CarriedMetadata>> {
        let Some((first_part, _)) = tail.lines.last() else { return Ok(None) };
        // Without a base the new segment begins the history, and has to carry over everything.
        if !self.before.has_base() {
            return Ok(None);
        }
        let mut carried = CarriedMetadata::new(resolved.thread_id, resolved.fallback_created_at());
        let newest_own = (0..=*first_part).rev().find(|part| !resolved.is_inherited(*part));
        if let Some(part) = newest_own.filter(|_| !tail.is_whole) {
            let head = read_head(&resolved.parts[part].file).map_err(store_error)?;
            match head.filter(|head| head.id == Some(resolved.thread_id)) {
                Some(head) if head.copied_base.is_none() => carried.take_head(head, false),
                _ => return Ok(None),
            }
        }
        for (position, part, record) in tail.oldest_first() {
            if !resolved.is_inherited(part) {
                carried.take(&record.line, position >= self.resolved.position);
            }
        }
        Ok(Some(carried))
    }

    fn carried_from_beginning(&self, resolved: &ResolvedHistory) -> Result<CarriedMetadata> {
        let mut carried = CarriedMetadata::new(resolved.thread_id, resolved.fallback_created_at());
        for entry in resolved.reader_skipping(has_no_later_metadata) {
            if let HistoryEntry::Entry { part, entry: Entry::Line(record) } = entry.map_err(store_error)?
                && !resolved.is_inherited(part)
            {
                carried.take(&record.line, self.before.is_after_boundary(part, &record));
            }
        }
        Ok(carried)
    }
}
