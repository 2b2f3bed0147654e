//! Tests of the contract and of what stores share, by the public door.

mod contract;
mod memory;
mod paging;

use std::sync::Arc;

use selvedge_thread_store::{InMemoryThreadStore, ThreadStore};

/// Two stores over the same threads; nothing else has to outlive them.
fn stores() -> (Arc<dyn ThreadStore>, Arc<dyn ThreadStore>, ()) {
    let store = InMemoryThreadStore::new();
    let other = store.peer();
    (Arc::new(store), Arc::new(other), ())
}

contract::contract_tests!(crate::stores);
