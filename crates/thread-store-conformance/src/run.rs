//! Runs the checks of rules.
//!
//! ```text
//! run ──> lanes (tasks) ──> one check ──> its own OS thread ──> verdict
//!            │                               │
//!            └── take rules from one list    └── catches panics, has a time limit
//! ```

use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::{CheckedRule, Report, Rule, StorePlace, Verdict, rules};

/// How long a run waits for a check after its time limit. The check may need a moment to notice the limit.
///
/// A longer grace makes a run with a blocked check slower. A shorter one may report a slow machine as a blocked check.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// Which rules a run checks, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunOptions {
    /// Ids of the rules to check, or prefixes of ids. Empty for all rules.
    pub only: Vec<String>,
    /// The time limit for the check of one rule.
    pub time_limit: Duration,
    /// How many rules are checked at the same time.
    pub concurrency: usize,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self { only: Vec::new(), time_limit: Duration::from_secs(60), concurrency: 2 }
    }
}

impl RunOptions {
    fn selects(&self, rule: &Rule) -> bool {
        self.only.is_empty() || self.only.iter().any(|id| rule.id.starts_with(id.as_str()))
    }
}

/// Checks the rules, each in a new place.
pub async fn run<F, Fut, P>(new_place: F, options: &RunOptions) -> Report
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = P> + Send,
    P: StorePlace,
{
    let selected: Arc<[&'static Rule]> = rules().iter().filter(|rule| options.selects(rule)).collect();
    let (new_place, next) = (Arc::new(new_place), Arc::new(AtomicUsize::new(0)));
    // Each lane takes the next rule when it is free. A fixed share for each lane would wait for the slowest rules of one lane.
    let mut lanes = JoinSet::new();
    for _ in 0..options.concurrency.max(1) {
        let (selected, new_place, next) = (Arc::clone(&selected), Arc::clone(&new_place), Arc::clone(&next));
        let time_limit = options.time_limit;
        lanes.spawn(async move {
            let mut checked = Vec::new();
            while let Some(rule) = selected.get(next.fetch_add(1, Ordering::Relaxed)) {
                checked.push(check(rule, new_place().await, time_limit).await);
            }
            checked
        });
    }
    // A lane panics only if `new_place` does: checks run on threads of their own.
    let mut checked = lanes.join_all().await.concat();
    // The lanes finish in any order. The report has the order of the table.
    checked.sort_by_key(|checked| selected.iter().position(|rule| rule.id == checked.id));
    Report { rules: checked }
}

/// Checks one rule, and returns a verdict even if the check panics, does not end, or blocks.
///
/// The check runs on an OS thread of its own. As a task it would share its thread with other checks, and a check that blocks its
/// thread would block them too. The thread of a check that never ends is abandoned: there is no safe way to stop it.
async fn check(rule: &'static Rule, place: impl StorePlace, time_limit: Duration) -> CheckedRule {
    install_panic_hook();
    let began = Instant::now();
    let (runtime, (done, outcome)) = (Handle::current(), oneshot::channel());
    std::thread::spawn(move || {
        let ended = panic::catch_unwind(AssertUnwindSafe(|| {
            // From here on, a panic of this thread is part of the report.
            PANIC.set(Some(String::new()));
            runtime.block_on(async { timeout(time_limit, (rule.check)(Arc::new(place))).await })
        }));
        let verdict = match ended {
            Ok(Ok(Ok(()))) => Verdict::Passed,
            Ok(Ok(Err(not_applicable))) => Verdict::NotApplicable { why: not_applicable.why },
            Ok(Err(_)) => timed_out(time_limit),
            Err(_) => Verdict::Failed { seen: PANIC.take().unwrap_or_default() },
        };
        // The receiver is gone if the check ended after its grace.
        let _ = done.send(verdict);
    });
    // The inner limit stops a check that waits. It cannot stop one that keeps its thread busy; this outer limit can.
    let verdict = match timeout(time_limit + STOP_GRACE, outcome).await {
        Ok(Ok(verdict)) => verdict,
        _ => timed_out(time_limit),
    };
    CheckedRule::new(rule, verdict, began.elapsed())
}

fn timed_out(time_limit: Duration) -> Verdict {
    Verdict::Failed { seen: format!("the check did not end within {} s", time_limit.as_secs()) }
}

thread_local! {
    /// The message of the last panic on this thread, empty before the first one. `None` on threads that run no check.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Installs a panic hook that keeps the message of a check's panic, with its location in the code, for the report.
///
/// Only a hook sees the location: `catch_unwind` returns the message alone. Panics of all other threads go to the hook that was
/// installed before.
fn install_panic_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if PANIC.with_borrow(Option::is_some) {
                PANIC.set(Some(info.to_string()));
            } else {
                previous(info);
            }
        }));
    });
}

/// Checks one rule as the body of a test, on a runtime of its own.
///
/// # Panics
/// If the store breaks the rule, if no rule has this name, or if the runtime cannot be created.
#[doc(hidden)]
#[expect(clippy::expect_used, clippy::print_stdout, reason = "it is the body of a test")]
pub fn test_rule<F, Fut, P>(name: &str, new_place: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = P>,
    P: StorePlace,
{
    let id = name.replace('_', "-");
    let rule = rules().iter().find(|rule| rule.id == id).expect("a rule with this name");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime for the test");
    let time_limit = RunOptions::default().time_limit;
    let checked = runtime.block_on(async { check(rule, new_place().await, time_limit).await });
    match checked.verdict {
        Verdict::Passed => {}
        Verdict::NotApplicable { .. } => println!("{checked}"),
        Verdict::Failed { .. } => panic!("{checked}"),
    }
}
