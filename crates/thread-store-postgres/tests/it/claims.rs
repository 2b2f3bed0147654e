//! Claims: who writes a thread, and for how long.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use selvedge_postgres_server::FaultyProxy;
use selvedge_protocol::{HistoryMode, SearchQuery, TurnBoundary};
use selvedge_thread_store::{BatchId, RevertThread, StoreError, ThreadReader, ThreadStore};
use selvedge_thread_store_conformance::fixtures::{assert_consecutive_ordinals, id, record, turn};

use crate::appends::numbered;
use crate::place::{PostgresPlace, new_place};

const MODE: HistoryMode = HistoryMode::Paginated;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conflict_names_the_holder() {
    let place = new_place().await;
    let (store, other) = (place.open().await, place.open().await);
    record(&store, 1, MODE, &["a"]).await;
    store.resume_thread(id(1)).await.unwrap();
    match other.resume_thread(id(1)).await {
        Err(StoreError::Conflict { holder, since, .. }) => {
            let lease = place.options.lease;
            assert!(holder.held_for.is_some_and(|time| !time.is_zero() && time <= lease), "{holder:?}");
            let words = holder.to_string();
            assert!(words.contains("(if that has died, the thread is free in "), "{words}");
            assert_eq!(holder.process_id, Some(std::process::id()));
            assert!(holder.host.is_some_and(|host| !host.is_empty()));
            assert!(since.is_some());
        }
        outcome => panic!("{outcome:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_outlives_its_lease_because_it_is_renewed() {
    let place = new_place().await;
    let (store, other) = (place.open().await, place.open().await);
    record(&store, 1, MODE, &["a"]).await;
    store.resume_thread(id(1)).await.unwrap();
    let began = Instant::now();
    while began.elapsed() < 2 * place.options.lease {
        let outcome = other.resume_thread(id(1)).await;
        assert!(matches!(outcome, Err(StoreError::Conflict { .. })), "{outcome:?} after {:?}", began.elapsed());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    store.append_items(id(1), BatchId::generate(), &turn(MODE, "b")).await.unwrap();
}

/// A writer whose claim has expired still has it until somebody takes it. A change of the history by somebody else takes it: what that
/// writer would append afterwards would be in a segment that the thread has left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_the_history_ends_an_expired_claim() {
    let place = new_place().await;
    let (store, other) = (place.open().await, place.open().await);
    record(&store, 1, MODE, &["a", "b"]).await;
    store.resume_thread(id(1)).await.unwrap();
    let revert = RevertThread { thread_id: id(1), to: TurnBoundary::BeforeNewest(1), batch: BatchId::generate() };
    loop {
        let expired = "UPDATE @.threads SET expires_at = clock_timestamp() - interval '1 second' WHERE namespace = $1";
        assert_eq!(place.execute(expired).await, 1);
        match other.revert_thread(revert.clone()).await {
            // The claim was renewed in between.
            Err(StoreError::Conflict { .. }) => {}
            outcome => break assert_eq!(outcome.unwrap(), 1),
        }
    }
    let outcome = store.append_items(id(1), BatchId::generate(), &turn(MODE, "c")).await;
    assert!(matches!(outcome, Err(StoreError::Lost { .. })), "{outcome:?}");
}

/// A thread whose writer died is like one that was released, a day after its lease.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abandoned_claim_is_ended() {
    let place = new_place().await;
    let (store, other) = (place.open().await, place.open().await);
    for number in [1, 2] {
        record(&store, number, MODE, &["a"]).await;
        store.resume_thread(id(number)).await.unwrap();
        store.append_items(id(number), BatchId::generate(), &turn(MODE, "b")).await.unwrap();
    }
    drop(store);
    // The claims of a dropped store are renewed at most once more.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let expired = format!(
        "UPDATE @.threads SET expires_at = clock_timestamp() -
        CASE thread_id WHEN '{}' THEN interval '25 hours' ELSE interval '23 hours' END WHERE namespace = $1",
        id(1)
    );
    assert_eq!(place.execute(&expired).await, 2);
    let search = SearchQuery::new("answer");
    let began = Instant::now();
    let released = "UPDATE @.threads SET epoch = epoch
        WHERE namespace = $1 AND owner IS NULL AND NOT is_unsettled AND projection_version = 2";
    while place.execute(released).await == 0 {
        assert!(began.elapsed() < Duration::from_secs(30), "the claim was not ended");
        assert_eq!(other.search_threads(&search).await.unwrap().items.len(), 2 * 2);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(other.search_threads(&search).await.unwrap().items.len(), 2 * 2);
    let kept = format!(
        "UPDATE @.threads SET epoch = epoch WHERE namespace = $1 AND owner IS NOT NULL AND thread_id = '{}'",
        id(2)
    );
    assert_eq!(place.execute(&kept).await, 1);
}

/// A host in the fight: it claims the thread, appends, and is cut off for longer than its lease. Returns the items that were accepted
/// and how often it got the thread.
async fn fight(place: PostgresPlace, number: usize, run_for: Duration) -> (BTreeSet<usize>, usize) {
    let proxy = FaultyProxy::start(&place.schema.url());
    let store = place.open_behind(&proxy, "lease=0.3&retry=0.2&statement_timeout=0.5").await;
    let (mut accepted, mut claims, mut next) = (BTreeSet::new(), 0, number * 1_000_000);
    let began = Instant::now();
    while began.elapsed() < run_for {
        if store.resume_thread(id(1)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        }
        claims += 1;
        let mut batch = BatchId::generate();
        for step in 0..60 {
            if step == 20 + number {
                proxy.refuse();
                proxy.cut_all();
                tokio::time::sleep(Duration::from_millis(400)).await;
                proxy.pass_all();
            }
            // The same batch is repeated until it is known what became of it.
            match store.append_items(id(1), batch, &[numbered(next)]).await {
                Ok(_) => {
                    accepted.insert(next);
                    batch = BatchId::generate();
                    next += 1;
                }
                Err(StoreError::Lost { .. }) => break,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
        // An item whose outcome is unknown is not offered again.
        next += 1;
        let _ = store.discard_thread(id(1)).await;
    }
    (accepted, claims)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hosts_that_lose_their_leases_never_both_write() {
    let place = new_place().await;
    let seconds = std::env::var("SELVEDGE_FIGHT_SECONDS").map_or(6, |text| text.parse().unwrap());
    let reader = place.open().await;
    record(&reader, 1, MODE, &[]).await;
    let hosts = [1, 2].map(|number| {
        let place = PostgresPlace { schema: Arc::clone(&place.schema), options: place.options.clone() };
        tokio::spawn(fight(place, number, Duration::from_secs(seconds)))
    });
    let mut accepted = BTreeSet::new();
    for host in hosts {
        let (items, claims) = host.await.unwrap();
        assert!(claims > 1, "a host got the thread {claims} times");
        accepted.extend(items);
    }
    let history = reader.load_history(id(1)).await.unwrap();
    assert_consecutive_ordinals(&history);
    let mut counts = HashMap::new();
    for line in &history.lines[1..] {
        *counts.entry(format!("{:?}", line.item())).or_insert(0) += 1;
    }
    for number in &accepted {
        let count = counts.get(&format!("{:?}", numbered(*number)));
        assert_eq!(count, Some(&1), "item {number}");
    }
    println!("{} items were accepted, and {} are stored", accepted.len(), history.lines.len() - 1);
    assert!(accepted.len() > 50, "{} items were accepted", accepted.len());
}
