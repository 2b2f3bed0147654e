//! Matches the replacement history of a compaction with the messages before it, by their texts.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use super::message::{CountedMessage, MessageAuthor, RollbackPoint};
use crate::context_fragments::is_program_summary;

/// A message of a replacement history that a rollback can count, or a summary of the program.
pub(super) struct ReplacementMessage<'a> {
    pub(super) text: Cow<'a, str>,
    pub(super) is_of_agent: bool,
}

/// Which messages of a replacement history existed before the compaction. Both lists begin with the newest.
pub(super) struct ReplacementMatch {
    pub(super) kept: Vec<KeptRun>,
    /// Ranges of the messages before the compaction that are not in the replacement history.
    pub(super) dropped: Vec<Range<usize>>,
}

/// Messages that are in the model's context after a compaction.
pub(super) enum KeptRun {
    /// This range of the messages before the compaction, unchanged.
    Existing(Range<usize>),
    New(CountedMessage),
}

impl ReplacementMatch {
    /// Finds for each message of the replacement history the message before the compaction that it repeats.
    pub(super) fn find(
        before: &[&CountedMessage],
        replacement: &[ReplacementMessage<'_>],
        summary: &str,
        summary_point: RollbackPoint,
    ) -> Self {
        // A replacement history holds texts and no ids, so texts decide. It keeps the order of the messages. So the search
        // goes from its end to its start, and searches for each message before the one that was found last:
        //
        //   before         a  b  c  d
        //   replacement          c' d  S       S is the summary, c' a truncated c
        //
        //   S    equals the summary: new, by the program
        //   d    the newest "d" before `end` = 4 is index 3
        //   c'   no such text before `end` = 3: it counts as the message just before `end`, c, with the text c'
        //   dropped        a  b                range 0..2
        //
        // Programs truncate the oldest message that they keep, and they keep the messages after it. So the neighbour is
        // usually the right one. If it is not, a rollback ends at a neighbouring message.
        let mut result = Self { kept: Vec::new(), dropped: Vec::new() };
        let mut texts = TextIndex::new(before);
        let mut end = before.len();
        // As long as this is false, a text that is not found counts as the summary: programs do not always repeat it in the
        // `message` field, but they put it at the end.
        let mut has_passed_summary = !summary.is_empty() && replacement.iter().any(|message| message.text == summary);
        for ReplacementMessage { text, is_of_agent } in replacement.iter().rev() {
            let new = |author| CountedMessage { text: (**text).into(), author, point: summary_point, position: None };
            // A rollback does not count a summary that the program marked as one.
            if is_program_summary(text) && !is_of_agent {
                has_passed_summary = true;
                continue;
            }
            let is_summary = text == summary;
            let found = if is_summary { None } else { texts.newest_before(end, text) };
            if is_summary || (found.is_none() && !has_passed_summary) {
                result.keep_new(new(MessageAuthor::Summary));
                continue;
            }
            has_passed_summary = true;
            // A text that is not found is a truncated one: it counts as the message just before those that were found.
            let Some(index) = found.or(end.checked_sub(1)) else {
                result.keep_new(new(if *is_of_agent { MessageAuthor::Agent } else { MessageAuthor::User }));
                continue;
            };
            result.dropped.push(index + 1..end);
            end = index;
            match found {
                Some(index) => result.keep_existing(index),
                None => result.keep_new(CountedMessage { text: (**text).into(), ..before[index].clone() }),
            }
        }
        result.dropped.push(0..end);
        result
    }

    fn keep_new(&mut self, message: CountedMessage) {
        self.kept.push(KeptRun::New(message));
    }

    fn keep_existing(&mut self, index: usize) {
        match self.kept.last_mut() {
            Some(KeptRun::Existing(range)) if range.start == index + 1 => range.start = index,
            _ => self.kept.push(KeptRun::Existing(index..index + 1)),
        }
    }
}

/// How many messages are compared one by one before an index by text is built.
const SCAN_LIMIT: usize = 16;

/// Finds messages by their texts, from the newest on.
struct TextIndex<'a> {
    messages: &'a [&'a CountedMessage],
    /// Indexes of the messages of each text, ascending. Built when a scan fails.
    by_text: Option<HashMap<&'a str, Vec<usize>>>,
}

impl<'a> TextIndex<'a> {
    const fn new(messages: &'a [&'a CountedMessage]) -> Self {
        Self { messages, by_text: None }
    }

    /// Returns the index of the newest message of this text before `end`. `end` must not grow from one call to the next.
    fn newest_before(&mut self, end: usize, text: &str) -> Option<usize> {
        let scan_start = end.saturating_sub(SCAN_LIMIT);
        let found = self.messages[scan_start..end].iter().rposition(|message| *message.text == *text);
        if found.is_some() || scan_start == 0 {
            return Some(scan_start + found?);
        }
        let by_text = self.by_text.get_or_insert_with(|| {
            let mut by_text: HashMap<&str, Vec<usize>> = HashMap::new();
            for (index, message) in self.messages[..end].iter().enumerate() {
                by_text.entry(&message.text).or_default().push(index);
            }
            by_text
        });
        let indexes = by_text.get_mut(text)?;
        // `end` only decreases, so indexes after it are never needed again.
        while indexes.last().is_some_and(|index| *index >= end) {
            indexes.pop();
        }
        indexes.last().copied()
    }
}
