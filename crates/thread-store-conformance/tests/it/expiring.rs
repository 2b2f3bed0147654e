//! The rules about claims that expire, against a store in memory whose hosts can be paused.
#![expect(clippy::unwrap_used, reason = "test code, which clippy does not recognize without the attribute `test`")]

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use async_trait::async_trait;
use selvedge_protocol::{RolloutItem, SessionMeta, ThreadId};
use selvedge_thread_store::{Appended, BatchId, InMemoryThreadStore, Result, RevertThread, StoreError, ThreadStore};
use selvedge_thread_store_conformance::{Counts, NotApplicable, RunOptions, StorePlace, StoreWrapper, Wrapped, run};

/// What a host holds.
#[derive(Debug, Default)]
struct Claims {
    live: HashSet<ThreadId>,
    /// Claims that expired, until their holder has noticed.
    lost: HashSet<ThreadId>,
}

/// A host that loses its claims when it is paused.
#[derive(Debug)]
struct Host {
    store: InMemoryThreadStore,
    claims: Mutex<Claims>,
    /// Whether it looks at its claim before it writes.
    is_fenced: bool,
}

impl Host {
    /// Refuses what needs a claim that expired. A host that is not fenced takes the thread again, without a word.
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

    fn claimed(&self, thread_id: ThreadId) {
        let mut claims = self.claims.lock().unwrap();
        // A new claim takes the place of one that expired.
        claims.lost.remove(&thread_id);
        claims.live.insert(thread_id);
    }

    /// Releases a claim. Returns whether it had expired.
    fn given_up(&self, thread_id: ThreadId) -> bool {
        let mut claims = self.claims.lock().unwrap();
        claims.live.remove(&thread_id);
        claims.lost.remove(&thread_id)
    }
}

#[async_trait]
impl StoreWrapper for Host {
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
        if self.given_up(thread_id) { Ok(()) } else { self.store.shutdown_thread(thread_id).await }
    }

    async fn discard_thread(&self, thread_id: ThreadId) -> Result<()> {
        if self.given_up(thread_id) { Ok(()) } else { self.store.discard_thread(thread_id).await }
    }
}

/// A place whose claims expire.
pub(crate) struct Expiring {
    pub(crate) store: InMemoryThreadStore,
    /// The hosts, by where they stand in memory. Their death is left to those who use them.
    hosts: Mutex<HashMap<usize, Weak<Wrapped<Host>>>>,
    is_fenced: bool,
}

impl Expiring {
    pub(crate) fn new(is_fenced: bool) -> Self {
        Self { store: InMemoryThreadStore::new(), hosts: Mutex::default(), is_fenced }
    }
}

fn address(host: &Arc<dyn ThreadStore>) -> usize {
    Arc::as_ptr(host).cast::<()>() as usize
}

#[async_trait]
impl StorePlace for Expiring {
    async fn open_host(&self) -> Arc<dyn ThreadStore> {
        let host = Host { store: self.store.peer(), claims: Mutex::default(), is_fenced: self.is_fenced };
        let wrapped = Arc::new(Wrapped(host));
        let host: Arc<dyn ThreadStore> = Arc::<Wrapped<Host>>::clone(&wrapped);
        self.hosts.lock().unwrap().insert(address(&host), Arc::downgrade(&wrapped));
        host
    }

    fn claim_expiry(&self) -> Option<Duration> {
        Some(Duration::from_millis(100))
    }

    async fn pause_past_expiry(&self, host: &Arc<dyn ThreadStore>) -> Result<(), NotApplicable> {
        let paused = self.hosts.lock().unwrap()[&address(host)].upgrade().unwrap();
        let Host { store, claims, .. } = &paused.0;
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
    "claims.old-epoch",
    "claims.fenced-revert",
    "claims.fenced-host-resumes",
];

fn fencing() -> RunOptions {
    RunOptions { only: FENCING.map(str::to_owned).to_vec(), ..RunOptions::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fenced_host_keeps_the_rules() {
    let report = run(async || Expiring::new(true), &fencing()).await;
    assert_eq!(report.counts(), Counts { passed: 5, failed: 0, not_applicable: 0 }, "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_takes_an_expired_claim_for_its_own_is_caught() {
    let report = run(async || Expiring::new(false), &fencing()).await;
    let failed: Vec<_> = report.failed().map(|rule| rule.id).collect();
    assert_eq!(failed, ["claims.fenced-append", "claims.old-epoch", "claims.fenced-host-resumes"], "{report}");
}
