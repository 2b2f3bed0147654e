//! A place in memory, with the reference implementation of the contract.

use std::sync::Arc;

use async_trait::async_trait;
use selvedge_thread_store::{InMemoryThreadStore, ThreadStore};

use crate::StorePlace;

/// A place in the memory of this process. Other stores can be compared with it.
///
/// Its threads exist as long as the place or one of its hosts.
#[derive(Debug, Default)]
pub struct MemoryPlace {
    store: InMemoryThreadStore,
}

impl MemoryPlace {
    /// Creates a place without threads.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

#[async_trait]
impl StorePlace for MemoryPlace {
    async fn open_host(&self) -> Arc<dyn ThreadStore> {
        Arc::new(self.store.peer())
    }
}
