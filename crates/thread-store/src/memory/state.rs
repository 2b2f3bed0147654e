//! What is kept: threads, their segments, and who writes them.

use std::collections::HashMap;
use std::time::SystemTime;

use selvedge_history::{MetadataFold, TurnProjection};
use selvedge_protocol::log::Entry;
use selvedge_protocol::{
    HistoryBase, HistoryMode, RolloutItem, RolloutLine, SegmentId, SessionMeta, StoredThread, ThreadId,
    ThreadMetadataPatch, Timestamp,
};

use super::segment::{Parts, Segment};
use crate::implement::{ChangeLog, RecentBatches};
use crate::{Damage, Holder, Result, StoreError};

/// One of the stores over a state, as one of several processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Writer(u64);

/// All threads.
#[derive(Default)]
pub(super) struct State {
    writers: u64,
    threads: HashMap<ThreadId, Thread>,
    segments: HashMap<SegmentId, Segment>,
    /// Heads of created threads that nothing was appended to. Nobody but their writer knows of them, so two writers may
    /// each have one of the same id; the first to append gets it.
    lazy: HashMap<(Writer, ThreadId), SessionMeta>,
    /// What was copied in of segments that are not there as a whole yet.
    imports: HashMap<SegmentId, Vec<u8>>,
    changes: ChangeLog,
}

/// A stored thread.
pub(super) struct Thread {
    mode: HistoryMode,
    /// The thread's own segments, the newest last; never empty. Its history is that of the newest that holds a line.
    segments: Vec<SegmentId>,
    /// What is said of the thread: what its log said when it was made, imported or changed, and what was told since. An append
    /// changes nothing of it.
    row: StoredThread,
    pub(super) writer: Option<Writer>,
    pub(super) name: Option<String>,
    pub(super) archived: bool,
    pub(super) batches: RecentBatches,
    /// How many claims of the thread there were.
    pub(super) epoch: u64,
}

/// A thread's lines with how many of them, from the first, are other threads'.
pub(super) struct History {
    pub(super) lines: Vec<RolloutLine>,
    pub(super) inherited: usize,
    /// Where each of the lines ends.
    pub(super) ends: Vec<(SegmentId, u64)>,
    pub(super) damage: Vec<Damage>,
}

impl State {
    pub(super) fn new_writer(&mut self) -> Writer {
        self.writers += 1;
        Writer(self.writers)
    }

    /// How many threads are stored.
    pub(super) fn len(&self) -> usize {
        self.threads.len()
    }

    pub(super) fn thread(&self, thread_id: ThreadId) -> Result<&Thread> {
        self.threads.get(&thread_id).ok_or(StoreError::not_found(thread_id))
    }

    pub(super) fn thread_mut(&mut self, thread_id: ThreadId) -> Result<&mut Thread> {
        self.threads.get_mut(&thread_id).ok_or(StoreError::not_found(thread_id))
    }

    pub(super) fn threads_mut(&mut self) -> impl Iterator<Item = &mut Thread> {
        self.threads.values_mut()
    }

    pub(super) fn is_lazy(&self, writer: Writer, thread_id: ThreadId) -> bool {
        self.lazy.contains_key(&(writer, thread_id))
    }

    pub(super) fn lazy_mut(&mut self) -> &mut HashMap<(Writer, ThreadId), SessionMeta> {
        &mut self.lazy
    }

    /// Refuses an id that the writer cannot make a thread of, because there is one.
    pub(super) fn check_free(&self, writer: Writer, thread_id: ThreadId) -> Result<()> {
        if self.threads.contains_key(&thread_id) || self.is_lazy(writer, thread_id) {
            return Err(StoreError::AlreadyExists { thread_id });
        }
        Ok(())
    }

    /// Refuses a stored thread that is live anywhere but in `except`.
    pub(super) fn check_cold(&self, thread_id: ThreadId, except: Option<Writer>) -> Result<()> {
        match self.thread(thread_id)?.writer {
            Some(writer) if Some(writer) != except => Err(self.conflict(thread_id)),
            _ => Ok(()),
        }
    }

    /// The thread belongs to somebody: to this process, if it is live.
    pub(super) fn conflict(&self, thread_id: ThreadId) -> StoreError {
        let is_live = self.threads.get(&thread_id).is_some_and(|thread| thread.writer.is_some());
        let holder = if is_live { this_process() } else { Holder::default() };
        StoreError::Conflict { thread_id, holder, since: None }
    }

