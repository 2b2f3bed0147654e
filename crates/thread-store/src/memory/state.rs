//! What is kept: threads, their segments, and who writes them.

use std::collections::HashMap;
use std::time::SystemTime;

use selvedge_history::{MetadataFold, TurnProjection};
use selvedge_protocol::{
    HistoryBase, HistoryMode, RolloutItem, RolloutLine, SegmentId, SessionMeta, StoredThread, ThreadId, Timestamp,
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
}

/// A stored thread.
pub(super) struct Thread {
    mode: HistoryMode,
    /// The thread's own segments, the newest last; never empty. Its history is that of the newest.
    segments: Vec<SegmentId>,
    /// The fold over the history, kept up with every line.
    fold: MetadataFold,
    pub(super) writer: Option<Writer>,
    pub(super) name: Option<String>,
    pub(super) archived: bool,
}

/// A stretch of lines with what it builds on.
struct Segment {
    thread_id: ThreadId,
    base: Option<Base>,
    lines: Vec<RolloutLine>,
}

/// The beginning of a segment's history: that of another segment, up to a point within it.
#[derive(Clone, Copy)]
struct Base {
    segment: SegmentId,
    /// How many lines of the other one's history; in paginated mode, the ordinal at which the segment goes on.
    length: usize,
}

impl Segment {
    /// How many lines stand before the segment's first.
    fn start(&self) -> usize {
        self.base.map_or(0, |base| base.length)
    }
}

/// A thread's lines with how many of them, from the first, are other threads'.
pub(super) struct History {
    pub(super) lines: Vec<RolloutLine>,
    pub(super) inherited: usize,
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

    pub(super) fn is_lazy(&self, writer: Writer, thread_id: ThreadId) -> bool {
        self.lazy.contains_key(&(writer, thread_id))
    }

    pub(super) fn lazy_mut(&mut self) -> &mut HashMap<(Writer, ThreadId), SessionMeta> {
        &mut self.lazy
    }

