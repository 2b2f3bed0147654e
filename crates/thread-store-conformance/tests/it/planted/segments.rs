//! Faults of segments as bytes, of imports and of maintenance.

use async_trait::async_trait;
use selvedge_protocol::{Page, RolloutItem, SegmentId, StoredThread, ThreadId, Turn, TurnQuery};
use selvedge_thread_store::{
    Appended, BatchId, MaintenanceProgress, MaintenanceReport, MaintenanceRequest, Result, SegmentInfo, SegmentPart,
    StoreError, ThreadHistory,
};
use selvedge_thread_store_conformance::{StoreWrapper, Wrapped};

use super::fault::{Fault, FaultyHost, faults};

faults! {
    HidesAbandonedSegments caught by ["segments.abandoned-segments"] also [] {
        async fn list_segments(&self, thread_id: ThreadId) -> Result<Vec<SegmentInfo>> {
            let mut segments = self.store.list_segments(thread_id).await?;
            segments.retain(|segment| segment.is_current);
            Ok(segments)
        }
    }

    FailsBeyondTheEndOfASegment caught by ["segments.refusals"] also [] {
        async fn read_segment(&self, thread_id: ThreadId, id: SegmentId, at: u64, max_bytes: usize) -> Result<Vec<u8>> {
            let bytes = self.store.read_segment(thread_id, id, at, max_bytes).await?;
            let len = self.store.list_segments(thread_id).await?.iter().find(|info| info.id == id).map(|info| info.bytes);
            if len.is_some_and(|len| at > len) { Err(StoreError::not_found(thread_id)) } else { Ok(bytes) }
        }
    }

    CountsCutLinesWrongly caught by ["segments.appends-to-copies"] also [] {
        async fn import_segment(&self, part: SegmentPart<'_>) -> Result<u64> {
            let length = self.store.import_segment(part).await?;
            if !part.is_last && !part.bytes.ends_with(b"\n") {
                self.memory.marked.lock().unwrap().insert(part.info.thread_id);
            }
            Ok(length)
        }
        async fn append_items(&self, thread_id: ThreadId, batch: BatchId, items: &[RolloutItem]) -> Result<Appended> {
            let appended = self.store.append_items(thread_id, batch, items).await?;
            let is_cut = self.memory.marked.lock().unwrap().contains(&thread_id);
            Ok(Appended { last_ordinal: appended.last_ordinal.map(|last| last - u64::from(is_cut)), ..appended })
        }
    }

    ImportsIntoLiveThreads caught by ["segments.imports-wait-for-the-writer"] also [] {
        async fn import_segment(&self, part: SegmentPart<'_>) -> Result<u64> {
            let thread_id = part.info.thread_id;
            let known = self.store.list_segments(thread_id).await.unwrap_or_default();
            let is_new = known.iter().all(|info| info.id != part.info.id);
            match self.store.import_segment(part).await {
                Err(StoreError::Conflict { .. }) if is_new && self.store.shutdown_thread(thread_id).await.is_ok() => {
                    let length = self.store.import_segment(part).await?;
                    self.store.resume_thread(thread_id).await?;
                    Ok(length)
                }
                outcome => outcome,
            }
        }
    }

    LosesTurnsBeforeAnEmptySegment caught by ["segments.empty-segments"] also [] {
        async fn list_turns(&self, query: &TurnQuery) -> Result<Page<Turn>> {
            let newest = self.store.list_segments(query.thread_id).await?.pop();
            let page = self.store.list_turns(query).await?;
            let is_empty = newest.is_some_and(|newest| newest.bytes == 0);
            Ok(if is_empty { Page { items: Vec::new(), ..page } } else { page })
        }
    }

    ReadsMoreThanTheByteLimit caught by ["sizes.parts-of-segments"] also [] {
        async fn read_segment(&self, thread_id: ThreadId, id: SegmentId, at: u64, max_bytes: usize) -> Result<Vec<u8>> {
            let mut bytes = Vec::new();
            loop {
                let from = at.saturating_add(bytes.len() as u64);
                let part = self.store.read_segment(thread_id, id, from, max_bytes - bytes.len()).await?;
                if part.is_empty() {
                    return Ok(bytes);
                }
                bytes.extend(part);
            }
        }
    }

    KeepsTheRecordOfAnIncompleteCopy caught by ["segments.records-of-copies"] also [] {
        async fn import_segment(&self, part: SegmentPart<'_>) -> Result<u64> {
            let thread_id = part.info.thread_id;
            let length = self.store.import_segment(part).await?;
            let record = self.store.read_thread(thread_id).await;
            if let Ok(record) = record.as_ref().map(Clone::clone) && record.forked_from_id.is_some() {
                self.memory.records.lock().unwrap().entry(thread_id).or_insert(record);
            }
            Ok(length)
        }
        async fn delete_thread(&self, thread_id: ThreadId) -> Result<()> {
            self.memory.records.lock().unwrap().remove(&thread_id);
            self.store.delete_thread(thread_id).await
        }
        async fn read_thread(&self, thread_id: ThreadId) -> Result<StoredThread> {
            let record = self.store.read_thread(thread_id).await?;
            let imported = self.memory.records.lock().unwrap().get(&thread_id).cloned();
            Ok(StoredThread { first_user_message: imported.map_or(record.first_user_message, |record| record.first_user_message), ..record })
        }
    }

    ReturnsZeroFromImports
        caught by ["segments.imports-are-whole"]
        also ["cancelled.import", "lost-answers.of-import", "segments.copies-are-equal", "segments.damaged-bytes-are-kept", "segments.empty-segments", "segments.imports-extend-segments", "segments.imports-wait-for-the-writer", "segments.records-of-copies"]
    {
        async fn import_segment(&self, part: SegmentPart<'_>) -> Result<u64> {
            self.store.import_segment(part).await.map(|_| 0)
        }
    }

    OmitsDamageFromHistories caught by ["segments.damaged-bytes-are-kept"] also ["damage.costs-only-damaged-lines"] {
        async fn load_history(&self, thread_id: ThreadId) -> Result<ThreadHistory> {
            Ok(ThreadHistory { damage: Vec::new(), ..self.store.load_history(thread_id).await? })
        }
    }

    ReadsSegmentsInUpperCase
        caught by ["segments.contain-the-written-bytes"]
        also ["segments.copies-are-equal", "segments.damaged-bytes-are-kept", "segments.imports-are-whole", "segments.imports-extend-segments", "segments.imports-wait-for-the-writer", "segments.records-of-copies"]
    {
        async fn read_segment(&self, thread_id: ThreadId, id: SegmentId, at: u64, max_bytes: usize) -> Result<Vec<u8>> {
            let mut bytes = self.store.read_segment(thread_id, id, at, max_bytes).await?;
            bytes.make_ascii_uppercase();
            Ok(bytes)
        }
    }

    ReportsNoMaintenanceProgress caught by ["maintain.changes-no-answer"] also [] {
        async fn maintain(
            &self,
            request: &MaintenanceRequest,
            _: &mut (dyn FnMut(MaintenanceProgress) + Send),
        ) -> Result<MaintenanceReport> {
            self.store.maintain(request, &mut |_| {}).await
        }
    }
}
