//! Waiting for changes that are made through this process.

use selvedge_protocol::{Cursor, ThreadId};
use tokio::sync::watch;

use crate::{LinePosition, LineQuery, LineStart, Result, ThreadReader};

/// Wakes those who wait for a change. What another process changes, a store has to find out by itself.
#[derive(Debug, Default)]
pub struct ChangeSignal {
    /// Counts changes.
    changes: watch::Sender<u64>,
}

impl ChangeSignal {
    /// Wakes all who wait: something may have changed.
    pub fn wake(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// Does what [`ThreadReader::wait_for_lines`] asks for.
    ///
    /// # Errors
    /// Those of [`ThreadReader::read_lines`].
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
            // What changes from here on ends the wait below, so that nothing is missed between the look and the wait.
            changes.borrow_and_update();
            let page = reader.read_lines(&query).await?;
            if !page.entries.is_empty() || page.rewound_to.is_some() {
                return Ok(());
            }
            // The sender lives as long as `self`.
            let _ = changes.changed().await;
        }
    }

    /// Does what [`ThreadReader::wait_for_changes`] asks for.
    ///
    /// # Errors
    /// Those of [`ThreadReader::list_changes`].
    pub async fn wait_for_changes<R: ThreadReader>(&self, reader: &R, after: &Cursor) -> Result<()> {
        let mut changes = self.changes.subscribe();
        loop {
            changes.borrow_and_update();
            if !reader.list_changes(Some(after), 1).await?.changes.is_empty() {
                return Ok(());
            }
            // The sender lives as long as `self`.
            let _ = changes.changed().await;
        }
    }
}
