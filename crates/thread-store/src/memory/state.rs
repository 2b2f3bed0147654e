//! What is kept: threads, their segments, and who writes them.

use std::collections::HashMap;

use selvedge_protocol::{RolloutItem, SegmentId, SessionMeta, StoredThread, ThreadId, ThreadMetadataPatch, Timestamp};

use crate::implement::{
    ChangeLog, RecentBatches, Segment, SegmentChain, SegmentTail, WholeHistory, next_segment_id, segment_order,
};
use crate::{Holder, Result, StoreError};

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
    /// How the newest segment ends.
    tail: SegmentTail,
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
        self.segments.values().filter(|segment| segment.thread_id == thread_id).map(Segment::size).sum()
    }

    /// The thread's own segments, oldest first.
    pub(super) fn segment_ids(&self, thread_id: ThreadId) -> Result<&[SegmentId]> {
        Ok(&self.thread(thread_id)?.segments)
    }

    /// The segments that a thread's history goes through. The last turn of a thread that is live, here or in another store, may be
    /// going on.
    pub(super) fn chain(&self, thread_id: ThreadId) -> Result<SegmentChain<&Segment>> {
        let is_live = self.thread(thread_id)?.writer.is_some();
        SegmentChain::follow(self.newest_segment(thread_id)?, is_live, |id| Ok(self.segment(id)))
    }

    /// The thread's lines, inherited ones first.
    pub(super) fn history(&self, thread_id: ThreadId) -> Result<WholeHistory> {
        Ok(self.chain(thread_id)?.history())
    }

    /// The newest segment of a thread that holds a line: one that does not was never begun.
    pub(super) fn newest_segment(&self, thread_id: ThreadId) -> Result<&Segment> {
        let own = &self.thread(thread_id)?.segments;
        let segments = || own.iter().rev().filter_map(|id| self.segments.get(id));
        let newest = segments().find(|segment| segment.holds_a_line()).or_else(|| segments().next());
        newest.ok_or(StoreError::not_found(thread_id))
    }

    /// Stores a thread that has no segment yet.
    pub(super) fn insert_thread(&mut self, thread_id: ThreadId, created: Timestamp) {
        let thread = Thread {
            tail: SegmentTail::default(),
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

    /// The id of the next segment of a thread that is begun now.
    pub(super) fn next_segment_id(&self, thread_id: ThreadId, now: Timestamp) -> Result<SegmentId> {
        Ok(next_segment_id(thread_id, self.segment_ids(thread_id)?.iter().copied(), now))
    }

    /// Adds a segment to its thread, or puts it in the place of the one of its id.
    pub(super) fn put_segment(&mut self, segment: Segment) -> Result<()> {
        let (segment_id, thread_id) = (segment.id, segment.thread_id);
        self.segments.insert(segment_id, segment);
        let mut own = std::mem::take(&mut self.thread_mut(thread_id)?.segments);
        if !own.contains(&segment_id) {
            own.push(segment_id);
        }
        own.sort_by_key(|id| {
            let created = self.segments.get(id).map_or(Timestamp::default(), |segment| segment.created);
            segment_order(thread_id, *id, created)
        });
        self.thread_mut(thread_id)?.segments = own;
        self.refold(thread_id)
    }

    /// Writes items behind a thread's history, all at the time `now`.
    pub(super) fn push_items(&mut self, thread_id: ThreadId, items: &[RolloutItem], now: Timestamp) -> Result<()> {
        let newest_id = self.newest_segment(thread_id)?.id;
        let thread = self.threads.get_mut(&thread_id).ok_or(StoreError::not_found(thread_id))?;
        let segment = self.segments.get_mut(&newest_id).ok_or(StoreError::not_found(thread_id))?;
        for item in items {
            segment.push_line(&thread.tail.next_line(now, item));
        }
        Ok(())
    }

    /// Folds the whole history into the row and looks how it ends, after something else than an append has changed it.
    pub(super) fn refold(&mut self, thread_id: ThreadId) -> Result<()> {
        let row = self.history(thread_id)?.row(self.thread(thread_id)?.row.created_at);
        let tail = self.newest_segment(thread_id)?.tail();
        let thread = self.thread_mut(thread_id)?;
        (thread.row, thread.tail) = (row, tail);
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
            self.chain(**other).is_ok_and(|chain| chain.segments().any(|segment| segment.thread_id == thread_id))
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
    /// Sets what is said of the thread, and its name.
    pub(super) fn set_row(&mut self, row: StoredThread) {
        self.name.clone_from(&row.name);
        self.row = row;
    }

    /// Takes a patch into what is said of the thread.
    pub(super) fn apply(&mut self, patch: &ThreadMetadataPatch) {
        patch.apply(&mut self.row);
    }

    fn row(&self) -> StoredThread {
        StoredThread { name: self.name.clone(), archived: self.archived, ..self.row.clone() }
    }
}

pub(super) fn this_process() -> Holder {
    Holder { process_id: Some(std::process::id()), host: None }
}
