//! The messages that a rollback counts, and the points from which on it undoes turns.

mod active;
mod checkpoint;
mod matching;
mod message;
mod pending;
mod rope;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use selvedge_protocol::{Compacted, ResponseItem, ResponseItemKind};

use crate::context_fragments::{is_program_summary, is_user_message};
use active::ActiveMessages;
use checkpoint::{Checkpoint, LedgerStep};
use matching::ReplacementMessage;
pub(crate) use message::{ItemPlace, RollbackPoint};
use pending::PendingMessages;

/// The messages of users and other agents, in the order in which the model sees them.
///
/// A `thread_rolled_back` event names a number of messages, and the model's history is cut at the oldest of them
/// ([`Replay`](crate::Replay)). The turns that a client shows must be cut at the same message. So this ledger repeats what
/// `Replay` does with the history, but only for the messages that count, and it also records where each of them is shown.
///
/// - A compaction replaces the messages in the model's context. Those that it drops are still shown; a rollback counts them only
///   after all messages in the context.
/// - A rollback undoes a compaction after the oldest undone turn, as if it had never replaced anything.
///
/// # Memory
///
/// The messages before each compaction are kept in ropes that share their nodes. Memory grows with messages plus compactions,
/// and not with their product.
#[derive(Debug, Default)]
pub(crate) struct RollbackLedger {
    /// The messages that are not undone, without the pending ones.
    active: ActiveMessages,
    /// The newest messages, which a later line can still change.
    pending: PendingMessages,
    /// Number of compactions with a replacement history so far, undone ones included.
    compactions: u64,
    /// The compactions that can still be undone, in order.
    undoable: Vec<Checkpoint>,
}

impl RollbackLedger {
    /// Pairs a message from a `response_item` line with an event before it that shows it. Returns the number of the turn in which it
    /// is shown. `None` if there is no such event.
    pub(crate) fn pair_item(&mut self, text: &str) -> Option<u64> {
        self.pending.pair_item(text)
    }

    /// Records a message of the user from a `response_item` line, which is shown at `place`. An event may follow that shows it.
    pub(crate) fn record_item(&mut self, text: String, place: ItemPlace, point: RollbackPoint, position: u64) {
        self.pending.add_item(text, place, point, position);
    }

    /// Records that the model answered the messages so far.
    pub(crate) fn answer(&mut self) {
        self.pending.answer();
    }

    /// Records a message of role `user` that is not shown.
    pub(crate) fn record_unshown_item(&mut self, text: String, point: RollbackPoint, position: u64) {
        self.pending.add_unshown_item(text, point, position);
    }

    /// Records a message of another agent. No event shows it.
    pub(crate) fn record_agent_message(&mut self, text: String, point: RollbackPoint, position: u64) {
        self.pending.add_agent_message(text, point, position);
    }

    /// Pairs an event that shows a message with the `response_item` line that gave it to the model, usually the line just before.
    /// Returns where the message is shown so far. `None` if no such line waits for an event.
    pub(crate) fn pair_event(&mut self, text: &str, position: u64) -> Option<ItemPlace> {
        self.pending.pair_event(text, position)
    }

    /// Records a message from an event. In logs without `response_item` lines only the events count.
    /// `turn` is the number of the turn that shows the message.
    pub(crate) fn record_event(&mut self, text: &str, turn: u64, point: RollbackPoint, position: u64) {
        self.pending.add_event(text, turn, point, position);
    }

    /// Returns for each message with a line of its own the position of the event that shows it, else of the line that gives it
    /// to the model.
    pub(crate) fn positions(&self) -> impl Iterator<Item = u64> {
        let messages = self.active.messages().chain(self.pending.messages());
        messages.filter_map(|message| message.position)
    }

    /// Returns the number of the first turn that shows a message that waits for its event, or an event that waits for its message.
    pub(crate) fn oldest_waiting_turn(&self) -> Option<u64> {
        self.pending.oldest_waiting_turn()
    }

    /// Ends the waiting of all messages and events that are shown before the turn with this number.
    pub(crate) fn forget_waiting_before(&mut self, turn: u64) {
        self.pending.forget_waiting_before(turn);
    }

