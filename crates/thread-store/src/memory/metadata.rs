//! Changing what is said of a thread, and where it is kept.

use std::time::SystemTime;

use selvedge_protocol::{StoredThread, ThreadId, ThreadMetadataPatch, Timestamp};

use super::state::{State, Writer};
use crate::implement::plan_patch;
use crate::{MetadataOrigin, Result, StoreError};

impl State {
    pub(super) fn update_metadata(
        &mut self,
        writer: Writer,
        thread_id: ThreadId,
        patch: &ThreadMetadataPatch,
        origin: MetadataOrigin,
    ) -> Result<StoredThread> {
        match origin {
            // The log says it already.
            MetadataOrigin::Derived => self.thread_mut(thread_id)?.apply(patch),
            MetadataOrigin::Explicit => self.keep(writer, thread_id, patch)?,
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
        let now = Timestamp::from(SystemTime::now());
        let head = self.history(thread_id)?.newest_head();
        let (items, row) = plan_patch(patch, head, self.row(thread_id)?, now);
        if !items.is_empty() {
            self.check_cold(thread_id, Some(writer))?;
            self.push_items(thread_id, &items, now)?;
        }
        self.thread_mut(thread_id)?.set_row(row);
        Ok(())
    }
}
