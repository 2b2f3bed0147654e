//! Histories that stay in the database: pages of lines and the model context cost what they return, however long the thread is.
//!
//! The functions that cut pages and replay lines are synchronous. They run on a blocking thread, and ask for blocks of rows from
//! there ([`StoredLines`]).
//!
//! This needs the exact end of each inherited prefix without reading the prefix: the base names it by a byte and an ordinal, and
//! one row confirms both. If they do not agree (the bytes were damaged or made by hand), the whole segments are read instead, by
//! [`LoadedSegments`](crate::history::LoadedSegments).

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use selvedge_history::{ContextTail, ModelContext, PrefixEnd, newest_head};
use selvedge_protocol::log::{RawContent, RawEntry, split_raw};
use selvedge_protocol::{SegmentId, SessionMeta, ThreadId, TurnId};
use selvedge_thread_store::implement::line_pages::{ChainPart, LineSource, MissingBytes, RawEntryIter, SegmentPrefix};
use selvedge_thread_store::implement::{entries_before, entries_from};
use selvedge_thread_store::{Result, StoreError};
use sqlx::postgres::PgConnection;
use tokio::runtime::Handle;

use crate::error::AttemptError;
use crate::host::{PgTransaction, PostgresHost, outcome_of};
use crate::rows::{to_i64, to_u64};
use crate::tables::{RowLock, StoredSegment, ThreadRow};

/// A segment of a chain, without its bytes.
#[derive(Clone, Debug)]
struct StoredPart {
    segment_id: SegmentId,
    thread_id: ThreadId,
    /// The end of its prefix.
    end: u64,
    head: Option<SessionMeta>,
    is_paginated: bool,
}

/// The segments of a history, oldest first, without their bytes.
#[derive(Clone, Debug)]
pub(crate) struct StoredChain {
    parts: Vec<StoredPart>,
    missing: Option<MissingBytes>,
}

impl StoredChain {
    /// Returns the segments, oldest first, each with the end of its prefix.
    pub(crate) fn ends(&self) -> impl Iterator<Item = (SegmentId, u64)> {
        self.parts.iter().map(|part| (part.segment_id, part.end))
    }

    /// Returns where the bytes of the segments are, oldest first: the thread and the id of each, and the end of its prefix.
    pub(crate) fn places(&self) -> impl DoubleEndedIterator<Item = ((ThreadId, SegmentId), u64)> {
        self.parts.iter().map(|part| ((part.thread_id, part.segment_id), part.end))
    }

    /// Returns where the history ends: the byte after the last one of the newest segment.
    pub(crate) fn end(&self) -> u64 {
        self.parts.last().map_or(0, |part| part.end)
    }

    /// Returns whether a base is missing.
    pub(crate) const fn is_incomplete(&self) -> bool {
        self.missing.is_some()
    }
}

impl PostgresHost {
    /// Follows the bases from a segment of a thread. `None` if a prefix cannot be measured without reading it.
    pub(crate) async fn stored_chain(
        &self,
        connection: &mut PgConnection,
        thread_id: ThreadId,
        newest: SegmentId,
    ) -> Result<Option<StoredChain>, AttemptError> {
        // The segments of all threads that the chain has touched.
        let mut known: HashMap<SegmentId, StoredSegment> = HashMap::new();
        let mut chain = StoredChain { parts: Vec::new(), missing: None };
        let (end, _) = self.end_of(connection, thread_id, newest).await?;
        let mut next = (newest, thread_id, end, None);
        loop {
            let (id, owner, end, prefix) = next;
            if chain.parts.iter().any(|part| part.segment_id == id) {
                return Ok(None);
            }
            if !known.contains_key(&id) {
                known.extend(self.segments(connection, owner).await?.into_iter().map(|row| (row.id, row)));
            }
            let Some(row) = known.get(&id).filter(|row| row.is_visible).cloned() else { return Ok(None) };
            let base = row.head.as_ref().and_then(|head| head.history_base.clone());
            let (head, is_paginated) = (row.head, row.is_paginated);
            chain.parts.push(StoredPart { segment_id: id, thread_id: owner, end, head, is_paginated });
            let Some((base, base_id)) = base.and_then(|base| base.thread_id.map(|base_id| (base, base_id))) else {
                break;
            };
            let prefix = PrefixEnd::of(&base, id).within(prefix);
            let (Some(byte), Some(ordinal)) = (prefix.byte, prefix.ordinal) else { return Ok(None) };
            let base_owner = match known.get(&base_id) {
                Some(base) => Some(base.thread_id),
                None => self.segment_owner(connection, base_id).await?,
            };
            let Some(base_owner) = base_owner else {
                let reason = "there is no such segment in this store".to_owned();
                chain.missing = Some(MissingBytes { bytes: Some(byte), reason });
                break;
            };
            if !self.ends_exactly(connection, (base_owner, base_id), byte, ordinal).await? {
                return Ok(None);
            }
            next = (base_id, base_owner, byte, Some(prefix));
        }
        chain.parts.reverse();
        Ok(Some(chain))
    }