    /// Ends the pairing of items and events. Call it for every event that shows anything other than a message.
    pub(crate) fn commit_pending(&mut self) {
        let messages = self.pending.take_all();
        if !messages.is_empty() {
            self.apply(LedgerStep::Append(messages));
        }
    }

    /// Applies a compaction, whose summary is at `point`.
    pub(crate) fn compact(&mut self, compacted: &Compacted, point: RollbackPoint) {
        self.commit_pending();
        let summary = compacted.message.as_deref().unwrap_or_default();
        let Some(replacement) = &compacted.replacement_history else {
            // No rollback undoes it, because `Replay` rebuilds the history in place and keeps nothing of the old one.
            self.apply(LedgerStep::LegacyCompaction { summary: summary.to_owned(), point });
            return;
        };
        let (number, before) = (self.compactions, self.active.clone());
        self.undoable.push(Checkpoint { number, before, since: Vec::new() });
        self.compactions += 1;
        let messages = replacement.iter().filter(|item| is_user_message(item) || is_summary_message(item));
        let messages: Vec<_> = messages.map(replacement_message).collect();
        self.active.replace_context(&messages, summary, point);
    }

    /// Returns the number of compactions with a replacement history so far, undone ones included.
    pub(crate) fn compactions(&self) -> u64 {
        self.compactions
    }

    /// Undoes the newest `count` messages and all compactions except the first `compactions`. Everything that is shown from
    /// the returned point on is undone.
    pub(crate) fn roll_back(&mut self, count: usize, compactions: u64) -> Option<RollbackPoint> {
        // Example: a rollback past a compaction. Each line shows the ledger after it. `S` is the summary. The rollback undoes
        // two turns; the older one is that of q2, before which there was no compaction, so `compactions` is 0.
        //
        //   line                           compacted_away   in_context   undoable
        //   message q1                     -                q1           -
        //   message q2                     -                q1 q2        -
        //   compaction, keeps q2 and S     q1               q2 S         #0: before [q1 q2], since []
        //   message q3                     q1               q2 S q3      #0: before [q1 q2], since [append q3]
        //   rollback of 2 messages
        //     1. restore #0                -                q1 q2        -
        //     2. apply its `since` again   -                q1 q2 q3     -
        //     3. remove the newest 2       -                q1           -
        //
        // The result is the earlier point of q2 and q3. With `compactions` = 1, #0 stays, and the newest two are q3 and S.
        //
        // Compactions come first: a message that one of them dropped is in the context again when messages are counted.
        self.commit_pending();
        let first = self.undoable.partition_point(|checkpoint| checkpoint.number < compactions);
        let mut undone = self.undoable.split_off(first).into_iter();
        if let Some(oldest) = undone.next() {
            self.active = oldest.before;
            let since = undone.flat_map(|checkpoint| checkpoint.since);
            // `apply` records the steps in the newest checkpoint that remains, so that a later rollback can undo that one, too.
            oldest.since.into_iter().chain(since).for_each(|step| _ = self.apply(step));
        }
        self.apply(LedgerStep::Rollback(count))
    }

    /// Applies a step and returns the earliest point of the messages that it removes.
    fn apply(&mut self, step: LedgerStep) -> Option<RollbackPoint> {
        let mut undone = None;
        match &step {
            LedgerStep::Append(messages) => self.active.append(messages.clone()),
            LedgerStep::LegacyCompaction { summary, point } => self.active.compact_legacy(summary, *point),
            LedgerStep::Rollback(count) => undone = self.active.roll_back(*count),
        }
        if let Some(checkpoint) = self.undoable.last_mut() {
            checkpoint.record(step);
        }
        undone
    }
}

/// Returns whether a message is a summary of the program. No rollback counts it, but it shows where the messages end that a
/// compaction kept.
fn is_summary_message(item: &ResponseItem) -> bool {
    item.role().as_deref() == Some("user") && item.texts().iter().any(|text| is_program_summary(text))
}

fn replacement_message(item: &ResponseItem) -> ReplacementMessage<'_> {
    let text = Cow::Owned(item.texts().concat());
    ReplacementMessage { text, is_of_agent: *item.kind() == ResponseItemKind::AgentMessage }
}
