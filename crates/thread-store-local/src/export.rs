//! A thread's history as it stands in its files.

use std::io::{self, BufWriter, Write};
use std::sync::Arc;

use selvedge_protocol::ThreadId;
use selvedge_rollout::{HistoryEntry, ResolvedHistory, open_bytes};
use selvedge_thread_store::{Damage, Result, StoreError};
use tokio::sync::mpsc;

use crate::error::{corrupt, store_error, while_gone};
use crate::history::missing_damage;
use crate::store::Inner;

/// How many bytes are handed from the thread that reads to the task that writes at once.
const BLOCK: usize = 1 << 18;

/// How many such blocks may wait.
const WAITING_BLOCKS: usize = 2;

/// Writes a thread's whole history to `out`. The files are read on a thread that may wait for them; `out` is written by the
/// calling task.
pub(crate) async fn export(store: &Arc<Inner>, thread_id: ThreadId, out: &mut (dyn Write + Send)) -> Result<u64> {
    let (blocks, mut read) = mpsc::channel(WAITING_BLOCKS);
    let store = Arc::clone(store);
    let reading = tokio::task::spawn_blocking(move || {
        let mut out = BufWriter::with_capacity(BLOCK, Blocks(blocks));
        let outcome = store.export(thread_id, &mut out);
        // What is there is handed over also if something is missing. Nobody receives it if `out` could not be written.
        let _ = out.flush();
        outcome
    });
    while let Some(block) = read.recv().await {
        out.write_all(&block).map_err(|error| StoreError::backend("cannot write what is exported", error))?;
    }
    reading.await.unwrap_or_else(|error| Err(StoreError::backend("an export did not finish", error)))
}

/// Hands what is written to it to a task.
struct Blocks(mpsc::Sender<Vec<u8>>);

impl Write for Blocks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.blocking_send(bytes.to_vec()).map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Inner {
    fn export(&self, thread_id: ThreadId, out: &mut dyn Write) -> Result<u64> {
        let (resolved, ends) = while_gone(|| {
            let resolved = self.resolve_now(thread_id)?;
            let ends = share_ends(&resolved)?;
            Ok((resolved, ends))
        })?;
        let mut written = 0;
        for (part, end) in resolved.parts.iter().zip(ends) {
            // Wherever a file was moved meanwhile, and compressed or not, its bytes are the same.
            let mut file = part.file.clone();
            let (mut bytes, _) = while_gone(|| {
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
        match missing_damage(&resolved) {
            None => Ok(written),
            Some(missing) => {
                let reason = format!("{}; what is there was exported", missing.reason);
                Err(corrupt(thread_id, Damage { reason, ..missing }))
            }
        }
    }
}

/// The byte at which each part's share ends. The last part, the thread's own newest segment, is given whole.
pub(crate) fn share_ends(resolved: &ResolvedHistory) -> Result<Vec<u64>> {
    let last = resolved.parts.len() - 1;
    let mut ends = vec![0; resolved.parts.len()];
    ends[last] = u64::MAX;
    if last > 0 {
        for entry in resolved.reader() {
            match entry.map_err(store_error)? {
                HistoryEntry::Entry { part, entry } if part < last => ends[part] = entry.range().end,
                _ => {}
            }
        }
    }
    Ok(ends)
}
