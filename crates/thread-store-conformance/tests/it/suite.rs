//! Tests of the suite itself: rules, reports and time limits.

use std::collections::HashSet;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use selvedge_thread_store::{InMemoryThreadStore, ThreadStore};
use selvedge_thread_store_conformance::{Counts, MemoryPlace, RunOptions, StorePlace, Verdict, rules, run};

/// Returns options that select these rules.
fn only(ids: &[&str]) -> RunOptions {
    RunOptions { only: ids.iter().map(|id| (*id).to_owned()).collect(), ..RunOptions::default() }
}

/// A place whose hosts do not share their threads.
struct SeparateHosts;

#[async_trait]
impl StorePlace for SeparateHosts {
    async fn open_host(&self) -> Arc<dyn ThreadStore> {
        Arc::new(InMemoryThreadStore::new())
    }
}

/// A place whose hosts never open.
struct NeverOpens;

#[async_trait]
impl StorePlace for NeverOpens {
    async fn open_host(&self) -> Arc<dyn ThreadStore> {
        pending().await
    }
}

#[test]
fn every_rule_has_a_unique_id_and_a_statement() {
    let ids: HashSet<_> = rules().iter().map(|rule| rule.id).collect();
    assert_eq!(ids.len(), rules().len());
    for rule in rules() {
        assert!(rule.id.bytes().all(|byte| byte.is_ascii_lowercase() || b".-".contains(&byte)), "{rule:?}");
        assert!(rule.text.ends_with('.'), "{rule:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_rule_fails_alone_and_reports_what_the_check_saw() {
    let report =
        run(async || SeparateHosts, &only(&["lifecycle.others-read-appended-items", "lifecycle.delete"])).await;
    assert_eq!(report.counts(), Counts { passed: 1, failed: 1, not_applicable: 0 });
    assert!(!report.is_passed());
    let failed: Vec<_> = report.failed().collect();
    assert_eq!(failed[0].id, "lifecycle.others-read-appended-items");
    let Verdict::Failed { seen } = &failed[0].verdict else { panic!("{failed:?}") };
    assert!(seen.contains("rules/lifecycle.rs:") && seen.contains("NotFound"), "{seen}");
    let text = report.to_string();
    assert!(text.contains("FAILED  lifecycle.others-read-appended-items\n        When an append returns"), "{text}");
    assert!(text.ends_with("2 rules: 1 passed, 1 failed, 0 not applicable"), "{text}");
    let json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
    assert_eq!((&json["rules"][0]["id"], &json["rules"][0]["verdict"]), (&"lifecycle.delete".into(), &"passed".into()));
    assert_eq!(json["rules"][1]["seen"], **seen);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_that_does_not_end_fails() {
    let options = RunOptions { time_limit: Duration::from_millis(50), ..only(&["append.empty-batch"]) };
    let report = run(async || NeverOpens, &options).await;
    assert_eq!(report.rules[0].verdict, Verdict::Failed { seen: "the check did not end within 0 s".into() });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_reference_keeps_every_rule() {
    let report = run(async || MemoryPlace::new(), &RunOptions::default()).await;
    assert!(report.is_passed(), "{report}");
    assert_eq!(
        report.rules.iter().map(|rule| rule.id).collect::<Vec<_>>(),
        rules().iter().map(|rule| rule.id).collect::<Vec<_>>()
    );
}
