//! Forks: a reference to the source in paginated mode, a copy of the source in legacy mode.
//!
//! Either way the new file is written under a temporary name, synced, and then gets its real name. That is the step by which
//! the fork begins to exist. A crash before it leaves a temporary file, which a later writer removes. Nothing refers to the
//! fork yet, so nothing else is left.

use std::io::{self, Write};

use selvedge_history::{fork_head, head_identity, inherit_head, upgrade_bare_item};
use selvedge_protocol::log::Entry;
use selvedge_protocol::{
    HistoryBase, HistoryMode, LineFormat, RolloutLine, SessionMeta, ThreadId, Timestamp, TurnBoundary,
};
use selvedge_rollout::{
    ReferenceLock, ResolvedHistory, RolloutError, RolloutFile, RolloutFileName, RolloutReader, open_bytes, read_head,
};
use selvedge_thread_store::{ForkThread, Result, StoreError};

use super::new_segment::copy_ending_in_newline;
use crate::error::store_error;
use crate::read::boundary::{base_after, end_of_history};
use crate::store_core::{FoundHistory, StoreCore};

impl StoreCore {
    pub(crate) fn fork(&self, request: &ForkThread) -> Result<ThreadId> {
        let (thread_id, at) = head_identity(&request.meta)?;
        // Taken before the source is read, and held until the fork has its name: in between the source must not be deleted, nor
        // its newest segment be replaced. The writer of the source may continue: what it appends comes after the boundary.
        let references = ReferenceLock::shared(&self.home).map_err(store_error)?;
        let FoundHistory { files, resolved } = self.resolve(self.files()?, request.source)?;
        self.ensure_id_is_free(&files, thread_id)?;
        let source_head = read_head(resolved.newest()).map_err(store_error)?.unwrap_or_default();
        let mode = source_head.mode();
        let mut meta = request.meta.clone();
        inherit_head(&mut meta, &source_head);
        let path = self.home.active_path(&RolloutFileName::new(at, thread_id, None));
        match mode {
            HistoryMode::Paginated => {
                let base = self.fork_base(&resolved, &request.at)?;
                let head = fork_head(meta, request.source, mode, base);
                // Before the fork has its name: see `sync_bases`.
                self.sync_bases(&resolved)?;
                self.home.write_new_file(&path, |out| write_head(out, at, head)).map_err(store_error)?;
                drop(references);
            }
            HistoryMode::Legacy => {
                // A copy refers to nothing, and copying a large log would keep others from deleting threads for long.
                drop(references);
                let mut source = self.legacy_prefix(&resolved, &request.at)?;
                let mut head = fork_head(meta, request.source, mode, None);
                // A source that cannot be read fails when it is copied.
                head.copied_bytes = source.measure(at).ok();
                let write = |out: &mut dyn Write| {
                    write_head(out, at, head)?;
                    source.copy(out, at)
                };
                self.home.write_new_file(&path, write).map_err(store_error)?;
            }
        }
        Ok(thread_id)
    }

    /// Returns the base of a fork that leaves a paginated history at a boundary.
    fn fork_base(&self, resolved: &ResolvedHistory, at: &TurnBoundary) -> Result<Option<HistoryBase>> {
        let before = match at {
            TurnBoundary::Latest => end_of_history(resolved)?,
            at => self.locate_boundary(resolved, HistoryMode::Paginated, at)?.before,
        };
        Ok(base_after(&before, resolved))
    }

    /// Returns the part of a legacy log before a boundary.
    fn legacy_prefix(&self, resolved: &ResolvedHistory, at: &TurnBoundary) -> Result<LegacyPrefix> {
        let end = match at {
            TurnBoundary::Latest => self.end_of_log(resolved)?,
            at => self.locate_boundary(resolved, HistoryMode::Legacy, at)?.before.end_byte(),
        };
        Ok(LegacyPrefix { file: resolved.newest().clone(), end })
    }

