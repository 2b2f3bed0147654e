//! Waiting for other programs that rewrite many rollouts.

use selvedge_thread_store::Recovery;

use crate::app::App;
use crate::failure::{Failure, FailureKind, Result};
use crate::notes::note;
use crate::wiring::{HomeMaintenance, LockHolder};

/// Takes the lock under which Codex compresses and migrates rollouts, and says for whom it waits.
pub(crate) async fn begin(app: &App<'_>) -> Result<HomeMaintenance> {
    let on_wait = |holder: LockHolder| {
        note(&format!("waiting for {holder}, which compresses, migrates or repairs the rollouts of this home"));
    };
    app.admin()?.begin_maintenance(on_wait).await.map_err(|error| {
        let is_held = error.recovery() == Recovery::RetryLater;
        let failure = Failure::from(error);
        if !is_held {
            return failure;
        }
        Failure::new(FailureKind::Conflict, failure.message()).hint("run the command again when that process is done")
    })
}
