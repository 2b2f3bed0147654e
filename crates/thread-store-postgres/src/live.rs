//! The life of a writer.
//!
//! ```text
//! create ──> lazy ── first append, persist ──> claimed <── resume ── cold
//!              │                                │   │
//!              │                                │   └── the claim is gone ──> lost
//!              └── discard ──> nothing          └── shutdown, discard ──> cold
//! ```
//!
//! The calls on a thread follow each other: each locks the writer, in the order of their first polls, and does its work in a task
//! of its own. So a call whose future is dropped is completed all the same, and the next one finds its result.

use std::sync::Arc;

use selvedge_history::{MetadataFold, head_identity, new_head};
use selvedge_protocol::{RolloutItem, SegmentId, SessionMeta, ThreadId};
use selvedge_thread_store::implement::{BatchOutcome, RecentBatches, SegmentTail};
use selvedge_thread_store::{Appended, BatchId, Result, StoreError};
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use crate::commit_queue::{AppendOutcome, AppendRows, Claim};
use crate::error::AttemptError;
use crate::host::{PostgresHost, commit, now};
use crate::live_threads::{ClaimedThread, LiveWriter, UnsettledAppend, WriterProgress, WriterStage};
use crate::rows::{EncodedRows, encode_items};
use crate::tables::{RowLock, StoredSegment, ThreadRow};

/// How many rows at the end of a segment are searched for the batches of an earlier writer.
const MAX_ROWS_WITH_BATCHES: i64 = 500;

impl PostgresHost {
    pub(crate) async fn create(&self, meta: SessionMeta) -> Result<()> {
        let (thread_id, _) = head_identity(&meta)?;
        let meta = new_head(meta)?;
        let taken = || StoreError::AlreadyExists { thread_id };
        if self.live.find(thread_id).is_some() {
            return Err(taken());
        }
        let stored = self
            .reading(async || {
                let mut connection = self.pool.acquire().await?;
                Ok(self.find_thread(&mut connection, thread_id, RowLock::None).await?.is_some())
            })
            .await?;
        let writer = LiveWriter::new(thread_id, WriterStage::Lazy(Box::new(meta)), Uuid::now_v7());
        if stored || !self.live.insert(writer) { Err(taken()) } else { Ok(()) }
    }

    pub(crate) async fn resume(&self, thread_id: ThreadId) -> Result<()> {
        if self.live.find(thread_id).is_some() {
            let since = None;
            return Err(StoreError::Conflict { thread_id, holder: self.holder(), since });
        }
        let owner = Uuid::now_v7();
        let claimed = self.retrying(Some(thread_id), None, |_| self.claim_thread(thread_id, owner)).await?;
        let writer = LiveWriter::new(thread_id, WriterStage::Claimed(Box::new(claimed)), owner);
        if !self.live.insert(writer) {
            // Two calls of this process at the same time: only one of them got the claim.
            return Err(StoreError::Conflict { thread_id, holder: self.holder(), since: None });
        }
        Ok(())
    }

    /// Claims a thread for a new owner.
    async fn claim_thread(&self, thread_id: ThreadId, owner: Uuid) -> Result<ClaimedThread, AttemptError> {
        let mut tx = self.begin().await?;
        // Waits for appends that are on the way. From here on no append of an earlier claim can begin.
        let mut thread = self.thread(&mut tx, thread_id, RowLock::Exclusive).await?;
        // An earlier attempt whose answer was lost has the same owner.
        if thread.owner != Some(owner) {
            thread.check_cold(None)?;
            let query = self.sql(
                "UPDATE @.threads SET owner = $3, owner_host = $4, owner_process = $5, claimed_at = clock_timestamp(),
                    expires_at = clock_timestamp() + $6 * interval '1 millisecond', epoch = epoch + 1, is_unsettled = true,
                    revision = revision + 1, projection_version = 0
                WHERE namespace = $1 AND thread_id = $2 RETURNING epoch",
            );
            let query = sqlx::query_scalar(&query)
                .bind(self.namespace())
                .bind(thread_id.as_uuid())
                .bind(owner)
                .bind(self.holder().host)
                .bind(i64::from(std::process::id()))
                .bind(self.lease_millis());
            thread.epoch = query.fetch_one(&mut *tx).await?;
        }
        let claimed = self.claimed_thread(&mut tx, &thread, owner).await?;
        commit(tx).await?;
        tracing::debug!(%thread_id, epoch = thread.epoch, "a thread was claimed");
        Ok(claimed)
    }

