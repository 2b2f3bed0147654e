//! Whole histories: the segments of a thread and of the threads that it builds on, loaded into memory.
//!
//! The functions of `implement` are synchronous and ask for segments when they need them. [`LoadedSegments::solve`] connects them with
//! the database: it runs such a function, loads the segments that it asked for in vain, and runs it again.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use selvedge_history::MetadataFold;
use selvedge_protocol::{SegmentId, StoredThread, ThreadId};
use selvedge_thread_store::implement::{Segment, SegmentChain, segment_order};
use selvedge_thread_store::{Result, StoreError};
use sqlx::postgres::PgConnection;

use crate::error::AttemptError;
use crate::host::PostgresHost;
use crate::tables::{StoredSegment, ThreadRow};

/// How many bytes at the beginning of a segment are searched for its head before the whole segment is read.
const HEAD_BLOCK: u64 = 1 << 20;

/// A chain of loaded segments.
pub(crate) type LoadedChain = SegmentChain<Arc<Segment>>;

/// Segments that were loaded. `None` for one that the store does not have, or not all of it yet.
#[derive(Default)]
pub(crate) struct LoadedSegments(HashMap<SegmentId, Option<Arc<Segment>>>);

/// The segments that a synchronous function can ask for.
pub(crate) struct SegmentFinder<'a> {
    loaded: &'a LoadedSegments,
    /// Those that are not loaded yet.
    missed: RefCell<Vec<SegmentId>>,
}

impl SegmentFinder<'_> {
    /// Returns a segment. `None` if the store does not have it.
    ///
    /// # Errors
    /// If it is not loaded. The error ends the function that asks, and it runs again later.
    pub(crate) fn find(&self, id: SegmentId) -> Result<Option<Arc<Segment>>> {
        self.loaded.0.get(&id).cloned().ok_or_else(|| {
            self.missed.borrow_mut().push(id);
            StoreError::invalid("a segment is not loaded yet")
        })
    }
}

impl LoadedSegments {
    /// Runs a function until all segments that it asks for are loaded, and returns its result.
    pub(crate) async fn solve<T>(
        &mut self,
        host: &PostgresHost,
        connection: &mut PgConnection,
        function: impl Fn(&SegmentFinder<'_>) -> Result<T>,
    ) -> Result<T, AttemptError> {
        loop {
            let missed = {
                let finder = SegmentFinder { loaded: self, missed: RefCell::default() };
                let result = function(&finder);
                let missed = finder.missed.into_inner();
                if missed.is_empty() {
                    return Ok(result?);
                }
                missed
            };
            for id in missed {
                let segment = host.load_segment(connection, id).await?.map(Arc::new);
                self.0.insert(id, segment);
            }
        }
    }

    /// Loads the chain that ends with a segment. `None` if there is no such segment.
    pub(crate) async fn chain_from(
        &mut self,
        host: &PostgresHost,
        connection: &mut PgConnection,
        id: SegmentId,
        is_live: bool,
    ) -> Result<Option<LoadedChain>, AttemptError> {
        self.solve(host, connection, |finder| {
            let newest = finder.find(id)?;
            newest.map(|newest| SegmentChain::follow(newest, is_live, |id| finder.find(id))).transpose()
        })
        .await
    }

    /// Loads the history of a thread.
    pub(crate) async fn chain(
        &mut self,
        host: &PostgresHost,
        connection: &mut PgConnection,
        thread: &ThreadRow,
    ) -> Result<LoadedChain, AttemptError> {
        let chain = self.chain_from(host, connection, thread.segment_id, thread.is_live).await?;
        Ok(chain.ok_or(StoreError::not_found(thread.id))?)
    }
}

impl PostgresHost {
    /// Loads a segment with its bytes. `None` if it does not exist or is not visible yet.
    pub(crate) async fn load_segment(
        &self,
        connection: &mut PgConnection,
        id: SegmentId,
    ) -> Result<Option<Segment>, AttemptError> {
        let Some(thread_id) = self.segment_owner(connection, id).await? else { return Ok(None) };
        let query = self
            .sql("SELECT * FROM @.segments WHERE namespace = $1 AND thread_id = $2 AND segment_id = $3 AND is_visible");
        let query = sqlx::query_as(&query).bind(self.namespace()).bind(thread_id.as_uuid()).bind(id.as_uuid());
        let Some(row) = query.fetch_optional(&mut *connection).await? else { return Ok(None) };
        self.load_bytes(connection, &row).await.map(Some)
    }

