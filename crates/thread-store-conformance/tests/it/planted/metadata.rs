//! Faults of metadata patches.

use async_trait::async_trait;
use selvedge_protocol::{HistoryMode, StoredThread, ThreadId, ThreadMetadataPatch};
use selvedge_thread_store::{BatchId, MetadataOrigin, Result, StoreError};
use selvedge_thread_store_conformance::{StoreWrapper, Wrapped};

use super::fault::{Fault, FaultyHost, faults};

faults! {
    TreatsDerivedPatchesAsExplicit
        caught by ["metadata.derived-patch"]
        also ["lines.positions", "lines.positions-stay-valid", "lines.starts", "metadata.derived-patch-sets-no-name", "metadata.patches-without-a-line", "revert.after-and-before", "segments.damaged-bytes-are-kept"]
    {
        async fn update_thread_metadata(
            &self,
            thread_id: ThreadId,
            patch: &ThreadMetadataPatch,
            _: MetadataOrigin,
        ) -> Result<StoredThread> {
            self.store.update_thread_metadata(thread_id, patch, MetadataOrigin::Explicit).await
        }
    }

    TreatsExplicitPatchesAsDerived
        caught by ["metadata.patch-survives-resume"]
        also ["cancelled.update", "changes.each-change-is-reported", "detach.keeps-metadata-and-world-state", "find.by-name", "lifecycle.archive", "list.filters", "lost-answers.of-update", "metadata.conflicts", "metadata.derived-patch-sets-no-name", "metadata.explicit-patch", "metadata.name", "revert.keeps-explicit-metadata", "search.best-match-first", "search.in-names-and-items", "search.language", "search.positions"]
    {
        async fn update_thread_metadata(
            &self,
            thread_id: ThreadId,
            patch: &ThreadMetadataPatch,
            _: MetadataOrigin,
        ) -> Result<StoredThread> {
            self.store.update_thread_metadata(thread_id, patch, MetadataOrigin::Derived).await
        }
    }

    DoesNotClearPreviews caught by ["metadata.null-clears-a-field"] also [] {
        async fn update_thread_metadata(
            &self,
            thread_id: ThreadId,
            patch: &ThreadMetadataPatch,
            origin: MetadataOrigin,
        ) -> Result<StoredThread> {
            let mut patch = patch.clone();
            patch.preview = patch.preview.filter(Option::is_some);
            self.store.update_thread_metadata(thread_id, &patch, origin).await
        }
    }

    IgnoresRepositoryUrls caught by ["metadata.patch-of-git"] also ["metadata.explicit-patch"] {
        async fn update_thread_metadata(
            &self,
            thread_id: ThreadId,
            patch: &ThreadMetadataPatch,
            origin: MetadataOrigin,
        ) -> Result<StoredThread> {
            let mut patch = patch.clone();
            if let Some(Some(git)) = &mut patch.git {
                git.repository_url = None;
            }
            self.store.update_thread_metadata(thread_id, &patch, origin).await
        }
    }

    AppliesNamesOfDerivedPatches caught by ["metadata.derived-patch-sets-no-name"] also [] {
        async fn update_thread_metadata(&self, thread_id: ThreadId, patch: &ThreadMetadataPatch, origin: MetadataOrigin) -> Result<StoredThread> {
            let record = self.store.update_thread_metadata(thread_id, patch, origin).await?;
            let Some(name) = patch.name.clone().filter(|_| origin == MetadataOrigin::Derived) else { return Ok(record) };
            let name = ThreadMetadataPatch { name: Some(name), ..Default::default() };
            self.store.update_thread_metadata(thread_id, &name, MetadataOrigin::Explicit).await
        }
    }

    IgnoresDerivedPatches
        caught by ["metadata.record-contains-derived-facts"]
        also [
            "detach.frees-the-source", "detach.is-continued", "detach.keeps-dependents", "detach.keeps-compactions",
            "detach.of-a-reverted-thread", "detach.refusals", "list.filters", "metadata.later-facts-win",
            "metadata.derived-patch", "readers.lists-are-fresh", "revert.after-and-before",
        ]
    {
        async fn update_thread_metadata(
            &self,
            thread_id: ThreadId,
            patch: &ThreadMetadataPatch,
            origin: MetadataOrigin,
        ) -> Result<StoredThread> {
            match origin {
                MetadataOrigin::Derived => self.store.read_thread(thread_id).await,
                MetadataOrigin::Explicit => self.store.update_thread_metadata(thread_id, patch, origin).await,
            }
        }
    }

    KeepsTheExplicitModel caught by ["metadata.later-facts-win"] also [] {
        async fn update_thread_metadata(
            &self,
            thread_id: ThreadId,
            patch: &ThreadMetadataPatch,
            origin: MetadataOrigin,
        ) -> Result<StoredThread> {
            let mut patch = patch.clone();
            let is_set = self.store.read_thread(thread_id).await?.model.is_some_and(|model| model == "set");
            if origin == MetadataOrigin::Derived && is_set {
                patch.model = None;
            }
            self.store.update_thread_metadata(thread_id, &patch, origin).await
        }
    }

    ReportsAPatchOfAMissingThreadAsInvalid
        caught by ["metadata.refusals"]
        also [
            "lifecycle.create-refuses-an-invalid-head", "lifecycle.delete", "lifecycle.discard-leaves-no-trace",
            "lifecycle.lazy-until-first-append", "lifecycle.shutdown-of-a-lazy-thread",
        ]
    {
        async fn update_thread_metadata(
            &self,
            thread_id: ThreadId,
            patch: &ThreadMetadataPatch,
            origin: MetadataOrigin,
        ) -> Result<StoredThread> {
            match self.store.update_thread_metadata(thread_id, patch, origin).await {
                Err(StoreError::NotFound { .. }) => Err(StoreError::invalid("no such thread")),
                outcome => outcome,
            }
        }
    }

    WritesASecondHead caught by ["metadata.paginated-log-has-one-head"] also [] {
        async fn update_thread_metadata(
            &self,
            thread_id: ThreadId,
            patch: &ThreadMetadataPatch,
            origin: MetadataOrigin,
        ) -> Result<StoredThread> {
            let record = self.store.update_thread_metadata(thread_id, patch, origin).await?;
            if patch.git.is_some() && patch.name.is_none() && record.history_mode == HistoryMode::Paginated
                && let Some(head) = self.store.read_session_meta(thread_id).await?
                && self.store.resume_thread(thread_id).await.is_ok()
            {
                self.store.append_items(thread_id, BatchId::generate(), &[head.into()]).await?;
                self.store.shutdown_thread(thread_id).await?;
            }
            Ok(record)
        }
    }
}
