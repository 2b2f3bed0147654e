//! Compressing a thread that nobody writes.

use selvedge_protocol::ThreadId;
use selvedge_rollout::HomeFiles;
use selvedge_thread_store::Result;

use crate::error::{look_at, store_error};
use crate::store::Inner;

/// What compressing came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compressed {
    /// How many files were compressed.
    pub files: usize,
    /// How many bytes they had.
    pub bytes_before: u64,
    /// How many bytes they have now.
    pub bytes_after: u64,
}

impl Inner {
    /// Compresses the files of a thread ([`HomeAdmin::compress`](crate::HomeAdmin::compress)).
    pub(crate) fn compress(&self, thread_id: ThreadId) -> Result<Compressed> {
        let _lock = self.lock_cold(thread_id)?;
        let files = self.files()?;
        let mut done = Compressed::default();
        for file in files.segments(thread_id) {
            if file.name.compressed {
                // A call before this one may have compressed it and failed then.
                self.home.sync_removal(&file.path.with_extension("")).map_err(store_error)?;
                continue;
            }
            let before = look_at(&file.path)?.len();
            let compressed = self.home.compress_in_place(&file.path).map_err(store_error)?;
            done.files += 1;
            done.bytes_before += before;
            done.bytes_after += look_at(&compressed)?.len();
        }
        Ok(done)
    }

    /// Removes what a compression that broke off left beside the files of a thread.
    pub(crate) fn remove_leftover_compressed(&self, files: &HomeFiles, thread_id: ThreadId) -> Result<()> {
        let compressed = files.all_files(thread_id).filter(|file| file.name.compressed);
        let plain = compressed.map(|file| file.path.with_extension("")).filter(|plain| plain.is_file());
        plain.into_iter().try_for_each(|plain| self.home.remove_leftover_compressed(&plain)).map_err(store_error)
    }
}
