//! A place in memory: the reference that other stores can be compared with.

use std::sync::Arc;

use async_trait::async_trait;
use selvedge_thread_store::{InMemoryThreadStore, ThreadStore};

use crate::StorePlace;

/// A place in the memory of this process.
#[derive(Debug, Default)]
pub struct MemoryPlace {
    store: InMemoryThreadStore,
}

impl MemoryPlace {
    /// Makes a place without threads.
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
