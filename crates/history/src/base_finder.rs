//! Finds the base of a segment that continues at a boundary in a history.

use selvedge_protocol::log::LineRecord;
use selvedge_protocol::{HistoryBase, HistoryMode, SegmentId};

/// Finds the base of a segment that continues at a boundary, from the lines before that boundary.
///
/// A history consists of parts: each is an inherited prefix of a segment, or a whole one. Lines can be added at either end: a
/// reader may come from the start of the history or from its end. From the end it can stop as soon as
/// [`is_settled`](Self::is_settled) is true.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BaseFinder {
    /// End of the last line.
    end: Option<PartOffset>,
    /// The last line with an ordinal. It decides the base: a base names an ordinal and a byte, which must belong together.
    last_counted: Option<CountedLine>,
    /// Whether any line is not a head.
    has_other_lines: bool,
}

/// A byte offset in a part of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct PartOffset {
    part: usize,
    byte: u64,
}

/// A line with an ordinal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct CountedLine {
    end: PartOffset,
    /// The ordinal after that of the line.
    next_ordinal: u64,
}

impl BaseFinder {
    /// Creates a finder for lines that follow others, at least one of which is not a head.
    #[must_use]
    pub fn with_earlier_lines() -> Self {
        Self { has_other_lines: true, ..Self::default() }
    }

    /// Takes the line after all lines so far.
    pub fn push_back(&mut self, part: usize, record: &LineRecord) {
        // `push_front` keeps the values of later lines. The new line is the latest one: it goes into an empty finder, and earlier
        // values fill what it leaves empty.
        let earlier = std::mem::take(self);
        self.push_front(part, record);
        self.last_counted = self.last_counted.or(earlier.last_counted);
        self.has_other_lines |= earlier.has_other_lines;
    }

    /// Takes the line before all lines so far.
    pub fn push_front(&mut self, part: usize, record: &LineRecord) {
        let end = PartOffset { part, byte: record.range.end };
        let counted = record.line.ordinal().map(|ordinal| CountedLine { end, next_ordinal: ordinal.saturating_add(1) });
        self.end = self.end.or(Some(end));
        self.last_counted = self.last_counted.or(counted);
        self.has_other_lines |= record.line.kind() != "session_meta";
    }

    /// Returns whether lines before those so far cannot change the result, in a history with this mode.
    #[must_use]
    pub fn is_settled(&self, mode: HistoryMode) -> bool {
        match mode {
            HistoryMode::Legacy => self.end.is_some(),
            HistoryMode::Paginated => self.last_counted.is_some() && self.has_other_lines,
        }
    }

    /// Returns the byte offset just past the last line, in its part.
    #[must_use]
    pub fn end_byte(&self) -> u64 {
        self.end.map_or(0, |end| end.byte)
    }

    /// Returns the part of the last line, and the byte offset just past it.
    #[must_use]
    pub fn end_position(&self) -> Option<(usize, u64)> {
        self.end.map(|PartOffset { part, byte }| (part, byte))
    }

    /// Returns whether there is a [`base`](Self::base).
    #[must_use]
    pub fn has_base(&self) -> bool {
        self.has_other_lines && self.last_counted.is_some()
    }

    /// Returns the base of a segment that continues at the boundary. `None` if only heads are before it: then there is nothing
    /// to inherit. `segment_id` returns the segment of a part.
    #[must_use]
    pub fn base(&self, segment_id: impl FnOnce(usize) -> SegmentId) -> Option<HistoryBase> {
        let CountedLine { end, next_ordinal } = self.last_counted.filter(|_| self.has_base())?;
        Some(HistoryBase {
            thread_id: Some(segment_id(end.part)),
            end_ordinal_exclusive: Some(next_ordinal),
            end_byte_offset: Some(end.byte),
            ..HistoryBase::default()
        })
    }

    /// Returns whether a line is after the boundary.
    #[must_use]
    pub fn is_after_boundary(&self, part: usize, record: &LineRecord) -> bool {
        self.end.is_none_or(|end| PartOffset { part, byte: record.range.start } >= end)
    }
}
