//! Diverged histories: lines of a thread that no history contains, although nobody took them back.
//!
//! A revert of a paginated thread begins a segment and abandons an older one. A program that does not notice goes on writing in the
//! abandoned segment: Codex does so if its database names that segment. No reader shows these lines.
//!
//! # The rule
//!
//! Each segment but the first was begun by a program that had the thread open at some segment, its *predecessor*. That is the youngest
//! older segment whose history contains the whole history that the new segment inherits:
//!
//! ```text
//! A   0 1 2 3 4 5 6 7                 predecessor   what of it was abandoned knowingly
//! B   base: A before 6     6 7 8      A             what A had when B began
//! C   base: A before 3     3 4        B             what B had when C began
//! D   base: B before 8     8 9        B, not C: 6 and 7 are not in the history of C
//! ```
//!
//! A segment may hold diverged lines in two cases:
//!
//! - It is the predecessor of others, and has lines that are younger than the youngest of these. Lines 9 and 10 that are appended to A
//!   after B began are such lines.
//! - It is the predecessor of none, and not the newest one, like C above: the program that began D did not know C.
//!
//! Only lines that say something count ([`is_conversation`]): a program that abandons a segment may still note in it how a turn ended.
//! Times are compared exactly. The line that is as old as the head is older: a turn takes longer than a millisecond to begin.
//! Lines to which a segment refers are not diverged, because its history shows them; a repair forks the history in this way.
//!
//! Clocks matter in the first case only. If the clock of the program that goes on is behind, its lines look abandoned, until one of
//! them is younger than the new segment. If it was ahead before the revert, lines that were taken back look diverged; a fork
//! of them does no harm.

use std::collections::HashMap;

use selvedge_history::{is_conversation, opens_turn, segment_head};
use selvedge_protocol::log::{Entry, LineRecord};
use selvedge_protocol::{HistoryBase, SegmentId, ThreadId, Timestamp};
use serde::Serialize;

use super::resolve::ResolvedHistory;
use crate::error::Result;
use crate::home::{HomeFiles, RolloutFile};
use crate::reader::RolloutReader;
use crate::reverse::ReverseReader;

/// How many bases are followed from one segment. More than real threads have.
const MAX_BASES: usize = 10_000;

/// An abandoned segment with lines that no history contains.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct DivergedSegment {
    /// The segment.
    pub segment_id: SegmentId,
    /// The file of the segment.
    #[serde(skip)]
    pub file: RolloutFile,
    /// The time at which the thread was continued in another segment. `None` if the segment never was the newest one for the program
    /// that began the next one.
    pub abandoned_at: Option<Timestamp>,
    /// The time of the first diverged line.
    pub first_at: Option<Timestamp>,
    /// The time of the last diverged line.
    pub last_at: Option<Timestamp>,
    /// How many lines are diverged.
    pub lines: u64,
    /// How many turns begin in these lines.
    pub turns: u64,
    /// The base of a fork that contains the whole history of the segment.
    #[serde(skip)]
    pub end: HistoryBase,
}

impl DivergedSegment {
    /// Finds the diverged segments of a thread, the oldest first. Reads the heads of the thread's segments, and of an abandoned
    /// segment only the lines that are younger than the one that follows it. A thread with one segment costs nothing.
    ///
    /// `referenced_end` returns the highest byte of a segment to which any segment of the home refers. It is called only for a
    /// segment that seems to be diverged.
    ///
    /// # Errors
    /// If a file cannot be read, and those of `referenced_end`.
    pub fn find(
        files: &HomeFiles,
        thread_id: ThreadId,
        mut referenced_end: impl FnMut(SegmentId) -> Result<u64>,
    ) -> Result<Vec<Self>> {
        if files.segments(thread_id).len() < 2 {
            return Ok(Vec::new());
        }
        let Some(resolved) = ResolvedHistory::resolve(files, thread_id)? else { return Ok(Vec::new()) };
        let newest = resolved.newest().name.segment_id();
        let mut heads = SegmentHeads { files, known: HashMap::new() };
        let mut segments = Vec::new();
        for file in files.segments(thread_id) {
            segments.push((file, heads.read(file)?));
            if file.name.segment_id() == newest {
                // What comes after it holds no line.
                break;
            }
        }
        let mut abandoned = vec![Abandonment::default(); segments.len()];
        for later in 1..segments.len() {
            let (file, head) = &segments[later];
            let predecessor = heads.predecessor(&segments[..later], head)?;
            let segment_id = segments[predecessor].0.name.segment_id();
            let base = head.base.as_ref().filter(|base| base.thread_id == Some(segment_id));
            let inherited = base.and_then(|base| base.end_byte_offset).unwrap_or(0);
            let known = &mut abandoned[predecessor];
            *known = Abandonment { at: known.at.max(head.began_at(file)), inherited: known.inherited.max(inherited) };
        }
        let mut found = Vec::new();
        for ((file, _), abandonment) in segments.iter().zip(&abandoned).take(segments.len() - 1) {
            if let Some(tail) = DivergedTail::read(file, abandonment)?
                && tail.conversation_end > referenced_end(file.name.segment_id())?
            {
                found.extend(tail.of(file, abandonment));
            }
        }
        Ok(found)
    }
}

