//! A thread's history, line by line.

use std::ops::Range;

use selvedge_history::find_cut;
use selvedge_protocol::{SegmentId, ThreadId, TurnId};

use super::segment::Parts;
use super::state::State;
use crate::implement::{LinePart, LineSource, MissingBytes, RawEntries, Share, read_lines};
use crate::{LinePage, LinePosition, LineQuery, LineStart, Result, TurnCut};

impl State {
    pub(super) fn read_lines(&self, query: &LineQuery) -> Result<LinePage> {
        read_lines(&self.source(query.thread_id)?, query)
    }

    /// The place behind everything that a thread has.
    pub(super) fn end_position(&self, thread_id: ThreadId) -> Result<LinePosition> {
        Ok(self.read_lines(&LineQuery::from(thread_id, LineStart::End))?.next)
    }

    fn source(&self, thread_id: ThreadId) -> Result<Source<'_>> {
        let history = self.parts(thread_id)?;
        let parts = history
            .parts
            .iter()
            .map(|part| LinePart { segment_id: part.segment.id, inherited: part.segment.thread_id != thread_id });
        Ok(Source { state: self, thread_id, parts: parts.collect(), history })
    }
}

struct Source<'a> {
    state: &'a State,
    thread_id: ThreadId,
    parts: Vec<LinePart>,
    history: Parts<'a>,
}

impl LineSource for Source<'_> {
    fn thread_id(&self) -> ThreadId {
        self.thread_id
    }

    fn parts(&self) -> &[LinePart] {
        &self.parts
    }

    fn missing_base(&self) -> Option<MissingBytes> {
        self.history.missing.as_ref().map(|(_, missing)| missing.clone())
    }

    fn share(&self, part: usize) -> Result<Share> {
        let part = self.history.parts[part];
        Ok(Share { end: part.end().0, missing: part.missing() })
    }

    fn entries(&self, part: usize, from: u64) -> Result<RawEntries<'_>> {
        Ok(Box::new(self.history.parts[part].segment.raw_entries(from).map(Ok)))
    }

    fn entries_back(&self, part: usize, before: u64) -> Result<RawEntries<'_>> {
        Ok(Box::new(self.history.parts[part].segment.raw_entries_back(before).map(Ok)))
    }

    fn bytes(&self, part: usize, range: Range<u64>) -> Result<Vec<u8>> {
        let bytes = self.history.parts[part].segment.bytes();
        let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
        Ok(bytes[place(range.start)..place(range.end)].to_vec())
    }

    fn former_parts(&self, segment_id: SegmentId) -> Result<Option<Vec<(SegmentId, u64)>>> {
        let former = self.state.parts_of_segment(segment_id);
        Ok(former.map(|former| former.parts.iter().map(|part| (part.segment.id, part.end().0)).collect()))
    }

    fn is_detached(&self) -> Result<bool> {
        Ok(self.history.newest().segment.head().is_some_and(|head| head.copied_base.is_some()))
    }

    fn turn_start(&self, turn_id: &TurnId) -> Result<(usize, u64)> {
        let history = self.state.history(self.thread_id)?;
        let turns = self.state.turns(self.thread_id, &history.lines)?;
        let cut = TurnCut::Before(turn_id.clone());
        let position = find_cut(self.thread_id, turns, history.lines.len() as u64, &cut)?.position;
        let before = usize::try_from(position).ok().and_then(|position| position.checked_sub(1));
        let Some((segment_id, byte)) = before.and_then(|before| history.ends.get(before)) else { return Ok((0, 0)) };
        let part = self.parts.iter().position(|part| part.segment_id == *segment_id).unwrap_or(0);
        Ok((part, *byte))
    }
}