    /// Returns whether a line ends at a byte of a segment, and its ordinal is the one before `ordinal`.
    pub(crate) async fn ends_exactly(
        &self,
        connection: &mut PgConnection,
        (thread_id, segment_id): (ThreadId, SegmentId),
        byte: u64,
        ordinal: u64,
    ) -> Result<bool, AttemptError> {
        let query = self.sql(
            "SELECT start_byte, bytes FROM @.lines WHERE namespace = $1 AND thread_id = $2 AND segment_id = $3 AND start_byte < $4
            ORDER BY start_byte DESC LIMIT 1",
        );
        let query = sqlx::query_as(&query).bind(self.namespace()).bind(thread_id.as_uuid()).bind(segment_id.as_uuid());
        let Some((start, bytes)): Option<(i64, Vec<u8>)> = query.bind(to_i64(byte)).fetch_optional(connection).await?
        else {
            return Ok(false);
        };
        let last = split_raw(&bytes, to_u64(start), 0).pop();
        let is_line = |entry: RawEntry| match entry.content {
            RawContent::Line(line) => {
                entry.range.end == byte && line.ordinal().and_then(|last| last.checked_add(1)) == Some(ordinal)
            }
            _ => false,
        };
        Ok(last.is_some_and(is_line))
    }

    /// Runs a synchronous function over a history that stays in the database. `None` if the history has to be loaded as a whole.
    pub(crate) async fn over_stored_lines<T: Send + 'static>(
        self: &Arc<Self>,
        thread_id: ThreadId,
        function: impl FnOnce(&StoredLines) -> Result<T> + Send + 'static,
    ) -> Result<Option<T>, AttemptError> {
        let mut snapshot = self.snapshot().await?;
        let thread = self.thread(&mut snapshot, thread_id, RowLock::None).await?;
        let Some(chain) = self.stored_chain(&mut snapshot, thread_id, thread.segment_id).await? else {
            return Ok(None);
        };
        let (host, runtime) = (Arc::clone(self), Handle::current());
        let reading = tokio::task::spawn_blocking(move || {
            let lines = StoredLines::new(host, runtime, snapshot, thread, chain);
            let result = function(&lines);
            lines.finish(result)
        });
        outcome_of(reading).await?
    }
}

/// A history that stays in the database, for functions on a blocking thread.
pub(crate) struct StoredLines {
    host: Arc<PostgresHost>,
    runtime: Handle,
    snapshot: RefCell<PgTransaction>,
    thread: ThreadRow,
    chain: StoredChain,
    parts: Vec<ChainPart>,
    /// Why a read failed. The functions between get an error without a meaning, and the caller gets this one.
    failure: RefCell<Option<AttemptError>>,
    /// Whether the history has to be loaded as a whole after all.
    needs_all: Cell<bool>,
    /// Where the turn begins that a page of lines starts with.
    turn_start: Cell<Option<(usize, u64)>>,
}

impl StoredLines {
    fn new(
        host: Arc<PostgresHost>,
        runtime: Handle,
        snapshot: PgTransaction,
        thread: ThreadRow,
        chain: StoredChain,
    ) -> Self {
        let part =
            |part: &StoredPart| ChainPart { segment_id: part.segment_id, inherited: part.thread_id != thread.id };
        let parts = chain.parts.iter().map(part).collect();
        Self {
            host,
            runtime,
            snapshot: RefCell::new(snapshot),
            thread,
            chain,
            parts,
            failure: RefCell::default(),
            needs_all: Cell::new(false),
            turn_start: Cell::new(None),
        }
    }

    /// Ends the snapshot, and returns the failure of a read if there was one.
    fn finish<T>(self, result: Result<T>) -> Result<Option<T>, AttemptError> {
        match self.failure.into_inner() {
            Some(failure) => Err(failure),
            None if self.needs_all.get() => Ok(None),
            None => {
                // The result is there already, so it does not matter whether the snapshot ends well.
                let _ = self.runtime.block_on(self.snapshot.into_inner().commit());
                Ok(Some(result?))
            }
        }
    }

    /// Notes why a read failed.
    fn fail(&self, failure: AttemptError) -> StoreError {
        *self.failure.borrow_mut() = Some(failure);
        StoreError::invalid("a read failed")
    }

    /// Notes that the history has to be loaded as a whole. The function that runs ends with the error that this returns.
    pub(crate) fn need_all(&self) -> StoreError {
        self.needs_all.set(true);
        StoreError::invalid("the whole history is needed")
    }

    /// Returns the row of the thread.
    pub(crate) const fn thread(&self) -> &ThreadRow {
        &self.thread
    }

