//! Changes of threads beyond appends: metadata, the archive, forks, reverts, detached threads, copies, deletion.
//!
//! Each is one transaction that locks the row of the thread first. The lock excludes appends and claims, and the checks come after
//! it.

use std::sync::Arc;

use selvedge_history::head_identity;
use selvedge_protocol::{StoredThread, ThreadId, ThreadMetadataPatch, Timestamp};
use selvedge_thread_store::implement::{
    BatchOutcome, RevertWrite, Segment, compare_part, detached_bytes, fork_at_base, fork_segment, next_segment_id,
    plan_patch, plan_revert,
};
use selvedge_thread_store::{ForkThread, Result, RevertThread, SegmentPart, StoreError};
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use crate::boundaries::{ForkPoint, fork_point, plan_stored_revert};
use crate::commit_queue::Claim;
use crate::error::AttemptError;
use crate::history::LoadedSegments;
use crate::host::{PostgresHost, commit, now};
use crate::live_threads::{ClaimedThread, LiveWriter, LockedWriter, WriterStage};
use crate::rows::{encode_items, split_rows};
use crate::stored_lines::StoredLines;
use crate::tables::{RowLock, StoredSegment, ThreadRow};

/// The writer of a thread that is live in this store, locked by the call.
type Live<'a> = Option<&'a mut (Arc<LiveWriter>, LockedWriter)>;

/// What a revert does, as the rows of turns tell it.
struct PlannedRevert {
    /// The revision of the thread and the byte at its end that it was found in.
    found_in: (i64, u64),
    /// How many turns it undoes and what it writes, or why it is refused.
    outcome: Result<(usize, RevertWrite)>,
}

/// Returns what the writer knows of its thread, if it has a claim.
fn claimed<'a>(live: &'a mut Live<'_>) -> Option<&'a mut ClaimedThread> {
    match live {
        Some((_, state)) => match &mut state.stage {
            WriterStage::Claimed(claimed) => Some(claimed),
            _ => None,
        },
        None => None,
    }
}

/// Notes that the outcome of a change is unknown, so that the writer looks where the thread ends before it appends.
fn note_unknown(live: &mut Live<'_>, error: &StoreError) {
    if let StoreError::OutcomeUnknown { .. } = error
        && let Some(claimed) = claimed(live)
    {
        claimed.drift();
    }
}

impl PostgresHost {
    /// Locks the row of a thread for a change of its history, which this claim may make, or anybody if the thread is cold.
    async fn thread_to_change(
        &self,
        connection: &mut PgConnection,
        thread_id: ThreadId,
        claim: Option<Claim>,
    ) -> Result<ThreadRow, AttemptError> {
        let mut thread = self.thread(connection, thread_id, RowLock::Exclusive).await?;
        thread.check_cold(claim.map(|claim| claim.owner))?;
        if let Some(claim) = claim
            && (thread.owner, thread.epoch) != (Some(claim.owner), claim.epoch)
        {
            return Err(StoreError::Lost { thread_id, reason: thread.loss() }.into());
        }
        if claim.is_none() {
            self.end_expired_claim(connection, &mut thread).await?;
        }
        Ok(thread)
    }

    /// Applies a patch to the stored record of a thread.
    pub(crate) async fn apply_patch(&self, thread_id: ThreadId, patch: &ThreadMetadataPatch) -> Result<StoredThread> {
        let record = self
            .retrying(Some(thread_id), None, async |_| {
                let mut connection = self.pool.acquire().await?;
                loop {
                    let mut thread = self.thread(&mut connection, thread_id, RowLock::None).await?;
                    // History first: what the lines say comes before what the patch says.
                    let mut record = self.exact_record(&mut connection, &mut thread).await?;
                    patch.apply(&mut record);
                    let (segment_id, to) = (thread.folded_segment, thread.folded_to);
                    thread.set_record(record, segment_id, to);
                    // Otherwise another change came between.
                    if self.update_thread(&mut connection, &thread).await? {
                        return Ok(thread.stored_record());
                    }
                }
            })
            .await?;
        self.announce();
        Ok(record)
    }

