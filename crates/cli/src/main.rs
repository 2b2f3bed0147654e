//! The `selvedge` program: the threads of a home or of a database, for people and for scripts.
//!
//! This crate holds no rule about threads. A verb is one file in `commands`, with its arguments. It finds the thread
//! that an argument names (`resolve`), asks the store or the thread manager, and prints the answer, as JSON or through
//! `render`. Only `wiring` knows which store that is.

mod app;
mod arenas;
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

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::cli::Cli;
use crate::commands::VerbArgs;
use crate::failure::{Failure, FailureKind, Result};
use crate::output::Output;

fn main() -> ExitCode {
    // Clap prints its own errors and ends with code 2, as `FailureKind::Usage` does.
    let cli = Cli::parse();
    if let Some(VerbArgs::Serve(_)) = cli.verb {
        arenas::limit_arenas();
    }
    // The libraries log what they find odd but can work with. A person should see that, without a log format around it.
    let log = tracing_subscriber::fmt::layer()
        .with_writer(picker::screen::DeferredStderr::default)
        .with_ansi(false)
        .with_target(false)
        .without_time()
        .with_filter(log_filter());
    tracing_subscriber::registry().with(log).init();
    let mut out = Output::stdout(cli.global.color);
    if cli.verb.is_none() && !out.is_terminal() {
        // Nobody reads the overview. The error of clap for this would begin with `error:`, and the help is none.
        let _ = write!(std::io::stderr(), "{}", Cli::command().render_help());
        return ExitCode::from(FailureKind::Usage as u8);
    }
    let outcome = run(&cli, &mut out).and_then(|()| out.finish());
    match outcome {
        // A reader that closes the pipe, such as `head`, has seen enough. That is no failure.
        _ if out.is_closed() => ExitCode::SUCCESS,
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(cli.global.color),
    }
}

/// Warnings, without what the driver of the database logs of its pool and passes on of the server: the store says itself what that
/// means. Its warnings about `~/.pgpass` are for the user.
fn log_filter() -> Targets {
    let quiet = LevelFilter::ERROR;
    Targets::new()
        .with_default(LevelFilter::WARN)
        .with_targets([("sqlx", quiet), ("sqlx_core", quiet)])
        .with_target("sqlx_postgres", LevelFilter::WARN)
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
        None => runtime.block_on(commands::overview::run(&cli.global, out)),
    }
}
