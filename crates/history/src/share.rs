//! Which lines of a segment are part of the history of another one that builds on it.

use std::time::Duration;

use selvedge_protocol::log::{DamageKind, Entry, LineRecord};
use selvedge_protocol::{HistoryBase, RolloutItem, SegmentId, SessionMeta, ThreadId, Timestamp};

/// How many entries of a segment are looked through for its head.
const HEAD_ENTRIES: usize = 8;

/// By how much a clock may have been set back while a share was written: no sure sign that a line came later.
const CLOCKS: Duration = Duration::from_secs(60);

/// Where a segment stops being part of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SegmentEnd {
    /// Ordinal of the first line that is not part of it.
    pub ordinal: Option<u64>,
    /// The byte just past its last line.
    pub byte: Option<u64>,
    /// Until when the share may have been written, where the id of the segment that builds on it tells.
    pub left_at: Option<Timestamp>,
}

impl SegmentEnd {
    /// The end of the share that `segment_id` builds on.
    #[must_use]
    pub fn of(base: &HistoryBase, segment_id: SegmentId) -> Self {
        let left_at = segment_id.made_at().map(|at| at.saturating_add(CLOCKS));
        Self { ordinal: base.end_ordinal_exclusive, byte: base.end_byte_offset, left_at }
    }

    /// Whether a line is beyond the end, where the end is not known to be where its byte says; `next_ordinal` is the one
    /// after the line before.
    ///
    /// The ordinal decides where there is one: it stays right when bytes were moved by somebody. But a program that does
    /// not understand the last line of a file gives the line that it writes behind it the same ordinal again, so of a
    /// repeated ordinal the byte decides. So it does of a line behind a hole: where the last lines of a share were lost, a
    /// writer that went on gave their ordinals again. And what is younger than the segment that builds on the share was
    /// never part of it.
    fn is_before(self, record: &LineRecord, next_ordinal: Option<u64>, is_behind_hole: bool) -> bool {
        let is_behind_byte = self.byte.is_some_and(|end| record.range.start >= end);
        match (self.ordinal, record.line.ordinal()) {
            (Some(end), Some(ordinal)) => {
                let is_repeated = next_ordinal.is_some_and(|next| ordinal < next);
                let is_younger = self.left_at.is_some_and(|at| record.line.timestamp().is_some_and(|time| time > at));
                ordinal >= end || is_younger || (is_behind_byte && (is_repeated || is_behind_hole))
            }
            _ => is_behind_byte,
        }
    }

    /// The end of a base within a base: whichever comes first.
    #[must_use]
    pub fn within(self, outer: Option<Self>) -> Self {
        let ordinal = match (self.ordinal, outer.and_then(|outer| outer.ordinal)) {
            (Some(inner), Some(outer)) => Some(inner.min(outer)),
            (inner, outer) => inner.or(outer),
        };
        Self { ordinal, ..self }
    }
}

/// Says of the entries of a segment, taken from its first one on, which ones belong to a share of it.
#[derive(Clone, Debug)]
pub struct ShareFold {
    end: Option<SegmentEnd>,
    /// Whether the share ends at its byte, for sure.
    ends_at_byte: bool,
    /// How far the share was read: to this byte, and to the line before this ordinal.
    byte: u64,
    ordinal: Option<u64>,
    /// Whether the last entry was a damaged stretch.
    is_behind_damage: bool,
    is_over: bool,
}

impl ShareFold {
    /// The share that is the whole segment.
    #[must_use]
    pub const fn whole() -> Self {
        Self { end: None, ends_at_byte: false, byte: 0, ordinal: None, is_behind_damage: false, is_over: false }
    }

    /// The share before an end that the lines have to confirm.
    #[must_use]
    pub const fn until(end: SegmentEnd) -> Self {
        Self { end: Some(end), ..Self::whole() }
    }

    /// The share before an end of which the byte is known to be right.
    #[must_use]
    pub const fn until_byte(end: SegmentEnd) -> Self {
        Self { ends_at_byte: true, ..Self::until(end) }
    }

    /// Whether the share ends at the byte of its end, for sure.
    #[must_use]
    pub const fn ends_at_byte(&self) -> bool {
        self.ends_at_byte
    }

    /// Takes the next entry and returns whether it belongs to the share. After the first one that does not, none does.
    /// `skipped_to` is the byte just past the last line that the reader passed over unparsed; 0 if there was none.
    pub fn take(&mut self, entry: &Entry, skipped_to: u64) -> bool {
        self.is_over = self.is_over || self.is_beyond(entry, skipped_to);
        if self.is_over {
            return false;
        }
        self.byte = entry.range().end;
        self.is_behind_damage = matches!(entry, Entry::Damage(_));
        if let Entry::Line(record) = entry {
            self.ordinal = record.line.ordinal().map_or(self.ordinal, |ordinal| Some(ordinal.saturating_add(1)));
        }
        true
    }

    /// The byte just past the last entry of the share that was taken.
    #[must_use]
    pub const fn end_byte(&self) -> u64 {
        self.byte
    }

    /// Whether the segment, of which every entry was taken, ends before the share does.
    #[must_use]
    pub fn is_short(&self, skipped_to: u64) -> bool {
        let Some(end) = self.end.filter(|_| !self.is_over) else { return false };
        if skipped_to > self.byte {
            // The segment ends with lines that were passed over, whose ordinals nobody read.
            return end.byte.is_some_and(|end| skipped_to < end);
        }
        match (end.ordinal, self.ordinal) {
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
            Entry::Line(record) => end.is_before(record, self.ordinal, self.is_behind_hole(record, skipped_to)),
            Entry::Damage(damage) => end.byte.is_some_and(|byte| damage.range.start >= byte),
        }
    }

    /// Whether a line does not stand just behind the one before: there is damage in between, or what a repair left of it.
    fn is_behind_hole(&self, record: &LineRecord, skipped_to: u64) -> bool {
        self.is_behind_damage || record.range.start > self.byte.max(skipped_to)
    }
}

/// Returns the `session_meta` that a segment of a thread begins with, by its first entries. `None` if there is none or it is
/// damaged.
///
/// # Errors
/// Those of the entries.
pub fn segment_head<E>(
    thread_id: ThreadId,
    entries: impl IntoIterator<Item = Result<Entry, E>>,
) -> Result<Option<SessionMeta>, E> {
    let mut may_be_copied = false;
    for entry in entries.into_iter().take(HEAD_ENTRIES) {
        let record = match entry? {
            Entry::Line(record) => record,
            Entry::Damage(damage) => {
                may_be_copied |= !matches!(damage.kind, DamageKind::Nul | DamageKind::ByteOrderMark);
                continue;
            }
        };
        if record.line.kind() == "session_meta"
            && let RolloutItem::SessionMeta(meta) = record.line.item()
            // The first line is the segment's own, whatever id it says; behind it, or behind what may be left of it, a fork's
            // copied heads follow.
            && ((record.number == 1 && !may_be_copied) || meta.id == Some(thread_id))
        {
            return Ok(Some(*meta));
        }
        may_be_copied = true;
    }
    Ok(None)
}
