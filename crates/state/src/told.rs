//! Where the turns of a thread stand in its files.

use std::collections::HashSet;

use selvedge_history::{ProjectedTurn, TurnProjection, TurnRestart};
use selvedge_protocol::{HistoryMode, TurnId};
use selvedge_rollout::{DamagedRange, LineRecord};
use serde::{Deserialize, Serialize};

use crate::varint;

/// How many bytes of lines are read before the turns so far are put aside: what bounds memory.
const PIECE: u64 = 4 << 20;

/// A place in the files of a thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BytePlace {
    /// Which part of the resolved history.
    pub(crate) part: usize,
    /// Byte in its (decompressed) file.
    pub(crate) byte: u64,
}

/// Where an item stands within its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ItemRow {
    /// How many lines of the history stand between the first of the turn and the one that the item began with.
    pub(crate) line: u64,
    /// How it can be told.
    pub(crate) from: ItemBytes,
}

/// From which bytes an item can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ItemBytes {
    /// From these, in the part that the turn begins in.
    Own {
        /// How many bytes they begin behind the turn.
        offset: u64,
        /// How many they are.
        len: u64,
        /// Whether the thread is paginated there.
        paginated: bool,
    },
    /// From those of the whole turn.
    Turn,
}

/// A turn as the index knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TurnRow {
    /// How many turns stand before it.
    pub(crate) place: u64,
    pub(crate) id: TurnId,
    /// Its lines, as positions in the history.
    pub(crate) lines: std::ops::Range<u64>,
    pub(crate) next_item: u64,
    pub(crate) paginated: bool,
    /// Where its first line begins.
    pub(crate) start: BytePlace,
    /// Just past its last line.
    pub(crate) end: BytePlace,
    /// Whether its lines tell it.
    pub(crate) is_self_contained: bool,
    pub(crate) items: Vec<ItemRow>,
    /// Whether no turn stands behind it.
    pub(crate) is_last: bool,
}

impl TurnRow {
    /// Where a projection of the turn begins.
    pub(crate) fn restart(&self) -> TurnRestart {
        TurnRestart {
            position: self.lines.start,
            turns: self.place,
            next_item: self.next_item,
            mode: mode(self.paginated),
            lead_in: None,
        }
    }

    /// The items as bytes.
    pub(crate) fn pack_items(&self) -> Vec<u8> {
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

    /// The items of [`Self::pack_items`]; nothing for other bytes.
    pub(crate) fn unpack_items(mut bytes: &[u8]) -> Option<Vec<ItemRow>> {
        let count = varint::take(&mut bytes)?;
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

pub(crate) const fn mode(paginated: bool) -> HistoryMode {
    if paginated { HistoryMode::Paginated } else { HistoryMode::Legacy }
}

/// Where the turns of a thread can be told further when its log has grown. All places are in its newest file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tail {
    position: u64,
    /// How many turns stand before.
    pub(crate) turns: u64,
    next_item: u64,
    paginated: bool,
    lead_in: Option<u64>,
    /// Where the line at `position` begins.
    pub(crate) byte: u64,
    /// Where the one at `lead_in` does.
    lead_in_byte: u64,
}

impl Tail {
    pub(crate) fn restart(&self) -> TurnRestart {
        TurnRestart {
            position: self.position,
            turns: self.turns,
            next_item: self.next_item,
            mode: mode(self.paginated),
            lead_in: self.lead_in,
        }
    }
}

/// The turns of a thread, or of its tail, with their places.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    /// How many turns stand before these.
    pub(crate) first_turn: u64,
    pub(crate) turns: Vec<TurnRow>,
    /// Where to go on; nothing when the next reading has to be one of the whole thread.
    pub(crate) tail: Option<Tail>,
    /// Whether lines spoke of turns before these, so that they are not what the whole history tells.
    pub(crate) affects_earlier_turns: bool,
    /// Turns before these of which the lines spoke if there are such. Empty unless this is a tail.
    pub(crate) unresolved_turn_ids: Vec<TurnId>,
}

/// Who is told of each turn as it is when its thread was read so far.
pub(crate) trait TurnSink {
    /// A turn with its items, which has so many turns before it.
    fn take(&mut self, place: u64, told: &ProjectedTurn);

