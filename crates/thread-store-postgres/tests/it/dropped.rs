//! Calls whose futures are dropped: the store completes them, and the next call on the thread begins after that.

use std::time::Duration;

use selvedge_protocol::{HistoryMode, ThreadId, ThreadMetadataPatch, TurnBoundary};
use selvedge_thread_store::{
    BatchId, MetadataOrigin, Result, RevertThread, SegmentInfo, SegmentPart, ThreadReader, ThreadStore,
};
use selvedge_thread_store_conformance::fixtures::{record, turn_id};
use selvedge_thread_store_postgres::PostgresThreadStore;
use sqlx::Connection;

use crate::place::new_place;

const MODE: HistoryMode = HistoryMode::Paginated;

/// The calls that change a thread which is not live.
#[derive(Clone, Copy, Debug)]
enum ColdCall {
    Resume,
    Archive,
    Unarchive,
    Rename,
    Revert,
    Detach,
    Import,
    Delete,
}

/// Makes a call on a thread with the prompts `a` and `b` in a segment.
async fn make(
    call: ColdCall,
    store: &PostgresThreadStore,
    thread_id: ThreadId,
    (info, bytes): (&SegmentInfo, &[u8]),
) -> Result<()> {
    match call {
        ColdCall::Resume => store.resume_thread(thread_id).await,
        ColdCall::Archive => store.archive_thread(thread_id).await.map(drop),
        ColdCall::Unarchive => store.unarchive_thread(thread_id).await.map(drop),
        ColdCall::Rename => rename(store, thread_id, "a").await,
        ColdCall::Revert => {
            let to = TurnBoundary::After(turn_id("a"));
            store.revert_thread(RevertThread { thread_id, to, batch: BatchId::generate() }).await.map(drop)
        }
        ColdCall::Detach => store.detach_thread(thread_id).await.map(drop),
        ColdCall::Import => store.import_segment(SegmentPart { info, at: 0, bytes, is_last: true }).await.map(drop),
        ColdCall::Delete => store.delete_thread(thread_id).await,
    }
}

async fn rename(store: &PostgresThreadStore, thread_id: ThreadId, name: &str) -> Result<()> {
    let patch = ThreadMetadataPatch { name: Some(Some(name.to_owned())), ..Default::default() };
    store.update_thread_metadata(thread_id, &patch, MetadataOrigin::Explicit).await.map(drop)
}

/// The row of a thread is locked, and a call that waits for it is dropped. The next call does not wait beside it, where it could be
/// first: it reaches the server when the dropped one is done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_call_is_done_before_the_next_one_begins() {
    let place = new_place().await;
    let store = place.open().await;
    let (mut blocker, mut watcher) = (place.connection().await, place.connection().await);
    let lock = place.sql("SELECT 1 FROM @.threads WHERE namespace = $1 AND thread_id = $2 FOR UPDATE");
    // The store writes projections by itself. These wait for the row, too, without a lock of their own.
    let waiting = "SELECT count(*) FROM pg_stat_activity
        WHERE wait_event_type = 'Lock' AND strpos(query, $1) > 0 AND query LIKE '%FOR UPDATE%'";
    let calls = [
        ColdCall::Resume,
        ColdCall::Archive,
        ColdCall::Unarchive,
        ColdCall::Rename,
        ColdCall::Revert,
        ColdCall::Detach,
        ColdCall::Import,
        ColdCall::Delete,
    ];
    for (n, call) in (1..).zip(calls) {
        let thread_id = record(&store, n, MODE, &["a", "b"]).await;
        let info = store.list_segments(thread_id).await.unwrap().remove(0);
        let bytes = store.read_segment(thread_id, info.id, 0, 1 << 20).await.unwrap();
        let mut tx = blocker.begin().await.unwrap();
        let query = sqlx::query(&lock).bind(&place.options.namespace).bind(thread_id.as_uuid());
        query.execute(&mut *tx).await.unwrap();

        let limit = Duration::from_millis(50);
        let dropped = tokio::time::timeout(limit, make(call, &store, thread_id, (&info, &bytes))).await;
        assert!(dropped.is_err(), "{call:?} did not wait for the row: {dropped:?}");
        let next = tokio::spawn({
            let store = store.clone();
            async move { rename(&store, thread_id, "b").await }
        });
        tokio::time::sleep(Duration::from_millis(200)).await;
        let at_the_row: i64 =
            sqlx::query_scalar(waiting).bind(&place.options.schema).fetch_one(&mut watcher).await.unwrap();
        assert_eq!(at_the_row, 1, "{call:?}");

        tx.rollback().await.unwrap();
        let outcome = next.await.unwrap();
        assert_eq!(outcome.is_err(), matches!(call, ColdCall::Delete), "{call:?}: {outcome:?}");
    }
}
