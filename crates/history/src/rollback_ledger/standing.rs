//! Which messages stand, and what a compaction and a rollback make of them.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use super::rope::MessageRope;
use super::{Cut, Message, Speaker};
use crate::compaction::{kept_messages, summary_text};
use crate::markers::is_user_fragment;

/// The messages that stand. A copy shares them.
#[derive(Clone, Debug, Default)]
pub(super) struct Standing {
    /// Those that go on showing while the model does not see them any more.
    left_out: MessageRope,
    /// Those that the model sees, all newer.
    seen: MessageRope,
}

/// A message that a compaction left.
pub(super) struct LeftMessage<'a> {
    pub(super) text: Cow<'a, str>,
    pub(super) is_of_agent: bool,
}

impl Standing {
    /// All messages, in order.
    pub(super) fn messages(&self) -> impl Iterator<Item = &Message> {
        self.left_out.iter().chain(self.seen.iter())
    }

    /// The model sees further messages.
    pub(super) fn say(&mut self, messages: MessageRope) {
        self.seen.append(messages);
    }

    /// Takes the newest messages away and gives the earliest of the places where they show.
    pub(super) fn roll_back(&mut self, count: usize) -> Option<Cut> {
        let undone = self.seen.take_newest(count);
        let before = self.left_out.take_newest(count - undone.len());
        undone.earliest().into_iter().chain(before.earliest()).min()
    }

    /// A compaction leaves it to its reader what the model sees after it.
    pub(super) fn compact(&mut self, summary: &str, own: Cut) {
        let seen = self.seen.clone();
        let own_words = seen.iter_newest_first().filter(|message| message.speaker != Speaker::Agent);
        let kept = kept_messages(own_words, summary);
        let texts = kept.into_iter().map(|(message, cut)| cut.map_or(Cow::Borrowed(&*message.text), Cow::Owned));
        let texts = texts.chain([Cow::Borrowed(summary_text(summary))]);
        // Told again in the user's name, a text may look like the program's.
        let left = texts.filter(|text| !is_user_fragment(text)).map(|text| LeftMessage { text, is_of_agent: false });
        self.replace_seen(&left.collect::<Vec<_>>(), summary, own);
    }

    /// Lets nothing stand of what the model saw but this, with the places of the messages that it was. Those that are not left
    /// go on showing.
    pub(super) fn replace_seen(&mut self, left: &[LeftMessage<'_>], summary: &str, own: Cut) {
        let rope = std::mem::take(&mut self.seen);
        let seen: Vec<&Message> = rope.iter().collect();
        let match_up = MatchUp::new(&seen, left, summary, own);
        for range in match_up.left_out.into_iter().rev() {
            self.leave_out(&rope, &seen, range);
        }
        for piece in match_up.kept.into_iter().rev() {
            match piece {
                Piece::Known(range) => self.seen.append(rope.slice(range)),
                Piece::New(message) => self.seen.push(message),
            }
        }
    }

    /// Lets a range of what the model saw go on showing. A summary that another one replaces stands for nothing any more.
    fn leave_out(&mut self, rope: &MessageRope, seen: &[&Message], range: Range<usize>) {
        let mut start = range.start;
        let is_summary = |at: &usize| seen[*at].speaker == Speaker::Summary;
        for end in range.clone().filter(is_summary).chain([range.end]) {
            if start < end {
                self.left_out.append(rope.slice(start..end));
            }
            start = end + 1;
        }
    }
}

/// Which of the messages that the model saw are those that a compaction left. Everything comes newest first.
struct MatchUp {
    kept: Vec<Piece>,
    /// Ranges of the others.
    left_out: Vec<Range<usize>>,
}

/// Messages that are seen behind a compaction.
enum Piece {
    /// These of the messages before, as they were.
    Known(Range<usize>),
    New(Message),
}

impl MatchUp {
    /// Goes through what was left from its end, each time looking for the newest message of the text among those before the
    /// one that was found last.
    fn new(seen: &[&Message], left: &[LeftMessage<'_>], summary: &str, own: Cut) -> Self {
        let mut match_up = Self { kept: Vec::new(), left_out: Vec::new() };
        let mut texts = Texts::of(seen);
        let mut end = seen.len();
        let mut is_found = !summary.is_empty() && left.iter().any(|message| message.text == summary);
        for LeftMessage { text, is_of_agent } in left.iter().rev() {
            let is_summary = text == summary;
            let found = if is_summary { None } else { texts.newest_before(end, text) };
            if is_summary || (found.is_none() && !is_found) {
                match_up.keep(Message { text: (**text).into(), speaker: Speaker::Summary, cut: own, position: None });
                continue;
            }
            is_found = true;
            // A message that is not found was cut short: it is the one before those that were not.
            let Some(at) = found.or(end.checked_sub(1)) else {
                let speaker = if *is_of_agent { Speaker::Agent } else { Speaker::User };
                match_up.keep(Message { text: (**text).into(), speaker, cut: own, position: None });
                continue;
            };
            match_up.left_out.push(at + 1..end);
            end = at;
            match found {
                Some(at) => match_up.keep_known(at),
                None => match_up.keep(Message { text: (**text).into(), ..seen[at].clone() }),
            }
        }
        match_up.left_out.push(0..end);
        match_up
    }

    fn keep(&mut self, message: Message) {
        self.kept.push(Piece::New(message));
    }

    fn keep_known(&mut self, at: usize) {
        match self.kept.last_mut() {
            Some(Piece::Known(range)) if range.start == at + 1 => range.start = at,
            _ => self.kept.push(Piece::Known(at..at + 1)),
        }
    }
}

/// How many messages are looked through for a text before all of them are put in order by their texts.
const CLOSE_BY: usize = 16;

/// Finds messages by their texts, from the end on.
struct Texts<'a> {
    seen: &'a [&'a Message],
    /// The places of each text, ascending; filled when a text is not close by.
    places: Option<HashMap<&'a str, Vec<usize>>>,
}

impl<'a> Texts<'a> {
    fn of(seen: &'a [&'a Message]) -> Self {
        Self { seen, places: None }
    }

    /// The newest message of this text before `end`, which must never grow from one call to the next.
    fn newest_before(&mut self, end: usize, text: &str) -> Option<usize> {
        let close_by = end.saturating_sub(CLOSE_BY);
        let found = self.seen[close_by..end].iter().rposition(|message| *message.text == *text);
        if found.is_some() || close_by == 0 {
            return Some(close_by + found?);
        }
        let places = self.places.get_or_insert_with(|| {
            let mut places: HashMap<&str, Vec<usize>> = HashMap::new();
            for (at, message) in self.seen[..end].iter().enumerate() {
                places.entry(&message.text).or_default().push(at);
            }
            places
        });
        let places = places.get_mut(text)?;
        while places.last().is_some_and(|at| *at >= end) {
            places.pop();
        }
        places.last().copied()
    }
}
