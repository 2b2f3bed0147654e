//! The `selvedge` program: the threads of a home or of a database, for people and for scripts.
//!
//! This crate holds no rule about threads. A verb is one file in `commands`, with its arguments. It finds the thread
//! that an argument names (`resolve`), asks the store or the thread manager, and prints the answer, as JSON or through
//! `render`. Only `wiring` knows which store that is.

mod app;
mod background_index;
mod cli;
mod clock;
mod codex;
mod commands;
mod directory;
mod diverged;
mod failure;
mod forest;
mod global_options;
mod home;
mod maintenance;
mod notes;
mod output;
mod picker;
mod progress;
mod render;
mod resolve;
mod session_meta;
mod store_location;
mod thread_filters;
mod timing;
mod transcript_selection;
mod value_parsers;
mod wiring;

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

use crate::cli::Cli;
use crate::failure::{Failure, Result};
use crate::output::Output;

fn main() -> ExitCode {
    // Clap prints its own errors and ends with code 2, as `FailureKind::Usage` does.
    let cli = Cli::parse();
    // The libraries log what they find odd but can work with. A person should see that, without a log format around it.
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::WARN)
        .with_writer(picker::screen::DeferredStderr::default)
        .with_ansi(false)
        .with_target(false)
        .without_time()
        .init();
    let mut out = Output::stdout(cli.global.color);
    let outcome = run(&cli, &mut out).and_then(|()| out.finish());
    match outcome {
        // A reader that closes the pipe, such as `head`, has seen enough. That is no failure.
        _ if out.is_closed() => ExitCode::SUCCESS,
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(cli.global.color),
    }
}

fn run(cli: &Cli, out: &mut Output) -> Result<()> {
    // One worker is enough: the verb runs on this thread, and the timers of the manager on the worker.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| Failure::from(anyhow::Error::new(error).context("cannot start")))?;
    match &cli.verb {
        Some(verb) => runtime.block_on(commands::run(verb, &cli.global, Cli::command, out)),
        None if out.is_terminal() => runtime.block_on(commands::overview::run(&cli.global, out)),
        None => {
            let mut program = Cli::command();
            let help = program.render_help();
            program.error(ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand, help).exit()
        }
    }
}
