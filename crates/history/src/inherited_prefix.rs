//! The inherited prefix of a segment: the lines that belong to the history of another segment that builds on it.

use std::time::Duration;

use selvedge_protocol::log::{Entry, LineRecord};
use selvedge_protocol::{HistoryBase, SegmentId, Timestamp};

/// How far a clock may have been set back while a prefix was written. A line is not part of the prefix if it is younger by more
/// than this than the segment that inherits the prefix. A larger tolerance would accept more foreign lines, a smaller one would
/// lose lines when a clock is corrected.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(60);

/// Where an inherited prefix ends, as the segment that builds on it describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PrefixEnd {
    /// First ordinal that is not part of the prefix.
    pub ordinal: Option<u64>,
    /// Byte offset just past the last line of the prefix.
    pub byte: Option<u64>,
    /// Latest time at which a line of the prefix can have been written. `None` if the id of the segment that builds on it
    /// contains no time.
    pub latest_write: Option<Timestamp>,
}

impl PrefixEnd {
    /// Returns the end of the prefix that `segment_id` inherits through `base`.
    #[must_use]
    pub fn of(base: &HistoryBase, segment_id: SegmentId) -> Self {
        let latest_write = segment_id.made_at().map(|at| at.saturating_add(CLOCK_TOLERANCE));
        Self { ordinal: base.end_ordinal_exclusive, byte: base.end_byte_offset, latest_write }
    }

    /// Returns the end of a base that is itself inherited up to `outer`: with the lower ordinal of the two.
    #[must_use]
    pub fn within(self, outer: Option<Self>) -> Self {
        let ordinal = match (self.ordinal, outer.and_then(|outer| outer.ordinal)) {
            (Some(inner), Some(outer)) => Some(inner.min(outer)),
            (inner, outer) => inner.or(outer),
        };
        Self { ordinal, ..self }
    }

    /// Returns whether a line is after the end, if the byte of the end may be wrong. `next_ordinal` is the ordinal after that
    /// of the line before; `is_after_gap` is whether bytes between that line and this one are damaged or missing.
    ///
    /// The ordinal decides, except where it may have been used twice; without an ordinal on either side the byte decides.
    fn excludes(self, record: &LineRecord, next_ordinal: Option<u64>, is_after_gap: bool) -> bool {
        // Ordinals stay right when another program moves bytes, so they come first. There are three exceptions. In the
        // examples the prefix ends before ordinal 3 and at byte 300, and `2@200` is a line with ordinal 2 that begins at
        // byte 200:
        //
        // 0@0  1@100  2@210         included. A line became longer, so bytes moved; ordinal 2 is below 3.
        // 0@0  1@100  2@200  2@300  the second 2 is excluded. The program that wrote it did not understand the line before and
        //                           used its ordinal again. For a repeated ordinal the byte decides.
        // 0@0  1@100  xxxxx  2@300  2 is excluded. The line at 200 is lost, and a later writer used its ordinal again. For
        //                           a line after a gap the byte decides.
        // 0@0  1@100  2@200 young   2 is excluded. It is younger than the segment that inherits the prefix.
        let is_after_byte = self.byte.is_some_and(|end| record.range.start >= end);
        match (self.ordinal, record.line.ordinal()) {
            (Some(end), Some(ordinal)) => {
                let is_repeated = next_ordinal.is_some_and(|next| ordinal < next);
                let is_younger =
                    self.latest_write.is_some_and(|at| record.line.timestamp().is_some_and(|time| time > at));
                ordinal >= end || is_younger || (is_after_byte && (is_repeated || is_after_gap))
            }
            _ => is_after_byte,
        }
    }
}

/// Decides which entries of a segment belong to an inherited prefix. Takes the entries in order, from the first one on.
#[derive(Clone, Debug)]
pub struct InheritedPrefix {
    end: Option<PrefixEnd>,
    /// Whether the byte of `end` is known to be right, so it alone decides.
    ends_at_byte: bool,
    /// Byte offset just past the last entry that was taken.
    byte: u64,
    /// Ordinal after that of the last line that was taken and has one.
    next_ordinal: Option<u64>,
    /// Whether the last entry was a damaged range.
    is_after_damage: bool,
    is_over: bool,
}

impl InheritedPrefix {
    /// Creates a prefix that is the whole segment.
    #[must_use]
    pub const fn whole() -> Self {
        Self { end: None, ends_at_byte: false, byte: 0, next_ordinal: None, is_after_damage: false, is_over: false }
    }

    /// Creates a prefix before an end whose byte may be wrong.
    #[must_use]
    pub const fn until(end: PrefixEnd) -> Self {
        Self { end: Some(end), ..Self::whole() }
    }

    /// Creates a prefix before an end whose byte is known to be right.
    #[must_use]
    pub const fn until_byte(end: PrefixEnd) -> Self {
        Self { ends_at_byte: true, ..Self::until(end) }
    }

    /// Returns whether the byte of the end alone decides.
    #[must_use]
    pub const fn ends_at_byte(&self) -> bool {
        self.ends_at_byte
    }

    /// Takes the next entry and returns whether it belongs to the prefix. After the first entry that does not, none does.
    ///
    /// `skipped_to` is the byte offset just past the last line that the reader skipped without parsing it; 0 if it skipped none.
    pub fn take(&mut self, entry: &Entry, skipped_to: u64) -> bool {
        self.is_over = self.is_over || self.is_beyond(entry, skipped_to);
        if self.is_over {
            return false;
        }
        self.byte = entry.range().end;
        self.is_after_damage = matches!(entry, Entry::Damage(_));
        if let Entry::Line(record) = entry {
            self.next_ordinal =
                record.line.ordinal().map_or(self.next_ordinal, |ordinal| Some(ordinal.saturating_add(1)));
        }
        true
    }

    /// Returns the byte offset just past the last entry of the prefix that was taken.
    #[must_use]
    pub const fn end_byte(&self) -> u64 {
        self.byte
    }

    /// Returns whether the segment ends before the prefix does, so that lines of the prefix are missing. To be called after all
    /// entries of the segment were taken.
    #[must_use]
    pub fn is_short(&self, skipped_to: u64) -> bool {
        let Some(end) = self.end.filter(|_| !self.is_over) else { return false };
        if skipped_to > self.byte {
            // The segment ends with lines that the reader skipped, so their ordinals are unknown.
            return end.byte.is_some_and(|end| skipped_to < end);
        }
        match (end.ordinal, self.next_ordinal) {
            (Some(end), Some(reached)) => reached < end,
            (ordinal, _) => match end.byte {
                Some(end) => self.byte < end,
                None => self.byte == 0 && ordinal.is_some_and(|end| end > 0),
            },
        }
    }

    fn is_beyond(&self, entry: &Entry, skipped_to: u64) -> bool {
        let Some(end) = self.end else { return false };
        match entry {
            entry if self.ends_at_byte => end.byte.is_some_and(|byte| entry.range().start >= byte),
            Entry::Line(record) => end.excludes(record, self.next_ordinal, self.is_after_gap(record, skipped_to)),
            Entry::Damage(damage) => end.byte.is_some_and(|byte| damage.range.start >= byte),
        }
    }

    /// Returns whether a line does not directly follow the one before: between them is damage, or a gap that a repair left.
    fn is_after_gap(&self, record: &LineRecord, skipped_to: u64) -> bool {
        self.is_after_damage || record.range.start > self.byte.max(skipped_to)
    }
}
