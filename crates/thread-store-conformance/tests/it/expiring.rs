//! The rules about claims that expire, checked against a store in memory whose hosts can be paused.
//!
//! A pause takes no time here: the place releases the claims of the host in the store, and the host does not notice. From then on,
//! another host can claim the threads. A fenced host finds its lost claims before it writes. A host without fencing does not check,
//! and the rules must catch it.
#![expect(clippy::unwrap_used, reason = "test code, which clippy does not recognize without the attribute `test`")]

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use async_trait::async_trait;
use selvedge_protocol::{RolloutItem, SessionMeta, ThreadId};
use selvedge_thread_store::{Appended, BatchId, InMemoryThreadStore, Result, RevertThread, StoreError, ThreadStore};
use selvedge_thread_store_conformance::{Counts, NotApplicable, RunOptions, StorePlace, StoreWrapper, Wrapped, run};

/// The claims of a host.
#[derive(Debug, Default)]
struct Claims {
    live: HashSet<ThreadId>,
    /// Claims that have expired. An entry is removed when the host gives the thread up or claims it again.
    lost: HashSet<ThreadId>,
}

/// A host that loses its claims when it is paused.
#[derive(Debug)]
struct ExpiringHost {
    store: InMemoryThreadStore,
    claims: Mutex<Claims>,
    /// Whether the host checks its claim before it writes.
    is_fenced: bool,
}

impl ExpiringHost {
    /// Refuses a call that needs an expired claim. A host without fencing silently claims the thread again.
    async fn check(&self, thread_id: ThreadId) -> Result<()> {
        if !self.claims.lock().unwrap().lost.contains(&thread_id) {
            return Ok(());
        }
        if self.is_fenced {
            return Err(StoreError::Lost { thread_id, reason: "its claim has expired".into() });
        }
        self.claims.lock().unwrap().lost.remove(&thread_id);
        self.store.resume_thread(thread_id).await
    }

    /// Records a new claim.
    fn claimed(&self, thread_id: ThreadId) {
        let mut claims = self.claims.lock().unwrap();
        // A new claim replaces an expired one.
        claims.lost.remove(&thread_id);
        claims.live.insert(thread_id);
    }

    /// Removes a claim. Returns whether it had expired.
    fn release(&self, thread_id: ThreadId) -> bool {
        let mut claims = self.claims.lock().unwrap();
        claims.live.remove(&thread_id);
        claims.lost.remove(&thread_id)
    }
}

#[async_trait]
impl StoreWrapper for ExpiringHost {
    fn inner(&self) -> &dyn ThreadStore {
        &self.store
    }

    async fn create_thread(&self, meta: SessionMeta) -> Result<()> {
        let thread_id = meta.id;
        self.store.create_thread(meta).await?;
        thread_id.into_iter().for_each(|thread_id| self.claimed(thread_id));
        Ok(())
    }

    async fn resume_thread(&self, thread_id: ThreadId) -> Result<()> {
        self.store.resume_thread(thread_id).await?;
        self.claimed(thread_id);
        Ok(())
    }

    async fn append_items(&self, thread_id: ThreadId, batch: BatchId, items: &[RolloutItem]) -> Result<Appended> {
        self.check(thread_id).await?;
        self.store.append_items(thread_id, batch, items).await
    }

    async fn revert_thread(&self, request: RevertThread) -> Result<usize> {
        self.check(request.thread_id).await?;
        self.store.revert_thread(request).await
    }

    async fn shutdown_thread(&self, thread_id: ThreadId) -> Result<()> {
        if self.release(thread_id) { Ok(()) } else { self.store.shutdown_thread(thread_id).await }
    }

    async fn discard_thread(&self, thread_id: ThreadId) -> Result<()> {
        if self.release(thread_id) { Ok(()) } else { self.store.discard_thread(thread_id).await }
    }
}

/// A place whose claims expire.
pub(crate) struct ExpiringPlace {
    pub(crate) store: InMemoryThreadStore,
    /// The hosts by their address. Only the user of a host keeps it alive.
    hosts: Mutex<HashMap<usize, Weak<Wrapped<ExpiringHost>>>>,
    is_fenced: bool,
}

impl ExpiringPlace {
    pub(crate) fn new(is_fenced: bool) -> Self {
        Self { store: InMemoryThreadStore::new(), hosts: Mutex::default(), is_fenced }
    }
}

fn address(host: &Arc<dyn ThreadStore>) -> usize {
    Arc::as_ptr(host).cast::<()>() as usize
}

#[async_trait]
impl StorePlace for ExpiringPlace {
    async fn open_host(&self) -> Arc<dyn ThreadStore> {
        let host = ExpiringHost { store: self.store.peer(), claims: Mutex::default(), is_fenced: self.is_fenced };
        let wrapped = Arc::new(Wrapped(host));
        let host: Arc<dyn ThreadStore> = Arc::<Wrapped<ExpiringHost>>::clone(&wrapped);
        self.hosts.lock().unwrap().insert(address(&host), Arc::downgrade(&wrapped));
        host
    }

    fn claim_expiry(&self) -> Option<Duration> {
        Some(Duration::from_millis(100))
    }

    async fn pause_past_expiry(&self, host: &Arc<dyn ThreadStore>) -> Result<(), NotApplicable> {
        let paused = self.hosts.lock().unwrap()[&address(host)].upgrade().unwrap();
        let ExpiringHost { store, claims, .. } = &paused.0;
        let live: Vec<_> = claims.lock().unwrap().live.drain().collect();
        for thread_id in live {
            store.discard_thread(thread_id).await.unwrap();
            claims.lock().unwrap().lost.insert(thread_id);
        }
        Ok(())
    }
}

const FENCING: [&str; 5] = [
    "claims.expired",
    "claims.fenced-append",
    "claims.stale-epoch",
    "claims.fenced-revert",
    "claims.fenced-host-resumes",
];

fn fencing() -> RunOptions {
    RunOptions { only: FENCING.map(str::to_owned).to_vec(), ..RunOptions::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fenced_host_keeps_the_rules_of_fencing() {
    let report = run(async || ExpiringPlace::new(true), &fencing()).await;
    assert_eq!(report.counts(), Counts { passed: 5, failed: 0, not_applicable: 0 }, "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_without_fencing_is_caught() {
    let report = run(async || ExpiringPlace::new(false), &fencing()).await;
    let failed: Vec<_> = report.failed().map(|rule| rule.id).collect();
    assert_eq!(failed, ["claims.fenced-append", "claims.stale-epoch", "claims.fenced-host-resumes"], "{report}");
}
