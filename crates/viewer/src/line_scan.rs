//! Goes through the lines of a history in bounded memory.

use selvedge_protocol::{RolloutLine, ThreadId};
use selvedge_thread_store::{LineQuery, LineStart, StoreError};

use crate::app::ViewerApp;

/// Calls `see` with every intact line of a history, oldest first, and its position: intact lines are counted from 0.
pub(crate) async fn scan_lines(
    app: &ViewerApp,
    id: ThreadId,
    mut see: impl FnMut(u64, &RolloutLine) + Send,
) -> Result<(), StoreError> {
    let mut query = LineQuery::from(id, LineStart::Beginning);
    let mut position = 0;
    loop {
        let page = app.store().read_lines(&query).await?;
        for line in page.entries.iter().filter_map(|entry| entry.line()) {
            see(position, &line);
            position += 1;
        }
        if page.is_end || page.rewound_to.is_some() {
            return Ok(());
        }
        query.start = LineStart::At(page.next);
        // Other requests get their turn: a long history takes a second.
        tokio::task::yield_now().await;
    }
}
