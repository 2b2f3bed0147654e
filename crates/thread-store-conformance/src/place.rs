//! What the author of a store gives to the suite.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use selvedge_protocol::ThreadId;
use selvedge_thread_store::{LinePosition, ThreadStore};

/// A place where threads are kept, and what can be done to it from outside: a directory, a database, a service.
///
/// Each rule is given a place of its own, without threads. [`open_host`](Self::open_host) is all that a place must offer. The
/// rules that need something else are not applicable where it is not offered, and the report says why.
#[async_trait]
pub trait StorePlace: Send + Sync + 'static {
    /// Opens the place as another process or another host would. All hosts see the same threads, and what is live in one is
    /// taken in the others. That its last handle is dropped is the death of a host.
    async fn open_host(&self) -> Arc<dyn ThreadStore>;

    /// Says how long the claim of a host outlives it. `None` if claims end with their host at once, and never before.
    fn claim_expiry(&self) -> Option<Duration> {
        None
    }

    /// Stops a host, as a machine that is suspended, until its claims have expired, and lets it go on.
    ///
    /// # Errors
    /// Where claims do not expire.
    async fn pause_past_expiry(&self, host: &Arc<dyn ThreadStore>) -> Result<(), NotApplicable> {
        let _ = host;
        Err(NotApplicable::because("claims do not expire, or this place cannot pause a host"))
    }

    /// Loses the answer of the next call of this kind to a host: the call takes effect or does not, and returns
    /// [`OutcomeUnknown`](selvedge_thread_store::StoreError::OutcomeUnknown) or another error that says to call again.
    /// Where a place cannot, the suite does it in front of the host.
    ///
    /// # Errors
    /// Where answers cannot be lost.
    async fn lose_answer(
        &self,
        host: &Arc<dyn ThreadStore>,
        call: StoreCall,
        took_effect: bool,
    ) -> Result<(), NotApplicable> {
        let _ = (host, call, took_effect);
        Err(NotApplicable::because("this place cannot lose the answer of a call"))
    }

    /// Replaces what is stored from a place in a thread's history on by so many other bytes, behind the store's back. The
    /// thread is cold.
    ///
    /// # Errors
    /// Where what is stored cannot be reached.
    async fn damage(&self, thread_id: ThreadId, at: &LinePosition, bytes: &[u8]) -> Result<(), NotApplicable> {
        let _ = (thread_id, at, bytes);
        Err(NotApplicable::because("this place cannot damage what is stored"))
    }

    /// Stops what all hosts stand on and starts it again. All hosts are dead by then.
    ///
    /// # Errors
    /// Where nothing outlives the hosts.
    async fn restart(&self) -> Result<(), NotApplicable> {
        Err(NotApplicable::because("this place cannot be restarted"))
    }
}

/// Why a rule says nothing about a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotApplicable {
    /// Why.
    pub why: String,
}

impl NotApplicable {
    /// It does not apply, because of this.
    #[must_use]
    pub fn because(why: impl Into<String>) -> Self {
        Self { why: why.into() }
    }
}

impl fmt::Display for NotApplicable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

/// The calls whose answers can be lost: those that change something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StoreCall {
    /// [`create_thread`](ThreadStore::create_thread)
    Create,
    /// [`resume_thread`](ThreadStore::resume_thread)
    Resume,
    /// [`append_items`](ThreadStore::append_items)
    Append,
    /// [`persist_thread`](ThreadStore::persist_thread)
    Persist,
    /// [`flush_thread`](ThreadStore::flush_thread)
    Flush,
    /// [`sync_thread`](ThreadStore::sync_thread)
    Sync,
    /// [`shutdown_thread`](ThreadStore::shutdown_thread)
    Shutdown,
    /// [`discard_thread`](ThreadStore::discard_thread)
    Discard,
    /// [`update_thread_metadata`](ThreadStore::update_thread_metadata)
    Update,
    /// [`archive_thread`](ThreadStore::archive_thread)
    Archive,
    /// [`unarchive_thread`](ThreadStore::unarchive_thread)
    Unarchive,
    /// [`delete_thread`](ThreadStore::delete_thread)
    Delete,
    /// [`detach_thread`](ThreadStore::detach_thread)
    Detach,
    /// [`fork_thread`](ThreadStore::fork_thread)
    Fork,
    /// [`revert_thread`](ThreadStore::revert_thread)
    Revert,
    /// [`import_segment`](ThreadStore::import_segment)
    Import,
}
