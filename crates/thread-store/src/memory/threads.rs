//! The state of the store: threads, their segments, and their writers. Methods that several operations share.

use std::collections::{HashMap, HashSet};

use selvedge_protocol::{RolloutItem, SegmentId, SessionMeta, StoredThread, ThreadId, ThreadMetadataPatch, Timestamp};

use crate::implement::{
    ChangeLog, RecentBatches, Segment, SegmentChain, SegmentTail, WholeHistory, next_segment_id, segment_order,
};
use crate::{Holder, Result, StoreError};

/// Identifies a store among all stores over the same threads. Each store represents a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct WriterId(u64);

/// All threads and segments.
#[derive(Default)]
pub(super) struct MemoryState {
    /// How many stores were created over these threads.
    writers: u64,
    threads: HashMap<ThreadId, MemoryThread>,
    segments: HashMap<SegmentId, Segment>,
    /// The heads of lazy threads. Only their writers know of them, so two writers can each have one with the same id.
    /// The first one that appends gets the id.
    lazy: HashMap<(WriterId, ThreadId), SessionMeta>,
    /// The segments that any stored segment has named as its base, whether they exist or not. Ids are never removed.
    bases: HashSet<SegmentId>,
    /// The bytes of segments whose last part was not copied in yet.
    imports: HashMap<SegmentId, Vec<u8>>,
    changes: ChangeLog,
}

/// A stored thread.
pub(super) struct MemoryThread {
    /// The tail of the newest segment, so that an append does not read it.
    tail: SegmentTail,
    /// The thread's own segments, oldest first. Empty only while the thread is being inserted. The history of the
    /// thread is that of the newest segment with a line.
    segments: Vec<SegmentId>,
    /// The thread record: what was derived from the log when the thread was created, imported or changed, and all
    /// patches since.
    ///
    /// An append does not change it: deriving metadata from appended items is the task of the caller. The name and the
    /// archived flag in it are not used; `name` and `archived` below are, because no log has them.
    record: StoredThread,
    pub(super) writer: Option<WriterId>,
    pub(super) name: Option<String>,
    pub(super) archived: bool,
    pub(super) batches: RecentBatches,
    /// The number of the newest claim.
    pub(super) epoch: u64,
}

impl MemoryState {
    pub(super) fn new_writer(&mut self) -> WriterId {
        self.writers += 1;
        WriterId(self.writers)
    }

    /// Returns how many threads are stored.
    pub(super) fn len(&self) -> usize {
        self.threads.len()
    }

    pub(super) fn thread(&self, thread_id: ThreadId) -> Result<&MemoryThread> {
        self.threads.get(&thread_id).ok_or(StoreError::not_found(thread_id))
    }

    pub(super) fn thread_mut(&mut self, thread_id: ThreadId) -> Result<&mut MemoryThread> {
        self.threads.get_mut(&thread_id).ok_or(StoreError::not_found(thread_id))
    }

    pub(super) fn threads_mut(&mut self) -> impl Iterator<Item = &mut MemoryThread> {
        self.threads.values_mut()
    }

    pub(super) fn is_lazy(&self, writer: WriterId, thread_id: ThreadId) -> bool {
        self.lazy.contains_key(&(writer, thread_id))
    }

    pub(super) fn lazy_mut(&mut self) -> &mut HashMap<(WriterId, ThreadId), SessionMeta> {
        &mut self.lazy
    }

    /// Fails if the writer cannot create a thread with this id.
    pub(super) fn check_free(&self, writer: WriterId, thread_id: ThreadId) -> Result<()> {
        if self.threads.contains_key(&thread_id) || self.is_lazy(writer, thread_id) {
            return Err(StoreError::AlreadyExists { thread_id });
        }
        Ok(())
    }

