//! `selvedge archive` and `selvedge unarchive`.

use crate::app::App;
use crate::args::OneThread;
use crate::exit::Result;
use crate::resolve;

/// Takes a thread out of the list.
pub(crate) async fn run(args: &OneThread, app: &mut App<'_>) -> Result<()> {
    let id = resolve::thread(&*app.store, &args.thread).await?;
    let thread = app.manager.archive(id).await?;
    app.answer(&thread, &format!("archived {id}"))
}

/// Brings a thread back into the list.
pub(crate) async fn undo(args: &OneThread, app: &mut App<'_>) -> Result<()> {
    let id = resolve::thread(&*app.store, &args.thread).await?;
    let thread = app.manager.unarchive(id).await?;
    app.answer(&thread, &format!("unarchived {id}"))
}
