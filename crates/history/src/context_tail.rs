//! The tail of a history that a replay needs: back to the newest compaction, and no further than necessary.

use std::convert::Infallible;

use selvedge_protocol::{RolloutLine, SessionMeta};

use crate::{ModelContext, Replay, opens_turn, replay_lines};

/// How many replays are tried at successive turns. Later tries wait until twice as many bytes were read. More eager tries read
/// less if one of them succeeds; doubling bounds the cost of failed tries by that of reading the tail.
const EAGER_TRIES: u32 = 4;

/// The last lines of a history, collected from the end until a replay of them determines what the model sees next.
#[derive(Debug, Default)]
pub struct ContextTail {
    /// The lines, the last one first.
    lines: Vec<RolloutLine>,
    bytes: usize,
    has_compaction: bool,
    tries: u32,
    /// Minimum number of bytes for the next try.
    next_try: usize,
}

impl ContextTail {
    /// Adds the line before those so far.
    pub fn push(&mut self, line: RolloutLine) {
        self.bytes += line.text().len();
        self.has_compaction |= line.kind() == "compacted";
        self.lines.push(line);
    }

    /// Returns the number of bytes in the lines.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns whether a replay may begin with the first of the lines and has a chance to succeed.
    #[must_use]
    pub fn should_try_replay(&self) -> bool {
        self.has_compaction && self.bytes >= self.next_try && self.lines.last().is_some_and(opens_turn)
    }

    /// Replays the lines. `None` if the context depends on lines before them. `head` is the `session_meta` at the beginning of
    /// the segment with the first of them. The warnings are those of these lines only.
    pub fn context(&mut self, head: Option<&SessionMeta>) -> Option<ModelContext> {
        self.tries += 1;
        if self.tries >= EAGER_TRIES {
            self.next_try = self.bytes * 2;
        }
        let context = Replay::from_tail(head, |replay| {
            self.forwards().for_each(|line| replay.push_line(line));
            Ok::<_, Infallible>(())
        });
        context.unwrap_or_else(|never| match never {})
    }

    /// Replays the lines as the whole history.
    #[must_use]
    pub fn whole_context(&self) -> ModelContext {
        replay_lines(self.forwards())
    }

    /// Returns the lines in their order.
    fn forwards(&self) -> impl Iterator<Item = &RolloutLine> + Clone {
        self.lines.iter().rev()
    }
}
