//! Whole histories: load, replay, turns.

use selvedge_history::{ModelContext, Replay, ReplayOptions, TurnProjection};
use selvedge_protocol::{ThreadId, Turn};
use selvedge_rollout::{DamagedRange, Entry, HistoryEntry, LineRecord, ResolvedHistory, read_head};
use selvedge_thread_store::{Damage, Result, StoreError, ThreadHistory};

use crate::context::{context_from_end, warn_of};
use crate::error::store_error;
use crate::store::Inner;

/// How much of the end of a history is kept in memory while something is looked for in it. A longer way back is a reading of
/// the whole history as a stream.
pub(crate) const MAX_TAIL_BYTES: usize = 64 << 20;

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
        let resolved = self.resolve_now(thread_id)?;
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
                HistoryEntry::Entry { part, entry: Entry::Damage(damaged) } => {
                    history.damage.push(damage_of(&resolved, part, damaged));
                }
                HistoryEntry::Short { part, len } => history.damage.push(short_damage(&resolved, part, len)),
            }
        }
        Ok(history)
    }

    pub(crate) fn load_model_context(&self, thread_id: ThreadId) -> Result<ModelContext> {
        let resolved = self.resolve_now(thread_id)?;
        if let Some(context) = context_from_end(&resolved)? {
            return Ok(context);
        }
        let mut damage = Vec::new();
        let mut context = Replay::whole(ReplayOptions::default(), |replay| {
            // The lines may be asked for more than once.
            damage = missing_damage(&resolved).into_iter().collect();
            for entry in resolved.reader() {
                match entry.map_err(store_error)? {
                    HistoryEntry::Entry { entry: Entry::Line(record), .. } => replay.push_line(&record.line),
                    HistoryEntry::Entry { part, entry: Entry::Damage(damaged) } => {
                        damage.push(damage_of(&resolved, part, damaged));
                    }
                    HistoryEntry::Short { part, len } => damage.push(short_damage(&resolved, part, len)),
                }
            }
            Ok::<_, StoreError>(())
        })?;
        warn_of(damage, &mut context);
        Ok(context)
    }

    /// The turns of a thread, oldest first.
    pub(crate) fn turns(&self, thread_id: ThreadId) -> Result<Vec<Turn>> {
        let resolved = self.resolve_now(thread_id)?;
        Ok(self.turns_of(&resolved)?.0.finish())
    }

    /// The turns of a history, oldest first, and how many lines it has. The last turn of a thread that is live here may
    /// still be going on.
    pub(crate) fn turns_of(&self, resolved: &ResolvedHistory) -> Result<(TurnProjection, u64)> {
        let mut turns = TurnProjection::new().live(self.has_writer(resolved.thread_id));
        let mut lines = 0;
        for_each_line(resolved, |_, record| {
            turns.push(lines, &record.line);
            lines += 1;
        })?;
        Ok((turns, lines))
    }
}

/// A damaged stretch of a part, in the words of the contract.
pub(crate) fn damage_of(resolved: &ResolvedHistory, part: usize, damaged: DamagedRange) -> Damage {
    Damage {
        place: place_of(resolved, part),
        range: damaged.range,
        line: damaged.number,
        reason: damaged.kind.to_string(),
    }
}

/// A part that ends before its share does, told like a damaged stretch at its end.
fn short_damage(resolved: &ResolvedHistory, part: usize, len: u64) -> Damage {
    let end = resolved.parts[part].end.and_then(|end| end.byte).unwrap_or(len).max(len);
    let reason = "the file ends before the part of it that this thread builds on".to_owned();
    Damage { place: place_of(resolved, part), range: len..end, line: 0, reason }
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
