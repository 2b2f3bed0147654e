//! The tables of the database: what is stored, and how it is found.

use std::ops::Range;

use redb::{Database, ReadOnlyTable, ReadableDatabase, ReadableTable, Table, TableDefinition};
use selvedge_protocol::{RolloutItem, SegmentId, StoredThread, ThreadId, Timestamp};
use selvedge_thread_store::implement::{RecentBatches, Segment, SegmentChain, SegmentTail, segment_order};
use selvedge_thread_store::{Holder, Result, SegmentInfo, StoreError};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use uuid::Uuid;

use crate::shared_file::{SharedFile, locked};

/// The records of threads by their ids, as JSON.
const THREADS: TableDefinition<'_, u128, &[u8]> = TableDefinition::new("threads");
/// The records of segments by their ids, as JSON.
const SEGMENTS: TableDefinition<'_, u128, &[u8]> = TableDefinition::new("segments");
/// The bytes of segments, in chunks. A key is the id of the segment and the offset of the chunk in it. Each append is
/// one chunk.
const CHUNKS: TableDefinition<'_, (u128, u64), &[u8]> = TableDefinition::new("chunks");

/// A stored thread.
#[derive(Serialize, Deserialize)]
pub(crate) struct ThreadRecord {
    /// What a list shows of the thread.
    pub(crate) row: StoredThread,
    /// The thread's own segments, oldest first.
    pub(crate) segments: Vec<SegmentId>,
    /// The handle that has claimed the writer. It may no longer exist, and then the claim is void.
    pub(crate) holder: Option<Uuid>,
    /// The number of claims so far.
    pub(crate) epoch: u64,
    /// The outcomes of the newest batches, by their ids. A repeated batch gets its old outcome.
    pub(crate) batches: RecentBatches,
    /// A new id with every change, by which `list_changes` finds changed threads.
    pub(crate) version: Uuid,
}

impl ThreadRecord {
    /// Creates the record of a thread without segments.
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
    /// What the next append has to know of the last line.
    pub(crate) tail: SegmentTail,
    holds_a_line: bool,
    /// Whether the segment is part of its thread. While it is being copied in, it is not.
    pub(crate) is_visible: bool,
}

impl SegmentRecord {
    /// Creates the record of a segment without bytes, which is not visible yet.
    pub(crate) fn empty(info: &SegmentInfo) -> Self {
        let info = SegmentInfo { bytes: 0, base: None, ..info.clone() };
        Self { info, tail: SegmentTail::default(), holds_a_line: false, is_visible: false }
    }

    /// Creates the record of a segment whose bytes are stored.
    fn of(segment: &Segment) -> Self {
        let Segment { id, thread_id, created, ref file_name, .. } = *segment;
        let (base, bytes, file_name) = (segment.base(), segment.size(), file_name.clone());
        let info = SegmentInfo { thread_id, id, created, file_name, base, bytes, is_current: true };
        Self { info, tail: segment.tail(), holds_a_line: segment.holds_a_line(), is_visible: true }
    }
}

/// The tables in a transaction, which reads or writes. `T` and `C` are the table types of redb for records and for
/// chunks.
pub(crate) struct Tables<'f, T, C> {
    file: &'f SharedFile,
    threads: T,
    segments: T,
    chunks: C,
}

// redb has one type for a table that is read and another one for a table that is written. What both can do is
// implemented once, for `Tables` over `ReadableTable`. A fork therefore reads its source inside of the transaction that
// writes the fork.

type ChunkKey = (u128, u64);
type Bytes = &'static [u8];
/// The tables in a transaction that reads: a snapshot.
pub(crate) type ReadTables<'f> = Tables<'f, ReadOnlyTable<u128, Bytes>, ReadOnlyTable<ChunkKey, Bytes>>;
/// The tables in a transaction that writes.
pub(crate) type WriteTables<'t> = Tables<'t, Table<'t, u128, Bytes>, Table<'t, ChunkKey, Bytes>>;

