//! Asks the database which threads changed. `change_feed.rs` has the idea.

use selvedge_protocol::ThreadId;
use selvedge_thread_store::Result;

use crate::change_feed::{ChangeFeed, version_of};
use crate::host::PostgresHost;

/// Returns the version of threads. Lines come only to a thread with the mark `is_unsettled`, so only such a thread is asked for the
/// position of its last row; every other change of a thread changes its revision.
const VERSIONS: &str = "SELECT t.thread_id, t.revision, t.segment_id, CASE WHEN t.is_unsettled THEN (
        SELECT l.start_byte FROM @.lines l
        WHERE l.namespace = t.namespace AND l.thread_id = t.thread_id AND l.segment_id = t.segment_id
        ORDER BY l.start_byte DESC LIMIT 1
    ) END FROM @.threads t WHERE t.namespace = $1";

/// Returns the watermark of a feed in the form of a version.
const WATERMARK: &str = "SELECT NULL::uuid, pg_snapshot_xmin(pg_current_snapshot())::text::bigint, NULL::uuid,
    (extract(epoch FROM clock_timestamp()) * 1000)::bigint,
    (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint";

/// The highest number of a transaction. A server that plans for all parameters expects few rows of a range with two ends, and a third
/// of all rows of one without.
const NEWEST: &str = "'18446744073709551615'::xid8";

impl PostgresHost {
    /// Brings a feed up to the present state of the store.
    pub(crate) async fn update_feed(&self, feed: &mut ChangeFeed) -> Result<()> {
        if !feed.has_transactions() {
            let query = self.sql(VERSIONS);
            let versions = self
                .reading(async || Ok(sqlx::query_as(&query).bind(self.namespace()).fetch_all(&self.pool).await?))
                .await?;
            feed.compare_versions(versions);
            return Ok(());
        }
        // Each statement is one snapshot, so the watermark belongs to the rows.
        if let Some(first) = feed.first_transaction() {
            let changed = format!("SELECT v.*, NULL::bigint FROM ({VERSIONS}");
            let query = self.sql(&format!(
                "{WATERMARK} UNION ALL {changed} AND t.changed_in BETWEEN $2::text::xid8 AND {NEWEST}) v
                UNION ALL {changed} AND t.is_unsettled) v
                UNION ALL SELECT d.thread_id, NULL::bigint, NULL::uuid, NULL::bigint, NULL::bigint FROM @.deleted_threads d
                WHERE d.namespace = $1 AND d.deleted_in BETWEEN $2::text::xid8 AND {NEWEST} AND NOT EXISTS (
                    SELECT 1 FROM @.threads t WHERE t.namespace = d.namespace AND t.thread_id = d.thread_id)"
            ));
            let rows = self
                .reading(async || {
                    let query = sqlx::query_as(&query).bind(self.namespace()).bind(first.to_string());
                    Ok(query.fetch_all(&self.pool).await?)
                })
                .await?;
            if feed.compare_some(rows) {
                return Ok(());
            }
        }
        let query = self.sql(&format!("{WATERMARK} UNION ALL SELECT v.*, NULL::bigint FROM ({VERSIONS}) v"));
        let rows = self
            .reading(async || Ok(sqlx::query_as(&query).bind(self.namespace()).fetch_all(&self.pool).await?))
            .await?;
        feed.compare_all(rows);
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
