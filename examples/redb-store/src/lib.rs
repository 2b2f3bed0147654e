//! A complete store of threads over one redb file, to learn from: `docs/write-a-store.md` leads through it.
//!
//! Three files: `tables` has what is stored and how it is found again, `reader` answers questions, `writer` makes changes. Each
//! change is one transaction of the database, so that it is there as a whole or not at all, and synced when the call returns.
//!
//! It is short because it keeps a thread's segments as bytes and loads them as a whole, so that its memory is that of the
//! longest history. It blocks the task that calls it while it waits for the disk.

mod reader;
mod tables;
mod writer;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::Database;
use selvedge_protocol::{SessionMeta, ThreadId};
use selvedge_thread_store::Result;
use selvedge_thread_store::implement::{ChangeLog, ChangeSignal};
use uuid::Uuid;

use crate::tables::{Change, Look, failed};

/// Threads in a redb file.
///
/// A clone is the same store. Its claims end when the last clone is dropped.
#[derive(Clone)]
pub struct RedbThreadStore {
    handle: Arc<Handle>,
}

/// One of several stores over a file: a writer, in the words of the contract.
struct Handle {
    id: Uuid,
    file: Arc<File>,
    /// Heads of created threads that nothing was appended to. Nobody else knows of them.
    lazy: Mutex<HashMap<ThreadId, SessionMeta>>,
}

/// What all stores over a file share. redb opens a file in one process only.
struct File {
    database: Database,
    /// The stores that are there. A claim of any other one is void: its store was dropped, or its process ended.
    holders: Mutex<HashSet<Uuid>>,
    signal: ChangeSignal,
    changes: Mutex<ChangeLog>,
}

impl RedbThreadStore {
    /// Opens a file, or makes it.
    ///
    /// # Errors
    /// `Backend` if the file is none of redb, or if another process has it open.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let database = Database::create(path).map_err(failed)?;
        tables::create(&database)?;
        let (holders, signal, changes) = Default::default();
        Ok(Self::over(Arc::new(File { database, holders, signal, changes })))
    }

    /// Another store over the same file, as another host would have it: what is live in one is not live in the other.
    #[must_use]
    pub fn peer(&self) -> Self {
        Self::over(Arc::clone(&self.handle.file))
    }

    fn over(file: Arc<File>) -> Self {
        let id = Uuid::now_v7();
        locked(&file.holders).insert(id);
        Self { handle: Arc::new(Handle { id, file, lazy: Mutex::default() }) }
    }

    /// Looks at the file as it is now; what is written meanwhile is not seen.
    fn look(&self) -> Result<Look<'_>> {
        Look::begin(&self.handle.file)
    }

    /// Changes the file in one transaction. After an error nothing was changed.
    fn change<T>(&self, change: impl FnOnce(&mut Change<'_>) -> Result<T>) -> Result<T> {
        let outcome = tables::change(&self.handle.file, change)?;
        self.handle.file.signal.wake();
        Ok(outcome)
    }

    fn lazy(&self) -> MutexGuard<'_, HashMap<ThreadId, SessionMeta>> {
        locked(&self.handle.lazy)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        locked(&self.file.holders).remove(&self.id);
    }
}

impl fmt::Debug for RedbThreadStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbThreadStore").field("writer", &self.handle.id).finish_non_exhaustive()
    }
}

/// Nothing here panics between two changes that belong together, so that what a poisoned lock guards is whole.
fn locked<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}
