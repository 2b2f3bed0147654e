//! `selvedge completions`: completions for a shell.

use std::io::Write;

use clap::Args;

use crate::failure::Result;
use crate::output::Output;

/// Arguments of `selvedge completions`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  selvedge completions bash > ~/.local/share/bash-completion/completions/selvedge
  selvedge completions fish > ~/.config/fish/completions/selvedge.fish")]
pub(crate) struct CompletionsArgs {
    /// Shell
    #[arg(value_name = "SHELL")]
    shell: clap_complete::Shell,
}

/// Prints the completion script for a shell. `program` describes the whole command line.
pub(crate) fn run(args: &CompletionsArgs, mut program: clap::Command, out: &mut Output) -> Result<()> {
    // The script goes through memory, because the generator panics if it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut program, "selvedge", &mut script);
    out.write_all(&script)?;
    Ok(())
}
