//! Writing metadata: names beside the logs, everything else in them.

use selvedge_history::{metadata_items, name_change};
use selvedge_protocol::{RolloutItem, SessionMeta, StoredThread, ThreadId, ThreadMetadataPatch};
use selvedge_rollout::{NameIndex, now, read_head};
use selvedge_thread_store::{BatchId, Result};

use crate::error::{store_error, while_gone};
use crate::store::Inner;

impl Inner {
    /// Applies what was observed to the row of a live thread, which follows in memory so that telling it costs no reading: it is
    /// in the log already. Nothing when the thread is not live, or its row is not at hand and `row` does not say it.
    pub(crate) fn observe_metadata(
        &self,
        thread_id: ThreadId,
        patch: &ThreadMetadataPatch,
        row: Option<StoredThread>,
    ) -> Option<StoredThread> {
        let live = self.live.find(thread_id)?;
        let mut known = live.row();
        if known.is_none() {
            *known = row;
        }
        let known = known.as_mut()?;
        patch.apply(known);
        Some(known.clone())
    }

    /// Keeps what somebody set. `before` is the thread's row.
    pub(crate) fn set_metadata(&self, before: &StoredThread, patch: &ThreadMetadataPatch) -> Result<()> {
        let thread_id = before.id;
        let items = self.items_that_keep(patch, before)?;
        if !items.is_empty() {
            self.append_anyway(thread_id, BatchId::generate(), &items)?;
        }
        if let Some(name) = name_change(patch)
            && name != before.name
        {
            NameIndex::set(&self.home, thread_id, name.as_deref(), now()).map_err(store_error)?;
        }
        if let Some(live) = self.live.find(thread_id) {
            live.forget_row();
        }
        Ok(())
    }

    fn items_that_keep(&self, patch: &ThreadMetadataPatch, row: &StoredThread) -> Result<Vec<RolloutItem>> {
        let beyond_name = ThreadMetadataPatch { name: None, ..patch.clone() };
        if beyond_name.is_empty() {
            return Ok(Vec::new());
        }
        let head = self.head(row.id)?.unwrap_or_else(|| SessionMeta::new(row.id, row.created_at));
        Ok(metadata_items(patch, &head, row))
    }

    /// The head of a thread's newest segment; nothing when it was lost to damage.
    pub(crate) fn head(&self, thread_id: ThreadId) -> Result<Option<SessionMeta>> {
        while_gone(|| read_head(self.resolve_now(thread_id)?.newest()).map_err(store_error))
    }

    /// Appends to a thread that is live here, or is made live for just this.
    pub(crate) fn append_anyway(&self, thread_id: ThreadId, batch: BatchId, items: &[RolloutItem]) -> Result<()> {
        if self.live.find(thread_id).is_some() {
            return self.append(thread_id, batch, items).map(drop);
        }
        self.open_recorder(thread_id)?.append(items).map(drop).map_err(store_error)
    }
}
