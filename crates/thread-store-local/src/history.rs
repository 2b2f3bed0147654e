//! Whole histories: load, replay, turns.

use selvedge_history::{ModelContext, Replay, TurnProjection};
use selvedge_protocol::{SegmentId, ThreadId, Turn};
use selvedge_rollout::{Entry, HistoryEntry, LineRecord, ResolvedHistory, read_head};
use selvedge_thread_store::{Damage, Result, ThreadHistory};

use crate::context::context_from_end;
use crate::error::store_error;
use crate::store::Inner;

/// A place in a history: where a base of it would end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The segment that holds the last line before the place.
    pub(crate) segment_id: SegmentId,
    /// The ordinal of the first line behind it.
    pub(crate) ordinal: u64,
    /// The byte just past the line before it.
    pub(crate) byte: u64,
}

impl Place {
    /// The place just behind a line; nothing for a line without an ordinal.
    pub(crate) fn behind(segment_id: SegmentId, record: &LineRecord) -> Option<Self> {
        Some(Self { segment_id, ordinal: record.line.ordinal()? + 1, byte: record.range.end })
    }
}

/// Goes through the intact lines of a history: `visit(part, record)`.
pub(crate) fn for_each_line(resolved: &ResolvedHistory, mut visit: impl FnMut(usize, LineRecord)) -> Result<()> {
    for entry in resolved.reader() {
        if let HistoryEntry::Entry { part, entry: Entry::Line(record) } = entry.map_err(store_error)? {
            visit(part, record);
        }
    }
    Ok(())
}

impl Inner {
    pub(crate) fn load_history(&self, thread_id: ThreadId) -> Result<ThreadHistory> {
        let resolved = self.resolve(&self.files()?, thread_id)?;
        let head = read_head(resolved.newest()).map_err(store_error)?;
        let mut history = ThreadHistory {
            thread_id,
            mode: head.map(|head| head.mode()).unwrap_or_default(),
            lines: Vec::new(),
            inherited: 0,
            damage: missing_damage(&resolved).into_iter().collect(),
        };
        for entry in resolved.reader() {
            match entry.map_err(store_error)? {
                HistoryEntry::Entry { part, entry: Entry::Line(record) } => {
                    history.inherited += usize::from(resolved.is_inherited(part));
                    history.lines.push(record.line);
                }
                HistoryEntry::Entry { part, entry: Entry::Damage(damaged) } => history.damage.push(Damage {
                    place: place_of(&resolved, part),
                    range: damaged.range,
                    line: damaged.number,
                    reason: damaged.kind.to_string(),
                }),
                HistoryEntry::Short { part, len } => history.damage.push(Damage {
                    place: place_of(&resolved, part),
                    range: len..len,
                    line: 0,
                    reason: "the file ends before the part of it that this thread builds on".to_owned(),
                }),
            }
        }
        Ok(history)
    }

    pub(crate) fn load_model_context(&self, thread_id: ThreadId) -> Result<ModelContext> {
        let resolved = self.resolve(&self.files()?, thread_id)?;
        if let Some(context) = context_from_end(&resolved)? {
            return Ok(context);
        }
        let mut replay = Replay::new();
        for_each_line(&resolved, |_, record| replay.push_line(&record.line))?;
        Ok(replay.finish())
    }

    /// The turns of a thread, oldest first.
    pub(crate) fn turns(&self, thread_id: ThreadId) -> Result<Vec<Turn>> {
        let resolved = self.resolve(&self.files()?, thread_id)?;
        Ok(self.turns_of(&resolved)?.0)
    }

    /// The turns of a history, oldest first, and how many lines it has. The last turn of a thread that is live here may
    /// still be going on.
    pub(crate) fn turns_of(&self, resolved: &ResolvedHistory) -> Result<(Vec<Turn>, u64)> {
        let mut turns = TurnProjection::new().live(self.live.find(resolved.thread_id).is_some());
        let mut lines = 0;
        for_each_line(resolved, |_, record| {
            turns.push(lines, &record.line);
            lines += 1;
        })?;
        Ok((turns.finish(), lines))
    }
}

fn place_of(resolved: &ResolvedHistory, part: usize) -> String {
    resolved.parts[part].file.path.display().to_string()
}

/// A base that cannot be had, told like a damaged stretch before everything else.
pub(crate) fn missing_damage(resolved: &ResolvedHistory) -> Option<Damage> {
    resolved.missing.as_ref().map(|missing| Damage {
        place: format!("segment {}", missing.segment_id),
        range: 0..missing.end.byte.unwrap_or(0),
        line: 1,
        reason: format!("the history begins in this segment, and {}", missing.reason),
    })
}
