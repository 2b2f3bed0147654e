//! Cursor for reading a compressed file piece by piece.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use selvedge_rollout::{FileStamp, open_bytes};
use selvedge_thread_store::Result;

use crate::error::store_error;

/// Keeps the decompressor between two reads. A compressed file can be read forward only, so without it each piece would
/// decompress everything before it again, and a whole file would cost the square of its length.
///
/// It keeps one decompressor only. Two callers that copy alternately are slower and still get the right bytes.
#[derive(Default)]
pub(crate) struct DecompressionCursor(Mutex<Option<OpenDecompressor>>);

struct OpenDecompressor {
    path: PathBuf,
    stamp: FileStamp,
    /// The offset of the byte that is read next.
    next: u64,
    source: Box<dyn Read + Send>,
}

impl std::fmt::Debug for DecompressionCursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DecompressionCursor").finish_non_exhaustive()
    }
}

impl DecompressionCursor {
    /// Reads up to `max_bytes` decompressed bytes from the offset `at`. Continues the previous read if it ended there.
    pub(crate) fn read(&self, path: &Path, at: u64, max_bytes: usize) -> Result<Vec<u8>> {
        let stamp = FileStamp::read(path).map_err(store_error)?;
        // Taken out while it is in use, so that the lock is not held while the file is read.
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let kept = kept.filter(|kept| kept.path == path && kept.stamp == stamp && kept.next == at);
        let mut source = match kept {
            Some(kept) => kept.source,
            None => open_bytes(path, at..u64::MAX).map_err(store_error)?.0,
        };
        let mut bytes = Vec::new();
        // A damaged frame ends at the last byte that can be decompressed; that is no error of the read.
        let _ = source.by_ref().take(max_bytes as u64).read_to_end(&mut bytes);
        let next = at + bytes.len() as u64;
        let path = path.to_path_buf();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(OpenDecompressor { path, stamp, next, source });
        Ok(bytes)
    }
}
