//! `selvedge archive` and `selvedge unarchive`.

use crate::app::App;
use crate::failure::Result;
use crate::resolve::ThreadArg;

/// Takes a thread out of the list.
pub(crate) async fn archive(thread: &ThreadArg, app: &mut App<'_>) -> Result<()> {
    let id = thread.resolve(&*app.store).await?;
    let thread = app.manager.archive(id).await?;
    app.print_thread(&thread, &format!("archived {id}"))
}

/// Puts a thread back into the list.
pub(crate) async fn unarchive(thread: &ThreadArg, app: &mut App<'_>) -> Result<()> {
    let id = thread.resolve(&*app.store).await?;
    let thread = app.manager.unarchive(id).await?;
    app.print_thread(&thread, &format!("unarchived {id}"))
}
