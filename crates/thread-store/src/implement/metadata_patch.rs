//! What an explicit change of metadata writes.

use selvedge_history::{MetadataFold, metadata_items, name_change};
use selvedge_protocol::{RolloutItem, SessionMeta, StoredThread, ThreadMetadataPatch, Timestamp};

/// Returns the items that store an explicit patch in the log, and the new thread record. The items are written at the
/// time `now`.
///
/// There are no items if the patch contains nothing but a name: a name is not part of the log, and the store keeps it
/// separately. `head` is the newest head that belongs to the thread itself, if it has one. `record` is the present
/// thread record.
#[must_use]
pub fn plan_patch(
    patch: &ThreadMetadataPatch,
    head: Option<SessionMeta>,
    record: StoredThread,
    now: Timestamp,
) -> (Vec<RolloutItem>, StoredThread) {
    let head = head.unwrap_or_else(|| SessionMeta::new(record.id, record.created_at));
    let items = metadata_items(patch, &head, &record);
    // The record is derived from the items, not from the patch. So it is the same as the one that a reader of the log
    // derives.
    let mut fold = MetadataFold::resume(record);
    for item in &items {
        fold.observe(item, Some(now));
    }
    let mut record = fold.into_thread();
    if let Some(name) = name_change(patch) {
        record.name = name;
    }
    (items, record)
}
