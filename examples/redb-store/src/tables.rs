//! What is stored, and how it is found again.

use std::ops::Range;

use redb::{Database, ReadOnlyTable, ReadableDatabase, ReadableTable, Table, TableDefinition};
use selvedge_protocol::{RolloutItem, SegmentId, StoredThread, ThreadId, Timestamp};
use selvedge_thread_store::implement::{RecentBatches, Segment, SegmentChain, SegmentTail, segment_order};
use selvedge_thread_store::{Holder, Result, SegmentInfo, StoreError};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use uuid::Uuid;

use crate::{File, locked};

/// Threads by their ids, as JSON.
const THREADS: TableDefinition<'_, u128, &[u8]> = TableDefinition::new("threads");
/// What is known of segments, as JSON.
const SEGMENTS: TableDefinition<'_, u128, &[u8]> = TableDefinition::new("segments");
/// The bytes of segments, by segment and where in it they begin. Each append is a chunk of its own.
const CHUNKS: TableDefinition<'_, (u128, u64), &[u8]> = TableDefinition::new("chunks");

/// A stored thread.
#[derive(Serialize, Deserialize)]
pub(crate) struct ThreadRecord {
    /// What a list says of the thread.
    pub(crate) row: StoredThread,
    /// The thread's own segments, oldest first.
    pub(crate) segments: Vec<SegmentId>,
    /// The store that has claimed the writer. It may be gone.
    pub(crate) holder: Option<Uuid>,
    /// How many claims there were.
    pub(crate) epoch: u64,
    /// What has a batch id and took effect.
    pub(crate) batches: RecentBatches,
    /// Another one with every change.
    pub(crate) version: Uuid,
}

impl ThreadRecord {
    pub(crate) fn new(id: ThreadId, created: Timestamp) -> Self {
        let row = StoredThread::new(id, created);
        let (segments, batches) = Default::default();
        Self { row, segments, holder: None, epoch: 1, batches, version: Uuid::nil() }
    }
}

/// A stored segment, without its bytes.
#[derive(Serialize, Deserialize)]
pub(crate) struct SegmentRecord {
    pub(crate) info: SegmentInfo,
    pub(crate) tail: SegmentTail,
    holds_a_line: bool,
    /// Whether it belongs to its thread. One that is being copied in does not yet.
    pub(crate) is_visible: bool,
}

impl SegmentRecord {
    /// A segment that is to be copied in, of which nothing is there.
    pub(crate) fn unseen(info: &SegmentInfo) -> Self {
        let info = SegmentInfo { bytes: 0, base: None, ..info.clone() };
        Self { info, tail: SegmentTail::default(), holds_a_line: false, is_visible: false }
    }

    fn of(segment: &Segment) -> Self {
        let Segment { id, thread_id, created, ref file_name, .. } = *segment;
        let (base, bytes, file_name) = (segment.base(), segment.size(), file_name.clone());
        let info = SegmentInfo { thread_id, id, created, file_name, base, bytes, is_current: true };
        Self { info, tail: segment.tail(), holds_a_line: segment.holds_a_line(), is_visible: true }
    }
}

/// The tables, in a transaction that reads or in one that writes.
pub(crate) struct Tables<'f, T, C> {
    file: &'f File,
    threads: T,
    segments: T,
    chunks: C,
}

type Key = (u128, u64);
type Bytes = &'static [u8];
pub(crate) type Look<'f> = Tables<'f, ReadOnlyTable<u128, Bytes>, ReadOnlyTable<Key, Bytes>>;
pub(crate) type Change<'t> = Tables<'t, Table<'t, u128, Bytes>, Table<'t, Key, Bytes>>;

impl<'f> Look<'f> {
    pub(crate) fn begin(file: &'f File) -> Result<Self> {
        let transaction = file.database.begin_read().map_err(failed)?;
        let table = |definition| transaction.open_table(definition).map_err(failed);
        let chunks = transaction.open_table(CHUNKS).map_err(failed)?;
        Ok(Self { file, threads: table(THREADS)?, segments: table(SEGMENTS)?, chunks })
    }
}

/// Makes the tables of a new file.
pub(crate) fn create(database: &Database) -> Result<()> {
    let transaction = database.begin_write().map_err(failed)?;
    transaction.open_table(THREADS).map_err(failed)?;
    transaction.open_table(SEGMENTS).map_err(failed)?;
    transaction.open_table(CHUNKS).map_err(failed)?;
    transaction.commit().map_err(failed)
}

