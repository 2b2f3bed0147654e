//! Forks: a reference to the source in paginated mode, a copy of it in legacy mode.

use std::io::{self, Read, Write};

use selvedge_history::{fork_head, head_identity, inherit_head, upgrade_bare_item};
use selvedge_protocol::{HistoryBase, HistoryMode, LineFormat, RolloutLine, SessionMeta, ThreadId, Timestamp};
use selvedge_rollout::{
    Entry, ReferenceLock, ResolvedHistory, RolloutError, RolloutFile, RolloutFileName, RolloutReader, open_bytes,
    read_head,
};
use selvedge_thread_store::{ForkThread, Result, StoreError, TurnBoundary};

use crate::boundary::{base_at, end_of};
use crate::error::store_error;
use crate::store::Inner;

impl Inner {
    pub(crate) fn fork(&self, request: &ForkThread) -> Result<ThreadId> {
        let (thread_id, at) = head_identity(&request.meta)?;
        // From the first look at the source until the fork is there, nobody deletes what it begins to refer to.
        let references = ReferenceLock::shared(&self.home).map_err(store_error)?;
        let (files, resolved) = self.resolve(self.files()?, request.source)?;
        self.refuse_existing(&files, thread_id)?;
        let source_head = read_head(resolved.newest()).map_err(store_error)?.unwrap_or_default();
        let mode = source_head.mode();
        let mut meta = request.meta.clone();
        inherit_head(&mut meta, &source_head);
        let path = self.home.active_path(&RolloutFileName::new(at, thread_id, None));
        match mode {
            HistoryMode::Paginated => {
                let base = self.base_to_fork(&resolved, &request.at)?;
                let head = fork_head(meta, request.source, mode, base);
                self.settle_bases(&resolved)?;
                self.home.write_new_file(&path, |out| write_head(out, at, head)).map_err(store_error)?;
                drop(references);
            }
            HistoryMode::Legacy => {
                // A copy refers to nothing.
                drop(references);
                let source = self.bytes_to_copy(&resolved, &request.at)?;
                let head = fork_head(meta, request.source, mode, None);
                let write = |out: &mut dyn Write| {
                    write_head(out, at, head)?;
                    source.copy(out, at)
                };
                self.home.write_new_file(&path, write).map_err(store_error)?;
            }
        }
        Ok(thread_id)
    }

    /// Sees to it that a history that another one is about to refer to is on the medium, at any level.
    pub(crate) fn settle_bases(&self, resolved: &ResolvedHistory) -> Result<()> {
        resolved.parts.iter().try_for_each(|part| self.home.sync_file(&part.file.path)).map_err(store_error)
    }

    /// The base of a fork that leaves a paginated history at a cut.
    fn base_to_fork(&self, resolved: &ResolvedHistory, at: &TurnBoundary) -> Result<Option<HistoryBase>> {
        let before = match at {
            TurnBoundary::Latest => end_of(resolved)?,
            at => self.resolve_boundary(resolved, HistoryMode::Paginated, at)?.before,
        };
        Ok(base_at(&before, resolved))
    }

    /// The share of a legacy log that is before a cut.
    fn bytes_to_copy(&self, resolved: &ResolvedHistory, at: &TurnBoundary) -> Result<LegacyBytes> {
        let end = match at {
            TurnBoundary::Latest => self.end_of_log(resolved)?,
            at => self.resolve_boundary(resolved, HistoryMode::Legacy, at)?.before.end_byte(),
        };
        Ok(LegacyBytes { file: resolved.newest().clone(), end })
    }

    /// The size of a log that may be growing under the reader: a writer of this store knows where its last batch ended.
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

/// The first bytes of a legacy log.
struct LegacyBytes {
    file: RolloutFile,
    end: u64,
}

impl LegacyBytes {
    /// Copies the bytes as they are, damage and all. Only lines from before the envelope are put into one, because a log
    /// that begins with an envelope is expected to go on so.
    fn copy(&self, out: &mut dyn Write, at: Timestamp) -> io::Result<()> {
        if self.is_bare().map_err(io::Error::other)? {
            return self.copy_enveloped(out, at).map_err(io::Error::other);
        }
        let (mut bytes, _) = open_bytes(&self.file.path, 0..self.end).map_err(io::Error::other)?;
        let mut last = [b'\n'];
        let mut block = vec![0; 1 << 16];
        loop {
            let len = bytes.read(&mut block)?;
            let Some(end) = block[..len].last() else { break };
            last = [*end];
            out.write_all(&block[..len])?;
        }
        // A torn last line is copied, too, and must not swallow the fork's first own one.
        if last == [b'\n'] { Ok(()) } else { out.write_all(b"\n") }
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
