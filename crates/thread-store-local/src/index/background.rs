//! Updates of the index that no caller waits for.
//!
//! Two tasks, each at most once per store: one updates the whole index, the other collects what this store writes. Both hold
//! the handle weakly, so a store that is dropped ends them.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use selvedge_protocol::ThreadId;
use selvedge_state::{RefreshOutcome, StateIndex};

use super::handle::HomeIndex;
use super::limits::{COLLECT_WRITES, MAX_REFRESH_BYTES, REST_FACTOR, UPDATE_DELAY};
use super::runtime;

impl HomeIndex {
    /// Updates the whole index in the background, unless a task does so already.
    pub(super) fn update_in_background(&self, index: &StateIndex) {
        let mut state = self.state();
        if state.update_task.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        let (index, shared) = (index.clone(), Arc::downgrade(&self.shared));
        let task = runtime::spawn(async move {
            tokio::time::sleep(UPDATE_DELAY).await;
            let observer = shared.clone();
            let outcome = index
                .update(move |progress| {
                    if let Some(shared) = observer.upgrade() {
                        shared.state().progress = Some(progress);
                    }
                })
                .await;
            let Some(shared) = shared.upgrade() else { return };
            shared.state().progress = None;
            match outcome {
                Ok(report) => tracing::debug!(?report, "the index is up to date"),
                Err(error) => Self { shared }.give_up(error).await,
            }
        });
        state.update_task = Some(task.abort_handle());
        // Visible from now on, also before the task reports for the first time.
        state.progress.get_or_insert_default();
    }

    /// Records that this store wrote a thread, so that the index reads it soon.
    ///
    /// Writers do not update the index themselves: an append would wait for the database. Queries do not rely on this task
    /// either, since each one refreshes what it needs. The task only keeps the work of the next query small.
    pub(crate) fn notify_written(&self, thread_id: ThreadId) {
        if self.path().is_none() {
            return;
        }
        let mut state = self.state();
        state.written.insert(thread_id);
        state.last_rescan = None;
        if state.collect_task.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        let shared = Arc::downgrade(&self.shared);
        let task = runtime::spawn(async move {
            let mut rest = COLLECT_WRITES;
            loop {
                tokio::time::sleep(rest).await;
                let Some(shared) = shared.upgrade() else { return };
                let index = Self { shared };
                let written = {
                    let mut state = index.state();
                    if state.written.is_empty() {
                        // Under the lock that a writer takes: it either has added its thread before this check, or finds no
                        // task afterwards and starts one.
                        state.collect_task = None;
                        return;
                    }
                    std::mem::take(&mut state.written)
                };
                let began = Instant::now();
                index.refresh_written(written).await;
                // Under steady load the pause grows with the cost of an update, so that writers keep most of the time.
                rest = COLLECT_WRITES.max(began.elapsed() * REST_FACTOR);
            }
        });
        state.collect_task = Some(task.abort_handle());
    }

    async fn refresh_written(&self, written: HashSet<ThreadId>) {
        let Some(index) = self.open().await else { return };
        let outcome = match index.refresh_threads(written, MAX_REFRESH_BYTES).await {
            Ok(RefreshOutcome::Fresh(_) | RefreshOutcome::Hidden) => Ok(()),
            Ok(RefreshOutcome::Unfilled | RefreshOutcome::Behind { .. }) => {
                self.update_in_background(&index);
                Ok(())
            }
            Err(error) => Err(error),
        };
        if let Err(error) = outcome {
            self.give_up(error).await;
        }
    }
}
