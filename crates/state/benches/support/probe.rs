//! Small workloads that never change, which `cargo xtask bench AREA --against COMMIT` runs in two trees to compare them.
//!
//! With `--probe N`, a benchmark runs each workload once to warm up, and N times to measure it. For each workload it prints a line
//! with `probe`, the name and the nanoseconds of the best time, separated by tabs. There are no targets. Under callgrind,
//! [`probe_begins`] and [`probe_ends`] mark what is counted, in all threads. xtask knows these two functions by name.

use std::hint::black_box;
use std::time::Instant;

use anyhow::{Context, Result};
use tokio::runtime::{Builder, Runtime};

/// Measures workloads for a comparison.
pub(crate) struct Probe {
    /// A runtime with one thread, so that the result depends as little as possible on the scheduler.
    pub(crate) runtime: Runtime,
    times: u32,
}

impl Probe {
    /// Returns the probe. `None` if the command line does not ask for one.
    pub(crate) fn asked() -> Result<Option<Self>> {
        let mut arguments = std::env::args().skip_while(|argument| argument != "--probe");
        if arguments.next().is_none() {
            return Ok(None);
        }
        let times = arguments.next().and_then(|times| times.parse().ok()).context("--probe takes a number of times")?;
        Ok(Some(Self { runtime: Builder::new_current_thread().enable_all().build()?, times }))
    }

    /// Measures one workload: `work`, on what `before` prepares. The result is dropped after the time was taken.
    ///
    /// The name must contain the amount of work, because only workloads of the same name are compared.
    pub(crate) fn measure<T, L>(
        &self,
        name: &str,
        mut before: impl AsyncFnMut() -> Result<T>,
        mut work: impl AsyncFnMut(T) -> Result<L>,
    ) -> Result<()> {
        let input = self.runtime.block_on(before())?;
        drop(self.runtime.block_on(work(input)).with_context(|| name.to_owned())?);
        let mut best = None;
        for _ in 0..self.times {
            let input = self.runtime.block_on(before())?;
            probe_begins();
            let started = Instant::now();
            let left = self.runtime.block_on(work(input));
            let took = started.elapsed();
            probe_ends();
            drop(left.with_context(|| name.to_owned())?);
            best = best.into_iter().chain([took]).min();
        }
        println!("probe\t{name}\t{}", best.unwrap_or_default().as_nanos());
        Ok(())
    }
}

/// Marks where counting begins. The two functions differ, or the compiler would merge them into one.
#[inline(never)]
fn probe_begins() {
    black_box(1);
}

/// Marks where counting ends.
#[inline(never)]
fn probe_ends() {
    black_box(2);
}
