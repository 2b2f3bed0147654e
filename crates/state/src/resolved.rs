//! Reads the history of a thread whose files may be moved meanwhile.

use std::sync::Arc;

use selvedge_protocol::ThreadId;
use selvedge_rollout::{CachedHome, HomeFiles, ResolvedHistory, retry_if_moved};

use crate::error::{IndexError, Result};

/// Resolves the history of a thread among `files` and reads it. If a file is not at its path any more, lists the files of the
/// home again and retries. Returns `None` if the thread does not exist any more.
pub(crate) fn read_resolved<T>(
    cached_home: &CachedHome,
    files: &Arc<HomeFiles>,
    thread_id: ThreadId,
    mut read: impl FnMut(&HomeFiles, &ResolvedHistory) -> Result<T>,
) -> Result<Option<T>> {
    let mut listed = Some(Arc::clone(files));
    retry_if_moved(IndexError::is_gone, || {
        let files = listed.take().map_or_else(|| cached_home.files(), Ok)?;
        let (files, Some(resolved)) = cached_home.try_resolve(files, thread_id)? else { return Ok(None) };
        read(&files, &resolved).map(Some)
    })
}