    /// Stores an explicit patch: a name in the row, everything else as lines of the log.
    pub(crate) async fn keep_patch(
        self: &Arc<Self>,
        thread_id: ThreadId,
        patch: &ThreadMetadataPatch,
        mut live: Live<'_>,
    ) -> Result<StoredThread> {
        if let Some((writer, state)) = &mut live {
            self.settle(writer, state).await?;
        }
        let before = claimed(&mut live).map(|claimed| claimed.claim);
        let is_cold = before.is_none();
        let (record, moved) = self
            .retrying(Some(thread_id), None, async |_| {
                let mut tx = self.begin().await?;
                let mut thread = self.thread(&mut tx, thread_id, RowLock::Exclusive).await?;
                let is_name_only = ThreadMetadataPatch { name: None, ..patch.clone() }.is_empty();
                let mut loaded = LoadedSegments::default();
                // A name is not part of the log, so the log need not be read.
                let head = match is_name_only {
                    true => None,
                    false => loaded.chain(self, &mut tx, &thread).await?.history().newest_head(),
                };
                let record = self.exact_record(&mut tx, &mut thread).await?;
                let now = now();
                let (items, record) = plan_patch(patch, head, record, now);
                let mut moved = None;
                thread.name.clone_from(&record.name);
                let mut folded_to = thread.folded_to;
                if !items.is_empty() {
                    thread.check_cold(before.map(|claim| claim.owner))?;
                    if is_cold {
                        self.end_expired_claim(&mut tx, &mut thread).await?;
                    }
                    let segment = self.newest_segment(&mut tx, &thread).await?;
                    let (mut tail, end) = self.tail_of(&mut tx, &segment).await?;
                    let encoded = encode_items(&mut tail, end, now, &items, None);
                    self.insert_rows(&mut tx, thread_id, segment.id, &encoded.rows).await?;
                    folded_to = encoded.end;
                    moved = Some((segment.id, tail, encoded.end));
                }
                let segment_id = thread.folded_segment;
                thread.set_record(record, segment_id, folded_to);
                self.put_thread(&mut tx, &thread).await?;
                commit(tx).await?;
                Ok((thread.stored_record(), moved))
            })
            .await
            .inspect_err(|error| note_unknown(&mut live, error))?;
        if let (Some(claimed), Some((segment_id, tail, end))) = (claimed(&mut live), moved) {
            claimed.moved(segment_id, tail, end);
        }
        self.fold_later(is_cold.then_some(thread_id));
        self.announce();
        Ok(record)
    }

    /// Returns the row of the segment in which a thread ends.
    async fn newest_segment(
        &self,
        connection: &mut PgConnection,
        thread: &ThreadRow,
    ) -> Result<StoredSegment, AttemptError> {
        let own = self.segments(connection, thread.id).await?.into_iter();
        Ok({ own }.find(|own| own.id == thread.segment_id).ok_or(StoreError::not_found(thread.id))?)
    }

    /// Archives a cold thread, or makes it active again.
    pub(crate) async fn set_archived(&self, thread_id: ThreadId, archived: bool) -> Result<StoredThread> {
        let record = self
            .retrying(Some(thread_id), None, async |_| {
                let mut tx = self.begin().await?;
                let mut thread = self.thread_to_change(&mut tx, thread_id, None).await?;
                self.exact_record(&mut tx, &mut thread).await?;
                thread.archived = archived;
                self.put_thread(&mut tx, &thread).await?;
                commit(tx).await?;
                Ok(thread.stored_record())
            })
            .await?;
        self.announce();
        Ok(record)
    }

    pub(crate) async fn delete(&self, thread_id: ThreadId) -> Result<()> {
        self.retrying(Some(thread_id), None, async |may_have_happened| {
            let mut tx = self.begin().await?;
            let thread = match self.find_thread(&mut tx, thread_id, RowLock::Exclusive).await? {
                Some(thread) => thread,
                // An earlier attempt of this call has deleted it.
                None if may_have_happened => return Ok(()),
                None => return Err(StoreError::not_found(thread_id).into()),
            };
            thread.check_cold(None)?;
            // A fork that is being made holds a lock on this thread until its segment is visible, so the search comes after it.
            let dependents = self.dependents(&mut tx, thread_id).await?;
            if !dependents.is_empty() {
                return Err(StoreError::HasDependents { thread_id, dependents }.into());
            }
            self.remove_segments(&mut tx, thread_id).await?;
            let query = self.sql("DELETE FROM @.threads WHERE namespace = $1 AND thread_id = $2");
            sqlx::query(&query).bind(self.namespace()).bind(thread_id.as_uuid()).execute(&mut *tx).await?;
            commit(tx).await
        })
        .await?;
        self.announce();
        Ok(())
    }

