//! A thread's history as a chain of segments in memory.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::ops::Range;

use selvedge_history::{InheritedPrefix, PrefixEnd};
use selvedge_protocol::log::{Entry, RawEntry};
use selvedge_protocol::{SegmentId, ThreadId, TurnBoundary, TurnId};

use super::line_pages::{ChainPart, LineSource, MissingBytes, RawEntryIter, SegmentPrefix, read_lines};
use super::{Segment, WholeHistory};
use crate::{Damage, LinePage, LineQuery, Result};

/// How many segments a history may go through. The limit bounds the work for a chain that was built to be long.
const MAX_SEGMENTS: usize = 10_000;

/// The segments that a history goes through, each with the end of the prefix that belongs to the history.
///
/// [`line_pages`](super::line_pages) has a picture of a chain.
#[derive(Debug)]
pub struct SegmentChain<S> {
    thread_id: ThreadId,
    /// Whether the thread has a writer.
    is_live: bool,
    /// Oldest first. Never empty.
    parts: Vec<ChainSegment<S>>,
    /// The segment that could not be followed, and why. `None` if the chain is complete.
    missing: Option<(SegmentId, MissingBytes)>,
}

/// A segment of a chain.
#[derive(Debug)]
pub(super) struct ChainSegment<S> {
    segment: S,
    /// The end of its prefix. `None` for the newest segment: all of it belongs to the history.
    end: Option<PrefixEnd>,
}

impl<S: Borrow<Segment>> SegmentChain<S> {
    /// Builds the chain: follows the bases from the newest segment of a thread to the oldest one.
    ///
    /// `find` returns a segment of the store, which may belong to another thread. `is_live` reports whether the thread
    /// has a writer, in this store or in another one.
    ///
    /// A base that cannot be followed is no error. The chain begins after it, and the gap is reported as damage.
    ///
    /// # Errors
    /// The errors of `find`.
    pub fn follow(newest: S, is_live: bool, mut find: impl FnMut(SegmentId) -> Result<Option<S>>) -> Result<Self> {
        let thread_id = newest.borrow().thread_id;
        // Newest first, since a segment only names the one before it. The order is reversed at the end.
        //
        // Heads come from files that other programs may have written or damaged. So nothing guarantees that the chain
        // ends: `seen` finds circles, and the limit finds chains that are too long.
        let mut seen = HashSet::from([newest.borrow().id]);
        let mut parts = vec![ChainSegment { segment: newest, end: None }];
        let mut missing = None;
        while let Some(last) = parts.last()
            && let Some((reference, base_id)) =
                last.segment().base().and_then(|base| base.thread_id.map(|id| (base, id)))
        {
            // The next segment may have left this one at a line that this one inherits itself. So the base ends at the
            // earlier one of the two ends.
            let end = PrefixEnd::of(&reference, last.segment().id).within(last.end);
            let reason = match find(base_id)? {
                Some(_) if !seen.insert(base_id) => "the segments refer to each other in a circle",
                Some(_) if parts.len() >= MAX_SEGMENTS => {
                    "the history goes through more segments than the limit of 10,000"
                }
                Some(segment) => {
                    parts.push(ChainSegment { segment, end: Some(end) });
                    continue;
                }
                None => "there is no such segment in this store",
            };
            // Everything that the base would contribute is missing, and what is before it as well, whose size is
            // unknown.
            missing = Some((base_id, MissingBytes { bytes: end.byte, reason: reason.to_owned() }));
            break;
        }
        parts.reverse();
        Ok(Self { thread_id, is_live, parts, missing })
    }

