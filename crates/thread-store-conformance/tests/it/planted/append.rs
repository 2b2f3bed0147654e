//! Faults of appends: items, ordinals and batches.

use std::time::Duration;

use async_trait::async_trait;
use selvedge_protocol::{RolloutItem, ThreadId};
use selvedge_thread_store::{Appended, BatchId, Result, WriterState};
use selvedge_thread_store_conformance::{StoreWrapper, Wrapped};

use super::fault::{Fault, FaultyHost, faults};

faults! {
    DropsLargeItems caught by ["sizes.items-of-a-megabyte"] also ["batches.order-of-first-polls", "sizes.parts-of-segments"] {
        async fn append_items(&self, thread_id: ThreadId, batch: BatchId, items: &[RolloutItem]) -> Result<Appended> {
            let small = |item: &&RolloutItem| serde_json::to_string(item).is_ok_and(|text| text.len() < 1_000_000);
            let items: Vec<RolloutItem> = items.iter().filter(small).cloned().collect();
            self.store.append_items(thread_id, batch, &items).await
        }
    }

    TruncatesLargeBatches caught by ["sizes.batches-of-ten-thousand"] also [] {
        async fn append_items(&self, thread_id: ThreadId, batch: BatchId, items: &[RolloutItem]) -> Result<Appended> {
            self.store.append_items(thread_id, batch, &items[..items.len().min(9_999)]).await
        }
    }

    DropsUnknownItems caught by ["append.unknown-items-are-kept"] also [] {
        async fn append_items(&self, thread_id: ThreadId, batch: BatchId, items: &[RolloutItem]) -> Result<Appended> {
            let known = |item: &&RolloutItem| !matches!(item, RolloutItem::Other(_));
            let items: Vec<RolloutItem> = items.iter().filter(known).cloned().collect();
            self.store.append_items(thread_id, batch, &items).await
        }
    }

    PersistsOnAnEmptyBatch caught by ["append.empty-batch"] also [] {
        async fn append_items(&self, thread_id: ThreadId, batch: BatchId, items: &[RolloutItem]) -> Result<Appended> {
            if items.is_empty() {
                self.store.persist_thread(thread_id).await?;
            }
            self.store.append_items(thread_id, batch, items).await
        }
    }

    ReturnsAnOrdinalOneTooHigh caught by ["append.ordinals-are-consecutive"] also ["sizes.batches-of-ten-thousand"] {
        async fn append_items(&self, thread_id: ThreadId, batch: BatchId, items: &[RolloutItem]) -> Result<Appended> {
            let appended = self.store.append_items(thread_id, batch, items).await?;
            Ok(Appended { last_ordinal: appended.last_ordinal.map(|ordinal| ordinal + 1), ..appended })
        }
    }

    ReturnsAnOrdinalForLegacyLogs caught by ["append.legacy-has-no-ordinals"] also [] {
        async fn append_items(&self, thread_id: ThreadId, batch: BatchId, items: &[RolloutItem]) -> Result<Appended> {
            let appended = self.store.append_items(thread_id, batch, items).await?;
            Ok(Appended { last_ordinal: appended.last_ordinal.or(Some(0)), ..appended })
        }
    }

    ForgetsBatchIds
        caught by ["batches.repeated-batch"]
        also [
            "batches.dropped-batch", "batches.writer-state", "cancelled.append", "lost-answers.of-append",
            "sizes.batches-of-ten-thousand",
        ]
    {
        async fn append_items(&self, thread_id: ThreadId, _: BatchId, items: &[RolloutItem]) -> Result<Appended> {
            self.store.append_items(thread_id, BatchId::generate(), items).await
        }
    }

    RemembersOnlyTheNewestBatch
        caught by ["batches.repeated-batch"]
        also [
            "batches.dropped-batch", "batches.writer-state", "cancelled.append", "lost-answers.of-append",
            "sizes.batches-of-ten-thousand",
        ]
    {
        async fn append_items(&self, thread_id: ThreadId, batch: BatchId, items: &[RolloutItem]) -> Result<Appended> {
            let newest = self.store.writer_state(thread_id).await.ok().and_then(|state| state.last_batch);
            let batch = if newest == Some(batch) { batch } else { BatchId::generate() };
            self.store.append_items(thread_id, batch, items).await
        }
    }

    RemembersFailedBatches caught by ["batches.failed-batch"] also ["claims.fenced-host-resumes"] {
        async fn append_items(&self, thread_id: ThreadId, batch: BatchId, items: &[RolloutItem]) -> Result<Appended> {
            if let Some(appended) = self.memory.batches.lock().unwrap().get(&batch) {
                return Ok(*appended);
            }
            let outcome = self.store.append_items(thread_id, batch, items).await;
            if outcome.is_err() {
                let nothing = Appended { lines: 0, last_ordinal: None };
                self.memory.batches.lock().unwrap().insert(batch, nothing);
            }
            outcome
        }
    }

    ReturnsNoLastBatch caught by ["batches.writer-state"] also ["lost-answers.of-append"] {
        async fn writer_state(&self, thread_id: ThreadId) -> Result<WriterState> {
            Ok(WriterState { last_batch: None, ..self.store.writer_state(thread_id).await? })
        }
    }

    SplitsBatches
        caught by ["append.concurrent-batches"]
        also [
            "batches.dropped-batch", "batches.repeated-batch", "cancelled.append", "lost-answers.of-append",
            "sizes.batches-of-ten-thousand",
        ]
    {
        async fn append_items(&self, thread_id: ThreadId, batch: BatchId, items: &[RolloutItem]) -> Result<Appended> {
            let Some((last, first)) = items.split_last().filter(|(_, first)| !first.is_empty()) else {
                return self.store.append_items(thread_id, batch, items).await;
            };
            let begun = self.store.append_items(thread_id, BatchId::generate(), first).await?;
            tokio::task::yield_now().await;
            let ended = self.store.append_items(thread_id, batch, std::slice::from_ref(last)).await?;
            Ok(Appended { lines: begun.lines + ended.lines, ..ended })
        }
    }

    DelaysLargeBatches caught by ["batches.order-of-first-polls"] also [] {
        async fn append_items(&self, thread_id: ThreadId, batch: BatchId, items: &[RolloutItem]) -> Result<Appended> {
            let is_large = serde_json::to_string(items).is_ok_and(|text| text.len() > 2_000_000);
            if is_large && items.len() == 1 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            self.store.append_items(thread_id, batch, items).await
        }
    }

    ReversesItemsOfBatches
        caught by ["append.items-are-kept-as-they-are"]
        also ["cancelled.append", "readers.see-a-prefix"]
    {
        async fn append_items(&self, thread_id: ThreadId, batch: BatchId, items: &[RolloutItem]) -> Result<Appended> {
            let mut items = items.to_vec();
            if items.len() > 6 && items.len() < 50 {
                items.reverse();
            }
            self.store.append_items(thread_id, batch, &items).await
        }
    }
}
