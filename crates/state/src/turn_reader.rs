//! Reads turns and items from their bytes in the log.

use std::ops::Range;

use selvedge_history::{TurnProjection, TurnRestart, has_no_turn_state, is_never_shown};
use selvedge_protocol::log::Entry;
use selvedge_protocol::{HistoryMode, Turn, TurnItem};
use selvedge_rollout::RolloutReader;

use crate::error::Result;
use crate::indexed_file::IndexedPart;
use crate::limits::{MAX_STATE_TEXT, SHORTENED_TURN_BYTES};
use selvedge_history::turn_index::{BytePosition, ItemBytes, TurnReading, TurnRow};

/// Reads a turn from its lines. `None` if it cannot be read from them alone, or if the lines are not those that were indexed. Texts of
/// more than `max_text` bytes are shortened, so that memory does not depend on their length.
pub(crate) fn read_turn(
    parts: &[IndexedPart],
    row: &TurnRow,
    is_live: bool,
    max_text: Option<usize>,
) -> Result<Option<Turn>> {
    let Some(mut reading) = TurnReading::new(row, is_live) else { return Ok(None) };
    let max_text = max_text.map(|max_text| max_text.min(SHORTENED_TURN_BYTES / row.items.len().max(1)));
    for (part, range) in ranges(parts, row.start, row.end) {
        for entry in open(part, range, max_text)?.skipping(is_never_shown) {
            if let Entry::Line(record) = entry? {
                reading.push(&record.line);
            }
        }
    }
    Ok(reading.finish())
}

/// Reads a turn of which the caller needs no items. Their lines are passed over if an event begins the turn, so memory does not depend on
/// them. `None` as for [`read_turn`].
pub(crate) fn read_turn_state(parts: &[IndexedPart], row: &TurnRow, is_live: bool) -> Result<Option<Turn>> {
    let Some(mut reading) = TurnReading::without_items(row, is_live) else { return Ok(None) };
    for (part, range) in ranges(parts, row.start, row.end) {
        for entry in open(part, range, None)?.skipping(has_no_turn_state) {
            if let Entry::Line(record) = entry? {
                reading.push(&record.line);
            }
        }
    }
    if let Some(turn) = reading.finish() {
        return Ok(Some(turn));
    }
    // No event has begun the turn, so that its first line does.
    read_turn(parts, row, is_live, Some(MAX_STATE_TEXT))
}

fn open(part: &IndexedPart, range: Range<u64>, max_text: Option<usize>) -> Result<RolloutReader> {
    let reader = RolloutReader::open_range(&part.file.path, range)?;
    Ok(match max_text {
        Some(max_text) => reader.shortening(max_text),
        None => reader,
    })
}

/// Reads an item from its lines, or with its whole turn if need be. `None` if it cannot be read from them. Texts are shortened as by
/// [`read_turn`].
pub(crate) fn read_item(
    parts: &[IndexedPart],
    row: &TurnRow,
    item: u64,
    max_text: Option<usize>,
) -> Result<Option<TurnItem>> {
    let Ok(index) = usize::try_from(item) else { return Ok(None) };
    let Some(item) = row.items.get(index) else { return Ok(None) };
    let number = item.number;
    let (offset, len, paginated) = match item.from {
        ItemBytes::Own { offset, len, paginated } => (offset, len, paginated),
        ItemBytes::Turn => {
            let turn = read_turn(parts, row, false, max_text)?;
            return Ok(turn.and_then(|turn| turn.items.into_iter().nth(index)));
        }
    };
    let Some(part) = parts.get(row.start.part) else { return Ok(None) };
    let mut position = row.lines.start + item.line;
    let mode = if paginated { HistoryMode::Paginated } else { HistoryMode::Legacy };
    let restart = TurnRestart { position, mode, ..row.restart() };
    let mut turns = TurnProjection::at_item(row.id.clone(), restart);
    let start = row.start.byte + offset;
    for entry in open(part, start..start + len, max_text)? {
        if let Entry::Line(record) = entry? {
            turns.push(position, &record.line);
            position += 1;
        }
    }
    // Lines of other items may be in between. The requested item comes first.
    let first = turns.finish().into_iter().next();
    Ok(first.and_then(|turn| turn.items.into_iter().next()).map(|mut item| {
        // Alone, it does not know how many items before it have a number.
        item.id = number.id(row.turn_index).unwrap_or(item.id);
        item
    }))
}

/// Returns the byte ranges between two positions, one for each part: the end of the first part, whole parts, and the beginning
/// of the last one.
fn ranges(
    parts: &[IndexedPart],
    start: BytePosition,
    end: BytePosition,
) -> impl Iterator<Item = (&IndexedPart, Range<u64>)> {
    parts.iter().enumerate().take(end.part.saturating_add(1)).skip(start.part).map(move |(index, part)| {
        let from = if index == start.part { start.byte } else { 0 };
        let to = if index == end.part { end.byte } else { part.end };
        (part, from..to)
    })
}
