//! Which threads changed, for `list_changes` and the waits.
//!
//! A thread has a version, a text that differs after each change. The versions are compared with those of the last time. On PostgreSQL
//! only the rows that can have another version are read:
//!
//! - A trigger notes the transaction that changed a row last, or that deleted it. A reader asks for the rows of all transactions that were
//!   not finished when it asked before. So a transaction that begins early and is committed late is found, in whatever order
//!   transactions are committed.
//! - An append does not change the row of its thread. It needs a claim, which leaves the mark `is_unsettled`, so the ends of all threads
//!   with the mark are looked up.
//!
//! Without the trigger, or if too much happened in between, the versions of all threads are compared.

use std::time::Duration;

use selvedge_protocol::ThreadId;
use selvedge_thread_store::Result;
use selvedge_thread_store::implement::ChangeLog;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use crate::host::PostgresHost;

/// Returns the version of threads. Lines come only to a thread with the mark `is_unsettled`, so only such a thread is asked for the
/// position of its last row; every other change of a thread changes its revision.
const VERSIONS: &str = "SELECT t.thread_id, t.revision, t.segment_id, CASE WHEN t.is_unsettled THEN (
        SELECT l.start_byte FROM @.lines l
        WHERE l.namespace = t.namespace AND l.thread_id = t.thread_id AND l.segment_id = t.segment_id
        ORDER BY l.start_byte DESC LIMIT 1
    ) END FROM @.threads t WHERE t.namespace = $1";

