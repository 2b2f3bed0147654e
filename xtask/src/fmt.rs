//! `cargo xtask fmt`: formats every crate.

use anyhow::Result;

use crate::workspace::{Usage, cargo, run_command};

pub(crate) const HELP: &str = "usage: cargo xtask fmt [--check]";

pub(crate) fn run(args: &[String]) -> Result<()> {
    let mut command = cargo(&["fmt", "--all"]);
    match args {
        [] => {}
        [flag] if flag == "--check" => {
            command.arg("--check");
        }
        _ => return Err(Usage("fmt takes nothing but --check".into()).into()),
    }
    run_command(&mut command)
}
