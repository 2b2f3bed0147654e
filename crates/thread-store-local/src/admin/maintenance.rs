//! Keeping other programs from maintaining the same home at the same time.

use std::sync::Arc;

use selvedge_rollout::{LockHolder, MaintenanceLock};
use selvedge_thread_store::Result;

use super::HomeAdmin;

/// While it exists, no other program compresses, migrates or repairs the rollouts of the home.
#[derive(Debug)]
pub struct HomeMaintenance {
    _lock: Arc<MaintenanceLock>,
}

impl HomeAdmin {
    /// Begins maintenance of the home: takes the lock under which Codex compresses and migrates rollouts. [`compress`](Self::compress) and
    /// [`repair`](Self::repair) do so themselves; a caller that calls them for many threads holds it over all calls.
    ///
    /// If another process holds the lock, `on_wait` is called with it, and the call waits for up to 10 s.
    ///
    /// # Errors
    /// `Backend` if that process does not release the lock in time, or if the home cannot be written.
    pub async fn begin_maintenance(
        &self,
        on_wait: impl FnOnce(LockHolder) + Send + 'static,
    ) -> Result<HomeMaintenance> {
        self.store.blocking(move |core| Ok(HomeMaintenance { _lock: core.lock_maintenance(on_wait)? })).await
    }
}
