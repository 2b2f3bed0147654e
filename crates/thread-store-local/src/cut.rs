//! Where in the files a cut is: looked for from the end of a history, back to the turn that is meant and no further.
//!
//! A `task_started` closes whatever was open. So the turns from there on are the same whatever came before, as long as no
//! line behind it speaks of a turn before it, and the lines are read back to the first such place that is far enough. What
//! cannot be told that way is looked up in the whole history: rollbacks, turns that the log gives no id, compressed files,
//! and a turn that is very far back.

use std::borrow::Cow;
use std::collections::HashSet;

use selvedge_history::{CutPoint, Labels, TurnProjection, find_cut};
use selvedge_protocol::{EventMsg, HistoryBase, HistoryMode, LineFormat, RolloutItem, RolloutLine, TurnId};
use selvedge_rollout::{
    BackwardEntry, Entry, HistoryEntry, LineRecord, ResolvedHistory, ReverseReader, RolloutReader, read_head,
};
use selvedge_thread_store::{Result, TurnCut};
use serde::Deserialize;

use crate::error::store_error;
use crate::history::{MAX_TAIL_BYTES, for_each_line};
use crate::row::says_no_fact;
use crate::store::Inner;

/// A cut that was looked up.
#[derive(Debug)]
pub(crate) struct FoundCut {
    /// The cut, in the turns that were looked at.
    pub(crate) point: CutPoint,
    /// What stands before it.
    pub(crate) before: Before,
    /// The lines that it was found in; nothing when the whole history was read for it.
    tail: Option<Tail>,
}

/// What stands before a place in a history, as far as it matters to who goes on from there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Before {
    /// The part that holds the last line, and the byte just past it.
    end: Option<(usize, u64)>,
    /// The last line that has an ordinal: its part, the ordinal after it, and the byte just past it.
    counted_end: Option<(usize, u64, u64)>,
    /// Whether there is anything but heads.
    has_more: bool,
}

impl Before {
    /// Takes the line behind all that were taken.
    fn take_next(&mut self, part: usize, record: &LineRecord) {
        let earlier = std::mem::take(self);
        self.take_previous(part, record);
        self.counted_end = self.counted_end.or(earlier.counted_end);
        self.has_more |= earlier.has_more;
    }

    /// Takes the line before all that were taken.
    fn take_previous(&mut self, part: usize, record: &LineRecord) {
        let byte = record.range.end;
        let counted = record.line.ordinal().map(|ordinal| (part, ordinal.saturating_add(1), byte));
        self.end = self.end.or(Some((part, byte)));
        self.counted_end = self.counted_end.or(counted);
        self.has_more |= record.line.kind() != "session_meta";
    }

    /// Whether the lines before those that were taken make no difference.
    fn is_settled(&self, mode: HistoryMode) -> bool {
        match mode {
            HistoryMode::Legacy => self.end.is_some(),
            HistoryMode::Paginated => self.counted_end.is_some() && self.has_more,
        }
    }

    /// The byte just past the last line, in its file.
    pub(crate) fn byte(&self) -> u64 {
        self.end.map_or(0, |(_, byte)| byte)
    }

    /// The part that holds the last line, and the byte just past it.
    pub(crate) fn place(&self) -> Option<(usize, u64)> {
        self.end
    }

    /// The base of a segment that goes on from here; nothing when there are but heads before it.
    pub(crate) fn base(&self, resolved: &ResolvedHistory) -> Option<HistoryBase> {
        let (part, ordinal, byte) = self.counted_end.filter(|_| self.has_more)?;
        Some(HistoryBase {
            thread_id: Some(resolved.parts[part].file.name.segment_id()),
            end_ordinal_exclusive: Some(ordinal),
            end_byte_offset: Some(byte),
            ..HistoryBase::default()
        })
    }

    /// Whether a line stands behind the place.
    fn is_behind(&self, part: usize, record: &LineRecord) -> bool {
        self.end.is_none_or(|end| (part, record.range.start) >= end)
    }
}

impl Inner {
    /// Looks a cut up in a history that is kept in `mode`.
    ///
    /// # Errors
    /// `TurnNotFound`.
    pub(crate) fn find_cut(&self, resolved: &ResolvedHistory, mode: HistoryMode, at: &TurnCut) -> Result<FoundCut> {
        match cut_from_end(resolved, mode, at)? {
            Some(found) => Ok(found),
            None => self.cut_from_beginning(resolved, at),
        }
    }

