//! Archiving: all segments of a thread move into the archive, or out of it.
//!
//! Each file moves by a rename, or to another file system by a copy that gets its name when it is complete, as
//! `RolloutHome::move_file` describes. The newest segment decides whether the thread is archived, so it moves last, and its move is
//! the step by which the change takes effect. A crash before that leaves some older segments on the other side, where they are
//! found as well, and the thread where it was. Between two file systems it can leave both copies of one file, of which the active
//! one counts. Repeating the call moves the rest.

use std::path::PathBuf;

use selvedge_protocol::ThreadId;
use selvedge_rollout::RolloutFile;
use selvedge_thread_store::Result;

use crate::error::store_error;
use crate::store_core::StoreCore;

impl StoreCore {
    pub(crate) fn archive(&self, thread_id: ThreadId) -> Result<()> {
        self.move_segments(thread_id, true)
    }

    pub(crate) fn unarchive(&self, thread_id: ThreadId) -> Result<()> {
        self.move_segments(thread_id, false)
    }

    /// Moves every file that is not on the wanted side, oldest segment first.
    fn move_segments(&self, thread_id: ThreadId, archived: bool) -> Result<()> {
        let _lock = self.lock_cold(thread_id)?;
        let files = self.files()?;
        let segments = files.segments(thread_id);
        // A file is shadowed if another file has the same segment. Readers ignore it. If one of the two is active and the other
        // archived, readers use the active one. So the shadowed file must never be active while the other one is archived: into
        // the archive the shadowed files move first, out of it they move last.
        let counts = |file: &&RolloutFile| segments.iter().any(|segment| segment.path == file.path);
        let (mut order, shadowed): (Vec<_>, Vec<_>) = files.all_files(thread_id).partition(counts);
        let at = if archived { 0 } else { order.len() };
        order.splice(at..at, shadowed);
        for file in order {
            let target = self.path_in(file, archived);
            if file.archived == archived {
                // An earlier call may have moved it and failed before the move was durable.
                self.home.sync_rename(&self.path_in(file, !archived), &file.path).map_err(store_error)?;
            } else {
                self.home.move_file(&file.path, &target).map_err(store_error)?;
            }
        }
        Ok(())
    }

    /// Returns the path of a file in the archive, or outside of it.
    fn path_in(&self, file: &RolloutFile, archived: bool) -> PathBuf {
        if archived { self.home.archived_path(&file.name) } else { self.home.active_path(&file.name) }
    }
}