    /// Fails if a stored thread is live in any store except this one.
    pub(super) fn check_cold(&self, thread_id: ThreadId, except: Option<WriterId>) -> Result<()> {
        match self.thread(thread_id)?.writer {
            Some(writer) if Some(writer) != except => Err(self.conflict(thread_id)),
            _ => Ok(()),
        }
    }

    /// Returns the error for a thread that has a writer. All stores over the same threads are in this process.
    pub(super) fn conflict(&self, thread_id: ThreadId) -> StoreError {
        let is_live = self.threads.get(&thread_id).is_some_and(|thread| thread.writer.is_some());
        let holder = if is_live { this_process() } else { Holder::default() };
        StoreError::Conflict { thread_id, holder, since: None }
    }

    pub(super) fn record(&self, thread_id: ThreadId) -> Result<StoredThread> {
        Ok(self.thread(thread_id)?.record())
    }

    pub(super) fn records(&self) -> impl Iterator<Item = StoredThread> {
        self.threads.values().map(MemoryThread::record)
    }

    pub(super) fn thread_ids(&self) -> Vec<ThreadId> {
        self.threads.keys().copied().collect()
    }

    /// Returns how many bytes the own segments of a thread have together.
    pub(super) fn own_bytes(&self, thread_id: ThreadId) -> u64 {
        self.segments.values().filter(|segment| segment.thread_id == thread_id).map(Segment::size).sum()
    }

    /// Returns the thread's own segments, oldest first.
    pub(super) fn segment_ids(&self, thread_id: ThreadId) -> Result<&[SegmentId]> {
        Ok(&self.thread(thread_id)?.segments)
    }

    /// Returns the chain of segments that a thread's history goes through.
    pub(super) fn chain(&self, thread_id: ThreadId) -> Result<SegmentChain<&Segment>> {
        let is_live = self.thread(thread_id)?.writer.is_some();
        SegmentChain::follow(self.newest_segment(thread_id)?, is_live, |id| Ok(self.segment(id)))
    }

    /// Returns the chains that end with the thread's own segments, abandoned ones too, the oldest first.
    pub(super) fn own_chains(&self, thread_id: ThreadId) -> Result<Vec<SegmentChain<&Segment>>> {
        let own = self.segment_ids(thread_id)?.iter().filter_map(|id| self.segment(*id));
        own.map(|segment| SegmentChain::follow(segment, false, |id| Ok(self.segment(id)))).collect()
    }

    /// Returns all lines of the thread, inherited ones first.
    pub(super) fn history(&self, thread_id: ThreadId) -> Result<WholeHistory> {
        Ok(self.chain(thread_id)?.history())
    }

    /// Returns the newest segment of a thread that has a line. If none has, returns the newest one.
    ///
    /// A segment without a line was never begun, so the history does not go through it.
    pub(super) fn newest_segment(&self, thread_id: ThreadId) -> Result<&Segment> {
        let own = &self.thread(thread_id)?.segments;
        // The newest segment is not always the right one: a segment without a line cannot be continued.
        let segments = || own.iter().rev().filter_map(|id| self.segments.get(id));
        let newest = segments().find(|segment| segment.holds_a_line()).or_else(|| segments().next());
        newest.ok_or(StoreError::not_found(thread_id))
    }

