//! `cargo xtask deny`: cargo-deny with `deny.toml`, or a loud word that it is missing.

use anyhow::Result;

use crate::workspace::{cargo, has_tool, no_arguments, run_command};

pub(crate) const HELP: &str = "\
usage: cargo xtask deny

Checks licences, bans and sources of all dependencies against deny.toml with cargo-deny.
Where cargo-deny is not installed the check is skipped, and says so. Advisories are not checked: their database is not part of
a registry, and a gate that passes today would fail tomorrow; `cargo deny check advisories` does it by hand.";

/// Whether a check was made at all: a skipped one must not look like a passed one.
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
        eprintln!("!! SKIPPED: cargo-deny is not installed, so licences, bans and sources were NOT checked.");
        eprintln!("!! Install it with `cargo install cargo-deny --locked`.");
        return Ok(Outcome::Skipped("cargo-deny is not installed"));
    }
    run_command(&mut cargo(&["deny", "check", "licenses", "bans", "sources"]))?;
    Ok(Outcome::Passed)
}
