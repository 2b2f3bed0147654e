//! Makes rows of turns from the lines of a thread.

use std::collections::HashSet;
use std::ops::Range;

use selvedge_protocol::log::LineRecord;
use selvedge_protocol::{HistoryMode, Turn, TurnId, TurnItem};

use super::rows::{BytePosition, ItemBytes, ItemNumber, ItemRow, TurnResumePoint, TurnRow};
use crate::projected_turn::{ProjectedTurn, TurnRestart};
use crate::turns::{KeptItems, TurnProjection};

/// The rows of a thread's turns: of all of them, or of those from a resume point on.
#[derive(Clone, Debug)]
pub struct TurnRows {
    /// How many turns are before these.
    pub first_turn: u64,
    /// How many of the first items of the first turn are unchanged since the rows that [`TurnIndexer::pause`] returned before. The sink
    /// has them already.
    pub first_item: u64,
    /// The rows, oldest first.
    pub turns: Vec<TurnRow>,
    /// Where the next scan can resume. `None` if it has to read the whole thread.
    pub resume_point: Option<TurnResumePoint>,
    /// Whether lines changed turns before these. The rows are wrong then, and the thread has to be read again from its beginning.
    pub affects_earlier_turns: bool,
    /// Whether lines changed turns or items that the sink had already. The rows are wrong then, and the same lines have to be read again by an
    /// indexer that keeps everything.
    pub changes_handed_items: bool,
    /// The ids of turns to which the lines refer and that are not among these rows. If there is such a turn before these, the lines may
    /// have changed it. Empty if the whole thread was read.
    pub unresolved_turn_ids: Vec<TurnId>,
}

/// Receives the items of a thread, in their order, as soon as the scan has them.
pub trait TurnSink {
    /// Takes items of a turn. `turn_index` is how many turns are before it, `first_item` how many of its items are before these.
    fn take_items(&mut self, turn_index: u64, first_item: u64, items: &[TurnItem]);

    /// Drops what it got since the scan of the current thread began, because that starts again.
    fn restart_thread(&mut self);
}

/// Takes the lines of a thread in their order, and makes rows of its turns.
///
/// The projection of the history makes the turns; this adds where they are in the segments. For that it keeps the location of each
/// line from `first` on, so that a position in the history can be looked up by index.
#[derive(Debug)]
pub struct TurnIndexer {
    projection: TurnProjection,
    /// What is kept while closed turns are drained and items released, to bound memory. `None`: everything.
    kept: Option<KeptSizes>,
    /// Whether the lines begin at a resume point.
    is_resumed: bool,
    first_turn: u64,
    /// How many items of the first turn were released before the last pause.
    first_item: u64,
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

/// How much of the end of an open turn a [`TurnIndexer`] keeps, because a line may still change it. The items before are handed to the
/// sink, and their texts are dropped.
#[derive(Clone, Copy, Debug)]
pub struct KeptSizes {
    /// The most items that are kept.
    pub items: usize,
    /// Only items in so many bytes of lines at the end are kept.
    pub bytes: u64,
    /// The most items that are kept because the first of them waits, for example for the output of its call.
    pub waiting_items: usize,
    /// The same limit for these items as `bytes`.
    pub waiting_bytes: u64,
    /// After how many bytes of lines closed turns and items are handed to the sink. This bounds the memory that a long thread takes.
    pub handed_after: u64,
}

impl Default for KeptSizes {
    /// 32 items in 1 MiB, or 512 in 4 MiB if the first of them waits; after each 4 MiB. An item and the event that shows the same are next to
    /// each other, and so are a call and its output, unless the call runs in the background.
    fn default() -> Self {
        Self { items: 32, bytes: 1 << 20, waiting_items: 512, waiting_bytes: 4 << 20, handed_after: 4 << 20 }
    }
}

/// The physical line that was read last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
    /// Creates an indexer for a whole history. `kept` bounds memory, but results in wrong rows if a late line changes a turn or an
    /// item that the sink has already ([`TurnRows::affects_earlier_turns`], [`TurnRows::changes_handed_items`]). With `None`, everything is
    /// kept until the end.
    #[must_use]
    pub fn whole(kept: Option<KeptSizes>) -> Self {
        Self::new(TurnProjection::new(), kept, 0)
    }

