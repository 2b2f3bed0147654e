//! Pages of turns and items by the rows of turns, without the lines of other turns.
//!
//! Lines that came after the rows were written are projected at each read, so the answers are exact:
//!
//! ```text
//!   rows:             0 … first-1 │ first …      (replaced if lines came since)
//!   newer turns:                  │ first … last
//! ```
//!
//! Where the rows do not suffice, the whole history is loaded: there are none yet, they are of another version or of other segments, a
//! turn depends on lines that are not its own, or the new lines change earlier turns.

use std::collections::HashMap;
use std::ops::Range;

use selvedge_history::turn_index::{BytePosition, TurnReading, TurnRow};
use selvedge_history::{TurnProjection, UnknownTurn, apply_view, only_compacts};
use selvedge_protocol::log::{RawContent, RawReader};
use selvedge_protocol::{
    ItemPosition, ItemQuery, Page, PageWindow, SortDirection, Turn, TurnId, TurnItemEntry, TurnQuery, TurnSelector,
    check_limit,
};
use selvedge_thread_store::implement::{LineSource, behind_line_before};
use selvedge_thread_store::{Result, StoreError};

use crate::stored_lines::StoredLines;
use crate::turn_table::StoredProjection;

/// How many bytes after the rows are projected at a read. With more, the whole history is loaded, and the rows are written again.
const MAX_NEW_BYTES: u64 = 16 << 20;

/// How many bytes of consecutive turns are loaded at once.
const MAX_LOADED_BYTES: u64 = 4 << 20;

/// How many turns a page of items, or a search for a boundary, looks at, at a time.
const TURNS: usize = 64;

/// The turns of a thread: rows, and what came since.
pub(crate) struct ThreadTurns<'a> {
    lines: &'a StoredLines,
    /// How many turns are taken from rows.
    first_new: u64,
    new: Vec<Turn>,
    /// Where each line from the one on with which the newer turns begin is, and the position of the first one.
    new_lines: (u64, Vec<u64>),
    /// Whether the thread may have heads that are not the first line of their segments.
    may_have_later_heads: bool,
}

impl<'a> ThreadTurns<'a> {
    /// Loads what is known of the turns. If that does not suffice, the whole history is needed, which is an error here.
    pub(crate) fn load(lines: &'a StoredLines) -> Result<Self> {
        let thread_id = lines.thread_id();
        let projection = lines.ask(async |host, connection| host.projection(connection, thread_id).await)?;
        let projection = projection.filter(|projection| projection.is_of(lines.chain()));
        let Some(projection) = projection else { return Err(lines.need_all()) };
        let (new, new_lines) = (Vec::new(), (0, Vec::new()));
        let may_have_later_heads = projection.has_later_heads;
        let mut turns = Self { lines, first_new: projection.turns, new, new_lines, may_have_later_heads };
        if projection.projected_to < lines.chain().end() {
            turns.project_new(&projection)?;
        }
        Ok(turns)
    }

    /// Projects the lines from the resume point on.
    fn project_new(&mut self, projection: &StoredProjection) -> Result<()> {
        let is_short = |byte: u64| self.lines.chain().end().saturating_sub(byte) <= MAX_NEW_BYTES;
        let Some(point) = projection.resume_point.filter(|point| is_short(point.byte)) else {
            return Err(self.lines.need_all());
        };
        let mut turns = TurnProjection::resume(point.restart()).live(self.lines.is_live());
        let last_part = self.lines.parts().len() - 1;
        let mut starts = Vec::new();
        for entry in self.lines.entries(last_part, point.byte, None)? {
            let entry = entry?;
            self.may_have_later_heads |= self.lines.is_later_head(last_part, &entry);
            if let RawContent::Line(line) = &entry.content {
                turns.push(point.position + starts.len() as u64, line);
                starts.push(entry.range.start);
            }
        }
        if turns.affects_earlier_turns() {
            return Err(self.lines.need_all());
        }
        let ids: Vec<TurnId> = turns.unresolved_turn_ids().iter().cloned().collect();
        self.first_new = point.turns;
        if !ids.is_empty() && !self.stored_with_ids(&ids.iter().collect::<Vec<_>>())?.is_empty() {
            return Err(self.lines.need_all());
        }
        (self.new, self.new_lines) = (turns.finish(), (point.position, starts));
        Ok(())
    }

    /// Returns the indexes of the turns of rows with one of these ids.
    fn stored_with_ids(&self, ids: &[&TurnId]) -> Result<Vec<u64>> {
        let thread_id = self.lines.thread_id();
        self.lines.ask(async |host, connection| host.turns_with_ids(connection, thread_id, ids, self.first_new).await)
    }

