//! The store: a handle of the file.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use redb::Database;
use selvedge_protocol::{SessionMeta, ThreadId};
use selvedge_thread_store::Result;
use uuid::Uuid;

use crate::shared_file::{SharedFile, locked};
use crate::tables::{self, ReadTables, WriteTables, failed};

/// A thread store in a redb file.
///
/// A clone is the same handle. The claims of a handle end when its last clone is dropped.
#[derive(Clone)]
pub struct RedbThreadStore {
    pub(crate) handle: Arc<StoreHandle>,
}

/// One of several handles of a file. For the contract, each of them is a host with writers of its own.
pub(crate) struct StoreHandle {
    /// The id that a claim of this handle names.
    pub(crate) id: Uuid,
    pub(crate) file: Arc<SharedFile>,
    /// The heads of lazy threads: created, and nothing appended yet. No other handle knows of them.
    lazy: Mutex<HashMap<ThreadId, SessionMeta>>,
}

impl RedbThreadStore {
    /// Opens a file, or creates it.
    ///
    /// # Errors
    /// `Backend` if the file is not a redb file, or if another process has it open.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let database = Database::create(path).map_err(failed)?;
        tables::create(&database)?;
        let (holders, signal, changes) = Default::default();
        Ok(Self::over(Arc::new(SharedFile { database, holders, signal, changes })))
    }

    /// Creates another handle of the same file, as another host would have it. A thread that is live in one handle is
    /// not live in the other.
    #[must_use]
    pub fn peer(&self) -> Self {
        Self::over(Arc::clone(&self.handle.file))
    }

    /// Creates a handle of a file.
    fn over(file: Arc<SharedFile>) -> Self {
        let id = Uuid::now_v7();
        locked(&file.holders).insert(id);
        Self { handle: Arc::new(StoreHandle { id, file, lazy: Mutex::default() }) }
    }

    /// Returns the current state of the file. Later changes are not visible in it.
    pub(crate) fn snapshot(&self) -> Result<ReadTables<'_>> {
        ReadTables::begin(&self.handle.file)
    }

    /// Changes the file in one transaction. After an error nothing has changed.
    pub(crate) fn in_transaction<T>(&self, change: impl FnOnce(&mut WriteTables<'_>) -> Result<T>) -> Result<T> {
        let outcome = tables::in_transaction(&self.handle.file, change)?;
        // Only after the commit: a caller that wakes up must find the change.
        self.handle.file.signal.wake();
        Ok(outcome)
    }

    /// Returns the lazy threads of this handle.
    pub(crate) fn lazy(&self) -> MutexGuard<'_, HashMap<ThreadId, SessionMeta>> {
        locked(&self.handle.lazy)
    }
}

impl Drop for StoreHandle {
    fn drop(&mut self) {
        locked(&self.file.holders).remove(&self.id);
    }
}

impl fmt::Debug for RedbThreadStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbThreadStore").field("writer", &self.handle.id).finish_non_exhaustive()
    }
}
