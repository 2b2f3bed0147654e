//! `cargo xtask hostile`: uses homes that are made to exhaust memory or time, larger than those of the tests.

use anyhow::Result;

use crate::workspace::{cargo, no_arguments, run_command};

pub(crate) const HELP: &str = "\
usage: cargo xtask hostile

Creates a chain of 100,000 bases and a line of 1 GiB (about 2 GB below the temporary directory), does everything with them
that a store does, and checks the limits of each step. Prints the time and the peak memory of each step.";

pub(crate) fn run(args: &[String]) -> Result<()> {
    no_arguments("hostile", args)?;
    let arguments = ["test", "--release", "-p", "selvedge-thread-store-local", "--test", "it", "hostile::"];
    run_command(cargo(&arguments).args(["--", "--ignored", "--nocapture", "--test-threads=1"]))
}