    /// Stores a segment with its bytes. The caller has locked its thread.
    async fn store_segment(
        &self,
        connection: &mut PgConnection,
        segment: &Segment,
        batch: Option<Uuid>,
    ) -> Result<(), AttemptError> {
        self.put_segment(connection, &StoredSegment::of(segment)).await?;
        let mut rows = split_rows(segment.bytes(), 0, true);
        if let (Some(first), Some(batch)) = (rows.first_mut(), batch) {
            first.set_batch(batch, 1);
        }
        self.insert_rows(connection, segment.thread_id, segment.id, &rows).await
    }

    /// Adds a segment to a thread, in which the thread continues.
    async fn continue_in(
        &self,
        connection: &mut PgConnection,
        thread: &mut ThreadRow,
        segment: &Segment,
        batch: Option<Uuid>,
    ) -> Result<(), AttemptError> {
        self.store_segment(connection, segment, batch).await?;
        self.choose_segment(connection, thread).await
    }

    pub(crate) async fn detach(self: &Arc<Self>, thread_id: ThreadId) -> Result<StoredThread> {
        let record = self
            .retrying(Some(thread_id), None, async |_| {
                let mut tx = self.begin().await?;
                let mut thread = self.thread_to_change(&mut tx, thread_id, None).await?;
                let mut loaded = LoadedSegments::default();
                let chain = loaded.chain(self, &mut tx, &thread).await?;
                // A thread that builds on no other one is detached already.
                let Some(bytes) = detached_bytes(&chain)? else {
                    return self.exact_record(&mut tx, &mut thread).await;
                };
                let own = self.segments(&mut tx, thread_id).await?;
                let id = next_segment_id(thread_id, own.iter().map(|own| own.id), now());
                let mut segment = Segment::new(id, thread_id, now());
                segment.extend(&bytes);
                self.continue_in(&mut tx, &mut thread, &segment, None).await?;
                self.refold(&mut tx, &mut thread).await?;
                self.put_thread(&mut tx, &thread).await?;
                commit(tx).await?;
                Ok(thread.stored_record())
            })
            .await?;
        self.fold_later([thread_id]);
        self.announce();
        Ok(record)
    }

    pub(crate) async fn fork(self: &Arc<Self>, request: ForkThread) -> Result<ThreadId> {
        let (thread_id, _) = head_identity(&request.meta)?;
        let forked = self.retrying(Some(thread_id), None, async |may_have_happened| {
            self.fork_once(&request, may_have_happened).await
        });
        let forked = forked.await?;
        self.fold_later([forked]);
        self.announce();
        Ok(forked)
    }

    async fn fork_once(
        self: &Arc<Self>,
        request: &ForkThread,
        may_have_happened: bool,
    ) -> Result<ThreadId, AttemptError> {
        // An outcome of its own, because a refusal must not come before the question whether an earlier attempt made the fork.
        let at = request.at.clone();
        let point = self.over_stored_lines(request.source, move |lines| Ok(fork_point(lines, &at))).await?;
        let mut tx = self.begin().await?;
        let (thread_id, created) = head_identity(&request.meta).map_err(StoreError::from)?;
        let taken = StoreError::AlreadyExists { thread_id };
        if self.live.find(thread_id).is_some() {
            return Err(taken.into());
        }
        if self.find_thread(&mut tx, thread_id, RowLock::None).await?.is_some() {
            // An earlier attempt of this call made it.
            return if may_have_happened { Ok(thread_id) } else { Err(taken.into()) };
        }
        let now = now();
        let (segment, base, mut owners) = match point {
            Some(point) => {
                let ForkPoint { base, source_head, owners } = point?;
                let (reference, meta) = (base.as_ref().map(|(base, _)| base.clone()), request.meta.clone());
                (fork_at_base(request.source, source_head.as_ref(), reference, meta, now)?, base, owners)
            }
            None => {
                self.fold_later([request.source]);
                let source = self.thread(&mut tx, request.source, RowLock::None).await?;
                let chain = LoadedSegments::default().chain(self, &mut tx, &source).await?;
                let segment = fork_segment(&chain, &request.at, request.meta.clone(), now)?;
                (segment, None, chain.segments().map(|segment| segment.thread_id).collect())
            }
        };
        // No thread of the history can be deleted from here on. In the order of the ids, so that two forks do not wait for each
        // other.
        owners.sort_unstable();
        owners.dedup();
        for owner in owners {
            if self.find_thread(&mut tx, owner, RowLock::Shared).await?.is_none() {
                // It was deleted after its segments were read, so the history has changed.
                return Err(AttemptError::Overtaken);
            }
        }
        // The same if it was deleted and made again before the lock.
        if let Some((base, owner)) = base
            && let (Some(id), Some(byte), Some(ordinal)) =
                (base.thread_id, base.end_byte_offset, base.end_ordinal_exclusive)
            && !self.ends_exactly(&mut tx, (owner, id), byte, ordinal).await?
        {
            return Err(AttemptError::Overtaken);
        }
        let mut fork = ThreadRow::new(thread_id, segment.id, created, now);
        // The record follows behind: it depends on all lines that the fork inherits.
        fork.set_behind();
        if !self.insert_thread(&mut tx, &fork).await? {
            return Err(taken.into());
        }
        self.remove_incomplete(&mut tx, thread_id).await?;
        self.store_segment(&mut tx, &segment, None).await?;
        commit(tx).await?;
        Ok(thread_id)
    }

