//! What changed in a home: how its files look from outside, compared with the last time.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{MutexGuard, PoisonError};

use selvedge_protocol::{Cursor, ThreadId};
use selvedge_rollout::{FileStamp, RolloutFile};
use selvedge_thread_store::implement::ChangeLog;
use selvedge_thread_store::{ChangePage, LineQuery, LineStart, Result, StoreError, ThreadChange};

use crate::lines::TICKS_PER_WALK;
use crate::store::{Inner, LocalThreadStore};
use crate::ticker::Wake;

impl Inner {
    pub(crate) fn list_changes(&self, after: Option<&Cursor>, limit: usize) -> Result<ChangePage> {
        let found = {
            let mut log = self.change_log();
            self.compare(&mut log)?;
            let found = log.after(after, limit)?;
            let end = log.end();
            (found, end)
        };
        let (found, end) = found;
        let is_end = found.len() < limit;
        let next = found.last().filter(|_| !is_end).map_or(end, |(.., cursor)| cursor.clone());
        let changes = found.into_iter().map(|(thread_id, version, _)| self.change(thread_id, version));
        Ok(ChangePage { changes: changes.collect::<Result<_>>()?, next, is_end })
    }

    fn has_changes(&self, after: &Cursor) -> Result<bool> {
        let mut log = self.change_log();
        self.compare(&mut log)?;
        Ok(!log.after(Some(after), 1)?.is_empty())
    }

    /// Looks at every file of the home.
    fn compare(&self, log: &mut ChangeLog) -> Result<()> {
        let files = self.files()?;
        let names = self.names();
        let version = |(thread_id, segments): (ThreadId, &[RolloutFile])| {
            let mut hasher = DefaultHasher::new();
            names.get(thread_id).map(|entry| &entry.name).hash(&mut hasher);
            for file in segments {
                // One that was moved just now looks different.
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
            // Somebody deleted it meanwhile; the next page would say so, too.
            Err(StoreError::NotFound { .. }) => Ok(ThreadChange::Gone { thread_id }),
            Err(error) => Err(error),
        }
    }

    fn change_log(&self) -> MutexGuard<'_, ChangeLog> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LocalThreadStore {
    /// Waits until something has changed: looks when this store writes, and else about once in a second.
    pub(crate) async fn wait_for_changes_after(&self, after: &Cursor) -> Result<()> {
        let mut ticks = self.inner.ticker.subscribe();
        loop {
            let cursor = after.clone();
            if self.reading(move |store| store.has_changes(&cursor)).await? {
                return Ok(());
            }
            for _ in 0..TICKS_PER_WALK {
                if ticks.next().await == Wake::Written {
                    break;
                }
            }
        }
    }
}
