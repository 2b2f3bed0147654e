//! `selvedge fork`: creates a thread that begins with the history of another.

use clap::Args;
use selvedge_thread_store::ForkThread;

use crate::app::App;
use crate::failure::Result;
use crate::resolve::{self, ThreadArg};
use crate::session_meta::fork_session_meta;
use crate::value_parsers::parse_name;

/// Arguments of `selvedge fork`.
#[derive(Debug, Args)]
#[command(after_help = "\
A turn is given by its id, a unique prefix of its id, or its number as `selvedge show` prints it.

Examples:
  selvedge fork 01a1fd5d-aacb
  selvedge fork 01a1fd5d-aacb --after 2 --name 'another way'")]
pub(crate) struct ForkArgs {
    #[command(flatten)]
    thread: ThreadArg,
    /// Fork just after this turn [default: at the end]
    #[arg(long, value_name = "TURN", conflicts_with = "before")]
    after: Option<String>,
    /// Fork just before this turn
    #[arg(long, value_name = "TURN")]
    before: Option<String>,
    /// Name of the new thread
    #[arg(long, value_name = "NAME", value_parser = parse_name)]
    name: Option<String>,
}

/// Forks a thread and prints the id of the new one.
pub(crate) async fn run(args: &ForkArgs, app: &mut App<'_>) -> Result<()> {
    let source = args.thread.resolve(&*app.store).await?;
    let at = resolve::turn_boundary(&*app.store, source, args.after.as_deref(), args.before.as_deref()).await?;
    let meta = fork_session_meta(app.store.read_session_meta(source).await?.unwrap_or_default());
    let fork = app.manager.fork(ForkThread { source, at, meta }).await?;
    // The name comes second: a crash in between loses only the name, and the fork is valid without it.
    if let Some(name) = args.name.clone().filter(|name| !name.is_empty()) {
        app.manager.rename(fork, &name).await?;
    }
    app.print_thread_by_id(fork, &fork.to_string()).await
}