    /// Returns the segments, oldest first.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &Segment> {
        self.parts.iter().map(ChainSegment::segment)
    }

    /// Returns the newest segment.
    #[must_use]
    pub fn newest(&self) -> &Segment {
        self.parts[self.parts.len() - 1].segment()
    }

    /// Returns whether lines on which the newest segment builds are missing.
    pub(super) fn lacks_lines(&self) -> bool {
        self.missing.is_some() || self.parts.iter().any(|part| part.missing().is_some())
    }

    /// Reads the whole history.
    #[must_use]
    pub fn history(&self) -> WholeHistory {
        let mut history = WholeHistory::new(self.thread_id, self.is_live, self.newest().mode());
        history.damage.extend(self.missing.as_ref().map(|(segment_id, missing)| Damage {
            location: format!("segment {segment_id}"),
            range: 0..missing.bytes.unwrap_or(0),
            line: 1,
            reason: format!("the history begins in this segment, and {}", missing.reason),
        }));
        for part in &self.parts {
            self.read_part(part, &mut history);
        }
        history
    }

    /// Adds the lines and the damage of one segment to a history.
    fn read_part(&self, part: &ChainSegment<S>, history: &mut WholeHistory) {
        let segment = part.segment();
        for entry in part.entries() {
            match entry {
                Entry::Line(record) => {
                    history.inherited += usize::from(segment.thread_id != self.thread_id);
                    history.ends.push((segment.id, record.range.end));
                    history.lines.push(record.line.clone());
                }
                Entry::Damage(damage) => history.damage.push(Damage {
                    location: format!("segment {}", segment.id),
                    range: damage.range.clone(),
                    line: damage.number,
                    reason: damage.kind.to_string(),
                }),
            }
        }
        // A gap at the end of the prefix is damage as well. Its bytes are after those that the segment has, and the
        // lines in them cannot be counted.
        history.damage.extend(part.missing().map(|missing| Damage {
            location: format!("segment {}", segment.id),
            range: segment.size()..segment.size() + missing.bytes.unwrap_or(0),
            line: 0,
            reason: missing.reason,
        }));
    }

    /// Returns a page of the history. `find` is the same function as in [`follow`](Self::follow).
    ///
    /// # Errors
    /// The errors of [`read_lines`].
    pub fn read_lines(&self, query: &LineQuery, find: impl Fn(SegmentId) -> Result<Option<S>>) -> Result<LinePage> {
        read_lines(&ChainLines { chain: self, parts: self.line_parts(), find }, query)
    }

    pub(super) const fn thread_id(&self) -> ThreadId {
        self.thread_id
    }

    pub(super) fn parts(&self) -> &[ChainSegment<S>] {
        &self.parts
    }

    pub(super) const fn missing(&self) -> Option<&(SegmentId, MissingBytes)> {
        self.missing.as_ref()
    }

    fn line_parts(&self) -> Vec<ChainPart> {
        let part =
            |segment: &Segment| ChainPart { segment_id: segment.id, inherited: segment.thread_id != self.thread_id };
        self.segments().map(part).collect()
    }
}

impl<S: Borrow<Segment>> ChainSegment<S> {
    pub(super) fn segment(&self) -> &Segment {
        self.segment.borrow()
    }

    /// Returns the entries of the prefix, without white space.
    fn entries(&self) -> impl Iterator<Item = &Entry> {
        let mut prefix = self.fold();
        self.segment().entries().iter().take_while(move |entry| prefix.take(entry, 0))
    }

    /// Returns how far the segment has the prefix.
    fn reached_end(&self) -> ReachedEnd {
        let mut prefix = self.fold();
        // An entry after the prefix proves that the segment did not end too early.
        let takes_all = self.segment().entries().iter().all(|entry| prefix.take(entry, 0));
        if self.end.is_none() {
            // The newest segment: white space at its end belongs to the history as well.
            return ReachedEnd { byte: self.segment().size(), is_short: false };
        }
        ReachedEnd { byte: prefix.end_byte(), is_short: takes_all && prefix.is_short(0) }
    }

    /// Returns the rest of the prefix, if the segment ends too early.
    fn missing(&self) -> Option<MissingBytes> {
        let ReachedEnd { byte: end, is_short } = self.reached_end();
        let bytes = self.end.and_then(|end| end.byte).and_then(|byte| byte.checked_sub(end));
        let reason = "the segment ends before the part of it that this thread builds on".to_owned();
        is_short.then_some(MissingBytes { bytes, reason })
    }

    /// Returns the fold that decides for each entry whether it belongs to the prefix.
    fn fold(&self) -> InheritedPrefix {
        // A base names the end of the prefix twice: by an ordinal and by a byte. If both agree, the byte is exact. If
        // they do not, the bytes were changed since, and the ordinals have to decide.
        match self.end {
            None => InheritedPrefix::whole(),
            Some(end) if ends_at_its_byte(self.segment(), end) => InheritedPrefix::until_byte(end),
            Some(end) => InheritedPrefix::until(end),
        }
    }

