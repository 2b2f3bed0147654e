//! The rows of turns: where the lines of each turn and of its items are in the files of a thread.
//!
//! A row holds no content. Content is read from the log again, from the bytes that the row names.

use std::ops::Range;

use selvedge_history::TurnRestart;
use selvedge_protocol::{HistoryMode, TurnId};
use serde::{Deserialize, Serialize};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::error::Result;
use crate::sql::unsigned;
use crate::varint;

/// A position in the files of a thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BytePosition {
    /// Index of the part of the resolved history.
    pub(crate) part: usize,
    /// Byte offset in the file of that part, decompressed.
    pub(crate) byte: u64,
}

/// The position of an item within its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ItemRow {
    /// How many lines of the history are between the first line of the turn and the first line of the item.
    pub(crate) line: u64,
    pub(crate) from: ItemBytes,
}

/// The bytes from which an item can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ItemBytes {
    /// The item can be read from these bytes alone. They are in the part in which the turn begins.
    Own {
        /// Offset of the first byte from the start of the turn.
        offset: u64,
        /// Number of bytes.
        len: u64,
        /// Whether the thread is paginated at that position.
        paginated: bool,
    },
    /// The item can be read only with the whole turn.
    Turn,
}

/// A turn as the index knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TurnRow {
    /// How many turns are before this one. The column is named `place`.
    pub(crate) turn_index: u64,
    pub(crate) id: TurnId,
    /// Its lines, as positions in the history.
    pub(crate) lines: Range<u64>,
    /// Number of its first item that has no id in the log.
    pub(crate) next_item: u64,
    pub(crate) paginated: bool,
    /// The start of its first line.
    pub(crate) start: BytePosition,
    /// The end of its last line, exclusive.
    pub(crate) end: BytePosition,
    /// Whether the turn can be read from its lines alone.
    pub(crate) is_self_contained: bool,
    pub(crate) items: Vec<ItemRow>,
    /// Whether this is the last turn of the thread.
    pub(crate) is_last: bool,
}

impl TurnRow {
    /// Returns the point at which a projection of the turn starts.
    pub(crate) fn restart(&self) -> TurnRestart {
        TurnRestart {
            position: self.lines.start,
            turns: self.turn_index,
            next_item: self.next_item,
            mode: history_mode(self.paginated),
            lead_in: None,
        }
    }

    /// Packs the items into bytes, as a sequence of [variable-length integers](varint):
    ///
    /// ```text
    /// number of items
    /// for each item:
    ///   head            bit 0      1: read the whole turn, `offset` and `len` are absent
    ///                   bit 1      whether the thread is paginated there
    ///                   bits 2…    line
    ///   offset, len     only if bit 0 of the head is 0
    /// ```
    pub(crate) fn pack_items(&self) -> Vec<u8> {
        // An item takes 5 to 6 bytes: its line and offset are small, its length takes two or three.
        let mut bytes = Vec::with_capacity(1 + self.items.len() * 6);
        varint::put(&mut bytes, self.items.len() as u64);
        for item in &self.items {
            match item.from {
                ItemBytes::Own { offset, len, paginated } => {
                    varint::put(&mut bytes, item.line << 2 | u64::from(paginated) << 1);
                    varint::put(&mut bytes, offset);
                    varint::put(&mut bytes, len);
                }
                ItemBytes::Turn => varint::put(&mut bytes, item.line << 2 | 1),
            }
        }
        bytes
    }

    /// Unpacks the items of [`Self::pack_items`]. `None` for other bytes.
    pub(crate) fn unpack_items(mut bytes: &[u8]) -> Option<Vec<ItemRow>> {
        let count = varint::take(&mut bytes)?;
        // Without a capacity: a damaged count must not allocate memory.
        let mut items = Vec::new();
        for _ in 0..count {
            let head = varint::take(&mut bytes)?;
            let from = if head & 1 == 1 {
                ItemBytes::Turn
            } else {
                let (offset, len) = (varint::take(&mut bytes)?, varint::take(&mut bytes)?);
                ItemBytes::Own { offset, len, paginated: head & 2 == 2 }
            };
            items.push(ItemRow { line: head >> 2, from });
        }
        Some(items)
    }
}

/// The point in the newest file of a thread from which its turns can be updated incrementally. It is stored as JSON, in the
/// column `tail`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TurnResumePoint {
    /// Position in the history of the line at which reading resumes.
    pub(crate) position: u64,
    /// How many turns are before it.
    pub(crate) turns: u64,
    pub(crate) next_item: u64,
    pub(crate) paginated: bool,
    /// Position of the first of the messages that lead up to `position`, if there are any.
    pub(crate) lead_in: Option<u64>,
    /// Byte offset of the line at `position`.
    pub(crate) byte: u64,
    /// Byte offset of the line at `lead_in`.
    pub(crate) lead_in_byte: u64,
}

impl TurnResumePoint {
    pub(crate) fn restart(&self) -> TurnRestart {
        TurnRestart {
            position: self.position,
            turns: self.turns,
            next_item: self.next_item,
            mode: history_mode(self.paginated),
            lead_in: self.lead_in,
        }
    }
}

pub(crate) const fn history_mode(paginated: bool) -> HistoryMode {
    if paginated { HistoryMode::Paginated } else { HistoryMode::Legacy }
}

/// The columns of a [`TurnRow`], in the order in which [`read_turn_row`] reads them.
pub(crate) const TURN_COLUMNS: &str = "place, turn_id, first_line, end_line, start_part, start_byte, end_part, end_byte, \
    next_item, paginated, is_self_contained, items, \
    NOT EXISTS (SELECT 1 FROM turns AS later WHERE later.thread_id = turns.thread_id AND later.place = turns.place + 1)";

pub(crate) fn read_turn_row(row: &SqliteRow) -> Result<TurnRow> {
    let number = |column: usize| -> Result<u64> { Ok(unsigned(row.try_get(column)?)) };
    let position = |column: usize| -> Result<BytePosition> {
        let part = usize::try_from(number(column)?).unwrap_or(usize::MAX);
        Ok(BytePosition { part, byte: number(column + 1)? })
    };
    let items: &[u8] = row.try_get(11)?;
    Ok(TurnRow {
        turn_index: number(0)?,
        id: TurnId::from(row.try_get::<&str, _>(1)?),
        lines: number(2)?..number(3)?,
        start: position(4)?,
        end: position(6)?,
        next_item: number(8)?,
        paginated: row.try_get(9)?,
        is_self_contained: row.try_get(10)?,
        items: TurnRow::unpack_items(items).ok_or_else(|| sqlx::Error::Decode("items of a turn".into()))?,
        is_last: row.try_get(12)?,
    })
}