    /// Returns whether the thread may have heads that are not the first line of their segments.
    pub(crate) const fn may_have_later_heads(&self) -> bool {
        self.may_have_later_heads
    }

    /// Returns how many turns the thread has.
    pub(crate) fn count(&self) -> u64 {
        self.first_new + self.new.len() as u64
    }

    /// Returns the turns that are in no row, with their indexes.
    pub(crate) fn newer(&self) -> impl DoubleEndedIterator<Item = (u64, &Turn)> {
        self.new.iter().enumerate().map(|(index, turn)| (self.first_new + index as u64, turn))
    }

    /// Returns how many turns are in rows.
    pub(crate) const fn first_new(&self) -> u64 {
        self.first_new
    }

    /// Returns the turns that a selector chooses.
    fn choose(&self, selector: Option<&TurnSelector>) -> Result<ChosenTurns> {
        let Some(selector) = selector else { return Ok(ChosenTurns::All(self.count())) };
        let chosen = match selector {
            TurnSelector::Id(id) => {
                let newer = self.newer().filter(|(_, turn)| turn.id == *id).map(|(index, _)| index);
                let mut indexes = self.stored_with_ids(&[id])?;
                indexes.extend(newer);
                indexes
            }
            _ => selector.turn_index(self.count()).into_iter().collect(),
        };
        if chosen.is_empty() {
            return Err(StoreError::TurnNotFound { thread_id: self.lines.thread_id(), turn: selector.clone() });
        }
        Ok(ChosenTurns::Some(chosen))
    }

    /// Loads the rows of turns, which come in ascending order.
    fn rows(&self, indexes: &[u64]) -> Result<Vec<TurnRow>> {
        let thread_id = self.lines.thread_id();
        // The last turn of the rows is the last one of the thread if nothing came since.
        let turns = if self.new.is_empty() { self.first_new } else { 0 };
        let rows =
            self.lines.ask(async |host, connection| host.turn_rows(connection, thread_id, indexes, turns).await)?;
        // Only a damaged table lacks some.
        if rows.len() == indexes.len() { Ok(rows) } else { Err(self.lines.need_all()) }
    }

    /// Loads the rows of those of these turns that are in rows, in ascending order.
    fn rows_among(&self, indexes: &[u64]) -> Result<Vec<TurnRow>> {
        let mut stored: Vec<u64> = indexes.iter().copied().filter(|index| *index < self.first_new).collect();
        stored.sort_unstable();
        self.rows(&stored)
    }

    /// Returns turns with these indexes, which come in any order.
    pub(crate) fn read(&self, indexes: &[u64]) -> Result<Vec<Turn>> {
        let rows = self.rows_among(indexes)?;
        let mut loaded = LoadedBytes::default();
        let mut found = HashMap::with_capacity(rows.len());
        for (number, row) in rows.iter().enumerate() {
            found.insert(row.turn_index, self.read_row(row, &rows[number..], &mut loaded)?);
        }
        let turn = |index: &u64| found.remove(index).or_else(|| self.newer_turn(*index).cloned());
        indexes.iter().map(turn).collect::<Option<_>>().ok_or_else(|| self.lines.need_all())
    }

    /// Returns a turn that is in no row.
    fn newer_turn(&self, index: u64) -> Option<&Turn> {
        self.new.get(usize::try_from(index.checked_sub(self.first_new)?).ok()?)
    }

    /// Returns how many items turns have.
    fn item_counts(&self, indexes: &[u64]) -> Result<Vec<u64>> {
        let rows = self.rows_among(indexes)?;
        let count = |index: &u64| match rows.binary_search_by_key(index, |row| row.turn_index) {
            Ok(at) => rows[at].items.len(),
            Err(_) => self.newer_turn(*index).map_or(0, |turn| turn.items.len()),
        };
        Ok(indexes.iter().map(|index| count(index) as u64).collect())
    }

