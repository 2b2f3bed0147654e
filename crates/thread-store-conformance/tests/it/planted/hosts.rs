//! Faults between hosts: stale reads, and what a new host or a restart forgets.

use std::sync::atomic::Ordering;

use async_trait::async_trait;
use selvedge_protocol::{Page, StoredThread, ThreadId, ThreadQuery, Turn, TurnQuery};
use selvedge_thread_store::{Result, StoreError, ThreadHistory};
use selvedge_thread_store_conformance::{StoreWrapper, Wrapped};

use super::fault::{Fault, FaultyHost, faults};

faults! {
    ReadsAStaleHistory caught by ["lifecycle.others-read-appended-items"] also ["readers.see-a-prefix"] {
        async fn load_history(&self, thread_id: ThreadId) -> Result<ThreadHistory> {
            let history = self.store.load_history(thread_id).await?;
            if self.host == 0 {
                return Ok(history);
            }
            Ok(self.memory.histories.lock().unwrap().entry(thread_id).or_insert(history).clone())
        }
    }

    ReadsTornBatches caught by ["readers.see-a-prefix"] also [] {
        async fn load_history(&self, thread_id: ThreadId) -> Result<ThreadHistory> {
            let mut history = self.store.load_history(thread_id).await?;
            if self.host == 1 && self.memory.is_second_call() && history.lines.len() > 30 {
                history.lines.truncate(2);
            }
            Ok(history)
        }
    }

    ReadsPartialReverts caught by ["readers.see-whole-reverts"] also ["turns.in-progress-elsewhere"] {
        async fn list_turns(&self, query: &TurnQuery) -> Result<Page<Turn>> {
            let mut page = self.store.list_turns(query).await?;
            if self.host == 1 && page.items.len() == 1 && self.memory.is_second_call() {
                page.items.clear();
            }
            Ok(page)
        }
    }

    ReadsAStaleRecord caught by ["readers.records-are-exact"] also [] {
        async fn read_thread(&self, thread_id: ThreadId) -> Result<StoredThread> {
            let record = self.store.read_thread(thread_id).await?;
            if self.host == 0 {
                return Ok(record);
            }
            Ok(self.memory.records.lock().unwrap().insert(thread_id, record.clone()).unwrap_or(record))
        }
    }

    ForgetsNamesInOtherHosts
        caught by ["reopened.gives-the-same-answers"]
        also ["readers.records-are-exact", "reopened.after-a-restart"]
    {
        async fn read_thread(&self, thread_id: ThreadId) -> Result<StoredThread> {
            let record = self.store.read_thread(thread_id).await?;
            Ok(if self.host > 0 { StoredThread { name: None, ..record } } else { record })
        }
    }

    ForgetsNamesAtARestart caught by ["reopened.after-a-restart"] also [] {
        async fn read_thread(&self, thread_id: ThreadId) -> Result<StoredThread> {
            let record = self.store.read_thread(thread_id).await?;
            Ok(if self.memory.is_restarted.load(Ordering::Relaxed) { StoredThread { name: None, ..record } } else { record })
        }
    }

    RefusesTheFourthHost caught by ["reopened.hosts-take-turns"] also [] {
        async fn resume_thread(&self, thread_id: ThreadId) -> Result<()> {
            if self.host > 2 { Err(StoreError::not_found(thread_id)) } else { self.store.resume_thread(thread_id).await }
        }
    }

    RefusesCursorsOfOtherHosts caught by ["reopened.keeps-positions-and-cursors"] also [] {
        async fn list_threads(&self, query: &ThreadQuery) -> Result<Page<StoredThread>> {
            if self.host > 0 && query.cursor.is_some() {
                return Err(StoreError::invalid("the cursor belongs to another host"));
            }
            self.store.list_threads(query).await
        }
    }
}
