//! A reader on a streaming replica.
#![expect(clippy::unwrap_used, reason = "test code, which clippy does not recognize without the attribute `test`")]

use std::time::{Duration, Instant};

use selvedge_postgres_server::PostgresServer;
use selvedge_protocol::{HistoryMode, ThreadQuery};
use selvedge_thread_store::{BatchId, LineQuery, LineStart, StoreError, ThreadReader, ThreadStore};
use selvedge_thread_store_conformance::fixtures::{id, record, shown_prompts, turn};
use selvedge_thread_store_postgres::{PostgresOptions, PostgresThreadStore, ReplicaState};

use crate::place::options_of;

const MODE: HistoryMode = HistoryMode::Paginated;

async fn state(options: &PostgresOptions) -> ReplicaState {
    PostgresThreadStore::status(options).await.unwrap().replica.unwrap()
}

/// Waits until a replica is in a state.
async fn wait_until(options: &PostgresOptions, is_reached: impl Fn(ReplicaState) -> bool) {
    let began = Instant::now();
    while !is_reached(state(options).await) {
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", state(options).await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_answers_reads_and_says_how_far_it_lags() {
    let Some(mut primary) = PostgresServer::start(&[]) else { return };
    let options = options_of(&primary.url(), "");
    PostgresThreadStore::migrate(&options).await.unwrap();
    let replica = primary.start_replica();
    let mut at_replica = options_of(&replica.url(), "retry=0.2");
    at_replica.namespace.clone_from(&options.namespace);
    assert_eq!(PostgresThreadStore::status(&options).await.unwrap().replica, None, "the primary is no replica");

    let writer = PostgresThreadStore::connect(&options).await.unwrap();
    record(&writer, 1, MODE, &["a"]).await;
    writer.resume_thread(id(1)).await.unwrap();
    wait_until(&at_replica, |state| state.is_caught_up && state.since_newest.is_some()).await;
    assert_eq!(state(&at_replica).await.is_connected, Some(true));
    let reader = PostgresThreadStore::connect(&at_replica).await.unwrap();
    assert_eq!(shown_prompts(&reader, id(1)).await, ["a"]);
    assert_eq!(reader.list_threads(&ThreadQuery::default()).await.unwrap().items.len(), 1);

    // Changes that the replica has received and does not show yet.
    replica.execute("SELECT pg_wal_replay_pause()");
    writer.append_items(id(1), BatchId::generate(), &turn(MODE, "b")).await.unwrap();
    wait_until(&at_replica, |state| !state.is_caught_up).await;
    let age = state(&at_replica).await.since_newest.unwrap();
    assert_eq!(shown_prompts(&reader, id(1)).await, ["a"]);
    let end = reader.read_lines(&LineQuery::from(id(1), LineStart::End)).await.unwrap().next;
    let waiting = tokio::spawn({
        let reader = reader.clone();
        async move { reader.wait_for_lines(id(1), &end).await }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!waiting.is_finished(), "there is nothing new here");
    assert!(state(&at_replica).await.since_newest.unwrap() > age);
    replica.execute("SELECT pg_wal_replay_resume()");
    tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap().unwrap().unwrap();
    wait_until(&at_replica, |state| state.is_caught_up).await;
    assert_eq!(shown_prompts(&reader, id(1)).await, ["a", "b"]);

    let error = reader.archive_thread(id(1)).await.unwrap_err();
    assert!(matches!(&error, StoreError::Backend { context, .. } if context.contains("read only")), "{error:?}");
    primary.stop();
    wait_until(&at_replica, |state| state.is_connected == Some(false)).await;
    assert_eq!(shown_prompts(&reader, id(1)).await, ["a", "b"], "the replica goes on without its primary");
}
