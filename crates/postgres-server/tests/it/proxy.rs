//! The proxy: what reaches the server, and what reaches the client.

use std::time::{Duration, Instant};

use selvedge_postgres_server::{FaultyProxy, ProxyFault, TestDatabase, execute_sql};

/// A proxy in front of a database with an empty table.
fn proxied() -> Option<(TestDatabase, FaultyProxy)> {
    let database = TestDatabase::fresh()?;
    database.execute("CREATE TABLE things (thing int)");
    let proxy = FaultyProxy::start(&database.url());
    Some((database, proxy))
}

const INSERT: &str = "INSERT INTO things VALUES (1) RETURNING thing";

#[track_caller]
fn assert_count(database: &TestDatabase, count: &str) {
    assert_eq!(database.execute("SELECT count(*) FROM things"), count);
}

#[test]
fn without_a_plan_everything_passes() {
    let Some((database, proxy)) = proxied() else { return };
    let rows = execute_sql(&proxy.url(), &[INSERT, "SELECT repeat('x', 3000000)"]).unwrap();
    assert_eq!(rows.len(), "1\n".len() + 3_000_000);
    assert_count(&database, "1");
    let counts = proxy.counts();
    assert_eq!((counts.connections, counts.requests, counts.faults()), (1, 2, 0));
}

#[test]
fn a_request_that_is_cut_before_never_arrives() {
    let Some((database, proxy)) = proxied() else { return };
    proxy.fail_next(ProxyFault::CutBeforeRequest);
    execute_sql(&proxy.url(), &[INSERT]).unwrap_err();
    // The plan was for one request.
    execute_sql(&proxy.url(), &[INSERT]).unwrap();
    assert_count(&database, "1");
    assert_eq!((proxy.counts().cut_before_request, proxy.counts().faults()), (1, 1));
}

#[test]
fn a_lost_reply_is_that_of_a_completed_request() {
    let Some((database, proxy)) = proxied() else { return };
    for (done, fault) in
        [("1", ProxyFault::LoseReply), ("2", ProxyFault::CutInReply(3)), ("3", ProxyFault::CutInReply(40))]
    {
        proxy.fail_next(fault);
        let error = execute_sql(&proxy.url(), &[INSERT]).unwrap_err().to_string();
        assert!(error.contains("server closed the connection unexpectedly"), "{error}");
        assert_count(&database, done);
    }
    assert_eq!((proxy.counts().cut_after_request, proxy.counts().faults()), (3, 3));
}

#[test]
fn a_request_that_is_cut_after_arrives() {
    let Some((database, proxy)) = proxied() else { return };
    proxy.fail_next(ProxyFault::CutAfterRequest);
    execute_sql(&proxy.url(), &[INSERT]).unwrap_err();
    let start = Instant::now();
    while database.execute("SELECT count(*) FROM things") != "1" {
        assert!(start.elapsed() < Duration::from_secs(30));
    }
}

#[test]
fn a_text_chooses_the_request() {
    let Some((database, proxy)) = proxied() else { return };
    proxy.fail_next_containing("COMMIT", ProxyFault::LoseReply);
    execute_sql(&proxy.url(), &["BEGIN", INSERT, "COMMIT", INSERT]).unwrap_err();
    // The commit went through, and nothing after it.
    assert_count(&database, "1");
    assert_eq!(proxy.counts().requests, 3);
}

#[test]
fn a_delayed_reply_comes_later() {
    let Some((database, proxy)) = proxied() else { return };
    proxy.fail_next(ProxyFault::DelayReply(Duration::from_millis(300)));
    let start = Instant::now();
    execute_sql(&proxy.url(), &[INSERT]).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(300));
    assert_count(&database, "1");
    assert_eq!(proxy.counts().delayed, 1);
}

#[test]
fn a_held_reply_leaves_the_client_waiting_until_it_is_cut() {
    let Some((database, proxy)) = proxied() else { return };
    proxy.fail_next(ProxyFault::HoldReply);
    let url = proxy.url();
    let waiting = std::thread::spawn(move || execute_sql(&url, &[INSERT]));
    while proxy.counts().held == 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_millis(200));
    assert!(!waiting.is_finished());
    assert_count(&database, "1");
    assert_eq!(proxy.cut_all(), 1);
    waiting.join().unwrap().unwrap_err();
}

#[test]
fn refused_connections_end_until_all_may_pass() {
    let Some((_database, proxy)) = proxied() else { return };
    proxy.refuse();
    execute_sql(&proxy.url(), &["SELECT 1"]).unwrap_err();
    proxy.pass_all();
    execute_sql(&proxy.url(), &["SELECT 1"]).unwrap();
    assert_eq!(proxy.counts().connections, 1);
}

#[test]
fn a_seed_chooses_the_same_faults_again_and_each_kind_comes() {
    let Some((database, first)) = proxied() else { return };
    let outcomes = |proxy: &FaultyProxy| -> Vec<bool> {
        proxy.fail_at_random(7, 2);
        (0..30).map(|_| execute_sql(&proxy.url(), &[INSERT]).is_ok()).collect()
    };
    let second = FaultyProxy::start(&database.url());
    let (one, two) = (outcomes(&first), outcomes(&second));
    assert_eq!(one, two);
    let counts = first.counts();
    assert!(counts.cut_before_request > 0 && counts.cut_after_request > 0 && counts.delayed > 0, "{counts:?}");
    assert_eq!(counts.requests, 30);
}
