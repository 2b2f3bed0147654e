//! Tests of live threads and their manager, by the public door, over a store in memory and one on files.

mod agent;
mod cancellation;
mod concurrency;
mod costs;
mod deferred;
mod doors;
mod fork;
mod lineage;
mod lost_answers;
mod metadata;
mod no_timers;
mod policy;
mod restored;
mod resume;
mod rewind;
mod shutdown;
mod start;
mod support;
mod told;
mod watched;
mod windows;
mod world_state;

/// Makes two tests of each check: over a store in memory and over one on files.
macro_rules! over_both_stores {
    ($($check:ident),* $(,)?) => {
        mod memory { $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $check() {
                super::$check($crate::support::Place::memory()).await;
            }
        )* }
        mod local { $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $check() {
                super::$check($crate::support::Place::local()).await;
            }
        )* }
    };
}
use over_both_stores;
