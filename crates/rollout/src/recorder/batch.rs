//! The result of an append.

use std::sync::Arc;

use crate::error::Result;
use crate::log_file::LogFile;

/// What an append wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppendedLines {
    /// The number of lines, including the head if this append created the file.
    pub lines: u64,
    /// The ordinal of the last line (paginated mode).
    pub last_ordinal: Option<u64>,
}

/// A batch that is in the file, and may not be durable yet.
#[derive(Debug)]
#[must_use = "a batch may have to be synced"]
pub struct WrittenBatch {
    /// What the append wrote.
    pub appended: AppendedLines,
    /// The end of the batch. `None` for an empty batch, which has nothing to sync.
    pub(super) end: Option<BatchEnd>,
}

/// The end of a batch in its file.
#[derive(Debug)]
pub(super) struct BatchEnd {
    pub(super) log: Arc<LogFile>,
    /// The position behind the last byte of the batch.
    pub(super) byte: u64,
}

impl WrittenBatch {
    /// Waits until the batch is durable. Batches of one file that are synced at the same time share one fsync. The recorder need
    /// not exist any more.
    ///
    /// # Errors
    /// As [`RolloutRecorder::sync`](crate::RolloutRecorder::sync).
    pub fn sync(&self) -> Result<()> {
        self.end.as_ref().map_or(Ok(()), |end| end.log.sync_to(end.byte))
    }
}
