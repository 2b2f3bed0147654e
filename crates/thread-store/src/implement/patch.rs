//! What a change of metadata that somebody made comes to.

use selvedge_history::{MetadataFold, metadata_items, name_change};
use selvedge_protocol::{RolloutItem, SessionMeta, StoredThread, ThreadMetadataPatch, Timestamp};

/// Returns the items that keep an explicit patch in the log when they are written at the time `now`, none if it says nothing but a
/// name; and the row as it is then. `head` is the newest head of the thread's own, if it has one.
#[must_use]
pub fn plan_patch(
    patch: &ThreadMetadataPatch,
    head: Option<SessionMeta>,
    row: StoredThread,
    now: Timestamp,
) -> (Vec<RolloutItem>, StoredThread) {
    let head = head.unwrap_or_else(|| SessionMeta::new(row.id, row.created_at));
    let items = metadata_items(patch, &head, &row);
    let mut fold = MetadataFold::resume(row);
    for item in &items {
        fold.observe(item, Some(now));
    }
    let mut row = fold.into_thread();
    if let Some(name) = name_change(patch) {
        row.name = name;
    }
    (items, row)
}
