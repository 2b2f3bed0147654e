//! `cargo xtask docs`: builds the API documentation.

use anyhow::Result;

use crate::workspace::{cargo, no_arguments, run_command};

pub(crate) const HELP: &str = "usage: cargo xtask docs\n\nThe pages are in target/doc.";

pub(crate) fn run(args: &[String]) -> Result<()> {
    no_arguments("docs", args)?;
    let mut command = cargo(&["doc", "--workspace", "--no-deps"]);
    run_command(command.env("RUSTDOCFLAGS", "-D warnings"))
}
