//! The state of a recorder, and the write that changes it.
//!
//! ```text
//!            first write                    shutdown
//!   Lazy ------------------> Open ----------------------> Closed
//!    |  ^                    |  ^                            ^
//!    |  '-- write failed     |  '-- switch_segment:          |
//!    |      (lock kept)      '----- another file             |
//!    '-------------------------------------------------------'
//!                            shutdown
//! ```

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use selvedge_protocol::{RolloutItem, RolloutLine, ThreadId, Timestamp};

use super::batch::{AppendedLines, BatchEnd, WrittenBatch};
use crate::clock::now;
use crate::error::{Result, RolloutError};
use crate::files::placement::SyncPolicy;
use crate::home::{CachedHome, RolloutHome};
use crate::locks::WriterLock;
use crate::log_file::{BatchPrefix, LogFile};

/// How much of the buffer for the bytes of a batch is kept for the next one.
const MAX_SCRATCH: usize = 1 << 20;

/// What a recorder protects by a mutex.
#[derive(Debug)]
pub(super) struct RecorderInner {
    pub(super) path: PathBuf,
    pub(super) state: RecorderState,
    /// The ordinal of the next line (paginated mode).
    pub(super) next_ordinal: Option<u64>,
    /// The buffer for the bytes of a batch, used again by each batch.
    pub(super) scratch: Vec<u8>,
}

#[derive(Debug)]
pub(super) enum RecorderState {
    /// There is no file yet. The first write creates it with the head and its own lines.
    Lazy {
        head: Box<RolloutItem>,
        at: Timestamp,
        /// The lock of the thread, if a first write took it and failed then.
        lock: Option<WriterLock>,
        /// The home in which the first write checks that the thread still has no file.
        cached_home: Option<Arc<CachedHome>>,
    },
    /// The file is open.
    Open { log: Arc<LogFile>, _lock: WriterLock },
    /// The recorder was shut down.
    Closed,
}

impl RecorderInner {
    pub(super) fn last_ordinal(&self) -> Option<u64> {
        self.next_ordinal.and_then(|next| next.checked_sub(1))
    }

    /// Writes a batch by one write. After an error the state, the file and the next ordinal are unchanged.
    pub(super) fn write(
        &mut self,
        home: &RolloutHome,
        thread_id: ThreadId,
        items: &[RolloutItem],
    ) -> Result<WrittenBatch> {
        let mut bytes = std::mem::take(&mut self.scratch);
        bytes.clear();
        let lines = self.encode(items, &mut bytes);
        let written = match &self.state {
            RecorderState::Lazy { .. } => self.create_file(home, thread_id, &bytes),
            RecorderState::Open { log, .. } => {
                log.append(&bytes).map(|end| BatchEnd { log: Arc::clone(log), byte: end })
            }
            RecorderState::Closed => Err(RolloutError::Closed { path: self.path.clone() }),
        };
        // The buffer is kept after a failure, too. One large batch must not hold its memory for the life of the recorder.
        self.scratch = bytes;
        self.scratch.shrink_to(MAX_SCRATCH);
        let end = written?;
        // Only now: a failed write uses up no ordinal.
        self.next_ordinal = self.next_ordinal.map(|next| next.saturating_add(lines));
        let appended = AppendedLines { lines, last_ordinal: self.last_ordinal() };
        Ok(WrittenBatch { appended, end: Some(end) })
    }

    /// Encodes the lines of a batch, after the newline or the head that has to precede them. Returns the number of lines.
    fn encode(&self, items: &[RolloutItem], bytes: &mut Vec<u8>) -> u64 {
        // All lines of a batch have one time, because they are recorded by one call. Only the head of a new thread has its own time:
        // that of the creation, which is also in the name of the file.
        let now = now();
        let (newline, head) = match &self.state {
            RecorderState::Lazy { head, at, .. } => (false, Some((*at, head.clone()))),
            RecorderState::Open { log, .. } => {
                let BatchPrefix { newline, head } = log.batch_prefix();
                (newline, head.map(|head| (now, head)))
            }
            RecorderState::Closed => (false, None),
        };
        if newline {
            bytes.push(b'\n');
        }
        let mut ordinal = self.next_ordinal;
        let mut lines = 0;
        let mut put = |at: Timestamp, item: &RolloutItem| {
            RolloutLine::encode(bytes, at, ordinal, item);
            ordinal = ordinal.map(|ordinal| ordinal.saturating_add(1));
            lines += 1;
        };
        if let Some((at, head)) = head {
            put(at, &head);
        }
        items.iter().for_each(|item| put(now, item));
        lines
    }

    /// Takes the lock of the thread and creates the file with its first bytes. Changes the state to `Open`.
    fn create_file(&mut self, home: &RolloutHome, thread_id: ThreadId, bytes: &[u8]) -> Result<BatchEnd> {
        let RecorderState::Lazy { lock, .. } = &mut self.state else {
            return Err(RolloutError::Closed { path: self.path.clone() });
        };
        let lock = match lock.take() {
            Some(lock) => lock,
            None => WriterLock::acquire(home, thread_id)?,
        };
        match self.create_log(home, thread_id, bytes) {
            Ok(log) => {
                let log = Arc::new(log);
                self.state = RecorderState::Open { log: Arc::clone(&log), _lock: lock };
                Ok(BatchEnd { log, byte: bytes.len() as u64 })
            }
            // The thread belongs to another writer, which may need its lock. So the lock is released.
            Err(error @ RolloutError::AlreadyExists { .. }) => Err(error),
            // After any other failure the recorder keeps the lock. The caller can repeat the append, and no
            // other writer creates the thread in the meantime.
            Err(error) => {
                if let RecorderState::Lazy { lock: slot, .. } = &mut self.state {
                    *slot = Some(lock);
                }
                Err(error)
            }
        }
    }

    /// Creates the log. The caller holds the lock of the thread, so that no other writer creates the thread in the meantime.
    fn create_log(&self, home: &RolloutHome, thread_id: ThreadId, bytes: &[u8]) -> Result<LogFile> {
        if let RecorderState::Lazy { cached_home: Some(cached_home), .. } = &self.state
            && let Some(file) = cached_home.files()?.all_files(thread_id).next()
        {
            return Err(RolloutError::AlreadyExists { thread_id, path: file.path.clone() });
        }
        LogFile::create(home, thread_id, &self.path, SyncPolicy::ByLevel, bytes).map_err(|error| match error {
            RolloutError::Io { path, source, .. }
                if path == self.path && source.kind() == io::ErrorKind::AlreadyExists =>
            {
                RolloutError::AlreadyExists { thread_id, path }
            }
            error => error,
        })
    }
}
