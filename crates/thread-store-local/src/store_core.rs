//! State that all clones of a store share, and how an operation finds the files of a thread.
//!
//! Operations are methods of [`StoreCore`] in the files of `read/` and `write/`. They may block and never wait for a task. So they
//! run on blocking threads; only a small append runs on the calling task.
//!
//! # Order of locks
//!
//! An operation acquires what it needs in this order:
//!
//! 0. the maintenance lock of the home, a file lock: before it compresses or repairs threads;
//! 1. the permit of one thread: of its [write queue](write_queue) if it is live here, else of its [cold queue](ColdQueues);
//! 2. the writer lock of that thread, a file lock;
//! 3. the reference lock of the home, a file lock: shared by whatever adds a reference to a segment (fork, revert, import),
//!    exclusive for whatever removes or replaces segments (delete, detach);
//! 4. the lock of the name index, and the lock under which lock files are created and removed, for one short change each;
//! 5. mutexes in memory.
//!
//! It cannot deadlock:
//!
//! - An operation holds one permit at most, and acquires it before anything else. So nothing is locked while it waits. Only a
//!   change of the metadata of a live thread takes both, always the cold queue first.
//! - The writer lock is tried, and never waited for: a thread that is being written is a `Conflict`. So it does not matter that
//!   a recorder takes it under its own mutex when it creates the file of a lazy thread, or in which order other programs take
//!   it and the reference lock.
//! - The waits for the locks of 0, 3 and 4 end after a timeout, with an error after which the call can be repeated. The timeout also
//!   covers a process that holds a lock and hangs.
//! - Apart from the recorder's, no mutex in memory is held while a lock of 1 to 4 is acquired.

pub(crate) mod decompression_cursor;
pub(crate) mod group_commit;
pub(crate) mod live;
pub(crate) mod prefix_cache;
pub(crate) mod ticker;
pub(crate) mod unsynced_batches;
pub(crate) mod write_queue;

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use selvedge_protocol::{SessionMeta, ThreadId};
use selvedge_rollout::{
    CachedHome, HomeFiles, LockHolder, MaintenanceLock, NameIndex, ResolvedHistory, RolloutHome, WriterLock, read_head,
};
use selvedge_thread_store::implement::{ChangeLog, ColdQueues, RecentBatches};
use selvedge_thread_store::{Result, StoreError};

use self::decompression_cursor::DecompressionCursor;
use self::group_commit::GroupCommitQueue;
use self::live::LiveThreads;
use self::prefix_cache::PrefixCache;
use self::ticker::Ticker;
use crate::error::{retry_if_moved, store_error};
use crate::index::{HomeIndex, IndexLocation};

/// The state of a store.
#[derive(Debug)]
pub(crate) struct StoreCore {
    pub(crate) home: RolloutHome,
    pub(crate) cached_home: Arc<CachedHome>,
    pub(crate) index: HomeIndex,
    pub(crate) live: LiveThreads,
    /// The number of the newest claim of this store.
    pub(crate) newest_epoch: AtomicU64,
    pub(crate) cold_queues: ColdQueues,
    /// The newest reverts of threads that are not live here, so that a repeated request takes effect once.
    pub(crate) cold_reverts: Mutex<RecentBatches>,
    pub(crate) group_commit: GroupCommitQueue,
    pub(crate) prefixes: PrefixCache,
    pub(crate) ticker: Arc<Ticker>,
    pub(crate) decompression_cursor: DecompressionCursor,
    pub(crate) changes: Mutex<ChangeLog>,
    /// The maintenance lock, while this store holds it.
    maintenance: Mutex<Weak<MaintenanceLock>>,
}

impl StoreCore {
    /// Creates the state of a store of this home. Reads and creates no files.
    pub(crate) fn new(home: RolloutHome, index: IndexLocation) -> Self {
        let cached_home = Arc::new(CachedHome::new(home.clone()));
        Self {
            home,
            index: HomeIndex::new(Arc::clone(&cached_home), index),
            cached_home,
            live: LiveThreads::default(),
            newest_epoch: AtomicU64::new(0),
            cold_queues: ColdQueues::default(),
            cold_reverts: Mutex::default(),
            group_commit: GroupCommitQueue::default(),
            prefixes: PrefixCache::default(),
            ticker: Arc::default(),
            decompression_cursor: DecompressionCursor::default(),
            changes: Mutex::default(),
            maintenance: Mutex::default(),
        }
    }

    /// Reports that this store wrote a thread: the index reads it soon, and callers that wait for changes wake up.
    pub(crate) fn notify_written(&self, thread_id: ThreadId) {
        self.index.notify_written(thread_id);
        self.ticker.notify_written();
    }

