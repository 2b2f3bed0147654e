//! From where on the lines of a history tell what the model sees next.

use std::convert::Infallible;

use selvedge_protocol::{RolloutLine, SessionMeta};

use crate::{ModelContext, Replay, opens_turn, replay_lines};

/// How often a beginning is tried at each turn, before the next try waits until twice as much was read.
const EAGER_TRIES: u32 = 4;

/// The last lines of a history, taken from the last one on until they tell what the model sees next: back to the newest
/// compaction, and no further than needed.
#[derive(Debug, Default)]
pub struct ContextTail {
    /// The last one first.
    lines: Vec<RolloutLine>,
    bytes: usize,
    has_compaction: bool,
    tries: u32,
    /// How many bytes there must be for the next try.
    next_try: usize,
}

impl ContextTail {
    /// Takes the line before those that were taken.
    pub fn push(&mut self, line: RolloutLine) {
        self.bytes += line.text().len();
        self.has_compaction |= line.kind() == "compacted";
        self.lines.push(line);
    }

    /// How many bytes the lines have.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether a replay may begin with the first of the lines and has a chance to tell the context.
    #[must_use]
    pub fn is_worth_a_try(&self) -> bool {
        self.has_compaction && self.bytes >= self.next_try && self.lines.last().is_some_and(opens_turn)
    }

    /// What the lines tell, if a replay that begins with them can tell the context. `head` is the `session_meta` that the
    /// segment of the first of them begins with. The warnings are of these lines only.
    pub fn context(&mut self, head: Option<&SessionMeta>) -> Option<ModelContext> {
        self.tries += 1;
        if self.tries >= EAGER_TRIES {
            self.next_try = self.bytes * 2;
        }
        let context = Replay::from_middle(head, |replay| {
            self.forwards().for_each(|line| replay.push_line(line));
            Ok::<_, Infallible>(())
        });
        context.unwrap_or_else(|never| match never {})
    }

    /// What the lines tell when they are the whole history.
    #[must_use]
    pub fn whole_context(&self) -> ModelContext {
        replay_lines(self.forwards())
    }

    /// The lines in their order.
    fn forwards(&self) -> impl Iterator<Item = &RolloutLine> + Clone {
        self.lines.iter().rev()
    }
}