    pub(super) fn row(&self, thread_id: ThreadId) -> Result<StoredThread> {
        Ok(self.thread(thread_id)?.row())
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = StoredThread> {
        self.threads.values().map(Thread::row)
    }

    pub(super) fn thread_ids(&self) -> Vec<ThreadId> {
        self.threads.keys().copied().collect()
    }

    /// How many bytes the segments of a thread have.
    pub(super) fn own_bytes(&self, thread_id: ThreadId) -> u64 {
        self.segments.values().filter(|segment| segment.thread_id == thread_id).map(Segment::len).sum()
    }

    /// The thread's own segments, oldest first.
    pub(super) fn segment_ids(&self, thread_id: ThreadId) -> Result<&[SegmentId]> {
        Ok(&self.thread(thread_id)?.segments)
    }

    /// The segments that a thread's history goes through.
    pub(super) fn parts(&self, thread_id: ThreadId) -> Result<Parts<'_>> {
        Ok(Parts::of(self.newest_segment(thread_id)?, &self.segments))
    }

    /// The segments that a history goes through which ends with this one.
    pub(super) fn parts_of_segment(&self, segment_id: SegmentId) -> Option<Parts<'_>> {
        self.segments.get(&segment_id).map(|segment| Parts::of(segment, &self.segments))
    }

    /// The newest segment of a thread that holds a line: one that does not was never begun.
    pub(super) fn newest_segment(&self, thread_id: ThreadId) -> Result<&Segment> {
        let own = &self.thread(thread_id)?.segments;
        let segments = || own.iter().rev().filter_map(|id| self.segments.get(id));
        let newest = segments().find(|segment| segment.holds_a_line()).or_else(|| segments().next());
        newest.ok_or(StoreError::not_found(thread_id))
    }

    /// The thread's lines, inherited ones first.
    pub(super) fn history(&self, thread_id: ThreadId) -> Result<History> {
        let Parts { parts, missing } = self.parts(thread_id)?;
        let mut history = History { lines: Vec::new(), inherited: 0, ends: Vec::new(), damage: Vec::new() };
        history.damage.extend(missing.map(|(segment_id, missing)| Damage {
            place: format!("segment {segment_id}"),
            range: 0..missing.bytes.unwrap_or(0),
            line: 1,
            reason: format!("the history begins in this segment, and {}", missing.reason),
        }));
        for part in &parts {
            let segment = part.segment;
            for entry in part.entries() {
                match entry {
                    Entry::Line(record) => {
                        history.inherited += usize::from(segment.thread_id != thread_id);
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
                range: segment.len()..segment.len() + missing.bytes.unwrap_or(0),
                line: 0,
                reason: missing.reason,
            }));
        }
        Ok(history)
    }

    /// The turns of a history. The last turn of a thread that is live, here or in another store, may be going on.
    pub(super) fn turns(&self, thread_id: ThreadId, lines: &[RolloutLine]) -> Result<TurnProjection> {
        let is_live = self.thread(thread_id)?.writer.is_some();
        let mut turns = TurnProjection::new().live(is_live);
        for (position, line) in (0..).zip(lines) {
            turns.push(position, line);
        }
        Ok(turns)
    }

    /// How a segment names its base when it takes over the first `length` lines of a history; no base for none.
    pub(super) fn base(history: &History, length: usize) -> Option<HistoryBase> {
        let before = history.lines[..length].iter().zip(&history.ends).rev();
        let counted = before.filter_map(|(line, end)| Some((line.ordinal()?, end)));
        let (ordinal, (segment_id, byte)) = { counted }.next()?;
        Some(HistoryBase {
            thread_id: Some(*segment_id),
            end_ordinal_exclusive: Some(ordinal.saturating_add(1)),
            end_byte_offset: Some(*byte),
            ..HistoryBase::default()
        })
    }

    /// Stores a new thread that begins with `head` and, behind it, with bytes that were copied.
    pub(super) fn insert(&mut self, thread_id: ThreadId, head: SessionMeta, copied: &[u8]) -> Result<()> {
        self.insert_thread(thread_id, head.mode(), head.timestamp.unwrap_or_default());
        self.begin_segment(thread_id, thread_id.into(), &[head.into()])?;
        self.extend_segment(thread_id, thread_id.into(), copied)
    }

    /// Stores a thread that has no segment yet.
    pub(super) fn insert_thread(&mut self, thread_id: ThreadId, mode: HistoryMode, created: Timestamp) {
        let thread = Thread {
            mode,
            segments: Vec::new(),
            row: StoredThread::new(thread_id, created),
            writer: None,
            name: None,
            archived: false,
            batches: RecentBatches::default(),
            epoch: 1,
        };
        self.threads.insert(thread_id, thread);
    }

    pub(super) fn segment(&self, segment_id: SegmentId) -> Option<&Segment> {
        self.segments.get(&segment_id)
    }

    pub(super) fn change_log(&self) -> &ChangeLog {
        &self.changes
    }

    pub(super) fn change_log_mut(&mut self) -> &mut ChangeLog {
        &mut self.changes
    }

    pub(super) fn imports_mut(&mut self) -> &mut HashMap<SegmentId, Vec<u8>> {
        &mut self.imports
    }

    /// Appends bytes to a segment of a thread as they are.
    pub(super) fn extend_segment(&mut self, thread_id: ThreadId, segment_id: SegmentId, bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        if let Some(segment) = self.segments.get_mut(&segment_id) {
            segment.extend(bytes);
        }
        self.refold(thread_id)
    }

    /// Goes on in a new segment that begins with these items, the head first.
    pub(super) fn begin_segment(
        &mut self,
        thread_id: ThreadId,
        segment_id: SegmentId,
        items: &[RolloutItem],
    ) -> Result<()> {
        let base = items.first().and_then(base_ordinal);
        let now = Timestamp::from(SystemTime::now());
        let mut segment = Segment::new(segment_id, thread_id, now);
        let is_counted = self.thread(thread_id)?.mode == HistoryMode::Paginated;
        for (ordinal, item) in (base.unwrap_or(0)..).zip(items) {
            segment.push_line(&RolloutLine::new(now, is_counted.then_some(ordinal), item));
        }
        self.put_segment(segment)
    }

    /// Adds a segment to its thread, or puts it in the place of the one of its id.
    pub(super) fn put_segment(&mut self, segment: Segment) -> Result<()> {
        let (segment_id, thread_id) = (segment.id, segment.thread_id);
        self.segments.insert(segment_id, segment);
        let mut own = std::mem::take(&mut self.thread_mut(thread_id)?.segments);
        if !own.contains(&segment_id) {
            own.push(segment_id);
        }
        // Of ids that carry no time, the segments were begun in the order of their creation.
        own.sort_by_key(|id| {
            let created = self.segments.get(id).map(|segment| segment.created);
            (*id != SegmentId::from(thread_id), id.made_at(), created, *id)
        });
        self.thread_mut(thread_id)?.segments = own;
        let mode = self.newest_segment(thread_id)?.mode();
        self.thread_mut(thread_id)?.mode = mode;
        self.refold(thread_id)
    }

    /// Writes items behind a thread's history, all at the same time, and says when that was.
    pub(super) fn push_items(&mut self, thread_id: ThreadId, items: &[RolloutItem]) -> Result<Timestamp> {
        let now = Timestamp::from(SystemTime::now());
        let newest = self.newest_segment(thread_id)?;
        let newest_id = newest.id;
        let highest = newest.lines().rev().filter_map(|record| record.line.ordinal()).next();
        let first = highest.map(|ordinal| ordinal.saturating_add(1));
        let first = first.or_else(|| newest.base().and_then(|base| base.end_ordinal_exclusive)).unwrap_or(0);
        let is_counted = self.thread(thread_id)?.mode == HistoryMode::Paginated;
        let segment = self.segments.get_mut(&newest_id).ok_or(StoreError::not_found(thread_id))?;
        for (ordinal, item) in (first..).zip(items) {
            segment.push_line(&RolloutLine::new(now, is_counted.then_some(ordinal), item));
        }
        Ok(now)
    }

    /// Folds the whole history into the row, after something else than an append has changed it.
    pub(super) fn refold(&mut self, thread_id: ThreadId) -> Result<()> {
        let history = self.history(thread_id)?;
        let thread = self.thread_mut(thread_id)?;
        let mut fold = MetadataFold::new(thread_id, thread.row.created_at);
        for line in &history.lines {
            fold.observe_line(line);
        }
        thread.row = fold.into_thread();
        Ok(())
    }

    /// The ordinal of the thread's last line.
    pub(super) fn last_ordinal(&self, thread_id: ThreadId) -> Option<u64> {
        self.newest_segment(thread_id).ok()?.lines().next_back()?.line.ordinal()
    }

    /// The other threads whose histories go through this one, by id.
    pub(super) fn dependents(&self, thread_id: ThreadId) -> Vec<ThreadId> {
        let others = self.threads.keys().filter(|other| **other != thread_id);
        let goes_through = others.filter(|other| {
            self.parts(**other)
                .is_ok_and(|history| history.parts.iter().any(|part| part.segment.thread_id == thread_id))
        });
        let mut dependents: Vec<_> = goes_through.copied().collect();
        dependents.sort_unstable();
        dependents
    }

    pub(super) fn remove(&mut self, thread_id: ThreadId) {
        self.threads.remove(&thread_id);
        self.segments.retain(|_, segment| segment.thread_id != thread_id);
    }
}

impl Thread {
    pub(super) fn mode(&self) -> HistoryMode {
        self.mode
    }

    /// Takes a patch into what is said of the thread.
    pub(super) fn apply(&mut self, patch: &ThreadMetadataPatch) {
        patch.apply(&mut self.row);
    }

    fn row(&self) -> StoredThread {
        StoredThread { name: self.name.clone(), archived: self.archived, ..self.row.clone() }
    }
}

/// The ordinal that a segment begins with, by its head.
fn base_ordinal(head: &RolloutItem) -> Option<u64> {
    let RolloutItem::SessionMeta(head) = head else { return None };
    head.history_base.as_ref()?.end_ordinal_exclusive
}

pub(super) fn this_process() -> Holder {
    Holder { process_id: Some(std::process::id()), host: None }
}
