//! A thread's whole history in memory, and what a store derives from it.

use selvedge_history::{
    MetadataFold, ModelContext, ResolvedBoundary, TurnProjection, newest_head, replay_lines, resolve_boundary,
};
use selvedge_protocol::{
    HistoryBase, HistoryMode, RolloutLine, SegmentId, SessionMeta, StoredThread, ThreadId, Timestamp, Turn,
    TurnBoundary,
};

use crate::{Damage, Result, ThreadHistory};

/// All lines of a thread, inherited ones first, with their offsets.
#[derive(Clone, Debug)]
pub struct WholeHistory {
    /// The thread.
    pub thread_id: ThreadId,
    /// Whether the thread has a writer, in this store or in another one. Its last turn may then be in progress.
    pub is_live: bool,
    /// How its log is kept.
    pub mode: HistoryMode,
    /// Every intact line, in order.
    pub lines: Vec<RolloutLine>,
    /// How many of the lines, from the first one, belong to other threads.
    pub inherited: usize,
    /// Where each line ends: its segment, and the byte after it. Has as many elements as `lines`.
    pub ends: Vec<(SegmentId, u64)>,
    /// What could not be read.
    pub damage: Vec<Damage>,
}

impl WholeHistory {
    pub(super) fn new(thread_id: ThreadId, is_live: bool, mode: HistoryMode) -> Self {
        Self { thread_id, is_live, mode, lines: Vec::new(), inherited: 0, ends: Vec::new(), damage: Vec::new() }
    }

    /// Returns the turns, oldest first.
    #[must_use]
    pub fn turns(&self) -> Vec<Turn> {
        self.projection().finish()
    }

    /// Returns what the model sees next.
    #[must_use]
    pub fn model_context(&self) -> ModelContext {
        replay_lines(&self.lines)
    }

    /// Derives the thread record from the lines. `created_at` is the creation time of the thread. It is used if no line
    /// has it.
    #[must_use]
    pub fn thread_record(&self, created_at: Timestamp) -> StoredThread {
        let mut fold = MetadataFold::new(self.thread_id, created_at);
        for line in &self.lines {
            fold.observe_line(line);
        }
        fold.into_thread()
    }

    /// Returns the newest head that belongs to the thread itself. `None` if there is none.
    #[must_use]
    pub fn newest_head(&self) -> Option<SessionMeta> {
        newest_head(self.thread_id, &self.lines)
    }

    /// Returns the base of a segment that inherits the first `length` lines. `None` if it inherits no line with an
    /// ordinal.
    #[must_use]
    pub fn base(&self, length: usize) -> Option<HistoryBase> {
        // The last line with an ordinal determines both ends: the ordinal after it, and the byte after it.
        let before = self.lines[..length].iter().zip(&self.ends).rev();
        let counted = before.filter_map(|(line, end)| Some((line.ordinal()?, end)));
        let (ordinal, (segment_id, byte)) = { counted }.next()?;
        Some(HistoryBase {
            thread_id: Some(*segment_id),
            end_ordinal_exclusive: Some(ordinal.saturating_add(1)),
            end_byte_offset: Some(*byte),
            ..HistoryBase::default()
        })
    }

    /// Resolves a turn boundary to a position in the lines.
    ///
    /// # Errors
    /// - `TurnNotFound` if the thread has no such turn.
    pub fn resolve(&self, at: &TurnBoundary) -> Result<ResolvedBoundary> {
        let turns = match at {
            // The end of the history needs no turns, so the projection is skipped.
            TurnBoundary::Latest => TurnProjection::new(),
            TurnBoundary::After(_) | TurnBoundary::Before(_) | TurnBoundary::BeforeNewest(_) => self.projection(),
        };
        Ok(resolve_boundary(self.thread_id, turns, self.lines.len() as u64, at)?)
    }

    fn projection(&self) -> TurnProjection {
        // Positions count all lines, inherited ones included, so a boundary can be in any segment.
        let mut turns = TurnProjection::new().live(self.is_live);
        for (position, line) in (0..).zip(&self.lines) {
            turns.push(position, line);
        }
        turns
    }
}

impl From<WholeHistory> for ThreadHistory {
    fn from(history: WholeHistory) -> Self {
        let WholeHistory { thread_id, mode, lines, inherited, damage, .. } = history;
        Self { thread_id, mode, lines, inherited, damage }
    }
}
