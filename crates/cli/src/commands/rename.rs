//! `selvedge rename`: gives a thread a name, or takes it away.

use selvedge_protocol::ThreadMetadataPatch;

use crate::app::App;
use crate::args::RenameArgs;
use crate::exit::Result;
use crate::resolve;

/// Renames a thread.
pub(crate) async fn run(args: &RenameArgs, app: &mut App<'_>) -> Result<()> {
    let id = resolve::thread(&*app.store, &args.thread).await?;
    let name = args.name.clone().filter(|name| !name.is_empty());
    let line = match &name {
        Some(name) => format!("renamed {id} to {name:?}"),
        None => format!("{id} has no name any more"),
    };
    let patch = ThreadMetadataPatch { name: Some(name), ..Default::default() };
    let thread = app.manager.update_metadata(id, &patch).await?;
    app.answer(&thread, &line)
}
