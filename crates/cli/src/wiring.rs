//! The only file that names a concrete store: it opens a home, and lists what this program uses of the store's crate.
//!
//! Every other file works through [`ThreadStore`], and through [`HomeAdmin`] for the files of a home.

use std::path::Path;
use std::sync::Arc;

use selvedge_thread_store::ThreadStore;
use selvedge_thread_store_local::LocalThreadStore;

pub(crate) use selvedge_thread_store_local::{
    CheckScope, CheckedTotals, CodexChange, CodexRecord, CompressionReport, CompressionScope, Diagnosis,
    DiagnosisProgress, Finding, FindingKind, HomeAdmin, HomeOptions, IndexAdmin, IndexCheck, IndexError, IndexFinding,
    IndexLocation, IndexRepair, IndexStatus, RepairStep, Severity, UncompressedThread, UnnoticedChange, UpdateProgress,
    UpdateReport,
};

/// Opens the home at this path. Reads nothing and creates nothing.
pub(crate) fn open(home: &Path, options: HomeOptions) -> (Arc<dyn ThreadStore>, HomeAdmin) {
    let store = LocalThreadStore::open_with_options(home, options);
    let admin = store.admin();
    (Arc::new(store), admin)
}
