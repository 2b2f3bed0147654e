//! Changing what is said of a thread, and where it is kept.

use selvedge_history::{MetadataFold, items_to_keep, name_change};
use selvedge_protocol::{SessionMeta, StoredThread, ThreadId, ThreadMetadataPatch};

use super::state::{State, Writer};
use crate::{PatchOrigin, Result, StoreError};

impl State {
    pub(super) fn update_metadata(
        &mut self,
        writer: Writer,
        thread_id: ThreadId,
        patch: &ThreadMetadataPatch,
        origin: PatchOrigin,
    ) -> Result<StoredThread> {
        match origin {
            // The log says it already.
            PatchOrigin::Observed => self.thread_mut(thread_id)?.apply(patch),
            PatchOrigin::Explicit => self.keep(writer, thread_id, patch)?,
        }
        self.row(thread_id)
    }

    pub(super) fn set_archived(&mut self, thread_id: ThreadId, archived: bool) -> Result<StoredThread> {
        self.check_cold(thread_id, None)?;
        self.thread_mut(thread_id)?.archived = archived;
        self.row(thread_id)
    }

    pub(super) fn delete(&mut self, thread_id: ThreadId) -> Result<()> {
        self.check_cold(thread_id, None)?;
        let dependents = self.dependents(thread_id);
        if !dependents.is_empty() {
            return Err(StoreError::HasDependents { thread_id, dependents });
        }
        self.remove(thread_id);
        Ok(())
    }

    fn keep(&mut self, writer: Writer, thread_id: ThreadId, patch: &ThreadMetadataPatch) -> Result<()> {
        let row = self.row(thread_id)?;
        let head = self.history(thread_id)?.newest_head();
        let head = head.unwrap_or_else(|| SessionMeta::new(thread_id, row.created_at));
        let items = items_to_keep(patch, &head, &row);
        if !items.is_empty() {
            self.check_cold(thread_id, Some(writer))?;
            let at = self.push_items(thread_id, &items)?;
            let mut fold = MetadataFold::resume(row);
            let facts = items.iter().map(|item| fold.observe(item, Some(at))).reduce(merged);
            self.thread_mut(thread_id)?.apply(&facts.unwrap_or_default());
        }
        if let Some(name) = name_change(patch) {
            self.thread_mut(thread_id)?.name = name;
        }
        Ok(())
    }
}

fn merged(mut earlier: ThreadMetadataPatch, later: ThreadMetadataPatch) -> ThreadMetadataPatch {
    earlier.merge(later);
    earlier
}
