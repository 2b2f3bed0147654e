//! Appends of many threads on their way to the database.
//!
//! An append is one statement, which is a transaction by itself. It checks the claim of the writer under a row lock and
//! inserts the rows at the positions that the writer knows:
//!
//! ```text
//! fence     the row of the thread if owner and epoch are still those of the writer, locked FOR KEY SHARE
//! written   rows inserted where the fence holds, and where the segment ends at their position
//! ```
//!
//! A claim locks the row of the thread FOR UPDATE, which excludes the fence: it waits until appends that are on the way are
//! committed, and a fence that waited for a claim sees the new owner (PostgreSQL evaluates its condition again on the new row).
//! Changes of the thread record and renewals of claims do not change the key, so they and the fence do not wait for each other.
//!
//! The statement can be repeated: the same rows at the same positions exist at most once. If none was inserted, the batch id
//! of the first one tells whether they are those of the same batch.
//!
//! Appends that arrive while all statements are on the way wait in a queue, and the next statement takes all of them. Each is
//! checked by its own epoch. In a statement for several threads the fence does not wait for a row that is locked; that append
//! goes alone then. So threads do not wait for each other. Only first attempts travel together, from the end that the writer knows, so
//! their statement need not look whether the rows are there already.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use selvedge_protocol::{Durability, SegmentId, ThreadId};
use selvedge_thread_store::{BatchId, StoreError};
use sqlx::Row;
use sqlx::pool::PoolConnection;
use sqlx::postgres::PgConnection;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::commit_queue::{AppendOutcome, AppendRows, QueuedAppend};
use crate::error::{AttemptError, pause};
use crate::host::PostgresHost;
use crate::rows::{RowArrays, column_names, column_parameters, to_i64};
use crate::tables::RowLock;

impl PostgresHost {
    /// Writes an append, together with others that are waiting.
    pub(crate) async fn commit_rows(self: &Arc<Self>, append: AppendRows) -> AppendOutcome {
        let (done, outcome) = oneshot::channel();
        let (began, attempts, may_have_happened, goes_alone) = (Instant::now(), 0, false, false);
        self.enqueue(QueuedAppend { append, done, began, attempts, may_have_happened, goes_alone });
        outcome.await.unwrap_or_else(|_| {
            AppendOutcome::Unknown(StoreError::backend(
                "an append was abandoned",
                std::io::Error::other("the runtime ends"),
            ))
        })
    }

    fn enqueue(self: &Arc<Self>, append: QueuedAppend) {
        if self.commit.push(append) {
            self.start_runner();
        }
    }

    fn start_runner(self: &Arc<Self>) {
        let host = Arc::clone(self);
        // In a function that is not async, because a runner starts runners.
        tokio::spawn(async move { host.run_commits().await });
    }

    /// Sends statements until the queue is empty.
    async fn run_commits(self: Arc<Self>) {
        let mut is_alone = false;
        while let Some((mut group, wants_runner)) = self.commit.next_group(is_alone) {
            is_alone = group[0].goes_alone;
            if wants_runner {
                self.start_runner();
            }
            let idle = self.commit.state().idle.pop();
            let connected = match idle {
                Some(connection) => Ok(connection),
                None => self.pool.acquire().await,
            };
            let sent = match connected {
                Ok(mut connection) => {
                    let sending = self.send(&mut connection, &mut group);
                    let timeout = self.options().statement_timeout;
                    let sent = tokio::time::timeout(timeout, sending).await.unwrap_or_else(|_| {
                        Err(AttemptError::Unanswered(std::io::Error::from(std::io::ErrorKind::TimedOut).into()))
                    });
                    match &sent {
                        Ok(()) => self.commit.state().idle.push(connection),
                        // Its state is unknown, or it leads to a server that is no longer the primary.
                        Err(_) => drop(PoolConnection::detach(connection)),
                    }
                    sent
                }
                Err(error) => Err(AttemptError::Database(error)),
            };
            if let Err(failure) = sent {
                self.retry_commits(group, failure);
            }
        }
        self.announce();
    }

