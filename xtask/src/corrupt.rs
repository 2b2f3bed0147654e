//! `cargo xtask corrupt`: corrupts the recordings at random, more often than the tests have time for.

use anyhow::Result;

use crate::workspace::{Usage, cargo, run_command};

pub(crate) const HELP: &str = "\
usage: cargo xtask corrupt [n]

Damages recordings at random, n times (10,000 by default): it flips, cuts, splices, duplicates and zeroes bytes. Checks that
every intact line is read and that no other line is, that both readers agree, and that a repair keeps every line (the last
two for a third of the runs). Prints the number of lines.";

pub(crate) fn run(args: &[String]) -> Result<()> {
    let count = match args {
        [] => 10_000,
        [count] => count.parse::<u32>().map_err(|_| Usage(format!("{count:?} is not a number of corruptions")))?,
        _ => return Err(Usage("corrupt takes one number".into()).into()),
    };
    let arguments =
        ["test", "--release", "-p", "selvedge-rollout", "--test", "it", "corruption::", "--", "--nocapture"];
    run_command(cargo(&arguments).env("SELVEDGE_CORRUPTIONS", count.to_string()))
}
