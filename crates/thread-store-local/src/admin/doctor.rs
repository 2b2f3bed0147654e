//! Checking and repairing the files of a home.

use std::collections::HashSet;

use selvedge_protocol::ThreadId;
use selvedge_rollout::doctor::{self, Diagnosis, DiagnosisProgress, RepairStep};
use selvedge_thread_store::Result;

use super::HomeAdmin;
use crate::error::store_error;
use crate::store_core::StoreCore;

impl HomeAdmin {
    /// Checks the rollout files of the home, or of these threads, and the files that belong to them. Changes nothing and takes
    /// no lock.
    ///
    /// `progress` is called after each file, by the thread that has read it.
    ///
    /// # Errors
    /// `Backend` if the home's directories cannot be read. A file that cannot be read is a finding.
    pub async fn diagnose(
        &self,
        threads: Option<HashSet<ThreadId>>,
        progress: impl Fn(DiagnosisProgress) + Send + Sync + 'static,
    ) -> Result<Diagnosis> {
        self.store
            .blocking(move |core| doctor::diagnose(&core.home, threads.as_ref(), &progress).map_err(store_error))
            .await
    }

    /// Repairs the findings of a diagnosis that can be repaired. With `dry_run` it only returns the steps that it would take.
    ///
    /// Each thread is repaired under its writer lock. A thread with a writer is left alone, and its step names the writer. The
    /// original of every replaced file is kept beside it.
    ///
    /// # Errors
    /// `Backend` if the work does not finish, or if another program compresses or migrates the rollouts of the home for longer than
    /// 10 s. A step that fails is no error of the call: the step reports it, and the others
    /// are taken.
    pub async fn repair(&self, diagnosis: &Diagnosis, dry_run: bool) -> Result<Vec<RepairStep>> {
        let diagnosis = diagnosis.clone();
        let work = move |core: &StoreCore| {
            // Without something to repair there is nothing to exclude, and a home that only reads stays as it is.
            let may_change = !dry_run && diagnosis.findings.iter().any(|finding| finding.is_repairable);
            let _maintenance = may_change.then(|| core.lock_maintenance(|_| {})).transpose()?;
            Ok(doctor::repair(&core.home, &diagnosis, dry_run))
        };
        self.store.blocking(work).await
    }
}
