//! A thread's whole history in memory, and what it means for a store.

use selvedge_history::{
    MetadataFold, ModelContext, ResolvedBoundary, TurnProjection, newest_head, replay_lines, resolve_boundary,
};
use selvedge_protocol::{
    HistoryBase, HistoryMode, RolloutLine, SegmentId, SessionMeta, StoredThread, ThreadId, Timestamp, Turn,
    TurnBoundary,
};

use crate::{Damage, Result, ThreadHistory};

/// A thread's lines, inherited ones first, with the places where they stand.
#[derive(Clone, Debug)]
pub struct WholeHistory {
    /// The thread.
    pub thread_id: ThreadId,
    /// Whether the thread has a writer, in this store or in another one: its last turn may be going on.
    pub is_live: bool,
    /// How its log is kept.
    pub mode: HistoryMode,
    /// Every intact line in order.
    pub lines: Vec<RolloutLine>,
    /// How many of the lines, from the first, are other threads'.
    pub inherited: usize,
    /// Where each of the lines ends.
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

    /// Returns what the lines say of the thread. `created_at` is when it was created, should no line say so.
    #[must_use]
    pub fn row(&self, created_at: Timestamp) -> StoredThread {
        let mut fold = MetadataFold::new(self.thread_id, created_at);
        for line in &self.lines {
            fold.observe_line(line);
        }
        fold.into_thread()
    }

    /// Returns the newest head of the thread's own.
    #[must_use]
    pub fn newest_head(&self) -> Option<SessionMeta> {
        newest_head(self.thread_id, &self.lines)
    }

    /// Returns how a segment names its base when it takes over the first `length` lines; no base for none.
    #[must_use]
    pub fn base(&self, length: usize) -> Option<HistoryBase> {
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

    /// Looks up a place between two turns.
    ///
    /// # Errors
    /// `TurnNotFound`.
    pub fn cut(&self, at: &TurnBoundary) -> Result<ResolvedBoundary> {
        let turns = match at {
            // The end of the lines needs no turns.
            TurnBoundary::Latest => TurnProjection::new(),
            TurnBoundary::After(_) | TurnBoundary::Before(_) | TurnBoundary::BeforeNewest(_) => self.projection(),
        };
        Ok(resolve_boundary(self.thread_id, turns, self.lines.len() as u64, at)?)
    }

    fn projection(&self) -> TurnProjection {
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
