//! The history of a thread line by line, from its files.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use selvedge_protocol::{SegmentId, ThreadId, TurnBoundary, TurnId};
use selvedge_rollout::{FileStamp, HomeFiles, ResolvedHistory, RolloutFile, read_head};
use selvedge_thread_store::implement::{
    ChainPart, LineSource, MissingBytes, RawEntryIter, RecentBatches, SegmentPrefix, behind_line_before, read_lines,
};
use selvedge_thread_store::{LinePage, LineQuery, LineStart, Result, WriterState};

use super::backward_entries::entries_back;
use super::inherited_prefix::find_prefix;
use super::raw_entries::{content_len, end_of_last_line, entries_from, read_at};
use crate::error::{stat, store_error};
use crate::store_core::live::LiveClaim;
use crate::store_core::{FoundHistory, StoreCore};

impl StoreCore {
    pub(crate) fn read_lines(&self, query: &LineQuery) -> Result<LinePage> {
        self.read_lines_from(query, None)
    }

    /// Reads a page. `turn_start` is where the index says that the turn of the query begins: the file, its index in the history, and the
    /// byte.
    pub(crate) fn read_lines_from(
        &self,
        query: &LineQuery,
        turn_start: Option<&(PathBuf, usize, u64)>,
    ) -> Result<LinePage> {
        let FoundHistory { files, resolved } = self.resolve(self.files()?, query.thread_id)?;
        let mut lines = HistoryLines::new(self, &files, &resolved);
        let is_part = |(path, part, _): &&(PathBuf, usize, u64)| {
            resolved.parts.get(*part).is_some_and(|known| known.file.path == *path)
        };
        lines.turn_start = turn_start.filter(is_part).map(|(_, part, byte)| (*part, *byte));
        read_lines(&lines, query)
    }

    /// Returns the state of a thread's writer. The caller holds the permit of the thread, from which `recent` comes, so nothing is
    /// appended meanwhile.
    pub(crate) fn writer_state(
        &self,
        thread_id: ThreadId,
        live: &LiveClaim,
        recent: &RecentBatches,
    ) -> Result<WriterState> {
        let query = LineQuery { max_lines: 1, ..LineQuery::from(thread_id, LineStart::End) };
        let end = if live.is_materialized() { Some(self.read_lines(&query)?.next) } else { None };
        Ok(WriterState { end, last_batch: recent.last(), epoch: live.epoch })
    }
}

/// The lines of a history that was resolved.
struct HistoryLines<'a> {
    store: &'a StoreCore,
    files: &'a Arc<HomeFiles>,
    resolved: &'a ResolvedHistory,
    parts: Vec<ChainPart>,
    /// The part in which the turn of the query begins, and the byte, if the index knows it.
    turn_start: Option<(usize, u64)>,
}

impl<'a> HistoryLines<'a> {
    fn new(store: &'a StoreCore, files: &'a Arc<HomeFiles>, resolved: &'a ResolvedHistory) -> Self {
        let parts = resolved.parts.iter().map(|part| ChainPart {
            segment_id: part.file.name.segment_id(),
            inherited: part.file.name.thread_id != resolved.thread_id,
        });
        Self { store, files, resolved, parts: parts.collect(), turn_start: None }
    }

    fn file(&self, part: usize) -> &RolloutFile {
        &self.resolved.parts[part].file
    }

    /// Returns the offset just past the last entry of the newest segment.
    ///
    /// While the thread has a writer, the bytes after the last newline may be half of a line, which is not an entry yet. Without a
    /// writer they are a torn line, which does not change any more, and an entry.
    fn newest_end(&self, file: &RolloutFile) -> Result<u64> {
        if file.name.compressed {
            return content_len(file);
        }
        loop {
            let len = stat(&file.path)?.len();
            if len == 0 || read_at(&file.path, len - 1..len)? == b"\n" {
                return Ok(len);
            }
            if self.store.has_writer(self.resolved.thread_id) {
                return end_of_last_line(&file.path, len);
            }
            // There is no writer now. A writer may have finished its line and ended since the length was read. If the length is
            // still the same, none has.
            if stat(&file.path)?.len() == len {
                return Ok(len);
            }
        }
    }
}

impl LineSource for HistoryLines<'_> {
    fn thread_id(&self) -> ThreadId {
        self.resolved.thread_id
    }

    fn parts(&self) -> &[ChainPart] {
        &self.parts
    }

    fn missing_base(&self) -> Option<MissingBytes> {
        let missing = self.resolved.missing.as_ref()?;
        let reason = format!("the history begins in segment {}, and {}", missing.segment_id, missing.reason);
        Some(MissingBytes { bytes: missing.end.byte, reason })
    }

    fn prefix(&self, part: usize) -> Result<SegmentPrefix> {
        let part = &self.resolved.parts[part];
        if part.end.is_none() {
            return Ok(SegmentPrefix { end: self.newest_end(&part.file)?, missing: None });
        }
        // The stamp is read before the file: if the file changes in between, the entry gets a stamp that no later lookup
        // uses.
        let stamp = FileStamp::read(&part.file.path).map_err(store_error)?;
        let key = (part.clone(), stamp);
        if let Some(known) = self.store.prefixes.get(&key) {
            return Ok(known);
        }
        let prefix = find_prefix(part)?;
        self.store.prefixes.put(key, prefix.clone());
        Ok(prefix)
    }

    fn entries(&self, part: usize, from: u64, max_text: Option<usize>) -> Result<RawEntryIter<'_>> {
        entries_from(&self.file(part).path, from, max_text)
    }

    fn entries_back(&self, part: usize, before: u64, max_text: Option<usize>) -> Result<RawEntryIter<'_>> {
        entries_back(self.file(part), before, max_text)
    }

    fn bytes(&self, part: usize, range: Range<u64>) -> Result<Vec<u8>> {
        read_at(&self.file(part).path, range)
    }

    fn former_parts(&self, segment_id: SegmentId) -> Result<Option<Vec<(SegmentId, u64)>>> {
        // A position may be in a segment that a revert has abandoned. The history that ended with that segment shows where the
        // two histories part.
        let Some(file) = self.files.segment(segment_id) else { return Ok(None) };
        let former = ResolvedHistory::ending_with(self.files, file).map_err(store_error)?;
        let source = HistoryLines::new(self.store, self.files, &former);
        let ends = (0..former.parts.len()).map(|part| Ok((source.parts[part].segment_id, source.prefix(part)?.end)));
        ends.collect::<Result<_>>().map(Some)
    }

    fn is_detached(&self) -> Result<bool> {
        let head = read_head(self.resolved.newest()).map_err(store_error)?;
        Ok(head.is_some_and(|head| head.copied_base.is_some()))
    }

    fn turn_start(&self, turn_id: &TurnId) -> Result<(usize, u64)> {
        if let Some((part, byte)) = self.turn_start {
            return behind_line_before(self, part, byte);
        }
        let head = read_head(self.resolved.newest()).map_err(store_error)?;
        let mode = head.map(|head| head.mode()).unwrap_or_default();
        let found = self.store.locate_boundary(self.resolved, mode, &TurnBoundary::Before(turn_id.clone()))?;
        Ok(found.before.end_position().unwrap_or((0, 0)))
    }
}
