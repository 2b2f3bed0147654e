//! Faults of claims: dead hosts, expired leases, epochs and fencing.

use std::sync::Arc;

use async_trait::async_trait;
use selvedge_protocol::{RolloutItem, ThreadId};
use selvedge_thread_store::{Appended, BatchId, Holder, Result, RevertThread, StoreError, WriterState};
use selvedge_thread_store_conformance::{StoreWrapper, Wrapped};

use super::fault::{Fault, FaultyHost, faults};

faults! {
    AlwaysReturnsEpochOne caught by ["claims.epochs"] also ["batches.writer-state", "claims.fenced-host-resumes"] {
        async fn writer_state(&self, thread_id: ThreadId) -> Result<WriterState> {
            Ok(WriterState { epoch: 1, ..self.store.writer_state(thread_id).await? })
        }
    }

    ReportsRefusedClaimsAsGranted
        caught by ["claims.race"]
        also ["claims.of-a-dead-writer", "errors.retry-later", "lifecycle.one-writer"]
    {
        async fn resume_thread(&self, thread_id: ThreadId) -> Result<()> {
            match self.store.resume_thread(thread_id).await {
                Err(StoreError::Conflict { .. }) if self.store.flush_thread(thread_id).await.is_err() => Ok(()),
                outcome => outcome,
            }
        }
    }

    KeepsClaimsOfDeadHosts caught by ["claims.of-a-dead-writer"] also [] {
        async fn resume_thread(&self, thread_id: ThreadId) -> Result<()> {
            // A forgotten handle keeps the host alive, and with it the claim.
            std::mem::forget(Arc::clone(&self.store));
            self.store.resume_thread(thread_id).await
        }
    }

    KeepsClaimsOfDeadHostsAfterAppends
        caught by ["claims.appends-of-a-dead-writer"]
        also ["claims.of-a-dead-writer"]
    {
        async fn append_items(&self, thread_id: ThreadId, batch: BatchId, items: &[RolloutItem]) -> Result<Appended> {
            std::mem::forget(Arc::clone(&self.store));
            self.store.append_items(thread_id, batch, items).await
        }
    }

    AcknowledgesFencedAppends
        caught by ["claims.fenced-append", "claims.stale-epoch"]
        also ["claims.fenced-host-resumes"]
    {
        async fn append_items(&self, thread_id: ThreadId, batch: BatchId, items: &[RolloutItem]) -> Result<Appended> {
            match self.store.append_items(thread_id, batch, items).await {
                Err(StoreError::Lost { .. }) => Ok(Appended { lines: items.len() as u64, last_ordinal: None }),
                outcome => outcome,
            }
        }
    }

    RenewsStaleClaimsSilently caught by ["claims.stale-epoch"] also [] {
        async fn append_items(&self, thread_id: ThreadId, batch: BatchId, items: &[RolloutItem]) -> Result<Appended> {
            match self.store.append_items(thread_id, batch, items).await {
                Err(error @ StoreError::Lost { .. }) => {
                    if self.store.resume_thread(thread_id).await.is_err() {
                        return Err(error);
                    }
                    self.store.append_items(thread_id, batch, items).await
                }
                outcome => outcome,
            }
        }
    }

    AcknowledgesFencedReverts caught by ["claims.fenced-revert"] also [] {
        async fn revert_thread(&self, request: RevertThread) -> Result<usize> {
            match self.store.revert_thread(request).await {
                Err(StoreError::Lost { .. }) => Ok(1),
                outcome => outcome,
            }
        }
    }

    RefusesToDiscardLostThreads caught by ["claims.fenced-host-resumes"] also [] {
        async fn discard_thread(&self, thread_id: ThreadId) -> Result<()> {
            let is_here = self.store.flush_thread(thread_id).await.is_ok();
            self.store.discard_thread(thread_id).await?;
            if is_here { Ok(()) } else { Err(StoreError::not_live(thread_id)) }
        }
    }

    KeepsExpiredClaims
        caught by ["claims.expired"]
        also [
            "claims.fenced-append", "claims.fenced-host-resumes", "claims.fenced-revert", "claims.of-a-dead-writer",
            "claims.stale-epoch",
        ]
    {
        async fn resume_thread(&self, thread_id: ThreadId) -> Result<()> {
            if self.host == 0 {
                self.store.resume_thread(thread_id).await?;
                self.memory.marked.lock().unwrap().insert(thread_id);
                return Ok(());
            }
            if self.memory.marked.lock().unwrap().contains(&thread_id) {
                return Err(StoreError::Conflict { thread_id, holder: Holder::default(), since: None });
            }
            self.store.resume_thread(thread_id).await
        }

        async fn shutdown_thread(&self, thread_id: ThreadId) -> Result<()> {
            self.memory.marked.lock().unwrap().remove(&thread_id);
            self.store.shutdown_thread(thread_id).await
        }
    }
}