    /// What was taken of the thread so far was not right: its turns come again.
    fn restart_thread(&mut self);
}

/// Follows the lines of a thread and makes rows of its turns.
pub(crate) struct TurnIndexer {
    projection: TurnProjection,
    /// Whether turns are put aside while the thread is read.
    in_pieces: bool,
    is_tail: bool,
    first_turn: u64,
    /// Position of the first of `lines`.
    first: u64,
    lines: Vec<LinePlace>,
    /// Places of lead-ins that stand before the first line.
    earlier: Option<(u64, LinePlace)>,
    next: u64,
    /// Position of the first line of which is known that the thread is paginated.
    paginated_from: Option<u64>,
    /// Bytes since turns were put aside.
    unput: u64,
    turns: Vec<TurnRow>,
    put_aside: HashSet<TurnId>,
    /// Positions of lines that share their stretch of the file with others or with damage, in their order.
    unclean: Vec<u64>,
    /// The newest stretch: part, number, and whether it ended in a line.
    stretch: (usize, u64, bool),
    /// Whether the last line has no newline.
    is_unended: bool,
}

#[derive(Clone, Copy, Debug)]
struct LinePlace {
    part: usize,
    start: u64,
    end: u64,
}

impl TurnIndexer {
    /// For a whole history. `in_pieces` takes less memory, and some threads cannot be told so.
    pub(crate) fn whole(in_pieces: bool) -> Self {
        Self::new(TurnProjection::new(), in_pieces, 0)
    }

    /// For what stands behind `tail`, in part `part`.
    pub(crate) fn tail(tail: &Tail, part: usize) -> Self {
        let earlier = tail.lead_in.map(|position| {
            let start = tail.lead_in_byte;
            (position, LinePlace { part, start, end: start })
        });
        Self {
            is_tail: true,
            first_turn: tail.turns,
            earlier,
            ..Self::new(TurnProjection::resume(tail.restart()), false, tail.position)
        }
    }

    fn new(projection: TurnProjection, in_pieces: bool, first: u64) -> Self {
        Self {
            projection,
            in_pieces,
            is_tail: false,
            first_turn: 0,
            first,
            lines: Vec::new(),
            earlier: None,
            next: first,
            paginated_from: None,
            unput: 0,
            turns: Vec::new(),
            put_aside: HashSet::new(),
            unclean: Vec::new(),
            stretch: (0, 0, false),
            is_unended: false,
        }
    }

    /// Takes the next line.
    pub(crate) fn line(&mut self, part: usize, record: &LineRecord, sink: &mut impl TurnSink) {
        if (self.stretch.0, self.stretch.1) == (part, record.number) {
            // Both share the stretch: this one, and the one before if it was a line.
            self.unclean.extend(self.stretch.2.then(|| self.next - 1));
            self.unclean.push(self.next);
        }
        self.stretch = (part, record.number, true);
        let len = record.range.end - record.range.start;
        self.is_unended = len <= record.line.text().len() as u64;
        self.lines.push(LinePlace { part, start: record.range.start, end: record.range.end });
        self.projection.push(self.next, &record.line);
        if self.paginated_from.is_none() && self.projection.mode() == HistoryMode::Paginated {
            self.paginated_from = Some(self.next);
        }
        self.next += 1;
        self.unput += len;
        if self.in_pieces && self.unput > PIECE {
            self.unput = 0;
            for told in self.projection.drain_closed() {
                self.put_aside.insert(told.turn.id.clone());
                self.put(&told, sink);
            }
        }
    }

