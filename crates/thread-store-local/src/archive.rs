//! Archiving: all segments of a thread move into the archive, or out of it.

use selvedge_protocol::ThreadId;
use selvedge_rollout::RolloutFile;
use selvedge_thread_store::Result;

use crate::error::store_error;
use crate::store::Inner;

impl Inner {
    pub(crate) fn archive(&self, thread_id: ThreadId) -> Result<()> {
        self.move_segments(thread_id, true)
    }

    pub(crate) fn unarchive(&self, thread_id: ThreadId) -> Result<()> {
        self.move_segments(thread_id, false)
    }

    /// Moves what is not where it belongs, oldest segment first: the newest one says whether the thread is archived, so a
    /// crash in between leaves it where it was, and repeating the call finishes the move.
    ///
    /// Files that do not count because another one holds the same segment move along, and never leave the one that counts
    /// behind: of two, the active one would count.
    fn move_segments(&self, thread_id: ThreadId, archived: bool) -> Result<()> {
        let _lock = self.lock_cold(thread_id)?;
        let files = self.files()?;
        let segments = files.segments(thread_id);
        let counts = |file: &&RolloutFile| segments.iter().any(|segment| segment.path == file.path);
        let (mut order, shadowed): (Vec<_>, Vec<_>) = files.all_files(thread_id).partition(counts);
        let at = if archived { 0 } else { order.len() };
        order.splice(at..at, shadowed);
        for file in order {
            let place = self.place_for(file, archived);
            if file.archived == archived {
                // A call before this one may have moved it and failed then.
                self.home.sync_rename(&self.place_for(file, !archived), &file.path).map_err(store_error)?;
            } else {
                self.home.move_file(&file.path, &place).map_err(store_error)?;
            }
        }
        Ok(())
    }

    fn place_for(&self, file: &RolloutFile, archived: bool) -> std::path::PathBuf {
        if archived { self.home.archived_path(&file.name) } else { self.home.active_path(&file.name) }
    }
}