/// What is known about the abandonment of a segment.
#[derive(Clone, Debug, Default)]
struct Abandonment {
    /// When the youngest segment began whose predecessor is this one. `None` if there is none.
    at: Option<Timestamp>,
    /// The byte before which the lines of the segment are in the history of such a segment.
    inherited: u64,
}

/// The lines at the end of a segment that came after it was abandoned.
#[derive(Debug, Default)]
struct DivergedTail {
    lines: u64,
    turns: u64,
    first_at: Option<Timestamp>,
    last_at: Option<Timestamp>,
    /// The byte after the last line, and its ordinal.
    end: (u64, Option<u64>),
    /// The byte after the last line that says something. 0 if none does.
    conversation_end: u64,
}

impl DivergedTail {
    /// Reads the end of a segment. `None` if no line in it says something.
    fn read(file: &RolloutFile, abandonment: &Abandonment) -> Result<Option<Self>> {
        let is_before = |record: &LineRecord| {
            let is_older = record.line.timestamp().zip(abandonment.at).is_some_and(|(line, head)| line <= head);
            record.range.start < abandonment.inherited || is_older
        };
        let mut tail = Self::default();
        if file.name.compressed {
            // A compressed file can only be read forwards, from its beginning. It has the time of its last append, so most are not
            // read at all.
            if !may_be_younger(file, abandonment) {
                return Ok(None);
            }
            for entry in RolloutReader::open(&file.path)? {
                match entry? {
                    Entry::Line(record) if is_before(&record) => tail = Self::default(),
                    Entry::Line(record) => tail.add(&record),
                    Entry::Damage(_) => {}
                }
            }
        } else {
            for entry in ReverseReader::open(&file.path)? {
                match entry? {
                    Entry::Line(record) if is_before(&record) => break,
                    Entry::Line(record) => tail.add(&record),
                    Entry::Damage(_) => {}
                }
            }
        }
        Ok((tail.conversation_end > 0).then_some(tail))
    }

    /// Adds a line, from whichever direction.
    fn add(&mut self, record: &LineRecord) {
        self.lines += 1;
        if let Some(at) = record.line.timestamp() {
            self.first_at = Some(self.first_at.map_or(at, |first| first.min(at)));
            self.last_at = self.last_at.max(Some(at));
        }
        let end = record.range.end;
        if end > self.end.0 {
            self.end = (end, record.line.ordinal());
        }
        if is_conversation(&record.line) {
            self.conversation_end = self.conversation_end.max(end);
            self.turns += u64::from(opens_turn(&record.line));
        }
    }

    fn of(self, file: &RolloutFile, abandonment: &Abandonment) -> Option<DivergedSegment> {
        let segment_id = file.name.segment_id();
        let (byte, ordinal) = self.end;
        let end = HistoryBase {
            thread_id: Some(segment_id),
            end_ordinal_exclusive: Some(ordinal?.saturating_add(1)),
            end_byte_offset: Some(byte),
            ..HistoryBase::default()
        };
        Some(DivergedSegment {
            segment_id,
            file: file.clone(),
            abandoned_at: abandonment.at,
            first_at: self.first_at,
            last_at: self.last_at,
            lines: self.lines,
            turns: self.turns,
            end,
        })
    }
}

