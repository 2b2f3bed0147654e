//! Checks the example store against the rules of the contract.

mod file;

use std::sync::Arc;

use async_trait::async_trait;
use example_redb_store::RedbThreadStore;
use selvedge_thread_store::ThreadStore;
use selvedge_thread_store_conformance::StorePlace;

/// A file in a folder of its own. Each host is another handle of the file.
struct RedbPlace {
    store: RedbThreadStore,
    _folder: tempfile::TempDir,
}

#[async_trait]
impl StorePlace for RedbPlace {
    async fn open_host(&self) -> Arc<dyn ThreadStore> {
        Arc::new(self.store.peer())
    }
}

#[expect(clippy::unwrap_used, reason = "a failed `unwrap` fails the test")]
async fn new_place() -> RedbPlace {
    let folder = tempfile::tempdir().unwrap();
    let store = RedbThreadStore::open(folder.path().join("threads.redb")).unwrap();
    RedbPlace { store, _folder: folder }
}

mod rules {
    selvedge_thread_store_conformance::conformance_tests!(crate::new_place);
}
