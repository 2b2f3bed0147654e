//! Waiting for lines and for changes.
//!
//! Both are loops of the same form: subscribe, read, return if there is something, wait for a wake-up, read again. They subscribe
//! before the first reading, so they miss no write in between. A write of this store wakes them immediately. A write of
//! another process is found after a tick.

use std::sync::Arc;

use selvedge_protocol::Cursor;
use selvedge_thread_store::{LineQuery, Result};

use super::LocalThreadStore;
use crate::limits::TICKS_PER_SCAN;
use crate::store_core::ticker::Wake;

impl LocalThreadStore {
    /// Waits until there are lines after a position, or the position was undone by a revert.
    pub(super) async fn wait_for_page(&self, query: LineQuery) -> Result<()> {
        let thread_id = query.thread_id;
        let mut ticks = self.core.ticker.subscribe();
        loop {
            // The snapshot is taken before the page is read. So a change after the snapshot looks different, even if the page
            // has it already: one useless reading, and never a missed line.
            let snapshot = Arc::new(self.blocking(move |core| core.snapshot_files(thread_id)).await?);
            let wanted = query.clone();
            let page = self.reading(move |core| core.read_lines(&wanted)).await?;
            if !page.entries.is_empty() || page.rewound_to.is_some() {
                return Ok(());
            }
            for tick in 1_u32.. {
                // Every tick stats the newest file. Only a scan of the directories finds a new segment or a moved file.
                let is_scan = ticks.next().await == Wake::Written || tick % TICKS_PER_SCAN == 0;
                let before = Arc::clone(&snapshot);
                let is_unchanged = self.blocking(move |core| {
                    let is_unchanged = before.is_newest_unchanged();
                    Ok(is_unchanged && (!is_scan || core.snapshot_files(thread_id)? == *before))
                });
                if !is_unchanged.await? {
                    break;
                }
            }
        }
    }

    /// Waits until a thread has changed: compares after each write of this store, and else about once in a second.
    pub(super) async fn wait_for_any_change(&self, after: &Cursor) -> Result<()> {
        let mut ticks = self.core.ticker.subscribe();
        loop {
            let cursor = after.clone();
            if self.reading(move |core| core.has_changes(&cursor)).await? {
                return Ok(());
            }
            // A comparison stats every file of the home, so it is not done at every tick.
            for _ in 0..TICKS_PER_SCAN {
                if ticks.next().await == Wake::Written {
                    break;
                }
            }
        }
    }
}
