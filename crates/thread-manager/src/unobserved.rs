//! What a log says of a thread and nobody has told the store: a writer told history first, and was gone before it came to the
//! metadata.

use selvedge_history::MetadataFold;
use selvedge_protocol::{RolloutLine, SortDirection, StoredThread, ThreadId, ThreadMetadataPatch};
use selvedge_thread_store::{LineQuery, LineStart, Result, StoreError, ThreadReader};

/// How many entries are read at once, from the end of the log.
const PAGE: usize = 64;

/// The row of a thread as its log says it, and what of it has to be told to the store.
///
/// A row is as new as the newest line that was told. So the lines that are not older than that are observed, again if need
/// be: a fact that is told already says nothing new. A store that derives its rows from logs has none but the last one.
pub(crate) async fn observed_row(
    store: &dyn ThreadReader,
    thread_id: ThreadId,
) -> Result<(StoredThread, ThreadMetadataPatch)> {
    let row = store.read_thread(thread_id).await?;
    let lines = match last_lines(store, &row).await {
        // Somebody rewound the thread meanwhile, so somebody else writes it and tells what it says.
        Err(StoreError::PositionGone { .. }) => Vec::new(),
        outcome => outcome?,
    };
    let mut fold = MetadataFold::resume(row);
    let mut untold = ThreadMetadataPatch::default();
    for line in lines.iter().rev() {
        untold.merge(fold.observe_line(line));
    }
    Ok((fold.into_thread(), untold))
}

/// The thread's own lines that are not older than its row, the last one first.
async fn last_lines(store: &dyn ThreadReader, row: &StoredThread) -> Result<Vec<RolloutLine>> {
    let mut lines = Vec::new();
    let mut query =
        LineQuery { direction: SortDirection::Descending, max_lines: PAGE, ..LineQuery::from(row.id, LineStart::End) };
    loop {
        let page = store.read_lines(&query).await?;
        for entry in &page.entries {
            let Some(line) = entry.line() else { continue };
            let is_told = entry.inherited || line.timestamp().is_none_or(|at| at < row.updated_at);
            if is_told {
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
