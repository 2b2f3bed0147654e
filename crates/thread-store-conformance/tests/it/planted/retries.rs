//! Faults that show when a call is repeated, after a lost answer or a dropped future.

use std::sync::atomic::Ordering;

use async_trait::async_trait;
use selvedge_protocol::{SessionMeta, ThreadId};
use selvedge_thread_store::{BatchId, ForkThread, Holder, Result, StoreError};
use selvedge_thread_store_conformance::{StoreWrapper, Wrapped};

use super::fault::{Fault, FaultyHost, faults};

faults! {
    ForksUnderAnotherId
        caught by ["lost-answers.of-fork"]
        also [
            "fork.after-and-before", "fork.at-latest", "fork.delete-of-a-source", "fork.is-continued",
            "fork.source-and-fork-are-independent", "fork.of-a-fork", "fork.of-live-and-archived", "fork.refusals",
            "cancelled.fork", "detach.frees-the-source", "detach.is-continued", "detach.keeps-dependents",
            "detach.of-a-reverted-thread", "errors.give-up", "lines.positions-survive-every-change",
            "revert.fork-of-a-reverted-thread", "revert.into-the-inherited-history",
        ]
    {
        async fn fork_thread(&self, mut request: ForkThread) -> Result<ThreadId> {
            // Every second call gets another id, so that a repeated call creates a second fork.
            if self.memory.count.fetch_add(1, Ordering::Relaxed) % 2 == 1 {
                request.meta.id = Some(ThreadId::new(selvedge_protocol::Timestamp::from_millis(0)));
            }
            self.store.fork_thread(request).await
        }
    }

    LeavesALockAfterADroppedDelete caught by ["cancelled.delete"] also [] {
        async fn delete_thread(&self, thread_id: ThreadId) -> Result<()> {
            // The mark is the lock. No guard removes it when the future is dropped at the yield.
            if !self.memory.marked.lock().unwrap().insert(thread_id) {
                return Err(StoreError::Conflict { thread_id, holder: Holder::default(), since: None });
            }
            tokio::task::yield_now().await;
            let outcome = self.store.delete_thread(thread_id).await;
            self.memory.marked.lock().unwrap().remove(&thread_id);
            outcome
        }
    }

    LeavesALockAfterADroppedResume caught by ["cancelled.resume-and-shutdown"] also ["claims.race"] {
        async fn resume_thread(&self, thread_id: ThreadId) -> Result<()> {
            if !self.memory.marked.lock().unwrap().insert(thread_id) {
                return Err(StoreError::invalid("another call holds the thread"));
            }
            tokio::task::yield_now().await;
            let outcome = self.store.resume_thread(thread_id).await;
            self.memory.marked.lock().unwrap().remove(&thread_id);
            outcome
        }
    }

    ReportsATakenIdAsInvalid caught by ["lost-answers.of-create"] also ["lifecycle.create-refuses-a-taken-id"] {
        async fn create_thread(&self, meta: SessionMeta) -> Result<()> {
            match self.store.create_thread(meta).await {
                Err(StoreError::AlreadyExists { .. }) => Err(StoreError::invalid("the id is taken")),
                outcome => outcome,
            }
        }
    }

    ReportsALiveThreadAsMissing
        caught by ["lost-answers.of-resume"]
        also ["lifecycle.resume-refuses-missing-and-live-threads"]
    {
        async fn resume_thread(&self, thread_id: ThreadId) -> Result<()> {
            match self.store.resume_thread(thread_id).await {
                Err(StoreError::Conflict { .. }) if self.store.flush_thread(thread_id).await.is_ok() => {
                    Err(StoreError::not_found(thread_id))
                }
                outcome => outcome,
            }
        }
    }

    WritesTheHeadAgainOnPersist caught by ["lost-answers.of-persist"] also ["lifecycle.lazy-until-persist"] {
        async fn persist_thread(&self, thread_id: ThreadId) -> Result<()> {
            let is_visible = self.store.read_thread(thread_id).await.is_ok();
            self.store.persist_thread(thread_id).await?;
            if is_visible && let Some(head) = self.store.read_session_meta(thread_id).await? {
                self.store.append_items(thread_id, BatchId::generate(), &[head.into()]).await?;
            }
            Ok(())
        }
    }

    RefusesASecondFlush caught by ["lost-answers.of-flush-and-sync"] also [] {
        async fn flush_thread(&self, thread_id: ThreadId) -> Result<()> {
            self.store.flush_thread(thread_id).await?;
            let is_first = self.memory.marked.lock().unwrap().insert(thread_id);
            if is_first { Ok(()) } else { Err(StoreError::invalid("the thread was flushed before")) }
        }
    }

    ReportsADeletedThreadAsInvalid
        caught by ["lost-answers.of-delete"]
        also [
            "cancelled.delete", "lifecycle.create-refuses-an-invalid-head", "lifecycle.delete",
            "lifecycle.discard-leaves-no-trace", "lifecycle.lazy-until-first-append",
            "lifecycle.shutdown-of-a-lazy-thread",
        ]
    {
        async fn delete_thread(&self, thread_id: ThreadId) -> Result<()> {
            match self.store.delete_thread(thread_id).await {
                Err(StoreError::NotFound { .. }) => Err(StoreError::invalid("the thread was deleted before")),
                outcome => outcome,
            }
        }
    }
}