/// Returns a [`Watermark`] in the form of a version.
const WATERMARK: &str = "SELECT NULL::uuid, pg_snapshot_xmin(pg_current_snapshot())::text::bigint, NULL::uuid,
    (extract(epoch FROM clock_timestamp()) * 1000)::bigint,
    (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint";

/// The highest number of a transaction. A server that plans for all parameters expects few rows of a range with two ends, and a third
/// of all rows of one without.
const NEWEST: &str = "'18446744073709551615'::xid8";

/// For how long a watermark is good. Deletions are remembered for a day.
const MAX_AGE: Duration = Duration::from_secs(12 * 3600);

/// The versions of all threads when they were last compared.
#[derive(Debug)]
pub(crate) struct ChangeFeed {
    log: ChangeLog,
    /// Whether the database notes the transactions that change rows.
    has_transactions: bool,
    /// Up to where the log is complete. `None` if nothing was compared yet.
    watermark: Option<Watermark>,
}

/// What the server said of itself in the snapshot in which the threads were compared.
#[derive(Clone, Copy, Debug)]
struct Watermark {
    /// All transactions with a lower number were finished.
    transaction: i64,
    /// The time, in milliseconds since 1970.
    at: i64,
    /// When the server was started. Another server, which may have taken over, has other transactions.
    server: i64,
}

impl Watermark {
    /// Returns whether everything that changed between this one and a later one has a higher number than this one.
    fn reaches(&self, later: &Self) -> bool {
        let age = u128::try_from(later.at.saturating_sub(self.at));
        // A clock that was set back, and numbers that begin again, are no base for a comparison.
        self.server == later.server
            && self.transaction <= later.transaction
            && age.is_ok_and(|age| age <= MAX_AGE.as_millis())
    }
}

/// A row of [`VERSIONS`]: a thread, its revision, its segment and the last row of it.
type VersionRow = (Uuid, i64, Uuid, Option<i64>);

/// A row with a version, a deletion or the watermark, which has no thread.
type FeedRow = (Option<Uuid>, Option<i64>, Option<Uuid>, Option<i64>, Option<i64>);

fn version_of((thread_id, revision, segment_id, last): VersionRow) -> (ThreadId, String) {
    let last = last.unwrap_or(-1);
    (ThreadId::from_uuid(thread_id), format!("{revision}.{}.{last}", segment_id.simple()))
}

/// Splits an answer into the watermark and the threads: each with its version, or `None` if it was deleted.
fn split(rows: Vec<FeedRow>) -> (Option<Watermark>, Vec<(ThreadId, Option<String>)>) {
    let (mut watermark, mut threads) = (None, Vec::with_capacity(rows.len()));
    for row in rows {
        match row {
            (Some(thread_id), Some(revision), Some(segment_id), last, _) => {
                let (thread_id, version) = version_of((thread_id, revision, segment_id, last));
                threads.push((thread_id, Some(version)));
            }
            (Some(thread_id), ..) => threads.push((ThreadId::from_uuid(thread_id), None)),
            (None, Some(transaction), _, Some(at), Some(server)) => {
                watermark = Some(Watermark { transaction, at, server });
            }
            (None, ..) => {}
        }
    }
    (watermark, threads)
}

impl ChangeFeed {
    /// Creates a feed, and finds out whether the database notes the transactions that change rows.
    pub(crate) async fn new(connection: &mut PgConnection, schema: &str) -> Self {
        let query = "SELECT count(*) = 2 FROM pg_catalog.pg_trigger WHERE tgrelid = to_regclass($1)
            AND tgname IN ('note_change', 'note_deletion') AND tgenabled IN ('O', 'A')";
        let asked = sqlx::query_scalar(query).bind(format!("{schema}.threads")).fetch_one(connection).await;
        // An engine that cannot be asked has no such triggers.
        Self { log: ChangeLog::default(), has_transactions: asked.unwrap_or(false), watermark: None }
    }

    /// Returns the log of what changed.
    pub(crate) fn log(&self) -> &ChangeLog {
        &self.log
    }
}

impl PostgresHost {
    /// Brings a feed up to the present state of the store.
    pub(crate) async fn update_feed(&self, feed: &mut ChangeFeed) -> Result<()> {
        if !feed.has_transactions {
            let query = self.sql(VERSIONS);
            let rows: Vec<VersionRow> = self
                .reading(async || Ok(sqlx::query_as(&query).bind(self.namespace()).fetch_all(&self.pool).await?))
                .await?;
            feed.log.update(rows.into_iter().map(version_of));
            return Ok(());
        }
        // Each statement is one snapshot, so the watermark belongs to the rows.
        if let Some(known) = feed.watermark {
            let changed = format!("SELECT v.*, NULL::bigint FROM ({VERSIONS}");
            let query = self.sql(&format!(
                "{WATERMARK} UNION ALL {changed} AND t.changed_in BETWEEN $2::text::xid8 AND {NEWEST}) v
                UNION ALL {changed} AND t.is_unsettled) v
                UNION ALL SELECT d.thread_id, NULL::bigint, NULL::uuid, NULL::bigint, NULL::bigint FROM @.deleted_threads d
                WHERE d.namespace = $1 AND d.deleted_in BETWEEN $2::text::xid8 AND {NEWEST} AND NOT EXISTS (
                    SELECT 1 FROM @.threads t WHERE t.namespace = d.namespace AND t.thread_id = d.thread_id)"
            ));
            let (watermark, threads) = split(
                self.reading(async || {
                    let query = sqlx::query_as(&query).bind(self.namespace()).bind(known.transaction.to_string());
                    Ok(query.fetch_all(&self.pool).await?)
                })
                .await?,
            );
            if watermark.is_some_and(|watermark| known.reaches(&watermark)) {
                feed.log.update_some(threads);
                feed.watermark = watermark;
                return Ok(());
            }
        }
        let query = self.sql(&format!("{WATERMARK} UNION ALL SELECT v.*, NULL::bigint FROM ({VERSIONS}) v"));
        let (watermark, threads) = split(
            self.reading(async || Ok(sqlx::query_as(&query).bind(self.namespace()).fetch_all(&self.pool).await?))
                .await?,
        );
        feed.log.update(threads.into_iter().filter_map(|(thread_id, version)| Some((thread_id, version?))));
        feed.watermark = watermark;
        Ok(())
    }

    /// Returns a text that differs after each change of a thread. `None` if there is no such thread.
    pub(crate) async fn version(&self, thread_id: ThreadId) -> Result<Option<String>> {
        let query = self.sql(&format!("{VERSIONS} AND t.thread_id = $2"));
        self.reading(async || {
            let query = sqlx::query_as(&query).bind(self.namespace()).bind(thread_id.as_uuid());
            Ok(query.fetch_optional(&self.pool).await?.map(|row| version_of(row).1))
        })
        .await
    }
}
