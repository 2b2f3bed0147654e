//! Faults in the life of a thread: create, resume, persist, shutdown, archive and delete.

use async_trait::async_trait;
use selvedge_protocol::{ArchivedFilter, HistoryMode, Page, SessionMeta, StoredThread, ThreadId, ThreadQuery};
use selvedge_thread_store::{BatchId, Holder, Result, SegmentPart, StoreError};
use selvedge_thread_store_conformance::{StoreWrapper, Wrapped};

use super::fault::{Fault, FaultyHost, faults};

faults! {
    CreatesThreadsWithoutATime caught by ["lifecycle.create-refuses-an-invalid-head"] also [] {
        async fn create_thread(&self, meta: SessionMeta) -> Result<()> {
            let timestamp = meta.timestamp.or(Some(selvedge_protocol::Timestamp::from_millis(0)));
            self.store.create_thread(SessionMeta { timestamp, ..meta }).await
        }
    }

    CreatesOverArchivedThreads caught by ["lifecycle.create-refuses-a-taken-id"] also [] {
        async fn create_thread(&self, meta: SessionMeta) -> Result<()> {
            let record = match meta.id {
                Some(id) => self.store.read_thread(id).await.ok(),
                None => None,
            };
            if record.is_some_and(|record| record.archived) { Ok(()) } else { self.store.create_thread(meta).await }
        }
    }

    DefaultsToLegacyMode caught by ["lifecycle.new-threads-are-paginated"] also [] {
        async fn create_thread(&self, mut meta: SessionMeta) -> Result<()> {
            meta.history_mode.get_or_insert(HistoryMode::Legacy);
            self.store.create_thread(meta).await
        }
    }

    KeepsDiscardedLazyThreads
        caught by ["lifecycle.discard-leaves-no-trace"]
        also ["fork.refusals", "claims.fenced-host-resumes", "lifecycle.two-creators"]
    {
        async fn discard_thread(&self, thread_id: ThreadId) -> Result<()> {
            self.store.persist_thread(thread_id).await?;
            self.store.discard_thread(thread_id).await
        }
    }

    KeepsLazyThreadsAfterShutdown caught by ["lifecycle.shutdown-of-a-lazy-thread"] also [] {
        async fn shutdown_thread(&self, thread_id: ThreadId) -> Result<()> {
            self.store.persist_thread(thread_id).await?;
            self.store.shutdown_thread(thread_id).await
        }
    }

    ReportsAMissingThreadAsAConflict
        caught by ["lifecycle.resume-refuses-missing-and-live-threads"]
        also [
            "lifecycle.create-refuses-an-invalid-head", "lifecycle.delete", "lifecycle.discard-leaves-no-trace",
            "lifecycle.shutdown-of-a-lazy-thread",
        ]
    {
        async fn resume_thread(&self, thread_id: ThreadId) -> Result<()> {
            match self.store.resume_thread(thread_id).await {
                Err(StoreError::NotFound { thread_id, .. }) => {
                    Err(StoreError::Conflict { thread_id, holder: Holder::default(), since: None })
                }
                outcome => outcome,
            }
        }
    }

    FlushesColdThreads
        caught by ["lifecycle.live-methods-need-a-live-thread"]
        also ["lost-answers.of-shutdown-and-discard"]
    {
        async fn flush_thread(&self, thread_id: ThreadId) -> Result<()> {
            match self.store.flush_thread(thread_id).await {
                Err(StoreError::NotFound { .. }) => Ok(()),
                outcome => outcome,
            }
        }
    }

    DeletesLiveThreads caught by ["lifecycle.delete"] also ["lifecycle.lazy-until-first-append"] {
        async fn delete_thread(&self, thread_id: ThreadId) -> Result<()> {
            if self.store.flush_thread(thread_id).await.is_ok() {
                self.store.shutdown_thread(thread_id).await?;
            }
            self.store.delete_thread(thread_id).await
        }
    }

    ArchivesLiveThreads caught by ["lifecycle.archive"] also ["lifecycle.lazy-until-first-append"] {
        async fn archive_thread(&self, thread_id: ThreadId) -> Result<StoredThread> {
            if self.store.flush_thread(thread_id).await.is_ok() {
                self.store.shutdown_thread(thread_id).await?;
                let record = self.store.archive_thread(thread_id).await?;
                self.store.resume_thread(thread_id).await?;
                return Ok(record);
            }
            self.store.archive_thread(thread_id).await
        }
    }

    ShowsLazyThreads
        caught by ["lifecycle.lazy-until-first-append"]
        also [
            "append.empty-batch", "append.ordinals-are-consecutive", "batches.writer-state", "fork.refusals",
            "cancelled.append", "changes.without-a-cursor", "claims.lazy-thread-of-a-dead-writer", "detach.refusals",
            "find.lazy-threads-are-not-found", "lifecycle.discard-leaves-no-trace", "lifecycle.lazy-is-private",
            "lifecycle.shutdown-of-a-lazy-thread", "lost-answers.of-append", "sizes.batches-of-ten-thousand",
        ]
    {
        async fn create_thread(&self, meta: SessionMeta) -> Result<()> {
            let id = meta.id;
            self.store.create_thread(meta).await?;
            match id {
                Some(id) => self.store.persist_thread(id).await,
                None => Ok(()),
            }
        }
    }

    KeepsBytesOfDeletedThreads caught by ["lifecycle.delete"] also [] {
        async fn delete_thread(&self, thread_id: ThreadId) -> Result<()> {
            self.store.delete_thread(thread_id).await?;
            self.memory.marked.lock().unwrap().insert(thread_id);
            Ok(())
        }
        async fn import_segment(&self, part: SegmentPart<'_>) -> Result<u64> {
            let length = self.store.import_segment(part).await?;
            let is_deleted = self.memory.marked.lock().unwrap().contains(&part.info.thread_id);
            let asks_for_length = part.bytes.is_empty() && !part.is_last;
            Ok(if is_deleted && asks_for_length { length.max(1) } else { length })
        }
    }

    DoesNotUnarchive
        caught by ["lifecycle.archive"]
        also [
            "cancelled.archive-and-unarchive", "changes.each-change-is-reported",
            "lost-answers.of-archive-and-unarchive",
        ]
    {
        async fn unarchive_thread(&self, thread_id: ThreadId) -> Result<StoredThread> {
            self.store.read_thread(thread_id).await
        }
    }

    ListsArchivedThreadsByDefault
        caught by ["lifecycle.archive"]
        also ["list.equals-a-filter-and-sort", "list.descendants", "list.filters"]
    {
        async fn list_threads(&self, query: &ThreadQuery) -> Result<Page<StoredThread>> {
            let archived = match query.archived {
                ArchivedFilter::Active => ArchivedFilter::All,
                other => other,
            };
            self.store.list_threads(&ThreadQuery { archived, ..query.clone() }).await
        }
    }

    ReportsAnotherHolder
        caught by ["lifecycle.one-writer"]
        also ["lifecycle.resume-refuses-missing-and-live-threads"]
    {
        async fn resume_thread(&self, thread_id: ThreadId) -> Result<()> {
            match self.store.resume_thread(thread_id).await {
                Err(StoreError::Conflict { thread_id, since, .. }) => {
                    let holder = Holder { process_id: Some(1), ..Holder::default() };
                    Err(StoreError::Conflict { thread_id, holder, since })
                }
                outcome => outcome,
            }
        }
    }

    DoesNotPersist
        caught by ["lifecycle.lazy-until-persist"]
        also [
            "append.empty-batch", "claims.race", "lifecycle.two-creators", "lifecycle.new-threads-are-paginated",
            "list.equals-a-filter-and-sort", "list.pages-by-every-size", "list.pages-while-others-write",
            "list.refusals", "list.ties-are-sorted-by-id", "lost-answers.of-persist", "metadata.later-facts-win",
            "metadata.patch-of-git", "reopened.hosts-take-turns", "turns.pages", "readers.see-a-prefix",
        ]
    {
        async fn persist_thread(&self, thread_id: ThreadId) -> Result<()> {
            self.store.flush_thread(thread_id).await
        }
    }

    AppendsOnResume
        caught by ["lifecycle.resume-keeps-the-history"]
        also [
            "fork.is-continued", "fork.source-and-fork-are-independent", "fork.of-a-fork",
            "fork.of-live-and-archived", "claims.appends-of-a-dead-writer", "detach.frees-the-source",
            "detach.is-continued", "detach.keeps-dependents", "detach.keeps-compactions",
            "detach.of-a-reverted-thread", "detach.refusals", "lines.positions", "lines.positions-stay-valid",
            "lines.starts", "revert.after-and-before", "revert.before-the-first-turn", "revert.conflicts",
            "revert.fork-of-a-reverted-thread", "revert.into-the-inherited-history",
            "revert.of-a-turn-without-messages", "revert.of-an-incomplete-turn", "revert.to-between-turns",
            "segments.damaged-bytes-are-kept", "segments.imports-extend-segments",
        ]
    {
        async fn resume_thread(&self, thread_id: ThreadId) -> Result<()> {
            self.store.resume_thread(thread_id).await?;
            let message = selvedge_protocol::ResponseItem::user_text("resumed").into();
            self.store.append_items(thread_id, BatchId::generate(), &[message]).await.map(drop)
        }
    }
}
