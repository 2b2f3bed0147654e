//! Compressing the files of a thread that has no writer.
//!
//! Of each file, a crash leaves the plain one, the compressed one, or both. If both exist, readers use the plain one, and the
//! next writer or the next call removes the other.

use selvedge_protocol::ThreadId;
use selvedge_thread_store::Result;

use crate::error::{stat, store_error};
use crate::store_core::StoreCore;

/// The result of compressing a thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompressionReport {
    /// How many files were compressed.
    pub files: usize,
    /// How many bytes they had.
    pub bytes_before: u64,
    /// How many bytes they have now.
    pub bytes_after: u64,
}

impl StoreCore {
    /// Compresses the files of a thread ([`HomeAdmin::compress`](crate::HomeAdmin::compress)).
    pub(crate) fn compress(&self, thread_id: ThreadId) -> Result<CompressionReport> {
        let _lock = self.lock_cold(thread_id)?;
        let files = self.files()?;
        let mut report = CompressionReport::default();
        for file in files.segments(thread_id) {
            if file.name.compressed {
                // An earlier call may have compressed it and failed before the removal of the plain file was durable.
                self.home.sync_removal(&file.path.with_extension("")).map_err(store_error)?;
                continue;
            }
            let before = stat(&file.path)?.len();
            let compressed = self.home.compress_in_place(&file.path).map_err(store_error)?;
            report.files += 1;
            report.bytes_before += before;
            report.bytes_after += stat(&compressed)?.len();
        }
        Ok(report)
    }
}
