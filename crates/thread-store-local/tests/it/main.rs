//! Tests of the local store: the contract that every store keeps, and what is true of files.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod admin;
mod bounded;
mod compress;
mod concurrent;
#[path = "../../../thread-store/tests/it/contract/mod.rs"]
mod contract;
mod copies;
mod cuts;
mod damage;
mod detached;
mod durable;
mod faults;
mod files;
mod fuzz_smoke;
mod home;
mod hostile;
mod index;
mod line_files;
mod moving;
mod recordings;
mod repairs;
mod safety;
mod stats;

use std::sync::Arc;

use selvedge_thread_store::ThreadStore;
use selvedge_thread_store_local::LocalThreadStore;

/// Two stores on one home, as two processes would have them, and the home.
fn stores() -> (Arc<dyn ThreadStore>, Arc<dyn ThreadStore>, tempfile::TempDir) {
    let home = tempfile::tempdir().unwrap();
    let store = || Arc::new(LocalThreadStore::open(home.path()));
    (store(), store(), home)
}

contract::contract_tests!(crate::stores);
