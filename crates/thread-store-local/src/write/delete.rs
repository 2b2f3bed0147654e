//! Deleting a thread, unless other threads build on it.
//!
//! The files are removed one by one, newest segment first. A crash in between leaves the thread without its newest segments:
//! an older state of it, which every reader understands. Oldest first would leave a history without its beginning. Repeating
//! the call removes the rest.

use std::io;
use std::sync::Arc;

use selvedge_protocol::ThreadId;
use selvedge_rollout::{HomeFiles, NameIndex, ReferenceLock, ResolvedHistory, now};
use selvedge_thread_store::{Result, StoreError};

use crate::error::{retry_if_moved, store_error};
use crate::store_core::{FoundHistory, StoreCore};

impl StoreCore {
    pub(crate) fn delete(&self, thread_id: ThreadId) -> Result<()> {
        let _lock = self.lock_cold(thread_id)?;
        // From here on no fork, revert or import adds a reference. The search for dependents below stays right until the files
        // are gone.
        let _references = ReferenceLock::exclusive(&self.home).map_err(store_error)?;
        let files = self.files()?;
        require_all_readable(&files)?;
        let dependents = retry_if_moved(|| self.dependents(&files, thread_id))?;
        if !dependents.is_empty() {
            return Err(StoreError::HasDependents { thread_id, dependents });
        }
        retry_if_moved(|| self.require_no_diverged_dependents(&files, thread_id))?;
        let doomed: Vec<_> = files.all_files(thread_id).collect();
        for file in doomed.into_iter().rev() {
            self.home.remove_file(&file.path).map_err(store_error)?;
            // Each removal is durable before the next. Otherwise a power loss could undo a later one and keep an earlier one.
            self.home.sync_removal(&file.path).map_err(store_error)?;
        }
        self.cached_home.removed(thread_id);
        if self.names().get(thread_id).is_some()
            && let Err(error) = NameIndex::set(&self.home, thread_id, None, now())
        {
            // Not an error of the call: the thread is deleted, and no reader uses the name of a thread without files.
            tracing::warn!(%thread_id, %error, "the name of a deleted thread stays in the name index");
        }
        Ok(())
    }

    /// Returns the other threads whose histories contain a segment of this one.
    pub(crate) fn dependents(&self, files: &Arc<HomeFiles>, thread_id: ThreadId) -> Result<Vec<ThreadId>> {
        let mut dependents = Vec::new();
        // Every thread of the home is resolved: references point from a fork to its source, and nothing points back.
        for (other, _) in files.threads().filter(|(other, _)| *other != thread_id) {
            match self.resolve(Arc::clone(files), other) {
                Ok(FoundHistory { files, resolved }) if contains_segment_of(&resolved, &files, thread_id) => {
                    dependents.push(other);
                }
                Ok(_) | Err(StoreError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        dependents.sort_unstable();
        Ok(dependents)
    }

    /// Refuses a deletion while a diverged segment of another thread builds on the deleted one. Such a segment is in no history, so
    /// `dependents` does not see it, and detaching its thread does not copy what it builds on.
    fn require_no_diverged_dependents(&self, files: &HomeFiles, thread_id: ThreadId) -> Result<()> {
        for (other, _) in files.threads().filter(|(other, segments)| *other != thread_id && segments.len() > 1) {
            for diverged in self.diverged(other)? {
                let resolved = ResolvedHistory::ending_with(files, &diverged.file).map_err(store_error)?;
                if contains_segment_of(&resolved, files, thread_id) {
                    return Err(StoreError::invalid(format!(
                        "cannot delete: the history of thread {other} has diverged, and its other history builds on this thread; a \
                         repair of thread {other} makes a thread of it first"
                    )));
                }
            }
        }
        Ok(())
    }
}

/// Refuses a deletion while a directory cannot be read, in which there may be a thread that builds on the deleted one.
fn require_all_readable(files: &HomeFiles) -> Result<()> {
    let Some(hidden) = files.unreadable().next() else { return Ok(()) };
    let message =
        format!("cannot delete: {} cannot be read, and may hold threads that build on this one", hidden.path.display());
    Err(StoreError::backend(message, io::Error::new(io::ErrorKind::PermissionDenied, hidden.reason.clone())))
}

/// Returns whether a history contains a segment of a thread, also one that cannot be read at the moment.
fn contains_segment_of(resolved: &ResolvedHistory, files: &HomeFiles, thread_id: ThreadId) -> bool {
    let missing = resolved.missing.as_ref().and_then(|missing| files.segment(missing.segment_id));
    let files = resolved.parts.iter().map(|part| &part.file).chain(missing);
    files.into_iter().any(|file| file.name.thread_id == thread_id)
}
