//! Maintenance of the storage: it makes a store smaller or faster and changes nothing for readers.

use selvedge_protocol::{ThreadId, Timestamp};

use crate::StoreError;

/// Request to maintain the storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaintenanceRequest {
    /// Only threads that were last updated before this time are changed. The next writer of a changed thread may have
    /// to undo the change: a compressed log is decompressed before the next append.
    pub updated_before: Timestamp,
}

/// The progress of maintenance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MaintenanceProgress {
    /// How many threads were processed.
    pub threads_done: u64,
    /// How many threads there are to process.
    pub threads: u64,
    /// How many bytes of storage the processed threads had before.
    pub bytes_done: u64,
    /// How many bytes of storage all threads to process have.
    pub bytes: u64,
}

/// The result of maintenance.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct MaintenanceReport {
    /// How many threads were changed.
    pub threads: u64,
    /// How many bytes of storage the changed threads had before.
    pub bytes_before: u64,
    /// How many bytes of storage they have now.
    pub bytes_after: u64,
    /// The threads that were skipped, and why: a thread has a writer, or the system returned an error.
    pub left: Vec<(ThreadId, StoreError)>,
}

impl MaintenanceReport {
    /// Returns whether there was nothing to do: no thread was changed or skipped.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.threads == 0 && self.left.is_empty()
    }
}
