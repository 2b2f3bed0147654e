//! Waiting for changes that this process makes.
//!
//! Both waits have the same form: subscribe, check, wait, check again. The order matters. A change between the check
//! and the wait ends the wait, because the subscription came first. Without it, such a change would be missed.

use selvedge_protocol::{Cursor, ThreadId};
use tokio::sync::watch;

use crate::{LinePosition, LineQuery, LineStart, Result, ThreadReader};

/// Wakes tasks that wait for a change. A store has to detect changes by other processes in another way.
#[derive(Debug, Default)]
pub struct ChangeSignal {
    /// The number of changes so far. Only the fact that it changes matters.
    changes: watch::Sender<u64>,
}

impl ChangeSignal {
    /// Wakes all waiting tasks: something may have changed.
    pub fn wake(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// Waits as [`ThreadReader::wait_for_lines`] requires.
    ///
    /// # Errors
    /// The errors of [`ThreadReader::read_lines`].
    pub async fn wait_for_lines<R: ThreadReader>(
        &self,
        reader: &R,
        thread_id: ThreadId,
        after: &LinePosition,
    ) -> Result<()> {
        let mut changes = self.changes.subscribe();
        let start = LineStart::At(after.clone());
        let query = LineQuery { max_lines: 1, ..LineQuery::from(thread_id, start) };
        loop {
            // Every change from here on ends the wait below, also one that comes while the page is read.
            changes.borrow_and_update();
            let page = reader.read_lines(&query).await?;
            if !page.entries.is_empty() || page.rewound_to.is_some() {
                return Ok(());
            }
            // An error would mean that the sender was dropped, but `self` owns it.
            let _ = changes.changed().await;
        }
    }

    /// Waits as [`ThreadReader::wait_for_changes`] requires.
    ///
    /// # Errors
    /// The errors of [`ThreadReader::list_changes`].
    pub async fn wait_for_changes<R: ThreadReader>(&self, reader: &R, after: &Cursor) -> Result<()> {
        let mut changes = self.changes.subscribe();
        loop {
            changes.borrow_and_update();
            if !reader.list_changes(Some(after), 1).await?.changes.is_empty() {
                return Ok(());
            }
            // An error would mean that the sender was dropped, but `self` owns it.
            let _ = changes.changed().await;
        }
    }
}