    fn cut_from_beginning(&self, resolved: &ResolvedHistory, at: &TurnCut) -> Result<FoundCut> {
        let (turns, lines) = self.turns_of(resolved)?;
        let point = find_cut(resolved.thread_id, turns, lines, at)?;
        let mut before = Before::default();
        let mut count = 0;
        for_each_line(resolved, |part, record| {
            if count < point.position {
                before.take_next(part, &record);
            }
            count += 1;
        })?;
        Ok(FoundCut { point, before, tail: None })
    }
}

/// The end of a paginated history. No more is read than its last lines; of a compressed file, all of it.
pub(crate) fn end_of(resolved: &ResolvedHistory) -> Result<Before> {
    let newest = resolved.newest();
    let part = resolved.parts.len() - 1;
    let builds_on_more = part > 0 || resolved.missing.is_some();
    let mut before = Before { has_more: builds_on_more, ..Before::default() };
    if newest.name.compressed {
        for entry in RolloutReader::open(&newest.path).map_err(store_error)? {
            if let Entry::Line(record) = entry.map_err(store_error)? {
                before.take_next(part, &record);
            }
        }
        return Ok(before);
    }
    for entry in ReverseReader::open(&newest.path).map_err(store_error)? {
        if let Entry::Line(record) = entry.map_err(store_error)? {
            before.take_previous(part, &record);
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
    /// The turns of the lines. In paginated mode they lack items, which say nothing of where turns begin and end.
    fn turns(&self, mode: HistoryMode) -> TurnProjection {
        let mut turns = TurnProjection::new();
        let mut boundaries = Boundaries::default();
        for (position, _, record) in self.forwards() {
            let is_last = position + 1 == self.lines.len() as u64;
            if mode == HistoryMode::Legacy || boundaries.may_move_by(&record.line) || is_last {
                turns.push(position, &record.line);
            }
        }
        turns
    }

    /// The lines in their order.
    fn forwards(&self) -> impl Iterator<Item = (u64, usize, &LineRecord)> {
        (0..).zip(self.lines.iter().rev()).map(|(position, (part, record))| (position, *part, record))
    }
}

/// A cut as the end of the history tells it; nothing when that cannot tell it for sure.
fn cut_from_end(resolved: &ResolvedHistory, mode: HistoryMode, at: &TurnCut) -> Result<Option<FoundCut>> {
    let Some(mut search) = Search::new(mode, at) else { return Ok(None) };
    let mut lines = resolved.backwards();
    let mut tail = Tail { lines: Vec::new(), is_whole: false };
    loop {
        match lines.next().transpose().map_err(store_error)? {
            Some(BackwardEntry::Line { part, record }) => {
                let can_begin = search.take(&record.line);
                tail.lines.push((part, record));
                match can_begin {
                    Some(true) => break,
                    Some(false) => {}
                    None => return Ok(None),
                }
            }
            Some(BackwardEntry::Damage { .. }) => {}
            Some(BackwardEntry::Unsure) => return Ok(None),
            None => {
                tail.is_whole = true;
                break;
            }
        }
    }
    let point = find_cut(resolved.thread_id, tail.turns(mode), tail.lines.len() as u64, at)?;
    let mut before = Before::default();
    let undone = tail.lines.len() - usize::try_from(point.position).unwrap_or(tail.lines.len());
    let mut earlier = tail.lines[undone..].iter();
    while !before.is_settled(mode) {
        if let Some((part, record)) = earlier.next() {
            before.take_previous(*part, record);
            continue;
        }
        match lines.next().transpose().map_err(store_error)? {
            Some(BackwardEntry::Line { part, record }) => before.take_previous(part, &record),
            Some(BackwardEntry::Damage { .. }) => {}
            Some(BackwardEntry::Unsure) => return Ok(None),
            None => break,
        }
    }
    Ok(Some(FoundCut { point, before, tail: Some(tail) }))
}

/// What is known of the end of a history on the way back to a cut.
struct Search<'a> {
    mode: HistoryMode,
    at: &'a TurnCut,
    bytes: usize,
    /// Turns that lines speak of and that were not seen to begin.
    unbegun: HashSet<String>,
    /// How many turns begin.
    begun: u64,
    /// Whether the turn that is meant begins.
    is_found: bool,
}

impl<'a> Search<'a> {
    /// Nothing when the cut is one that the end cannot tell.
    fn new(mode: HistoryMode, at: &'a TurnCut) -> Option<Self> {
        if let TurnCut::After(turn_id) | TurnCut::Before(turn_id) = at
            && names_a_place(turn_id.as_str())
        {
            return None;
        }
        Some(Self { mode, at, bytes: 0, unbegun: HashSet::new(), begun: 0, is_found: false })
    }

    /// Takes the line before and says whether the lines from it on tell the cut; nothing when lines from any line before do not.
    fn take(&mut self, line: &RolloutLine) -> Option<bool> {
        self.bytes += line.text().len();
        if self.bytes > MAX_TAIL_BYTES || line.ordinal().is_some() != (self.mode == HistoryMode::Paginated) {
            return None;
        }
        if line.kind() != "event_msg" {
            return Some(false);
        }
        let event = Glance::at(line)?;
        if event.turn_id.as_deref().is_some_and(names_a_place) {
            return None;
        }
        match &*event.kind {
            "thread_rolled_back" => None,
            "task_started" | "turn_started" => self.take_beginning(line),
            _ => {
                if let Some(turn_id) = event.turn_id.filter(|turn_id| !self.unbegun.contains(&**turn_id)) {
                    self.unbegun.insert(turn_id.into_owned());
                }
                Some(false)
            }
        }
    }

    fn take_beginning(&mut self, line: &RolloutLine) -> Option<bool> {
        // One of another shape opens no turn.
        let RolloutItem::EventMsg(EventMsg::TaskStarted(event)) = line.item() else { return None };
        if let Some(turn_id) = &event.turn_id {
            self.unbegun.remove(turn_id.as_str());
            self.is_found |= self.is_meant(turn_id);
        }
        self.begun += 1;
        let is_far_enough = match self.at {
            TurnCut::Latest => true,
            TurnCut::After(_) | TurnCut::Before(_) => self.is_found,
            TurnCut::BeforeNewest(count) => self.begun >= *count,
        };
        Some(is_far_enough && self.unbegun.is_empty())
    }

    fn is_meant(&self, turn_id: &TurnId) -> bool {
        matches!(self.at, TurnCut::After(meant) | TurnCut::Before(meant) if meant == turn_id)
    }
}

/// Says of the lines of a paginated thread, in their order, which ones may have a say in where turns begin and end. Messages
/// to the model have none, and neither have items while a turn runs.
#[derive(Default)]
struct Boundaries {
    /// Whether a turn was opened explicitly and goes on.
    is_running: bool,
}

impl Boundaries {
    fn may_move_by(&mut self, line: &RolloutLine) -> bool {
        if line.kind() == "response_item" && line.format() == LineFormat::Envelope {
            return false;
        }
        let Some(event) = Glance::at(line) else { return true };
        match &*event.kind {
            "item_completed" => return !self.is_running,
            "task_started" | "turn_started" => self.is_running = true,
            "task_complete" | "turn_complete" | "turn_aborted" => self.is_running = false,
            _ => {}
        }
        true
    }
}

/// What matters of an event here.
#[derive(Deserialize)]
struct Glance<'a> {
    #[serde(rename = "type", borrow, default)]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    turn_id: Option<Cow<'a, str>>,
}