/// Changes a file in one transaction, which is taken back after an error.
pub(crate) fn change<T>(file: &File, change: impl FnOnce(&mut Change<'_>) -> Result<T>) -> Result<T> {
    let transaction = file.database.begin_write().map_err(failed)?;
    let outcome = {
        let table = |definition| transaction.open_table(definition).map_err(failed);
        let chunks = transaction.open_table(CHUNKS).map_err(failed)?;
        change(&mut Tables { file, threads: table(THREADS)?, segments: table(SEGMENTS)?, chunks })?
    };
    transaction.commit().map_err(failed)?;
    Ok(outcome)
}

impl<T: ReadableTable<u128, Bytes>, C: ReadableTable<Key, Bytes>> Tables<'_, T, C> {
    pub(crate) fn find(&self, thread_id: ThreadId) -> Result<Option<ThreadRecord>> {
        get(&self.threads, thread_id.as_uuid())
    }

    pub(crate) fn thread(&self, thread_id: ThreadId) -> Result<ThreadRecord> {
        self.find(thread_id)?.ok_or(StoreError::not_found(thread_id))
    }

    pub(crate) fn threads(&self) -> Result<Vec<ThreadRecord>> {
        let records = self.threads.iter().map_err(failed)?;
        records.map(|record| parse(record.map_err(failed)?.1.value())).collect()
    }

    pub(crate) fn rows(&self) -> Result<Vec<StoredThread>> {
        Ok(self.threads()?.into_iter().map(|thread| thread.row).collect())
    }

    pub(crate) fn segment_record(&self, id: SegmentId) -> Result<Option<SegmentRecord>> {
        get(&self.segments, id.as_uuid())
    }

    /// What is known of a thread's own segments, oldest first.
    pub(crate) fn own_segments(&self, thread: &ThreadRecord) -> Result<Vec<SegmentRecord>> {
        thread.segments.iter().filter_map(|id| self.segment_record(*id).transpose()).collect()
    }

    /// The newest segment of a thread that holds a line: one that does not was never begun.
    pub(crate) fn newest(&self, thread: &ThreadRecord) -> Result<SegmentRecord> {
        let mut own = self.own_segments(thread)?;
        let newest = own.iter().rposition(|segment| segment.holds_a_line).or(own.len().checked_sub(1));
        newest.map(|newest| own.swap_remove(newest)).ok_or(StoreError::not_found(thread.row.id))
    }

    /// Where a thread's history goes through, newest segment first, found without reading bytes.
    pub(crate) fn route(&self, thread: &ThreadRecord) -> Result<Vec<SegmentInfo>> {
        let mut route = vec![self.newest(thread)?.info];
        while let Some(base) = route[route.len() - 1].base.as_ref().and_then(|base| base.thread_id)
            && route.iter().all(|segment| segment.id != base)
            && let Some(segment) = self.segment_record(base)?.filter(|segment| segment.is_visible)
        {
            route.push(segment.info);
        }
        Ok(route)
    }

    /// The other threads whose histories go through this one, in the order of their ids.
    pub(crate) fn dependents(&self, thread_id: ThreadId) -> Result<Vec<ThreadRecord>> {
        let mut dependents = Vec::new();
        for other in self.threads()?.into_iter().filter(|other| other.row.id != thread_id) {
            if self.route(&other)?.iter().any(|segment| segment.thread_id == thread_id) {
                dependents.push(other);
            }
        }
        Ok(dependents)
    }

    /// The segments that a thread's history goes through, with their bytes.
    pub(crate) fn chain(&self, thread: &ThreadRecord) -> Result<SegmentChain<Segment>> {
        let newest = self.load(&self.newest(thread)?.info)?;
        SegmentChain::follow(newest, self.is_live(thread), |id| self.segment(id))
    }

    /// A segment with its bytes.
    pub(crate) fn segment(&self, id: SegmentId) -> Result<Option<Segment>> {
        let record = self.segment_record(id)?.filter(|segment| segment.is_visible);
        record.map(|record| self.load(&record.info)).transpose()
    }

    fn load(&self, info: &SegmentInfo) -> Result<Segment> {
        let mut segment = Segment::new(info.id, info.thread_id, info.created);
        segment.file_name.clone_from(&info.file_name);
        segment.extend(&self.bytes(info.id, 0..info.bytes)?);
        Ok(segment)
    }

    /// Bytes of a segment; fewer if it has no more.
    pub(crate) fn bytes(&self, id: SegmentId, range: Range<u64>) -> Result<Vec<u8>> {
        let key = |at| (id.as_uuid().as_u128(), at);
        // The chunk that the first byte is in begins before it.
        let before = self.chunks.range(key(0)..=key(range.start)).map_err(failed)?.next_back();
        let first = before.transpose().map_err(failed)?.map_or(0, |(chunk, _)| chunk.value().1);
        let mut bytes = Vec::new();
        for chunk in self.chunks.range(key(first)..key(range.end)).map_err(failed)? {
            bytes.extend_from_slice(chunk.map_err(failed)?.1.value());
        }
        let place = |at: u64| usize::try_from(at.saturating_sub(first)).unwrap_or(usize::MAX).min(bytes.len());
        Ok(bytes[place(range.start)..place(range.end)].to_vec())
    }

    pub(crate) fn is_live(&self, thread: &ThreadRecord) -> bool {
        thread.holder.is_some_and(|holder| locked(&self.file.holders).contains(&holder))
    }

    /// Refuses a thread that is live anywhere but in `except`.
    pub(crate) fn check_cold(&self, thread: &ThreadRecord, except: Option<Uuid>) -> Result<()> {
        if self.is_live(thread) && thread.holder != except {
            return Err(conflict(thread.row.id));
        }
        Ok(())
    }
}

