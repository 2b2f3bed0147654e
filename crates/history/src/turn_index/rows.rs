//! The rows of turns: where the lines of each turn and of its items are in the segments of a thread.

use std::ops::Range;

use selvedge_protocol::{HistoryMode, TurnId};
use serde::{Deserialize, Serialize};

use crate::projected_turn::TurnRestart;
use crate::varint;

/// A position in the segments of a thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct BytePosition {
    /// Index of the segment among those that the history goes through, oldest first.
    pub part: usize,
    /// Byte offset in that segment.
    pub byte: u64,
}

/// The position of an item within its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ItemRow {
    /// How many lines of the history are between the first line of the turn and the first line of the item.
    pub line: u64,
    /// The bytes of the item.
    pub from: ItemBytes,
}

/// The bytes from which an item can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemBytes {
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

/// Where a turn is. It holds no content: that is read from the bytes that the row names ([`TurnReading`](super::TurnReading)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TurnRow {
    /// How many turns are before this one.
    pub turn_index: u64,
    /// Its id. Several turns of a thread can have the same.
    pub id: TurnId,
    /// Its lines, as positions in the history.
    pub lines: Range<u64>,
    /// Number of its first item that has no id in the log.
    pub next_item: u64,
    /// Whether the thread is paginated where the turn begins.
    pub paginated: bool,
    /// The start of its first line.
    pub start: BytePosition,
    /// The end of its last line, exclusive.
    pub end: BytePosition,
    /// Whether the turn can be read from its lines alone.
    pub is_self_contained: bool,
    /// Its items, in their order.
    pub items: Vec<ItemRow>,
    /// Whether this is the last turn of the thread.
    pub is_last: bool,
}

impl TurnRow {
    /// Returns the point at which a projection of the turn starts.
    #[must_use]
    pub fn restart(&self) -> TurnRestart {
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
    #[must_use]
    pub fn pack_items(&self) -> Vec<u8> {
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
    #[must_use]
    pub fn unpack_items(mut bytes: &[u8]) -> Option<Vec<ItemRow>> {
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

/// The point in the newest segment of a thread from which its turns can be updated incrementally.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnResumePoint {
    /// Position in the history of the line at which reading resumes.
    pub position: u64,
    /// How many turns are before it.
    pub turns: u64,
    /// Number of the next item that has no id in the log.
    pub next_item: u64,
    /// Whether the thread is paginated there.
    pub paginated: bool,
    /// Position of the first of the messages that lead up to `position`, if there are any.
    pub lead_in: Option<u64>,
    /// Byte offset of the line at `position`.
    pub byte: u64,
    /// Byte offset of the line at `lead_in`.
    pub lead_in_byte: u64,
}

impl TurnResumePoint {
    /// Returns the point at which a projection of the lines from here on starts.
    #[must_use]
    pub fn restart(&self) -> TurnRestart {
        TurnRestart {
            position: self.position,
            turns: self.turns,
            next_item: self.next_item,
            mode: history_mode(self.paginated),
            lead_in: self.lead_in,
        }
    }
}

/// Returns the history mode.
pub(super) const fn history_mode(paginated: bool) -> HistoryMode {
    if paginated { HistoryMode::Paginated } else { HistoryMode::Legacy }
}
