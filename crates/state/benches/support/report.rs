//! What was measured, line by line, beside what is asked of it.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

/// Tells what was measured as it comes, and remembers what was not as asked.
#[derive(Default)]
pub(crate) struct Report {
    missed: Vec<String>,
}

impl Report {
    /// A new part, with how busy the machine is: on one that is not idle, times say little.
    pub(crate) fn begin(title: &str) {
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        println!("\n{title} (load {})", load.split_whitespace().take(3).collect::<Vec<_>>().join(" "));
    }

    /// Something measured of which nothing is asked.
    pub(crate) fn tell(what: &str, measured: &str) {
        println!("  {what:36} {measured}");
    }

    /// Something measured, and whether it is as `asked`.
    pub(crate) fn hold(&mut self, what: &str, measured: &str, asked: &str, is_kept: bool) {
        Self::tell(what, &format!("{measured}  (asked: {asked}){}", if is_kept { "" } else { "  MISSED" }));
        if !is_kept {
            self.missed.push(format!("{what}: {measured}, asked {asked}"));
        }
    }

    /// Times of which the best is held to what is asked; the middle one says how quiet the machine was.
    pub(crate) fn hold_time(&mut self, what: &str, times: &Times, asked: Duration) {
        let asked_text = format!("at most {} ms", asked.as_secs_f64() * 1e3);
        self.hold(what, &times.to_string(), &asked_text, times.best() <= asked);
    }

    /// Fails if anything was not as asked.
    pub(crate) fn end(self) -> Result<()> {
        ensure!(self.missed.is_empty(), "not as asked:\n  {}", self.missed.join("\n  "));
        Ok(())
    }
}

/// How long several runs of the same thing took, the shortest first.
pub(crate) struct Times(Vec<Duration>);

impl Times {
    /// Measures so many runs of the same thing.
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