    pub(crate) async fn revert(self: &Arc<Self>, request: &RevertThread, mut live: Live<'_>) -> Result<usize> {
        let (thread_id, batch) = (request.thread_id, request.batch);
        if let Some((writer, state)) = &mut live {
            if let WriterStage::Lost(reason) = &state.stage {
                return Err(StoreError::Lost { thread_id, reason: reason.clone() });
            }
            self.settle(writer, state).await?;
        }
        let claim = claimed(&mut live).map(|claimed| claimed.claim);
        let (undone, moved) = self
            .retrying(Some(thread_id), Some(batch), async |_| {
                let now = now();
                // Without a lock: appends and claims do not wait for it.
                let planned = self.revert_by_rows(request, now).await?;
                let mut tx = self.begin().await?;
                let mut thread = self.thread_to_change(&mut tx, thread_id, claim).await?;
                let segment = self.newest_segment(&mut tx, &thread).await?;
                let (mut tail, end) = self.tail_of(&mut tx, &segment).await?;
                if let Some(BatchOutcome::Reverted(undone)) = thread.reverts.find(batch) {
                    return Ok((undone, (segment.id, tail, end)));
                }
                let (undone, write) = match planned {
                    Some(PlannedRevert { found_in, outcome }) if found_in == (thread.revision, end) => outcome?,
                    Some(_) => return Err(AttemptError::Overtaken),
                    None => {
                        let chain = LoadedSegments::default().chain(self, &mut tx, &thread).await?;
                        plan_revert(&chain.history(), &request.to, thread.created_at, now)?
                    }
                };
                // Nothing is removed. A legacy thread gets an event, and a paginated one a segment that abandons the newest. The record
                // follows behind, so that no lock is held while the history is folded again.
                match write {
                    RevertWrite::Nothing => {}
                    RevertWrite::Items(items) => {
                        let encoded = encode_items(&mut tail, end, now, &items, Some(batch));
                        self.insert_rows(&mut tx, thread_id, segment.id, &encoded.rows).await?;
                        thread.set_behind();
                    }
                    RevertWrite::Segment(items) => {
                        let own = self.segments(&mut tx, thread_id).await?;
                        let id = next_segment_id(thread_id, own.iter().map(|own| own.id), now);
                        let segment = Segment::begin(id, thread_id, now, &items);
                        self.continue_in(&mut tx, &mut thread, &segment, Some(batch.as_uuid())).await?;
                        thread.set_behind();
                    }
                }
                thread.reverts.push(batch, BatchOutcome::Reverted(undone));
                self.put_thread(&mut tx, &thread).await?;
                let segment = self.newest_segment(&mut tx, &thread).await?;
                let (tail, end) = self.tail_of(&mut tx, &segment).await?;
                commit(tx).await?;
                Ok((undone, (segment.id, tail, end)))
            })
            .await
            .inspect_err(|error| note_unknown(&mut live, error))
            .map_err(|error| match (&mut live, error) {
                (Some((writer, state)), StoreError::Lost { reason, .. }) => writer.lose(state, reason),
                (_, error) => error,
            })?;
        if let Some(claimed) = claimed(&mut live) {
            let (segment_id, tail, end) = moved;
            claimed.moved(segment_id, tail, end);
            claimed.batches.push(batch, BatchOutcome::Reverted(undone));
            claimed.is_ahead = true;
        }
        self.fold_later([thread_id]);
        self.announce();
        Ok(undone)
    }

