//! Deleting a thread, unless others build on it.

use std::collections::{BTreeSet, HashSet};

use selvedge_protocol::{HistoryMode, SegmentId, ThreadId};
use selvedge_rollout::{HomeFiles, NameIndex, now, read_head, remove_file};
use selvedge_thread_store::{Result, StoreError};

use crate::error::store_error;
use crate::store::Inner;

impl Inner {
    pub(crate) fn delete(&self, thread_id: ThreadId) -> Result<()> {
        let _lock = self.lock_cold(thread_id)?;
        let files = self.files()?;
        let dependents = dependents(&files, thread_id)?;
        if !dependents.is_empty() {
            return Err(StoreError::HasDependents { thread_id, dependents });
        }
        // Newest first: what a crash in between leaves is an older state of the thread, not a broken one.
        let doomed: Vec<_> = files.all_files(thread_id).collect();
        for file in doomed.into_iter().rev() {
            remove_file(&file.path).map_err(store_error)?;
        }
        if self.names()?.get(thread_id).is_some() {
            NameIndex::set(&self.home, thread_id, None, now()).map_err(store_error)?;
        }
        Ok(())
    }
}

/// The other threads of which a segment has its base in a segment of this one.
fn dependents(files: &HomeFiles, thread_id: ThreadId) -> Result<Vec<ThreadId>> {
    let own: HashSet<SegmentId> = files.segments(thread_id).iter().map(|file| file.name.segment_id()).collect();
    let mut dependents = BTreeSet::new();
    for (other, segments) in files.threads().filter(|(other, _)| *other != thread_id) {
        for file in segments {
            let head = read_head(file).map_err(store_error)?;
            let base = head.filter(|head| head.mode() == HistoryMode::Paginated).and_then(|head| head.history_base);
            if base.and_then(|base| base.thread_id).is_some_and(|base| own.contains(&base)) {
                dependents.insert(other);
            }
        }
    }
    Ok(dependents.into_iter().collect())
}
