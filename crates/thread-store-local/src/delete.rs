//! Deleting a thread, unless others build on it.

use std::sync::Arc;

use selvedge_protocol::ThreadId;
use selvedge_rollout::{HomeFiles, NameIndex, ReferenceLock, ResolvedHistory, now};
use selvedge_thread_store::{Result, StoreError};

use crate::error::{store_error, while_gone};
use crate::store::Inner;

impl Inner {
    pub(crate) fn delete(&self, thread_id: ThreadId) -> Result<()> {
        let _lock = self.lock_cold(thread_id)?;
        // From here on nobody begins to build on the thread.
        let _references = ReferenceLock::exclusive(&self.home).map_err(store_error)?;
        let files = self.files()?;
        let dependents = while_gone(|| self.dependents(&files, thread_id))?;
        if !dependents.is_empty() {
            return Err(StoreError::HasDependents { thread_id, dependents });
        }
        // Newest first: what a crash in between leaves is an older state of the thread, not a broken one.
        let doomed: Vec<_> = files.all_files(thread_id).collect();
        for file in doomed.into_iter().rev() {
            self.home.remove_file(&file.path).map_err(store_error)?;
            self.home.sync_removal(&file.path).map_err(store_error)?;
        }
        self.remembered.removed(thread_id);
        if self.names().get(thread_id).is_some()
            && let Err(error) = NameIndex::set(&self.home, thread_id, None, now())
        {
            // The thread is gone, and nobody asks for the name of a thread that is not there.
            tracing::warn!(%thread_id, %error, "the name of a deleted thread stays in the name index");
        }
        Ok(())
    }

    /// The other threads whose histories go through a segment of this one.
    fn dependents(&self, files: &Arc<HomeFiles>, thread_id: ThreadId) -> Result<Vec<ThreadId>> {
        let mut dependents = Vec::new();
        for (other, _) in files.threads().filter(|(other, _)| *other != thread_id) {
            match self.resolve(Arc::clone(files), other) {
                Ok((files, resolved)) if goes_through(&resolved, &files, thread_id) => dependents.push(other),
                Ok(_) | Err(StoreError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        dependents.sort_unstable();
        Ok(dependents)
    }
}

/// Whether a history has a part in a thread, be it one that cannot be read just now.
fn goes_through(resolved: &ResolvedHistory, files: &HomeFiles, thread_id: ThreadId) -> bool {
    let missing = resolved.missing.as_ref().and_then(|missing| files.segment(missing.segment_id));
    let files = resolved.parts.iter().map(|part| &part.file).chain(missing);
    files.into_iter().any(|file| file.name.thread_id == thread_id)
}