/// Returns whether a compressed file may hold a line that is younger than the abandonment of its segment.
fn may_be_younger(file: &RolloutFile, abandonment: &Abandonment) -> bool {
    let modified = std::fs::metadata(&file.path).and_then(|metadata| metadata.modified()).ok().map(Timestamp::from);
    modified.zip(abandonment.at).is_none_or(|(modified, at)| modified > at)
}

/// What the head of a segment says about its history.
#[derive(Clone, Debug, Default)]
struct LineageHead {
    base: Option<HistoryBase>,
    /// Whether the segment is a copy of a whole history, which has no base any more.
    is_copy: bool,
    /// The time of the first line.
    written_at: Option<Timestamp>,
}

impl LineageHead {
    fn began_at(&self, file: &RolloutFile) -> Option<Timestamp> {
        let id_time = file.name.segment_id().made_at();
        // The first line of a copy is older than the copy: it has the time of the head that it replaces.
        if self.is_copy { id_time } else { self.written_at.or(id_time) }
    }
}

/// The heads of segments, each of which is read once.
struct SegmentHeads<'a> {
    files: &'a HomeFiles,
    known: HashMap<SegmentId, LineageHead>,
}

impl SegmentHeads<'_> {
    fn read(&mut self, file: &RolloutFile) -> Result<LineageHead> {
        if let Some(head) = self.known.get(&file.name.segment_id()) {
            return Ok(head.clone());
        }
        let mut written_at = None;
        let entries = RolloutReader::open(&file.path)?.inspect(|entry| {
            if let (None, Ok(Entry::Line(record))) = (written_at, entry) {
                written_at = record.line.timestamp();
            }
        });
        let head = segment_head(file.name.thread_id, entries)?.unwrap_or_default();
        let head = LineageHead { base: head.history_base, is_copy: head.copied_base.is_some(), written_at };
        self.known.insert(file.name.segment_id(), head.clone());
        Ok(head)
    }

    /// Returns the index of the segment that was the current one for the program that began a segment with this head. `older` are
    /// the older segments of the thread. If their histories do not tell, it is the youngest one.
    fn predecessor(&mut self, older: &[(&RolloutFile, LineageHead)], head: &LineageHead) -> Result<usize> {
        let youngest = older.len() - 1;
        // Without a base, nothing is inherited, which every history contains.
        let Some(base) = &head.base else { return Ok(youngest) };
        for (index, (file, _)) in older.iter().enumerate().rev() {
            if self.history_contains(file, base)? {
                return Ok(index);
            }
        }
        Ok(youngest)
    }

    /// Returns whether the history that ends with a segment contains everything before the end of a base.
    fn history_contains(&mut self, newest: &RolloutFile, base: &HistoryBase) -> Result<bool> {
        let mut file = newest;
        let mut end: Option<HistoryBase> = None;
        for _ in 0..MAX_BASES {
            if base.thread_id == Some(file.name.segment_id()) {
                return Ok(end.is_none_or(|end| is_within(base, &end)));
            }
            let Some(mut next) = self.read(file)?.base else { return Ok(false) };
            let Some(next_file) = next.thread_id.and_then(|segment_id| self.files.segment(segment_id)) else {
                return Ok(false);
            };
            // A part ends where the one that refers to it says, or before that, where a younger part has left this history.
            let outer = end.and_then(|end| end.end_ordinal_exclusive);
            next.end_ordinal_exclusive = match (next.end_ordinal_exclusive, outer) {
                (Some(inner), Some(outer)) => Some(inner.min(outer)),
                (inner, outer) => inner.or(outer),
            };
            (file, end) = (next_file, Some(next));
        }
        Ok(false)
    }
}

/// Returns whether a base ends at or before the end of another base on the same segment.
fn is_within(base: &HistoryBase, end: &HistoryBase) -> bool {
    match (base.end_ordinal_exclusive, end.end_ordinal_exclusive) {
        (Some(base), Some(end)) => base <= end,
        _ => base.end_byte_offset <= end.end_byte_offset,
    }
}