    /// Sends the statement for a group, and reports to each append what became of it. What is not settled stays in the group.
    async fn send(
        self: &Arc<Self>,
        connection: &mut PgConnection,
        group: &mut Vec<QueuedAppend>,
    ) -> Result<(), AttemptError> {
        if let [single] = &mut group[..] {
            let outcome = self.send_one(connection, single).await?;
            group.drain(..).for_each(|single| drop(single.done.send(outcome_again(&outcome))));
            self.announce();
            return Ok(());
        }
        let written = self.send_group(connection, group).await?;
        for mut queued in group.drain(..) {
            let wanted = queued.append.rows.rows.len();
            if written.get(&queued.append.thread_id).is_some_and(|rows| usize::try_from(*rows) == Ok(wanted)) {
                let _ = queued.done.send(AppendOutcome::Written);
            } else {
                queued.goes_alone = true;
                self.enqueue(queued);
            }
        }
        self.announce();
        Ok(())
    }

    async fn send_one(
        &self,
        connection: &mut PgConnection,
        queued: &QueuedAppend,
    ) -> Result<SentOutcome, AttemptError> {
        let AppendRows { thread_id, claim, segment_id, batch, rows, .. } = &queued.append;
        let (names, parameters) = (column_names(), column_parameters(6));
        let query = self.sql(&format!(
            "WITH fence AS (
                SELECT thread_id FROM @.threads WHERE namespace = $1 AND thread_id = $2 AND owner = $3 AND epoch = $4 FOR KEY SHARE
            ), written AS (
                INSERT INTO @.lines (namespace, thread_id, segment_id, {names})
                SELECT $1, fence.thread_id, $5, l.* FROM fence, unnest({parameters}) AS l({names})
                WHERE NOT EXISTS (
                    SELECT 1 FROM @.lines e
                    WHERE e.namespace = $1 AND e.thread_id = $2 AND e.segment_id = $5 AND e.start_byte >= ($6::bigint[])[1]
                )
                ON CONFLICT DO NOTHING RETURNING 1
            )
            SELECT (SELECT count(*) FROM fence), (SELECT count(*) FROM written){}",
            self.level()
        ));
        let query = sqlx::query(&query)
            .bind(self.namespace())
            .bind(thread_id.as_uuid())
            .bind(claim.owner)
            .bind(claim.epoch)
            .bind(segment_id.as_uuid());
        let arrays: RowArrays = rows.rows.iter().collect();
        let answer = arrays.bind(query).fetch_one(&mut *connection).await.map_err(AttemptError::of_commit)?;
        let (held, written): (i64, i64) = (answer.try_get(0)?, answer.try_get(1)?);
        if held == 0 {
            let thread = self.find_thread(connection, *thread_id, RowLock::None).await?;
            return Ok(SentOutcome::Lost(thread.map_or_else(|| "it was deleted".to_owned(), |thread| thread.loss())));
        }
        if usize::try_from(written) == Ok(rows.rows.len()) {
            return Ok(SentOutcome::Written);
        }
        // Rows are there already: an earlier attempt took effect, and its answer was lost.
        Ok(match self.batch_after(connection, *thread_id, *segment_id, queued.append.start_byte).await? {
            Some(found) if found == *batch => SentOutcome::Written,
            _ => SentOutcome::Lost("the segment has lines of another writer".to_owned()),
        })
    }

    /// Returns how many rows of each thread were inserted. A thread without an entry was not fenced.
    ///
    /// # Errors
    /// Also if a position is taken, which violates the key of the rows. Each append goes alone then, and finds out whose rows they
    /// are. A look at the end of each segment, or `ON CONFLICT`, would cost each statement a tenth of its time.
    async fn send_group(
        &self,
        connection: &mut PgConnection,
        group: &[QueuedAppend],
    ) -> Result<HashMap<ThreadId, i64>, AttemptError> {
        let (names, parameters) = (column_names(), column_parameters(7));
        let query = self.sql(&format!(
            "WITH fence AS MATERIALIZED (
                SELECT i.thread_id FROM
                unnest($2::uuid[], $3::uuid[], $4::bigint[]) AS i(thread_id, owner, epoch)
                CROSS JOIN LATERAL (
                    SELECT 1 FROM @.threads t
                    WHERE t.namespace = $1 AND t.thread_id = i.thread_id AND t.owner = i.owner AND t.epoch = i.epoch
                    FOR KEY SHARE SKIP LOCKED
                ) held
            ), written AS (
                INSERT INTO @.lines (namespace, thread_id, segment_id, {names})
                SELECT $1, l.* FROM unnest($5::uuid[], $6::uuid[], {parameters}) AS l(thread_id, segment_id, {names})
                WHERE l.thread_id IN (SELECT thread_id FROM fence)
                RETURNING thread_id
            )
            SELECT thread_id, count(*){} FROM written GROUP BY thread_id",
            self.level()
        ));
        let appends = || group.iter().map(|queued| &queued.append);
        let each_row = |id: fn(&AppendRows) -> Uuid| -> Vec<Uuid> {
            appends().flat_map(|append| std::iter::repeat_n(id(append), append.rows.rows.len())).collect()
        };
        let query = sqlx::query(&query)
            .bind(self.namespace())
            .bind(appends().map(|append| append.thread_id.as_uuid()).collect::<Vec<_>>())
            .bind(appends().map(|append| append.claim.owner).collect::<Vec<_>>())
            .bind(appends().map(|append| append.claim.epoch).collect::<Vec<_>>())
            .bind(each_row(|append| append.thread_id.as_uuid()))
            .bind(each_row(|append| append.segment_id.as_uuid()));
        let arrays: RowArrays = appends().flat_map(|append| &append.rows.rows).collect();
        let rows = arrays.bind(query).fetch_all(connection).await.map_err(AttemptError::of_commit)?;
        let rows = rows.iter().map(|row| Ok((ThreadId::from_uuid(row.try_get(0)?), row.try_get(1)?)));
        Ok(rows.collect::<sqlx::Result<_>>()?)
    }

    /// Returns the column that raises the durability of a statement to the level of the store.
    ///
    /// The statement is its own transaction, so the setting ends with it: a pooler may give the session to somebody else.
    fn level(&self) -> &'static str {
        match self.options().durability {
            Durability::Written => "",
            Durability::Synced => ", set_config('synchronous_commit', 'on', true)",
        }
    }

    /// Returns the batch of the first rows from a byte on. The first of them may be the newline that seals a torn line.
    pub(crate) async fn batch_after(
        &self,
        connection: &mut PgConnection,
        thread_id: ThreadId,
        segment_id: SegmentId,
        start_byte: u64,
    ) -> Result<Option<BatchId>, AttemptError> {
        let query = self.sql(
            "SELECT batch FROM @.lines WHERE namespace = $1 AND thread_id = $2 AND segment_id = $3
            AND start_byte BETWEEN $4 AND $4 + 1 AND batch IS NOT NULL ORDER BY start_byte LIMIT 1",
        );
        let query =
            sqlx::query_scalar(&query).bind(self.namespace()).bind(thread_id.as_uuid()).bind(segment_id.as_uuid());
        let batch: Option<Uuid> = query.bind(to_i64(start_byte)).fetch_optional(connection).await?;
        Ok(batch.map(BatchId::from_uuid))
    }

    /// Queues the appends of a statement that failed again, or reports the failure.
    fn retry_commits(self: &Arc<Self>, group: Vec<QueuedAppend>, failure: AttemptError) {
        let is_single = group.len() == 1;
        let is_unanswered = matches!(failure, AttemptError::Unanswered(_));
        let is_transient = failure.is_transient();
        let mut last = Some(failure);
        for mut queued in group {
            queued.may_have_happened |= is_unanswered;
            queued.attempts += 1;
            // One bad append must not fail or delay the others, so each is tried alone before it is reported. Also after a transient
            // failure: the rows of one thread may lie on a server that is down.
            let is_worth = if is_transient { queued.began.elapsed() < self.options().retry_for } else { !is_single };
            if is_worth {
                queued.goes_alone = true;
                let host = Arc::clone(self);
                let wait = if is_transient { pause(queued.attempts) } else { std::time::Duration::ZERO };
                tokio::spawn(async move {
                    tokio::time::sleep(wait).await;
                    host.enqueue(queued);
                });
                continue;
            }
            let failure = last.take().unwrap_or(AttemptError::Overtaken);
            let AppendRows { thread_id, batch, .. } = queued.append;
            let outcome = match failure {
                failure if queued.may_have_happened => {
                    AppendOutcome::Unknown(failure.into_error(Some(thread_id), Some(batch), true))
                }
                failure => AppendOutcome::Failed(failure.into_error(Some(thread_id), Some(batch), false)),
            };
            let _ = queued.done.send(outcome);
        }
    }
}

/// What the statement of a single append says.
enum SentOutcome {
    Written,
    Lost(String),
}

fn outcome_again(outcome: &SentOutcome) -> AppendOutcome {
    match outcome {
        SentOutcome::Written => AppendOutcome::Written,
        SentOutcome::Lost(reason) => AppendOutcome::Lost(reason.clone()),
    }
}
