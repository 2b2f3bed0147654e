//! The thread record as the log determines it, including what the store's metadata lacks.
//!
//! A writer stores history first and metadata second. If it ends in between, the log has facts that the stored record
//! lacks. The next writer finds them with this module and stores them. The other order would leave a record with facts
//! that no log has, and nothing could find out which they are.

use selvedge_history::MetadataFold;
use selvedge_protocol::{RolloutLine, SortDirection, StoredThread, ThreadId, ThreadMetadataPatch};
use selvedge_thread_store::{LineQuery, LineStart, Result, StoreError, ThreadReader};

/// How many entries to read per page, from the end of the log backwards. Usually the first line of the first page ends
/// the search.
const ENTRIES_PER_PAGE: usize = 64;

/// A thread record that is as new as the log.
pub(crate) struct DerivedRecord {
    /// The fold of the log, which has the record.
    pub(crate) fold: MetadataFold,
    /// The facts in it that the store does not have yet.
    pub(crate) unsynced: ThreadMetadataPatch,
}

/// Derives the thread record from the stored one and the newest lines of the log.
///
/// The stored record's `updated_at` is the time of the newest line whose facts were stored. So all older lines are in
/// it, and only the lines that are not older are folded. Some of these are in it, too: the lines of a batch all have
/// the same time. That does no harm, because a fact that the record has already changes nothing when it is folded
/// again.
///
/// A store that derives its records from the log itself lacks no facts. There the search ends after the last batch.
pub(crate) async fn derive_record(store: &dyn ThreadReader, thread_id: ThreadId) -> Result<DerivedRecord> {
    let stored = store.read_thread(thread_id).await?;
    let lines = match newest_lines(store, &stored).await {
        // Another process rewound the thread meanwhile. So that process is its writer, and it stores the facts itself.
        Err(StoreError::PositionGone { .. }) => Vec::new(),
        outcome => outcome?,
    };
    let mut fold = MetadataFold::resume(stored);
    if let Some(head) = store.read_session_meta(thread_id).await? {
        fold = fold.after_head(&head);
    }
    let mut unsynced = ThreadMetadataPatch::default();
    // Oldest first: a later fact replaces an earlier one.
    for line in lines.iter().rev() {
        unsynced.merge(fold.observe_line(line));
    }
    Ok(DerivedRecord { fold, unsynced })
}

/// Returns the thread's own lines that are not older than its stored record, the newest first.
async fn newest_lines(store: &dyn ThreadReader, stored: &StoredThread) -> Result<Vec<RolloutLine>> {
    let mut lines = Vec::new();
    let mut query = LineQuery {
        direction: SortDirection::Descending,
        max_lines: ENTRIES_PER_PAGE,
        ..LineQuery::from(stored.id, LineStart::End)
    };
    loop {
        let page = store.read_lines(&query).await?;
        for entry in &page.entries {
            let Some(line) = entry.line() else { continue };
            // A line without a readable time cannot be compared. It ends the search, too.
            let is_synced = entry.inherited || line.timestamp().is_none_or(|at| at < stored.updated_at);
            if is_synced {
                return Ok(lines);
            }
            lines.push(line);
        }
        if page.is_end {
            return Ok(lines);
        }
        query.start = LineStart::At(page.next);
    }
}
