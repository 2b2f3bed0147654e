//! Connections that break, replies that get lost, and a server that is killed.
#![expect(clippy::unwrap_used, reason = "test code, which clippy does not recognize without the attribute `test`")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use selvedge_postgres_server::{FaultyProxy, PostgresServer, ProxyFault};
use selvedge_protocol::{HistoryMode, ThreadMetadataPatch};
use selvedge_thread_store::{Appended, BatchId, MetadataOrigin, Recovery, StoreError, ThreadReader, ThreadStore};
use selvedge_thread_store_conformance::fixtures::{assert_consecutive_ordinals, head, id, record};
use selvedge_thread_store_postgres::PostgresThreadStore;

use crate::appends::numbered;
use crate::place::{PostgresPlace, new_place, options_of};

const MODE: HistoryMode = HistoryMode::Paginated;

/// Asserts that the first thread has exactly these items.
async fn assert_items(store: &PostgresThreadStore, count: usize) {
    let history = store.load_history(id(1)).await.unwrap();
    assert_consecutive_ordinals(&history);
    let items: Vec<_> = history.lines[1..].iter().map(|line| line.item()).collect();
    assert_eq!(items, (0..count).map(numbered).collect::<Vec<_>>());
}

/// Waits until the projections of the first thread are written. That happens in the background, and must not meet a fault that is meant for a
/// call of the test.
async fn wait_for_projections(place: &PostgresPlace) {
    let began = Instant::now();
    while place.schema.execute(&place.sql("SELECT count(*) FROM @.projections")) == "0" {
        assert!(began.elapsed() < Duration::from_secs(30), "no projections");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_whose_reply_is_lost_is_reported_as_what_it_was() {
    let place = new_place().await;
    let proxy = FaultyProxy::start(&place.schema.url());
    let store = place.open_behind(&proxy, "statement_timeout=1").await;
    record(&store, 1, MODE, &[]).await;
    store.resume_thread(id(1)).await.unwrap();
    let faults = [
        ProxyFault::LoseReply,
        ProxyFault::CutBeforeRequest,
        ProxyFault::CutAfterRequest,
        ProxyFault::CutInReply(7),
        ProxyFault::HoldReply,
        ProxyFault::DelayReply(Duration::from_millis(300)),
    ];
    for (number, fault) in faults.into_iter().enumerate() {
        let before = proxy.counts().faults();
        proxy.fail_next(fault);
        let appended = store.append_items(id(1), BatchId::generate(), &[numbered(number)]).await.unwrap();
        assert_eq!(appended, Appended { lines: 1, last_ordinal: Some(number as u64 + 1) }, "{fault:?}");
        // It may have hit a statement of the background, which is counted later.
        let began = Instant::now();
        while proxy.counts().faults() == before {
            assert!(began.elapsed() < Duration::from_secs(10), "{fault:?} did not happen");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    assert_items(&store, 6).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_and_nothing_doubled_behind_a_bad_connection() {
    let count = std::env::var("SELVEDGE_FAULTS").map_or(60, |text| text.parse().unwrap());
    let place = new_place().await;
    let proxy = FaultyProxy::start(&place.schema.url());
    let store = place.open_behind(&proxy, "statement_timeout=2").await;
    record(&store, 1, MODE, &[]).await;
    store.resume_thread(id(1)).await.unwrap();
    proxy.fail_at_random(17, 4);
    let mut number = 0;
    while proxy.counts().faults() < count {
        store.append_items(id(1), BatchId::generate(), &[numbered(number)]).await.unwrap();
        number += 1;
    }
    proxy.pass_all();
    assert_items(&store, number).await;
    println!("{number} appends, {:?}", proxy.counts());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_outcome_is_settled_by_the_next_call() {
    let place = new_place().await;
    let proxy = FaultyProxy::start(&place.schema.url());
    let store = place.open_behind(&proxy, "retry=0&lease=60&listen=false").await;
    record(&store, 1, MODE, &[]).await;
    wait_for_projections(&place).await;
    store.resume_thread(id(1)).await.unwrap();
    let mut number = 0;
    // What became of the append, and whether the caller repeats it or gives it up.
    for (fault, took_effect, is_repeated) in [
        (ProxyFault::LoseReply, true, true),
        (ProxyFault::LoseReply, true, false),
        (ProxyFault::CutBeforeRequest, false, true),
        (ProxyFault::CutBeforeRequest, false, false),
    ] {
        // Afterwards there is a connection, so the fault meets the append.
        store.append_items(id(1), BatchId::generate(), &[numbered(number)]).await.unwrap();
        number += 1;
        proxy.fail_next(fault);
        let batch = BatchId::generate();
        let error = store.append_items(id(1), batch, &[numbered(number)]).await.unwrap_err();
        match &error {
            StoreError::OutcomeUnknown { batch: named, .. } => assert_eq!(*named, Some(batch)),
            error => panic!("{fault:?}: {error:?}"),
        }
        assert_eq!(error.recovery(), Recovery::RepeatSame);
        if is_repeated {
            let appended = store.append_items(id(1), batch, &[numbered(number)]).await.unwrap();
            assert_eq!(appended.last_ordinal, Some(number as u64 + 1), "{fault:?}");
        }
        number += usize::from(is_repeated || took_effect);
        store.append_items(id(1), BatchId::generate(), &[numbered(number)]).await.unwrap();
        number += 1;
    }
    assert_items(&store, number).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_follows_a_patch_whose_reply_was_lost() {
    let place = new_place().await;
    let proxy = FaultyProxy::start(&place.schema.url());
    let store = place.open_behind(&proxy, "retry=0&lease=60&listen=false").await;
    record(&store, 1, MODE, &["a"]).await;
    wait_for_projections(&place).await;
    store.resume_thread(id(1)).await.unwrap();
    let mut lines = store.load_history(id(1)).await.unwrap().lines.len();
    // A patch is a line of the log. Its commit takes effect or not, and the writer does not know which.
    for (fault, took_effect) in [(ProxyFault::LoseReply, true), (ProxyFault::CutBeforeRequest, false)] {
        proxy.fail_next_containing("COMMIT", fault);
        let model = Some(Some(format!("{fault:?}")));
        let patch = ThreadMetadataPatch { model: model.clone(), ..Default::default() };
        let error = store.update_thread_metadata(id(1), &patch, MetadataOrigin::Explicit).await.unwrap_err();
        assert!(matches!(error, StoreError::OutcomeUnknown { .. }), "{fault:?}: {error:?}");
        store.append_items(id(1), BatchId::generate(), &[numbered(1)]).await.unwrap();
        lines += 1 + usize::from(took_effect);
        let history = store.load_history(id(1)).await.unwrap();
        assert_eq!((history.lines.len(), history.damage.len()), (lines, 0), "{fault:?}");
        assert_consecutive_ordinals(&history);
        let record = store.read_thread(id(1)).await.unwrap();
        assert_eq!(Some(record.model) == model, took_effect, "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_loses_nothing_that_was_acknowledged() {
    let kills: usize = std::env::var("SELVEDGE_KILLS").map_or(3, |text| text.parse().unwrap());
    let Some(mut server) = PostgresServer::start(&[]) else { return };
    let options = options_of(&server.url(), "lease=30");
    PostgresThreadStore::migrate(&options).await.unwrap();
    let store = PostgresThreadStore::connect(&options).await.unwrap();
    store.create_thread(head(1, MODE)).await.unwrap();
    let (acknowledged, is_done) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
    let writing = {
        let (store, acknowledged, is_done) = (store.clone(), Arc::clone(&acknowledged), Arc::clone(&is_done));
        tokio::spawn(async move {
            let mut number = 0;
            while !is_done.load(Ordering::Relaxed) {
                // The client carries on by itself.
                store.append_items(id(1), BatchId::generate(), &[numbered(number)]).await.unwrap();
                number += 1;
                acknowledged.store(number, Ordering::Relaxed);
            }
            number
        })
    };
    for _ in 0..kills {
        let before = acknowledged.load(Ordering::Relaxed);
        while acknowledged.load(Ordering::Relaxed) < before + 20 {
            assert!(!writing.is_finished(), "the writer gave up");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        server.kill();
        server.restart();
    }
    is_done.store(true, Ordering::Relaxed);
    let number = writing.await.unwrap();
    assert_items(&store, number).await;
    println!("{number} appends, {kills} kills");
}