    pub(crate) const fn chain(&self) -> &StoredChain {
        &self.chain
    }

    /// Returns whether the thread has a writer, so that its last turn can be in progress.
    pub(crate) const fn is_live(&self) -> bool {
        self.thread.is_live
    }

    /// Returns whether the thread is paginated, which its newest segment decides.
    pub(crate) fn is_paginated(&self) -> bool {
        self.chain.parts.last().is_some_and(|part| part.is_paginated)
    }

    /// Returns the head of a part, as its row has it.
    pub(crate) fn head(&self, part: usize) -> Option<&SessionMeta> {
        self.chain.parts[part].head.as_ref()
    }

    /// Returns the thread of a part.
    pub(crate) fn owner(&self, part: usize) -> ThreadId {
        self.chain.parts[part].thread_id
    }

    /// Returns whether an entry of a part is a head of the thread itself, and not the first line of its segment. The row of a segment does
    /// not have such a head.
    pub(crate) fn is_later_head(&self, part: usize, entry: &RawEntry) -> bool {
        match &entry.content {
            RawContent::Line(line) if !self.parts[part].inherited && entry.range.start > 0 => {
                newest_head(self.thread.id, std::slice::from_ref(line)).is_some()
            }
            _ => false,
        }
    }

    /// Sets where the turn begins that a page of lines starts with.
    pub(crate) fn set_turn_start(&self, start: (usize, u64)) {
        self.turn_start.set(Some(start));
    }

    /// Asks the database, in the same snapshot.
    pub(crate) fn ask<T>(
        &self,
        question: impl AsyncFnOnce(&PostgresHost, &mut PgConnection) -> Result<T, AttemptError>,
    ) -> Result<T> {
        let mut snapshot = self.snapshot.borrow_mut();
        self.runtime.block_on(question(&self.host, &mut snapshot)).map_err(|failure| self.fail(failure))
    }

    fn block(&self, part: usize, range: Range<u64>) -> Result<Vec<u8>> {
        let StoredPart { thread_id, segment_id, .. } = self.chain.parts[part];
        self.ask(async |host, connection| host.bytes(connection, (thread_id, segment_id), range).await)
    }

    /// Returns what the model sees next, from the end of the history and no further back than a replay needs.
    pub(crate) fn model_context(&self) -> Result<ModelContext> {
        let mut tail = ContextTail::default();
        for (number, part) in self.chain.parts.iter().enumerate().rev() {
            for entry in self.entries_back(number, part.end, None)? {
                let RawContent::Line(line) = entry?.content else { continue };
                tail.push(line);
                if tail.should_try_replay()
                    && let Some(context) = tail.context(part.head.as_ref())
                {
                    return Ok(context);
                }
            }
        }
        Ok(tail.whole_context())
    }
}

impl LineSource for StoredLines {
    fn thread_id(&self) -> ThreadId {
        self.thread.id
    }

    fn parts(&self) -> &[ChainPart] {
        &self.parts
    }

    fn missing_base(&self) -> Option<MissingBytes> {
        self.chain.missing.clone()
    }

    fn prefix(&self, part: usize) -> Result<SegmentPrefix> {
        Ok(SegmentPrefix { end: self.chain.parts[part].end, missing: None })
    }

    fn entries(&self, part: usize, from: u64, max_text: Option<usize>) -> Result<RawEntryIter<'_>> {
        Ok(entries_from(move |range| self.block(part, range), from, max_text))
    }

    fn entries_back(&self, part: usize, before: u64, max_text: Option<usize>) -> Result<RawEntryIter<'_>> {
        Ok(entries_before(move |range| self.block(part, range), before, max_text))
    }

    fn bytes(&self, part: usize, range: Range<u64>) -> Result<Vec<u8>> {
        self.block(part, range)
    }

    fn former_parts(&self, segment_id: SegmentId) -> Result<Option<Vec<(SegmentId, u64)>>> {
        let chain = self.ask(async |host, connection| {
            let Some(owner) = host.segment_owner(connection, segment_id).await? else { return Ok(None) };
            host.stored_chain(connection, owner, segment_id).await.map(Some)
        });
        match chain? {
            Some(Some(chain)) => Ok(Some(chain.ends().collect())),
            Some(None) => Err(self.need_all()),
            None => Ok(None),
        }
    }

    fn is_detached(&self) -> Result<bool> {
        let newest = self.chain.parts.last().and_then(|part| part.head.as_ref());
        // Only a detach writes this field.
        Ok(newest.is_some_and(|head| head.copied_base.is_some()))
    }

    fn turn_start(&self, _: &TurnId) -> Result<(usize, u64)> {
        // The rows of turns know it. Without them the whole history does.
        self.turn_start.get().ok_or_else(|| self.need_all())
    }
}
