//! The verbs. Each has a file with its arguments, its help and what it does.
//!
//! A new verb is a new file, and here a module, a variant of [`VerbArgs`] and an arm of the dispatch.

mod append;
mod archive;
mod completions;
mod compress;
mod context;
mod copy;
mod delete;
mod demo;
mod doctor;
mod export;
mod fork;
mod import;
mod index;
mod list;
mod new;
pub(crate) mod overview;
mod pick;
mod rename;
mod rewind;
mod search;
mod serve;
mod show;
mod stats;
mod store;
mod tail;
mod tree;

use clap::Subcommand;

use crate::app::{App, needs_home};
use crate::failure::{Failure, FailureKind, Result};
use crate::global_options::GlobalOptions;
use crate::home;
use crate::output::Output;
use crate::store_location::{self, StoreLocation};
use crate::wiring::HomeOptions;

/// The verbs with their arguments, in the order of the help.
#[derive(Debug, Subcommand)]
pub(crate) enum VerbArgs {
    /// List threads, newest update first
    List(list::ListArgs),
    /// Show a thread as a transcript
    Show(show::ShowArgs),
    /// Show what the model would see next
    Context(context::ContextArgs),
    /// Write a thread as JSONL in its original bytes, or as Markdown, HTML or JSON
    Export(export::ExportArgs),
    /// Show the threads as pages in a browser
    Serve(serve::ServeArgs),
    /// Follow a thread while other processes write it
    Tail(tail::TailArgs),
    /// Start a thread and print its id
    New(new::NewArgs),
    /// Append items from standard input to a thread
    Append(append::AppendArgs),
    /// Create a thread that begins with the history of another one, and print the new id
    Fork(fork::ForkArgs),
    /// Take in rollout files that no command reads, such as copies of a conflict
    Import(import::ImportArgs),
    /// Copy threads into another store, byte for byte: from a home into a database, and back
    Copy(copy::CopyArgs),
    /// Undo the newest turns of a thread
    Rewind(rewind::RewindArgs),
    /// Give a thread a name, or remove it
    Rename(rename::RenameArgs),
    /// Take a thread out of the list, and keep everything in it
    Archive(archive::ArchiveArgs),
    /// Put an archived thread back into the list
    Unarchive(archive::ArchiveArgs),
    /// Compress the files of threads that no process writes
    Compress(compress::CompressArgs),
    /// Delete a thread permanently
    Delete(delete::DeleteArgs),
    /// Find threads that contain a text
    Search(search::SearchArgs),
    /// Choose a thread on the terminal, and print its id
    Pick(pick::PickArgs),
    /// Draw forks and sub-agents below the threads that they come from
    Tree(tree::TreeArgs),
    /// Add up threads, turns, tokens and bytes by day, project, model or source
    Stats(stats::StatsArgs),
    /// Show the index beside the logs, update it, or rebuild it
    Index(index::IndexArgs),
    /// Check the files of a home, and repair what can be repaired
    Doctor(doctor::DoctorArgs),
    /// Describe a database, create its tables, or update them
    Store(store::StoreArgs),
    /// Take a tour on recorded threads, in a temporary folder
    Demo(demo::DemoArgs),
    /// Print completions for a shell
    Completions(completions::CompletionsArgs),
}

impl VerbArgs {
    /// Returns whether the verb works on the files of a home, so that it has no meaning on a database.
    fn is_about_files(&self) -> bool {
        matches!(self, Self::Import(_) | Self::Compress(_) | Self::Index(_) | Self::Doctor(_))
    }
}

/// Runs a verb. `program` builds the description of the whole command line, which takes too long to do for every verb.
pub(crate) async fn run(
    verb: &VerbArgs,
    global: &GlobalOptions,
    program: fn() -> clap::Command,
    out: &mut Output,
) -> Result<()> {
    match verb {
        VerbArgs::Demo(_) | VerbArgs::Completions(_) if global.json => return Err(no_json()),
        VerbArgs::Demo(args) => return demo::run(args, out).await,
        VerbArgs::Completions(args) => return completions::run(args, program(), out),
        VerbArgs::Store(args) => return store::run(args, global, out).await,
        _ => {}
    }
    let mut app = match store_location::locate(global)? {
        StoreLocation::Home(path) => {
            let durability = global.durability()?.unwrap_or_default();
            let options = HomeOptions { durability, index: global.index_location() };
            // Only `new` creates a home. For any other verb a home that does not exist is usually a typing error.
            if let VerbArgs::New(_) = verb {
                home::create(&path)?;
            }
            App::open_home(&path, options, global.json, out)?
        }
        StoreLocation::Database(database) if verb.is_about_files() => return Err(needs_home(&database.location())),
        StoreLocation::Database(database) => App::connect(&database, global.json, out).await?,
    };
    let outcome = run_on_store(verb, global, &mut app).await;
    // After a failure, too: a thread that is not found may be in a directory that cannot be read.
    app.note_left_out();
    // The store is closed after a failure, too: live threads have to release their claims.
    app.close().await;
    outcome
}

fn no_json() -> Failure {
    Failure::new(FailureKind::Usage, "this verb has no JSON output").hint("run it without --json")
}

async fn run_on_store(verb: &VerbArgs, global: &GlobalOptions, app: &mut App<'_>) -> Result<()> {
    match verb {
        VerbArgs::List(args) => list::run(args, app).await,
        VerbArgs::Show(args) => show::run(args, app).await,
        VerbArgs::Context(args) => context::run(args, app).await,
        VerbArgs::Export(args) => export::run(args, app).await,
        VerbArgs::Serve(args) => serve::run(args, app).await,
        VerbArgs::Tail(args) => tail::run(args, app).await,
        VerbArgs::New(args) => new::run(args, app).await,
        VerbArgs::Append(args) => append::run(args, app).await,
        VerbArgs::Fork(args) => fork::run(args, app).await,
        VerbArgs::Import(args) => import::run(args, app).await,
        VerbArgs::Copy(args) => copy::run(args, global, app).await,
        VerbArgs::Rewind(args) => rewind::run(args, app).await,
        VerbArgs::Rename(args) => rename::run(args, app).await,
        VerbArgs::Archive(args) => archive::archive(args, app).await,
        VerbArgs::Unarchive(args) => archive::unarchive(args, app).await,
        VerbArgs::Compress(args) => compress::run(args, app).await,
        VerbArgs::Delete(args) => delete::run(args, app).await,
        VerbArgs::Search(args) => search::run(args, app).await,
        VerbArgs::Pick(args) => pick::run(args, global.color, app).await,
        VerbArgs::Tree(args) => tree::run(args, app).await,
        VerbArgs::Stats(args) => stats::run(args, app).await,
        VerbArgs::Index(args) => index::run(args, app).await,
        VerbArgs::Doctor(args) => doctor::run(args, app).await,
        // `run` handles them before it opens a store, because they need none.
        VerbArgs::Demo(_) | VerbArgs::Completions(_) | VerbArgs::Store(_) => Ok(()),
    }
}