    /// Takes a stretch that is no line.
    pub(crate) fn damage(&mut self, part: usize, damage: &DamagedRange) {
        if (self.stretch.0, self.stretch.1, self.stretch.2) == (part, damage.number, true) {
            self.unclean.push(self.next - 1);
        }
        self.stretch = (part, damage.number, false);
    }

    /// The turns. `end` is just past the last line of the last part that has its newline.
    pub(crate) fn finish(mut self, last_part: usize, end: u64, sink: &mut impl TurnSink) -> Told {
        let named = self.projection.unresolved_turn_ids();
        let affects_earlier_turns =
            self.projection.affects_earlier_turns() || named.iter().any(|id| self.put_aside.contains(id));
        let unresolved_turn_ids = if self.is_tail { named.iter().cloned().collect() } else { Vec::new() };
        let tail = self.projection.restart().and_then(|restart| self.tail_at(&restart, last_part, end));
        for told in std::mem::take(&mut self.projection).finish_projected() {
            self.put(&told, sink);
        }
        if let Some(last) = self.turns.last_mut() {
            last.is_last = true;
        }
        Told { first_turn: self.first_turn, turns: self.turns, tail, affects_earlier_turns, unresolved_turn_ids }
    }

    /// Where the tail begins, if it is in the last part and at the beginning of a line.
    fn tail_at(&self, restart: &TurnRestart, last_part: usize, end: u64) -> Option<Tail> {
        let byte = |position: u64| {
            let place = self.place(position)?;
            (place.part == last_part && self.unclean.binary_search(&position).is_err()).then_some(place.start)
        };
        if self.is_unended {
            return None;
        }
        let at = if restart.position == self.next { end } else { byte(restart.position)? };
        let lead_in_byte = restart.lead_in.map_or(Some(0), byte)?;
        Some(Tail {
            position: restart.position,
            turns: restart.turns,
            next_item: restart.next_item,
            paginated: restart.mode == HistoryMode::Paginated,
            lead_in: restart.lead_in,
            byte: at,
            lead_in_byte,
        })
    }

    fn place(&self, position: u64) -> Option<LinePlace> {
        match position.checked_sub(self.first) {
            Some(at) => self.lines.get(usize::try_from(at).ok()?).copied(),
            None => self.earlier.filter(|(earlier, _)| *earlier == position).map(|(_, place)| place),
        }
    }

    fn put(&mut self, told: &ProjectedTurn, sink: &mut impl TurnSink) {
        let lines = &told.turn.lines;
        let places = self.place(lines.start).zip(self.place(lines.end.saturating_sub(1)));
        // Every turn holds the line that began it.
        let Some((first, last)) = places else { return };
        let place = told.restart.turns;
        sink.take(place, told);
        let items = told.item_lines.iter().map(|item| self.item_row(lines.start, first, item)).collect();
        let unclean = self.unclean.get(self.unclean.partition_point(|position| *position < lines.start));
        let is_clean = unclean.is_none_or(|position| *position >= lines.end);
        self.turns.push(TurnRow {
            place,
            id: told.turn.id.clone(),
            lines: lines.clone(),
            next_item: told.restart.next_item,
            paginated: told.restart.mode == HistoryMode::Paginated,
            start: BytePlace { part: first.part, byte: first.start },
            end: BytePlace { part: last.part, byte: last.end },
            is_self_contained: told.is_self_contained && is_clean,
            items,
            is_last: false,
        });
    }

    fn item_row(&self, turn_start: u64, turn: LinePlace, lines: &std::ops::Range<u64>) -> ItemRow {
        let line = lines.start - turn_start;
        let first = self.place(lines.start);
        let last = if lines.is_empty() { None } else { self.place(lines.end - 1) };
        let from = match (first, last) {
            (Some(first), Some(last)) if first.part == turn.part && last.part == turn.part => ItemBytes::Own {
                offset: first.start - turn.start,
                len: last.end - first.start,
                paginated: self.paginated_from.is_some_and(|from| from <= lines.start),
            },
            _ => ItemBytes::Turn,
        };
        ItemRow { line, from }
    }
}
