//! Archiving: all segments of a thread move into the archive, or out of it.

use selvedge_protocol::{StoredThread, ThreadId};
use selvedge_rollout::{RolloutFile, move_file};
use selvedge_thread_store::Result;

use crate::error::store_error;
use crate::store::Inner;

impl Inner {
    pub(crate) fn archive(&self, thread_id: ThreadId) -> Result<StoredThread> {
        self.move_segments(thread_id, true)
    }

    pub(crate) fn unarchive(&self, thread_id: ThreadId) -> Result<StoredThread> {
        self.move_segments(thread_id, false)
    }

    /// Moves what is not where it belongs, oldest segment first: the newest one says whether the thread is archived, so a
    /// crash in between leaves it where it was, and repeating the call finishes the move.
    fn move_segments(&self, thread_id: ThreadId, archived: bool) -> Result<StoredThread> {
        let _lock = self.lock_cold(thread_id)?;
        for file in self.files()?.segments(thread_id).iter().filter(|file| file.archived != archived) {
            move_file(&file.path, &self.place_for(file, archived)).map_err(store_error)?;
        }
        self.read_thread(thread_id)
    }

    fn place_for(&self, file: &RolloutFile, archived: bool) -> std::path::PathBuf {
        if archived { self.home.archived_path(&file.name) } else { self.home.active_path(&file.name) }
    }
}
