//! Makes rows of turns from the lines of a thread.

use std::collections::HashSet;
use std::ops::Range;

use selvedge_protocol::log::LineRecord;
use selvedge_protocol::{HistoryMode, TurnId, TurnItem};

use super::rows::{BytePosition, ItemBytes, ItemNumber, ItemRow, TurnResumePoint, TurnRow};
use crate::projected_turn::{ProjectedTurn, TurnRestart};
use crate::turns::TurnProjection;

/// After how many bytes of lines closed turns are drained. This bounds the memory that a long thread takes.
const DRAIN_BYTES: u64 = 4 << 20;

/// The rows of a thread's turns: of all of them, or of those from a resume point on.
#[derive(Clone, Debug)]
pub struct TurnRows {
    /// How many turns are before these.
    pub first_turn: u64,
    /// The rows, oldest first.
    pub turns: Vec<TurnRow>,
    /// Where the next scan can resume. `None` if it has to read the whole thread.
    pub resume_point: Option<TurnResumePoint>,
    /// Whether lines changed turns before these. The rows are wrong then, and the thread has to be read again without draining.
    pub affects_earlier_turns: bool,
    /// The ids of turns to which the lines refer and that are not among these rows. If there is such a turn before these, the lines may
    /// have changed it. Empty if the whole thread was read.
    pub unresolved_turn_ids: Vec<TurnId>,
}

/// Receives each turn of a thread, with its items, as soon as the scan has it.
pub trait TurnSink {
    /// Takes a turn. `turn_index` is how many turns are before it.
    fn take_turn(&mut self, turn_index: u64, turn: &ProjectedTurn);

    /// Drops all turns of the current thread, because the scan starts again from its first line.
    fn restart_thread(&mut self);
}

/// Takes the lines of a thread in their order, and makes rows of its turns.
///
/// The projection of the history makes the turns; this adds where they are in the segments. For that it keeps the location of each
/// line from `first` on, so that a position in the history can be looked up by index.
#[derive(Debug)]
pub struct TurnIndexer {
    projection: TurnProjection,
    /// Whether closed turns are drained while the thread is read, to bound memory.
    drains: bool,
    /// Whether the lines begin at a resume point.
    is_resumed: bool,
    first_turn: u64,
    /// Position in the history of the first of `lines`.
    first: u64,
    lines: Vec<LineLocation>,
    /// Position and location of the lead-in line of the resume point, which is before `first`.
    lead_in: Option<(u64, LineLocation)>,
    /// Position in the history of the next line.
    next: u64,
    /// Position of the first line at which the thread is known to be paginated.
    paginated_from: Option<u64>,
    bytes_since_drain: u64,
    turns: Vec<TurnRow>,
    /// The turns that were drained. A line that refers to one of them comes too late.
    drained: HashSet<TurnId>,
    /// Positions, in ascending order, of lines that share their physical line in the segment with another line or with damage.
    /// A reader that starts there would also read that other line.
    shared: Vec<u64>,
    last_range: LastRange,
    /// Whether the last line has no newline.
    is_torn: bool,
}

/// The physical line that was read last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LastRange {
    part: usize,
    number: u64,
    /// Whether it ended in a line of the history, and not in damage.
    is_line: bool,
}

/// The bytes of a line.
#[derive(Clone, Copy, Debug)]
struct LineLocation {
    part: usize,
    start: u64,
    end: u64,
}

impl TurnIndexer {
    /// Creates an indexer for a whole history. `drains` bounds memory, but results in wrong rows if a late line changes a turn that
    /// was drained ([`TurnRows::affects_earlier_turns`]).
    #[must_use]
    pub fn whole(drains: bool) -> Self {
        Self::new(TurnProjection::new(), drains, 0)
    }

    /// Creates an indexer for the lines from a resume point on, which is in part `part`.
    #[must_use]
    pub fn resume(point: &TurnResumePoint, part: usize) -> Self {
        let lead_in = point.lead_in.map(|position| {
            let start = point.lead_in_byte;
            (position, LineLocation { part, start, end: start })
        });
        Self {
            is_resumed: true,
            first_turn: point.turns,
            lead_in,
            ..Self::new(TurnProjection::resume(point.restart()), false, point.position)
        }
    }

    fn new(projection: TurnProjection, drains: bool, first: u64) -> Self {
        Self {
            projection,
            drains,
            is_resumed: false,
            first_turn: 0,
            first,
            lines: Vec::new(),
            lead_in: None,
            next: first,
            paginated_from: None,
            bytes_since_drain: 0,
            turns: Vec::new(),
            drained: HashSet::new(),
            shared: Vec::new(),
            last_range: LastRange { part: 0, number: 0, is_line: false },
            is_torn: false,
        }
    }

    /// Takes the next line.
    pub fn push_line(&mut self, part: usize, record: &LineRecord, sink: &mut impl TurnSink) {
        if (self.last_range.part, self.last_range.number) == (part, record.number) {
            // Two records in one physical line: this one is shared, and so is the one before it if that was a line.
            self.shared.extend(self.last_range.is_line.then(|| self.next - 1));
            self.shared.push(self.next);
        }
        self.last_range = LastRange { part, number: record.number, is_line: true };
        let len = record.range.end - record.range.start;
        // A line with a newline is longer than its text.
        self.is_torn = len <= record.line.text().len() as u64;
        self.lines.push(LineLocation { part, start: record.range.start, end: record.range.end });
        self.projection.push(self.next, &record.line);
        // Items that begin at this line or later are read in paginated mode.
        if self.paginated_from.is_none() && self.projection.mode() == HistoryMode::Paginated {
            self.paginated_from = Some(self.next);
        }
        self.next += 1;
        self.bytes_since_drain += len;
        if self.drains && self.bytes_since_drain > DRAIN_BYTES {
            self.drain(sink);
        }
    }

