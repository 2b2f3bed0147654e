//! `selvedge rewind`: undoes the newest turns of a thread.

use std::io::Write;

use clap::Args;
use selvedge_thread_manager::RewindTo;

use crate::app::App;
use crate::codex::{CodexOptions, Route, route};
use crate::failure::Result;
use crate::notes::note;
use crate::resolve::{self, ThreadArg};
use crate::wiring::CodexChange;

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
    #[command(flatten)]
    codex: CodexOptions,
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
    let Route::Files { unnoticed } = route(app, id, &CodexChange::Rewind, &args.codex).await?;
    let undone = app.manager.rewind(id, to).await?;
    let turns = if undone == 1 { "1 turn".to_owned() } else { format!("{undone} turns") };
    app.print_thread_by_id(id, &format!("rewound {id} by {turns}")).await?;
    if let Some(unnoticed) = unnoticed {
        app.out.flush()?;
        note(&unnoticed.consequence);
    }
    Ok(())
}