    /// Creates an indexer for the lines from a resume point on, which is in part `part`. `kept` is as for [`Self::whole`].
    #[must_use]
    pub fn resume(point: &TurnResumePoint, part: usize, kept: Option<KeptSizes>) -> Self {
        let lead_in = point.lead_in.map(|position| {
            let start = point.lead_in_byte;
            (position, LineLocation { part, start, end: start })
        });
        Self {
            is_resumed: true,
            first_turn: point.turns,
            lead_in,
            ..Self::new(TurnProjection::resume(point.restart()), kept, point.position)
        }
    }

    fn new(projection: TurnProjection, kept: Option<KeptSizes>, first: u64) -> Self {
        Self {
            projection,
            kept,
            is_resumed: false,
            first_turn: 0,
            first_item: 0,
            first,
            lines: Vec::new(),
            lead_in: None,
            next: first,
            paginated_from: None,
            bytes_since_drain: 0,
            turns: Vec::new(),
            drained: HashSet::new(),
            shared: Vec::new(),
            last_range: LastRange::default(),
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
        if self.kept.is_some_and(|kept| self.bytes_since_drain > kept.handed_after) {
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
        let closed = if self.is_resumed { Vec::new() } else { self.projection.drain_closed() };
        self.add_drained(closed, sink);
        self.drain_before_open(sink);
        self.release(sink);
    }

    /// Hands all turns before the open one to the sink, if that depends on none of them.
    fn drain_before_open(&mut self, sink: &mut impl TurnSink) {
        let closed = self.projection.drain_before_open();
        self.add_drained(closed, sink);
    }

    fn add_drained(&mut self, closed: Vec<ProjectedTurn>, sink: &mut impl TurnSink) {
        for turn in closed {
            self.drained.insert(turn.turn.id.clone());
            self.add_turn(&turn, sink);
        }
    }

    /// Hands all items of the open turn to the sink of which it is not expected that a line still changes them. The turns before are drained.
    fn release(&mut self, sink: &mut impl TurnSink) {
        let (Some(kept), Some(last)) = (self.kept, self.lines.last().copied()) else { return };
        let behind = |bytes: u64| {
            let first = (last.part, last.end.saturating_sub(bytes));
            self.first + self.lines.partition_point(|line| (line.part, line.start) < first) as u64
        };
        let KeptSizes { items, bytes, waiting_items, waiting_bytes, .. } = kept;
        let kept = KeptItems { items, from: behind(bytes), waiting_items, waiting_from: behind(waiting_bytes) };
        self.projection.release_items(&kept, |turn, first, items| sink.take_items(turn, first, items));
    }

    /// Returns the rows so far, as [`Self::finish`] does, and goes on with the lines to come. `None` if that is not possible: no turn is
    /// open, or it depends on others, or the last line is torn. The rows that it returns next, and those of [`Self::finish`] then, are of the
    /// turns from the open one on.
    pub fn pause(&mut self, last_part: usize, end: u64, sink: &mut impl TurnSink) -> Option<TurnRows> {
        let references = self.references();
        if references.affects_earlier_turns || references.changes_handed_items || !self.is_resumed {
            return None;
        }
        self.drain_before_open(sink);
        self.release(sink);
        let open = self.projection.independent_open_turn()?;
        let (restart, lines, released) = (open.first_line, open.lines, open.released_items);
        let resume_point = Some(self.resume_point(&open.restart, last_part, end)?);
        let row = self.row(open.turn, &lines, &restart, open.is_self_contained, open.item_lines.into_iter())?;
        sink.take_items(restart.turns, released as u64, open.turn.items.get(released..).unwrap_or_default());
        let mut turns = std::mem::take(&mut self.turns);
        turns.push(TurnRow { is_last: true, ..row });
        let rows = TurnRows { turns, resume_point, ..references };
        (self.first_turn, self.first_item) = (restart.turns, released as u64);
        // Lines before the turn are needed no more.
        let earlier = usize::try_from(lines.start.saturating_sub(self.first)).unwrap_or(0).min(self.lines.len());
        self.lines.drain(..earlier);
        self.first += earlier as u64;
        self.shared.retain(|position| *position >= self.first);
        // A reader of the lines to come counts them from 1 again.
        self.last_range = LastRange::default();
        // What everything was kept for is over.
        self.kept.get_or_insert_default();
        Some(rows)
    }

    /// Returns to what else the lines refer, with no rows.
    fn references(&self) -> TurnRows {
        let unresolved = self.projection.unresolved_turn_ids();
        TurnRows {
            first_turn: self.first_turn,
            first_item: self.first_item,
            turns: Vec::new(),
            resume_point: None,
            affects_earlier_turns: self.projection.affects_earlier_turns(),
            changes_handed_items: self.projection.have_released_items_changed()
                || unresolved.iter().any(|id| self.drained.contains(id)),
            unresolved_turn_ids: if self.is_resumed { unresolved.iter().cloned().collect() } else { Vec::new() },
        }
    }

    /// Returns the rows. `end` is the end, exclusive, of the last line of the last part that has its newline.
    #[must_use]
    pub fn finish(mut self, last_part: usize, end: u64, sink: &mut impl TurnSink) -> TurnRows {
        // Both are known only now: any line, also the last one, can refer to an earlier turn.
        let references = self.references();
        // Before the projection is finished, which closes the last turn.
        let resume_point = self.projection.restart().and_then(|restart| self.resume_point(&restart, last_part, end));
        for turn in std::mem::take(&mut self.projection).finish_projected() {
            self.add_turn(&turn, sink);
        }
        if let Some(last) = self.turns.last_mut() {
            last.is_last = true;
        }
        TurnRows { turns: self.turns, resume_point, ..references }
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
        let ProjectedTurn { turn, restart, is_self_contained, item_lines, released_items } = turn;
        let row = self.row(turn, &turn.lines, restart, *is_self_contained, item_lines.iter());
        // Every turn contains the line that began it, so that it has a row.
        let Some(row) = row else { return };
        sink.take_items(row.turn_index, *released_items as u64, turn.items.get(*released_items..).unwrap_or_default());
        self.turns.push(row);
    }

    /// Returns the row of a turn. `None` if its lines are not known.
    fn row<'a>(
        &self,
        turn: &Turn,
        lines: &Range<u64>,
        restart: &TurnRestart,
        is_self_contained: bool,
        item_lines: impl Iterator<Item = &'a Range<u64>>,
    ) -> Option<TurnRow> {
        let (first, last) = (self.locate(lines.start)?, self.locate(lines.end.saturating_sub(1))?);
        let turn_index = restart.turns;
        let number = |item: &TurnItem| ItemNumber::of(&item.id, turn_index);
        let items = item_lines.zip(&turn.items);
        let items =
            items.map(|(item_lines, item)| self.item_row(lines.start, first, item_lines, number(item))).collect();
        // `shared` is sorted, so that only the first shared line from the start of the turn on has to be checked.
        let next_shared = self.shared.get(self.shared.partition_point(|position| *position < lines.start));
        let has_no_shared_line = next_shared.is_none_or(|position| *position >= lines.end);
        Some(TurnRow {
            turn_index,
            id: turn.id.clone(),
            lines: lines.clone(),
            next_item: restart.next_item,
            paginated: restart.mode == HistoryMode::Paginated,
            start: BytePosition { part: first.part, byte: first.start },
            end: BytePosition { part: last.part, byte: last.end },
            is_self_contained: is_self_contained && has_no_shared_line,
            items,
            is_last: false,
        })
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
