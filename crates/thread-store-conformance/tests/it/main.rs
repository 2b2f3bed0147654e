//! The rules of the contract, checked against the store in memory, and tests of the suite itself.

mod compare;
mod expiring;
mod memory;
mod planted;
mod suite;

use selvedge_thread_store_conformance::MemoryPlace;

async fn new_place() -> MemoryPlace {
    MemoryPlace::new()
}

mod rules {
    selvedge_thread_store_conformance::conformance_tests!(crate::new_place);
}