    /// Returns all bytes of the prefix, entry by entry, including white space.
    pub(super) fn raw_entries(&self) -> impl Iterator<Item = RawEntry> {
        let end = self.reached_end().byte;
        self.segment().raw_entries(0).take_while(move |entry| entry.range.start < end)
    }
}

/// Returns whether the byte of a segment end is exact: a line ends there, and its ordinal is the one before that of the
/// end.
fn ends_at_its_byte(segment: &Segment, end: PrefixEnd) -> bool {
    let (Some(byte), Some(ordinal)) = (end.byte, end.ordinal) else { return false };
    // From the end, because a prefix rarely ends far from the end of its segment.
    segment.lines().rev().find(|record| record.range.end <= byte).is_some_and(|record| {
        record.range.end == byte && record.line.ordinal().and_then(|last| last.checked_add(1)) == Some(ordinal)
    })
}

/// How far a segment has its prefix.
struct ReachedEnd {
    /// The byte after it.
    byte: u64,
    /// Whether the segment ends before the prefix does, so that a part of the history is missing.
    is_short: bool,
}

/// A chain as a source of line pages.
struct ChainLines<'a, S, F> {
    chain: &'a SegmentChain<S>,
    parts: Vec<ChainPart>,
    find: F,
}

impl<S: Borrow<Segment>, F: Fn(SegmentId) -> Result<Option<S>>> LineSource for ChainLines<'_, S, F> {
    fn thread_id(&self) -> ThreadId {
        self.chain.thread_id
    }

    fn parts(&self) -> &[ChainPart] {
        &self.parts
    }

    fn missing_base(&self) -> Option<MissingBytes> {
        self.chain.missing.as_ref().map(|(_, missing)| missing.clone())
    }

    fn prefix(&self, part: usize) -> Result<SegmentPrefix> {
        let part = &self.chain.parts[part];
        Ok(SegmentPrefix { end: part.reached_end().byte, missing: part.missing() })
    }

    fn entries(&self, part: usize, from: u64, _max_text: Option<usize>) -> Result<RawEntryIter<'_>> {
        Ok(Box::new(self.chain.parts[part].segment().raw_entries(from).map(Ok)))
    }

    fn entries_back(&self, part: usize, before: u64, _max_text: Option<usize>) -> Result<RawEntryIter<'_>> {
        Ok(Box::new(self.chain.parts[part].segment().raw_entries_back(before).map(Ok)))
    }

    fn bytes(&self, part: usize, range: Range<u64>) -> Result<Vec<u8>> {
        let bytes = self.chain.parts[part].segment().bytes();
        let index = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        Ok(bytes[index(range.start)..index(range.end)].to_vec())
    }

    fn former_parts(&self, segment_id: SegmentId) -> Result<Option<Vec<(SegmentId, u64)>>> {
        let Some(segment) = (self.find)(segment_id)? else { return Ok(None) };
        // Whether the thread has a writer makes no difference: only the ends of the prefixes are used.
        let former = SegmentChain::follow(segment, false, &self.find)?;
        Ok(Some(former.parts.iter().map(|part| (part.segment().id, part.reached_end().byte)).collect()))
    }

    fn is_detached(&self) -> Result<bool> {
        // Only a detach writes this field.
        Ok(self.chain.newest().head().is_some_and(|head| head.copied_base.is_some()))
    }

    fn turn_start(&self, turn_id: &TurnId) -> Result<(usize, u64)> {
        let history = self.chain.history();
        let position = history.resolve(&TurnBoundary::Before(turn_id.clone()))?.position;
        // The turn begins where the line before it ends. Without a line before it, the turn begins the history.
        let before = usize::try_from(position).ok().and_then(|position| position.checked_sub(1));
        let Some((segment_id, byte)) = before.and_then(|before| history.ends.get(before)) else { return Ok((0, 0)) };
        let part = self.parts.iter().position(|part| part.segment_id == *segment_id).unwrap_or(0);
        Ok((part, *byte))
    }
}
