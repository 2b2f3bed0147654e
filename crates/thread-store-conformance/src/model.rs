//! The same random operations on two stores, with every answer compared.

mod answer;
mod step;

use std::fmt;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};
use selvedge_thread_store::ThreadStore;

use self::step::take;
use crate::StorePlace;

pub use step::{Cut, Step};

/// How many steps a sequence has at most.
const MOST_STEPS: usize = 40;
/// How many shorter sequences are tried after a difference was found.
const MOST_SHRINKS: u32 = 500;

/// Two stores answer the same steps differently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The fewest and simplest steps that were found to show it.
    pub steps: Vec<Step>,
    /// The last of them, and both answers.
    pub what: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "the stores differ after {} steps:", self.steps.len())?;
        for step in &self.steps {
            writeln!(f, "  {step:?}")?;
        }
        f.write_str(&self.what)
    }
}

impl std::error::Error for Difference {}

/// Takes random sequences of steps in two stores, and compares every answer, times and what is opaque aside. So many sequences
/// are tried, each in new places. If the answers differ, shorter sequences are looked for that show it.
///
/// Another store than that of the author is best the reference, [`MemoryPlace`](crate::MemoryPlace).
///
/// # Errors
/// If the stores differ.
///
/// # Panics
/// If there can be no runtime, or a place cannot be made. To be called where no runtime is.
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
        Config { cases: sequences, max_shrink_iters: MOST_SHRINKS, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&vec(step::any(), 1..MOST_STEPS), |steps| {
        let difference = runtime.block_on(async {
            let (place, other) = (new_place().await, new_other().await);
            first_difference(&place, &other, &steps).await
        });
        difference.map_or(Ok(()), |what| Err(TestCaseError::fail(what)))
    });
    match outcome {
        Ok(()) => Ok(()),
        Err(TestError::Fail(what, steps)) => Err(Box::new(Difference { steps, what: what.to_string() })),
        Err(TestError::Abort(why)) => panic!("no sequences of steps: {why}"),
    }
}

/// Takes the steps in both places, and says where the answers differ first.
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

/// Lets the hosts die, and opens new ones.
async fn reopen(hosts: &mut [Arc<dyn ThreadStore>; 2], places: [&dyn StorePlace; 2]) {
    let [first, second] = places;
    // The new host is opened first, so that a place in memory is there all the time.
    *hosts = [first.open_host().await, second.open_host().await];
}
