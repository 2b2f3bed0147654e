//! A thread's history as a chain of segments that are in memory.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::ops::Range;

use selvedge_history::{InheritedPrefix, PrefixEnd};
use selvedge_protocol::log::{Entry, RawEntry};
use selvedge_protocol::{SegmentId, ThreadId, TurnId};

use super::line_pages::{LinePart, LineSource, MissingBytes, RawEntries, Share, read_lines};
use super::{Segment, WholeHistory};
use crate::{Damage, LinePage, LineQuery, Result, TurnBoundary};

/// How many segments a history may go through.
const MAX_PARTS: usize = 10_000;

/// The segments that a history goes through, each with the share of it that is part of the history.
#[derive(Debug)]
pub struct SegmentChain<S> {
    /// The thread, and whether somebody writes it.
    thread_id: ThreadId,
    is_live: bool,
    /// Oldest first; never empty.
    parts: Vec<Part<S>>,
    /// The base where the history breaks off, if it does, and why.
    missing: Option<(SegmentId, MissingBytes)>,
}

/// One segment's share of a history.
#[derive(Debug)]
pub(super) struct Part<S> {
    segment: S,
    /// Where the segment is left. The newest is not.
    end: Option<PrefixEnd>,
}

impl<S: Borrow<Segment>> SegmentChain<S> {
    /// Follows the bases from the newest segment of a thread on. `find` returns any segment of the store, also one of another
    /// thread; `is_live` says whether the thread has a writer, in this store or in another one.
    ///
    /// # Errors
    /// Those of `find`.
    pub fn follow(newest: S, is_live: bool, mut find: impl FnMut(SegmentId) -> Result<Option<S>>) -> Result<Self> {
        let thread_id = newest.borrow().thread_id;
        let mut seen = HashSet::from([newest.borrow().id]);
        let mut parts = vec![Part { segment: newest, end: None }];
        let mut missing = None;
        while let Some(last) = parts.last()
            && let Some((reference, base_id)) =
                last.segment().base().and_then(|base| base.thread_id.map(|id| (base, id)))
        {
            let end = PrefixEnd::of(&reference, last.segment().id).within(last.end);
            let reason = match find(base_id)? {
                Some(_) if !seen.insert(base_id) => "the segments refer to each other in a circle",
                Some(_) if parts.len() >= MAX_PARTS => {
                    "the history goes through more segments than the limit of 10,000"
                }
                Some(segment) => {
                    parts.push(Part { segment, end: Some(end) });
                    continue;
                }
                None => "there is no such segment in this store",
            };
            missing = Some((base_id, MissingBytes { bytes: end.byte, reason: reason.to_owned() }));
            break;
        }
        parts.reverse();
        Ok(Self { thread_id, is_live, parts, missing })
    }

    /// The segments, oldest first.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &Segment> {
        self.parts.iter().map(Part::segment)
    }

    /// Returns the newest segment.
    #[must_use]
    pub fn newest(&self) -> &Segment {
        self.parts[self.parts.len() - 1].segment()
    }

    /// Reads all lines of the history.
    #[must_use]
    pub fn history(&self) -> WholeHistory {
        let mut history = WholeHistory::new(self.thread_id, self.is_live, self.newest().mode());
        history.damage.extend(self.missing.as_ref().map(|(segment_id, missing)| Damage {
            place: format!("segment {segment_id}"),
            range: 0..missing.bytes.unwrap_or(0),
            line: 1,
            reason: format!("the history begins in this segment, and {}", missing.reason),
        }));
        for part in &self.parts {
            let segment = part.segment();
            for entry in part.entries() {
                match entry {
                    Entry::Line(record) => {
                        history.inherited += usize::from(segment.thread_id != self.thread_id);
                        history.ends.push((segment.id, record.range.end));
                        history.lines.push(record.line.clone());
                    }
                    Entry::Damage(damage) => history.damage.push(Damage {
                        place: format!("segment {}", segment.id),
                        range: damage.range.clone(),
                        line: damage.number,
                        reason: damage.kind.to_string(),
                    }),
                }
            }
            history.damage.extend(part.missing().map(|missing| Damage {
                place: format!("segment {}", segment.id),
                range: segment.size()..segment.size() + missing.bytes.unwrap_or(0),
                line: 0,
                reason: missing.reason,
            }));
        }
        history
    }

    /// Reads a page of the history, entry by entry. `find` is that of [`follow`](Self::follow).
    ///
    /// # Errors
    /// As [`read_lines`].
    pub fn read_lines(&self, query: &LineQuery, find: impl Fn(SegmentId) -> Result<Option<S>>) -> Result<LinePage> {
        read_lines(&ChainLines { chain: self, parts: self.line_parts(), find }, query)
    }

    pub(super) const fn thread_id(&self) -> ThreadId {
        self.thread_id
    }

    pub(super) fn parts(&self) -> &[Part<S>] {
        &self.parts
    }

    pub(super) const fn missing(&self) -> Option<&(SegmentId, MissingBytes)> {
        self.missing.as_ref()
    }

    fn line_parts(&self) -> Vec<LinePart> {
        let part =
            |segment: &Segment| LinePart { segment_id: segment.id, inherited: segment.thread_id != self.thread_id };
        self.segments().map(part).collect()
    }
}