impl Change<'_> {
    pub(crate) fn put_thread(&mut self, mut thread: ThreadRecord) -> Result<StoredThread> {
        thread.version = Uuid::now_v7();
        put(&mut self.threads, thread.row.id.as_uuid(), &thread)?;
        Ok(thread.row)
    }

    /// Appends bytes to a segment. What these change of the rest of its record, the caller knows.
    pub(crate) fn append(&mut self, record: &mut SegmentRecord, bytes: &[u8]) -> Result<()> {
        let id = record.info.id.as_uuid();
        if !bytes.is_empty() {
            self.chunks.insert((id.as_u128(), record.info.bytes), bytes).map_err(failed)?;
            record.info.bytes += bytes.len() as u64;
        }
        put(&mut self.segments, id, record)
    }

    /// Writes items behind a thread's history, all at the time `now`.
    pub(crate) fn push_items(
        &mut self,
        thread: &ThreadRecord,
        items: &[RolloutItem],
        now: Timestamp,
    ) -> Result<SegmentTail> {
        let mut newest = self.newest(thread)?;
        let bytes = newest.tail.encode(now, items);
        newest.holds_a_line |= !items.is_empty();
        self.append(&mut newest, &bytes)?;
        Ok(newest.tail)
    }

    /// Goes on in a new segment.
    pub(crate) fn begin_segment(&mut self, thread: &mut ThreadRecord, segment: &Segment) -> Result<()> {
        let mut empty = SegmentRecord::unseen(&SegmentRecord::of(segment).info);
        self.append(&mut empty, segment.bytes())?;
        self.enter(thread, segment)
    }

    /// Makes a segment, whose bytes are there, part of its thread.
    pub(crate) fn enter(&mut self, thread: &mut ThreadRecord, segment: &Segment) -> Result<()> {
        put(&mut self.segments, segment.id.as_uuid(), &SegmentRecord::of(segment))?;
        if !thread.segments.contains(&segment.id) {
            thread.segments.push(segment.id);
        }
        let mut own = self.own_segments(thread)?;
        own.sort_by_key(|record| segment_order(thread.row.id, record.info.id, record.info.created));
        thread.segments = own.iter().map(|record| record.info.id).collect();
        self.refold(thread)
    }

    /// Finds out anew what the log says of a thread. Its name and its place in the archive are not in the log.
    pub(crate) fn refold(&self, thread: &mut ThreadRecord) -> Result<()> {
        let row = self.chain(thread)?.history().row(thread.row.created_at);
        thread.row = StoredThread { name: thread.row.name.take(), archived: thread.row.archived, ..row };
        Ok(())
    }

    /// Removes a thread with its own segments.
    pub(crate) fn remove(&mut self, thread: &ThreadRecord) -> Result<()> {
        self.threads.remove(thread.row.id.as_uuid().as_u128()).map_err(failed)?;
        for id in thread.segments.iter().map(|id| id.as_uuid().as_u128()) {
            self.segments.remove(id).map_err(failed)?;
            self.chunks.retain_in((id, 0)..=(id, u64::MAX), |_, _| false).map_err(failed)?;
        }
        Ok(())
    }
}

fn get<R: DeserializeOwned>(table: &impl ReadableTable<u128, Bytes>, id: Uuid) -> Result<Option<R>> {
    table.get(id.as_u128()).map_err(failed)?.map(|record| parse(record.value())).transpose()
}

fn put(table: &mut Table<'_, u128, Bytes>, id: Uuid, record: &impl Serialize) -> Result<()> {
    let json = serde_json::to_vec(record).map_err(|error| StoreError::backend("cannot encode a record", error))?;
    table.insert(id.as_u128(), &*json).map_err(failed)?;
    Ok(())
}

fn parse<R: DeserializeOwned>(json: &[u8]) -> Result<R> {
    serde_json::from_slice(json).map_err(|error| StoreError::backend("cannot read a record", error))
}

/// The thread is live: in this process, as redb has no other.
pub(crate) fn conflict(thread_id: ThreadId) -> StoreError {
    let holder = Holder { process_id: Some(std::process::id()), host: None };
    StoreError::Conflict { thread_id, holder, since: None }
}

pub(crate) fn failed(error: impl Into<redb::Error>) -> StoreError {
    StoreError::backend("the database failed", error.into())
}
