//! The checks of the contract, on the example's store.
#![expect(clippy::unwrap_used, reason = "the functions that make what a test needs carry no attribute")]

#[path = "../../../../crates/thread-store/tests/it/contract/mod.rs"]
mod contract;
mod file;

use std::sync::Arc;

use example_redb_store::RedbThreadStore;
use selvedge_thread_store::ThreadStore;

/// Two stores over one file, as two hosts would have them, and the folder that the file is in.
fn stores() -> (Arc<dyn ThreadStore>, Arc<dyn ThreadStore>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let store = RedbThreadStore::open(folder.path().join("threads.redb")).unwrap();
    let other = store.peer();
    (Arc::new(store), Arc::new(other), folder)
}

contract::contract_tests!(crate::stores);
