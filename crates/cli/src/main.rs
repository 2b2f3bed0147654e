//! The `selvedge` program: the threads of a home, for people and for scripts.
//!
//! This crate holds no rule about threads. A verb is one file in `commands`: it finds out which thread is meant
//! (`resolve`), asks the store or the manager, and hands the answer to `render` or prints it as JSON. Which store that is, `wiring`
//! alone knows.

mod app;
mod args;
mod commands;
mod demo_data;
mod exit;
mod forest;
mod home;
mod output;
mod pick;
mod progress;
mod render;
mod resolve;
mod wiring;

use std::process::ExitCode;

use clap::Parser;

use crate::args::Cli;
use crate::exit::{Failure, Result};
use crate::output::Output;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // What the libraries find odd and carry on with is for people to know.
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::WARN)
        .with_writer(pick::screen::Aside::default)
        .with_ansi(false)
        .with_target(false)
        .without_time()
        .init();
    let mut out = Output::stdout(cli.global.color);
    let outcome = run(&cli, &mut out).and_then(|()| out.finish());
    match outcome {
        // Whoever read us has seen enough, and that is no failure.
        _ if out.is_closed() => ExitCode::SUCCESS,
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(cli.global.color),
    }
}

fn run(cli: &Cli, out: &mut Output) -> Result<()> {
    // One worker: a verb is one task, and the manager's timers are the other.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| Failure::from(anyhow::Error::new(error).context("cannot start")))?;
    runtime.block_on(commands::run(cli, out))
}
