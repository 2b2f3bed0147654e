//! `cargo xtask test`: runs nextest if it is installed, otherwise `cargo test`, and the doctests.

use std::process::{Command, Stdio};

use anyhow::Result;

use crate::workspace::{Metadata, Stream, Usage, cargo, has_tool, run_watched};

pub(crate) const HELP: &str = "\
usage: cargo xtask test [-p <crate>]... [<filter>...] [-- <runner arguments>...]

Without -p it tests the whole workspace. A crate is named by its directory or its name: `-p rollout` is `-p selvedge-rollout`.
Filters are parts of test names. It uses `cargo nextest` if it is installed, otherwise `cargo test`. At the end it prints which
tests check nothing because a program is missing (tmux, for terminals).";

/// The selection of tests on the command line.
#[derive(Debug, Default, PartialEq)]
struct Selection {
    crates: Vec<String>,
    filters: Vec<String>,
}

pub(crate) fn run(args: &[String]) -> Result<()> {
    let (outcome, counts) = run_counted(args);
    for line in counts.lines() {
        println!("{line}");
    }
    outcome
}

/// Runs the tests and returns the counts even if some tests failed, for a caller that prints more before them.
pub(crate) fn run_counted(args: &[String]) -> (Result<()>, TestCounts) {
    let mut counts = TestCounts::default();
    let outcome = run_into(args, &mut counts);
    (outcome, counts)
}

fn run_into(args: &[String], counts: &mut TestCounts) -> Result<()> {
    let selection = Selection::parse(args)?;
    let metadata = Metadata::of_workspace()?;
    counts.left_out = left_out();
    if has_tool("nextest") {
        with_nextest(&selection, &metadata, counts)?;
        doctests(&selection, &metadata, counts)
    } else {
        eprintln!("cargo-nextest is not installed: falling back to cargo test");
        with_cargo_test(&selection, &metadata, counts)
    }
}

/// Returns which tests check nothing on this machine, and why. This is printed at the end, because the runners hide the output of tests that pass.
fn left_out() -> Option<String> {
    let tmux = Command::new("tmux").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let why = "tmux is not installed (apt-get install tmux, brew install tmux)";
    (cfg!(unix) && tmux.is_err()).then(|| format!("SKIPPED: `selvedge pick` on a terminal, because {why}"))
}

fn with_nextest(selection: &Selection, metadata: &Metadata, counts: &mut TestCounts) -> Result<()> {
    let mut command = cargo(&["nextest", "run"]);
    command.args(selection.package_flags(metadata, false)?);
    if selection.filters.is_empty() {
        // A crate may have no tests yet, but a filter that matches no test is a typing error.
        command.arg("--no-tests=warn");
    }
    command.arg("--").args(&selection.filters);
    run_watched(&mut command, Stream::Stderr, |line| counts.see_nextest(line))
}

fn doctests(selection: &Selection, metadata: &Metadata, counts: &mut TestCounts) -> Result<()> {
    let flags = selection.package_flags(metadata, true)?;
    if flags.is_empty() {
        return Ok(());
    }
    let mut command = cargo(&["test", "--doc"]);
    command.args(flags).arg("--").args(&selection.filters);
    run_watched(&mut command, Stream::Stdout, |line| counts.see_libtest(line))
}

/// Without target flags `cargo test` runs libraries, binaries, examples, tests and doctests. `--all-targets` would
/// run the benchmarks and omit the doctests.
fn with_cargo_test(selection: &Selection, metadata: &Metadata, counts: &mut TestCounts) -> Result<()> {
    let mut command = cargo(&["test", "--no-fail-fast"]);
    command.args(selection.package_flags(metadata, false)?).arg("--").args(&selection.filters);
    run_watched(&mut command, Stream::Stdout, |line| counts.see_libtest(line))
}

impl Selection {
    fn parse(args: &[String]) -> Result<Self> {
        let mut selection = Self::default();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "-p" | "--package" => {
                    let name = args.next().ok_or_else(|| Usage(format!("{arg} needs the name of a crate")))?;
                    selection.crates.push(name.clone());
                }
                "--" => selection.filters.extend(args.by_ref().cloned()),
                flag if flag.starts_with('-') => {
                    return Err(
                        Usage(format!("test has no option {flag}; arguments of the runner go after `--`")).into()
                    );
                }
                filter => selection.filters.push(filter.to_owned()),
            }
        }
        Ok(selection)
    }

    /// Returns the flags that name the selected crates; empty if only libraries are wanted and no selected crate is one.
    fn package_flags(&self, metadata: &Metadata, libraries_only: bool) -> Result<Vec<String>> {
        if self.crates.is_empty() {
            return Ok(vec!["--workspace".into()]);
        }
        let mut flags = Vec::new();
        for word in &self.crates {
            let package = metadata.member(word)?;
            if package.has_library() || !libraries_only {
                flags.extend(["-p".into(), package.name.clone()]);
            }
        }
        Ok(flags)
    }
}

/// The summary lines of the runners, collected to be printed once more at the very end.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct TestCounts {
    nextest: Option<String>,
    left_out: Option<String>,
    passed: usize,
    failed: usize,
    ignored: usize,
    binaries: usize,
}

impl TestCounts {
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.binaries > 0 {
            let word = if self.failed == 0 { "ok" } else { "FAILED" };
            let what = if self.nextest.is_some() { "doctests" } else { "all tests" };
            let (passed, failed, ignored) = (self.passed, self.failed, self.ignored);
            lines.push(format!("test result: {word}. {passed} passed; {failed} failed; {ignored} ignored ({what})"));
        }
        lines.extend(self.nextest.clone());
        lines.extend(self.left_out.clone());
        lines
    }

    fn see_nextest(&mut self, line: &str) {
        let line = line.trim_start();
        if line.starts_with("Summary [") {
            self.nextest = Some(line.trim_end().to_owned());
        }
    }

    fn see_libtest(&mut self, line: &str) {
        let Some(result) = line.trim_start().strip_prefix("test result: ") else {
            return;
        };
        self.binaries += 1;
        self.passed += number_before(result, " passed");
        self.failed += number_before(result, " failed");
        self.ignored += number_before(result, " ignored");
    }
}

fn number_before(text: &str, word: &str) -> usize {
    let before = text.split_once(word).map_or("", |(before, _)| before);
    before.rsplit(' ').next().and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Selection> {
        Selection::parse(&args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn crates_and_filters_are_distinguished() {
        let selection = parse(&["-p", "rollout", "lock", "--", "--ignored"]).unwrap();
        assert_eq!(selection.crates, ["rollout"]);
        assert_eq!(selection.filters, ["lock", "--ignored"]);
    }

    #[test]
    fn wrong_options_are_usage_errors() {
        assert!(parse(&["-p"]).unwrap_err().is::<Usage>());
        assert!(parse(&["--nocapture"]).unwrap_err().is::<Usage>());
    }

    #[test]
    fn summary_lines_of_the_runners_are_collected() {
        let mut counts = TestCounts::default();
        counts.see_nextest("     Summary [   0.012s] 7 tests run: 7 passed, 1 skipped");
        counts.see_libtest(
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.10s",
        );
        counts.see_libtest(
            "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s",
        );
        assert_eq!(
            counts.lines(),
            [
                "test result: ok. 5 passed; 0 failed; 1 ignored (doctests)",
                "Summary [   0.012s] 7 tests run: 7 passed, 1 skipped"
            ]
        );
    }
}
