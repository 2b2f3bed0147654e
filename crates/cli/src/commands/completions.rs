//! `selvedge completions`: completions for a shell.

use std::io::Write;

use clap::CommandFactory;

use crate::args::{Cli, CompletionsArgs};
use crate::exit::Result;
use crate::output::Output;

/// Prints the shell's script.
pub(crate) fn run(args: &CompletionsArgs, out: &mut Output) -> Result<()> {
    // Through memory: the generator panics when it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "selvedge", &mut script);
    out.write_all(&script)?;
    Ok(())
}