impl<'f> ReadTables<'f> {
    /// Takes a snapshot of the file.
    pub(crate) fn begin(file: &'f SharedFile) -> Result<Self> {
        let transaction = file.database.begin_read().map_err(failed)?;
        let table = |definition| transaction.open_table(definition).map_err(failed);
        let chunks = transaction.open_table(CHUNKS).map_err(failed)?;
        Ok(Self { file, threads: table(THREADS)?, segments: table(SEGMENTS)?, chunks })
    }
}

/// Creates the tables of a new file.
pub(crate) fn create(database: &Database) -> Result<()> {
    // A table is created when a transaction that writes opens it. One that reads would fail without it.
    let transaction = database.begin_write().map_err(failed)?;
    transaction.open_table(THREADS).map_err(failed)?;
    transaction.open_table(SEGMENTS).map_err(failed)?;
    transaction.open_table(CHUNKS).map_err(failed)?;
    transaction.commit().map_err(failed)
}

/// Changes a file in one transaction. An error rolls it back.
pub(crate) fn in_transaction<T>(
    file: &SharedFile,
    change: impl FnOnce(&mut WriteTables<'_>) -> Result<T>,
) -> Result<T> {
    let transaction = file.database.begin_write().map_err(failed)?;
    // The block ends the tables, which borrow the transaction. An error in it drops the transaction, and so rolls it
    // back.
    let outcome = {
        let table = |definition| transaction.open_table(definition).map_err(failed);
        let chunks = transaction.open_table(CHUNKS).map_err(failed)?;
        change(&mut Tables { file, threads: table(THREADS)?, segments: table(SEGMENTS)?, chunks })?
    };
    transaction.commit().map_err(failed)?;
    Ok(outcome)
}

impl<T: ReadableTable<u128, Bytes>, C: ReadableTable<ChunkKey, Bytes>> Tables<'_, T, C> {
    /// Returns the record of a thread. `None` if there is no such thread.
    pub(crate) fn find(&self, thread_id: ThreadId) -> Result<Option<ThreadRecord>> {
        get(&self.threads, thread_id.as_uuid())
    }

    /// Returns the record of a thread that must exist.
    pub(crate) fn thread(&self, thread_id: ThreadId) -> Result<ThreadRecord> {
        self.find(thread_id)?.ok_or(StoreError::not_found(thread_id))
    }

    /// Returns the records of all threads, in the order of their ids.
    pub(crate) fn threads(&self) -> Result<Vec<ThreadRecord>> {
        let records = self.threads.iter().map_err(failed)?;
        records.map(|record| parse(record.map_err(failed)?.1.value())).collect()
    }

    /// Returns what a list shows of all threads.
    pub(crate) fn rows(&self) -> Result<Vec<StoredThread>> {
        Ok(self.threads()?.into_iter().map(|thread| thread.row).collect())
    }

    /// Returns the record of a segment, visible or not.
    pub(crate) fn segment_record(&self, id: SegmentId) -> Result<Option<SegmentRecord>> {
        get(&self.segments, id.as_uuid())
    }

    /// Returns the records of a thread's own segments, oldest first.
    pub(crate) fn own_segments(&self, thread: &ThreadRecord) -> Result<Vec<SegmentRecord>> {
        thread.segments.iter().filter_map(|id| self.segment_record(*id).transpose()).collect()
    }

    /// Returns the newest segment of a thread that contains a line. One without a line was never begun.
    pub(crate) fn newest(&self, thread: &ThreadRecord) -> Result<SegmentRecord> {
        let mut own = self.own_segments(thread)?;
        let newest = own.iter().rposition(|segment| segment.holds_a_line).or(own.len().checked_sub(1));
        newest.map(|newest| own.swap_remove(newest)).ok_or(StoreError::not_found(thread.row.id))
    }

    /// Returns the segments of a thread's history, newest first, without reading their bytes.
    pub(crate) fn route(&self, thread: &ThreadRecord) -> Result<Vec<SegmentInfo>> {
        // A base that is missing or not visible ends the route: it can still be copied in. The bases of damaged heads
        // can form a circle, so a segment is visited once.
        let mut route = vec![self.newest(thread)?.info];
        while let Some(base) = route[route.len() - 1].base.as_ref().and_then(|base| base.thread_id)
            && route.iter().all(|segment| segment.id != base)
            && let Some(segment) = self.segment_record(base)?.filter(|segment| segment.is_visible)
        {
            route.push(segment.info);
        }
        Ok(route)
    }

    /// Returns the other threads whose histories contain segments of this one, in the order of their ids.
    pub(crate) fn dependents(&self, thread_id: ThreadId) -> Result<Vec<ThreadRecord>> {
        let mut dependents = Vec::new();
        for other in self.threads()?.into_iter().filter(|other| other.row.id != thread_id) {
            if self.route(&other)?.iter().any(|segment| segment.thread_id == thread_id) {
                dependents.push(other);
            }
        }
        Ok(dependents)
    }

    /// Loads the segments of a thread's history, with their bytes.
    pub(crate) fn chain(&self, thread: &ThreadRecord) -> Result<SegmentChain<Segment>> {
        let newest = self.load(&self.newest(thread)?.info)?;
        SegmentChain::follow(newest, self.is_live(thread), |id| self.segment(id))
    }

    /// Loads a segment with its bytes. `None` if it does not exist or is not visible yet.
    pub(crate) fn segment(&self, id: SegmentId) -> Result<Option<Segment>> {
        let record = self.segment_record(id)?.filter(|segment| segment.is_visible);
        record.map(|record| self.load(&record.info)).transpose()
    }

    /// Loads the bytes of a segment.
    fn load(&self, info: &SegmentInfo) -> Result<Segment> {
        let mut segment = Segment::new(info.id, info.thread_id, info.created);
        segment.file_name.clone_from(&info.file_name);
        segment.extend(&self.bytes(info.id, 0..info.bytes)?);
        Ok(segment)
    }

    /// Returns the bytes of a segment in a range, or fewer if the segment ends before.
    pub(crate) fn bytes(&self, id: SegmentId, range: Range<u64>) -> Result<Vec<u8>> {
        //     chunks   ├────────┤├───┤├──────────┤
        //     range         ├──────────┤             → the chunks from the one that contains its start
        let key = |at| (id.as_uuid().as_u128(), at);
        // The chunk with the first byte begins at that byte or before it, so it is the last one up to there.
        let before = self.chunks.range(key(0)..=key(range.start)).map_err(failed)?.next_back();
        let first = before.transpose().map_err(failed)?.map_or(0, |(chunk, _)| chunk.value().1);
        let mut bytes = Vec::new();
        for chunk in self.chunks.range(key(first)..key(range.end)).map_err(failed)? {
            bytes.extend_from_slice(chunk.map_err(failed)?.1.value());
        }
        let index = |at: u64| usize::try_from(at.saturating_sub(first)).unwrap_or(usize::MAX).min(bytes.len());
        Ok(bytes[index(range.start)..index(range.end)].to_vec())
    }

    /// Returns whether any handle writes the thread. A claim of a handle that no longer exists is void.
    pub(crate) fn is_live(&self, thread: &ThreadRecord) -> bool {
        thread.holder.is_some_and(|holder| locked(&self.file.holders).contains(&holder))
    }

    /// Fails if the thread is live in any handle but `except`.
    pub(crate) fn check_cold(&self, thread: &ThreadRecord, except: Option<Uuid>) -> Result<()> {
        if self.is_live(thread) && thread.holder != except {
            return Err(conflict(thread.row.id));
        }
        Ok(())
    }
}

