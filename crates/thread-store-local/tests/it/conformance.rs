//! The rules of the contract, in a home directory.

use std::sync::Arc;

use async_trait::async_trait;
use selvedge_thread_store::ThreadStore;
use selvedge_thread_store_conformance::StorePlace;
use selvedge_thread_store_local::LocalThreadStore;

/// A home directory, opened by each host as another process would.
struct Home {
    dir: tempfile::TempDir,
}

async fn new_place() -> Home {
    Home { dir: tempfile::tempdir().unwrap() }
}

#[async_trait]
impl StorePlace for Home {
    async fn open_host(&self) -> Arc<dyn ThreadStore> {
        Arc::new(LocalThreadStore::open(self.dir.path()))
    }
}

mod rules {
    selvedge_thread_store_conformance::conformance_tests!(super::super::new_place);
}
