//! The verbs, one file each.

mod append;
mod archive;
mod completions;
mod compress;
mod context;
mod delete;
mod demo;
mod doctor;
mod doctor_index;
mod export;
mod fork;
pub(crate) mod index;
mod list;
mod new;
mod pick;
mod rename;
mod rewind;
mod search;
mod show;
mod stats;
mod tail;
mod tree;

use std::path::PathBuf;

use selvedge_protocol::Durability;

use crate::app::App;
use crate::args::{Cli, Verb};
use crate::exit::{Code, Failure, Result};
use crate::home;
use crate::output::Output;
use crate::wiring::{HomeOptions, IndexLocation};

/// Does what the command line says.
pub(crate) async fn run(cli: &Cli, out: &mut Output) -> Result<()> {
    match &cli.verb {
        Verb::Demo(_) | Verb::Completions(_) if cli.global.json => return Err(no_json()),
        Verb::Demo(args) => return demo::run(args, out).await,
        Verb::Completions(args) => return completions::run(args, out),
        _ => {}
    }
    let path = home::locate(cli.global.home.as_deref())?;
    let options = HomeOptions { durability: durability(cli)?, index: index_location(cli) };
    if let Verb::New(_) = &cli.verb {
        home::create(&path, options.durability)?;
    }
    let mut app = App::open(&path, options, cli.global.json, out)?;
    let outcome = on_home(cli, &mut app).await;
    app.close().await;
    outcome
}

/// The level that `--durability` says, else `SELVEDGE_DURABILITY`, else the default. An empty variable counts as unset.
fn durability(cli: &Cli) -> Result<Durability> {
    if let Some(level) = cli.global.durability {
        return Ok(level.into());
    }
    let Some(text) = home::variable("SELVEDGE_DURABILITY") else { return Ok(Durability::default()) };
    text.to_string_lossy().parse().map_err(|error| {
        Failure::new(Code::Usage, format!("SELVEDGE_DURABILITY: {error}")).hint("set it right, or unset it")
    })
}

/// Where `--index` says that the index is, else `SELVEDGE_INDEX`, else in the home. An empty variable counts as unset.
fn index_location(cli: &Cli) -> IndexLocation {
    match cli.global.index.clone().or_else(|| home::variable("SELVEDGE_INDEX").map(PathBuf::from)) {
        None => IndexLocation::InHome,
        Some(path) if path.as_os_str() == "off" => IndexLocation::Disabled,
        Some(path) => IndexLocation::At(std::path::absolute(&path).unwrap_or(path)),
    }
}

fn no_json() -> Failure {
    Failure::new(Code::Usage, "this verb has nothing to say as JSON").hint("leave --json out")
}

async fn on_home(cli: &Cli, app: &mut App<'_>) -> Result<()> {
    match &cli.verb {
        Verb::List(args) => list::run(args, app).await,
        Verb::Show(args) => show::run(args, app).await,
        Verb::Context(args) => context::run(args, app).await,
        Verb::Export(args) => export::run(args, app).await,
        Verb::Tail(args) => tail::run(args, app).await,
        Verb::New(args) => new::run(args, app).await,
        Verb::Append(args) => append::run(args, app).await,
        Verb::Fork(args) => fork::run(args, app).await,
        Verb::Rewind(args) => rewind::run(args, app).await,
        Verb::Rename(args) => rename::run(args, app).await,
        Verb::Archive(args) => archive::run(args, app).await,
        Verb::Unarchive(args) => archive::undo(args, app).await,
        Verb::Compress(args) => compress::run(args, app).await,
        Verb::Delete(args) => delete::run(args, app).await,
        Verb::Search(args) => search::run(args, app).await,
        Verb::Pick(args) => pick::run(args, cli.global.color, app).await,
        Verb::Tree(args) => tree::run(args, app).await,
        Verb::Stats(args) => stats::run(args, app).await,
        Verb::Index(args) => index::run(args, app).await,
        Verb::Doctor(args) => doctor::run(args, app).await,
        // They need no home, and were done before one was opened.
        Verb::Demo(_) | Verb::Completions(_) => Ok(()),
    }
}
