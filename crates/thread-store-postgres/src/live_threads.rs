//! The threads that this process writes, and what their writers know.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use selvedge_protocol::{SegmentId, SessionMeta, ThreadId};
use selvedge_thread_store::implement::{BatchOutcome, RecentBatches, SegmentTail};
use selvedge_thread_store::{Appended, BatchId, Result, StoreError};
use tokio::sync::OwnedMutexGuard;
use uuid::Uuid;

use crate::commit_queue::Claim;

/// The threads that this process writes.
#[derive(Default)]
pub(crate) struct HeldThreads(Mutex<HashMap<ThreadId, Arc<LiveWriter>>>);

/// The writer of a thread. Calls lock its state in the order of their first polls.
pub(crate) struct LiveWriter {
    pub(crate) thread_id: ThreadId,
    state: Arc<tokio::sync::Mutex<WriterProgress>>,
    /// The claim, for renewals. `None` while the thread is lazy, and once it is lost.
    claim: Mutex<Option<Claim>>,
}

/// Where a writer is.
pub(crate) struct WriterProgress {
    pub(crate) stage: WriterStage,
    /// The owner of all claims of this writer.
    pub(crate) owner: Uuid,
}

/// The stages of a writer.
pub(crate) enum WriterStage {
    /// Nothing is stored. This is the head that the first line will have.
    Lazy(Box<SessionMeta>),
    Claimed(Box<ClaimedThread>),
    /// The claim was taken from this process.
    Lost(String),
    /// The thread was given up while the call waited for the lock.
    Ended,
}

/// What a writer knows of its thread.
pub(crate) struct ClaimedThread {
    pub(crate) claim: Claim,
    pub(crate) segment_id: SegmentId,
    pub(crate) tail: SegmentTail,
    /// The byte after the last row of the segment.
    pub(crate) end: u64,
    pub(crate) holds_a_line: bool,
    pub(crate) batches: RecentBatches,
    /// The append whose outcome is unknown.
    pub(crate) unsettled: Option<UnsettledAppend>,
    /// Whether another change of the history has an unknown outcome, so that the position of the end is unknown.
    pub(crate) is_adrift: bool,
    /// Whether lines came after the thread record was stored.
    pub(crate) is_ahead: bool,
    /// Where the segment ended when the projections were last written, or found to be near enough.
    pub(crate) looked_at: u64,
}

/// An append whose outcome is unknown, and what is true if it took effect.
pub(crate) struct UnsettledAppend {
    pub(crate) batch: BatchId,
    pub(crate) appended: Appended,
    pub(crate) tail: SegmentTail,
    pub(crate) end: u64,
}

/// The locked state of a writer.
pub(crate) type LockedWriter = OwnedMutexGuard<WriterProgress>;

impl HeldThreads {
    fn map(&self) -> MutexGuard<'_, HashMap<ThreadId, Arc<LiveWriter>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the writer of a thread.
    ///
    /// # Errors
    /// - `NotFound` (live).
    pub(crate) fn get(&self, thread_id: ThreadId) -> Result<Arc<LiveWriter>> {
        self.find(thread_id).ok_or(StoreError::not_live(thread_id))
    }

    pub(crate) fn find(&self, thread_id: ThreadId) -> Option<Arc<LiveWriter>> {
        self.map().get(&thread_id).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<LiveWriter>> {
        self.map().values().cloned().collect()
    }

    /// Adds a writer. Returns whether there was none.
    pub(crate) fn insert(&self, writer: LiveWriter) -> bool {
        match self.map().entry(writer.thread_id) {
            Entry::Occupied(_) => false,
            Entry::Vacant(free) => {
                free.insert(Arc::new(writer));
                true
            }
        }
    }

    pub(crate) fn remove(&self, thread_id: ThreadId) {
        self.map().remove(&thread_id);
    }
}

impl LiveWriter {
    pub(crate) fn new(thread_id: ThreadId, stage: WriterStage, owner: Uuid) -> Self {
        let claim = match &stage {
            WriterStage::Claimed(claimed) => Some(claimed.claim),
            _ => None,
        };
        Self {
            thread_id,
            state: Arc::new(tokio::sync::Mutex::new(WriterProgress { stage, owner })),
            claim: Mutex::new(claim),
        }
    }

    /// Waits until all earlier calls on this writer are done.
    pub(crate) async fn lock(&self) -> LockedWriter {
        Arc::clone(&self.state).lock_owned().await
    }

    /// Returns the state if no call is using it.
    pub(crate) fn try_lock(&self) -> Option<LockedWriter> {
        Arc::clone(&self.state).try_lock_owned().ok()
    }

    /// Returns the claim that has to be renewed.
    pub(crate) fn claim(&self) -> Option<Claim> {
        *self.claim.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_claim(&self, claim: Option<Claim>) {
        *self.claim.lock().unwrap_or_else(PoisonError::into_inner) = claim;
    }

    /// Notes that the claim is gone.
    pub(crate) fn lose(&self, state: &mut WriterProgress, reason: String) -> StoreError {
        tracing::warn!(thread_id = %self.thread_id, reason, "a writer lost its thread");
        self.set_claim(None);
        state.stage = WriterStage::Lost(reason.clone());
        StoreError::Lost { thread_id: self.thread_id, reason }
    }

    /// Returns what the writer knows of its thread.
    ///
    /// # Errors
    /// - `NotFound` (live) if it was given up, or if it is lazy.
    /// - `Lost` if the claim is gone.
    pub(crate) fn claimed<'a>(&self, state: &'a mut WriterProgress) -> Result<&'a mut ClaimedThread> {
        match &mut state.stage {
            WriterStage::Claimed(claimed) => Ok(claimed),
            WriterStage::Lost(reason) => Err(StoreError::Lost { thread_id: self.thread_id, reason: reason.clone() }),
            WriterStage::Lazy(_) | WriterStage::Ended => Err(StoreError::not_live(self.thread_id)),
        }
    }
}

impl ClaimedThread {
    /// Notes that an append took effect.
    pub(crate) fn advance(&mut self, append: UnsettledAppend) {
        (self.tail, self.end, self.is_ahead) = (append.tail, append.end, true);
        self.batches.push(append.batch, BatchOutcome::Appended(append.appended));
    }

    /// Notes that the outcome of a change of the history is unknown.
    pub(crate) fn drift(&mut self) {
        self.is_adrift = true;
    }

    /// Notes a change of the history that another statement made: a revert, or explicit metadata.
    pub(crate) fn moved(&mut self, segment_id: SegmentId, tail: SegmentTail, end: u64) {
        if self.segment_id != segment_id {
            self.looked_at = 0;
        }
        (self.segment_id, self.tail, self.end, self.holds_a_line) = (segment_id, tail, end, true);
    }
}