    /// Returns where to end a copy of a log that may grow while it is read: after the last batch of this store's writer, so that
    /// no batch is cut in two. The log of another writer is copied as far as it goes.
    fn end_of_log(&self, resolved: &ResolvedHistory) -> Result<u64> {
        match self.live.find(resolved.thread_id) {
            Some(live) => Ok(live.recorder.end().1),
            None => Ok(u64::MAX),
        }
    }
}

fn write_head(out: &mut dyn Write, at: Timestamp, head: SessionMeta) -> io::Result<()> {
    let ordinal = match head.mode() {
        HistoryMode::Legacy => None,
        HistoryMode::Paginated => {
            Some(head.history_base.as_ref().and_then(|base| base.end_ordinal_exclusive).unwrap_or(0))
        }
    };
    let mut bytes = Vec::new();
    RolloutLine::encode(&mut bytes, at, ordinal, &head.into());
    out.write_all(&bytes)
}

/// Counts the bytes of a copy.
#[derive(Default)]
struct CopySize {
    bytes: u64,
    /// Whether the last byte is no newline.
    is_torn: bool,
}

impl Write for CopySize {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes += bytes.len() as u64;
        self.is_torn = bytes.last().map_or(self.is_torn, |last| *last != b'\n');
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The first bytes of a legacy log.
pub(super) struct LegacyPrefix {
    pub(super) file: RolloutFile,
    pub(super) end: u64,
}

impl LegacyPrefix {
    /// Returns how many bytes a copy has. From then on the prefix ends with them, also if its log grows.
    fn measure(&mut self, at: Timestamp) -> io::Result<u64> {
        let mut size = CopySize::default();
        if self.is_bare().map_err(io::Error::other)? {
            // No program goes on with a log of that time.
            self.copy_enveloped(&mut size, at).map_err(io::Error::other)?;
            return Ok(size.bytes);
        }
        let (mut bytes, _) = open_bytes(&self.file.path, 0..self.end).map_err(io::Error::other)?;
        io::copy(&mut bytes, &mut size)?;
        self.end = size.bytes;
        Ok(size.bytes + u64::from(size.is_torn))
    }

    /// Copies the bytes as they are, damage included. Only lines that are older than the envelope are wrapped into one: the fork
    /// begins with an envelope, and readers expect such a log to continue with envelopes.
    pub(super) fn copy(&self, out: &mut dyn Write, at: Timestamp) -> io::Result<()> {
        if self.is_bare().map_err(io::Error::other)? {
            return self.copy_enveloped(out, at).map_err(io::Error::other);
        }
        let (bytes, _) = open_bytes(&self.file.path, 0..self.end).map_err(io::Error::other)?;
        // A torn last line is copied, too, and must not swallow the fork's first own line.
        copy_ending_in_newline(bytes, out)
    }

    fn is_bare(&self) -> Result<bool, RolloutError> {
        for entry in RolloutReader::open(&self.file.path)? {
            if let Entry::Line(record) = entry? {
                return Ok(record.line.format() == LineFormat::Bare);
            }
        }
        Ok(false)
    }

    fn copy_enveloped(&self, out: &mut dyn Write, at: Timestamp) -> Result<(), StoreError> {
        for entry in RolloutReader::open_range(&self.file.path, 0..self.end).map_err(store_error)? {
            let Entry::Line(record) = entry.map_err(store_error)? else { continue };
            let mut bytes = Vec::new();
            if record.line.format() == LineFormat::Bare {
                let at = record.line.timestamp().unwrap_or(at);
                for item in upgrade_bare_item(record.line.item()) {
                    RolloutLine::encode(&mut bytes, at, None, &item);
                }
            } else {
                bytes.extend_from_slice(record.line.text().as_bytes());
                bytes.push(b'\n');
            }
            out.write_all(&bytes).map_err(|error| StoreError::backend("cannot copy the log", error))?;
        }
        Ok(())
    }
}
