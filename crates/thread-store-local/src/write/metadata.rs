//! Writing metadata: names into the name index, everything else into the log.
//!
//! A patch may do both. The line is appended first. A crash after it leaves the new metadata with the old name, and repeating
//! the call sets the name.

use selvedge_history::{metadata_items, name_change};
use selvedge_protocol::{RolloutItem, SessionMeta, StoredThread, ThreadId, ThreadMetadataPatch};
use selvedge_rollout::{NameIndex, now};
use selvedge_thread_store::{BatchId, Result};

use crate::error::store_error;
use crate::store_core::StoreCore;

impl StoreCore {
    /// Applies derived metadata to the record that a live thread keeps in memory. Nothing is written: it was derived from items
    /// that are in the log already.
    ///
    /// Returns `None` if the thread is not live, or has no record in memory and `record` does not provide one.
    pub(crate) fn apply_derived_metadata(
        &self,
        thread_id: ThreadId,
        patch: &ThreadMetadataPatch,
        record: Option<StoredThread>,
    ) -> Option<StoredThread> {
        let live = self.live.find(thread_id)?;
        let mut known = live.record();
        // A record that came into memory meanwhile is newer than the one that the caller has read.
        if known.is_none() {
            *known = record;
        }
        let known = known.as_mut()?;
        patch.apply(known);
        Some(known.clone())
    }

    /// Writes metadata that a caller has set. `before` is the thread record.
    pub(crate) fn set_metadata(&self, before: &StoredThread, patch: &ThreadMetadataPatch) -> Result<()> {
        let thread_id = before.id;
        let items = self.items_for_log(patch, before)?;
        if !items.is_empty() {
            self.append_live_or_cold(thread_id, BatchId::generate(), &items)?;
        }
        if let Some(name) = name_change(patch)
            && name != before.name
        {
            NameIndex::set(&self.home, thread_id, name.as_deref(), now()).map_err(store_error)?;
        }
        // After the write: a record that is read from now on contains the patch. Forgotten before, an old one could come back.
        if let Some(live) = self.live.find(thread_id) {
            live.forget_record();
        }
        Ok(())
    }

    /// Returns the items that record a patch in the log. None for a patch of the name alone.
    fn items_for_log(&self, patch: &ThreadMetadataPatch, record: &StoredThread) -> Result<Vec<RolloutItem>> {
        let beyond_name = ThreadMetadataPatch { name: None, ..patch.clone() };
        if beyond_name.is_empty() {
            return Ok(Vec::new());
        }
        let head = self.newest_head(record.id)?.unwrap_or_else(|| SessionMeta::new(record.id, record.created_at));
        Ok(metadata_items(patch, &head, record))
    }

    /// Appends to a thread. One that is not live here is opened for just this append.
    fn append_live_or_cold(&self, thread_id: ThreadId, batch: BatchId, items: &[RolloutItem]) -> Result<()> {
        if self.live.find(thread_id).is_some() {
            return self.append(thread_id, batch, items).map(drop);
        }
        self.open_recorder(thread_id)?.append(items).map(drop).map_err(store_error)
    }
}
