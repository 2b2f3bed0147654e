//! `selvedge rewind`: undoes the newest turns of a thread.

use std::io::Write;

use clap::Args;
use selvedge_protocol::HistoryMode;
use selvedge_thread_manager::RewindTo;

use crate::app::App;
use crate::failure::Result;
use crate::notes::note;
use crate::resolve::{self, ThreadArg};

/// Arguments of `selvedge rewind`.
#[derive(Debug, Args)]
#[command(after_help = "\
Nothing is removed from the log: the rewind is added to it. A turn is given by its id, a unique prefix of its id, or \
its number as `selvedge show` prints it.

Examples:
  selvedge rewind 01a1fd5d-aacb --turns 1
  selvedge rewind 01a1fd5d-aacb --after 2")]
pub(crate) struct RewindArgs {
    #[command(flatten)]
    thread: ThreadArg,
    #[command(flatten)]
    to: RewindPoint,
}

/// Where a rewind ends.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct RewindPoint {
    /// Undo the newest N turns
    #[arg(long, value_name = "N")]
    turns: Option<std::num::NonZeroU64>,
    /// Undo this turn and all later ones
    #[arg(long, value_name = "TURN")]
    before: Option<String>,
    /// Undo all turns after this one
    #[arg(long, value_name = "TURN")]
    after: Option<String>,
}

/// Rewinds a thread and prints by how many turns.
pub(crate) async fn run(args: &RewindArgs, app: &mut App<'_>) -> Result<()> {
    let id = args.thread.resolve(&*app.store).await?;
    let to = match args.to.turns {
        Some(turns) => RewindTo::Turns(turns.get()),
        None => {
            let (after, before) = (args.to.after.as_deref(), args.to.before.as_deref());
            RewindTo::Boundary(resolve::turn_boundary(&*app.store, id, after, before).await?)
        }
    };
    let undone = app.manager.rewind(id, to).await?;
    let turns = if undone == 1 { "1 turn".to_owned() } else { format!("{undone} turns") };
    app.print_thread_by_id(id, &format!("rewound {id} by {turns}")).await?;
    // A rewind of a paginated thread begins a new segment. Codex records in its own index which segment is the newest,
    // and does not notice when another program begins one.
    if app.admin.has_codex_index()
        && app.store.read_session_meta(id).await?.unwrap_or_default().mode() == HistoryMode::Paginated
    {
        app.out.flush()?;
        note(
            "if Codex has listed this thread in this home before, it continues from its own index and does not see the rewind",
        );
    }
    Ok(())
}