    /// Takes a damaged range, which begins in the physical line `number`.
    pub fn push_damage(&mut self, part: usize, number: u64) {
        if self.last_range == (LastRange { part, number, is_line: true }) {
            self.shared.push(self.next - 1);
        }
        self.last_range = LastRange { part, number, is_line: false };
    }

    fn drain(&mut self, sink: &mut impl TurnSink) {
        self.bytes_since_drain = 0;
        for turn in self.projection.drain_closed() {
            self.drained.insert(turn.turn.id.clone());
            self.add_turn(&turn, sink);
        }
    }

    /// Returns the rows. `end` is the end, exclusive, of the last line of the last part that has its newline.
    #[must_use]
    pub fn finish(mut self, last_part: usize, end: u64, sink: &mut impl TurnSink) -> TurnRows {
        // Both are known only now: any line, also the last one, can refer to an earlier turn.
        let unresolved = self.projection.unresolved_turn_ids();
        let affects_earlier_turns =
            self.projection.affects_earlier_turns() || unresolved.iter().any(|id| self.drained.contains(id));
        let unresolved_turn_ids = if self.is_resumed { unresolved.iter().cloned().collect() } else { Vec::new() };
        // Before the projection is finished, which closes the last turn.
        let resume_point = self.projection.restart().and_then(|restart| self.resume_point(&restart, last_part, end));
        for turn in std::mem::take(&mut self.projection).finish_projected() {
            self.add_turn(&turn, sink);
        }
        if let Some(last) = self.turns.last_mut() {
            last.is_last = true;
        }
        TurnRows {
            first_turn: self.first_turn,
            turns: self.turns,
            resume_point,
            affects_earlier_turns,
            unresolved_turn_ids,
        }
    }

    /// Returns the resume point, if a reader can start there: all its lines are in the last part, which is the only segment that
    /// grows, and each begins its physical line. After a torn line there is none, because that line is read again when it is
    /// complete.
    fn resume_point(&self, restart: &TurnRestart, last_part: usize, end: u64) -> Option<TurnResumePoint> {
        let byte = |position: u64| {
            let line = self.locate(position)?;
            (line.part == last_part && self.shared.binary_search(&position).is_err()).then_some(line.start)
        };
        if self.is_torn {
            return None;
        }
        let start = if restart.position == self.next { end } else { byte(restart.position)? };
        let lead_in_byte = restart.lead_in.map_or(Some(0), byte)?;
        Some(TurnResumePoint {
            position: restart.position,
            turns: restart.turns,
            next_item: restart.next_item,
            paginated: restart.mode == HistoryMode::Paginated,
            lead_in: restart.lead_in,
            byte: start,
            lead_in_byte,
        })
    }

    fn locate(&self, position: u64) -> Option<LineLocation> {
        match position.checked_sub(self.first) {
            Some(index) => self.lines.get(usize::try_from(index).ok()?).copied(),
            // Only the lead-in can be before the first line.
            None => self.lead_in.filter(|(lead_in, _)| *lead_in == position).map(|(_, line)| line),
        }
    }

    fn add_turn(&mut self, turn: &ProjectedTurn, sink: &mut impl TurnSink) {
        let lines = &turn.turn.lines;
        let ends = self.locate(lines.start).zip(self.locate(lines.end.saturating_sub(1)));
        // Every turn contains the line that began it, so that both ends exist.
        let Some((first, last)) = ends else { return };
        let turn_index = turn.restart.turns;
        sink.take_turn(turn_index, turn);
        let number = |item: &TurnItem| ItemNumber::of(&item.id, turn_index);
        let items = turn.item_lines.iter().zip(&turn.turn.items);
        let items =
            items.map(|(item_lines, item)| self.item_row(lines.start, first, item_lines, number(item))).collect();
        // `shared` is sorted, so that only the first shared line from the start of the turn on has to be checked.
        let next_shared = self.shared.get(self.shared.partition_point(|position| *position < lines.start));
        let has_no_shared_line = next_shared.is_none_or(|position| *position >= lines.end);
        self.turns.push(TurnRow {
            turn_index,
            id: turn.turn.id.clone(),
            lines: lines.clone(),
            next_item: turn.restart.next_item,
            paginated: turn.restart.mode == HistoryMode::Paginated,
            start: BytePosition { part: first.part, byte: first.start },
            end: BytePosition { part: last.part, byte: last.end },
            is_self_contained: turn.is_self_contained && has_no_shared_line,
            items,
            is_last: false,
        });
    }

    /// Returns the row of an item with these lines, of a turn that begins with the line `turn`.
    fn item_row(&self, turn_start: u64, turn: LineLocation, lines: &Range<u64>, number: ItemNumber) -> ItemRow {
        let line = lines.start - turn_start;
        let first = self.locate(lines.start);
        // An item without lines of its own can be read only with its turn.
        let last = if lines.is_empty() { None } else { self.locate(lines.end - 1) };
        let from = match (first, last) {
            (Some(first), Some(last)) if first.part == turn.part && last.part == turn.part => ItemBytes::Own {
                offset: first.start - turn.start,
                len: last.end - first.start,
                paginated: self.paginated_from.is_some_and(|from| from <= lines.start),
            },
            // It is read with its turn, which numbers its items.
            _ => return ItemRow { line, from: ItemBytes::Turn, number: ItemNumber::None },
        };
        ItemRow { line, from, number }
    }
}