impl WriteTables<'_> {
    /// Stores the record of a thread under a new version, and returns what a list shows of it.
    pub(crate) fn put_thread(&mut self, mut thread: ThreadRecord) -> Result<StoredThread> {
        thread.version = Uuid::now_v7();
        put(&mut self.threads, thread.row.id.as_uuid(), &thread)?;
        Ok(thread.row)
    }

    /// Appends bytes to a segment and stores its record. The caller has updated the other fields of the record.
    pub(crate) fn append(&mut self, record: &mut SegmentRecord, bytes: &[u8]) -> Result<()> {
        let id = record.info.id.as_uuid();
        if !bytes.is_empty() {
            self.chunks.insert((id.as_u128(), record.info.bytes), bytes).map_err(failed)?;
            record.info.bytes += bytes.len() as u64;
        }
        put(&mut self.segments, id, record)
    }

    /// Appends items to the newest segment of a thread, all with the time `now`.
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

    /// Stores a new segment, in which the thread continues.
    pub(crate) fn begin_segment(&mut self, thread: &mut ThreadRecord, segment: &Segment) -> Result<()> {
        let mut record = SegmentRecord::empty(&SegmentRecord::of(segment).info);
        self.append(&mut record, segment.bytes())?;
        self.attach_segment(thread, segment)
    }

    /// Makes a segment whose bytes are stored a part of its thread.
    pub(crate) fn attach_segment(&mut self, thread: &mut ThreadRecord, segment: &Segment) -> Result<()> {
        put(&mut self.segments, segment.id.as_uuid(), &SegmentRecord::of(segment))?;
        if !thread.segments.contains(&segment.id) {
            thread.segments.push(segment.id);
        }
        // Copies come in any order, so the segments are sorted each time.
        let mut own = self.own_segments(thread)?;
        own.sort_by_key(|record| segment_order(thread.row.id, record.info.id, record.info.created));
        thread.segments = own.iter().map(|record| record.info.id).collect();
        self.refold(thread)
    }

    /// Folds the row of a thread again from its whole history. Its name and whether it is archived are not in the log.
    pub(crate) fn refold(&self, thread: &mut ThreadRecord) -> Result<()> {
        let row = self.chain(thread)?.history().thread_record(thread.row.created_at);
        thread.row = StoredThread { name: thread.row.name.take(), archived: thread.row.archived, ..row };
        Ok(())
    }

    /// Removes a thread and its own segments.
    pub(crate) fn remove(&mut self, thread: &ThreadRecord) -> Result<()> {
        self.threads.remove(thread.row.id.as_uuid().as_u128()).map_err(failed)?;
        for id in thread.segments.iter().map(|id| id.as_uuid().as_u128()) {
            self.segments.remove(id).map_err(failed)?;
            self.chunks.retain_in((id, 0)..=(id, u64::MAX), |_, _| false).map_err(failed)?;
        }
        Ok(())
    }
}

