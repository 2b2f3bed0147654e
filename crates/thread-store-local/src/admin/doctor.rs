//! Checking and repairing the files of a home.

use std::collections::HashSet;

use selvedge_protocol::ThreadId;
use selvedge_rollout::doctor::{self, Diagnosis, DiagnosisProgress, RepairStep};
use selvedge_thread_store::Result;

use super::HomeAdmin;
use crate::error::store_error;

impl HomeAdmin {
    /// Checks the rollout files of the home, or those of these threads, and what belongs to them. Changes nothing and takes no
    /// lock.
    ///
    /// `progress` is called after each file, by whichever thread has read it.
    ///
    /// # Errors
    /// `Backend` if the home's directories cannot be read. A file that cannot be read is a finding.
    pub async fn diagnose(
        &self,
        threads: Option<HashSet<ThreadId>>,
        progress: impl Fn(DiagnosisProgress) + Send + Sync + 'static,
    ) -> Result<Diagnosis> {
        self.store
            .blocking(move |store| doctor::diagnose(&store.home, threads.as_ref(), &progress).map_err(store_error))
            .await
    }

    /// Repairs what can be repaired of the findings of a diagnosis. With `dry_run` it only returns the steps that it would take.
    ///
    /// Each thread is repaired under its writer lock; one that is being written is left alone, and its step says who writes it.
    /// The original of every file that is replaced is kept beside it.
    ///
    /// # Errors
    /// `Backend` if the work does not finish. A step that fails is no error: it says so, and the others are taken.
    pub async fn repair(&self, diagnosis: &Diagnosis, dry_run: bool) -> Result<Vec<RepairStep>> {
        let diagnosis = diagnosis.clone();
        self.store.blocking(move |store| Ok(doctor::repair(&store.home, &diagnosis, dry_run))).await
    }
}
