//! `selvedge rewind`: takes back a thread's newest turns.

use std::io::Write;
use std::path::Path;

use selvedge_protocol::{HistoryMode, TurnQuery};
use selvedge_thread_manager::RewindTo;
use selvedge_thread_store::ThreadStore;

use crate::app::{App, note};
use crate::args::RewindArgs;
use crate::exit::Result;
use crate::resolve;

/// Rewinds a thread and says how many turns it has now.
pub(crate) async fn run(args: &RewindArgs, app: &mut App<'_>) -> Result<()> {
    let id = resolve::thread(&app.store, &args.thread)?;
    let to = match args.to.turns {
        Some(turns) => RewindTo::Turns(turns.get()),
        None => {
            let (after, before) = (args.to.after.as_deref(), args.to.before.as_deref());
            RewindTo::Cut(resolve::cut(&*app.store, id, after, before).await?)
        }
    };
    let thread = app.manager.rewind(id, to).await?;
    let turns = app.store.list_turns(&TurnQuery::all(id)).await?.items.len();
    let left = if turns == 1 { "1 turn is left".to_owned() } else { format!("{turns} turns are left") };
    app.answer(&thread, &format!("rewound {id}: {left}"))?;
    if thread.history_mode == HistoryMode::Paginated && has_index_of_codex(&app.home) {
        app.out.flush()?;
        note("a Codex that has listed this thread in this home goes on from its own index and does not see the rewind");
    }
    Ok(())
}

/// Whether Codex keeps an index in this home, in which it notes which segment of a thread is the newest.
fn has_index_of_codex(home: &Path) -> bool {
    let names = std::fs::read_dir(home).into_iter().flatten().flatten().map(|entry| entry.file_name());
    names.filter_map(|name| name.into_string().ok()).any(|name| name.starts_with("state_") && name.ends_with(".sqlite"))
}