    /// Reads a turn from its lines. `following` are the rows from this one on, whose lines are loaded with it if they are near.
    fn read_row(&self, row: &TurnRow, following: &[TurnRow], loaded: &mut LoadedBytes) -> Result<Turn> {
        let Some(mut reading) = TurnReading::new(row, self.lines.is_live()) else { return Err(self.lines.need_all()) };
        if row.start.part == row.end.part {
            let range = row.start.byte..row.end.byte;
            if !loaded.holds(row.start.part, &range) {
                let near = following.iter().take_while(|near| {
                    near.start.part == row.start.part
                        && near.end.part == row.start.part
                        && near.end.byte.saturating_sub(range.start) <= MAX_LOADED_BYTES
                });
                let end = near.map(|near| near.end.byte).max().unwrap_or(range.end).max(range.end);
                loaded.bytes = self.lines.bytes(row.start.part, range.start..end)?;
                (loaded.part, loaded.start) = (row.start.part, range.start);
            }
            push_lines(&mut reading, loaded.slice(&range), range.start);
        } else {
            for part in row.start.part..=row.end.part.min(self.lines.parts().len() - 1) {
                let from = if part == row.start.part { row.start.byte } else { 0 };
                let to = if part == row.end.part { row.end.byte } else { self.lines.prefix(part)?.end };
                push_lines(&mut reading, &self.lines.bytes(part, from..to)?, from);
            }
        }
        // A line fewer or more means that the bytes were damaged since, and then other turns may have changed, too.
        let is_whole = reading.lines() == row.lines.end - row.lines.start;
        reading.finish().filter(|_| is_whole).ok_or_else(|| self.lines.need_all())
    }

    /// Returns the index of the newest turn with an id: several can have the same.
    pub(crate) fn newest_with_id(&self, turn_id: &TurnId) -> Result<u64> {
        let newer = self.newer().rfind(|(_, turn)| turn.id == *turn_id).map(|(index, _)| index);
        let index = match newer {
            Some(index) => Some(index),
            None => self.stored_with_ids(&[turn_id])?.pop(),
        };
        Ok(index.ok_or_else(|| UnknownTurn { thread_id: self.lines.thread_id(), turn_id: turn_id.clone() })?)
    }

    /// Returns how many turns there are before the newest `count` of them, as
    /// [`turns_before_newest`](selvedge_history::turns_before_newest) does for turns in memory.
    pub(crate) fn before_newest(&self, count: u64) -> Result<u64> {
        let (mut first, mut missing, mut end) = (self.count(), count, self.count());
        while missing > 0 && end > 0 {
            let start = end.saturating_sub(missing.min(TURNS as u64));
            let indexes: Vec<u64> = (start..end).collect();
            let turns = self.read(&indexes)?;
            for (index, turn) in indexes.into_iter().zip(turns).rev() {
                if !only_compacts(&turn) {
                    (first, missing) = (index, missing - 1);
                }
            }
            end = start;
        }
        Ok(first)
    }

    /// Returns where a turn begins.
    pub(crate) fn start(&self, index: u64) -> Result<BytePosition> {
        match self.newer_turn(index) {
            Some(turn) => self.new_line(turn.lines.start),
            None => Ok(self.rows(&[index])?.remove(0).start),
        }
    }

    /// Returns where the last line of a turn ends, or where the line after it begins: only blanks and damage can be between.
    pub(crate) fn end(&self, index: u64) -> Result<BytePosition> {
        match self.newer_turn(index) {
            Some(turn) => self.new_line(turn.lines.end),
            None => Ok(self.rows(&[index])?.remove(0).end),
        }
    }

    /// Returns where the history ends.
    pub(crate) fn history_end(&self) -> BytePosition {
        BytePosition { part: self.lines.parts().len() - 1, byte: self.lines.chain().end() }
    }

    /// Returns where one of the lines begins that came since, by its position in the history. The position after the last one is the end.
    fn new_line(&self, position: u64) -> Result<BytePosition> {
        let (first, starts) = &self.new_lines;
        let line = position.checked_sub(*first).and_then(|line| usize::try_from(line).ok());
        let end = self.history_end();
        match line {
            Some(line) if line == starts.len() => Ok(end),
            line => {
                let byte = line.and_then(|line| starts.get(line)).ok_or_else(|| self.lines.need_all())?;
                Ok(BytePosition { byte: *byte, ..end })
            }
        }
    }

    /// Returns the part in which a turn begins, and the byte behind the line before it.
    pub(crate) fn start_of(&self, turn_id: &TurnId) -> Result<(usize, u64)> {
        let BytePosition { part, byte } = self.start(self.newest_with_id(turn_id)?)?;
        behind_line_before(self.lines, part, byte)
    }
}

/// Adds the lines of these bytes, which begin at a byte of their segment.
fn push_lines(reading: &mut TurnReading<'_>, bytes: &[u8], from: u64) {
    // A slice can always be read.
    for entry in RawReader::new(bytes, from).map_while(std::io::Result::ok) {
        if let RawContent::Line(line) = &entry.content {
            reading.push(line);
        }
    }
}

/// Bytes of a segment that were loaded for several turns.
#[derive(Default)]
struct LoadedBytes {
    part: usize,
    start: u64,
    bytes: Vec<u8>,
}

impl LoadedBytes {
    fn holds(&self, part: usize, range: &Range<u64>) -> bool {
        part == self.part && range.start >= self.start && range.end <= self.start + self.bytes.len() as u64
    }

