//! What a process knows of the versions of all threads, for `list_changes` and the waits.
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
//! The versions of all threads are compared without the trigger, if partitions are on other servers, and after a restart of the server.

use std::time::Duration;

use selvedge_protocol::ThreadId;
use selvedge_thread_store::implement::ChangeLog;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

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

/// A version: a thread, its revision, its segment and the last row of it.
pub(crate) type VersionRow = (Uuid, i64, Uuid, Option<i64>);

/// A row with a version, a deletion or the watermark, which has no thread.
pub(crate) type FeedRow = (Option<Uuid>, Option<i64>, Option<Uuid>, Option<i64>, Option<i64>);

/// Returns the version of a thread as a text.
pub(crate) fn version_of((thread_id, revision, segment_id, last): VersionRow) -> (ThreadId, String) {
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
        // Transactions of one server say nothing about those of another one, which keeps a partition.
        let query = "SELECT 2 = (SELECT count(*) FROM pg_catalog.pg_trigger WHERE tgrelid = to_regclass($1)
                AND tgname IN ('note_change', 'note_deletion') AND tgenabled IN ('O', 'A'))
            AND NOT EXISTS (SELECT 1 FROM pg_partition_tree(to_regclass($1)) part
                JOIN pg_catalog.pg_class c ON c.oid = part.relid WHERE c.relkind = 'f')";
        let asked = sqlx::query_scalar(query).bind(format!("{schema}.threads")).fetch_one(connection).await;
        // An engine that cannot be asked has no such triggers.
        Self { log: ChangeLog::default(), has_transactions: asked.unwrap_or(false), watermark: None }
    }

    /// Returns the log of what changed.
    pub(crate) fn log(&self) -> &ChangeLog {
        &self.log
    }

    /// Returns whether the database notes the transactions that change rows.
    pub(crate) const fn has_transactions(&self) -> bool {
        self.has_transactions
    }

    /// Returns the transaction from which on rows can have changed since the last comparison. `None` if all have to be compared.
    pub(crate) fn first_transaction(&self) -> Option<i64> {
        self.watermark.map(|watermark| watermark.transaction)
    }

    /// Compares all versions, without a watermark.
    pub(crate) fn compare_versions(&mut self, versions: Vec<VersionRow>) {
        self.log.update(versions.into_iter().map(version_of));
    }

    /// Compares all versions.
    pub(crate) fn compare_all(&mut self, rows: Vec<FeedRow>) {
        let (watermark, threads) = split(rows);
        self.log.update(threads.into_iter().filter_map(|(thread_id, version)| Some((thread_id, version?))));
        self.watermark = watermark;
    }

    /// Compares the versions of the threads that can have changed. Returns whether these are all: the server can be another one, or the
    /// last comparison too old.
    pub(crate) fn compare_some(&mut self, rows: Vec<FeedRow>) -> bool {
        let (watermark, threads) = split(rows);
        let (Some(known), Some(later)) = (self.watermark, watermark) else { return false };
        if !known.reaches(&later) {
            return false;
        }
        self.log.update_some(threads);
        self.watermark = watermark;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watermark(transaction: i64, at: i64, server: i64) -> FeedRow {
        (None, Some(transaction), None, Some(at), Some(server))
    }

    fn thread(number: u128, revision: i64) -> FeedRow {
        (Some(Uuid::from_u128(number)), Some(revision), Some(Uuid::nil()), None, None)
    }

    #[test]
    fn some_versions_are_enough_only_on_the_same_server_and_soon() {
        let mut feed = ChangeFeed { log: ChangeLog::default(), has_transactions: true, watermark: None };
        assert!(!feed.compare_some(vec![watermark(5, 1000, 7)]), "nothing was compared yet");
        feed.compare_all(vec![watermark(5, 1000, 7), thread(1, 1), thread(2, 1)]);
        let start = feed.log().end();
        let day = MAX_AGE.as_millis() as i64 * 2;
        for other in [watermark(6, 1001, 8), watermark(4, 1001, 7), watermark(6, 999, 7), watermark(6, day, 7)] {
            assert!(!feed.compare_some(vec![other, thread(1, 9)]), "{other:?}");
            assert_eq!(feed.first_transaction(), Some(5));
        }
        assert!(feed.log().after(Some(&start), 10).unwrap().is_empty());
        assert!(feed.compare_some(vec![watermark(6, 1001, 7), thread(1, 2)]));
        assert_eq!(feed.first_transaction(), Some(6));
        assert_eq!(feed.log().after(Some(&start), 10).unwrap().len(), 1);
    }
}
