//! `cargo xtask ci`: the gate. `.ci/run` calls this and nothing else, so what passes here passes there.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::deny::{self, Outcome};
use crate::test::{self, Counts};
use crate::workspace::{cargo, no_arguments, run_command};
use crate::{crash, docs, fmt, layers, lint, tidy};

pub(crate) const HELP: &str = "\
usage: cargo xtask ci

Runs test, fmt --check, lint, layers, tidy, docs, deny, the demo of the README and 60 seconds of crash. A failed step does not stop the next ones:
the table at the end says everything that is wrong at once. The last lines are the test runner's counts.";

type Step = fn(&mut Counts) -> Result<Outcome>;

const STEPS: &[(&str, Step)] = &[
    ("test", |counts| {
        let (outcome, seen) = test::run_counted(&[]);
        *counts = seen;
        outcome.map(|()| Outcome::Passed)
    }),
    ("fmt --check", |_| passed(fmt(&["--check".to_owned()]))),
    ("lint", |_| passed(lint::run(&[]))),
    ("layers", |_| passed(layers::run(&[]))),
    ("tidy", |_| passed(tidy::run(&[]))),
    ("docs", |_| passed(docs(&[]))),
    ("deny", |_| deny::check()),
    ("demo", |_| passed(demo())),
    ("crash", |_| passed(crash::run(&[]))),
];

/// What became of one step.
struct Report {
    name: &'static str,
    outcome: Result<Outcome>,
    took: Duration,
}

pub(crate) fn run(args: &[String]) -> Result<()> {
    no_arguments("ci", args)?;
    let mut counts = Counts::default();
    let reports: Vec<Report> = STEPS.iter().map(|(name, step)| run_step(name, *step, &mut counts)).collect();
    println!("\n{}", table(&reports));
    for line in counts.lines() {
        println!("{line}");
    }
    let failed: Vec<&str> = reports.iter().filter(|report| report.outcome.is_err()).map(|report| report.name).collect();
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

fn run_step(name: &'static str, step: Step, counts: &mut Counts) -> Report {
    eprintln!("\n== {name}");
    let start = Instant::now();
    let outcome = step(counts);
    if let Err(error) = &outcome {
        eprintln!("xtask: {error:#}");
    }
    Report { name, outcome, took: start.elapsed() }
}

fn table(reports: &[Report]) -> String {
    let mut text = format!("{:<14} {:>8}  result", "step", "seconds");
    for Report { name, outcome, took } in reports {
        let word = match outcome {
            Ok(Outcome::Passed) => "ok".to_owned(),
            Ok(Outcome::Skipped(why)) => format!("SKIPPED: {why}"),
            Err(_) => "FAILED".to_owned(),
        };
        text.push_str(&format!("\n{name:<14} {:>8.1}  {word}", took.as_secs_f64()));
    }
    text
}

/// The README's first command, on the release build, as a reader would type it.
fn demo() -> Result<()> {
    run_command(&mut cargo(&["run", "--release", "--", "demo"]))
}

fn passed(outcome: Result<()>) -> Result<Outcome> {
    outcome.map(|()| Outcome::Passed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skipped_step_does_not_look_like_a_passed_one() {
        let outcome = Ok(Outcome::Skipped("not installed"));
        let text = table(&[Report { name: "deny", outcome, took: Duration::ZERO }]);
        assert!(text.ends_with("SKIPPED: not installed"), "{text}");
    }
}
