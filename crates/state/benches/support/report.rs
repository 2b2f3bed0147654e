//! A report of measurements, line by line, each beside its target.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

/// Prints measurements as they come, and remembers missed targets.
#[derive(Default)]
pub(crate) struct Report {
    missed: Vec<String>,
}

impl Report {
    /// Begins a section, with the load of the machine: if it is busy, times mean little.
    pub(crate) fn begin(title: &str) {
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        println!("\n{title} (load {})", load.split_whitespace().take(3).collect::<Vec<_>>().join(" "));
    }

    /// Prints a measurement without a target.
    pub(crate) fn tell(what: &str, measured: &str) {
        println!("  {what:36} {measured}");
    }

    /// Prints a measurement with its target, and whether it is met.
    pub(crate) fn hold(&mut self, what: &str, measured: &str, target: &str, is_kept: bool) {
        Self::tell(what, &format!("{measured}  (target: {target}){}", if is_kept { "" } else { "  MISSED" }));
        if !is_kept {
            self.missed.push(format!("{what}: {measured}, target {target}"));
        }
    }

    /// Prints times, of which the best must meet the target. The median shows how quiet the machine was.
    pub(crate) fn hold_time(&mut self, what: &str, times: &Times, target: Duration) {
        let target_text = format!("at most {} ms", target.as_secs_f64() * 1e3);
        self.hold(what, &times.to_string(), &target_text, times.best() <= target);
    }

    /// Fails if a target was missed.
    pub(crate) fn end(self) -> Result<()> {
        ensure!(self.missed.is_empty(), "missed targets:\n  {}", self.missed.join("\n  "));
        Ok(())
    }
}

/// The times of several runs of the same work, shortest first.
pub(crate) struct Times(Vec<Duration>);

impl Times {
    /// Measures `count` runs of the same work.
    pub(crate) async fn measured<E>(
        count: usize,
        mut work: impl AsyncFnMut() -> std::result::Result<(), E>,
    ) -> std::result::Result<Self, E> {
        let mut times = Vec::with_capacity(count);
        for _ in 0..count {
            let started = Instant::now();
            work().await?;
            times.push(started.elapsed());
        }
        Ok(Self::of(times))
    }

    /// # Panics
    /// Without any times.
    pub(crate) fn of(mut times: Vec<Duration>) -> Self {
        assert!(!times.is_empty(), "nothing was measured");
        times.sort_unstable();
        Self(times)
    }

    pub(crate) fn best(&self) -> Duration {
        self.0[0]
    }
}

impl std::fmt::Display for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        write!(f, "{:9.2} ms", ms(self.best()))?;
        if self.0.len() > 1 {
            write!(f, ", in the middle {:.2} ms", ms(self.0[self.0.len() / 2]))?;
        }
        Ok(())
    }
}
