//! A compaction that a later rollback can undo: the messages before it, and what happened after it.

use super::active::ActiveMessages;
use super::message::RollbackPoint;
use super::rope::MessageRope;

/// A compaction that can be undone.
#[derive(Debug)]
pub(super) struct Checkpoint {
    /// Number of compactions with a replacement history before this one.
    pub(super) number: u64,
    /// The messages before the compaction.
    pub(super) before: ActiveMessages,
    /// What happened between this compaction and the next one. It is applied again when the compaction is undone.
    pub(super) since: Vec<LedgerStep>,
}

/// A change of the active messages that does not depend on a replacement history, so that it can be applied again.
#[derive(Clone, Debug)]
pub(super) enum LedgerStep {
    Append(MessageRope),
    /// A compaction without a replacement history: its reader works out which messages are retained.
    LegacyCompaction {
        summary: String,
        point: RollbackPoint,
    },
    /// A rollback of this many messages.
    Rollback(usize),
}

impl Checkpoint {
    /// Records a step.
    ///
    /// A rollback first consumes messages at the end of `since`. Append and rollback cancel out then, so that `since` holds
    /// no more messages than are active, for any number of messages that were appended and undone.
    pub(super) fn record(&mut self, step: LedgerStep) {
        match (self.since.last_mut(), step) {
            (Some(LedgerStep::Append(messages)), LedgerStep::Append(more)) => messages.append(more),
            (Some(LedgerStep::Rollback(earlier)), LedgerStep::Rollback(count)) => {
                *earlier = earlier.saturating_add(count)
            }
            (Some(LedgerStep::Append(messages)), LedgerStep::Rollback(count)) => {
                let removed = messages.take_newest(count).len();
                if messages.is_empty() {
                    self.since.pop();
                }
                // The rest of the count undoes messages from before this `Append`.
                if removed < count {
                    self.record(LedgerStep::Rollback(count - removed));
                }
            }
            (_, step) => self.since.push(step),
        }
    }
}