/// Reads a record from a table.
fn get<R: DeserializeOwned>(table: &impl ReadableTable<u128, Bytes>, id: Uuid) -> Result<Option<R>> {
    table.get(id.as_u128()).map_err(failed)?.map(|record| parse(record.value())).transpose()
}

/// Writes a record to a table.
fn put(table: &mut Table<'_, u128, Bytes>, id: Uuid, record: &impl Serialize) -> Result<()> {
    let json = serde_json::to_vec(record).map_err(|error| StoreError::backend("cannot encode a record", error))?;
    table.insert(id.as_u128(), &*json).map_err(failed)?;
    Ok(())
}

/// Parses a record.
fn parse<R: DeserializeOwned>(json: &[u8]) -> Result<R> {
    serde_json::from_slice(json).map_err(|error| StoreError::backend("cannot read a record", error))
}

/// Creates the error of a thread that is live. Its writer is in this process, because redb opens the file in no other
/// one.
pub(crate) fn conflict(thread_id: ThreadId) -> StoreError {
    let holder = Holder { process_id: Some(std::process::id()), ..Holder::default() };
    StoreError::Conflict { thread_id, holder, since: None }
}

/// Converts an error of the database.
pub(crate) fn failed(error: impl Into<redb::Error>) -> StoreError {
    StoreError::backend("the database failed", error.into())
}