    /// Reads what a writer has to know of its thread.
    async fn claimed_thread(
        &self,
        connection: &mut PgConnection,
        thread: &ThreadRow,
        owner: Uuid,
    ) -> Result<ClaimedThread, AttemptError> {
        let own = self.segments(connection, thread.id).await?;
        let segment = own.into_iter().find(|own| own.id == thread.segment_id);
        let segment = segment.ok_or(StoreError::not_found(thread.id))?;
        let (tail, end) = self.tail_of(connection, &segment).await?;
        let batches = self.recent_batches(connection, thread).await?;
        Ok(ClaimedThread {
            claim: Claim { owner, epoch: thread.epoch },
            segment_id: segment.id,
            tail,
            end,
            holds_a_line: segment.holds_a_line,
            batches,
            unsettled: None,
            is_adrift: false,
            is_ahead: true,
            looked_at: 0,
        })
    }

    /// Returns the newest batches of a thread, as far as they are near its end.
    async fn recent_batches(
        &self,
        connection: &mut PgConnection,
        thread: &ThreadRow,
    ) -> Result<RecentBatches, AttemptError> {
        let query = self.sql(
            "SELECT batch, batch_lines, ordinal FROM (
                SELECT start_byte, batch, batch_lines, ordinal FROM @.lines
                WHERE namespace = $1 AND thread_id = $2 AND segment_id = $3 ORDER BY start_byte DESC LIMIT $4
            ) newest WHERE batch IS NOT NULL ORDER BY start_byte",
        );
        let query = sqlx::query_as(&query)
            .bind(self.namespace())
            .bind(thread.id.as_uuid())
            .bind(thread.segment_id.as_uuid())
            .bind(MAX_ROWS_WITH_BATCHES);
        let found: Vec<(Uuid, i32, Option<i64>)> = query.fetch_all(connection).await?;
        // A revert has begun the segment, or is a line in it.
        let mut batches = thread.reverts.clone();
        for (batch, lines, ordinal) in found {
            let batch = BatchId::from_uuid(batch);
            let outcome = batches.find(batch).unwrap_or_else(|| {
                let lines = u64::from(lines.unsigned_abs());
                let first = ordinal.and_then(|ordinal| u64::try_from(ordinal).ok());
                let last_ordinal = first.map(|first| first.saturating_add(lines).saturating_sub(1));
                BatchOutcome::Appended(Appended { lines, last_ordinal })
            });
            batches.push(batch, outcome);
        }
        Ok(batches)
    }

    /// Appends items to a live thread. The caller has locked its writer.
    pub(crate) async fn append(
        self: &Arc<Self>,
        writer: &LiveWriter,
        state: &mut WriterProgress,
        batch: BatchId,
        items: &[RolloutItem],
    ) -> Result<Appended> {
        if let WriterStage::Lazy(_) = state.stage {
            if items.is_empty() {
                return Ok(Appended { lines: 0, last_ordinal: None });
            }
            if let Some(appended) = self.make_visible(writer, state, Some(batch), items).await? {
                return Ok(appended);
            }
        }
        self.settle(writer, state).await?;
        let claimed = writer.claimed(state)?;
        if let Some(BatchOutcome::Appended(appended)) = claimed.batches.find(batch) {
            return Ok(appended);
        }
        if items.is_empty() {
            return Ok(Appended { lines: 0, last_ordinal: claimed.tail.last_ordinal() });
        }
        let mut tail = claimed.tail;
        let encoded = encode_items(&mut tail, claimed.end, now(), items, Some(batch));
        let appended = Appended { lines: items.len() as u64, last_ordinal: tail.last_ordinal() };
        let end = encoded.end;
        let append = AppendRows {
            thread_id: writer.thread_id,
            claim: claimed.claim,
            segment_id: claimed.segment_id,
            batch,
            start_byte: claimed.end,
            rows: Arc::new(encoded),
        };
        match self.commit_rows(append).await {
            AppendOutcome::Written => {
                claimed.advance(UnsettledAppend { batch, appended, tail, end });
                self.note_first_line(writer, state).await?;
                Ok(appended)
            }
            AppendOutcome::Lost(reason) => Err(writer.lose(state, reason)),
            AppendOutcome::Failed(error) => Err(error),
            AppendOutcome::Unknown(error) => {
                claimed.unsettled = Some(UnsettledAppend { batch, appended, tail, end });
                Err(error)
            }
        }
    }

    /// Notes that the segment has a line now, if it had none.
    async fn note_first_line(&self, writer: &LiveWriter, state: &mut WriterProgress) -> Result<()> {
        let claimed = writer.claimed(state)?;
        if claimed.holds_a_line {
            return Ok(());
        }
        let query = self.sql(
            "UPDATE @.segments SET holds_a_line = true WHERE namespace = $1 AND thread_id = $2 AND segment_id = $3",
        );
        let (thread_id, segment_id) = (writer.thread_id.as_uuid(), claimed.segment_id.as_uuid());
        self.reading(async || {
            let query = sqlx::query(&query).bind(self.namespace()).bind(thread_id).bind(segment_id);
            Ok(query.execute(&self.pool).await?)
        })
        .await?;
        claimed.holds_a_line = true;
        Ok(())
    }

    /// Finds out where the thread ends, if the outcome of an earlier change is unknown.
    ///
    /// Its statement may still be on the way. A new epoch fences it: afterwards it has been committed or never will be.
    pub(crate) async fn settle(&self, writer: &LiveWriter, state: &mut WriterProgress) -> Result<()> {
        let claimed = match &mut state.stage {
            WriterStage::Claimed(claimed) if claimed.unsettled.is_some() || claimed.is_adrift => claimed,
            _ => return Ok(()),
        };
        let (owner, thread_id) = (claimed.claim.owner, writer.thread_id);
        let (segment_id, start) = (claimed.segment_id, claimed.end);
        let found = self
            .retrying(Some(thread_id), None, async |_| {
                let mut tx = self.begin().await?;
                let thread = self.find_thread(&mut tx, thread_id, RowLock::Exclusive).await?;
                let Some(mut thread) = thread.filter(|thread| thread.owner == Some(owner)) else { return Ok(None) };
                thread.epoch += 1;
                let query = self.sql("UPDATE @.threads SET epoch = $3 WHERE namespace = $1 AND thread_id = $2");
                let query = sqlx::query(&query).bind(self.namespace()).bind(thread_id.as_uuid()).bind(thread.epoch);
                query.execute(&mut *tx).await?;
                let batch = self.batch_after(&mut tx, thread_id, segment_id, start).await?;
                let now = self.claimed_thread(&mut tx, &thread, owner).await?;
                commit(tx).await?;
                Ok(Some((now, batch)))
            })
            .await?;
        let Some((now, batch)) = found else {
            return Err(writer.lose(state, "its claim has expired or was released".to_owned()));
        };
        // The batches in memory may be more than those near the end of the segment.
        let mut batches = std::mem::take(&mut claimed.batches);
        if let Some(unsettled) = claimed.unsettled.take().filter(|unsettled| Some(unsettled.batch) == batch) {
            batches.push(unsettled.batch, BatchOutcome::Appended(unsettled.appended));
        }
        **claimed = ClaimedThread { batches, ..now };
        writer.set_claim(Some(claimed.claim));
        Ok(())
    }

    /// Stores a lazy thread with its head and the first items. `None` if an earlier attempt whose answer was lost has stored it:
    /// then it is claimed, and the caller continues with it.
    async fn make_visible(
        &self,
        writer: &LiveWriter,
        state: &mut WriterProgress,
        batch: Option<BatchId>,
        items: &[RolloutItem],
    ) -> Result<Option<Appended>> {
        let WriterStage::Lazy(head) = &state.stage else { return Ok(None) };
        let (thread_id, created) = head_identity(head)?;
        let (owner, at) = (state.owner, now());
        let all: Vec<RolloutItem> = [head.as_ref().clone().into()].into_iter().chain(items.iter().cloned()).collect();
        let segment_id = SegmentId::from(thread_id);
        let mut tail = SegmentTail { mode: head.mode(), ..SegmentTail::default() };
        let encoded = encode_items(&mut tail, 0, at, &all, batch);
        let mut fold = MetadataFold::new(thread_id, created);
        for line in &encoded.lines {
            fold.observe_line(line);
        }
        let mut thread = ThreadRow::new(thread_id, segment_id, created, at);
        (thread.owner, thread.is_unsettled) = (Some(owner), true);
        thread.set_record(fold.into_thread(), segment_id, encoded.end);
        let segment = StoredSegment {
            thread_id,
            id: segment_id,
            created: at,
            file_name: None,
            head: Some(head.as_ref().clone()),
            is_paginated: head.mode() == selvedge_protocol::HistoryMode::Paginated,
            holds_a_line: true,
            is_visible: true,
        };
        let earlier =
            self.retrying(Some(thread_id), batch, |_| self.store_new(&thread, &segment, &encoded, owner)).await?;
        let is_earlier = earlier.is_some();
        let appended = Appended { lines: all.len() as u64, last_ordinal: tail.last_ordinal() };
        let claimed = earlier.unwrap_or_else(|| {
            let mut batches = RecentBatches::default();
            batch.into_iter().for_each(|batch| batches.push(batch, BatchOutcome::Appended(appended)));
            ClaimedThread {
                claim: Claim { owner, epoch: thread.epoch },
                segment_id,
                tail,
                end: encoded.end,
                holds_a_line: true,
                batches,
                unsettled: None,
                is_adrift: false,
                is_ahead: false,
                looked_at: 0,
            }
        });
        writer.set_claim(Some(claimed.claim));
        state.stage = WriterStage::Claimed(Box::new(claimed));
        self.announce();
        Ok((!is_earlier).then_some(appended))
    }

    /// Stores a new thread with its first segment. If an earlier attempt has stored it, returns what the writer has to know.
    async fn store_new(
        &self,
        thread: &ThreadRow,
        segment: &StoredSegment,
        encoded: &EncodedRows,
        owner: Uuid,
    ) -> Result<Option<ClaimedThread>, AttemptError> {
        let mut tx = self.begin().await?;
        if !self.insert_thread(&mut tx, thread).await? {
            let stored = self.thread(&mut tx, thread.id, RowLock::None).await?;
            if stored.owner != Some(owner) {
                return Err(StoreError::AlreadyExists { thread_id: thread.id }.into());
            }
            return Ok(Some(self.claimed_thread(&mut tx, &stored, owner).await?));
        }
        self.remove_incomplete(&mut tx, thread.id).await?;
        self.put_segment(&mut tx, segment).await?;
        self.insert_rows(&mut tx, thread.id, segment.id, &encoded.rows).await?;
        commit(tx).await?;
        Ok(None)
    }

    /// Makes a lazy thread visible.
    pub(crate) async fn persist(&self, writer: &LiveWriter, state: &mut WriterProgress) -> Result<()> {
        if let WriterStage::Lazy(_) = state.stage {
            self.make_visible(writer, state, None, &[]).await?;
        }
        writer.claimed(state).map(drop)
    }

    /// Settles what is unknown and stores the thread record, so that lists are exact. A lazy thread has nothing to flush.
    pub(crate) async fn flush(&self, writer: &LiveWriter, state: &mut WriterProgress) -> Result<()> {
        if let WriterStage::Lazy(_) = state.stage {
            return Ok(());
        }
        self.settle(writer, state).await?;
        let claimed = writer.claimed(state)?;
        if claimed.is_ahead {
            self.store_record(writer.thread_id).await?;
            claimed.is_ahead = false;
        }
        Ok(())
    }

    /// Flushes the thread, and makes everything durable that was written before.
    pub(crate) async fn sync(&self, writer: &LiveWriter, state: &mut WriterProgress) -> Result<()> {
        if let WriterStage::Lazy(_) = state.stage {
            return Ok(());
        }
        self.flush(writer, state).await?;
        let claim = writer.claimed(state)?.claim;
        let thread_id = writer.thread_id;
        // A commit that waits for the disk makes everything before it durable, whatever its own content.
        let (is_synced, is_held) = self
            .retrying(Some(thread_id), None, async |_| {
                let mut tx = self.begin_with("BEGIN").await?;
                sqlx::query("SET LOCAL synchronous_commit = on").execute(&mut *tx).await?;
                let is_synced = crate::schema::is_synced(&mut tx).await?;
                let held = self.renew(&mut tx, &[(thread_id, claim)]).await?;
                commit(tx).await?;
                Ok((is_synced, held.contains(&thread_id)))
            })
            .await?;
        if !is_synced {
            let what = "making something durable on a server with `fsync` off: turn it on".to_owned();
            return Err(StoreError::Unsupported { what });
        }
        if is_held { Ok(()) } else { Err(writer.lose(state, "its claim has expired or was released".to_owned())) }
    }

    /// Releases the writer of a thread. `is_flushed` is set for a shutdown, which fails if the thread cannot be flushed.
    pub(crate) async fn release(
        &self,
        writer: &LiveWriter,
        state: &mut WriterProgress,
        is_flushed: bool,
    ) -> Result<()> {
        match &state.stage {
            WriterStage::Ended => return Err(StoreError::not_live(writer.thread_id)),
            WriterStage::Lazy(_) | WriterStage::Lost(_) => {}
            WriterStage::Claimed(_) if is_flushed => {
                self.flush(writer, state).await?;
                let claim = writer.claimed(state)?.claim;
                self.retrying(Some(writer.thread_id), None, |_| self.release_claim(writer.thread_id, claim)).await?;
            }
            WriterStage::Claimed(claimed) => {
                let claim = claimed.claim;
                // If the server cannot be reached, the claim ends with its lease.
                let released =
                    self.retrying(Some(writer.thread_id), None, |_| self.release_claim(writer.thread_id, claim)).await;
                if let Err(error) = released {
                    tracing::warn!(thread_id = %writer.thread_id, %error, "a claim could not be released and will expire");
                }
            }
        }
        state.stage = WriterStage::Ended;
        writer.set_claim(None);
        self.live.remove(writer.thread_id);
        self.announce();
        Ok(())
    }

    /// Ends a claim, if it still exists, and stores the thread record with the lines that came since.
    async fn release_claim(&self, thread_id: ThreadId, claim: Claim) -> Result<(), AttemptError> {
        self.release_if(thread_id, |thread| thread.owner == Some(claim.owner)).await
    }

    /// Ends the claim of a thread if its row, once it is locked, meets a condition. Stores the thread record with the lines that came
    /// since.
    async fn release_if(
        &self,
        thread_id: ThreadId,
        condition: impl FnOnce(&ThreadRow) -> bool,
    ) -> Result<(), AttemptError> {
        let mut tx = self.begin().await?;
        let thread = self.find_thread(&mut tx, thread_id, RowLock::Exclusive).await?;
        let Some(mut thread) = thread.filter(condition) else { return Ok(()) };
        self.exact_record(&mut tx, &mut thread).await?;
        thread.is_unsettled = false;
        self.put_thread(&mut tx, &thread).await?;
        self.end_claim(&mut tx, thread_id).await?;
        commit(tx).await
    }

    /// Ends the claim of a thread whose row the caller has locked.
    async fn end_claim(&self, connection: &mut PgConnection, thread_id: ThreadId) -> Result<(), AttemptError> {
        let query = self.sql(
            "UPDATE @.threads SET owner = NULL, owner_host = NULL, owner_process = NULL, claimed_at = NULL, expires_at = NULL
            WHERE namespace = $1 AND thread_id = $2",
        );
        sqlx::query(&query).bind(self.namespace()).bind(thread_id.as_uuid()).execute(connection).await?;
        Ok(())
    }

    /// Ends a claim that has expired, before somebody else changes where the history ends. Otherwise the writer, which may only have
    /// been paused, would go on in a segment that the thread has left. The caller has locked the row and found the thread cold.
    pub(crate) async fn end_expired_claim(
        &self,
        connection: &mut PgConnection,
        thread: &mut ThreadRow,
    ) -> Result<(), AttemptError> {
        if thread.owner.take().is_some() {
            self.end_claim(connection, thread.id).await?;
        }
        Ok(())
    }

    /// Extends claims, and returns the threads whose claims still exist.
    pub(crate) async fn renew(
        &self,
        connection: &mut PgConnection,
        claims: &[(ThreadId, Claim)],
    ) -> Result<Vec<ThreadId>, AttemptError> {
        let query = self.sql(
            "UPDATE @.threads t SET expires_at = clock_timestamp() + $4 * interval '1 millisecond'
            FROM unnest($2::uuid[], $3::uuid[]) AS i(thread_id, owner)
            WHERE t.namespace = $1 AND t.thread_id = i.thread_id AND t.owner = i.owner
            RETURNING t.thread_id",
        );
        let query = sqlx::query_scalar(&query)
            .bind(self.namespace())
            .bind(claims.iter().map(|(id, _)| id.as_uuid()).collect::<Vec<_>>())
            .bind(claims.iter().map(|(_, claim)| claim.owner).collect::<Vec<_>>())
            .bind(self.lease_millis());
        let held: Vec<Uuid> = query.fetch_all(connection).await?;
        Ok(held.into_iter().map(ThreadId::from_uuid).collect())
    }

    /// Folds the lines that came since into the stored record of a thread. Ends its claim if that has expired a day ago.
    pub(crate) async fn store_record(&self, thread_id: ThreadId) -> Result<()> {
        self.retrying(Some(thread_id), None, async |_| {
            let mut connection = self.pool.acquire().await?;
            loop {
                let mut thread = self.thread(&mut connection, thread_id, RowLock::None).await?;
                let state = |thread: &ThreadRow| {
                    (thread.record.clone(), thread.folded_to, thread.record_version, thread.is_unsettled)
                };
                let before = state(&thread);
                self.exact_record(&mut connection, &mut thread).await?;
                // Nobody holds the thread, so no line comes without a change of the revision.
                thread.is_unsettled &= thread.owner.is_some();
                // Another change came between: its record is newer.
                if before != state(&thread) && !self.update_thread(&mut connection, &thread).await? {
                    continue;
                }
                drop(connection);
                // Its writer died, and nobody has claimed it since. Otherwise each list and each search would look at it again.
                return match thread.is_abandoned {
                    true => self.release_if(thread_id, |thread| thread.is_abandoned).await,
                    false => Ok(()),
                };
            }
        })
        .await
    }
}