    /// Plans a revert by the rows of turns. `None` if the whole history is needed.
    async fn revert_by_rows(
        self: &Arc<Self>,
        request: &RevertThread,
        now: Timestamp,
    ) -> Result<Option<PlannedRevert>, AttemptError> {
        let to = request.to.clone();
        let plan = move |lines: &StoredLines| {
            let found_in = (lines.thread().revision, lines.chain().end());
            Ok(PlannedRevert { found_in, outcome: plan_stored_revert(lines, &to, now) })
        };
        self.over_stored_lines(request.thread_id, plan).await
    }

    pub(crate) async fn import(self: &Arc<Self>, part: SegmentPart<'_>) -> Result<u64> {
        if part.info.file_name.as_ref().is_some_and(|name| name.contains(['/', '\\', '\0']) || name.is_empty()) {
            return Err(StoreError::invalid(
                "the name of a segment's file has no `/`, no `\\` and no NUL, and is not empty",
            ));
        }
        let (known, behind) =
            self.retrying(Some(part.info.thread_id), None, async |_| self.import_once(part).await).await?;
        self.announce();
        self.fold_later(behind);
        Ok(known)
    }

    /// Imports a part. Returns how many bytes of the segment are stored, and the threads whose records are behind now.
    async fn import_once(&self, part: SegmentPart<'_>) -> Result<(u64, Vec<ThreadId>), AttemptError> {
        let (thread_id, id) = (part.info.thread_id, part.info.id);
        let mut tx = self.begin().await?;
        // The row of the owner exists before the thread does. Its lock makes copies of one segment follow each other.
        self.put_segment_owner(&mut tx, thread_id, id).await?;
        let query = self.sql("SELECT 1 FROM @.segment_owners WHERE namespace = $1 AND segment_id = $2 FOR UPDATE");
        sqlx::query(&query).bind(self.namespace()).bind(id.as_uuid()).execute(&mut *tx).await?;
        let stored = self.segments(&mut tx, thread_id).await?.into_iter().find(|own| own.id == id);
        let becomes_visible = part.is_last && !stored.as_ref().is_some_and(|segment| segment.is_visible);
        let is_visible = part.is_last || stored.as_ref().is_some_and(|segment| segment.is_visible);
        // A part that nobody sees yet only excludes the deletion of the thread, and appends go on meanwhile.
        let lock = if is_visible { RowLock::Exclusive } else { RowLock::Shared };
        let mut thread = self.find_thread(&mut tx, thread_id, lock).await?;
        let segment = match stored {
            Some(segment) => segment,
            None => {
                let segment = StoredSegment::incomplete(part.info);
                self.put_segment(&mut tx, &segment).await?;
                segment
            }
        };
        let (known, is_torn) = self.end_of(&mut tx, thread_id, id).await?;
        // Parts can come twice, because a copy is repeated after an error. `rest` is what is new in this one.
        let shared = part.at..known.min(part.at.saturating_add(part.bytes.len() as u64));
        let stored = match shared.is_empty() {
            true => Vec::new(),
            false => self.bytes(&mut tx, (thread_id, id), shared).await?,
        };
        let rest = compare_part(&part, known, |_| Ok(stored))?;
        if rest.is_empty() && !becomes_visible {
            commit(tx).await?;
            return Ok((known, Vec::new()));
        }
        if let Some(thread) = thread.as_mut().filter(|_| is_visible) {
            thread.check_cold(None)?;
            self.end_expired_claim(&mut tx, thread).await?;
        }
        self.insert_rows(&mut tx, thread_id, id, &split_rows(rest, known, known == 0 || !is_torn)).await?;
        let mut behind = Vec::new();
        if is_visible {
            let segment = self.described(&mut tx, &segment).await?;
            self.put_segment(&mut tx, &segment).await?;
            let is_new = thread.is_none();
            let created = thread_id.made_at().unwrap_or(part.info.created);
            let mut thread = thread.unwrap_or_else(|| ThreadRow::new(thread_id, id, created, now()));
            self.choose_segment(&mut tx, &mut thread).await?;
            // The record follows behind, so that no lock is held while a whole history is read.
            thread.set_behind();
            match is_new {
                // A copy of another segment has made the thread meanwhile.
                true if !self.insert_thread(&mut tx, &thread).await? => return Err(AttemptError::Overtaken),
                true => {}
                false => self.put_thread(&mut tx, &thread).await?,
            }
            // Threads that build on this segment were listed from a part of their history. Now they have all of it.
            behind = self.dependents(&mut tx, thread_id).await?;
            self.set_all_behind(&mut tx, &behind).await?;
            behind.push(thread_id);
        }
        commit(tx).await?;
        Ok((known + rest.len() as u64, behind))
    }
}
