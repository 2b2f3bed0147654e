//! What `cargo xtask bench AREA --against COMMIT` has two trees do and compares: small workloads that are always the same.
//!
//! A benchmark that is called with `--probe N` does each of its workloads once to warm up and N times to be measured, and
//! prints for each a line `probe`, the workload's name and the nanoseconds of the best time, with tabs between. Nothing is
//! asked of them. Under callgrind [`probe_begins`] and [`probe_ends`] mark what is counted, of all threads: xtask knows them by
//! name.

use std::hint::black_box;
use std::time::Instant;

use anyhow::{Context, Result};
use tokio::runtime::{Builder, Runtime};

/// Measures workloads for a comparison.
pub(crate) struct Probe {
    /// With one thread, so that as little as can be depends on which thread the system runs next.
    pub(crate) runtime: Runtime,
    times: u32,
}

impl Probe {
    /// The probe; `None` if the command line does not ask for it.
    pub(crate) fn asked() -> Result<Option<Self>> {
        let mut arguments = std::env::args().skip_while(|argument| argument != "--probe");
        if arguments.next().is_none() {
            return Ok(None);
        }
        let times = arguments.next().and_then(|times| times.parse().ok()).context("--probe takes a number of times")?;
        Ok(Some(Self { runtime: Builder::new_current_thread().enable_all().build()?, times }))
    }

    /// Measures one workload: `work` on what `before` laid for it. What is left of it is dropped off the clock.
    ///
    /// The name says how much work it is: only workloads of the same name are compared.
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

/// Where counting begins. The two do something different, or the compiler would make one function of them.
#[inline(never)]
fn probe_begins() {
    black_box(1);
}

/// Where counting ends.
#[inline(never)]
fn probe_ends() {
    black_box(2);
}
