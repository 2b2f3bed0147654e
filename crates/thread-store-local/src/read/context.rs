//! The model context of a thread: what the model sees next.
//!
//! It is read from the end of the history, back to the newest compaction and no further than needed. So its cost does not
//! grow with the history.

use selvedge_history::{ContextTail, ModelContext, Replay, ReplayOptions};
use selvedge_protocol::ThreadId;
use selvedge_protocol::log::Entry;
use selvedge_rollout::{BackwardEntry, HistoryEntry, ResolvedHistory, read_head};
use selvedge_thread_store::{Damage, Result, StoreError};

use super::damage::{damage_of, missing_damage, short_damage};
use crate::error::store_error;
use crate::limits::MAX_TAIL_BYTES;
use crate::store_core::StoreCore;

impl StoreCore {
    pub(crate) fn load_model_context(&self, thread_id: ThreadId) -> Result<ModelContext> {
        let resolved = self.resolve_now(thread_id)?;
        match context_from_end(&resolved)? {
            Some(context) => Ok(context),
            None => context_from_beginning(&resolved),
        }
    }
}

/// Replays a whole history forward.
fn context_from_beginning(resolved: &ResolvedHistory) -> Result<ModelContext> {
    let mut damage = Vec::new();
    let mut context = Replay::whole(ReplayOptions::default(), |replay| {
        // A replay may read the lines more than once. Each pass starts over, so that no damage is reported twice.
        damage = missing_damage(resolved).into_iter().collect();
        for entry in resolved.reader() {
            match entry.map_err(store_error)? {
                HistoryEntry::Entry { entry: Entry::Line(record), .. } => replay.push_line(&record.line),
                HistoryEntry::Entry { part, entry: Entry::Damage(damaged) } => {
                    damage.push(damage_of(resolved, part, damaged));
                }
                HistoryEntry::Short { part, len } => damage.push(short_damage(resolved, part, len)),
            }
        }
        Ok::<_, StoreError>(())
    })?;
    add_warnings(damage, &mut context);
    Ok(context)
}

/// Reads the context of a history from its end. `None` if this history has to be read forward: it is compressed, or the
/// context begins too far back.
fn context_from_end(resolved: &ResolvedHistory) -> Result<Option<ModelContext>> {
    let mut tail = ContextTail::default();
    // Damage between the lines of the tail, newest first as the lines are.
    let mut damage = Vec::new();
    for entry in resolved.backwards() {
        let (part, record) = match entry.map_err(store_error)? {
            BackwardEntry::Line { part, record } => (part, record),
            BackwardEntry::Damage { part, damage: found } => {
                damage.push(damage_of(resolved, part, found));
                continue;
            }
            BackwardEntry::NeedsForwardRead => return Ok(None),
        };
        tail.push(record.line);
        if tail.bytes() > MAX_TAIL_BYTES {
            return Ok(None);
        }
        // An attempt replays the whole tail. The tail knows when one may succeed, so there are few attempts.
        if tail.should_try_replay() {
            let head = read_head(&resolved.parts[part].file).map_err(store_error)?;
            if let Some(mut context) = tail.context(head.as_ref()) {
                damage.reverse();
                add_warnings(damage, &mut context);
                return Ok(Some(context));
            }
        }
    }
    // The tail has reached the beginning: it is the whole history, and what comes before it is missing.
    damage.extend(missing_damage(resolved));
    damage.reverse();
    let mut context = tail.whole_context();
    add_warnings(damage, &mut context);
    Ok(Some(context))
}

/// Puts a warning for each damage before the other warnings of the context. `damage` is in the order of the history.
fn add_warnings(damage: Vec<Damage>, context: &mut ModelContext) {
    context.warnings.splice(0..0, damage.iter().map(|damage| format!("damaged: {damage}")));
}
