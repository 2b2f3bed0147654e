//! What a segment can build on that goes on from a place in a history.

use selvedge_protocol::log::LineRecord;
use selvedge_protocol::{HistoryBase, HistoryMode, SegmentId};

/// What stands before a place in a history, as far as it matters to who goes on from there. A history is made of parts, each
/// of which is a share of a segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinesBefore {
    /// The part that holds the last line, and the byte just past it.
    end: Option<(usize, u64)>,
    /// The last line that has an ordinal: its part, the ordinal after it, and the byte just past it.
    counted_end: Option<(usize, u64, u64)>,
    /// Whether there is anything but heads.
    has_more: bool,
}

impl LinesBefore {
    /// No line was taken, and there are others than heads before those that will be.
    #[must_use]
    pub fn behind_more() -> Self {
        Self { has_more: true, ..Self::default() }
    }

    /// Takes the line behind all that were taken.
    pub fn take_next(&mut self, part: usize, record: &LineRecord) {
        let earlier = std::mem::take(self);
        self.take_previous(part, record);
        self.counted_end = self.counted_end.or(earlier.counted_end);
        self.has_more |= earlier.has_more;
    }

    /// Takes the line before all that were taken.
    pub fn take_previous(&mut self, part: usize, record: &LineRecord) {
        let byte = record.range.end;
        let counted = record.line.ordinal().map(|ordinal| (part, ordinal.saturating_add(1), byte));
        self.end = self.end.or(Some((part, byte)));
        self.counted_end = self.counted_end.or(counted);
        self.has_more |= record.line.kind() != "session_meta";
    }

    /// Whether the lines before those that were taken make no difference, in a history that is kept in `mode`.
    #[must_use]
    pub fn is_settled(&self, mode: HistoryMode) -> bool {
        match mode {
            HistoryMode::Legacy => self.end.is_some(),
            HistoryMode::Paginated => self.counted_end.is_some() && self.has_more,
        }
    }

    /// The byte just past the last line, in its part.
    #[must_use]
    pub fn byte(&self) -> u64 {
        self.end.map_or(0, |(_, byte)| byte)
    }

    /// The part that holds the last line, and the byte just past it.
    #[must_use]
    pub fn place(&self) -> Option<(usize, u64)> {
        self.end
    }

    /// Whether there is a [`base`](Self::base).
    #[must_use]
    pub fn has_base(&self) -> bool {
        self.has_more && self.counted_end.is_some()
    }

    /// The base of a segment that goes on from here; nothing when there are but heads before it. `segment_id` says of which
    /// segment a part is.
    #[must_use]
    pub fn base(&self, segment_id: impl FnOnce(usize) -> SegmentId) -> Option<HistoryBase> {
        let (part, ordinal, byte) = self.counted_end.filter(|_| self.has_base())?;
        Some(HistoryBase {
            thread_id: Some(segment_id(part)),
            end_ordinal_exclusive: Some(ordinal),
            end_byte_offset: Some(byte),
            ..HistoryBase::default()
        })
    }

    /// Whether a line stands behind the place.
    #[must_use]
    pub fn is_behind(&self, part: usize, record: &LineRecord) -> bool {
        self.end.is_none_or(|end| (part, record.range.start) >= end)
    }
}