    /// Loads the bytes of a segment.
    pub(crate) async fn load_bytes(
        &self,
        connection: &mut PgConnection,
        row: &StoredSegment,
    ) -> Result<Segment, AttemptError> {
        let bytes = self.bytes(connection, (row.thread_id, row.id), 0..u64::MAX).await?;
        let mut segment = row.without_bytes();
        segment.extend(&bytes);
        Ok(segment)
    }

    /// Returns the row of a segment that is visible now, with what its bytes say: its head, and whether it has a line. This reads
    /// no more than the head, except if that is missing.
    pub(crate) async fn described(
        &self,
        connection: &mut PgConnection,
        row: &StoredSegment,
    ) -> Result<StoredSegment, AttemptError> {
        let bytes = self.bytes(connection, (row.thread_id, row.id), 0..HEAD_BLOCK).await?;
        let is_all = (bytes.len() as u64) < HEAD_BLOCK;
        let end =
            if is_all { bytes.len() } else { bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1) };
        let mut segment = row.without_bytes();
        segment.extend(&bytes[..end]);
        if is_all || segment.head().is_some() {
            return Ok(StoredSegment::of(&segment));
        }
        Ok(StoredSegment::of(&self.load_bytes(connection, row).await?))
    }

    /// Returns the record of a thread, exact: the stored one, and the lines that came since.
    pub(crate) async fn exact_record(
        &self,
        connection: &mut PgConnection,
        thread: &mut ThreadRow,
    ) -> Result<StoredThread, AttemptError> {
        if thread.is_behind() {
            self.refold(connection, thread).await?;
            return Ok(thread.stored_record());
        }
        // Cold threads that were folded when their writer gave them up have nothing new.
        if !thread.is_unsettled {
            return Ok(thread.stored_record());
        }
        let (end, _) = self.end_of(connection, thread.id, thread.segment_id).await?;
        if end <= thread.folded_to {
            return Ok(thread.stored_record());
        }
        let mut fold = MetadataFold::resume(thread.record.clone());
        let own = self.segments(connection, thread.id).await?;
        if let Some(head) = own.into_iter().find(|own| own.id == thread.segment_id).and_then(|own| own.head) {
            fold = fold.after_head(&head);
        }
        let place = (thread.id, thread.segment_id);
        // A torn line at the end is not folded for good: it can still be completed.
        let folded_to = self
            .for_each_line(connection, place, thread.folded_to..end, |record| drop(fold.observe_line(&record.line)))
            .await?;
        thread.set_record(fold.into_thread(), thread.segment_id, folded_to);
        Ok(thread.stored_record())
    }

    /// Folds the record of a thread again from its whole history.
    pub(crate) async fn refold(
        &self,
        connection: &mut PgConnection,
        thread: &mut ThreadRow,
    ) -> Result<(), AttemptError> {
        let Some(chain) = self.stored_chain(connection, thread.id, thread.segment_id).await? else {
            let chain = LoadedSegments::default().chain(self, connection, thread).await?;
            let record = chain.history().thread_record(thread.created_at);
            thread.set_record(record, thread.segment_id, whole_lines(chain.newest().bytes()));
            return Ok(());
        };
        let mut fold = MetadataFold::new(thread.id, thread.created_at);
        let mut folded_to = 0;
        for (place, end) in chain.places() {
            folded_to =
                self.for_each_line(connection, place, 0..end, |record| drop(fold.observe_line(&record.line))).await?;
        }
        thread.set_record(fold.into_thread(), thread.segment_id, folded_to);
        Ok(())
    }