    fn slice(&self, range: &Range<u64>) -> &[u8] {
        let index = |at: u64| usize::try_from(at - self.start).unwrap_or(usize::MAX).min(self.bytes.len());
        &self.bytes[index(range.start)..index(range.end)]
    }
}

/// The turns that a query asks for, by their indexes.
enum ChosenTurns {
    /// All: as many as the thread has.
    All(u64),
    /// These, in ascending order.
    Some(Vec<u64>),
}

impl ChosenTurns {
    /// Returns the first indexes of a window, `limit` at most.
    fn first_of(&self, window: &PageWindow, limit: usize) -> Vec<u64> {
        match self {
            Self::All(count) => {
                let size = u64::try_from(limit).unwrap_or(u64::MAX);
                let range = match window.direction {
                    SortDirection::Ascending => {
                        let first = window.bound.unwrap_or(0).min(*count);
                        first..first.saturating_add(size).min(*count)
                    }
                    SortDirection::Descending => {
                        let end = window.bound.unwrap_or(u64::MAX).min(*count);
                        end.saturating_sub(size)..end
                    }
                };
                window.in_order(range)
            }
            Self::Some(chosen) => {
                let chosen = chosen.iter().copied().filter(|index| window.holds(*index));
                let mut chosen = window.in_order(chosen);
                chosen.truncate(limit);
                chosen
            }
        }
    }
}

/// Returns a page of turns, as [`page_turns`](selvedge_thread_store::implement::page_turns) does.
pub(crate) fn turn_page(lines: &StoredLines, query: &TurnQuery) -> Result<Page<Turn>> {
    let turns = ThreadTurns::load(lines)?;
    let choice = turns.choose(query.turn.as_ref())?;
    check_limit(query.limit)?;
    let window = PageWindow::new(query.direction, query.cursor.as_ref())?;
    let indexes = choice.first_of(&window, query.limit.saturating_add(1));
    let Page { items, next_cursor } = Page::first_of(indexes, query.limit, |last| window.cursor_after(*last));
    let mut items = turns.read(&items)?;
    items.iter_mut().for_each(|turn| apply_view(turn, query.items_view));
    Ok(Page { items, next_cursor })
}

/// Returns a page of items, as [`page_items`](selvedge_thread_store::implement::page_items) does.
pub(crate) fn item_page(lines: &StoredLines, query: &ItemQuery) -> Result<Page<TurnItemEntry>> {
    let turns = ThreadTurns::load(lines)?;
    let choice = turns.choose(query.turn.as_ref())?;
    check_limit(query.limit)?;
    let window = PageWindow::new(query.direction, query.cursor.as_ref())?;
    let mut turn_window = window.to_turn_window();
    let mut positions: Vec<u64> = Vec::new();
    // One item more than the page has, to know whether another page follows. Turns can be without items.
    while positions.len() <= query.limit {
        let indexes = choice.first_of(&turn_window, TURNS);
        let Some(last) = indexes.last() else { break };
        turn_window = turn_window.behind(*last);
        for (index, items) in indexes.iter().zip(turns.item_counts(&indexes)?) {
            let first = ItemPosition { turn: *index, item: 0 }.position();
            let of_turn = (first..first + items).filter(|position| window.holds(*position));
            positions.extend(window.in_order(of_turn));
        }
    }
    let Page { items: positions, next_cursor } =
        Page::first_of(positions, query.limit, |last| window.cursor_after(*last));
    let mut indexes: Vec<u64> = positions.iter().map(|position| ItemPosition::of(*position).turn).collect();
    indexes.dedup();
    let mut items = Vec::with_capacity(positions.len());
    let mut positions = positions.into_iter().peekable();
    for (index, turn) in indexes.iter().zip(turns.read(&indexes)?) {
        // An item can be large, so it is moved out of its turn.
        let mut of_turn: Vec<_> = turn.items.into_iter().map(Some).collect();
        while let Some(position) = positions.next_if(|position| ItemPosition::of(*position).turn == *index) {
            let item = usize::try_from(ItemPosition::of(position).item).ok().and_then(|item| of_turn.get_mut(item));
            let item = item.and_then(Option::take).ok_or_else(|| lines.need_all())?;
            let at = ItemPosition::of(position);
            let line = usize::try_from(at.item).ok().and_then(|item| turn.item_positions.get(item)).copied();
            let line = line.ok_or_else(|| lines.need_all())?;
            items.push(TurnItemEntry { turn_id: turn.id.clone(), item, position: at, line });
        }
    }
    Ok(Page { items, next_cursor })
}