impl<'a> Glance<'a> {
    /// Nothing for a line that is no event, or one of a shape that nobody writes.
    fn at(line: &'a RolloutLine) -> Option<Self> {
        (line.kind() == "event_msg").then(|| serde_json::from_str(line.payload()).ok())?
    }
}

/// Whether this can be the name of a turn that the log gives no id: its place among the turns from the first.
fn names_a_place(turn_id: &str) -> bool {
    turn_id.strip_prefix("turn-").is_some_and(|place| place.bytes().all(|byte| byte.is_ascii_digit()))
}

impl FoundCut {
    /// What a revert to the cut carries over, in paginated mode.
    pub(crate) fn labels(&self, resolved: &ResolvedHistory) -> Result<Labels> {
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
    fn labels_from_end(&self, resolved: &ResolvedHistory, tail: &Tail) -> Result<Option<Labels>> {
        let Some((first_part, _)) = tail.lines.last() else { return Ok(None) };
        if self.before.base(resolved).is_none() {
            return Ok(None);
        }
        let mut labels = Labels::new(resolved.thread_id, resolved.created_outside_log());
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

    fn labels_from_beginning(&self, resolved: &ResolvedHistory) -> Result<Labels> {
        let mut labels = Labels::new(resolved.thread_id, resolved.created_outside_log());
        for entry in resolved.reader_skipping(says_no_fact) {
            if let HistoryEntry::Entry { part, entry: Entry::Line(record) } = entry.map_err(store_error)?
                && !resolved.is_inherited(part)
            {
                labels.take(&record.line, self.before.is_behind(part, &record));
            }
        }
        Ok(labels)
    }
}
