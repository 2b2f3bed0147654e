//! Stores with one fault each, and the rules that catch them.
//!
//! Each fault wraps the store in memory and breaks one thing, as narrowly as possible. Its declaration names the rules that catch
//! it. The test that always runs checks each fault against the rules that exist to catch it. Another test checks each fault
//! against every rule, and so finds rules that catch it without being declared. It takes minutes and is run by hand:
//!
//! ```text
//! cargo test -p selvedge-thread-store-conformance --test it -- --ignored --nocapture planted::every_fault_against_every_rule
//! ```
//!
//! It prints the table, and the rules that catch no fault.
#![expect(clippy::unwrap_used, reason = "a faulty store is part of a test")]

mod append;
mod claims;
mod fault;
mod history;
mod hosts;
mod lifecycle;
mod lines;
mod metadata;
mod place;
mod queries;
mod retries;
mod segments;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use selvedge_thread_store::ThreadStore;
use selvedge_thread_store_conformance::{RunOptions, StoreWrapper, Verdict, Wrapped, rules, run};

use self::fault::{Fault, FaultyHost};
use self::place::FaultyPlace;

/// The faults, by subject.
const FAULTS: &[&[Fault]] = &[
    append::FAULTS,
    lifecycle::FAULTS,
    claims::FAULTS,
    hosts::FAULTS,
    lines::FAULTS,
    queries::FAULTS,
    metadata::FAULTS,
    history::FAULTS,
    segments::FAULTS,
    retries::FAULTS,
];

/// Rules about two hosts that work at the same time. Whether they also see a fault of another rule depends on which host is faster.
const RACING: [&str; 2] = ["changes.following", "readers.see-a-prefix"];

fn all_faults() -> impl Iterator<Item = &'static Fault> {
    FAULTS.iter().copied().flatten()
}

/// Returns the rules that catch a fault and what they saw. Checks the rules with these ids, or all rules.
async fn caught_by(fault: &'static Fault, only: &[&str]) -> BTreeMap<&'static str, String> {
    let new_place = move || async move { FaultyPlace::new(fault) };
    let only = only.iter().map(|id| (*id).to_owned()).collect();
    let options = RunOptions { only, time_limit: Duration::from_secs(15), concurrency: 2 };
    let report = run(new_place, &options).await;
    let failed = report.rules.into_iter().filter_map(|rule| match rule.verdict {
        Verdict::Failed { seen } => Some((rule.id, seen)),
        Verdict::Passed | Verdict::NotApplicable { .. } => None,
    });
    failed.collect()
}

/// A wrapper that changes nothing.
#[derive(Debug)]
struct NoFault(FaultyHost);

impl StoreWrapper for NoFault {
    fn inner(&self) -> &dyn ThreadStore {
        &*self.0.store
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_without_a_fault_keeps_every_rule() {
    const NO_FAULT: Fault =
        Fault { name: "NoFault", caught_by: &[], also_caught_by: &[], plant: |host| Arc::new(Wrapped(NoFault(host))) };
    assert_eq!(caught_by(&NO_FAULT, &[]).await, BTreeMap::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_is_caught_by_its_rules() {
    let ids: BTreeSet<&str> = rules().iter().map(|rule| rule.id).collect();
    assert!(all_faults().count() >= 40, "{} faults", all_faults().count());
    let declared = all_faults().flat_map(|fault| fault.caught_by.iter().chain(fault.also_caught_by)).copied();
    let idle: Vec<&str> = ids.difference(&declared.collect()).copied().collect();
    assert!(idle.is_empty(), "no fault shows that these rules catch one: {idle:?}");
    for fault in all_faults() {
        assert!(!fault.caught_by.is_empty(), "{}: no rule exists to catch it", fault.name);
        assert!(fault.caught_by.iter().all(|id| ids.contains(id)), "{}: {:?}", fault.name, fault.caught_by);
        let caught: BTreeSet<&str> = caught_by(fault, fault.caught_by).await.into_keys().collect();
        // One id can be a prefix of another, so that a run may check more rules than the declared ones.
        let declared: BTreeSet<&str> = fault.caught_by.iter().copied().collect();
        let missed: Vec<_> = declared.difference(&caught).collect();
        assert!(missed.is_empty(), "{} is not caught by {missed:?}", fault.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "every fault against every rule takes minutes"]
async fn every_fault_against_every_rule() {
    let mut table = String::new();
    let mut wrong = String::new();
    let mut catching: BTreeSet<&str> = BTreeSet::new();
    for fault in all_faults() {
        let caught = caught_by(fault, &[]).await;
        let ids: BTreeSet<&str> = caught.keys().copied().collect();
        let declared: BTreeSet<&str> = fault.caught_by.iter().chain(fault.also_caught_by).copied().collect();
        writeln!(table, "{} | {}", fault.name, ids.iter().copied().collect::<Vec<_>>().join(", ")).unwrap();
        let is_luck = |id: &&str| RACING.contains(id) && !fault.caught_by.contains(id);
        if ids.iter().filter(|id| !is_luck(id)).ne(declared.iter().filter(|id| !is_luck(id))) {
            writeln!(wrong, "{}:", fault.name).unwrap();
            for id in declared.difference(&ids) {
                writeln!(wrong, "  does not catch it: {id}").unwrap();
            }
            for id in ids.difference(&declared) {
                writeln!(wrong, "  catches it: {id}: {}", caught[id].lines().take(3).collect::<Vec<_>>().join(" / "))
                    .unwrap();
            }
        }
        catching.extend(ids);
    }
    let idle: Vec<&str> = rules().iter().map(|rule| rule.id).filter(|id| !catching.contains(id)).collect();
    println!(
        "{table}\n{} faults; {} rules catch one, {} catch none: {idle:#?}",
        all_faults().count(),
        catching.len(),
        idle.len()
    );
    assert!(wrong.is_empty(), "not as declared:\n{wrong}");
    assert!(idle.is_empty(), "these rules catch nothing: {idle:?}");
}
