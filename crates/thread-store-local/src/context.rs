//! What the model sees next, read from the end of the history: back to the newest compaction and no further than needed.

use selvedge_history::{ContextTail, ModelContext};
use selvedge_rollout::{BackwardEntry, ResolvedHistory, read_head};
use selvedge_thread_store::{Damage, Result};

use crate::error::store_error;
use crate::history::{MAX_TAIL_BYTES, damage_of, missing_damage};

/// The context of a history, read from its end. Nothing when that is not the way to read this one.
pub(crate) fn context_from_end(resolved: &ResolvedHistory) -> Result<Option<ModelContext>> {
    let mut tail = ContextTail::default();
    // What could not be read between its lines, the last one first.
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
        if tail.should_try_replay() {
            let head = read_head(&resolved.parts[part].file).map_err(store_error)?;
            if let Some(mut context) = tail.context(head.as_ref()) {
                damage.reverse();
                warn_of(damage, &mut context);
                return Ok(Some(context));
            }
        }
    }
    damage.extend(missing_damage(resolved));
    damage.reverse();
    let mut context = tail.whole_context();
    warn_of(damage, &mut context);
    Ok(Some(context))
}

/// Says on the way to the context what of the history could not be read, in the order of the history.
pub(crate) fn warn_of(damage: Vec<Damage>, context: &mut ModelContext) {
    context.warnings.splice(0..0, damage.iter().map(|damage| format!("damaged: {damage}")));
}
