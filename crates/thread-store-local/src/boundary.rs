//! Where in the files a cut is: looked for from the end of a history, back to the turn that is meant and no further.
//!
//! How far back that is, [`BoundarySearch`] says. What cannot be told that way is looked up in the whole history; so is what stands
//! in compressed files, and a turn that is very far back.

use selvedge_history::{
    BackwardRead, BaseFinder, BoundarySearch, CarriedMetadata, ResolvedBoundary, TurnProjection, has_no_metadata,
    resolve_boundary, turns_to_boundary,
};
use selvedge_protocol::{HistoryBase, HistoryMode};
use selvedge_rollout::{
    BackwardEntry, Entry, HistoryEntry, LineRecord, ResolvedHistory, ReverseReader, RolloutReader, read_head,
};
use selvedge_thread_store::{Result, TurnBoundary};

use crate::error::store_error;
use crate::history::{MAX_TAIL_BYTES, for_each_line};
use crate::store::Inner;

/// A cut that was looked up.
#[derive(Debug)]
pub(crate) struct FoundCut {
    /// The cut, in the turns that were looked at.
    pub(crate) point: ResolvedBoundary,
    /// What stands before it.
    pub(crate) before: BaseFinder,
    /// The lines that it was found in; nothing when the whole history was read for it.
    tail: Option<Tail>,
}

impl Inner {
    /// Looks a cut up in a history that is kept in `mode`.
    ///
    /// # Errors
    /// `TurnNotFound`.
    pub(crate) fn resolve_boundary(
        &self,
        resolved: &ResolvedHistory,
        mode: HistoryMode,
        at: &TurnBoundary,
    ) -> Result<FoundCut> {
        match cut_from_end(resolved, mode, at)? {
            Some(found) => Ok(found),
            None => self.cut_from_beginning(resolved, at),
        }
    }

    fn cut_from_beginning(&self, resolved: &ResolvedHistory, at: &TurnBoundary) -> Result<FoundCut> {
        let (turns, lines) = self.turns_of(resolved)?;
        let point = resolve_boundary(resolved.thread_id, turns, lines, at)?;
        let mut before = BaseFinder::default();
        let mut count = 0;
        for_each_line(resolved, |part, record| {
            if count < point.position {
                before.push_back(part, &record);
            }
            count += 1;
        })?;
        Ok(FoundCut { point, before, tail: None })
    }
}

/// The base of a segment that goes on from a place in a history; nothing when there are but heads before it.
pub(crate) fn base_at(before: &BaseFinder, resolved: &ResolvedHistory) -> Option<HistoryBase> {
    before.base(|part| resolved.parts[part].file.name.segment_id())
}

/// The end of a paginated history. No more is read than its last lines; of a compressed file, all of it.
pub(crate) fn end_of(resolved: &ResolvedHistory) -> Result<BaseFinder> {
    let newest = resolved.newest();
    let part = resolved.parts.len() - 1;
    let builds_on_more = part > 0 || resolved.missing.is_some();
    let mut before = if builds_on_more { BaseFinder::with_earlier_lines() } else { BaseFinder::default() };
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

/// The last lines of a history, the last one first.
#[derive(Debug)]
struct Tail {
    lines: Vec<(usize, LineRecord)>,
    /// Whether they are the whole history.
    is_whole: bool,
}

impl Tail {
    /// The turns of the lines.
    fn turns(&self, mode: HistoryMode) -> TurnProjection {
        turns_to_boundary(mode, self.lines.iter().rev().map(|(_, record)| &record.line))
    }

    /// The lines in their order.
    fn forwards(&self) -> impl Iterator<Item = (u64, usize, &LineRecord)> {
        (0..).zip(self.lines.iter().rev()).map(|(position, (part, record))| (position, *part, record))
    }
}

/// A cut as the end of the history tells it; nothing when that cannot tell it for sure.
fn cut_from_end(resolved: &ResolvedHistory, mode: HistoryMode, at: &TurnBoundary) -> Result<Option<FoundCut>> {
    let Some(mut search) = BoundarySearch::new(mode, at) else { return Ok(None) };
    let mut lines = resolved.backwards();
    let mut tail = Tail { lines: Vec::new(), is_whole: false };
    let mut bytes = 0;
    loop {
        match lines.next().transpose().map_err(store_error)? {
            Some(BackwardEntry::Line { part, record }) => {
                bytes += record.line.text().len();
                if bytes > MAX_TAIL_BYTES {
                    return Ok(None);
                }
                let way = search.take(&record.line);
                tail.lines.push((part, record));
                match way {
                    BackwardRead::NeedsMore => {}
                    BackwardRead::Sufficient => break,
                    BackwardRead::NeedsForwardRead => return Ok(None),
                }
            }
            Some(BackwardEntry::Damage { .. }) => {}
            Some(BackwardEntry::NeedsForwardRead) => return Ok(None),
            None => {
                tail.is_whole = true;
                break;
            }
        }
    }
    let point = resolve_boundary(resolved.thread_id, tail.turns(mode), tail.lines.len() as u64, at)?;
    let mut before = BaseFinder::default();
    let undone = tail.lines.len() - usize::try_from(point.position).unwrap_or(tail.lines.len());
    let mut earlier = tail.lines[undone..].iter();
    while !before.is_settled(mode) {
        if let Some((part, record)) = earlier.next() {
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
    Ok(Some(FoundCut { point, before, tail: Some(tail) }))
}

impl FoundCut {
    /// What a revert to the cut carries over, in paginated mode.
    pub(crate) fn labels(&self, resolved: &ResolvedHistory) -> Result<CarriedMetadata> {
        let from_end = match &self.tail {
            Some(tail) => self.labels_from_end(resolved, tail)?,
            None => None,
        };
        match from_end {
            Some(labels) => Ok(labels),
            None => self.labels_from_beginning(resolved),
        }
    }

    /// The labels as the last lines and the heads of segments tell them; nothing when others could tell more. In a
    /// paginated file a head stands in the first line, or it is a copy.
    fn labels_from_end(&self, resolved: &ResolvedHistory, tail: &Tail) -> Result<Option<CarriedMetadata>> {
        let Some((first_part, _)) = tail.lines.last() else { return Ok(None) };
        if !self.before.has_base() {
            return Ok(None);
        }
        let mut labels = CarriedMetadata::new(resolved.thread_id, resolved.fallback_created_at());
        let newest_own = (0..=*first_part).rev().find(|part| !resolved.is_inherited(*part));
        if let Some(part) = newest_own.filter(|_| !tail.is_whole) {
            let head = read_head(&resolved.parts[part].file).map_err(store_error)?;
            match head.filter(|head| head.id == Some(resolved.thread_id)) {
                // Newer heads than one with copies behind it stand among them.
                Some(head) if head.copied_base.is_none() => labels.take_head(head, false),
                _ => return Ok(None),
            }
        }
        for (position, part, record) in tail.forwards() {
            if !resolved.is_inherited(part) {
                labels.take(&record.line, position >= self.point.position);
            }
        }
        Ok(Some(labels))
    }

    fn labels_from_beginning(&self, resolved: &ResolvedHistory) -> Result<CarriedMetadata> {
        let mut labels = CarriedMetadata::new(resolved.thread_id, resolved.fallback_created_at());
        for entry in resolved.reader_skipping(has_no_metadata) {
            if let HistoryEntry::Entry { part, entry: Entry::Line(record) } = entry.map_err(store_error)?
                && !resolved.is_inherited(part)
            {
                labels.take(&record.line, self.before.is_after_boundary(part, &record));
            }
        }
        Ok(labels)
    }
}
