//! Resolution of a history: which parts of which segments it consists of.
//!
//! A segment with a base continues the history of another segment, up to a position in it. Bases chain:
//!
//! ```text
//! segment A (thread 1)   0 1 2 3 4 5 6 7
//! segment B (thread 2)          base: A before 4   4 5 6          a fork of A
//! segment C (thread 2)          base: B before 6       6 7 8      a revert of B, which abandons B
//!
//! history of thread 2 = A: 0 1 2 3, then B: 4 5, then C: 6 7 8
//! ```
//!
//! A thread's history ends with its newest segment. A segment that a revert abandoned stays in the home: the new one may build
//! on it, and so may forks.

use std::collections::HashSet;

use selvedge_history::PrefixEnd;
use selvedge_protocol::log::Entry;
use selvedge_protocol::{SegmentId, ThreadId, Timestamp};

use super::backward_reader::BackwardReader;
use super::head::read_head;
use super::part::HistoryPart;
use super::reader::HistoryReader;
use crate::error::Result;
use crate::home::{HomeFiles, RolloutFile};
use crate::reader::RolloutReader;

/// How many segments a history may consist of. Real histories consist of a handful; a hostile home could have a chain without end.
const MAX_PARTS: usize = 10_000;

/// A base to which a history refers, and which cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MissingBase {
    /// The base.
    pub segment_id: SegmentId,
    /// The end of the part that the history would inherit from it.
    pub end: PrefixEnd,
    /// Why it cannot be read.
    pub reason: &'static str,
    /// Whether its file was found by the scan and is no longer there.
    pub is_gone: bool,
}

/// The segments of which a history consists, the oldest first. The last one is the newest segment of the thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedHistory {
    /// The thread.
    pub thread_id: ThreadId,
    /// The parts, one of each segment. Never empty.
    pub parts: Vec<HistoryPart>,
    /// The missing base with which the history would begin. The parts are still part of the history.
    pub missing: Option<MissingBase>,
}

impl ResolvedHistory {
    /// Resolves the history of a thread. `None` if there is no such thread. Reads only the head of each segment.
    ///
    /// # Errors
    /// If the newest segment of the thread cannot be read.
    pub fn resolve(files: &HomeFiles, thread_id: ThreadId) -> Result<Option<Self>> {
        find_newest_segment(files, thread_id).map(|newest| Self::ending_with(files, newest)).transpose()
    }

    /// Resolves the history that ends with a segment of a thread. The segment may be an abandoned one.
    ///
    /// # Errors
    /// If the segment cannot be read.
    pub fn ending_with(files: &HomeFiles, newest: &RolloutFile) -> Result<Self> {
        let thread_id = newest.name.thread_id;
        let mut parts = vec![HistoryPart { file: newest.clone(), end: None }];
        let mut seen = HashSet::from([newest.name.segment_id()]);
        let mut base = read_head(newest)?.and_then(|head| head.history_base);
        let mut missing = None;
        // From the newest segment to the oldest one. `parts` is in this order until the end.
        while let Some((reference, segment_id)) = base.take().and_then(|base| base.thread_id.map(|id| (base, id))) {
            let builder = parts.last().map_or_else(|| newest.name.segment_id(), |part| part.file.name.segment_id());
            // C can inherit a prefix of B that ends before B itself begins. Example: if C above were based on B before 2, it would
            // inherit A up to 2 and not up to 4. So each end is limited by the end of the part that refers to it.
            let end = PrefixEnd::of(&reference, builder).within(parts.last().and_then(|part| part.end));
            // A base that cannot be read is no error: the thread still has all lines of the parts that were found.
            let found = match files.segment(segment_id) {
                None => Err(("there is no such segment in this home", false)),
                Some(_) if !seen.insert(segment_id) => Err(("the segments refer to each other in a circle", false)),
                Some(_) if parts.len() >= MAX_PARTS => {
                    Err(("the history goes through more segments than the limit of 10,000", false))
                }
                Some(file) => read_head(file)
                    .map(|head| (file, head))
                    .map_err(|error| ("the segment cannot be read", error.is_gone())),
            };
            match found {
                Ok((file, head)) => {
                    parts.push(HistoryPart { file: file.clone(), end: Some(end) });
                    base = head.and_then(|head| head.history_base);
                }
                Err((reason, is_gone)) => missing = Some(MissingBase { segment_id, end, reason, is_gone }),
            }
        }
        parts.reverse();
        Ok(Self { thread_id, parts, missing })
    }

    /// Returns the newest segment of the thread, to which a writer appends.
    #[must_use]
    pub fn newest(&self) -> &RolloutFile {
        &self.parts[self.parts.len() - 1].file
    }

    /// Returns the time at which the thread was created, for a log that does not record it: the time in its id, or else in the name
    /// of the oldest file.
    #[must_use]
    pub fn fallback_created_at(&self) -> Timestamp {
        self.thread_id.made_at().unwrap_or_else(|| self.parts[0].file.name.created_utc())
    }

    /// Returns whether a part is inherited by reference from another thread.
    #[must_use]
    pub fn is_inherited(&self, part: usize) -> bool {
        self.parts[part].file.name.thread_id != self.thread_id
    }

    /// Returns a reader of the history, which begins with the oldest inherited line.
    #[must_use]
    pub fn reader(&self) -> HistoryReader<'_> {
        self.reader_skipping(|_| false)
    }

    /// Returns a reader that reads the history from its end.
    #[must_use]
    pub fn backwards(&self) -> BackwardReader<'_> {
        BackwardReader::new(&self.parts)
    }

    /// Returns a reader of the history that skips every line for whose bytes `skip` returns `true` ([`RolloutReader::skipping`]).
    #[must_use]
    pub fn reader_skipping(&self, skip: fn(&[u8]) -> bool) -> HistoryReader<'_> {
        HistoryReader::new(&self.parts, skip)
    }
}

/// Returns the newest segment that holds a line.
///
/// Other programs create a segment and then write its head. If they die in between, the segment is empty or its head is torn.
/// Such a segment must not hide the history before it.
fn find_newest_segment(files: &HomeFiles, thread_id: ThreadId) -> Option<&RolloutFile> {
    match files.segments(thread_id) {
        [] => None,
        [only] => Some(only),
        segments => segments.iter().rev().find(|file| holds_a_line(file)).or(segments.last()),
    }
}

fn holds_a_line(file: &RolloutFile) -> bool {
    // A file that cannot be read may hold lines. Reading the history then fails with the reason.
    let Ok(mut entries) = RolloutReader::open(&file.path) else { return true };
    entries.any(|entry| !matches!(entry, Ok(Entry::Damage(_))))
}
