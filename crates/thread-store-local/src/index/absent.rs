//! What stands in for the index in a build without the feature `index`: it never answers, so the logs do.
//!
//! It has the methods of the real one that the store calls, so that the layers above are the same in both builds.

use std::path::PathBuf;
use std::sync::Arc;

use selvedge_protocol::{
    ItemQuery, Page, SearchHit, SearchQuery, StatsQuery, StoredThread, ThreadId, ThreadQuery, ThreadStats, Turn,
    TurnId, TurnItemEntry, TurnQuery,
};
use selvedge_rollout::CachedHome;
use selvedge_thread_store::StoreError;

use super::location::IndexLocation;

/// The name of an index that another program may have created in the home.
const INDEX_OF_OTHERS: &str = "selvedge-index.sqlite";

/// No index.
#[derive(Clone, Debug)]
pub(crate) struct NoIndex {
    cached_home: Arc<CachedHome>,
}

impl NoIndex {
    pub(crate) fn new(cached_home: Arc<CachedHome>, _: IndexLocation) -> Self {
        Self { cached_home }
    }

    pub(crate) async fn close(&self) {}

    pub(crate) fn notify_written(&self, _: ThreadId) {}

    /// Warns if an index of other programs may have words of a deleted thread, which nothing here can read.
    pub(crate) async fn erase(&self, thread_id: ThreadId) {
        if self.cached_home.home().root().join(INDEX_OF_OTHERS).exists() {
            tracing::warn!(%thread_id, "the index of other programs still has words of a deleted thread; their next query removes them");
        }
    }

    pub(crate) async fn distinct_prefix_len(&self, _: &[ThreadId]) -> Option<usize> {
        None
    }

    pub(crate) async fn thread_stats(&self, _: &StatsQuery) -> Option<ThreadStats> {
        None
    }

    pub(crate) async fn read_thread(&self, _: ThreadId) -> Option<StoredThread> {
        None
    }

    pub(crate) async fn list_threads(&self, _: &ThreadQuery) -> Option<Page<StoredThread>> {
        None
    }

    pub(crate) async fn search_threads(&self, _: &SearchQuery) -> Result<Option<Page<SearchHit>>, StoreError> {
        Ok(None)
    }

    pub(crate) async fn list_turns(&self, _: &TurnQuery, _is_live: bool) -> Option<Page<Turn>> {
        None
    }

    pub(crate) async fn turn_start(&self, _: ThreadId, _: &TurnId) -> Option<(PathBuf, usize, u64)> {
        None
    }

    pub(crate) async fn list_items(&self, _: &ItemQuery, _is_live: bool) -> Option<Page<TurnItemEntry>> {
        None
    }
}
