//! A place whose hosts all have the same fault.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use async_trait::async_trait;
use selvedge_protocol::ThreadId;
use selvedge_thread_store::{LinePosition, LineQuery, LineStart, SegmentPart, ThreadReader as _, ThreadStore};
use selvedge_thread_store_conformance::{NotApplicable, StorePlace};

use super::fault::{Fault, FaultMemory, FaultyHost};
use crate::expiring::ExpiringPlace;

/// A host that lives only as long as a rule uses it.
type WeakHost = Weak<dyn ThreadStore>;

/// A place in memory whose hosts all have the same fault.
pub(super) struct FaultyPlace {
    /// The hosts without the fault.
    hosts: ExpiringPlace,
    memory: Arc<FaultMemory>,
    /// Each faulty host, and the host without the fault that it wraps.
    pairs: Mutex<Vec<(WeakHost, WeakHost)>>,
    fault: &'static Fault,
}

impl FaultyPlace {
    pub(super) fn new(fault: &'static Fault) -> Self {
        Self { hosts: ExpiringPlace::new(true), memory: Arc::default(), pairs: Mutex::default(), fault }
    }
}

#[async_trait]
impl StorePlace for FaultyPlace {
    async fn open_host(&self) -> Arc<dyn ThreadStore> {
        let intact = self.hosts.open_host().await;
        let (store, memory) = (Arc::clone(&intact), Arc::clone(&self.memory));
        let host = memory.hosts.fetch_add(1, Ordering::Relaxed);
        let faulty = (self.fault.plant)(FaultyHost { store, memory, host });
        self.pairs.lock().unwrap().push((Arc::downgrade(&faulty), Arc::downgrade(&intact)));
        faulty
    }

    fn claim_expiry(&self) -> Option<Duration> {
        self.hosts.claim_expiry()
    }

    async fn pause_past_expiry(&self, host: &Arc<dyn ThreadStore>) -> Result<(), NotApplicable> {
        let known = self.pairs.lock().unwrap().iter().find(|(known, _)| known.ptr_eq(&Arc::downgrade(host))).cloned();
        let intact = known.and_then(|(_, intact)| intact.upgrade()).expect("a host of this place");
        self.hosts.pause_past_expiry(&intact).await
    }

    async fn restart(&self) -> Result<(), NotApplicable> {
        self.memory.is_restarted.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Reads the whole segment, overwrites the bytes, and imports the result instead of the thread.
    async fn damage(&self, thread_id: ThreadId, at: &LinePosition, bytes: &[u8]) -> Result<(), NotApplicable> {
        let store = &self.hosts.store;
        let entries = store.read_lines(&LineQuery::from(thread_id, LineStart::Beginning)).await.unwrap().entries;
        let before: usize = entries.iter().take_while(|entry| entry.at != *at).map(|entry| entry.bytes.len()).sum();
        let [info] = &store.list_segments(thread_id).await.unwrap()[..] else { panic!("one segment") };
        let mut all = store.read_segment(thread_id, info.id, 0, usize::MAX).await.unwrap();
        all[before..before + bytes.len()].copy_from_slice(bytes);
        store.delete_thread(thread_id).await.unwrap();
        let part = SegmentPart { info, at: 0, bytes: &all, is_last: true };
        store.import_segment(part).await.unwrap();
        Ok(())
    }
}