    /// Takes the maintenance lock, or shares it with an operation of this store that holds it. If another process holds it, calls
    /// `on_wait` and waits.
    ///
    /// # Errors
    /// `Backend` if the other process does not release it in time.
    pub(crate) fn lock_maintenance(&self, on_wait: impl FnOnce(LockHolder)) -> Result<Arc<MaintenanceLock>> {
        let mut held = self.maintenance.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = held.upgrade() {
            return Ok(lock);
        }
        let lock = Arc::new(MaintenanceLock::acquire(&self.home, on_wait).map_err(store_error)?);
        *held = Arc::downgrade(&lock);
        Ok(lock)
    }

    /// Returns whether a thread seems to have a writer, in this process or another. Takes no lock, so the answer may be out of
    /// date.
    pub(crate) fn has_writer(&self, thread_id: ThreadId) -> bool {
        // The map in memory first: the second question reads files of the system.
        self.live.find(thread_id).is_some() || WriterLock::seems_held(&self.home, thread_id)
    }
}

/// A history, and the files of the home in which it was found.
#[derive(Debug)]
pub(crate) struct FoundHistory {
    /// The files that the caller has passed, or newer ones if a file had moved since.
    pub(crate) files: Arc<HomeFiles>,
    pub(crate) resolved: ResolvedHistory,
}

// Finding files. A home is scanned once and cached, and another process may move a file at any time: into the archive, out of
// it, or into a compressed file. So whatever reads a file that was found has to be ready to find it again. `resolve` and
// `resolve_now` make one attempt and belong into work that `retry_if_moved` repeats; `with_found` and `read_found` repeat by
// themselves.
impl StoreCore {
    /// Returns the files of the home.
    pub(crate) fn files(&self) -> Result<Arc<HomeFiles>> {
        self.cached_home.files().map_err(store_error)
    }

    /// Returns the names of the threads. A thread without its name is still a thread: a name index that cannot be read is logged
    /// and counts as empty.
    pub(crate) fn names(&self) -> NameIndex {
        NameIndex::load(&self.home).unwrap_or_else(|error| {
            let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            tracing::warn!("names are not shown: {error}: {source}");
            NameIndex::default()
        })
    }

    /// Returns the segments of a thread's history as they are now.
    ///
    /// # Errors
    /// `NotFound`.
    pub(crate) fn resolve_now(&self, thread_id: ThreadId) -> Result<ResolvedHistory> {
        Ok(self.resolve(self.files()?, thread_id)?.resolved)
    }

    /// Finds the segments of a thread's history. Makes one attempt, for work that [`retry_if_moved`] repeats.
    ///
    /// # Errors
    /// `NotFound`.
    pub(crate) fn resolve(&self, files: Arc<HomeFiles>, thread_id: ThreadId) -> Result<FoundHistory> {
        let (files, resolved) = self.cached_home.try_resolve(files, thread_id).map_err(store_error)?;
        let resolved = resolved.ok_or(StoreError::not_found(thread_id))?;
        Ok(FoundHistory { files, resolved })
    }

    /// Reads the history of a thread that was found in `files`. Finds the files again while one is missing.
    ///
    /// # Errors
    /// `NotFound`; those of `read`.
    pub(crate) fn read_found<T>(
        &self,
        files: &Arc<HomeFiles>,
        thread_id: ThreadId,
        read: impl Fn(&HomeFiles, &ResolvedHistory) -> Result<T>,
    ) -> Result<T> {
        self.with_found(files, |files| {
            let FoundHistory { files, resolved } = self.resolve(Arc::clone(files), thread_id)?;
            read(&files, &resolved)
        })
    }

    /// Runs work on files that were found, and repeats it on those that are found now while one is missing.
    ///
    /// # Errors
    /// Those of the work.
    pub(crate) fn with_found<T>(
        &self,
        files: &Arc<HomeFiles>,
        work: impl Fn(&Arc<HomeFiles>) -> Result<T>,
    ) -> Result<T> {
        // The first attempt uses the files that the caller has, the later ones what is found then.
        let mut found = Some(Arc::clone(files));
        retry_if_moved(|| work(&found.take().map_or_else(|| self.files(), Ok)?))
    }

    /// Returns the head of a thread's newest segment. `None` if damage has taken it.
    ///
    /// # Errors
    /// `NotFound`.
    pub(crate) fn newest_head(&self, thread_id: ThreadId) -> Result<Option<SessionMeta>> {
        retry_if_moved(|| read_head(self.resolve_now(thread_id)?.newest()).map_err(store_error))
    }
}
