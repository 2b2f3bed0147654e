//! Tests of live threads and their manager through the public API, over a store in memory and a store with files.

mod agent;
mod cancellation;
mod concurrency;
mod context_records;
mod following;
mod fork;
mod idle;
mod lost_answers;
mod metadata;
mod metadata_access;
mod model_based;
mod no_runtime;
mod no_timers;
mod opening;
mod pending_section;
mod policy;
mod resume;
mod rewind;
mod shutdown;
mod start;
mod store_calls;
mod support;
mod turn_recorder;
mod two_processes;
mod watched_store;
mod window_lineage;
mod windows;
mod world_state;

/// Makes two tests of each check: over a store in memory and over a store with files.
macro_rules! over_both_stores {
    ($($check:ident),* $(,)?) => {
        mod memory { $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $check() {
                super::$check($crate::support::TestStores::memory()).await;
            }
        )* }
        mod local { $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $check() {
                super::$check($crate::support::TestStores::local()).await;
            }
        )* }
    };
}
use over_both_stores;
