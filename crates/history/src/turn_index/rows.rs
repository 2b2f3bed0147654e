//! The rows of turns: where the lines of each turn and of its items are in the segments of a thread.

use std::ops::Range;

use selvedge_protocol::{HistoryMode, ItemId, TurnId};
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
    /// The number in its id.
    pub number: ItemNumber,
}

/// The number in the id of an item. An item to which the log gives no id gets a number, which depends on the items before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ItemNumber {
    /// The item has an id in the log.
    #[default]
    None,
    /// A number in the thread: `item-7`.
    InThread(u64),
    /// A number in its turn: `item-3-7`, where 3 is the number of the turn.
    InTurn(u64),
}

impl ItemNumber {
    /// Returns the number in the id of an item of the turn with this index.
    #[must_use]
    pub fn of(id: &ItemId, turn_index: u64) -> Self {
        // An id of the log can look the same. That does no harm: the id that is made of the number is that of the log.
        let Some(rest) = id.as_str().strip_prefix("item-") else { return Self::None };
        let (number, make): (&str, fn(u64) -> Self) = match rest.split_once('-') {
            Some((_, number)) => (number, Self::InTurn),
            None => (rest, Self::InThread),
        };
        let made = number.parse().ok().map(make);
        made.filter(|made| made.id(turn_index).as_ref() == Some(id)).unwrap_or_default()
    }

    /// Returns the id with this number. `None` if the id is in the log.
    #[must_use]
    pub fn id(self, turn_index: u64) -> Option<ItemId> {
        match self {
            Self::None => None,
            Self::InThread(number) => Some(format!("item-{number}").into()),
            Self::InTurn(number) => Some(format!("item-{}-{number}", turn_index + 1).into()),
        }
    }
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
    ///   head            bit 0      1: read the whole turn, `number`, `offset` and `len` are absent
    ///                   bit 1      whether the thread is paginated there
    ///                   bits 2, 3  the kind of the number: 0 none, 1 in the thread, 2 in the turn
    ///                   bits 4…    line
    ///   number          only if it has a kind
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
                    let (kind, number) = match item.number {
                        ItemNumber::None => (0, None),
                        ItemNumber::InThread(number) => (1, Some(number)),
                        ItemNumber::InTurn(number) => (2, Some(number)),
                    };
                    varint::put(&mut bytes, item.line << 4 | kind << 2 | u64::from(paginated) << 1);
                    number.into_iter().for_each(|number| varint::put(&mut bytes, number));
                    varint::put(&mut bytes, offset);
                    varint::put(&mut bytes, len);
                }
                ItemBytes::Turn => varint::put(&mut bytes, item.line << 4 | 1),
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
            let (line, mut number) = (head >> 4, ItemNumber::None);
            let from = if head & 1 == 1 {
                ItemBytes::Turn
            } else {
                match head >> 2 & 3 {
                    0 => {}
                    1 => number = ItemNumber::InThread(varint::take(&mut bytes)?),
                    _ => number = ItemNumber::InTurn(varint::take(&mut bytes)?),
                }
                let (offset, len) = (varint::take(&mut bytes)?, varint::take(&mut bytes)?);
                ItemBytes::Own { offset, len, paginated: head & 2 == 2 }
            };
            items.push(ItemRow { line, from, number });
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

#[cfg(test)]
mod tests {
    use selvedge_protocol::TurnId;

    use super::{BytePosition, ItemBytes, ItemNumber, ItemRow, TurnRow};

    #[test]
    fn items_are_unpacked_as_they_were_packed() {
        let own = |offset| ItemBytes::Own { offset, len: 300, paginated: offset > 0 };
        let numbers = [ItemNumber::None, ItemNumber::InThread(4_000), ItemNumber::InTurn(7)];
        let mut items: Vec<ItemRow> =
            (0..).zip(numbers).map(|(line, number)| ItemRow { line, from: own(line * 1_000), number }).collect();
        items.push(ItemRow { line: 90_000, from: ItemBytes::Turn, number: ItemNumber::None });
        let row = TurnRow {
            turn_index: 2,
            id: TurnId::from("a"),
            lines: 0..1,
            next_item: 1,
            paginated: true,
            start: BytePosition::default(),
            end: BytePosition::default(),
            is_self_contained: true,
            items,
            is_last: true,
        };
        assert_eq!(TurnRow::unpack_items(&row.pack_items()), Some(row.items));
    }

    #[test]
    fn an_id_is_made_of_its_number_again() {
        for (id, number) in [
            ("item-7", ItemNumber::InThread(7)),
            ("item-3-12", ItemNumber::InTurn(12)),
            ("item-4-12", ItemNumber::None),
            ("item-07", ItemNumber::None),
            ("call_1", ItemNumber::None),
        ] {
            assert_eq!(ItemNumber::of(&id.into(), 2), number, "{id}");
            assert!(number.id(2).is_none_or(|made| made.as_str() == id));
        }
    }
}
