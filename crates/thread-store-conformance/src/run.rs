//! Checking rules.

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

/// How much longer is waited for a check that does not stop when its time is over.
const GRACE: Duration = Duration::from_secs(1);

/// Which rules are checked, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunOptions {
    /// The ids of the rules to check, or the beginnings of ids. All rules if there are none.
    pub only: Vec<String>,
    /// How long the check of one rule may take.
    pub time_limit: Duration,
    /// How many rules are checked at the same time.
    pub at_once: usize,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self { only: Vec::new(), time_limit: Duration::from_secs(60), at_once: 2 }
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
    let mut lanes = JoinSet::new();
    for _ in 0..options.at_once.max(1) {
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
    // A lane fails only with a place that cannot be made.
    let mut checked = lanes.join_all().await.concat();
    checked.sort_by_key(|checked| selected.iter().position(|rule| rule.id == checked.id));
    Report { rules: checked }
}

/// Checks one rule on a thread of its own, so that a check that panics, does not end or does not even wait fails alone.
async fn check(rule: &'static Rule, place: impl StorePlace, time_limit: Duration) -> CheckedRule {
    keep_panics();
    let began = Instant::now();
    let (runtime, (done, outcome)) = (Handle::current(), oneshot::channel());
    std::thread::spawn(move || {
        let ended = panic::catch_unwind(AssertUnwindSafe(|| {
            PANIC.set(Some(String::new()));
            runtime.block_on(async { timeout(time_limit, (rule.check)(Arc::new(place))).await })
        }));
        let verdict = match ended {
            Ok(Ok(Ok(()))) => Verdict::Passed,
            Ok(Ok(Err(not_applicable))) => Verdict::NotApplicable { why: not_applicable.why },
            Ok(Err(_)) => without_end(time_limit),
            Err(_) => Verdict::Failed { seen: PANIC.take().unwrap_or_default() },
        };
        // Nobody waits any more for a check that came too late.
        let _ = done.send(verdict);
    });
    // A check that keeps its thread busy notices no limit.
    let verdict = match timeout(time_limit + GRACE, outcome).await {
        Ok(Ok(verdict)) => verdict,
        _ => without_end(time_limit),
    };
    CheckedRule::new(rule, verdict, began.elapsed())
}

fn without_end(time_limit: Duration) -> Verdict {
    Verdict::Failed { seen: format!("it did not end in {} s", time_limit.as_secs()) }
}

thread_local! {
    /// What the check on this thread said when it panicked; `None` on threads that check nothing.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Keeps what checks say when they panic, with the place in the code, for the report. All other panics go their way.
fn keep_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let others = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if PANIC.with_borrow(Option::is_some) {
                PANIC.set(Some(info.to_string()));
            } else {
                others(info);
            }
        }));
    });
}

/// Checks one rule, on a runtime of its own, as a test: panics if it is broken.
///
/// # Panics
/// If the rule is broken, if there is none of this name, or if there can be no runtime.
#[doc(hidden)]
#[expect(clippy::expect_used, clippy::print_stdout, reason = "it is the body of a test")]
pub fn test_rule<F, Fut, P>(name: &str, new_place: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = P>,
    P: StorePlace,
{
    let id = name.replace('_', "-");
    let rule = rules().iter().find(|rule| rule.id == id).expect("a rule of this name");
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