    /// Sets the segment in which the history of a thread ends: the newest one that contains a line. One without a line was
    /// never begun.
    pub(crate) async fn choose_segment(
        &self,
        connection: &mut PgConnection,
        thread: &mut ThreadRow,
    ) -> Result<(), AttemptError> {
        let mut own = self.segments(connection, thread.id).await?;
        own.retain(|own| own.is_visible);
        sort_segments(thread.id, &mut own);
        let newest = own.iter().rfind(|own| own.holds_a_line).or(own.last());
        thread.segment_id = newest.ok_or(StoreError::not_found(thread.id))?.id;
        Ok(())
    }

    /// Returns the segments of a thread's history, newest first, each with its thread. Bytes are not read.
    pub(crate) async fn route(
        &self,
        connection: &mut PgConnection,
        thread_id: ThreadId,
        newest: SegmentId,
    ) -> Result<Vec<(SegmentId, ThreadId)>, AttemptError> {
        // The segments of all threads that the route has touched.
        let mut known: HashMap<SegmentId, StoredSegment> = HashMap::new();
        let mut route: Vec<(SegmentId, ThreadId)> = Vec::new();
        let mut next = Some((newest, thread_id));
        // A base that is missing or not visible ends the route: it can still be copied in. The bases of damaged heads can form a
        // circle, so a segment is visited once.
        while let Some((id, owner)) = next
            && !route.iter().any(|(visited, _)| *visited == id)
        {
            if !known.contains_key(&id) {
                known.extend(self.segments(connection, owner).await?.into_iter().map(|row| (row.id, row)));
            }
            let Some(row) = known.get(&id).filter(|row| row.is_visible) else { break };
            route.push((id, row.thread_id));
            next = match row.base_id() {
                Some(base) if known.contains_key(&base) => known.get(&base).map(|base| (base.id, base.thread_id)),
                Some(base) => self.segment_owner(connection, base).await?.map(|owner| (base, owner)),
                None => None,
            };
        }
        Ok(route)
    }

    /// Returns the other threads whose histories contain segments of this one, in the order of their ids.
    pub(crate) async fn dependents(
        &self,
        connection: &mut PgConnection,
        thread_id: ThreadId,
    ) -> Result<Vec<ThreadId>, AttemptError> {
        // From the segments of the thread to those that continue them, and so on. A segment that its thread has abandoned leads
        // nowhere, so each thread that is found is checked by its own route.
        let mut reached: Vec<SegmentId> =
            self.segments(connection, thread_id).await?.iter().map(|own| own.id).collect();
        let mut candidates: Vec<ThreadId> = Vec::new();
        let mut next = 0;
        while next < reached.len() {
            let bases: Vec<_> = reached[next..].iter().map(|id| id.as_uuid()).collect();
            next = reached.len();
            let query =
                self.sql("SELECT segment_id, thread_id FROM @.segments WHERE namespace = $1 AND base_id = ANY($2)");
            let query = sqlx::query_as(&query).bind(self.namespace()).bind(bases);
            let found: Vec<(uuid::Uuid, uuid::Uuid)> = query.fetch_all(&mut *connection).await?;
            for (segment_id, owner) in found {
                let (segment_id, owner) = (SegmentId::from_uuid(segment_id), ThreadId::from_uuid(owner));
                if !reached.contains(&segment_id) {
                    reached.push(segment_id);
                }
                if owner != thread_id && !candidates.contains(&owner) {
                    candidates.push(owner);
                }
            }
        }
        candidates.sort_unstable();
        let mut dependents = Vec::new();
        for candidate in candidates {
            let Some(row) = self.find_thread(connection, candidate, crate::tables::RowLock::None).await? else {
                continue;
            };
            let route = self.route(connection, candidate, row.segment_id).await?;
            if route.iter().any(|(_, owner)| *owner == thread_id) {
                dependents.push(candidate);
            }
        }
        Ok(dependents)
    }
}

/// Sorts the segments of a thread, oldest first.
pub(crate) fn sort_segments(thread_id: ThreadId, segments: &mut [StoredSegment]) {
    segments.sort_by_key(|segment| segment_order(thread_id, segment.id, segment.created));
}

/// Returns how many bytes the whole lines at the beginning of these bytes have. A torn line at the end is not folded into a
/// record for good: it can still be completed.
fn whole_lines(bytes: &[u8]) -> u64 {
    bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at as u64 + 1)
}
