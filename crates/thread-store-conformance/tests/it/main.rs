//! The rules of the contract against the store in memory, and tests of the suite itself.

mod expiring;
mod memory;
mod model;
mod planted;
mod suite;

use selvedge_thread_store_conformance::MemoryPlace;

async fn new_place() -> MemoryPlace {
    MemoryPlace::new()
}

mod rules {
    selvedge_thread_store_conformance::conformance_tests!(crate::new_place);
}
