//! `selvedge rename`: gives a thread a name, or removes it.

use clap::Args;
use selvedge_protocol::ThreadMetadataPatch;

use crate::app::App;
use crate::failure::Result;
use crate::resolve::ThreadArg;
use crate::value_parsers::parse_name;

/// Arguments of `selvedge rename`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  selvedge rename 01a1fd5d-aacb 'Thread on zebras'
  selvedge rename 01a1fd5d-aacb --clear")]
pub(crate) struct RenameArgs {
    #[command(flatten)]
    thread: ThreadArg,
    /// New name; an empty one removes the name
    #[arg(value_name = "NAME", required_unless_present = "clear", value_parser = parse_name)]
    name: Option<String>,
    /// Remove the name
    #[arg(long, conflicts_with = "name")]
    clear: bool,
}

/// Renames a thread.
pub(crate) async fn run(args: &RenameArgs, app: &mut App<'_>) -> Result<()> {
    let id = args.thread.resolve(&*app.store).await?;
    // `None` removes the name: it stands for `--clear` and for an empty name.
    let name = args.name.clone().filter(|name| !name.is_empty());
    let line = match &name {
        Some(name) => format!("renamed {id} to {name:?}"),
        None => format!("removed the name of {id}"),
    };
    let patch = ThreadMetadataPatch { name: Some(name), ..Default::default() };
    let thread = app.manager.update_metadata(id, &patch).await?;
    app.print_thread(&thread, &line)
}
