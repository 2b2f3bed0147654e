//! The only file that names a concrete store: it opens a home, and lists what this program uses of the store's crate.
//!
//! Every other file works through [`ThreadStore`], and through [`HomeAdmin`] for the files of a home.

use std::path::Path;
use std::sync::Arc;

use selvedge_thread_store::ThreadStore;
use selvedge_thread_store_local::LocalThreadStore;

use crate::failure::Result;

pub(crate) use selvedge_thread_store_local::{
    CheckScope, CheckedTotals, CodexChange, CodexRecord, CompressionReport, CompressionScope, Diagnosis,
    DiagnosisProgress, DivergedSegment, Finding, FindingKind, HomeAdmin, HomeMaintenance, HomeOptions, ImportedFile,
    IndexAdmin, IndexCheck, IndexError, IndexFinding, IndexLocation, IndexRepair, IndexStatus, LeftOut, LockHolder,
    RepairStep, Severity, UncompressedThread, UnnoticedChange, UpdateProgress, UpdateReport,
};

/// Creates the directory of a home and its missing ancestors, durably.
pub(crate) fn create_home(home: &Path) -> Result<()> {
    Ok(LocalThreadStore::create_home(home)?)
}

/// Opens the home at this path. Reads nothing and creates nothing.
pub(crate) fn open(home: &Path, options: HomeOptions) -> (Arc<dyn ThreadStore>, HomeAdmin) {
    let store = LocalThreadStore::open_with_options(home, options);
    let admin = store.admin();
    (Arc::new(store), admin)
}
