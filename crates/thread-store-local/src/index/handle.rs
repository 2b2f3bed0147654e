//! The handle of a home's index: opening it, closing it, and pausing after a failure.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use selvedge_protocol::ThreadId;
use selvedge_rollout::CachedHome;
use selvedge_state::{IndexError, IndexGeneration, StateIndex, UpdateProgress};
use tokio::task::AbortHandle;

use super::limits::INDEX_RETRY_DELAY;
use super::location::IndexLocation;
use super::runtime::with_timers;
use crate::blocking::spawn_blocking;

/// The index of a store's home. It is opened by the first query. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct HomeIndex {
    pub(super) shared: Arc<SharedIndex>,
}

#[derive(Debug)]
pub(super) struct SharedIndex {
    pub(super) cached_home: Arc<CachedHome>,
    /// `None` if the index is disabled.
    path: Option<PathBuf>,
    /// The file in which the index is by default, if this store uses another one or none. Other processes may have filled it.
    unused_path: Option<PathBuf>,
    /// `None` until the first query, and after the index was closed or has failed.
    opened: tokio::sync::Mutex<Option<StateIndex>>,
    state: Mutex<IndexState>,
}

/// What the handle remembers between two calls. The lock on it is never held across an `await`.
#[derive(Debug, Default)]
pub(super) struct IndexState {
    /// When the index last failed.
    failed_at: Option<Instant>,
    /// The background task that updates the whole index.
    pub(super) update_task: Option<AbortHandle>,
    /// The progress of that task. `None` while it does not run.
    pub(super) progress: Option<UpdateProgress>,
    /// The last rescan. `None` if this process has written to the home since.
    pub(super) last_rescan: Option<LastRescan>,
    /// When this process last decided whether to check every file.
    pub(super) last_full_check: Option<Instant>,
    /// Threads that were written and that no task has read into the index yet.
    pub(super) written: HashSet<ThreadId>,
    /// The background task that reads these threads into the index.
    pub(super) collect_task: Option<AbortHandle>,
}

/// The last rescan of the home.
#[derive(Clone, Copy, Debug)]
pub(super) struct LastRescan {
    pub(super) ended_at: Instant,
    /// The generation of the index at that time.
    pub(super) generation: IndexGeneration,
}

impl Drop for IndexState {
    fn drop(&mut self) {
        for task in self.update_task.iter().chain(&self.collect_task) {
            task.abort();
        }
    }
}

impl SharedIndex {
    pub(super) fn state(&self) -> MutexGuard<'_, IndexState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HomeIndex {
    pub(crate) fn new(cached_home: Arc<CachedHome>, location: IndexLocation) -> Self {
        let default_path = StateIndex::path_in(cached_home.home());
        let path = match location {
            IndexLocation::InHome => Some(default_path.clone()),
            IndexLocation::At(path) => Some(path),
            IndexLocation::Disabled => None,
        };
        let unused_path = (path.as_ref() != Some(&default_path)).then_some(default_path);
        let (opened, state) = (tokio::sync::Mutex::default(), Mutex::default());
        Self { shared: Arc::new(SharedIndex { cached_home, path, unused_path, opened, state }) }
    }

    /// Returns the path of the database. `None` if the index is disabled.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.shared.path.as_deref()
    }

    /// Returns how far the background task is with updating the index. `None` while it does not run.
    pub(crate) fn progress(&self) -> Option<UpdateProgress> {
        self.state().progress
    }

    /// Returns the opened index, opening it if necessary. `None` if there is none that can be used now.
    pub(super) async fn open(&self) -> Option<StateIndex> {
        let path = self.shared.path.as_ref()?;
        if self.state().failed_at.is_some_and(|failed_at| failed_at.elapsed() < INDEX_RETRY_DELAY) {
            return None;
        }
        // Held until the index is open: a second caller waits for the first one, and does not open it again.
        let mut opened = self.shared.opened.lock().await;
        if let Some(index) = &*opened {
            return Some(index.clone());
        }
        // A home without threads needs no index, and a query must not create a home that is missing.
        if !path.exists() && !self.has_more_threads_than(0).await {
            return None;
        }
        match StateIndex::open_with(Arc::clone(&self.shared.cached_home), path).await {
            Ok(index) => {
                *opened = Some(index.clone());
                Some(index)
            }
            Err(error) => {
                self.record_failure(&error);
                None
            }
        }
    }

    /// Opens the index in the file that is used by default, if this store uses another one or none. `None` if there is no such file,
    /// or it cannot be opened.
    pub(super) async fn open_unused(&self) -> Option<StateIndex> {
        let path = self.shared.unused_path.as_ref().filter(|path| path.exists())?;
        match StateIndex::open_with(Arc::clone(&self.shared.cached_home), path).await {
            Ok(index) => Some(index),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "an index that this store does not use cannot be opened");
                None
            }
        }
    }

    /// Ends the background tasks and closes the index. The next query opens it again.
    pub(crate) async fn close(&self) {
        let tasks = {
            let mut state = self.state();
            [state.update_task.take(), state.collect_task.take()]
        };
        tasks.iter().flatten().for_each(AbortHandle::abort);
        let close = async {
            if let Some(index) = self.shared.opened.lock().await.take() {
                index.close().await;
            }
        };
        with_timers(close).await;
    }

    /// Returns the result of a query. `None` if the index failed and the logs have to answer.
    pub(super) async fn answered<T>(&self, outcome: Result<T, IndexError>) -> Option<T> {
        match outcome {
            Ok(answer) => Some(answer),
            // The query itself is invalid. The logs report the same error to the caller.
            Err(IndexError::Cursor(_) | IndexError::ZeroLimit) => None,
            Err(error) => {
                self.give_up(error).await;
                None
            }
        }
    }

    /// Handles an error of the index: decides whether to close it and when to open it again. The logs answer this query.
    pub(super) async fn give_up(&self, error: IndexError) {
        match &error {
            // Other processes hold the database. The next query may find it free, so there is no pause.
            IndexError::Busy(_) => tracing::info!(why = %error, "the logs answer"),
            // This store or another process has closed or replaced it.
            error if error.is_gone() => tracing::info!(why = %error, "the logs answer"),
            // The next query after a pause opens the file again, and opening sets a damaged file aside.
            error => {
                self.record_failure(error);
                *self.shared.opened.lock().await = None;
            }
        }
    }

    fn record_failure(&self, error: &IndexError) {
        let reason = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
        tracing::warn!(why = format!("{error}: {reason}"), "the index cannot be used; the logs answer");
        self.state().failed_at = Some(Instant::now());
    }

    /// Returns whether the home has more than `max` threads, or cannot be read.
    pub(super) async fn has_more_threads_than(&self, max: usize) -> bool {
        let cached_home = Arc::clone(&self.shared.cached_home);
        let has_no_more =
            spawn_blocking(move || cached_home.files().is_ok_and(|files| files.threads().nth(max).is_none()));
        match has_no_more {
            Ok(has_no_more) => !has_no_more.await.is_ok_and(|has_no_more| has_no_more),
            Err(_) => true,
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, IndexState> {
        self.shared.state()
    }
}
