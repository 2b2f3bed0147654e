//! Takes random steps in this store and in the store in memory, and compares every answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use selvedge_protocol::ThreadId;
use selvedge_thread_store::{ForkThread, Result, RevertThread, ThreadStore};
use selvedge_thread_store_conformance::{MemoryPlace, StorePlace, StoreWrapper, Wrapped, compare_stores};
use selvedge_thread_store_postgres::PostgresThreadStore;

use crate::place::{PostgresPlace, new_schema};

/// What is done with the projections before each fork and each revert.
#[derive(Clone, Copy, Debug)]
enum ProjectionsBefore {
    /// Waits until those of cold threads have every line.
    Current,
    /// Deletes them.
    Missing,
    /// Nothing: they are as far as the background work is.
    Any,
}

/// A place whose hosts do something with the projections.
struct ProjectionPlace {
    place: Arc<PostgresPlace>,
    projections: ProjectionsBefore,
}

#[async_trait]
impl StorePlace for ProjectionPlace {
    async fn open_host(&self) -> Arc<dyn ThreadStore> {
        let (store, place) = (self.place.open_host().await, Arc::clone(&self.place));
        Arc::new(Wrapped(ProjectionHost { store, place, projections: self.projections }))
    }

    fn claim_expiry(&self) -> Option<Duration> {
        self.place.claim_expiry()
    }
}

struct ProjectionHost {
    store: Arc<dyn ThreadStore>,
    place: Arc<PostgresPlace>,
    projections: ProjectionsBefore,
}

impl std::fmt::Debug for ProjectionHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a host with projections {:?}", self.projections)
    }
}

impl ProjectionHost {
    async fn prepare(&self) {
        match self.projections {
            ProjectionsBefore::Current => {
                // Setting a column to itself counts rows. Nobody writes those of a host that ended, so the wait has an end.
                let behind = "UPDATE @.threads SET epoch = epoch
                    WHERE namespace = $1 AND projection_version = 0 AND owner IS NULL";
                let began = Instant::now();
                while began.elapsed() < Duration::from_secs(1) && self.place.execute(behind).await > 0 {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
            ProjectionsBefore::Missing => {
                self.place.execute("DELETE FROM @.projections WHERE namespace = $1").await;
            }
            ProjectionsBefore::Any => {}
        }
    }
}

#[async_trait]
impl StoreWrapper for ProjectionHost {
    fn inner(&self) -> &dyn ThreadStore {
        &*self.store
    }

    async fn fork_thread(&self, request: ForkThread) -> Result<ThreadId> {
        self.prepare().await;
        self.store.fork_thread(request).await
    }

    async fn revert_thread(&self, request: RevertThread) -> Result<usize> {
        self.prepare().await;
        self.store.revert_thread(request).await
    }
}

#[test]
fn it_answers_like_the_store_in_memory() {
    let schema = new_schema();
    let places = AtomicU32::new(0);
    let sequences = std::env::var("SELVEDGE_COMPARE_SEQUENCES").map_or(24, |count| count.parse().unwrap());
    let new_place = async || {
        let place = Arc::new(PostgresPlace::new(Arc::clone(&schema)));
        let number = places.fetch_add(1, Ordering::Relaxed);
        if number == 0 {
            PostgresThreadStore::migrate(&place.options).await.unwrap();
        }
        let all = [ProjectionsBefore::Current, ProjectionsBefore::Missing, ProjectionsBefore::Any];
        ProjectionPlace { place, projections: all[number as usize % all.len()] }
    };
    compare_stores(new_place, async || MemoryPlace::new(), sequences)
        .unwrap_or_else(|difference| panic!("{difference}"));
}
