//! `selvedge rewind`: takes back a thread's newest turns.

use std::io::Write;

use selvedge_protocol::HistoryMode;
use selvedge_thread_manager::RewindTo;

use crate::app::{App, note};
use crate::args::RewindArgs;
use crate::exit::Result;
use crate::resolve;

/// Rewinds a thread and says by how many turns.
pub(crate) async fn run(args: &RewindArgs, app: &mut App<'_>) -> Result<()> {
    let id = resolve::thread(&*app.store, &args.thread).await?;
    let to = match args.to.turns {
        Some(turns) => RewindTo::Turns(turns.get()),
        None => {
            let (after, before) = (args.to.after.as_deref(), args.to.before.as_deref());
            RewindTo::Boundary(resolve::cut(&*app.store, id, after, before).await?)
        }
    };
    let undone = app.manager.rewind(id, to).await?;
    let turns = if undone == 1 { "1 turn".to_owned() } else { format!("{undone} turns") };
    app.answer_about(id, &format!("rewound {id} by {turns}")).await?;
    if app.admin.has_codex_index()
        && app.store.read_session_meta(id).await?.unwrap_or_default().mode() == HistoryMode::Paginated
    {
        app.out.flush()?;
        note("a Codex that has listed this thread in this home goes on from its own index and does not see the rewind");
    }
    Ok(())
}