    /// Inserts a thread without segments. The caller adds the first one with `put_segment`.
    pub(super) fn insert_thread(&mut self, thread_id: ThreadId, created: Timestamp) {
        let thread = MemoryThread {
            tail: SegmentTail::default(),
            segments: Vec::new(),
            record: StoredThread::new(thread_id, created),
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

    /// Appends bytes to a segment of a thread, as they are.
    pub(super) fn extend_segment(&mut self, thread_id: ThreadId, segment_id: SegmentId, bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        if let Some(segment) = self.segments.get_mut(&segment_id) {
            segment.extend(bytes);
        }
        self.note_base(segment_id);
        self.rederive(thread_id)
    }

    /// Returns the id for a new segment of a thread.
    pub(super) fn next_segment_id(&self, thread_id: ThreadId, now: Timestamp) -> Result<SegmentId> {
        Ok(next_segment_id(thread_id, self.segment_ids(thread_id)?.iter().copied(), now))
    }

    /// Adds a segment to its thread, or replaces the one with the same id.
    pub(super) fn put_segment(&mut self, segment: Segment) -> Result<()> {
        let (segment_id, thread_id) = (segment.id, segment.thread_id);
        self.segments.insert(segment_id, segment);
        self.note_base(segment_id);
        // The list is taken out, because sorting it needs the segments, which are in the same state.
        let mut own = std::mem::take(&mut self.thread_mut(thread_id)?.segments);
        if !own.contains(&segment_id) {
            own.push(segment_id);
        }
        own.sort_by_key(|id| {
            let created = self.segments.get(id).map_or(Timestamp::default(), |segment| segment.created);
            segment_order(thread_id, *id, created)
        });
        self.thread_mut(thread_id)?.segments = own;
        // The new segment may be the newest one, which changes the history, or one that others build on.
        self.rederive(thread_id)
    }

    /// Returns whether any segment names this one as its base. Only then can an import of it change other histories.
    pub(super) fn is_base(&self, segment_id: SegmentId) -> bool {
        self.bases.contains(&segment_id)
    }

    fn note_base(&mut self, segment_id: SegmentId) {
        let base = self.segments.get(&segment_id).and_then(Segment::base);
        self.bases.extend(base.and_then(|base| base.thread_id));
    }

    /// Appends items to a thread's history, all with the time `now`.
    pub(super) fn push_items(&mut self, thread_id: ThreadId, items: &[RolloutItem], now: Timestamp) -> Result<()> {
        let newest_id = self.newest_segment(thread_id)?.id;
        let thread = self.threads.get_mut(&thread_id).ok_or(StoreError::not_found(thread_id))?;
        let segment = self.segments.get_mut(&newest_id).ok_or(StoreError::not_found(thread_id))?;
        // The tail is kept beside the segment, so each line costs the same, however long the segment is.
        for item in items {
            segment.push_line(&thread.tail.next_line(now, item));
        }
        Ok(())
    }

    /// Derives the record and the tail of a thread from its whole history, after anything but an append has changed the
    /// history.
    pub(super) fn rederive(&mut self, thread_id: ThreadId) -> Result<()> {
        let record = self.history(thread_id)?.thread_record(self.thread(thread_id)?.record.created_at);
        let tail = self.newest_segment(thread_id)?.tail();
        let thread = self.thread_mut(thread_id)?;
        (thread.record, thread.tail) = (record, tail);
        Ok(())
    }

    /// Returns the ordinal of the thread's last line. `None` if it has none.
    pub(super) fn last_ordinal(&self, thread_id: ThreadId) -> Option<u64> {
        self.newest_segment(thread_id).ok()?.lines().next_back()?.line.ordinal()
    }

    /// Returns the other threads whose histories go through this one, in the order of their ids.
    pub(super) fn dependents(&self, thread_id: ThreadId) -> Vec<ThreadId> {
        // Chains are the only truth about dependencies: a list of dependents would have to be kept up to date by every
        // fork, revert, import and detach.
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

impl MemoryThread {
    /// Replaces the thread record and the name.
    pub(super) fn set_record(&mut self, record: StoredThread) {
        self.name.clone_from(&record.name);
        self.record = record;
    }

    /// Applies a patch to the thread record.
    pub(super) fn apply(&mut self, patch: &ThreadMetadataPatch) {
        patch.apply(&mut self.record);
    }

    fn record(&self) -> StoredThread {
        StoredThread { name: self.name.clone(), archived: self.archived, ..self.record.clone() }
    }
}

pub(super) fn this_process() -> Holder {
    Holder { process_id: Some(std::process::id()), ..Holder::default() }
}