impl<S: Borrow<Segment>> Part<S> {
    pub(super) fn segment(&self) -> &Segment {
        self.segment.borrow()
    }

    /// The entries of the share.
    fn entries(&self) -> impl Iterator<Item = &Entry> {
        let mut share = self.fold();
        self.segment().entries().iter().take_while(move |entry| share.take(entry, 0))
    }

    /// The byte just past the share, and whether the segment ends before it does.
    fn end(&self) -> (u64, bool) {
        let mut share = self.fold();
        let is_whole = self.segment().entries().iter().all(|entry| share.take(entry, 0));
        if self.end.is_none() {
            return (self.segment().size(), false);
        }
        (share.end_byte(), is_whole && share.is_short(0))
    }

    /// What the segment lacks of the share.
    fn missing(&self) -> Option<MissingBytes> {
        let (end, is_short) = self.end();
        let bytes = self.end.and_then(|share| share.byte).and_then(|byte| byte.checked_sub(end));
        let reason = "the segment ends before the part of it that this thread builds on".to_owned();
        is_short.then_some(MissingBytes { bytes, reason })
    }

    fn fold(&self) -> InheritedPrefix {
        match self.end {
            None => InheritedPrefix::whole(),
            Some(end) if ends_at_its_byte(self.segment(), end) => InheritedPrefix::until_byte(end),
            Some(end) => InheritedPrefix::until(end),
        }
    }

    /// The bytes of the share, entry by entry, white space too.
    pub(super) fn raw_entries(&self) -> impl Iterator<Item = RawEntry> {
        let (end, _) = self.end();
        self.segment().raw_entries(0).take_while(move |entry| entry.range.start < end)
    }
}

/// Whether the end of a base is where its byte says: a line ends there that stands just before its ordinal.
fn ends_at_its_byte(segment: &Segment, end: PrefixEnd) -> bool {
    let (Some(byte), Some(ordinal)) = (end.byte, end.ordinal) else { return false };
    segment.lines().rev().find(|record| record.range.end <= byte).is_some_and(|record| {
        record.range.end == byte && record.line.ordinal().and_then(|last| last.checked_add(1)) == Some(ordinal)
    })
}

/// A chain as a source of line pages.
struct ChainLines<'a, S, F> {
    chain: &'a SegmentChain<S>,
    parts: Vec<LinePart>,
    find: F,
}

impl<S: Borrow<Segment>, F: Fn(SegmentId) -> Result<Option<S>>> LineSource for ChainLines<'_, S, F> {
    fn thread_id(&self) -> ThreadId {
        self.chain.thread_id
    }

    fn parts(&self) -> &[LinePart] {
        &self.parts
    }

    fn missing_base(&self) -> Option<MissingBytes> {
        self.chain.missing.as_ref().map(|(_, missing)| missing.clone())
    }

    fn share(&self, part: usize) -> Result<Share> {
        let part = &self.chain.parts[part];
        Ok(Share { end: part.end().0, missing: part.missing() })
    }

    fn entries(&self, part: usize, from: u64) -> Result<RawEntries<'_>> {
        Ok(Box::new(self.chain.parts[part].segment().raw_entries(from).map(Ok)))
    }

    fn entries_back(&self, part: usize, before: u64) -> Result<RawEntries<'_>> {
        Ok(Box::new(self.chain.parts[part].segment().raw_entries_back(before).map(Ok)))
    }

    fn bytes(&self, part: usize, range: Range<u64>) -> Result<Vec<u8>> {
        let bytes = self.chain.parts[part].segment().bytes();
        let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
        Ok(bytes[place(range.start)..place(range.end)].to_vec())
    }

    fn former_parts(&self, segment_id: SegmentId) -> Result<Option<Vec<(SegmentId, u64)>>> {
        let Some(segment) = (self.find)(segment_id)? else { return Ok(None) };
        let former = SegmentChain::follow(segment, false, &self.find)?;
        Ok(Some(former.parts.iter().map(|part| (part.segment().id, part.end().0)).collect()))
    }

    fn is_detached(&self) -> Result<bool> {
        Ok(self.chain.newest().head().is_some_and(|head| head.copied_base.is_some()))
    }

    fn turn_start(&self, turn_id: &TurnId) -> Result<(usize, u64)> {
        let history = self.chain.history();
        let position = history.cut(&TurnBoundary::Before(turn_id.clone()))?.position;
        let before = usize::try_from(position).ok().and_then(|position| position.checked_sub(1));
        let Some((segment_id, byte)) = before.and_then(|before| history.ends.get(before)) else { return Ok((0, 0)) };
        let part = self.parts.iter().position(|part| part.segment_id == *segment_id).unwrap_or(0);
        Ok((part, *byte))
    }
}
