//! Exports the history of a thread as the bytes of its files.

use std::io::{self, BufWriter, Write};
use std::sync::Arc;

use selvedge_protocol::ThreadId;
use selvedge_rollout::open_bytes;
use selvedge_thread_store::{Damage, Result, StoreError};
use tokio::sync::mpsc;

use super::damage::missing_damage;
use super::inherited_prefix::prefix_ends;
use crate::blocking::spawn_blocking;
use crate::error::{corrupt, retry_if_moved, store_error};
use crate::limits::{EXPORT_BLOCK_BYTES, MAX_QUEUED_EXPORT_BLOCKS};
use crate::store_core::StoreCore;

/// Writes the whole history of a thread to `out`. A blocking thread reads the files, and the calling task writes `out`, which
/// need not be `'static`.
pub(crate) async fn export(store: &Arc<StoreCore>, thread_id: ThreadId, out: &mut (dyn Write + Send)) -> Result<u64> {
    let (blocks, mut received) = mpsc::channel(MAX_QUEUED_EXPORT_BLOCKS);
    let store = Arc::clone(store);
    let reading = spawn_blocking(move || {
        let mut out = BufWriter::with_capacity(EXPORT_BLOCK_BYTES, BlockSender(blocks));
        let outcome = store.export(thread_id, &mut out);
        // The last block is sent even if something is missing. If `out` could not be written, nothing receives it.
        let _ = out.flush();
        outcome
    })?;
    while let Some(block) = received.recv().await {
        // Returning drops the receiver. The next `write` of the reading thread fails with that, and the thread ends.
        out.write_all(&block).map_err(|error| StoreError::backend("cannot write what is exported", error))?;
    }
    reading.await.unwrap_or_else(|error| Err(StoreError::backend("an export did not finish", error)))
}

/// A writer that sends blocks to a task.
struct BlockSender(mpsc::Sender<Vec<u8>>);

impl Write for BlockSender {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.blocking_send(bytes.to_vec()).map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl StoreCore {
    fn export(&self, thread_id: ThreadId, out: &mut dyn Write) -> Result<u64> {
        let (resolved, ends) = retry_if_moved(|| {
            let resolved = self.resolve_now(thread_id)?;
            let ends = prefix_ends(&resolved)?;
            Ok((resolved, ends))
        })?;
        let mut written = 0;
        for (part, end) in resolved.parts.iter().zip(ends) {
            // Only opening is repeated. A part of the bytes may have gone out already, and an open file can be read to its
            // end wherever its name is. A moved or compressed file holds the same bytes.
            let mut file = part.file.clone();
            let (mut bytes, _) = retry_if_moved(|| {
                let opened = open_bytes(&file.path, 0..end).map_err(store_error);
                if opened.is_err()
                    && let Some(moved) = self.files()?.segment(part.file.name.segment_id())
                {
                    file.clone_from(moved);
                }
                opened
            })?;
            written += io::copy(&mut bytes, out)
                .map_err(|error| StoreError::backend(format!("cannot export {}", file.path.display()), error))?;
        }
        // The error comes at the end: first the bytes that exist are exported. The error names the missing ones.
        match missing_damage(&resolved) {
            None => Ok(written),
            Some(missing) => {
                let reason = format!("{}; what is there was exported", missing.reason);
                Err(corrupt(thread_id, Damage { reason, ..missing }))
            }
        }
    }
}
