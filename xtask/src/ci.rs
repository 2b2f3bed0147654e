//! `cargo xtask ci`: all checks that a change must pass. `.ci/run` calls only this, so a change that passes here passes there.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::deny::{self, Outcome};
use crate::test::{self, TestCounts};
use crate::workspace::{cargo, no_arguments, run_command};
use crate::{crash, docs, fmt, layers, lint, tidy};

pub(crate) const HELP: &str = "\
usage: cargo xtask ci

Runs test, the rules of the contract in a build without the index, fmt --check, lint, layers, tidy, docs, deny, the demo of the README and 60 seconds of crash. The steps after a failed one
still run, and the table at the end shows the result of every step. The last lines are the counts of the test runner.";

/// A step. Its arguments are the counts of the tests and the names of all verbs.
type CiStep = fn(&mut TestCounts, &[&str]) -> Result<Outcome>;

const STEPS: &[(&str, CiStep)] = &[
    ("test", |counts, _| {
        let (outcome, seen) = test::run_counted(&[]);
        *counts = seen;
        outcome.map(|()| Outcome::Passed)
    }),
    ("no index", |_, _| passed(without_index())),
    ("fmt --check", |_, _| passed(fmt::run(&["--check".to_owned()]))),
    ("lint", |_, _| passed(lint::run(&[]))),
    ("layers", |_, _| passed(layers::run(&[]))),
    ("tidy", |_, verbs| passed(tidy::run(&[], verbs))),
    ("docs", |_, _| passed(docs::run(&[]))),
    ("deny", |_, _| deny::check()),
    ("demo", |_, _| passed(demo())),
    ("crash", |_, _| passed(crash::run(&[]))),
];

/// The result of one step.
struct StepReport {
    name: &'static str,
    outcome: Result<Outcome>,
    took: Duration,
}

/// Runs every step; `verbs` are the names of all verbs.
pub(crate) fn run(args: &[String], verbs: &[&str]) -> Result<()> {
    no_arguments("ci", args)?;
    let mut counts = TestCounts::default();
    let reports: Vec<StepReport> =
        STEPS.iter().map(|(name, step)| run_step(name, || step(&mut counts, verbs))).collect();
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

fn run_step(name: &'static str, step: impl FnOnce() -> Result<Outcome>) -> StepReport {
    eprintln!("\n== {name}");
    let start = Instant::now();
    let outcome = step();
    if let Err(error) = &outcome {
        eprintln!("xtask: {error:#}");
    }
    StepReport { name, outcome, took: start.elapsed() }
}

fn table(reports: &[StepReport]) -> String {
    let mut text = format!("{:<14} {:>8}  result", "step", "seconds");
    for StepReport { name, outcome, took } in reports {
        let word = match outcome {
            Ok(Outcome::Passed) => "ok".to_owned(),
            Ok(Outcome::Skipped(why)) => format!("SKIPPED: {why}"),
            Err(_) => "FAILED".to_owned(),
        };
        text.push_str(&format!("\n{name:<14} {:>8.1}  {word}", took.as_secs_f64()));
    }
    text
}

/// Builds the local store and the facade without the feature `index`, and runs the rules of the contract: the logs answer everything.
fn without_index() -> Result<()> {
    let slim = ["--no-default-features", "-p", "selvedge-thread-store-local"];
    run_command(cargo(&["test"]).args(slim).args(["--test", "without_index"]))?;
    run_command(&mut cargo(&["check", "-p", "selvedge", "--no-default-features", "--features", "local"]))
}

/// Runs the first command of the README, in the release build, as a reader would type it.
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
    fn a_skipped_step_is_not_shown_as_passed() {
        let outcome = Ok(Outcome::Skipped("not installed"));
        let text = table(&[StepReport { name: "deny", outcome, took: Duration::ZERO }]);
        assert!(text.ends_with("SKIPPED: not installed"), "{text}");
    }
}
