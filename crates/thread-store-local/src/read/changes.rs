//! Changes in a home: a comparison of its files with those of the previous comparison.
//!
//! No log of changes exists on disk, because other programs write the same home. So each query stats every file, and hashes the
//! name of a thread and the paths and stamps of its files into a version. A thread whose version differs has changed.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{MutexGuard, PoisonError};

use selvedge_protocol::{Cursor, ThreadId};
use selvedge_rollout::{FileStamp, RolloutFile};
use selvedge_thread_store::implement::ChangeLog;
use selvedge_thread_store::{ChangePage, LineQuery, LineStart, Result, StoreError, ThreadChange};

use crate::error::{retry_if_moved, store_error};
use crate::store_core::StoreCore;

impl StoreCore {
    pub(crate) fn list_changes(&self, after: Option<&Cursor>, limit: usize) -> Result<ChangePage> {
        // The lock ends before the threads are read: another query may compare meanwhile, and the page is still right, since a
        // later change has a later cursor.
        let (found, end) = {
            let mut log = self.change_log();
            self.compare(&mut log)?;
            let found = log.after(after, limit)?;
            let end = log.end();
            (found, end)
        };
        let is_end = found.len() < limit;
        let next = found.last().filter(|_| !is_end).map_or(end, |(.., cursor)| cursor.clone());
        let changes = found.into_iter().map(|(thread_id, version, _)| self.change(thread_id, version));
        Ok(ChangePage { changes: changes.collect::<Result<_>>()?, next, is_end })
    }

    pub(crate) fn has_changes(&self, after: &Cursor) -> Result<bool> {
        let mut log = self.change_log();
        self.compare(&mut log)?;
        Ok(!log.after(Some(after), 1)?.is_empty())
    }

    /// Compares every file of the home with the log of changes, and adds what differs.
    fn compare(&self, log: &mut ChangeLog) -> Result<()> {
        let files = self.files()?;
        let names = self.names();
        let version = |(thread_id, segments): (ThreadId, &[RolloutFile])| {
            let mut hasher = DefaultHasher::new();
            names.get(thread_id).map(|entry| &entry.name).hash(&mut hasher);
            for file in segments {
                // A file that was just moved has no stamp here. It counts as changed, and again at the next comparison.
                (&file.path, FileStamp::read(&file.path).unwrap_or_default()).hash(&mut hasher);
            }
            (thread_id, format!("{:x}", hasher.finish()))
        };
        log.update(files.threads().map(version));
        Ok(())
    }

    fn change(&self, thread_id: ThreadId, version: Option<String>) -> Result<ThreadChange> {
        let Some(version) = version else { return Ok(ThreadChange::Gone { thread_id }) };
        match self.read_lines(&LineQuery::from(thread_id, LineStart::End)) {
            Ok(page) => Ok(ThreadChange::Present { thread_id, end: page.next, version }),
            // It was deleted after the comparison. The next page would report that, too.
            Err(StoreError::NotFound { .. }) => Ok(ThreadChange::Gone { thread_id }),
            Err(error) => Err(error),
        }
    }

    fn change_log(&self) -> MutexGuard<'_, ChangeLog> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a thread's files look like without reading them. Two equal snapshots mean that nothing has changed in between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileSnapshot {
    files: Vec<RolloutFile>,
    newest: Option<FileStamp>,
}

impl FileSnapshot {
    /// Returns whether the newest file still looks the same. Costs one `stat`.
    pub(crate) fn is_newest_unchanged(&self) -> bool {
        let newest = self.files.last().map(|newest| FileStamp::read(&newest.path));
        newest.is_some_and(|newest| newest.is_ok_and(|newest| Some(newest) == self.newest))
    }
}

impl StoreCore {
    /// Takes a snapshot of a thread's files.
    pub(crate) fn snapshot_files(&self, thread_id: ThreadId) -> Result<FileSnapshot> {
        retry_if_moved(|| {
            let files = self.files()?.segments(thread_id).to_vec();
            let newest = files.last().map(|newest| FileStamp::read(&newest.path)).transpose().map_err(store_error)?;
            Ok(FileSnapshot { files, newest })
        })
    }
}
