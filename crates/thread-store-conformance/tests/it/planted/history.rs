//! Faults of forks, reverts and detached threads.

use async_trait::async_trait;
use selvedge_protocol::{StoredThread, ThreadId, ThreadMetadataPatch, TurnBoundary};
use selvedge_thread_store::{BatchId, ForkThread, MetadataOrigin, Result, RevertThread, StoreError};
use selvedge_thread_store_conformance::{StoreWrapper, Wrapped};

use super::fault::{Fault, FaultyHost, faults};

faults! {
    ForgetsRevertIds caught by ["batches.repeated-revert"] also ["cancelled.revert", "lost-answers.of-revert"] {
        async fn revert_thread(&self, request: RevertThread) -> Result<usize> {
            self.store.revert_thread(RevertThread { batch: BatchId::generate(), ..request }).await
        }
    }

    CopiesNamesToForks caught by ["fork.inherits-no-explicit-metadata"] also ["fork.at-latest"] {
        async fn fork_thread(&self, request: ForkThread) -> Result<ThreadId> {
            let name = self.store.read_thread(request.source).await?.name;
            let fork = self.store.fork_thread(request).await?;
            if name.is_some() {
                let patch = ThreadMetadataPatch { name: Some(name), ..ThreadMetadataPatch::default() };
                self.store.update_thread_metadata(fork, &patch, MetadataOrigin::Explicit).await?;
            }
            Ok(fork)
        }
    }

    IgnoresTheDirectoryOfTheSource caught by ["fork.inherits-the-head"] also [] {
        async fn fork_thread(&self, mut request: ForkThread) -> Result<ThreadId> {
            request.meta.cwd.get_or_insert_with(|| "/elsewhere".to_owned());
            self.store.fork_thread(request).await
        }
    }

    IgnoresBeforeNewestInForks caught by ["fork.after-and-before"] also ["fork.of-live-and-archived"] {
        async fn fork_thread(&self, request: ForkThread) -> Result<ThreadId> {
            let at = match request.at {
                TurnBoundary::BeforeNewest(_) => TurnBoundary::Latest,
                at => at,
            };
            self.store.fork_thread(ForkThread { at, ..request }).await
        }
    }

    ReportsOnlyOneDependent
        caught by ["fork.delete-of-a-source"]
        also ["detach.keeps-dependents", "revert.fork-of-a-reverted-thread"]
    {
        async fn delete_thread(&self, thread_id: ThreadId) -> Result<()> {
            match self.store.delete_thread(thread_id).await {
                Err(StoreError::HasDependents { thread_id, mut dependents }) => {
                    dependents.truncate(1);
                    Err(StoreError::HasDependents { thread_id, dependents })
                }
                outcome => outcome,
            }
        }
    }

    CountsOneUndoneTurnTooMany
        caught by ["revert.after-and-before"]
        also [
            "batches.repeated-revert", "cancelled.revert", "lifecycle.archive", "lost-answers.of-revert",
            "revert.before-the-first-turn", "revert.undoes-steering", "revert.fork-of-a-reverted-thread",
            "revert.into-the-inherited-history", "revert.keeps-explicit-metadata", "revert.of-a-live-thread",
            "revert.of-an-incomplete-turn", "revert.refusals", "revert.to-between-turns", "revert.to-latest",
        ]
    {
        async fn revert_thread(&self, request: RevertThread) -> Result<usize> {
            self.store.revert_thread(request).await.map(|undone| undone + 1)
        }
    }

    ReportsAnUndoneTurnForLatest caught by ["revert.to-latest"] also [] {
        async fn revert_thread(&self, request: RevertThread) -> Result<usize> {
            let is_latest = request.to == TurnBoundary::Latest;
            self.store.revert_thread(request).await.map(|undone| if is_latest { 1 } else { undone })
        }
    }

    DetachesNothing
        caught by ["detach.frees-the-source"]
        also [
            "cancelled.detach", "detach.archived-and-twice", "detach.is-continued", "detach.keeps-dependents",
            "detach.keeps-compactions", "detach.keeps-metadata-and-world-state", "detach.of-a-reverted-thread",
            "detach.refusals", "errors.retry-later", "lines.positions-stay-valid", "lost-answers.of-detach",
        ]
    {
        async fn detach_thread(&self, thread_id: ThreadId) -> Result<StoredThread> {
            self.store.read_thread(thread_id).await
        }
    }

    UnarchivesDetachedThreads caught by ["detach.archived-and-twice"] also [] {
        async fn detach_thread(&self, thread_id: ThreadId) -> Result<StoredThread> {
            self.store.detach_thread(thread_id).await?;
            self.store.unarchive_thread(thread_id).await
        }
    }

    AcceptsRevertsWithoutUserMessages caught by ["revert.of-a-turn-without-messages"] also [] {
        async fn revert_thread(&self, request: RevertThread) -> Result<usize> {
            match self.store.revert_thread(request).await {
                Err(StoreError::InvalidRequest { .. }) => Ok(1),
                outcome => outcome,
            }
        }
    }

    IgnoresConflictsOfReverts caught by ["revert.conflicts"] also [] {
        async fn revert_thread(&self, request: RevertThread) -> Result<usize> {
            match self.store.revert_thread(request).await {
                Err(StoreError::Conflict { .. }) => Ok(0),
                outcome => outcome,
            }
        }
    }

    RefusesToDetachIndependentThreads
        caught by ["detach.of-an-independent-thread"]
        also ["cancelled.detach", "lost-answers.of-detach"]
    {
        async fn detach_thread(&self, thread_id: ThreadId) -> Result<StoredThread> {
            let before = self.store.list_segments(thread_id).await?;
            let record = self.store.detach_thread(thread_id).await?;
            if self.store.list_segments(thread_id).await? == before && !record.archived {
                return Err(StoreError::invalid("the thread depends on no other thread"));
            }
            Ok(record)
        }
    }
}
