//! The messages that are not undone, and how compactions and rollbacks change them.

use std::borrow::Cow;
use std::ops::Range;

use super::matching::{KeptRun, ReplacementMatch, ReplacementMessage};
use super::message::{CountedMessage, MessageAuthor, RollbackPoint};
use super::rope::MessageRope;
use crate::context_fragments::is_user_fragment;
use crate::legacy_compaction::{retained_messages, summary_text};

/// The messages that are not undone. A clone shares them.
#[derive(Clone, Debug, Default)]
pub(super) struct ActiveMessages {
    /// Messages that a compaction removed from the model's context. A client still shows them.
    compacted_away: MessageRope,
    /// Messages that the model sees. A rollback counts these first, then those in `compacted_away`.
    in_context: MessageRope,
}

impl ActiveMessages {
    /// Returns all messages in the order in which a rollback counts them, the oldest first.
    pub(super) fn messages(&self) -> impl Iterator<Item = &CountedMessage> {
        self.compacted_away.iter().chain(self.in_context.iter())
    }

    /// Adds new messages to the model's context.
    pub(super) fn append(&mut self, messages: MessageRope) {
        self.in_context.append(messages);
    }

    /// Removes the newest `count` messages and returns the earliest of their points.
    pub(super) fn roll_back(&mut self, count: usize) -> Option<RollbackPoint> {
        let undone = self.in_context.take_newest(count);
        let older = self.compacted_away.take_newest(count - undone.len());
        undone.earliest_point().into_iter().chain(older.earliest_point()).min()
    }

    /// Applies a compaction without a replacement history.
    pub(super) fn compact_legacy(&mut self, summary: &str, summary_point: RollbackPoint) {
        let in_context = self.in_context.clone();
        let candidates = in_context.iter_newest_first().filter(|message| message.author != MessageAuthor::Agent);
        let retained = retained_messages(candidates, summary);
        let texts = retained.into_iter().map(|kept| match kept.truncated {
            Some(text) => Cow::Owned(text.concat()),
            None => Cow::Borrowed(&*kept.message.text),
        });
        let texts = texts.chain([Cow::Borrowed(summary_text(summary))]);
        // These texts become messages of role `user`. One that looks like a context fragment is then taken for a fragment,
        // and no rollback counts it.
        let replacement =
            texts.filter(|text| !is_user_fragment(text)).map(|text| ReplacementMessage { text, is_of_agent: false });
        self.replace_context(&replacement.collect::<Vec<_>>(), summary, summary_point);
    }

    /// Replaces the messages in the model's context by those of a compaction. A message that existed before keeps its point
    /// and position. Messages that are not in the replacement move to `compacted_away`.
    pub(super) fn replace_context(
        &mut self,
        replacement: &[ReplacementMessage<'_>],
        summary: &str,
        summary_point: RollbackPoint,
    ) {
        let rope = std::mem::take(&mut self.in_context);
        let before: Vec<&CountedMessage> = rope.iter().collect();
        let matched = ReplacementMatch::find(&before, replacement, summary, summary_point);
        // The match lists everything from the newest on.
        for range in matched.dropped.into_iter().rev() {
            self.move_away(&rope, &before, range);
        }
        for run in matched.kept.into_iter().rev() {
            match run {
                KeptRun::Existing(range) => self.in_context.append(rope.slice(range)),
                KeptRun::New(message) => self.in_context.push(message),
            }
        }
    }

    /// Moves a range of the messages before a compaction to `compacted_away`, without the summaries in it: the new summary
    /// replaces them, and no client shows them.
    fn move_away(&mut self, rope: &MessageRope, before: &[&CountedMessage], range: Range<usize>) {
        let mut start = range.start;
        let is_summary = |index: &usize| before[*index].author == MessageAuthor::Summary;
        for end in range.clone().filter(is_summary).chain([range.end]) {
            if start < end {
                self.compacted_away.append(rope.slice(start..end));
            }
            start = end + 1;
        }
    }
}
