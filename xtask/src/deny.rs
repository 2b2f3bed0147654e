//! `cargo xtask deny`: runs cargo-deny with `deny.toml`, and prints clearly what was not checked and why.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::workspace::{cargo, has_tool, no_arguments, run_command};

pub(crate) const HELP: &str = "\
usage: cargo xtask deny

Checks licences, bans, sources and advisories of all dependencies against deny.toml with cargo-deny.
If cargo-deny is not installed, nothing is checked. The advisory database comes from the network; if it cannot be
downloaded within a minute, advisories are not checked. Both cases are printed and are not failures.";

/// Timeout for the download of the advisory database.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whether everything was checked. A skipped check must not look like a passed one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Outcome {
    Passed,
    Skipped(&'static str),
}

pub(crate) fn run(args: &[String]) -> Result<()> {
    no_arguments("deny", args)?;
    check().map(drop)
}

pub(crate) fn check() -> Result<Outcome> {
    if !has_tool("deny") {
        eprintln!(
            "!! SKIPPED: cargo-deny is not installed, so licences, bans, sources and advisories were NOT checked."
        );
        eprintln!("!! Install it with `cargo install cargo-deny --locked`.");
        return Ok(Outcome::Skipped("cargo-deny is not installed"));
    }
    run_command(&mut cargo(&["deny", "check", "licenses", "bans", "sources"]))?;
    if !succeeds_within(&mut fetch(), PATIENCE) {
        eprintln!("!! SKIPPED: the database of advisories cannot be fetched, so advisories were NOT checked.");
        eprintln!("!! With a network, `cargo xtask deny` checks them.");
        return Ok(Outcome::Skipped("advisories: their database cannot be fetched; the rest of deny passed"));
    }
    // The database was fetched just before.
    run_command(&mut cargo(&["deny", "--offline", "check", "advisories"]))?;
    Ok(Outcome::Passed)
}

/// Fetches the advisory database.
fn fetch() -> Command {
    let mut command = cargo(&["deny", "fetch", "db"]);
    // git must not ask for credentials, and must give up if the network does not answer.
    command
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_HTTP_LOW_SPEED_LIMIT", "1000")
        .env("GIT_HTTP_LOW_SPEED_TIME", "20");
    command
}

/// Returns whether a program succeeds within a timeout. After the timeout the program is killed.
fn succeeds_within(command: &mut Command, patience: Duration) -> bool {
    let Ok(mut child) = command.spawn() else { return false };
    let start = Instant::now();
    while start.elapsed() < patience {
        match child.try_wait() {
            Ok(Some(status)) => return status.success(),
            Ok(None) => thread::sleep(Duration::from_millis(50)),
            Err(_) => break,
        }
    }
    // It may have ended meanwhile.
    let _ = child.kill();
    let _ = child.wait();
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_hangs_or_fails_is_a_failure() {
        let start = Instant::now();
        assert!(succeeds_within(&mut cargo(&["--version"]), PATIENCE));
        assert!(!succeeds_within(&mut cargo(&["no-such-verb"]), PATIENCE));
        assert!(!succeeds_within(&mut Command::new("no-such-program"), PATIENCE));
        #[cfg(unix)]
        assert!(!succeeds_within(Command::new("sleep").arg("30"), Duration::from_millis(100)));
        assert!(start.elapsed() < Duration::from_secs(20));
    }
}
