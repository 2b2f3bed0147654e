//! Whole histories: their lines and their turns.

use selvedge_history::TurnProjection;
use selvedge_protocol::log::{Entry, LineRecord};
use selvedge_protocol::{ThreadId, Turn};
use selvedge_rollout::{HistoryEntry, ResolvedHistory, read_head};
use selvedge_thread_store::{Result, ThreadHistory};

use super::damage::{damage_of, missing_damage, short_damage};
use crate::error::store_error;
use crate::store_core::StoreCore;

/// The turns of a history, and the number of its lines.
pub(crate) struct ProjectedHistory {
    pub(crate) turns: TurnProjection,
    pub(crate) lines: u64,
}

/// Calls `visit(part, record)` for each intact line of a history.
pub(crate) fn for_each_line(resolved: &ResolvedHistory, mut visit: impl FnMut(usize, LineRecord)) -> Result<()> {
    for entry in resolved.reader() {
        if let HistoryEntry::Entry { part, entry: Entry::Line(record) } = entry.map_err(store_error)? {
            visit(part, record);
        }
    }
    Ok(())
}

impl StoreCore {
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

    /// Returns the turns of a thread, oldest first.
    pub(crate) fn turns(&self, thread_id: ThreadId) -> Result<Vec<Turn>> {
        let resolved = self.resolve_now(thread_id)?;
        Ok(self.project_turns(&resolved)?.turns.finish())
    }

    /// Projects the turns of a history. The last turn of a thread that has a writer may still be running.
    pub(crate) fn project_turns(&self, resolved: &ResolvedHistory) -> Result<ProjectedHistory> {
        let mut turns = TurnProjection::new().live(self.has_writer(resolved.thread_id));
        let mut lines = 0;
        for_each_line(resolved, |_, record| {
            turns.push(lines, &record.line);
            lines += 1;
        })?;
        Ok(ProjectedHistory { turns, lines })
    }
}
