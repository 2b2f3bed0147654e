//! Compares two stores: takes the same random steps in both, and compares every answer.
//!
//! Most stores are compared with [`MemoryPlace`](crate::MemoryPlace), the reference. A difference that needs an unusual sequence of
//! operations is found here and not by a rule, because a rule is a fixed scenario.
//!
//! `step.rs` describes the steps, and `generate.rs` draws them at random. `execute.rs` takes them in a store, and `answer.rs` turns
//! the answers into texts that can be compared.

mod answer;
mod execute;
mod generate;
mod step;

use std::fmt;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};
use selvedge_thread_store::ThreadStore;

use self::execute::take;
use self::step::MAX_STEPS;
use crate::StorePlace;

pub use step::{RelativeBoundary, Step};

/// How many simpler sequences are tried after a difference was found.
///
/// Each try runs up to [`MAX_STEPS`] steps in two new places. More tries make the report shorter and a failing test slower.
const MAX_SHRINKS: u32 = 500;

/// Two stores that answer the same steps differently.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Difference {
    /// The shortest and simplest sequence that was found to show the difference.
    pub steps: Vec<Step>,
    /// The last of these steps, and both answers.
    pub answers: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "the stores differ after {} steps:", self.steps.len())?;
        for step in &self.steps {
            writeln!(f, "  {step:?}")?;
        }
        f.write_str(&self.answers)
    }
}

impl std::error::Error for Difference {}

/// Takes random sequences of steps in two stores, and compares every answer except times and opaque values.
///
/// Each of the `sequences` runs in two new places. After a difference, simpler sequences are tried, and the simplest one that
/// still shows a difference is returned. The second store is usually the reference, [`MemoryPlace`](crate::MemoryPlace).
///
/// This function creates its own runtime, so that it must not be called from async code.
///
/// # Errors
/// If the stores differ.
///
/// # Panics
/// If the runtime or a place cannot be created.
#[expect(clippy::expect_used, reason = "it is the body of a test")]
pub fn compare_stores<A, FutA, PlaceA, B, FutB, PlaceB>(
    new_place: A,
    new_other: B,
    sequences: u32,
) -> Result<(), Box<Difference>>
where
    A: Fn() -> FutA,
    FutA: Future<Output = PlaceA>,
    PlaceA: StorePlace,
    B: Fn() -> FutB,
    FutB: Future<Output = PlaceB>,
    PlaceB: StorePlace,
{
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime for the test");
    let config =
        Config { cases: sequences, max_shrink_iters: MAX_SHRINKS, failure_persistence: None, ..Config::default() };
    // Proptest draws a vector of steps and, after a failure, shrinks it: it leaves out steps, and makes the numbers in the others
    // smaller. It keeps each change after which the stores still differ. That works because a step refers to its thread and its
    // turn by small numbers and relative positions: a step stays valid when earlier steps are left out. At worst both stores refuse
    // it, and the same error in both is no difference.
    let outcome = TestRunner::new(config).run(&vec(generate::any(), 1..MAX_STEPS), |steps| {
        let difference = runtime.block_on(async {
            let (place, other) = (new_place().await, new_other().await);
            first_difference(&place, &other, &steps).await
        });
        difference.map_or(Ok(()), |answers| Err(TestCaseError::fail(answers)))
    });
    match outcome {
        Ok(()) => Ok(()),
        Err(TestError::Fail(answers, steps)) => Err(Box::new(Difference { steps, answers: answers.to_string() })),
        Err(TestError::Abort(why)) => panic!("no sequence of steps could be drawn: {why}"),
    }
}

/// Takes the steps in both places, and returns the first step with different answers, with these answers.
async fn first_difference(place: &dyn StorePlace, other: &dyn StorePlace, steps: &[Step]) -> Option<String> {
    let mut hosts = [place.open_host().await, other.open_host().await];
    for (number, step) in steps.iter().enumerate() {
        if matches!(step, Step::Reopen) {
            reopen(&mut hosts, [place, other]).await;
        }
        let mut answers = Vec::new();
        for host in &hosts {
            answers.push(take(&**host, number, step).await);
        }
        if answers[0] != answers[1] {
            return Some(format!("step {number}, {step:?}:\n  one:   {}\n  other: {}", answers[0], answers[1]));
        }
    }
    None
}

/// Opens new hosts, drops the old ones, and waits until the claims of these have expired. Until then one store may refuse what the
/// other one does.
async fn reopen(hosts: &mut [Arc<dyn ThreadStore>; 2], places: [&dyn StorePlace; 2]) {
    let [first, second] = places;
    // The new hosts are opened first: a place in memory may exist only as long as one of its hosts.
    *hosts = [first.open_host().await, second.open_host().await];
    if let Some(expiry) = places.iter().filter_map(|place| place.claim_expiry()).max() {
        // A host may have renewed its claims in its last moment.
        tokio::time::sleep(expiry + expiry / 10).await;
    }
}
