//! Runs operations of a store where they may block, and chooses between the index and the logs.
//!
//! | method | for work that | repeats it | reports a write | waits for a permit |
//! | --- | --- | --- | --- | --- |
//! | `blocking` | may block | | | |
//! | `reading` | reads files | while files move | | |
//! | `writing` | writes a thread | | yes | |
//! | `changing` | writes a cold thread | | yes | of the thread |
//! | `answered` | the index can do | if the logs answer | | |

use std::sync::Arc;

use selvedge_protocol::ThreadId;
use selvedge_thread_store::{Result, StoreError};

use super::LocalThreadStore;
use crate::blocking::spawn_blocking;
use crate::error::retry_if_moved;
use crate::store_core::StoreCore;

impl LocalThreadStore {
    /// Runs blocking file work on the blocking thread pool. The work continues if the caller is dropped.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&StoreCore) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let core = Arc::clone(&self.core);
        match spawn_blocking(move || work(&core))?.await {
            Ok(result) => result,
            Err(error) => Err(StoreError::backend("a task of the store did not finish", error)),
        }
    }

    /// Runs work that reads files, and repeats it while a file is missing where it was found, because another process moved it.
    pub(crate) async fn reading<T: Send + 'static>(
        &self,
        work: impl Fn(&StoreCore) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.blocking(move |core| retry_if_moved(|| work(core))).await
    }

    /// Runs work that writes a thread, and reports the write.
    pub(crate) async fn writing<T: Send + 'static>(
        &self,
        thread_id: ThreadId,
        work: impl FnOnce(&StoreCore) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        // Reported by the blocking thread, which finishes also if the caller is dropped. After an error, too: a part of the
        // work may have been done.
        let work = move |core: &StoreCore| {
            let outcome = work(core);
            core.notify_written(thread_id);
            outcome
        };
        self.blocking(work).await
    }

    /// Runs work that writes a thread that is not live here. A call that was dropped while at work is finished before the next
    /// one begins, so repeating it finds the thread either unchanged or completely changed.
    pub(super) async fn changing<T: Send + 'static>(
        &self,
        thread_id: ThreadId,
        work: impl FnOnce(&StoreCore) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let permit = self.core.cold_queues.acquire(thread_id).await;
        let work = move |core: &StoreCore| {
            let _permit = permit;
            work(core)
        };
        self.writing(thread_id, work).await
    }

    /// Returns the answer of the index. If it has none (`None`), the logs answer.
    pub(super) async fn answered<T: Send + 'static>(
        &self,
        from_index: impl Future<Output = Option<T>> + Send,
        from_logs: impl Fn(&StoreCore) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        match from_index.await {
            Some(answer) => Ok(answer),
            None => self.reading(from_logs).await,
        }
    }

    /// Returns whether a thread has a writer, in this process or another, so that its last turn may be running.
    pub(super) async fn is_live(&self, thread_id: ThreadId) -> Result<bool> {
        // The answer for a thread of this store takes no blocking thread.
        if self.core.live.find(thread_id).is_some() {
            return Ok(true);
        }
        self.blocking(move |core| Ok(core.has_writer(thread_id))).await
    }
}
