//! What the author of a store provides for the suite.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use selvedge_protocol::ThreadId;
use selvedge_thread_store::{LinePosition, ThreadStore};

/// Storage for threads that several hosts can open, such as a directory, a database or a service. The suite also uses it to
/// damage, pause and restart what is stored, as far as the place supports that.
///
/// Each rule gets a place of its own, without threads. [`open_host`](Self::open_host) is the only required method. A rule that
/// needs another method is not applicable if the place does not support it, and the report says why.
#[async_trait]
pub trait StorePlace: Send + Sync + 'static {
    /// Opens the place as another process or another machine would. All hosts see the same threads. A thread that is live in one
    /// host is held for the others. A host dies when its last handle is dropped.
    async fn open_host(&self) -> Arc<dyn ThreadStore>;

    /// Returns how long a claim stays valid after the death of its host. `None` if a claim ends exactly with its host.
    fn claim_expiry(&self) -> Option<Duration> {
        None
    }

    /// Stops a host, as if its machine were suspended, until its claims have expired. Then the host continues.
    ///
    /// A place has two ways to do so. It can really stop a process for longer than [`claim_expiry`](Self::claim_expiry). Or it can
    /// release the claims of the host in the storage without the knowledge of the host, which takes no time.
    ///
    /// # Errors
    /// If claims do not expire, or the place cannot pause a host.
    async fn pause_past_expiry(&self, host: &Arc<dyn ThreadStore>) -> Result<(), NotApplicable> {
        let _ = host;
        Err(NotApplicable::because("claims do not expire, or this place cannot pause a host"))
    }

    /// Loses the answer of the next call of this kind to a host. The call takes effect or not, as `took_effect` says. It returns
    /// [`OutcomeUnknown`](selvedge_thread_store::StoreError::OutcomeUnknown) or another error that advises to repeat it.
    ///
    /// If a place does not support this, the suite wraps the host and loses the answer there.
    ///
    /// # Errors
    /// If the place cannot lose answers.
    async fn lose_answer(
        &self,
        host: &Arc<dyn ThreadStore>,
        call: StoreCall,
        took_effect: bool,
    ) -> Result<(), NotApplicable> {
        let _ = (host, call, took_effect);
        Err(NotApplicable::because("this place cannot lose the answer of a call"))
    }

    /// Overwrites stored bytes of a cold thread without the knowledge of the store. `bytes` replace as many bytes of the history,
    /// from the position `at` on.
    ///
    /// # Errors
    /// If the place has no access to the stored bytes.
    async fn damage(&self, thread_id: ThreadId, at: &LinePosition, bytes: &[u8]) -> Result<(), NotApplicable> {
        let _ = (thread_id, at, bytes);
        Err(NotApplicable::because("this place cannot damage what is stored"))
    }

    /// Stops the system that all hosts depend on, such as a database server, and starts it again. No host is alive at that time.
    ///
    /// # Errors
    /// If there is no such system, or it cannot be restarted.
    async fn restart(&self) -> Result<(), NotApplicable> {
        Err(NotApplicable::because("this place cannot be restarted"))
    }
}

/// Why a rule does not apply to a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotApplicable {
    /// The reason.
    pub why: String,
}

impl NotApplicable {
    /// Creates the answer that a rule does not apply, with the reason.
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

/// The calls whose answers can be lost: all calls that change something.
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
