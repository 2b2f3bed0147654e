//! What the model sees next, read from the end of the history: back to the newest compaction and no further than needed.

use std::convert::Infallible;

use selvedge_history::{ModelContext, Replay, opens_turn, replay_lines};
use selvedge_protocol::{RolloutLine, SessionMeta};
use selvedge_rollout::{BackwardEntry, ResolvedHistory, read_head};
use selvedge_thread_store::{Damage, Result};

use crate::error::store_error;
use crate::history::{MAX_TAIL_BYTES, damage_of, missing_damage};

/// How often a beginning is tried at each turn, before the next try waits until twice as much was read.
const EAGER_TRIES: u32 = 4;

/// The context of a history, read from its end. Nothing when that is not the way to read this one.
pub(crate) fn context_from_end(resolved: &ResolvedHistory) -> Result<Option<ModelContext>> {
    let mut tail = Tail::default();
    for entry in resolved.backwards() {
        let (part, record) = match entry.map_err(store_error)? {
            BackwardEntry::Line { part, record } => (part, record),
            BackwardEntry::Damage { part, damage } => {
                tail.damage.push(damage_of(resolved, part, damage));
                continue;
            }
            BackwardEntry::Unsure => return Ok(None),
        };
        tail.push(record.line);
        if tail.bytes > MAX_TAIL_BYTES {
            return Ok(None);
        }
        if tail.is_worth_a_try() {
            let head = read_head(&resolved.parts[part].file).map_err(store_error)?;
            if let Some(context) = tail.context(head.as_ref()) {
                return Ok(Some(context));
            }
        }
    }
    tail.damage.extend(missing_damage(resolved));
    Ok(Some(tail.whole_context()))
}

/// Says on the way to the context what of the history could not be read, in the order of the history.
pub(crate) fn warn_of(damage: Vec<Damage>, context: &mut ModelContext) {
    context.warnings.splice(0..0, damage.iter().map(|damage| format!("damaged: {damage}")));
}

/// The last lines of a history, the last one first.
#[derive(Default)]
struct Tail {
    lines: Vec<RolloutLine>,
    /// What could not be read between them, the last one first.
    damage: Vec<Damage>,
    bytes: usize,
    has_compaction: bool,
    tries: u32,
    /// How many bytes there must be for the next try.
    next_try: usize,
}

impl Tail {
    fn push(&mut self, line: RolloutLine) {
        self.bytes += line.text().len();
        self.has_compaction |= line.kind() == "compacted";
        self.lines.push(line);
    }

    /// Whether a replay may begin with the first of the lines and has a chance to tell the context.
    fn is_worth_a_try(&self) -> bool {
        self.has_compaction && self.bytes >= self.next_try && self.lines.last().is_some_and(opens_turn)
    }

    /// What the lines tell, if a replay that begins with them can tell the context.
    fn context(&mut self, head: Option<&SessionMeta>) -> Option<ModelContext> {
        self.tries += 1;
        if self.tries >= EAGER_TRIES {
            self.next_try = self.bytes * 2;
        }
        let context = Replay::from_middle(head, |replay| {
            self.forwards().for_each(|line| replay.push_line(line));
            Ok::<_, Infallible>(())
        });
        let mut context = context.unwrap_or_else(|never| match never {})?;
        warn_of(self.damage.iter().rev().cloned().collect(), &mut context);
        Some(context)
    }

    /// What the lines tell when they are the whole history.
    fn whole_context(&self) -> ModelContext {
        let mut context = replay_lines(self.forwards());
        warn_of(self.damage.iter().rev().cloned().collect(), &mut context);
        context
    }

    /// The lines in their order.
    fn forwards(&self) -> impl Iterator<Item = &RolloutLine> + Clone {
        self.lines.iter().rev()
    }
}