    /// Refuses an id that the writer cannot make a thread of, because there is one.
    pub(super) fn check_free(&self, writer: Writer, thread_id: ThreadId) -> Result<()> {
        if self.threads.contains_key(&thread_id) || self.is_lazy(writer, thread_id) {
            return Err(StoreError::invalid(format!("there is a thread {thread_id} already")));
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
        StoreError::Conflict { thread_id, holder }
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

    /// The lines of the thread's newest segment.
    pub(super) fn own_lines(&self, thread_id: ThreadId) -> Result<&[RolloutLine]> {
        let newest = self.segments.get(&self.thread(thread_id)?.newest());
        Ok(newest.map_or(&[], |segment| &segment.lines))
    }

    /// How many bytes the segments of a thread have.
    pub(super) fn own_bytes(&self, thread_id: ThreadId) -> u64 {
        let segments = self.segments.values().filter(|segment| segment.thread_id == thread_id);
        segments.flat_map(|segment| &segment.lines).map(|line| line.text().len() as u64 + 1).sum()
    }

    /// The thread's lines, inherited ones first.
    pub(super) fn history(&self, thread_id: ThreadId) -> Result<History> {
        let parts: Vec<_> = self.segments_of(self.thread(thread_id)?.newest()).collect();
        let inherited = parts.iter().filter(|(segment, _)| segment.thread_id != thread_id);
        Ok(History {
            inherited: inherited.map(|(_, lines)| lines).sum(),
            lines: parts.iter().rev().flat_map(|(segment, lines)| &segment.lines[..*lines]).cloned().collect(),
        })
    }

    /// The turns of a history, as `writer` sees them: in the store where a thread is live, its last turn may run still.
    pub(super) fn turns(&self, writer: Writer, thread_id: ThreadId, lines: &[RolloutLine]) -> Result<TurnProjection> {
        let is_live = self.thread(thread_id)?.writer == Some(writer);
        let mut turns = TurnProjection::new().live(is_live);
        for (position, line) in (0..).zip(lines) {
            turns.push(position, line);
        }
        Ok(turns)
    }

    /// How a segment names its base when it takes over the first `length` lines of a thread's history; no base for none.
    pub(super) fn base(&self, thread_id: ThreadId, length: usize) -> Result<Option<HistoryBase>> {
        let mut segment_id = self.thread(thread_id)?.newest();
        while length > 0
            && let Some(segment) = self.segments.get(&segment_id)
        {
            match segment.base {
                Some(base) if length <= base.length => segment_id = base.segment,
                _ => return Ok(Some(segment.as_base(segment_id, length))),
            }
        }
        Ok(None)
    }

    /// Stores a new thread that begins with `head` and, behind it, with lines that were copied.
    pub(super) fn insert(&mut self, thread_id: ThreadId, head: SessionMeta, copied: Vec<RolloutLine>) -> Result<()> {
        let thread = Thread {
            mode: head.mode(),
            segments: Vec::new(),
            fold: MetadataFold::new(thread_id, head.timestamp.unwrap_or_default()),
            writer: None,
            name: None,
            archived: false,
        };
        self.threads.insert(thread_id, thread);
        self.begin_segment(thread_id, thread_id.into(), &[head.into()])?;
        self.push_lines(thread_id, copied)
    }

    /// Goes on in a new segment. Where its history begins is what the head, the first of the items, says.
    pub(super) fn begin_segment(
        &mut self,
        thread_id: ThreadId,
        segment_id: SegmentId,
        items: &[RolloutItem],
    ) -> Result<()> {
        let base = items.first().and_then(base_of);
        self.segments.insert(segment_id, Segment { thread_id, base, lines: Vec::new() });
        self.thread_mut(thread_id)?.segments.push(segment_id);
        self.push_items(thread_id, items)?;
        self.refold(thread_id)
    }

    /// Goes on in a new segment that holds these lines, the whole history.
    pub(super) fn copy_into_segment(
        &mut self,
        thread_id: ThreadId,
        segment_id: SegmentId,
        lines: Vec<RolloutLine>,
    ) -> Result<()> {
        self.segments.insert(segment_id, Segment { thread_id, base: None, lines });
        self.thread_mut(thread_id)?.segments.push(segment_id);
        self.refold(thread_id)
    }

    /// Writes items behind a thread's history, all at the same time.
    pub(super) fn push_items(&mut self, thread_id: ThreadId, items: &[RolloutItem]) -> Result<()> {
        let now = Timestamp::from(SystemTime::now());
        let thread = self.thread(thread_id)?;
        let first = self.segments.get(&thread.newest()).map_or(0, |segment| segment.start() + segment.lines.len());
        let is_counted = thread.mode == HistoryMode::Paginated;
        let lines = (first as u64..).zip(items);
        let lines = lines.map(|(ordinal, item)| RolloutLine::new(now, is_counted.then_some(ordinal), item)).collect();
        self.push_lines(thread_id, lines)
    }

    fn push_lines(&mut self, thread_id: ThreadId, lines: Vec<RolloutLine>) -> Result<()> {
        let thread = self.threads.get_mut(&thread_id).ok_or(StoreError::not_found(thread_id))?;
        for line in &lines {
            thread.fold.observe_line(line);
        }
        if let Some(segment) = self.segments.get_mut(&thread.newest()) {
            segment.lines.extend(lines);
        }
        Ok(())
    }

    /// Folds the whole history anew, after its beginning has changed.
    fn refold(&mut self, thread_id: ThreadId) -> Result<()> {
        let history = self.history(thread_id)?;
        let thread = self.thread_mut(thread_id)?;
        let mut fold = MetadataFold::new(thread_id, thread.fold.thread().created_at);
        for line in &history.lines {
            fold.observe_line(line);
        }
        thread.fold = fold;
        Ok(())
    }

    /// The ordinal of the thread's last line.
    pub(super) fn last_ordinal(&self, thread_id: ThreadId) -> Option<u64> {
        let newest = self.threads.get(&thread_id)?.newest();
        self.segments.get(&newest)?.lines.last()?.ordinal()
    }

    /// The other threads whose histories go through this one, by id.
    pub(super) fn dependents(&self, thread_id: ThreadId) -> Vec<ThreadId> {
        let others = self.threads.iter().filter(|(other, _)| **other != thread_id);
        let goes_through = others
            .filter(|(_, other)| self.segments_of(other.newest()).any(|(segment, _)| segment.thread_id == thread_id));
        let mut dependents: Vec<_> = goes_through.map(|(other, _)| *other).collect();
        dependents.sort_unstable();
        dependents
    }

    /// The segments that the history of one goes through, the newest first, each with how many of its lines are part of it.
    fn segments_of(&self, newest: SegmentId) -> impl Iterator<Item = (&Segment, usize)> {
        let mut next = Some(newest);
        let mut end = usize::MAX;
        std::iter::from_fn(move || {
            let segment = self.segments.get(&next?)?;
            let lines = end.saturating_sub(segment.start()).min(segment.lines.len());
            end = segment.start();
            next = segment.base.map(|base| base.segment);
            Some((segment, lines))
        })
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

    fn row(&self) -> StoredThread {
        let thread = self.fold.thread().clone();
        StoredThread { name: self.name.clone(), archived: self.archived, ..thread }
    }

    /// The newest segment. A thread has one from the moment it is inserted.
    fn newest(&self) -> SegmentId {
        self.segments.last().copied().unwrap_or_else(|| self.fold.thread().id.into())
    }
}

impl Segment {
    fn as_base(&self, segment_id: SegmentId, length: usize) -> HistoryBase {
        let own = &self.lines[..(length - self.start()).min(self.lines.len())];
        HistoryBase {
            thread_id: Some(segment_id),
            end_ordinal_exclusive: Some(length as u64),
            end_byte_offset: Some(own.iter().map(|line| line.text().len() as u64 + 1).sum()),
            ..HistoryBase::default()
        }
    }
}

fn base_of(head: &RolloutItem) -> Option<Base> {
    let RolloutItem::SessionMeta(head) = head else { return None };
    let base = head.history_base.as_ref()?;
    Some(Base { segment: base.thread_id?, length: usize::try_from(base.end_ordinal_exclusive?).ok()? })
}

pub(super) fn this_process() -> Holder {
    Holder { process_id: Some(std::process::id()), host: None }
}
