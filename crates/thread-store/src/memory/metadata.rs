//! Metadata, the archive, and deletion.

use std::time::SystemTime;

use selvedge_protocol::{StoredThread, ThreadId, ThreadMetadataPatch, Timestamp};

use super::threads::{MemoryState, WriterId};
use crate::implement::plan_patch;
use crate::{MetadataOrigin, Result, StoreError};

impl MemoryState {
    pub(super) fn update_metadata(
        &mut self,
        writer: WriterId,
        thread_id: ThreadId,
        patch: &ThreadMetadataPatch,
        origin: MetadataOrigin,
    ) -> Result<StoredThread> {
        match origin {
            // The log has these facts already.
            MetadataOrigin::Derived => self.thread_mut(thread_id)?.apply(patch),
            MetadataOrigin::Explicit => self.update_explicitly(writer, thread_id, patch)?,
        }
        self.record(thread_id)
    }

    pub(super) fn set_archived(&mut self, thread_id: ThreadId, archived: bool) -> Result<StoredThread> {
        self.check_cold(thread_id, None)?;
        self.thread_mut(thread_id)?.archived = archived;
        self.record(thread_id)
    }

    pub(super) fn delete(&mut self, thread_id: ThreadId) -> Result<()> {
        self.check_cold(thread_id, None)?;
        // Deleting the thread would remove lines from the histories that go through it.
        let dependents = self.dependents(thread_id);
        if !dependents.is_empty() {
            return Err(StoreError::HasDependents { thread_id, dependents });
        }
        self.remove(thread_id);
        Ok(())
    }

    /// Writes an explicit patch to the log, except for a name, which is not part of the log.
    fn update_explicitly(&mut self, writer: WriterId, thread_id: ThreadId, patch: &ThreadMetadataPatch) -> Result<()> {
        let now = Timestamp::from(SystemTime::now());
        let head = self.history(thread_id)?.newest_head();
        let (items, record) = plan_patch(patch, head, self.record(thread_id)?, now);
        // Only a write to the log needs the writer. A name can be set while another store has the thread.
        if !items.is_empty() {
            self.check_cold(thread_id, Some(writer))?;
            self.push_items(thread_id, &items, now)?;
        }
        self.thread_mut(thread_id)?.set_record(record);
        Ok(())
    }
}
